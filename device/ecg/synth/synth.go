// Package synth makes single-lead ECGs with known beats.
//
// Parties: the tests of package ecg, which hold the detector to what was made here; the AD8232's twin, which shows one.
//
// Invariants: the same recipe gives the same samples; Beats are the R peaks of what was made so far, in sample numbers
// from 0, the premature ones included and P waves without a QRS left out. It is a drawing of an ECG, sums of Gaussians as
// of McSharry et al. (IEEE Trans. Biomed. Eng. 50:289, 2003), not a model of a heart.
package synth

import (
	"math"
	"math/rand/v2"
)

// Wave is one Gaussian: its peak at seconds after the R peak, its standard deviation in seconds, its height in mV.
type Wave struct{ At, Width, Height float64 }

// Shape is one beat.
type Shape []Wave

// Kind is what sort of beat comes.
type Kind int

const (
	Sinus   Kind = iota
	Early        // an atrial premature beat: the usual shape, too soon
	PVC          // wide, large, without a P wave, its T wave opposite; a pause follows
	PVCDown      // the same, upside down, from elsewhere
	PVCWide      // slow and notched, with little in the QRS band
	Paced        // a pacing pulse of 2 ms, then a wide beat
	Blocked      // a P wave alone
	Dropped      // nothing at all
)

// Shapes of the usual beat.
func Normal() Shape {
	return Shape{{-0.16, 0.022, 0.12}, {-0.028, 0.008, -0.12}, {0, 0.0105, 1.1}, {0.028, 0.009, -0.25}, {0.27, 0.045, 0.28}}
}

// TallT has a T wave higher than its R wave.
func TallT() Shape {
	return Shape{{-0.16, 0.022, 0.10}, {0, 0.011, 0.8}, {0.03, 0.01, -0.35}, {0.24, 0.035, 0.5}, {0.28, 0.035, 0.6}}
}

// Low is of low amplitude, with a T wave as high as half of R.
func Low() Shape {
	return Shape{{-0.16, 0.025, 0.05}, {0, 0.012, 0.22}, {0.03, 0.012, -0.1}, {0.27, 0.05, 0.09}}
}

// BundleBranch is wide and notched, with a T wave the other way.
func BundleBranch() Shape {
	return Shape{{-0.18, 0.022, 0.1}, {-0.02, 0.018, 0.8}, {0.03, 0.02, 0.9}, {0.27, 0.055, -0.4}}
}

// DeepS has its main deflection down.
func DeepS() Shape {
	return Shape{{-0.16, 0.022, 0.1}, {-0.03, 0.008, 0.25}, {0, 0.014, -1.3}, {0.27, 0.05, 0.35}}
}

// TallP has a small QRS after a P wave of half its height.
func TallP() Shape {
	return Shape{{-0.18, 0.028, 0.25}, {0, 0.011, 0.5}, {0.028, 0.01, -0.3}, {0.28, 0.05, 0.12}}
}

func pvc() Shape {
	return Shape{{-0.03, 0.03, 0.6}, {0, 0.032, 1.5}, {0.09, 0.04, -0.5}, {0.30, 0.06, -0.6}}
}

func pvcDown() Shape { return Shape{{0, 0.035, -1.6}, {0.08, 0.035, 0.6}, {0.29, 0.065, 0.7}} }

func pvcWide() Shape {
	return Shape{{-0.02, 0.036, 1.1}, {0.045, 0.02, 0.55}, {0.13, 0.045, -0.45}, {0.20, 0.03, -0.35}, {0.35, 0.05, 0.1}}
}

func paced() Shape {
	return Shape{{-0.045, 0.0008, 3}, {0, 0.028, -1.2}, {0.06, 0.03, 0.5}, {0.30, 0.06, 0.45}}
}

