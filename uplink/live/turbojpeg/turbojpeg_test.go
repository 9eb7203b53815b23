package turbojpeg

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"testing"
	"time"

	"telecart/device/camera/scene"
)

func newDecoder(t testing.TB) *Decoder {
	t.Helper()
	d, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func file(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// bare is a JPEG without Huffman tables, as most UVC cameras send it.
func bare(t testing.TB, b []byte) []byte {
	t.Helper()
	for i := 2; i+4 < len(b) && b[i+1] != 0xda; {
		n := 2 + int(b[i+2])<<8 + int(b[i+3])
		if b[i+1] == 0xc4 {
			return append(bytes.Clone(b[:i]), b[i+n:]...)
		}
		i += n
	}
	t.Fatal("no DHT")
	return nil
}

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// The four quarters of the files in testdata, red green blue, in reading order. They were made with libjpeg-turbo's own encoder from
// these.
func quarters() [4]color.YCbCr {
	var q [4]color.YCbCr
	for i, c := range [][3]uint8{{60, 40, 40}, {200, 60, 60}, {60, 180, 60}, {150, 150, 240}} {
		y, cb, cr := color.RGBToYCbCr(c[0], c[1], c[2])
		narrow := func(v uint8, span, zero int) uint8 { return uint8((int(v)-zero)*span/255 + zero) }
		q[i] = color.YCbCr{Y: uint8(16 + int(y)*219/255), Cb: narrow(cb, 224, 128), Cr: narrow(cr, 224, 128)}
	}
	return q
}

func near(a, b uint8) bool { return max(a, b)-min(a, b) <= 3 }

// Every way of sampling colours that a camera may use; in video range; nothing mirrored; in the size itself and reduced.
func TestDecode(t *testing.T) {
	d := newDecoder(t)
	for _, name := range []string{"420.jpg", "422.jpg", "444.jpg", "440.jpg", "411.jpg", "420odd.jpg", "progressive.jpg", "gray.jpg"} {
		for _, x := range []struct{ most, want image.Point }{
			{image.Pt(1280, 720), image.Pt(64, 48)},
			{image.Pt(40, 400), image.Pt(40, 30)},
			{image.Pt(400, 24), image.Pt(32, 24)},
			{image.Pt(22, 16), image.Pt(20, 16)}, // 21, made even
			{image.Pt(1, 1), image.Pt(16, 16)},
			{image.Point{}, image.Pt(64, 48)},
		} {
			m, err := d.Decode(file(t, name), x.most)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			want := x.want
			if name == "420odd.jpg" && want.X == 64 {
				want = image.Pt(62, 46)
			}
			if name == "420odd.jpg" && want.X == 20 {
				want = image.Pt(22, 16)
			}
			if m.Rect.Size() != want || m.SubsampleRatio != image.YCbCrSubsampleRatio420 {
				t.Errorf("%s within %v: %v %v, want %v", name, x.most, m.Rect.Size(), m.SubsampleRatio, want)
			}
			for i, q := range quarters() {
				at := image.Pt(want.X/4+i%2*want.X/2, want.Y/4+i/2*want.Y/2)
				got := m.YCbCrAt(at.X, at.Y)
				if name == "gray.jpg" {
					q.Cb, q.Cr = 128, 128
				}
				if !near(got.Y, q.Y) || !near(got.Cb, q.Cb) || !near(got.Cr, q.Cr) {
					t.Errorf("%s within %v: quarter %d at %v is %v, want %v", name, x.most, i, at, got, q)
				}
			}
		}
	}
}

// The same picture as the standard library's, Huffman tables or not.
func TestSameAsStandard(t *testing.T) {
	d := newDecoder(t)
	whole := scene.New(640, 480).JPEG(7, noon)
	std, err := jpeg.Decode(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	want, err := d.Fit(std.(*image.YCbCr), image.Pt(640, 480))
	if err != nil {
		t.Fatal(err)
	}
	kept := bytes.Clone(want.Y)
	for name, b := range map[string][]byte{"with tables": whole, "without": bare(t, whole)} {
		before := bytes.Clone(b)
		m, err := d.Decode(b, image.Pt(1280, 720))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(b, before) {
			t.Errorf("%s: the original was changed", name)
		}
		worst := 0
		for i := range m.Y {
			worst = max(worst, int(m.Y[i])-int(kept[i]), int(kept[i])-int(m.Y[i]))
		}
		if worst > 3 {
			t.Errorf("%s: luma differs by %d", name, worst)
		}
		if ms, seq, ok := scene.ReadCells(m); !ok || seq != 7 || ms != uint32(noon.UnixMilli()) {
			t.Errorf("%s: its row can't be read", name)
		}
	}
}

func TestReduced(t *testing.T) {
	d := newDecoder(t)
	for _, x := range []struct {
		w, h       int
		most, want image.Point
	}{
		{2560, 1440, image.Pt(1280, 720), image.Pt(1280, 720)},
		{2560, 1920, image.Pt(1280, 720), image.Pt(960, 720)},
		{3840, 2160, image.Pt(1280, 720), image.Pt(1280, 720)},
		{2048, 1024, image.Pt(1280, 720), image.Pt(1280, 640)},
		{2048, 1536, image.Pt(4096, 4096), image.Pt(2048, 1536)},
	} {
		// Dark to the left, bright to the right; above it is darker than below.
		g := image.NewGray(image.Rect(0, 0, x.w, x.h))
		for y := range x.h {
			for i := range x.w {
				g.Pix[y*g.Stride+i] = uint8(40 + 120*(i*2/x.w) + 60*(y*2/x.h))
			}
		}
		var b bytes.Buffer
		if err := jpeg.Encode(&b, g, nil); err != nil {
			t.Fatal(err)
		}
		m, err := d.Decode(b.Bytes(), x.most)
		if err != nil {
			t.Fatal(err)
		}
		w, h := x.want.X, x.want.Y
		at := func(x, y int) uint8 { return m.Y[m.YOffset(x, y)] }
		if m.Rect.Size() != x.want || at(9, 9) != 50 || at(9, h-9) != 102 || at(w-9, 9) != 153 || at(w-9, h-9) != 205 {
			t.Errorf("%dx%d within %v: %v, corners %d %d %d %d", x.w, x.h, x.most, m.Rect.Size(), at(9, 9), at(9, h-9), at(w-9, 9), at(w-9, h-9))
		}
	}
	if got := reduced(image.Pt(3840, 2160), image.Pt(1280, 720)); got != image.Pt(1920, 1080) {
		t.Errorf("4K is decoded as %v", got)
	}
}

// Damage is told, and gives a picture; what is none is refused; the next good one is not the worse for it.
func TestDamage(t *testing.T) {
	d := newDecoder(t)
	good := scene.New(320, 240).JPEG(7, noon)
	cut := bytes.Clone(good[:len(good)*2/3])
	huge := bytes.Clone(good)
	i := bytes.Index(huge, []byte{0xff, 0xc0})
	copy(huge[i+5:], []byte{0xff, 0xff, 0xff, 0xff})
	tall := bytes.Clone(good)
	copy(tall[i+5:], []byte{0x1f, 0xff, 0x1f, 0xff})
	scan := append(bytes.Clone(good[:len(good)/2]), good[len(good)/2+900:]...) // a packet that was lost
	tables := bytes.Clone(good)                                                // codes that no longer fit what follows
	i = bytes.Index(tables, []byte{0xff, 0xc4})
	tables[i+5+16], tables[i+5+17] = tables[i+5+17], tables[i+5+16]
	for _, x := range []struct {
		name string
		b    []byte
		want error
	}{
		{"cut off", cut, ErrDamaged},
		{"wrong in the middle", scan, ErrDamaged},
		{"other tables", tables, ErrDamaged},
		{"65535x65535", huge, ErrBroken},
		{"8191x8191", tall, ErrBroken},
		{"CMYK", file(t, "cmyk.jpg"), ErrBroken},
		{"noise", []byte("this is not a picture"), ErrBroken},
		{"a header alone", good[:i], ErrBroken},
		{"SOI EOI", []byte{0xff, 0xd8, 0xff, 0xd9}, ErrBroken},
		{"nothing", nil, ErrBroken},
	} {
		m, err := d.Decode(x.b, image.Pt(1280, 720))
		if !errors.Is(err, x.want) || (m == nil) != (x.want == ErrBroken) {
			t.Errorf("%s: %v, picture %v; want %v", x.name, err, m != nil, x.want)
		}
		if m, err = d.Decode(bare(t, good), image.Pt(1280, 720)); err != nil {
			t.Fatalf("after %s: %v", x.name, err)
		}
		if _, seq, ok := scene.ReadCells(m); !ok || seq != 7 {
			t.Errorf("after %s the picture is another one", x.name)
		}
	}
}

// Pictures that were decoded elsewhere: whole, part of a larger one, or lies.
func TestFit(t *testing.T) {
	d := newDecoder(t)
	for _, ratio := range []image.YCbCrSubsampleRatio{image.YCbCrSubsampleRatio444, image.YCbCrSubsampleRatio422, image.YCbCrSubsampleRatio420,
		image.YCbCrSubsampleRatio440, image.YCbCrSubsampleRatio411, image.YCbCrSubsampleRatio410} {
		m := image.NewYCbCr(image.Rect(0, 0, 128, 96), ratio)
		for y := range 96 {
			for x := range 128 {
				m.Y[m.YOffset(x, y)] = 0
				if x >= 64 && y >= 48 {
					m.Y[m.YOffset(x, y)] = 255
				}
				m.Cb[m.COffset(x, y)], m.Cr[m.COffset(x, y)] = uint8(2*x), 128
			}
		}
		got, err := d.Fit(m, image.Pt(64, 64))
		if err != nil || got.Rect.Size() != image.Pt(64, 48) {
			t.Fatalf("%v: %v", ratio, err)
		}
		if a, b := got.YCbCrAt(2, 2), got.YCbCrAt(60, 44); a.Y != 16 || b.Y != 235 || a.Cr != 128 || a.Cb > 30 || b.Cb < 220 {
			t.Errorf("%v: %v, %v", ratio, a, b)
		}
		part, err := d.Fit(m.SubImage(image.Rect(64, 48, 128, 96)).(*image.YCbCr), image.Pt(640, 640))
		if err != nil || part.Rect.Size() != image.Pt(64, 48) || part.YCbCrAt(0, 0).Y != 235 || part.YCbCrAt(63, 47).Y != 235 {
			t.Errorf("%v: part: %v", ratio, err)
		}
	}
	whole := image.NewYCbCr(image.Rect(0, 0, 64, 48), image.YCbCrSubsampleRatio420)
	for name, change := range map[string]func(*image.YCbCr){
		"luma too short":   func(m *image.YCbCr) { m.Y = m.Y[:len(m.Y)-1] },
		"colour too short": func(m *image.YCbCr) { m.Cr = m.Cr[:3] },
		"no colour":        func(m *image.YCbCr) { m.Cb = nil },
		"no stride":        func(m *image.YCbCr) { m.CStride = 0 },
		"beyond itself":    func(m *image.YCbCr) { m.Rect = image.Rect(0, 0, 6400, 480) },
		"empty":            func(m *image.YCbCr) { m.Rect = image.Rectangle{} },
	} {
		m := *whole
		change(&m)
		if _, err := d.Fit(&m, image.Pt(640, 480)); !errors.Is(err, ErrBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, name := range []string{"420.jpg", "422.jpg", "444.jpg", "411.jpg", "420odd.jpg", "progressive.jpg", "gray.jpg", "cmyk.jpg"} {
		f.Add(file(f, name), uint16(40), uint16(30))
	}
	good := scene.New(128, 64).JPEG(5, noon)
	f.Add(good, uint16(1280), uint16(720))
	f.Add(bare(f, good), uint16(0), uint16(0))
	f.Add(good[:300], uint16(20), uint16(20))
	f.Fuzz(func(t *testing.T, b []byte, w, h uint16) {
		d := newDecoder(t)
		before := bytes.Clone(b)
		most := image.Pt(int(w), int(h))
		m, err := d.Decode(b, most)
		if !bytes.Equal(b, before) {
			t.Fatal("the original was changed")
		}
		if (m == nil) != (err != nil && !errors.Is(err, ErrDamaged)) {
			t.Fatalf("picture %v with %v", m != nil, err)
		}
		if m != nil {
			s := m.Rect.Size()
			if s.X%2 != 0 || s.Y%2 != 0 || most.X >= minSide && s.X > most.X || most.Y >= minSide && s.Y > most.Y ||
				len(m.Y) != s.X*s.Y || len(m.Cb) != s.X*s.Y/4 || len(m.Cr) != len(m.Cb) || s.X*s.Y > 2*maxPixels {
				t.Fatalf("within %v: %v with %d, %d, %d", most, s, len(m.Y), len(m.Cb), len(m.Cr))
			}
		}
		if m, err = d.Decode(bare(t, good), image.Pt(1280, 720)); err != nil {
			t.Fatalf("a good one after it: %v", err)
		}
		if _, seq, ok := scene.ReadCells(m); !ok || seq != 5 {
			t.Fatal("a good one after it is another picture")
		}
	})
}
