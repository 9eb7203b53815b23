package camera

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"slices"

	"telecart/device"
	"telecart/device/camera/v4l2"
)

const maxPixels = 32 << 20 // a header may claim 4 Gpx; no camera on a cart has more than this

// Decode makes a picture of a frame, for looking at: the frame's own bytes remain the original. MJPEG frames without Huffman
// tables (most UVC cameras leave them out) are read with the standard ones.
func Decode(f device.Frame) (image.Image, error) {
	switch f.Format {
	case device.MJPEG:
		return decodeJPEG(f.Data)
	case device.YUYV:
		return decodeYUYV(f)
	}
	return nil, fmt.Errorf("camera: can't decode format %q; want %s or %s", f.Format, device.MJPEG, device.YUYV)
}

func decodeJPEG(b []byte) (image.Image, error) {
	b, err := withHuffman(b)
	if err != nil {
		return nil, err
	}
	img, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("camera: decode: %w", err)
	}
	return img, nil
}

// withHuffman gives the frame with Huffman tables: itself if it has some, otherwise a copy with the standard ones before its scan.
func withHuffman(b []byte) ([]byte, error) {
	j, err := v4l2.ScanJPEG(b)
	switch {
	case err != nil:
		return nil, fmt.Errorf("camera: decode: %w", err)
	case j.Width*j.Height > maxPixels:
		return nil, fmt.Errorf("camera: decode: %dx%d pixels are too many", j.Width, j.Height)
	case j.Huffman:
		return b, nil
	}
	return slices.Concat(b[:j.Scan], standardHuffman(), b[j.Scan:]), nil
}

func decodeYUYV(f device.Frame) (image.Image, error) {
	if f.Width <= 0 || f.Height <= 0 || f.Width%2 != 0 || f.Width > 1<<14 || f.Height > 1<<14 {
		return nil, fmt.Errorf("camera: decode: YUYV can't be %dx%d", f.Width, f.Height)
	}
	if len(f.Data) < 2*f.Width*f.Height {
		return nil, errors.New("camera: decode: YUYV picture is truncated")
	}
	m := image.NewYCbCr(image.Rect(0, 0, f.Width, f.Height), image.YCbCrSubsampleRatio422)
	for i := range f.Width * f.Height / 2 {
		p := f.Data[4*i : 4*i+4 : 4*i+4]
		// Cameras send video range (16..235 and 16..240, BT.601); image.YCbCr is full range.
		m.Y[2*i], m.Cb[i], m.Y[2*i+1], m.Cr[i] = stretch(p[0], 16, 219), stretch(p[1], 128, 224), stretch(p[2], 16, 219), stretch(p[3], 128, 224)
	}
	return m, nil
}

// stretch maps video range to full range: luma about black at 16, chroma about its middle.
func stretch(v uint8, zero, span int) uint8 {
	n := (int(v) - zero) * 255
	if zero == 128 {
		n += 128 * span
	}
	return uint8(max(0, min((n+span/2)/span, 255)))
}

// standardHuffman is a DHT segment with the four tables of ITU-T T.81 section K.3, which a JPEG without tables means.
func standardHuffman() []byte {
	seg := []byte{0xff, 0xc4, 0x01, 0xa2}
	for i, t := range []string{dcLuma, acLuma, dcChroma, acChroma} {
		seg = append(append(seg, byte(i&1<<4|i>>1)), t...)
	}
	return seg
}

// Each table is the number of codes of 1 to 16 bits, then their values (T.81 tables K.3 to K.6).
const (
	dcLuma   = "\x00\x01\x05\x01\x01\x01\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00" + dcValues
	dcChroma = "\x00\x03\x01\x01\x01\x01\x01\x01\x01\x01\x01\x00\x00\x00\x00\x00" + dcValues
	dcValues = "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b"
	acLuma   = "\x00\x02\x01\x03\x03\x02\x04\x03\x05\x05\x04\x04\x00\x00\x01\x7d" +
		"\x01\x02\x03\x00\x04\x11\x05\x12\x21\x31\x41\x06\x13\x51\x61\x07\x22\x71\x14\x32\x81\x91\xa1\x08\x23\x42\xb1\xc1\x15\x52\xd1\xf0" +
		"\x24\x33\x62\x72\x82\x09\x0a\x16\x17\x18\x19\x1a\x25\x26\x27\x28\x29\x2a\x34\x35\x36\x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48\x49" +
		"\x4a\x53\x54\x55\x56\x57\x58\x59\x5a\x63\x64\x65\x66\x67\x68\x69\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x83\x84\x85\x86\x87\x88\x89" +
		"\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xc2\xc3\xc4\xc5" +
		"\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda\xe1\xe2\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8" +
		"\xf9\xfa"
	acChroma = "\x00\x02\x01\x02\x04\x04\x03\x04\x07\x05\x04\x04\x00\x01\x02\x77" +
		"\x00\x01\x02\x03\x11\x04\x05\x21\x31\x06\x12\x41\x51\x07\x61\x71\x13\x22\x32\x81\x08\x14\x42\x91\xa1\xb1\xc1\x09\x23\x33\x52\xf0" +
		"\x15\x62\x72\xd1\x0a\x16\x24\x34\xe1\x25\xf1\x17\x18\x19\x1a\x26\x27\x28\x29\x2a\x35\x36\x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48" +
		"\x49\x4a\x53\x54\x55\x56\x57\x58\x59\x5a\x63\x64\x65\x66\x67\x68\x69\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x82\x83\x84\x85\x86\x87" +
		"\x88\x89\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xc2\xc3" +
		"\xc4\xc5\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda\xe2\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf2\xf3\xf4\xf5\xf6\xf7\xf8" +
		"\xf9\xfa"
)
