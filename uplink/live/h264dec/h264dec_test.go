package h264dec

import (
	"errors"
	"image"
	"testing"

	"github.com/pion/mediadevices/pkg/codec/openh264"
	"github.com/pion/mediadevices/pkg/io/video"
	"github.com/pion/mediadevices/pkg/prop"
)

func TestDecode(t *testing.T) {
	src := image.NewYCbCr(image.Rect(0, 0, 320, 240), image.YCbCrSubsampleRatio420)
	for y := range 240 {
		for x := range 320 {
			src.Y[y*src.YStride+x] = byte(40 + x/2)
		}
	}
	for i := range src.Cb {
		src.Cb[i], src.Cr[i] = 90, 160
	}
	p, err := openh264.NewParams()
	if err != nil {
		t.Fatal(err)
	}
	p.BitRate = 1_000_000
	enc, err := p.BuildVideoEncoder(video.ReaderFunc(func() (image.Image, func(), error) { return src, func() {}, nil }),
		prop.Media{Video: prop.Video{Width: 320, Height: 240, FrameRate: 30}})
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	dec, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	if _, err := dec.Decode([]byte{0, 0, 0, 1, 0x41, 0x9a, 1, 2, 3}); !errors.Is(err, ErrNoPicture) {
		t.Errorf("a picture without parameter sets: %v", err)
	}
	for range 3 {
		au, release, err := enc.Read()
		if err != nil {
			t.Fatal(err)
		}
		m, err := dec.Decode(au)
		release()
		if err != nil {
			t.Fatal(err)
		}
		if m.Rect != src.Rect {
			t.Fatalf("picture of %v", m.Rect)
		}
		for _, at := range []image.Point{{10, 10}, {160, 120}, {310, 230}} {
			a, b := src.YCbCrAt(at.X, at.Y), m.YCbCrAt(at.X, at.Y)
			if diff(a.Y, b.Y) > 12 || diff(a.Cb, b.Cb) > 12 || diff(a.Cr, b.Cr) > 12 {
				t.Errorf("at %v: %v, want about %v", at, b, a)
			}
		}
	}
}

func diff(a, b byte) int { return max(int(a)-int(b), int(b)-int(a)) }
