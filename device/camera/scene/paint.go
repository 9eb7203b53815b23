package scene

import "math"

// What the scenes look like. Nobody's picture: shapes and colours only.

var (
	room         = painter{at: paintRoom, focus: 120, ballX: 0.55, ballY: 0.25, ballR: 0.035, swing: 0.14}
	otoscope     = painter{at: paintOtoscope, focus: 60, ballX: 0.12, ballY: 0.22, ballR: 0.02, swing: 0.05}
	dermatoscope = painter{at: paintDermatoscope, focus: 35, ballX: -0.5, ballY: 0.3, ballR: 0.02, swing: 0.06}
)

// in is 1 inside a shape of which d is negative, with an edge about two pixels wide.
func in(d float64) float64 { return max(0, min(0.5-d*300, 1)) }

func ellipse(x, y, cx, cy, a, b float64) float64 {
	u, v := (x-cx)/a, (y-cy)/b
	d := u*u + v*v
	if d > 1.5 { // far outside: most points of most shapes
		return 0
	}
	return in((math.Sqrt(d) - 1) * min(a, b))
}

func box(x, y, cx, cy, a, b float64) float64 { return in(max(math.Abs(x-cx)-a, math.Abs(y-cy)-b)) }

// offset is how far v lies from the next multiple of n.
func offset(v, n float64) float64 { return v - n*math.Floor(v/n+0.5) }

// ripple is a cheap texture in -1..1.
func ripple(x, y, f float64) float64 {
	return (math.Sin(x*f+1.7*math.Sin(y*f*0.61)) + math.Sin(y*f*1.13+1.3*math.Sin(x*f*0.83))) / 2
}

// coat is a stack of paint.
type coat struct{ r, g, b float64 }

func (c *coat) over(cover, r, g, b float64) {
	if cover <= 0 {
		return
	}
	c.r, c.g, c.b = c.r+(r-c.r)*cover, c.g+(g-c.g)*cover, c.b+(b-c.b)*cover
}

// paintRoom: a face on the left, a chart with colours, greys and a star on the right, a squared wall behind.
func paintRoom(x, y float64) (float64, float64, float64) {
	c := coat{0.62, 0.68, 0.66}
	if line := min(math.Abs(offset(x, 0.2)), math.Abs(offset(y, 0.2))); line < 0.003 {
		c = coat{0.5, 0.56, 0.55}
	}
	c.over(ellipse(x, y, -0.35, 0.72, 0.42, 0.36), 0.2, 0.35, 0.55)   // shoulders
	c.over(box(x, y, -0.35, 0.36, 0.08, 0.1), 0.72, 0.52, 0.42)       // neck
	c.over(ellipse(x, y, -0.35, -0.06, 0.25, 0.31), 0.18, 0.12, 0.09) // hair
	if face := ellipse(x, y, -0.35, 0.02, 0.2, 0.28); face > 0 {
		t := 0.02 * ripple(x, y, 90)
		c.over(face, 0.84+t, 0.64+t, 0.53+t)
	}
	for _, side := range []float64{-1, 1} {
		ex := -0.35 + side*0.08
		c.over(ellipse(x, y, ex, -0.03, 0.038, 0.018), 0.96, 0.96, 0.95)
		c.over(ellipse(x, y, ex, -0.03, 0.016, 0.016), 0.25, 0.4, 0.5)
		c.over(ellipse(x, y, ex, -0.03, 0.007, 0.007), 0.03, 0.03, 0.03)
		c.over(box(x, y, ex, -0.08, 0.045, 0.007), 0.2, 0.13, 0.1)
		c.over(ellipse(x, y, ex, 0.1, 0.03, 0.02)*0.35, 0.9, 0.45, 0.4)
	}
	c.over(box(x, y, -0.35, 0.045, 0.007, 0.045)*0.6, 0.65, 0.42, 0.34)
	c.over(ellipse(x, y, -0.35, 0.16, 0.06, 0.018), 0.7, 0.28, 0.28)

	if x < 0.15 || y > 0.15 {
		return c.r, c.g, c.b
	}
	c.over(box(x, y, 0.55, -0.16, 0.36, 0.27), 0.95, 0.95, 0.93) // chart
	patches := [12]coat{{.45, .32, .27}, {.76, .58, .5}, {.36, .48, .61}, {.75, .2, .2}, {.25, .55, .3}, {.2, .25, .6},
		{.05, .05, .05}, {.25, .25, .25}, {.45, .45, .45}, {.62, .62, .62}, {.8, .8, .8}, {1, 1, 1}}
	for i, p := range patches {
		c.over(box(x, y, 0.27+0.112*float64(i%6), -0.36+0.1*float64(i/6), 0.048, 0.042), p.r, p.g, p.b)
	}
	if d := (x-0.38)*(x-0.38) + (y+0.06)*(y+0.06); d < 0.13*0.13 && math.Sin(36*math.Atan2(y+0.06, x-0.38)) > 0 {
		c.over(1, 0.05, 0.05, 0.05) // Siemens star
	}
	for i := range 5 { // bars, ever finer
		f := 60.0 * math.Pow(1.7, float64(i))
		if math.Abs(x-0.72) < 0.13 && math.Abs(y+0.16-0.05*float64(i)) < 0.02 && math.Sin(x*f) > 0 {
			c.over(1, 0.05, 0.05, 0.05)
		}
	}
	return c.r, c.g, c.b
}

