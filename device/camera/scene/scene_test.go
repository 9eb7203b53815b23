package scene

import (
	"bytes"
	"image"
	"image/jpeg"
	"math"
	"strings"
	"testing"
	"time"

	"telecart/device"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 123e6, time.UTC)

func decode(t testing.TB, b []byte) *image.YCbCr {
	t.Helper()
	m, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return m.(*image.YCbCr)
}

// Headers are walked strictly: decoders forgive much.
func TestHeaders(t *testing.T) {
	b := New(640, 480).JPEG(1, noon)
	var names []byte
	for i := 2; b[i+1] != 0xda; i += 2 + int(b[i+2])<<8 + int(b[i+3]) {
		if b[i] != 0xff {
			t.Fatalf("no marker at %d, after %x", i, names)
		}
		names = append(names, b[i+1])
	}
	if want := []byte{0xfe, 0xdb, 0xc0, 0xc4, 0xdd}; !bytes.Equal(names, want) {
		t.Errorf("segments %x, want %x: comment, tables, baseline frame, Huffman tables, restart interval", names, want)
	}
}

func shot(t testing.TB, s *Scene) *image.YCbCr { t.Helper(); return decode(t, s.JPEG(1, noon)) }

func value(s *Scene, name string) device.Axis {
	for _, a := range s.Axes() {
		if a.Name == name {
			return a
		}
	}
	return device.Axis{}
}

// mean, and the mean step between neighbours: what exposure and focus change.
func measure(m *image.YCbCr) (mean, detail float64) {
	b := m.Bounds()
	n := 0.0
	for y := 32; y < b.Max.Y; y += 3 {
		row := m.Y[y*m.YStride:][:b.Max.X]
		for x := 1; x < len(row); x++ {
			mean += float64(row[x])
			detail += math.Abs(float64(row[x]) - float64(row[x-1]))
			n++
		}
	}
	return mean / n, detail / n
}

// difference of b moved by (dx, dy) from a, over the middle of the picture and away from the ball.
func difference(a, b *image.YCbCr, dx, dy int) (d float64) {
	n := 0.0
	w, h := a.Bounds().Dx(), a.Bounds().Dy()
	for y := h / 4; y < h*3/4; y += 2 {
		for x := w / 5; x < w*3/5; x += 2 {
			d += math.Abs(float64(a.Y[a.YOffset(x, y)]) - float64(b.Y[b.YOffset(x+dx, y+dy)]))
			n++
		}
	}
	return d / n
}

func TestPanAndTiltShift(t *testing.T) {
	for _, x := range []struct {
		axis   string
		value  int
		dx, dy int // where things go; 216000 arc seconds are 640 pixels
	}{
		{"pan", 18000, -53, 0}, {"pan", -18000, 53, 0}, {"tilt", 18000, 0, 53}, {"tilt", -18000, 0, -53},
	} {
		s := New(640, 480)
		before := shot(t, s)
		s.Set(x.axis, x.value)
		after := shot(t, s)
		if moved, still := difference(before, after, x.dx, x.dy), difference(before, after, 0, 0); moved > 4 || still < 3*moved {
			t.Errorf("%s %d: %.1f off where it should be, %.1f off where it was", x.axis, x.value, moved, still)
		}
	}
}

func TestZoomScales(t *testing.T) {
	s := New(640, 480)
	before := shot(t, s)
	s.Set("zoom", 200)
	after := shot(t, s)
	d := 0.0
	for y := -80; y < 80; y++ { // a point at twice the distance from the middle
		for x := -120; x < 60; x++ {
			d += math.Abs(float64(before.Y[before.YOffset(320+x, 240+y)]) - float64(after.Y[after.YOffset(320+2*x, 240+2*y)]))
		}
	}
	if d /= 160 * 180; d > 6 {
		t.Errorf("twice as large is %.1f off", d)
	}
}

func TestFocusBlurs(t *testing.T) {
	s := New(640, 480)
	best := value(s, "focus").Value
	s.Set("focus-auto", 0)
	last := math.Inf(1)
	for _, off := range []int{0, 30, 60, 120} {
		s.Set("focus", best+off)
		_, detail := measure(shot(t, s))
		if detail >= last*0.9 {
			t.Errorf("%d off the best focus the picture has %.2f detail, before %.2f", off, detail, last)
		}
		last = detail
	}
	s.Set("focus-auto", 1)
	if _, d := measure(shot(t, s)); d < 2*last || value(s, "focus").Value != best {
		t.Errorf("automatic focus: detail %.2f at %d", d, value(s, "focus").Value)
	}
}

