package capture

import (
	"encoding/binary"
	"fmt"
)

// AVI builds a Motion JPEG clip (RIFF AVI, one video stream 'MJPG'; Microsoft, "AVI RIFF File Reference") around the
// camera's own JPEG files, which stay byte for byte what they were. Sizes are in pixels, fps in frames per second.
func AVI(frames [][]byte, width, height, fps int) ([]byte, error) {
	if len(frames) == 0 || fps < 1 {
		return nil, fmt.Errorf("capture: a clip of %d frames at %d a second", len(frames), fps)
	}
	total, largest := 0, 0
	for _, f := range frames {
		total += 8 + len(f) + len(f)%2
		largest = max(largest, len(f))
	}
	const headers = 4 + 8 + 56 + 12 + 8 + 56 + 8 + 40 // hdrl LIST type .. strf
	le := binary.LittleEndian
	b := make([]byte, 0, 12+8+headers+12+total+8+16*len(frames))
	fourcc := func(s string) { b = append(b, s...) }
	u32 := func(xs ...int) {
		for _, x := range xs {
			b = le.AppendUint32(b, uint32(x))
		}
	}
	fourcc("RIFF")
	u32(4 + 8 + headers + 12 + total + 8 + 16*len(frames))
	fourcc("AVI LIST")
	u32(headers)
	fourcc("hdrlavih")
	const hasIndex = 0x10
	u32(56, 1_000_000/fps, largest*fps, 0, hasIndex, len(frames), 0, 1, largest, width, height, 0, 0, 0, 0)
	fourcc("LIST")
	u32(4 + 8 + 56 + 8 + 40)
	fourcc("strlstrh")
	u32(56)
	fourcc("vidsMJPG")
	u32(0, 0, 0, 1, fps, 0, len(frames), largest, -1, 0, 0, width|height<<16) // quality -1: default
	fourcc("strf")
	u32(40, 40, width, height, 1|24<<16)
	fourcc("MJPG")
	u32(width*height*3, 0, 0, 0, 0)
	fourcc("LIST")
	u32(4 + total)
	fourcc("movi")
	at := make([]int, len(frames))
	start := len(b) - 4
	for i, f := range frames {
		at[i] = len(b) - start
		fourcc("00dc")
		u32(len(f))
		b = append(b, f...)
		if len(f)%2 == 1 {
			b = append(b, 0)
		}
	}
	fourcc("idx1")
	u32(16 * len(frames))
	const keyFrame = 0x10
	for i, f := range frames {
		fourcc("00dc")
		u32(keyFrame, at[i], len(f))
	}
	return b, nil
}
