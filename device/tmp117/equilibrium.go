package tmp117

import (
	"math"
	"time"
)

const (
	slopeSpan  = 10 * time.Second
	maxSlope   = 0.02 * lsbPerCel / 10 // bits per second: 0.02 Cel in 10 s
	minSamples = 5
	maxSamples = 64
)

// equilibrium decides when a contact probe has taken on the temperature of what it touches: the slope, fitted by least
// squares over the last 10 s so that one bit of noise doesn't upset it, has stayed under 0.02 Cel per 10 s for hold.
type equilibrium struct {
	hold    time.Duration
	first   time.Time // of the samples since the last reset
	flat    time.Time // since when it is flat; zero if it isn't
	samples []sample
}

type sample struct {
	at  time.Time
	raw int16
}

func (e *equilibrium) reset() { *e = equilibrium{hold: e.hold, samples: e.samples[:0]} }

// add takes one conversion and says whether there is equilibrium.
func (e *equilibrium) add(at time.Time, raw int16) bool {
	if len(e.samples) == 0 {
		e.first = at
	}
	old := 0
	for old < len(e.samples) && (at.Sub(e.samples[old].at) > slopeSpan || len(e.samples)-old >= maxSamples) {
		old++
	}
	e.samples = append(e.samples[:0], e.samples[old:]...)
	e.samples = append(e.samples, sample{at, raw})

	if at.Sub(e.first) < slopeSpan || len(e.samples) < minSamples || math.Abs(e.slope()) >= maxSlope {
		e.flat = time.Time{}
		return false
	}
	if e.flat.IsZero() {
		e.flat = at
	}
	return at.Sub(e.flat) >= e.hold
}

// slope in bits per second.
func (e *equilibrium) slope() float64 {
	var st, sv, stt, stv float64
	n := float64(len(e.samples))
	for _, s := range e.samples {
		t, v := s.at.Sub(e.samples[0].at).Seconds(), float64(s.raw)
		st, sv, stt, stv = st+t, sv+v, stt+t*t, stv+t*v
	}
	d := n*stt - st*st
	if d == 0 {
		return math.Inf(1)
	}
	return (n*stv - st*sv) / d
}