// paintOtoscope: an ear drum at the end of a dark canal.
func paintOtoscope(x, y float64) (float64, float64, float64) {
	d := math.Sqrt(x*x + y*y)
	if d > 0.53 {
		return 0.02, 0.02, 0.02
	}
	t := 0.03 * ripple(x, y, 40)
	fall := max(0.04, 1.1-1.4*d*d) // light comes down the middle
	c := coat{0.62 + t, 0.36 + t, 0.3 + t}
	c.over(ellipse(x, y, 0.02, 0, 0.36, 0.38), 0.84+t, 0.76+t, 0.7+t)                            // drum
	c.over(ellipse(x+0.35*y, y, -0.02, -0.12, 0.022, 0.19)*0.8, 0.93, 0.88, 0.78)                // handle of the malleus
	c.over(ellipse(x, y, -0.02, 0.06, 0.03, 0.03)*0.7, 0.9, 0.84, 0.75)                          // umbo
	c.over(in(max(math.Abs(x-0.04-0.5*(y-0.1))-0.35*(y-0.07), y-0.3, 0.07-y))*0.9, 1, .98, 0.93) // cone of light
	for _, a := range []float64{0.4, 1.3, 2.4, 3.6, 4.9} {                                       // vessels
		u, v := x*math.Cos(a)+y*math.Sin(a), y*math.Cos(a)-x*math.Sin(a)+0.01*math.Sin(40*x)
		c.over(in(max(math.Abs(v)-0.004, 0.22-u, u-0.36))*0.6, 0.75, 0.25, 0.22)
	}
	return c.r * fall, c.g * fall, c.b * fall
}

// paintDermatoscope: a lesion on skin with hairs, and a millimetre scale.
func paintDermatoscope(x, y float64) (float64, float64, float64) {
	t := 0.025 * ripple(x, y, 60)
	c := coat{0.87 + t, 0.68 + t, 0.58 + t}
	if r := math.Sqrt(x*x + 1.3*y*y); r < 0.35 {
		a := math.Atan2(y, x)
		d := r - 0.24 - 0.03*math.Sin(3*a+1) - 0.02*math.Sin(7*a)
		n := 0.12 * ripple(x, y, 130) // pigment network
		c.over(max(0, min(0.5-d*30, 1)), 0.5+n, 0.31+n*0.8, 0.22+n*0.6)
	}
	c.over(ellipse(x, y, 0.06, -0.04, 0.09, 0.07)*0.7, 0.25, 0.17, 0.15)
	c.over(ellipse(x, y, -0.09, 0.07, 0.05, 0.04)*0.6, 0.4, 0.42, 0.5)
	for _, h := range [][3]float64{{0.5, 0.3, 0.1}, {-0.7, 0.25, -0.2}, {0.15, -0.5, 0.32}} {
		c.over(in(math.Abs(y-h[2]-h[0]*x-h[1]*x*x)-0.004)*0.8, 0.12, 0.08, 0.07)
	}
	if edge := y + 0.42; edge > 0 && edge < 0.09 { // the scale, at the top
		k := math.Abs(offset(x, 0.05))
		long := math.Abs(offset(x, 0.25)) < 0.006
		if k < 0.004 && (edge < 0.04 || long) {
			c.over(1, 0.05, 0.05, 0.05)
		}
	}
	return c.r, c.g, c.b
}