// Recipe is what to make. The zero value of a field leaves that out; levels are root mean squares in mV.
type Recipe struct {
	RateHz  float64
	Seed    uint64
	BPM     func(t float64) float64 // nil: 72
	Jitter  float64                 // standard deviation of RR as a fraction of it
	Beat    func(r *rand.Rand, n int) Kind
	Shape   Shape // nil: Normal
	Scale   func(t float64) float64
	Wander  float64 // baseline: breathing and slow drift
	Mains   float64
	MainsHz float64
	Muscle  float64 // 20 to 120 Hz, coming and going
	White   float64
	Motion  float64 // electrode motion: 0.5 to 8 Hz, coming and going
	Flutter float64 // atrial waves at 5.5 Hz instead of P waves
	Pops    float64 // electrode pops a minute: steps of some mV that die away
	Spikes  float64 // a minute: one millisecond, some mV
	Silent  bool    // no heart
	LSB     float64 // of the converter, in mV
}

// Generator makes one ECG sample by sample.
type Generator struct {
	r     Recipe
	rng   *rand.Rand
	n     int
	next  float64 // when the next beat comes
	count int
	beats []int
	kinds []Kind
	drawn []drawn

	prev                      Kind
	muscle, motion            [2]band
	muscleEnvelope, motionEnv envelope
	drift, driftSpeed         float64
	pop, popTau               float64
}

type drawn struct {
	at    float64
	shape Shape
	scale float64
}

// New begins an ECG at time 0.
func New(r Recipe) *Generator {
	if r.Shape == nil {
		r.Shape = Normal()
	}
	if r.BPM == nil {
		r.BPM = func(float64) float64 { return 72 }
	}
	if r.Beat == nil {
		r.Beat = func(*rand.Rand, int) Kind { return Sinus }
	}
	if r.Scale == nil {
		r.Scale = func(float64) float64 { return 1 }
	}
	g := &Generator{r: r, rng: rand.New(rand.NewPCG(r.Seed, 7)), next: 0.4}
	for i := range g.muscle {
		if r.Muscle == 0 && r.Motion == 0 {
			break // to measure a band takes a while
		}
		g.muscle[i] = newBand(20+60*float64(i), 60+60*float64(i), r.RateHz)
		g.motion[i] = newBand(0.5+2*float64(i), 3+5*float64(i), r.RateHz)
	}
	return g
}

// Beats are the sample numbers of the R peaks that have been made.
func (g *Generator) Beats() []int {
	k := len(g.beats)
	for k > 0 && g.beats[k-1] >= g.n {
		k--
	}
	return g.beats[:k]
}

// Next is the next sample, in mV.
func (g *Generator) Next() float64 {
	t := float64(g.n) / g.r.RateHz
	for !g.r.Silent && g.next < t+1 {
		g.beat()
	}
	v := 0.0
	keep := g.drawn[:0]
	for _, d := range g.drawn {
		if t-d.at > 0.8 {
			continue
		}
		keep = append(keep, d)
		for _, w := range d.shape {
			if x := (t - d.at - w.At) / w.Width; x > -6 && x < 6 {
				v += d.scale * w.Height * math.Exp(-x*x/2)
			}
		}
	}
	g.drawn = keep
	v += g.noise(t)
	g.n++
	if g.r.LSB > 0 {
		v = math.Round(v/g.r.LSB) * g.r.LSB
	}
	return v
}

// Samples are the next n.
func (g *Generator) Samples(n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = g.Next()
	}
	return v
}

func (g *Generator) beat() {
	kind := g.r.Beat(g.rng, g.count)
	g.count++
	rr := 60 / g.r.BPM(g.next)
	rr = max(rr*max(0.4, 1+g.r.Jitter*g.rng.NormFloat64()), min(rr, 0.27))
	at, shape := g.next, g.r.Shape
	switch kind {
	case Early:
		at -= 0.35 * rr
		rr *= 0.8
	case PVC, PVCDown, PVCWide:
		at -= 0.38 * rr
		shape = [...]Shape{pvc(), pvcDown(), pvcWide()}[kind-PVC]
	case Paced:
		shape = paced()
	case Blocked:
		shape = Shape{{-0.16, 0.022, 0.15}}
	case Dropped:
		shape = nil
	}
	scale := g.r.Scale(at) * (1 + 0.04*g.rng.NormFloat64())
	shape = g.repolarise(shape, rr)
	if kind != Blocked && kind != Dropped {
		g.beats = append(g.beats, int(math.Round(at*g.r.RateHz)))
		g.kinds = append(g.kinds, kind)
	}
	g.drawn = append(g.drawn, drawn{at, shape, scale})
	g.next += rr
	g.prev = kind
}

