package ecg

import "math"

// Times of the detector, in seconds.
const (
	refractory  = 0.2   // no heart muscle answers sooner
	qrsReach    = 0.075 // around the energy's centre: where a QRS has its slopes and its peak
	wideReach   = 0.14  // around it: where a wide extra beat returns to the baseline
	baselineGap = 0.11  // on either side of a QRS: where its baseline is read
	baselineLen = 0.02  // to either side of there

	stepRatio = 0.12 // a pop's way back against its way there, in slope
)

// candidate is a peak of energy that no larger one stands near. Positions are sample numbers of the input.
type candidate struct {
	centre     int64   // where the energy is
	size       float64 // how much of it, as an amplitude
	slope      float64 // steepest slope near it
	up, down   float64 // steepest slopes a little further around, both positive
	top, foot  int64   // where the signal is highest and lowest over its baseline,
	high, deep float64 // and how far
	shape      [wide]float64
	match      float64 // with the shapes of earlier beats, -1 to 1
}

// step says that the signal went to another level and stayed there: an electrode pop, not a heart beat.
func (c *candidate) step() bool { return min(c.up, c.down) < stepRatio*max(c.up, c.down) }

// peaks finds candidates in the energy, each as soon as nothing larger came for a refractory time.
type peaks struct {
	front   *front
	delay   int64 // of the energy's peak behind the middle of a QRS
	wait    int64 // refractory, in samples
	a, b    float64
	best    float64
	bestAt  int64
	holding bool
}

func newPeaks(rate float64) *peaks {
	p := &peaks{front: newFront(rate), delay: measureDelay(rate)}
	p.wait = int64(p.front.samples(refractory))
	return p
}

// measureDelay looks at how late the energy of a typical QRS peaks at this rate: filters, slopes and windows all add to it.
func measureDelay(rate float64) int64 {
	f := newFront(rate)
	middle := f.samples(1)
	best, at := 0.0, 0
	for i := range 2 * middle {
		d := float64(i-middle) / rate / 0.012
		if m := f.step(math.Exp(-d * d / 2)); m > best {
			best, at = m, i
		}
	}
	return int64(at - middle)
}

// step takes one sample; m is the energy now, and ok says that c is a candidate, found now.
func (p *peaks) step(x float64) (m float64, c candidate, ok bool) {
	m = p.front.step(x)
	now := p.front.n - 1
	if p.b > p.a && p.b >= m && (!p.holding || p.b > p.best) {
		p.holding, p.best, p.bestAt = true, p.b, now-1
	}
	p.a, p.b = p.b, m
	if !p.holding || now-p.bestAt < p.wait {
		return m, c, false
	}
	p.holding = false
	return m, p.describe(), true
}

// describe looks at the signal around the peak that was found, while it is still in the rings.
func (p *peaks) describe() candidate {
	f := p.front
	c := candidate{centre: p.bestAt - p.delay, size: p.best}
	for n := c.centre - int64(f.samples(wideReach)); n <= c.centre+int64(f.samples(wideReach)); n++ {
		d := f.slopeAt(n)
		c.up, c.down = max(c.up, d), max(c.down, -d)
	}
	gap, reach := int64(f.samples(baselineGap)), int64(f.samples(qrsReach))
	base := (f.level(c.centre-gap) + f.level(c.centre+gap)) / 2
	c.high, c.deep = math.Inf(-1), math.Inf(-1)
	for n := c.centre - reach; n <= c.centre+reach; n++ {
		c.slope = max(c.slope, math.Abs(f.slopeAt(n)))
		v := f.cleanAt(n) - base
		if v > c.high {
			c.high, c.top = v, n
		}
		if -v > c.deep {
			c.deep, c.foot = -v, n
		}
	}
	for k := range c.shape {
		c.shape[k] = f.shapeAt(c.centre + int64(math.Round(float64(k-wide/2)*shapeStep*f.rate)))
	}
	return c
}