func TestExposureBrightens(t *testing.T) {
	s := New(640, 480)
	auto, _ := measure(shot(t, s))
	s.Set("exposure-auto", 0)
	last := 0.0
	for _, v := range []int{3, 60, 250, 800, 2047} {
		s.Set("exposure", v)
		mean, _ := measure(shot(t, s))
		if mean <= last+5 {
			t.Errorf("at %d the mean is %.1f, before %.1f", v, mean, last)
		}
		if v == bestExposure && math.Abs(mean-auto) > 0.5 {
			t.Errorf("at the best value the mean is %.1f, automatic %.1f", mean, auto)
		}
		last = mean
	}
}

func TestSet(t *testing.T) {
	s := New(640, 480)
	for _, x := range []struct {
		axis        string
		value, want int
	}{
		{"pan", 99999, 36000}, {"pan", -99999, -36000}, {"pan", 500, 360}, {"zoom", 7, 100},
		{"focus", 10, 120}, {"exposure", 10, 250}, // automatic
		{"focus-auto", 0, 0}, {"focus", 12, 10}, {"focus-auto", 1, 1}, {"focus", 10, 120}, {"exposure-auto", 7, 1},
	} {
		s.Set(x.axis, x.value)
		if a := value(s, x.axis); a.Value != x.want {
			t.Errorf("%s set to %d is %d, want %d", x.axis, x.value, a.Value, x.want)
		}
	}
	before := s.Axes()
	s.Set("roll", 1)
	for i, a := range s.Axes() {
		if a != before[i] {
			t.Errorf("an unknown axis changed %+v to %+v", before[i], a)
		}
	}
	if !value(s, "focus").Locked || value(s, "zoom").Locked {
		t.Error("focus is automatic and zoom is not")
	}
}

func TestBallMovesAndComesBack(t *testing.T) {
	s := New(640, 480)
	a, b, c := s.JPEG(1, noon), s.JPEG(1, noon.Add(period/4)), s.JPEG(1, noon.Add(period))
	at := func(b []byte) (x, n int) {
		m := decode(t, b)
		for y := 100; y < 480; y++ {
			for px := 320; px < 640; px++ {
				if m.Cr[m.COffset(px, y)] > 200 {
					x, n = x+px, n+1
				}
			}
		}
		if n < 100 {
			t.Fatalf("only %d pixels of a red ball", n)
		}
		return x / n, n
	}
	xa, _ := at(a)
	xb, _ := at(b)
	xc, _ := at(c)
	if xa != xc || max(xa-xb, xb-xa) < 20 {
		t.Errorf("the ball is at %d, %d a quarter later, %d a whole swing later", xa, xb, xc)
	}
	if again := s.JPEG(1, noon); !bytes.Equal(a, again) {
		t.Error("the same moment gives another picture")
	}
}

// Whatever way a picture was put together, it is the one that a fresh scene draws.
func TestKeptTilesAreRight(t *testing.T) {
	s := New(640, 480)
	for i := range 100 {
		s.JPEG(uint64(i), noon.Add(time.Duration(i)*33*time.Millisecond))
	}
	s.Set("pan", 7200)
	s.JPEG(0, noon)
	s.Set("pan", 0)
	if got, want := s.JPEG(77, noon), New(640, 480).JPEG(77, noon); !bytes.Equal(got, want) {
		t.Error("kept tiles differ from fresh ones")
	}
}

func TestCells(t *testing.T) {
	for _, size := range []image.Point{{1280, 720}, {640, 480}, {400, 300}, {176, 144}, {203, 151}, {1, 1}} {
		s := New(size.X, size.Y)
		for _, seq := range []uint64{0, 0xffff, 0x15555} {
			at := noon.Add(time.Duration(seq) * 777 * time.Millisecond)
			m := decode(t, s.JPEG(seq, at))
			if want := image.Pt(s.w, s.h); m.Bounds().Max != want {
				t.Fatalf("asked for %v, got %v", want, m.Bounds())
			}
			ms, n, ok := ReadCells(m)
			if !ok || ms != uint32(at.UnixMilli()) || n != uint16(seq) {
				t.Errorf("%v: read %d, %d, %v; want %d, %d", size, ms, n, ok, uint32(at.UnixMilli()), uint16(seq))
			}
		}
	}
}

// Harder than a video codec at 2 Mb/s: half the size, the worst JPEG quality, noise, less contrast, other image types.
func TestCellsSurvive(t *testing.T) {
	s := New(768, 432)
	full := decode(t, s.JPEG(4711, noon))
	half := image.NewGray(image.Rect(10, 10, 394, 226)) // not at the origin
	rgb := image.NewRGBA(image.Rect(0, 0, 768, 432))
	state := uint32(1)
	for y := range 432 {
		for x := range 768 {
			rgb.Set(x, y, full.At(x, y))
			if x%2 == 0 && y%2 == 0 {
				state = state*1664525 + 1013904223
				sum := 0
				for i := range 4 {
					sum += int(full.Y[full.YOffset(x+i%2, y+i/2)])
				}
				half.Pix[half.PixOffset(10+x/2, 10+y/2)] = uint8(60 + sum/8 + int(state>>27))
			}
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, full, &jpeg.Options{Quality: 1}); err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]image.Image{"half with noise": half, "RGBA": rgb, "worst quality": decode(t, b.Bytes())} {
		if ms, seq, ok := ReadCells(m); !ok || seq != 4711 || ms != uint32(noon.UnixMilli()) {
			t.Errorf("%s: %d, %d, %v", name, ms, seq, ok)
		}
	}
	for name, m := range map[string]image.Image{
		"too small": image.NewGray(image.Rect(0, 0, 64, 64)), "too low": image.NewGray(image.Rect(0, 0, 640, 2)), "empty": image.NewGray(image.Rectangle{}),
		"grey": image.NewGray(image.Rect(0, 0, 640, 480)), "other lines": full.SubImage(image.Rect(0, 100, 768, 400)),
	} {
		if _, _, ok := ReadCells(m); ok {
			t.Errorf("%s: cells were read", name)
		}
	}
}

