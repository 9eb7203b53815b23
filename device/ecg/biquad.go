package ecg

import "math"

// biquad is a second-order section in the transposed direct form II, which keeps its precision at low cut-offs.
type biquad struct {
	b0, b1, b2, a1, a2 float64
	s1, s2             float64
}

func (q *biquad) step(x float64) float64 {
	y := q.b0*x + q.s1
	q.s1 = q.b1*x - q.a1*y + q.s2
	q.s2 = q.b2*x - q.a2*y
	return y
}

// rest sets the state as if x had been there for ever, so that a start is no step.
func (q *biquad) rest(x float64) float64 {
	y := x * (q.b0 + q.b1 + q.b2) / (1 + q.a1 + q.a2)
	q.s2 = q.b2*x - q.a2*y
	q.s1 = q.b1*x - q.a1*y + q.s2
	return y
}

// lowPass and highPass are Butterworth sections of the second order (-3 dB at cut), by the bilinear transform with the
// cut-off warped beforehand.
func lowPass(cut, rate float64) biquad { return lowPassQ(cut, math.Sqrt2/2, rate) }

// lowPassQ is one section of a filter of higher order: 0.5412 and 1.3066 make a Butterworth of the fourth.
func lowPassQ(cut, q, rate float64) biquad {
	k := math.Tan(math.Pi * cut / rate)
	n := 1 / (1 + k/q + k*k)
	return biquad{b0: k * k * n, b1: 2 * k * k * n, b2: k * k * n, a1: 2 * (k*k - 1) * n, a2: (1 - k/q + k*k) * n}
}

func highPass(cut, rate float64) biquad {
	k := math.Tan(math.Pi * cut / rate)
	n := 1 / (1 + math.Sqrt2*k + k*k)
	return biquad{b0: n, b1: -2 * n, b2: n, a1: 2 * (k*k - 1) * n, a2: (1 - math.Sqrt2*k + k*k) * n}
}

// notch takes out one frequency; it is at/q wide between its -3 dB points.
func notch(at, q, rate float64) biquad {
	w := 2 * math.Pi * at / rate
	alpha, c := math.Sin(w)/(2*q), math.Cos(w)
	n := 1 / (1 + alpha)
	return biquad{b0: n, b1: -2 * c * n, b2: n, a1: -2 * c * n, a2: (1 - alpha) * n}
}
