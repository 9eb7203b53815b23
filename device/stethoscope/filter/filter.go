// Package filter is what a stethoscope's bell, diaphragm and other modes let through: band-passes for listening.
//
// Parties: whoever listens puts values through a Filter, one per listener; a screen makes the same filter of its browser's
// own BiquadFilterNodes from Band.Nodes, at any rate. What is recorded is never filtered.
//
// Invariants: each corner is a Butterworth of 4th order, -3 dB there, in two second-order sections, high-pass first. State
// and coefficients are float64: at 48 kHz a 20 Hz section's poles lie 0.002 from the unit circle. A filter is causal and stable,
// and after silence its state is 0, never a denormal number, which some processors calculate with a hundred times slower.
package filter

import (
	"fmt"
	"math"
)

// Band is one mode of listening.
type Band struct {
	Name   string  `json:"name"`
	LowHz  float64 `json:"low_hz"`
	HighHz float64 `json:"high_hz"`
}

// Bell, Diaphragm, Extended and Lung are the modes. Their corners follow common electronic stethoscopes: low heart sounds and
// fillings; valves and murmurs; all of the heart; breath sounds with crackles and wheezes.
func Bell() Band      { return Band{"bell", 20, 200} }
func Diaphragm() Band { return Band{"diaphragm", 100, 500} }
func Extended() Band  { return Band{"extended", 20, 1000} }
func Lung() Band      { return Band{"lung", 100, 2000} }

// Bands lists the modes in the order in which they are offered.
func Bands() []Band { return []Band{Bell(), Diaphragm(), Extended(), Lung()} }

// LookUp finds a mode by name.
func LookUp(name string) (Band, bool) {
	for _, b := range Bands() {
		if b.Name == name {
			return b, true
		}
	}
	return Band{}, false
}

// Node is one second-order section as a browser's BiquadFilterNode takes it (Web Audio API, section 1.13: for "highpass" and
// "lowpass" Q is in decibels). Chained in order they are the whole filter; the browser fits them to its own sample rate.
type Node struct {
	Type        string  `json:"type"` // highpass, lowpass
	FrequencyHz float64 `json:"frequency_hz"`
	QdB         float64 `json:"q_db"`
}

// Nodes is the band as data.
func (b Band) Nodes() []Node {
	var nodes []Node
	for _, side := range []Node{{Type: "highpass", FrequencyHz: b.LowHz}, {Type: "lowpass", FrequencyHz: b.HighHz}} {
		for _, q := range quality() {
			side.QdB = 20 * math.Log10(q)
			nodes = append(nodes, side)
		}
	}
	return nodes
}

// quality is Q of the two pole pairs of a 4th-order Butterworth: they lie at 22.5 and 67.5 degrees from the real axis.
func quality() [2]float64 {
	return [2]float64{1 / (2 * math.Cos(math.Pi/8)), 1 / (2 * math.Cos(3*math.Pi/8))}
}

// Section is y[n] = B0 x[n] + B1 x[n-1] + B2 x[n-2] - A1 y[n-1] - A2 y[n-2]. As data it is what an IIRFilterNode takes.
type Section struct {
	B [3]float64 `json:"feedforward"`
	A [3]float64 `json:"feedback"` // A0 is 1
}

// Sections are the coefficients for a rate, by the bilinear transform with the corner frequency kept where it is.
func (b Band) Sections(rateHz float64) ([]Section, error) {
	if !(b.LowHz > 0 && b.HighHz > b.LowHz && b.HighHz <= 0.45*rateHz && rateHz <= 1e6) {
		return nil, fmt.Errorf("filter: a band from %g to %g Hz at %g values a second: want 0 < low < high <= 0.45 of the rate",
			b.LowHz, b.HighHz, rateHz)
	}
	var sections []Section
	for _, q := range quality() {
		sections = append(sections, highPass(b.LowHz/rateHz, q))
	}
	for _, q := range quality() {
		sections = append(sections, lowPass(b.HighHz/rateHz, q))
	}
	return sections, nil
}

// lowPass transforms 1/(s^2 + s/Q + 1) with s = (1-z^-1)/(k(1+z^-1)), k = tan(pi f); f is a part of the rate. highPass
// transforms s^2 over the same.
func lowPass(f, q float64) Section {
	k := math.Tan(math.Pi * f)
	a0 := 1 + k/q + k*k
	return Section{[3]float64{k * k / a0, 2 * k * k / a0, k * k / a0}, poles(k, q, a0)}
}

func highPass(f, q float64) Section {
	k := math.Tan(math.Pi * f)
	a0 := 1 + k/q + k*k
	return Section{[3]float64{1 / a0, -2 / a0, 1 / a0}, poles(k, q, a0)}
}

func poles(k, q, a0 float64) [3]float64 {
	return [3]float64{1, 2 * (k*k - 1) / a0, (1 - k/q + k*k) / a0}
}

const (
	inaudible = 1e-20 // of full scale 1; a state below is as good as 0
	sweep     = 256   // values after which states are looked at; none decays from inaudible to a denormal within
)

// Filter is one band at work. It belongs to one goroutine.
type Filter struct {
	sections []Section
	state    [][2]float64 // transposed direct form II
	age      int          // values since the last sweep
}

// New makes a filter at rest for a rate in values a second.
func New(b Band, rateHz int) (*Filter, error) {
	s, err := b.Sections(float64(rateHz))
	if err != nil {
		return nil, err
	}
	return &Filter{sections: s, state: make([][2]float64, len(s))}, nil
}

// Settle makes the filter as if the value had always been x, so that beginning on an offset does not thump.
func (f *Filter) Settle(x float64) {
	for i, s := range f.sections {
		y := x * (s.B[0] + s.B[1] + s.B[2]) / (s.A[0] + s.A[1] + s.A[2])
		f.state[i][1] = s.B[2]*x - s.A[2]*y
		f.state[i][0] = s.B[1]*x - s.A[1]*y + f.state[i][1]
		x = y
	}
}

// Step filters one value; full scale is 1. What is not a number must not come in: it would stay.
func (f *Filter) Step(x float64) float64 {
	for i := range f.sections {
		s, z := &f.sections[i], &f.state[i]
		y := s.B[0]*x + z[0]
		z[0] = s.B[1]*x - s.A[1]*y + z[1]
		z[1] = s.B[2]*x - s.A[2]*y
		x = y
	}
	if f.age++; f.age == sweep {
		f.age = 0
		f.rest()
	}
	return x
}

// rest sets what has died away to 0.
func (f *Filter) rest() {
	for i := range f.state {
		for j, z := range f.state[i] {
			if math.Abs(z) < inaudible {
				f.state[i][j] = 0
			}
		}
	}
}

// Int16 filters 16-bit values into dst, which may be src and must be as long. What exceeds full scale is held there.
func (f *Filter) Int16(dst, src []int16) {
	for i, v := range src {
		y := math.Round(f.Step(float64(v)/32768) * 32768)
		dst[i] = int16(min(max(y, math.MinInt16), math.MaxInt16))
	}
}
