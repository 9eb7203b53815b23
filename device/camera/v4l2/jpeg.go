package v4l2

import (
	"bytes"
	"errors"
	"fmt"
)

// JPEG is what the markers of a JPEG file say (ITU-T T.81 annex B).
type JPEG struct {
	Width, Height int
	Huffman       bool // has DHT segments; UVC cameras often leave them out
	Scan          int  // offset of the first SOS marker
	End           int  // offset of EOI
}

var errTruncated = errors.New("v4l2: JPEG is truncated")

// ScanJPEG walks a JPEG's markers from SOI to EOI without decoding, and says what is wrong with a broken one. Bytes
// after EOI are allowed: cameras pad. Restart markers must count up, or a packet was lost inside the picture.
func ScanJPEG(b []byte) (JPEG, error) {
	var j JPEG
	if len(b) < 2 || b[0] != 0xff || b[1] != 0xd8 {
		return j, errors.New("v4l2: JPEG does not begin with SOI")
	}
	for i, restart := 2, byte(0); ; {
		if i >= len(b) {
			return j, errTruncated
		}
		if b[i] != 0xff {
			if j.Scan == 0 {
				return j, fmt.Errorf("v4l2: JPEG has %#02x at %d where a marker belongs", b[i], i)
			}
			n := bytes.IndexByte(b[i:], 0xff) // entropy-coded data
			if n < 0 {
				return j, errTruncated
			}
			i += n
		}
		if i+1 >= len(b) {
			return j, errTruncated
		}
		switch m := b[i+1]; {
		case m == 0xff: // fill
			i++
			continue
		case m == 0 && j.Scan > 0: // a stuffed byte of the data
			i += 2
			continue
		case m >= 0xd0 && m <= 0xd7 && j.Scan > 0:
			if m != 0xd0|restart {
				return j, fmt.Errorf("v4l2: JPEG has restart marker %d where %d belongs", m&7, restart)
			}
			restart = (restart + 1) & 7
			i += 2
			continue
		case m == 0xd9:
			if j.Scan == 0 || j.Width == 0 {
				return j, errors.New("v4l2: JPEG ends without a picture")
			}
			j.End = i
			return j, nil
		case m < 0xc0 || m >= 0xd0 && m <= 0xd8:
			return j, fmt.Errorf("v4l2: JPEG has marker %#02x at %d where it does not belong", m, i)
		}
		if i+4 > len(b) {
			return j, errTruncated
		}
		n := int(b[i+2])<<8 | int(b[i+3])
		if n < 2 || i+2+n > len(b) {
			return j, errTruncated
		}
		switch seg := b[i+4 : i+2+n]; b[i+1] {
		case 0xc4:
			j.Huffman = true
		case 0xc0, 0xc1, 0xc2:
			if len(seg) < 5 {
				return j, errTruncated
			}
			j.Height, j.Width = int(seg[1])<<8|int(seg[2]), int(seg[3])<<8|int(seg[4])
		case 0xda:
			if j.Scan == 0 {
				j.Scan = i
			}
			restart = 0
		}
		i += 2 + n
	}
}
