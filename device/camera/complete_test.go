package camera

import (
	"bytes"
	"image/jpeg"
	"slices"
	"testing"

	"telecart/device"
	"telecart/device/camera/v4l2"
)

// A packet that is lost in the middle of a picture, or comes twice, leaves all its markers in place, if it has no restart
// markers.
func TestStillWithAHole(t *testing.T) {
	f := picture(1, 640, 480)
	img, err := jpeg.Decode(bytes.NewReader(f.Data))
	if err != nil {
		t.Fatal(err)
	}
	var plain bytes.Buffer
	if err := jpeg.Encode(&plain, img, nil); err != nil {
		t.Fatal(err)
	}
	whole := plain.Bytes()
	if err := complete(device.Frame{Format: device.MJPEG, Data: whole, Width: 640, Height: 480}); err != nil {
		t.Errorf("whole: %v", err)
	}
	padded := slices.Concat(whole[:len(whole)-2], make([]byte, 60), whole[len(whole)-2:], []byte{0, 0xff, 0xd9, 0, 0})
	if err := complete(device.Frame{Format: device.MJPEG, Data: padded, Width: 640, Height: 480}); err != nil {
		t.Errorf("padded: %v", err)
	}
	fooled := 0 // times that a decoder noticed nothing
	for at := len(whole) / 8; at < len(whole)-600; at += 1499 {
		tail := slices.Clone(whole)
		clear(tail[at : len(tail)-2])
		for name, b := range map[string][]byte{"hole": slices.Concat(whole[:at], whole[at+512:]), "no more but zeros": tail,
			"twice": slices.Concat(whole[:at], whole[at-512:])} {
			if _, err := v4l2.ScanJPEG(b); err != nil {
				continue // the markers tell already: a stuffed byte was cut
			}
			if _, err := jpeg.Decode(bytes.NewReader(b)); err == nil {
				fooled++
			}
			if complete(device.Frame{Format: device.MJPEG, Data: b, Width: 640, Height: 480}) == nil {
				t.Errorf("%s at %d of %d: a still", name, at, len(whole))
			}
		}
	}
	if fooled == 0 {
		t.Error("a decoder alone would have done")
	}
}
