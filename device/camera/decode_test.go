package camera

import (
	"bytes"
	"image"
	"image/jpeg"
	"slices"
	"strings"
	"testing"

	"telecart/device"
	"telecart/device/camera/scene"
	"telecart/device/camera/v4l2"
)

// huffman is the offset and length of a JPEG's DHT segment.
func huffman(t testing.TB, b []byte) (at, n int) {
	t.Helper()
	for i := 2; i+4 < len(b) && b[i+1] != 0xda; i += 2 + int(b[i+2])<<8 + int(b[i+3]) {
		if b[i+1] == 0xc4 {
			return i, 2 + int(b[i+2])<<8 + int(b[i+3])
		}
	}
	t.Fatal("no DHT")
	return 0, 0
}

// bare is a frame as most UVC cameras send it.
func bare(t testing.TB, b []byte) []byte {
	at, n := huffman(t, b)
	return slices.Concat(b[:at], b[at+n:])
}

func TestDecodeWithoutTables(t *testing.T) {
	whole := scene.New(320, 240).JPEG(5, noon)
	at, n := huffman(t, whole)
	if !bytes.Equal(whole[at:at+n], standardHuffman()) {
		t.Fatal("the standard library writes the standard tables (T.81 K.3), and ours differ")
	}
	cut := bare(t, whole)
	before := bytes.Clone(cut)
	got, err := Decode(device.Frame{Format: device.MJPEG, Data: cut})
	if err != nil {
		t.Fatal(err)
	}
	want, err := jpeg.Decode(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.(*image.YCbCr).Y, want.(*image.YCbCr).Y) {
		t.Error("the picture differs without its tables")
	}
	if !bytes.Equal(cut, before) {
		t.Error("the frame's own bytes were changed")
	}
	if same, err := withHuffman(whole); err != nil || &same[0] != &whole[0] {
		t.Errorf("a frame with tables was copied: %v", err)
	}
}

func TestDecodeYUYV(t *testing.T) {
	// Black, white; then video-range red (BT.601: 81, 90, 240).
	img, err := Decode(device.Frame{Format: device.YUYV, Width: 2, Height: 2, Data: []byte{16, 128, 235, 128, 81, 90, 81, 240}})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ x, y, r, g, b int }{{0, 0, 0, 0, 0}, {1, 0, 255, 255, 255}, {0, 1, 255, 0, 0}, {1, 1, 255, 0, 0}} {
		r, g, b, _ := img.At(x.x, x.y).RGBA()
		for i, d := range []int{int(r>>8) - x.r, int(g>>8) - x.g, int(b>>8) - x.b} {
			if d < -2 || d > 2 {
				t.Errorf("point %d,%d channel %d is %d off", x.x, x.y, i, d)
			}
		}
	}
	if m, ok := img.(*image.YCbCr); !ok || m.SubsampleRatio != image.YCbCrSubsampleRatio422 {
		t.Errorf("%T", img)
	}
}

func TestDecodeRefuses(t *testing.T) {
	whole := scene.New(128, 64).JPEG(5, noon)
	huge := bytes.Clone(whole)
	i := bytes.Index(huge, []byte{0xff, 0xc0})
	copy(huge[i+5:], []byte{0xff, 0xff, 0xff, 0xff})
	for _, x := range []struct {
		f    device.Frame
		want string
	}{
		{device.Frame{Format: "H264"}, "H264"},
		{device.Frame{Format: device.MJPEG}, "SOI"},
		{device.Frame{Format: device.MJPEG, Data: whole[:len(whole)/2]}, "truncated"},
		{device.Frame{Format: device.MJPEG, Data: huge}, "65535x65535"},
		{device.Frame{Format: device.YUYV, Width: 3, Height: 2, Data: make([]byte, 12)}, "3x2"},
		{device.Frame{Format: device.YUYV, Width: -2, Height: 2}, "-2x2"},
		{device.Frame{Format: device.YUYV, Width: 4, Height: 2, Data: make([]byte, 15)}, "truncated"},
	} {
		if _, err := Decode(x.f); err == nil || !strings.HasPrefix(err.Error(), "camera: ") || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%v, want %q", err, x.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	whole := scene.New(128, 64).JPEG(5, noon)
	f.Add(whole)
	f.Add(bare(f, whole))
	f.Add(whole[:200])
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		full, err := withHuffman(b)
		if !bytes.Equal(b, before) {
			t.Fatal("the frame's own bytes were changed")
		}
		if err != nil {
			return
		}
		if len(full) != len(b) && len(full) != len(b)+len(standardHuffman()) {
			t.Fatalf("%d bytes became %d", len(b), len(full))
		}
		if again, err := withHuffman(full); err != nil || len(again) != len(full) {
			t.Fatalf("once more: %d bytes, %v", len(again), err)
		}
		if j, _ := v4l2.ScanJPEG(full); j.Width*j.Height < 1<<16 { // larger ones are only slower
			Decode(device.Frame{Format: device.MJPEG, Data: b})
		}
	})
}

func encoded(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
