// Package synth makes the light that comes back from a finger, red and infrared, with known pulse and known ratio.
//
// Parties: tests of package ppg, which know the truth; the twin of the MAX30102, whose finger this is.
//
// Invariants: the same recipe gives the same light. It is given per unit of the steady light of its colour, so that 1 is a
// finger at rest and a pulse makes it less: blood absorbs.
package synth

import (
	"math"
	"math/rand/v2"
)

// Shape is how one pulse looks.
type Shape int

const (
	Middle Shape = iota // a shoulder after the peak
	Young               // a second wave after a notch
	Old                 // one round wave
	Sine                // as a far, cold or fast pulse
)

// Rhythm is how the beats follow each other.
type Rhythm int

const (
	Regular   Rhythm = iota
	Bigeminy         // every second beat early and weak
	Dropped          // every third beat makes no pulse
	Irregular        // intervals at random, half to one and a half
)

// Recipe is what is wanted.
type Recipe struct {
	RateHz    float64 // of samples
	PulseRate float64 // a minute
	Seed      uint64
	Shape     Shape
	Rhythm    Rhythm
	Breathing float64 // share by which the intervals breathe, at 15 a minute
	Ratio     float64 // R: red's pulse over infrared's, each per its steady light
	Perfusion float64 // infrared pulse from valley to peak, per steady light: 0.01
	Noise     float64 // white, rms per sample, per steady light
	Drift     float64 // of the steady light: a random walk, rms after one second
	LampHz    float64 // flicker of stray light
	Lamp      float64 // its amplitude per steady light
}

// Motion is how a finger moves.
type Motion int

const (
	Shaking Motion = iota // at random, 0.5 to 4 Hz
	Tapping               // at 1.7 Hz, as regular as a pulse
	Sliding               // one step that stays
	Lifting               // no finger for the time: a dark, then a bright edge
)

// Finger is the source.
type Finger struct {
	Recipe
	rng   *rand.Rand
	n     int
	next  float64 // when the next beat starts
	count int
	beats []beat // that still make light
	times []float64
	wave  *wave
	walk  float64

	motion          Motion
	shakes          float64
	from, to        float64
	shake, velocity float64
	offset          float64
}

type beat struct{ at, size, period float64 }

const keptTimes = 4096

// New makes a finger.
func New(r Recipe) *Finger {
	if r.Ratio == 0 {
		r.Ratio = 0.6
	}
	f := &Finger{Recipe: r, rng: rand.New(rand.NewPCG(r.Seed, 7)), wave: waves[r.Shape]}
	f.next = -2 * f.rng.Float64()
	return f
}

// Move disturbs the finger from now on, by an amplitude per steady light.
func (f *Finger) Move(m Motion, amplitude, seconds float64) {
	now := f.now()
	f.motion, f.shakes, f.from, f.to = m, amplitude, now, now+seconds
	if m == Sliding {
		f.offset += amplitude
		f.to = now
	}
}

// SetRatio changes R, and with it the saturation.
func (f *Finger) SetRatio(r float64) { f.Ratio = r }

// SetPulse changes the pulse rate from the next beat on.
func (f *Finger) SetPulse(rate float64) { f.PulseRate = rate }

// Beats are the times, in seconds, at which pulses began; the last few thousand.
func (f *Finger) Beats() []float64 { return f.times }

func (f *Finger) now() float64 { return float64(f.n) / f.RateHz }

// Next is the light of the next sample.
func (f *Finger) Next() (red, ir float64) {
	t := f.now()
	f.n++
	for f.next <= t {
		f.begin()
	}
	pulse := 0.0
	keep := f.beats[:0]
	for _, b := range f.beats {
		if age := t - b.at; age < 3*b.period {
			pulse += b.size * f.wave.at(age, b.period)
			keep = append(keep, b)
		}
	}
	f.beats = keep
	f.walk = f.walk*(1-0.05/f.RateHz) + f.rng.NormFloat64()*f.Drift/math.Sqrt(f.RateHz)
	common := f.walk + f.offset + f.Lamp*math.Sin(2*math.Pi*f.LampHz*t)
	moved, dark := f.moved(t)
	if dark {
		return 0.003 + f.rng.NormFloat64()*f.Noise, 0.003 + f.rng.NormFloat64()*f.Noise
	}
	common += moved
	red = 1 - f.Ratio*f.Perfusion*pulse + common + f.rng.NormFloat64()*f.Noise
	ir = 1 - f.Perfusion*pulse + common + f.rng.NormFloat64()*f.Noise
	return red, ir
}

// moved is what motion adds now.
func (f *Finger) moved(t float64) (add float64, dark bool) {
	// Noise through a resonance at 1.5 Hz, so wide that it is anything but a rhythm.
	w, dt := 2*math.Pi*1.5, 1/f.RateHz
	f.velocity += dt*(-w*w*f.shake-1.2*w*f.velocity) + w*math.Sqrt(2*1.2*w*dt)*f.rng.NormFloat64()
	f.shake += dt * f.velocity
	if t >= f.to {
		return 0, false
	}
	edge := min(1, (t-f.from)/0.1, (f.to-t)/0.1) // a finger doesn't jump
	switch f.motion {
	case Shaking:
		return f.shakes * edge * f.shake, false
	case Tapping:
		s := math.Sin(math.Pi * 1.7 * (t - f.from))
		return f.shakes * edge * s * s, false
	case Lifting:
		return 0, true
	}
	return 0, false
}

// begin starts one beat, and plans the next.
func (f *Finger) begin() {
	period := 60 / f.PulseRate * (1 + f.Breathing*math.Sin(2*math.Pi*f.next/4)) * (1 + 0.005*f.rng.NormFloat64())
	size := 1 + 0.03*f.rng.NormFloat64()
	f.count++
	switch f.Rhythm {
	case Bigeminy:
		if f.count%2 == 1 {
			period *= 0.65
		} else {
			period *= 1.35
			size *= 0.5
		}
	case Dropped:
		if f.count%3 == 0 {
			size = 0
		}
	case Irregular:
		period *= 0.5 + f.rng.Float64()
	}
	if size > 0 {
		f.beats = append(f.beats, beat{f.next, size, 60 / f.PulseRate})
		if f.times = append(f.times, f.next); len(f.times) > keptTimes {
			f.times = append(f.times[:0], f.times[keptTimes/2:]...)
		}
	}
	f.next += period
}

// wave is a pulse as a sum of bells, at multiples of the root of the period: a slow heart's pulses are longer, but not by as much
// as its pauses.
type wave struct{ at0, width, height []float64 }

var waves = map[Shape]*wave{
	Middle: {[]float64{0.18, 0.36}, []float64{0.065, 0.13}, []float64{0.80, 0.42}},
	Young:  {[]float64{0.16, 0.44}, []float64{0.06, 0.085}, []float64{1, 0.36}},
	Old:    {[]float64{0.24, 0.36}, []float64{0.09, 0.16}, []float64{0.60, 0.52}},
}

func (w *wave) at(age, period float64) (v float64) {
	if w == nil { // sine: the beats' cosines join
		if age >= period {
			return 0
		}
		return (1 - math.Cos(2*math.Pi*age/period)) / 2
	}
	s := math.Sqrt(period)
	if period < 0.6 {
		s = period / math.Sqrt(0.6)
	}
	for i := range w.at0 {
		d := (age/s - w.at0[i]) / w.width[i]
		v += w.height[i] * math.Exp(-d*d/2)
	}
	return v
}
