package scene

import (
	"bytes"
	"image"
	"math"
)

// painter says what colour (red, green, blue, 0..1) a point of the scene has. The picture at zoom 100, pan and tilt 0
// is x from -1 to 1, and y from -h/w to h/w, down. The ball swings about a point.
type painter struct {
	at                         func(x, y float64) (r, g, b float64)
	focus                      int // the best value
	ballX, ballY, ballR, swing float64
}

// world is the scene with what lies around it, painted once.
type world struct {
	paint  painter
	size   image.Point
	y      []uint8 // one for each pixel
	cb, cr []uint8 // one for each two by two
}

const margin = 1.0 / 3 // how much wider the world is than the picture: pan reaches a sixth of it to each side

func newWorld(w, h int, p painter) world {
	size := around(w, h)
	ww, wh := size.X, size.Y
	m := world{paint: p, size: size, y: make([]uint8, ww*wh), cb: make([]uint8, ww*wh/4), cr: make([]uint8, ww*wh/4)}
	for y := 0; y < wh; y += 2 {
		for x := 0; x < ww; x += 2 {
			var sb, sr float64
			for i := range 4 {
				px, py := x+i&1, y+i>>1
				r, g, b := p.at(2*(float64(px)-float64(ww)/2)/float64(w), 2*(float64(py)-float64(wh)/2)/float64(w))
				l := 0.299*r + 0.587*g + 0.114*b
				m.y[py*ww+px] = level(l)
				sb, sr = sb+(b-l)*0.564, sr+(r-l)*0.713
			}
			m.cb[y/2*ww/2+x/2], m.cr[y/2*ww/2+x/2] = level(0.5+sb/4), level(0.5+sr/4)
		}
	}
	return m
}

// around is the size of the world around a picture of that size.
func around(w, h int) image.Point {
	return image.Pt((int(float64(w)*(1+margin))+3)&^1, (h+int(float64(w)*margin)+3)&^1)
}

// resampled is the world, of pictures that were from wide, for pictures of w by h.
func (m world) resampled(from, w, h int) world {
	var same [256]uint8
	for i := range same {
		same[i] = uint8(i)
	}
	to := around(w, h)
	e := world{paint: m.paint, size: to, y: make([]uint8, to.X*to.Y), cb: make([]uint8, to.X*to.Y/4), cr: make([]uint8, to.X*to.Y/4)}
	step := float64(from) / float64(w)
	x0, y0 := float64(m.size.X)/2-float64(to.X)/2*step, float64(m.size.Y)/2-float64(to.Y)/2*step // the middle stays
	sample(e.y, to.X, to.Y, m.y, m.size.X, m.size.Y, x0, y0, step, &same)
	sample(e.cb, to.X/2, to.Y/2, m.cb, m.size.X/2, m.size.Y/2, x0/2, y0/2, step, &same)
	sample(e.cr, to.X/2, to.Y/2, m.cr, m.size.X/2, m.size.Y/2, x0/2, y0/2, step, &same)
	return e
}

func level(v float64) uint8 { return uint8(max(0, min(v, 1))*255 + 0.5) }

// view is where the picture's middle lies in the world, in pixels of it, and how many of them make one of the picture.
func (s *Scene) view() (cx, cy, step float64) {
	pan, tilt, zoom := s.axis("pan").Value, s.axis("tilt").Value, s.axis("zoom").Value
	perArcsec := float64(s.w) / fieldOfView
	return float64(s.size.X)/2 + float64(pan)*perArcsec, float64(s.size.Y)/2 - float64(tilt)*perArcsec, 100 / float64(zoom)
}

// project is where a point of the scene is in the picture, and how many pixels its unit is there.
func (s *Scene) project(x, y float64) (px, py, scale float64) {
	cx, cy, step := s.view()
	half := float64(s.w) / 2
	return (x*half+float64(s.size.X)/2-cx)/step + half, (y*half+float64(s.size.Y)/2-cy)/step + float64(s.h)/2, half / step
}

func (s *Scene) blurRadius() float64 {
	f := s.axis("focus")
	return math.Abs(float64(f.Value-f.Default)) * 0.1 * float64(s.w) / 1280 * math.Sqrt(float64(s.axis("zoom").Value)/100)
}

