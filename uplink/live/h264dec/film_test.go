package h264dec

import (
	"errors"
	"testing"
	"time"

	"telecart/device/camera/scene"
)

// The film that simulated cameras send is H.264 to a decoder that isn't ours, and every picture of it is the right one.
func TestFilm(t *testing.T) {
	for _, size := range [][2]int{{640, 480}, {1280, 720}, {1920, 1080}, {322, 242}} {
		f := scene.NewFilm(size[0], size[1])
		f.KeyEvery = 20
		dec, err := New()
		if err != nil {
			t.Fatal(err)
		}
		at := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
		for i := range uint64(45) {
			if i == 33 {
				f.Cut()
			}
			at = at.Add(33 * time.Millisecond)
			au := f.Unit(i, at)
			m, err := dec.Decode(au)
			if err != nil {
				t.Fatalf("%v: picture %d of %d bytes: %v", size, i, len(au), err)
			}
			ms, seq, ok := scene.ReadCells(m)
			if !ok || ms != uint32(at.UnixMilli()) || uint64(seq) != i || m.Rect.Dx() != size[0] || m.Rect.Dy() != size[1] {
				t.Fatalf("%v: picture %d: %d %d %v, %v", size, i, ms, seq, ok, m.Rect)
			}
			// The stripes get brighter downwards, and go right across.
			w, h := size[0], size[1]
			if top, bottom := m.YCbCrAt(w-1, h/8), m.YCbCrAt(w-1, h-1); top.Y >= bottom.Y || bottom != m.YCbCrAt(0, h-1) {
				t.Fatalf("%v: picture %d: right edge %v above, %v below", size, i, top, bottom)
			}
		}
		dec.Close()
	}
}

func TestFilmHeadersOnce(t *testing.T) {
	f := scene.NewFilm(320, 240)
	f.HeadersOnce, f.KeyEvery = true, 2
	dec, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	first := f.Unit(0, time.Unix(1, 0))
	f.Unit(1, time.Unix(1, 1))
	second := f.Unit(2, time.Unix(1, 2))
	if _, err := dec.Decode(second); !errors.Is(err, ErrNoPicture) {
		t.Errorf("a key frame without its headers: %v", err)
	}
	for _, au := range [][]byte{first, second} {
		if _, err := dec.Decode(au); err != nil {
			t.Error(err)
		}
	}
}
