package ppg

import (
	"math"
	"slices"

	"telecart/device"
)

const (
	window     = 12.25 // seconds that are looked at
	fine       = 0.045 // seconds; the standard deviation of the bell through which slopes are taken,
	coarse     = 0.085 // and of one that lets less noise through, for pulses under
	coarseRate = 100
	flatFor    = 2.5 // seconds without any change are no pulse
	block      = 2.0 // seconds; the slowest pulse has one beat in each
	outlying   = 4   // times the usual steepest slope is a movement
)

// pulse is what was found in a window.
type pulse struct {
	rate    float64       // a minute; 0 if absent
	absent  device.Reason //
	match   float64       // median correlation of a beat with the mean of the others
	size    float64       // median steepest slope of a beat, per second
	period  float64       // in samples
	doubted bool          // the usual window has unlike beats
	beats   []int         // where each is steepest, in samples of the slope
	crest   float64       // steepest slope over the usual one: 1.4 for a sine
	slope   []float64     // of the samples from reach(blur) on
	blur    float64       // through which it was taken
}

// find looks for a pulse in the last samples. cut: the signal before them is missing, otherwise they are the first.
func find(x []float64, hz float64, cut bool) pulse {
	if len(x) < int(3*hz)+2 {
		return pulse{absent: young(cut)}
	}
	tail := x[max(0, len(x)-int(flatFor*hz)):]
	if low, high := slices.Min(tail), slices.Max(tail); high-low <= 1e-12*max(math.Abs(high), math.Abs(low)) {
		return pulse{absent: NoPulse}
	}
	first := findIn(x, hz, fine, cut)
	if first.absent != device.LowSignal && first.absent != Unlike {
		return first
	}
	p := findIn(x, hz, coarse, cut)
	if p.absent != "" || p.rate > coarseRate {
		return first
	}
	v, lead := slopes(x, hz, fine), reach(coarse*hz)-reach(fine*hz)
	p.size = p.steepness(v, lead)
	if p.between(even(upward(v), hz)[lead:], hz) { // it may have been blurred away
		return first
	}
	return p
}

func findIn(x []float64, hz, blur float64, cut bool) pulse {
	v := slopes(x, hz, blur)
	start := calm(v, hz)
	cut = cut || start > 0
	first := pulse{absent: young(cut)}
	for i, seconds := range []float64{8, 6, 12} {
		from := max(start, len(v)-int(seconds*hz))
		if len(v)-from < int(4.5*hz) {
			break
		}
		p := beatsIn(v[from:], hz)
		if p.absent == "" {
			p.slope, p.blur, p.doubted = v, blur, first.absent == Unlike
			for i := range p.beats {
				p.beats[i] += from
			}
			return p
		}
		if i == 0 {
			first = p
		}
	}
	return first
}

func young(cut bool) device.Reason {
	if cut {
		return Moving
	}
	return device.NotYet
}

// reach is how far a bell goes to both sides.
func reach(sigma float64) int { return int(3*sigma) + 1 }

// bell is half a Gaussian, from its middle outward, with sum 1 over both halves.
func bell(sigma float64) []float64 {
	b := make([]float64, reach(sigma)+1)
	total := 0.0
	for k := range b {
		b[k] = math.Exp(-float64(k*k) / (2 * sigma * sigma))
		total += 2 * b[k]
	}
	total -= b[0]
	for k := range b {
		b[k] /= total
	}
	return b
}

// slopes is how fast the signal rises, per second, through a bell: slow drift has little slope, hum and noise are averaged out, and
// the rise of a pulse is its steepest part. It loses edge samples at both ends, so that sample i is x[i+edge]; nothing is
// delayed against x, whatever its frequency.
func slopes(x []float64, hz, blur float64) []float64 {
	d := bellSlope(blur * hz)
	h := len(d) - 1
	v := make([]float64, max(0, len(x)-2*h))
	for i := range v {
		s := 0.0
		for k := 1; k <= h; k++ {
			s += d[k] * (x[i+h+k] - x[i+h-k])
		}
		v[i] = s * hz
	}
	return v
}

// bellSlope is the bell's derivative, such that a slope of 1 gives 1.
func bellSlope(sigma float64) []float64 {
	d := bell(sigma)
	total := 0.0
	for k := range d {
		d[k] *= float64(k)
		total += 2 * d[k] * float64(k)
	}
	for k := range d {
		d[k] /= total
	}
	return d
}

// calm is where what follows the last movement begins: a slope that is far steeper than the steepest of most other beats.
func calm(v []float64, hz float64) int {
	n := int(block * hz)
	var steepest []float64
	for end := len(v); end >= n; end -= n {
		steepest = append(steepest, steep(v[end-n:end]))
	}
	if len(steepest) < 3 {
		return 0
	}
	slices.Sort(steepest)
	limit := outlying * steepest[(len(steepest)-1)/3] // two blocks of rest are enough to tell
	for i := len(v) - 1; i >= 0; i-- {
		if math.Abs(v[i]) > limit {
			return min(len(v), i+int(0.15*hz))
		}
	}
	return 0
}

func steep(v []float64) (m float64) {
	for _, s := range v {
		m = max(m, math.Abs(s))
	}
	return m
}