func (s *Scene) gain() float64 { return float64(s.axis("exposure").Value) / bestExposure }

// chroma is a colour difference under an exposure: dark pictures lose colour.
func chroma(c uint8, gain float64) uint8 {
	return uint8(128 + (float64(c)-128)*math.Pow(min(1, gain), 0.45) + 0.5)
}

// draw makes the whole picture but its top row and the ball.
func (s *Scene) draw() {
	gain := s.gain()
	var tint [256]uint8
	for i := range 256 {
		s.tone[i] = level(float64(i) / 255 * math.Pow(gain, 0.45)) // sensors are linear, pictures are not
		tint[i] = chroma(uint8(i), gain)
	}
	cx, cy, step := s.view()
	m, w, h := s.drawn, s.drawn.Rect.Dx(), s.drawn.Rect.Dy()
	x0, y0 := cx-float64(s.w)/2*step, cy-float64(s.h)/2*step
	sample(m.Y, w, h, s.y, s.size.X, s.size.Y, x0, y0, step, &s.tone)
	sample(m.Cb, w/2, h/2, s.cb, s.size.X/2, s.size.Y/2, x0/2, y0/2, step, &tint)
	sample(m.Cr, w/2, h/2, s.cr, s.size.X/2, s.size.Y/2, x0/2, y0/2, step, &tint)
	if r := int(s.blurRadius() + 0.5); r > 0 {
		// Two passes of half the width: one alone leaves box-shaped ghosts.
		for _, n := range []int{(r + 1) / 2, r / 2} {
			blur(m.Y, w, h, n)
			blur(m.Cb, w/2, h/2, n/2)
			blur(m.Cr, w/2, h/2, n/2)
		}
	}
}

// sample fills dst by bilinear sampling of src from (x0, y0) in equal steps, in 24.8 fixed point.
func sample(dst []uint8, w, h int, src []uint8, sw, sh int, x0, y0, step float64, tone *[256]uint8) {
	type column struct{ at, frac int }
	columns := make([]column, w)
	for x := range columns {
		columns[x].at, columns[x].frac = fixed(x0+float64(x)*step, sw)
	}
	for y := range h {
		at, fy := fixed(y0+float64(y)*step, sh)
		top, bottom, out := src[at*sw:][:sw], src[(at+1)*sw:][:sw], dst[y*w:][:w]
		for x, c := range columns {
			t := int(top[c.at])*(256-c.frac) + int(top[c.at+1])*c.frac
			b := int(bottom[c.at])*(256-c.frac) + int(bottom[c.at+1])*c.frac
			out[x] = tone[uint8((t*(256-fy)+b*fy+1<<15)>>16)]
		}
	}
}

func fixed(v float64, n int) (at, frac int) {
	f := max(0, min(int(v*256), (n-1)*256-1))
	return f >> 8, f & 255
}

// blur averages over 2r+1 pixels, along rows and then along columns, with running sums.
func blur(p []uint8, w, h, r int) {
	if r < 1 {
		return
	}
	n := 2*r + 1
	recip := (1<<20 + n/2) / n
	line := make([]uint8, w+n) // a row with its edges drawn out
	for y := range h {
		row := p[y*w:][:w]
		for i := range r + 1 {
			line[i], line[w+n-1-i] = row[0], row[w-1]
		}
		copy(line[r:], row)
		sum := 0
		for _, v := range line[:n] {
			sum += int(v)
		}
		in, out := line[n:][:w], line[:w]
		for x := range row {
			row[x] = uint8(min(255, (sum*recip+1<<19)>>20))
			sum += int(in[x]) - int(out[x])
		}
	}
	// Column sums a row at a time: columns one by one would miss the cache at every step.
	src := bytes.Clone(p)
	at := func(y int) []uint8 { return src[max(0, min(y, h-1))*w:][:w] }
	sums := make([]int32, w)
	for y := -r; y <= r; y++ {
		for x, v := range at(y) {
			sums[x] += int32(v)
		}
	}
	for y := range h {
		row, in, out := p[y*w:][:w], at(y+r+1), at(y-r)
		for x, sum := range sums {
			row[x] = uint8(min(255, (int(sum)*recip+1<<19)>>20))
			sums[x] = sum + int32(in[x]) - int32(out[x])
		}
	}
}
