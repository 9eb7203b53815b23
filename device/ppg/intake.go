package ppg

import (
	"fmt"
	"math"
)

const (
	keptSeconds = 12.5
	bridged     = 0.04 // seconds of missing samples that don't matter
)

// intake keeps the last seconds of one or two channels, at 60 to 120 samples a second, or all if there are fewer.
type intake struct {
	rate    float64 // of the samples that come
	every   int     // of them make one that is kept
	hz      float64 // of those
	limit   int
	n       float64 // samples so far
	seconds int     // that they made
	now     []float64
	kept    [][]float64
	spikes  []spike           // of each channel
	means   [][stages]running //
	phase   int
	missed  int  // samples missing in a row
	cut     bool // what is kept begins with a gap, not with the beginning
}

func newIntake(rateHz float64, channels int) (intake, error) {
	if !(rateHz >= MinRateHz && rateHz <= MaxRateHz) {
		return intake{}, fmt.Errorf("%w, not %g", ErrRate, rateHz)
	}
	in := intake{rate: rateHz, every: max(1, int(rateHz/60))}
	in.hz = rateHz / float64(in.every)
	in.limit = int(keptSeconds * in.hz)
	in.now, in.kept = make([]float64, channels), make([][]float64, channels)
	in.spikes, in.means = make([]spike, channels), make([][stages]running, channels)
	for i := range in.kept {
		in.kept[i] = make([]float64, 0, 2*in.limit)
	}
	return in, nil
}

// take is called with one sample of each channel, and says when one more second is over. What is kept are means over so many
// samples as are thinned out: their zeros are where that would fold hum onto a pulse.
func (in *intake) take(x ...float64) (second bool) {
	ok := true
	for _, v := range x {
		ok = ok && math.Abs(v) < 1e100 // NaN isn't; squares and sums of the rest stay finite
	}
	if ok {
		in.missed = 0
		copy(in.now, x)
	} else {
		in.missed++
	}
	if float64(in.missed) > max(1, bridged*in.rate) {
		in.reset()
	} else if ok || len(in.kept[0]) > 0 {
		in.add()
	}
	in.n++
	if in.n < in.rate*float64(in.seconds+1)-1e-6 {
		return false
	}
	in.seconds++
	return true
}

func (in *intake) add() {
	in.phase = (in.phase + 1) % in.every
	for i, v := range in.now {
		v = in.spikes[i].flatten(v, in.rate)
		for k := range in.means[i] {
			v = in.means[i][k].add(v, in.every)
		}
		if in.phase > 0 {
			continue
		}
		k := in.kept[i]
		if len(k) == cap(k) {
			k = k[:copy(k, k[len(k)-in.limit:])]
		}
		in.kept[i] = append(k, v)
	}
}

// stages of running means: one leaves a twentieth of the hum beside its zero.
const stages = 3

// running is the mean of the last few samples, of fewer at first.
type running struct {
	last []float64
	next int
}

func (r *running) add(v float64, n int) float64 {
	if n == 1 {
		return v
	}
	if len(r.last) < n {
		r.last = append(r.last, v)
	} else {
		r.last[r.next] = v
		r.next = (r.next + 1) % n
	}
	return mean(r.last)
}

const (
	spiky      = 10.0 // times the usual step
	usualSteps = 2.0  // seconds
)

// spike takes single samples out that stand out from both their neighbours, as a lost bit or a lost sample does. Hum doesn't: its
// steps are all alike.
type spike struct {
	a, b  float64 // the last two
	usual float64 // step
	begun bool
}

// flatten returns the sample before v.
func (s *spike) flatten(v, rate float64) float64 {
	if !s.begun {
		*s = spike{a: v, b: v, begun: true}
	}
	out := s.b
	mid := (s.a + v) / 2
	if off := math.Abs(s.b - mid); s.usual > 0 && off > spiky*s.usual && math.Abs(v-s.a) < off/4 {
		out = mid
	}
	step := math.Abs(v - s.b)
	if s.usual == 0 {
		s.usual = step
	}
	s.usual += (min(step, 2*spiky*s.usual) - s.usual) / (usualSteps * rate)
	s.a, s.b = out, v
	return out
}

// retime is told the rate that samples truly have. Seconds already counted stay counted.
func (in *intake) retime(rateHz float64) {
	if !(rateHz >= 0.9*in.rate && rateHz <= in.rate/0.9) {
		return
	}
	in.n = float64(in.seconds)*rateHz + (in.n-float64(in.seconds)*in.rate)*rateHz/in.rate
	in.rate, in.hz = rateHz, rateHz/float64(in.every)
}

// reset forgets all samples, not the time.
func (in *intake) reset() {
	for i := range in.kept {
		in.kept[i] = in.kept[i][:0]
		in.means[i] = [stages]running{}
		in.spikes[i] = spike{}
	}
	in.phase, in.cut = 0, true
}

// last is the last seconds of one channel, a copy.
func (in *intake) last(channel int, seconds float64) []float64 {
	k := in.kept[channel]
	return append([]float64(nil), k[max(0, len(k)-int(seconds*in.hz)):]...)
}

// look finds the pulse in samples of last, unless it may be a lamp.
func (in *intake) look(x []float64) pulse {
	p := find(x, in.hz, in.cut)
	if p.absent == "" && in.flickers(p.rate) && overtone(p.slope, p.rate/60/in.hz) < lampOvertone {
		return pulse{absent: StrayLight}
	}
	return p
}

const (
	lampOvertone = 0.12  // second harmonic of the slope over the first: a pulse has one, the sine of a lamp has not
	mainsRoom    = 0.002 // by which mains and sampling may be off, together, as a share
)

// flickers says that sampling may fold the flicker of a lamp onto this rate. Lamps flicker with the mains or at twice its frequency.
func (in *intake) flickers(rate float64) bool {
	for _, lamp := range []float64{50, 60, 100, 120} {
		folded := math.Abs(lamp - math.Round(lamp/in.rate)*in.rate)
		if math.Abs(rate/60-folded) < mainsRoom*lamp {
			return true
		}
	}
	return false
}