// repolarise shortens what comes before and after the QRS at fast rates (Bazett), and takes the P wave out of flutter.
func (g *Generator) repolarise(s Shape, rr float64) Shape {
	k := min(1.15, math.Sqrt(rr/0.83))
	out := make(Shape, 0, len(s))
	for _, w := range s {
		switch {
		case w.At > 0.15:
			w.At, w.Width = w.At*k, w.Width*k
		case w.At < -0.1 && g.r.Flutter > 0:
			continue
		case w.At < -0.1:
			w.At = max(w.At*k, w.At)
		}
		out = append(out, w)
	}
	return out
}

func (g *Generator) noise(t float64) float64 {
	r, rng := &g.r, g.rng
	v := r.White * rng.NormFloat64()
	if r.Mains > 0 {
		w := 2 * math.Pi * r.MainsHz * t
		v += r.Mains * math.Sqrt2 * (math.Sin(w) + 0.15*math.Sin(3*w+1)) * (1 + 0.2*math.Sin(0.7*t))
	}
	if r.Wander > 0 {
		g.driftSpeed += (rng.NormFloat64() - 0.02*g.driftSpeed) / math.Sqrt(r.RateHz) * 0.2
		g.drift += (g.driftSpeed - 0.3*g.drift) / r.RateHz
		v += r.Wander * (math.Sin(2*math.Pi*0.27*t) + 0.5*math.Sin(2*math.Pi*0.11*t+1) + 0.3*math.Sin(2*math.Pi*0.61*t+2) + g.drift)
	}
	if r.Muscle > 0 {
		e := g.muscleEnvelope.next(rng, r.RateHz)
		v += r.Muscle * e * (g.muscle[0].next(rng) + 0.7*g.muscle[1].next(rng)) / 1.22
	}
	if r.Motion > 0 {
		e := g.motionEnv.next(rng, r.RateHz)
		v += r.Motion * e * (g.motion[0].next(rng) + 0.5*g.motion[1].next(rng)) / 1.12
	}
	if r.Flutter > 0 {
		p := math.Mod(5.5*t, 1)
		v += r.Flutter * (p - 0.5) * 2 * (1 + 0.3*math.Sin(1.3*t))
	}
	return v + g.accidents()
}

func (g *Generator) accidents() float64 {
	r, rng := &g.r, g.rng
	if rng.Float64() < r.Pops/60/r.RateHz {
		g.pop, g.popTau = (1+2*rng.Float64())*sign(rng), 0.1+0.6*rng.Float64()
	}
	if g.popTau > 0 {
		g.pop *= math.Exp(-1 / (g.popTau * r.RateHz))
	}
	v := g.pop
	if rng.Float64() < r.Spikes/60/r.RateHz {
		v += (2 + 4*rng.Float64()) * sign(rng)
	}
	return v
}

func sign(rng *rand.Rand) float64 { return float64(rng.IntN(2)*2 - 1) }

// band is white noise between two frequencies, of root mean square 1.
type band struct{ low, high, a, b, k float64 }

func newBand(from, to, rate float64) band {
	to = min(to, 0.45*rate)
	from = min(from, to/2)
	f := band{a: 1 - math.Exp(-2*math.Pi*from/rate), b: 1 - math.Exp(-2*math.Pi*to/rate), k: 1}
	rng, sum := rand.New(rand.NewPCG(1, 1)), 0.0
	const trial = 20000
	for range trial {
		v := f.next(rng)
		sum += v * v
	}
	f.k = 1 / math.Sqrt(sum/trial)
	return f
}

func (f *band) next(rng *rand.Rand) float64 {
	f.high += f.b * (rng.NormFloat64() - f.high)
	f.low += f.a * (f.high - f.low)
	return f.k * (f.high - f.low)
}

// envelope comes and goes within seconds; its mean square is about 1.
type envelope struct{ v, to float64 }

func (e *envelope) next(rng *rand.Rand, rate float64) float64 {
	if rng.Float64() < 0.4/rate {
		e.to = 2 * rng.Float64() * rng.Float64() * 1.5
	}
	e.v += (e.to - e.v) * 3 / rate
	return 0.3 + e.v
}