func TestNamed(t *testing.T) {
	seen := map[float64]string{}
	for _, name := range Names() {
		s, err := Named(name, 320, 240)
		if err != nil {
			t.Fatal(err)
		}
		mean, _ := measure(shot(t, s))
		if seen[mean] != "" {
			t.Errorf("%s looks like %s", name, seen[mean])
		}
		seen[mean] = name
	}
	if _, err := Named("attic", 320, 240); err == nil || !strings.Contains(err.Error(), "otoscope") {
		t.Errorf("unknown scene: %v", err)
	}
}

// The same view, twice as large, whatever is steered.
func TestEnlarged(t *testing.T) {
	s := New(320, 240)
	for _, a := range []struct {
		axis string
		v    int
	}{{"zoom", 180}, {"pan", 7200}, {"tilt", -3600}, {"exposure-auto", 0}, {"exposure", 180}} {
		s.Set(a.axis, a.v)
	}
	e := s.Enlarged()
	s.Set("pan", -7200)
	e.Look(s)
	small, large := shot(t, s), shot(t, e)
	if large.Rect.Dx() != 640 || large.Rect.Dy() != 480 {
		t.Fatal(large.Rect)
	}
	sum := 0.0
	for y := 20; y < 240; y++ { // below the cells: theirs are 16 lines in any size
		for x := range 320 {
			mean := (int(large.Y[2*y*large.YStride+2*x]) + int(large.Y[2*y*large.YStride+2*x+1]) +
				int(large.Y[(2*y+1)*large.YStride+2*x]) + int(large.Y[(2*y+1)*large.YStride+2*x+1])) / 4
			sum += math.Abs(float64(mean - int(small.Y[y*small.YStride+x])))
		}
	}
	if d := sum / (320 * 220); d > 4 {
		t.Errorf("they differ by %.1f on average", d)
	}
	if ms, seq, ok := ReadCells(large); !ok || seq != 1 || ms != uint32(noon.UnixMilli()) {
		t.Error("its row can't be read")
	}
}

// What a film is made of; that a decoder takes it is tested where there is one (uplink/live/h264dec).
func TestFilmUnits(t *testing.T) {
	f := NewFilm(320, 240)
	f.KeyEvery = 3
	var kinds [][]byte
	for i := range uint64(7) {
		if i == 5 {
			f.Cut()
		}
		au := f.Unit(i, noon.Add(time.Duration(i)*time.Second))
		var k []byte
		for j, part := range bytes.Split(au, []byte{0, 0, 0, 1}) {
			if j > 0 {
				k = append(k, part[0]&0x1f)
			}
			if bytes.Contains(part, []byte{0, 0, 0}) || bytes.Contains(part, []byte{0, 0, 1}) || bytes.Contains(part, []byte{0, 0, 2}) {
				t.Errorf("unit %d: a start code inside a NAL unit", i)
			}
		}
		kinds = append(kinds, k)
	}
	key, other := []byte{7, 8, 5}, []byte{1}
	for i, want := range [][]byte{key, other, other, key, other, key, other} {
		if !bytes.Equal(kinds[i], want) {
			t.Errorf("unit %d: NAL units of type %v, want %v", i, kinds[i], want)
		}
	}
}

// Every picture with a new number and time, as a camera asks for them.
func BenchmarkSteady(b *testing.B) {
	s := New(1280, 720)
	i := 0
	for ; i < 200; i++ {
		s.JPEG(uint64(i), noon.Add(time.Duration(i)*33*time.Millisecond))
	}
	b.ReportAllocs()
	for b.Loop() {
		s.JPEG(uint64(i), noon.Add(time.Duration(i)*33*time.Millisecond))
		i++
	}
}

func BenchmarkMoved(b *testing.B) {
	s := New(1280, 720)
	s.Set("focus-auto", 0)
	s.Set("focus", 60)
	for i := 0; b.Loop(); i++ {
		s.Set("pan", i%2*3600)
		s.JPEG(1, noon)
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		New(1280, 720)
	}
}
