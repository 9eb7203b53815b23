package ecg

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"telecart/device/ecg/synth"
)

func steady(bpm float64) func(float64) float64 { return func(float64) float64 { return bpm } }

// nth makes every nth beat one of these kinds.
func nth(n int, kinds ...synth.Kind) func(*rand.Rand, int) synth.Kind {
	return func(r *rand.Rand, i int) synth.Kind {
		if i%n == n-1 {
			return kinds[r.IntN(len(kinds))]
		}
		return synth.Sinus
	}
}

// from makes the beats of each row of n after the first so many one kind.
func from(n, first int, kind synth.Kind) func(*rand.Rand, int) synth.Kind {
	return func(_ *rand.Rand, i int) synth.Kind {
		if i%n >= first {
			return kind
		}
		return synth.Sinus
	}
}

func squareWave(period, a, b float64) func(float64) float64 {
	return func(t float64) float64 {
		if math.Mod(t, period) < period/2 {
			return a
		}
		return b
	}
}

// class is a sort of signal, and what the detector must reach on it in percent, at every rate: at 360 Hz, and at one of the
// others in turn, since all of them together take a minute.
type class struct {
	name    string
	need    float64
	from    float64 // lowest sampling rate at which that holds
	recipe  synth.Recipe
	perfect bool // no noise is added
}

func classes() []class {
	pvc := []synth.Kind{synth.PVC, synth.PVCDown}
	return []class{
		{name: "clean", recipe: synth.Recipe{}, perfect: true},
		{name: "coarse converter", recipe: synth.Recipe{LSB: 0.02}, perfect: true},
		{name: "72/min"},
		{name: "22/min", recipe: synth.Recipe{BPM: steady(22)}, need: 97},
		{name: "40/min", recipe: synth.Recipe{BPM: steady(40)}},
		{name: "120/min", recipe: synth.Recipe{BPM: steady(120)}},
		{name: "180/min", recipe: synth.Recipe{BPM: steady(180)}},
		{name: "240/min", recipe: synth.Recipe{BPM: steady(240)}},
		{name: "280/min", recipe: synth.Recipe{BPM: steady(280)}},
		{name: "40 to 180/min", recipe: synth.Recipe{BPM: func(t float64) float64 { return 110 + 70*math.Sin(t/15) }}},
		{name: "jumps 60 to 180/min", recipe: synth.Recipe{BPM: squareWave(40, 60, 180)}},
		{name: "upside down", recipe: synth.Recipe{Scale: steady(-1)}},
		{name: "tall T", recipe: synth.Recipe{Shape: synth.TallT()}},
		{name: "tall T, 50/min", recipe: synth.Recipe{Shape: synth.TallT(), BPM: steady(50)}},
		{name: "tall T, 150/min", recipe: synth.Recipe{Shape: synth.TallT(), BPM: steady(150)}},
		{name: "tall T and extra beats", recipe: synth.Recipe{Shape: synth.TallT(), Beat: nth(5, synth.PVC)}},
		{name: "tall P", recipe: synth.Recipe{Shape: synth.TallP()}},
		{name: "low", recipe: synth.Recipe{Shape: synth.Low()}},
		{name: "low and wide extra beats", recipe: synth.Recipe{Shape: synth.Low(), Beat: nth(5, synth.PVCWide)}},
		{name: "bundle branch", recipe: synth.Recipe{Shape: synth.BundleBranch()}},
		{name: "bundle branch, 120/min", recipe: synth.Recipe{Shape: synth.BundleBranch(), BPM: steady(120)}},
		{name: "deep S", recipe: synth.Recipe{Shape: synth.DeepS()}},
		{name: "atrial extra beats", recipe: synth.Recipe{Beat: nth(6, synth.Early)}},
		{name: "extra beats", recipe: synth.Recipe{Beat: nth(8, pvc...)}},
		{name: "extra beats, 100/min", recipe: synth.Recipe{Beat: nth(5, pvc...), BPM: steady(100)}},
		{name: "bigeminy", recipe: synth.Recipe{Beat: nth(2, synth.PVC)}},
		{name: "bigeminy, upside down", recipe: synth.Recipe{Beat: nth(2, synth.PVCDown)}},
		{name: "bigeminy on a low signal", recipe: synth.Recipe{Beat: nth(2, synth.PVC), Shape: synth.Low()}},
		{name: "trigeminy", recipe: synth.Recipe{Beat: nth(3, pvc...)}},
		{name: "wide extra beats", recipe: synth.Recipe{Beat: nth(4, synth.PVCWide)}, need: 97},
		{name: "pairs of wide extra beats", recipe: synth.Recipe{Beat: from(7, 5, synth.PVCWide)}, need: 97},
		{name: "runs of extra beats", recipe: synth.Recipe{Beat: from(40, 30, synth.PVC), BPM: steady(90)}},
		{name: "paced", recipe: synth.Recipe{Beat: from(1, 0, synth.Paced)}},
		{name: "paced now and then", recipe: synth.Recipe{Beat: nth(2, synth.Paced)}},
		{name: "every other P blocked", recipe: synth.Recipe{Beat: nth(2, synth.Blocked)}},
		{name: "pauses of 3 s", recipe: synth.Recipe{Beat: from(20, 17, synth.Dropped)}},
		{name: "pauses of 6 s with P waves", recipe: synth.Recipe{Beat: from(30, 23, synth.Blocked)}},
		{name: "irregular, fibrillating", recipe: synth.Recipe{Jitter: 0.25, Flutter: 0.1, BPM: steady(95)}},
		{name: "irregular, fast", recipe: synth.Recipe{Jitter: 0.22, Flutter: 0.1, BPM: steady(140)}},
		{name: "irregular, coarse", recipe: synth.Recipe{Jitter: 0.25, Flutter: 0.2, BPM: steady(85)}, need: 98},
		{name: "breathing changes the height", recipe: synth.Recipe{Scale: func(t float64) float64 { return 1 + 0.6*math.Sin(1.5*t) }}},
		{name: "height falls to a third", recipe: synth.Recipe{Scale: squareWave(60, 1, 0.33)}},
		{name: "mains 50", recipe: synth.Recipe{Mains: 0.3, MainsHz: 50}},
		{name: "mains 60", recipe: synth.Recipe{Mains: 0.3, MainsHz: 60}},
		{name: "wandering", recipe: synth.Recipe{Wander: 1.5}},
		{name: "white noise", recipe: synth.Recipe{White: 0.1}},
		{name: "muscle noise", recipe: synth.Recipe{Muscle: 0.07}, need: 98, from: 250},
		{name: "spikes", recipe: synth.Recipe{Spikes: 60}, from: 250},
		{name: "pops", recipe: synth.Recipe{Pops: 2}, need: 97},

		{name: "harsh: white noise", recipe: synth.Recipe{White: 0.2}, need: 95},
		{name: "harsh: muscle noise", recipe: synth.Recipe{Muscle: 0.15}, need: 95, from: 250},
		{name: "harsh: electrodes moved", recipe: synth.Recipe{Motion: 0.1}, need: 95},
		{name: "harsh: pops", recipe: synth.Recipe{Pops: 8}, need: 90},
	}
}

func TestClasses(t *testing.T) {
	for i, c := range classes() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.need == 0 {
				c.need = 99
			}
			for _, rate := range []float64{360, [...]float64{100, 128, 250, 500, 1000}[i%5]} {
				if rate < c.from {
					continue
				}
				r := c.recipe
				r.RateHz, r.Seed = rate, 11
				if !c.perfect {
					r.White, r.Wander, r.Jitter = max(r.White, 0.01), max(r.Wander, 0.1), max(r.Jitter, 0.03)
				}
				g := synth.New(r)
				x := g.Samples(int(100 * rate))
				s := compare(g.Beats(), find(t, Config{RateHz: rate}, x, 0), rate)
				if s.sensitivity() < c.need || s.positive() < c.need {
					t.Errorf("%g Hz: Se %.2f, P+ %.2f: %+v", rate, s.sensitivity(), s.positive(), s)
				}
			}
		})
	}
}

// A blow of forty times the height between two beats is not a beat.
func TestBlow(t *testing.T) {
	const rate = 250
	g := synth.New(synth.Recipe{RateHz: rate, Seed: 3, White: 0.01})
	x := g.Samples(40 * rate)
	beats := g.Beats()
	for k := 20; k < 40; k += 5 {
		for i := range 25 {
			x[beats[k]+rate/2+i] += 40 * math.Sin(math.Pi*float64(i)/25)
		}
	}
	if s := compare(beats, find(t, Config{RateHz: rate}, x, 0), rate); s.false_ > 0 || s.missed > 4 {
		t.Errorf("%+v", s)
	}
}

// What isn't an ECG gives no beats; bursts of noise in the band of a QRS give some, but no rate.
func TestNoHeart(t *testing.T) {
	for _, c := range []struct {
		name      string
		recipe    synth.Recipe
		perMinute float64
	}{
		{"nothing", synth.Recipe{}, 0},
		{"a step of the converter now and then", synth.Recipe{White: 0.002, LSB: 0.005}, 0},
		{"white noise", synth.Recipe{White: 0.1}, 0},
		{"mains", synth.Recipe{Mains: 0.3, MainsHz: 50}, 0},
		{"mains and noise", synth.Recipe{Mains: 0.3, MainsHz: 60, White: 0.01}, 0},
		{"wandering", synth.Recipe{Wander: 1, White: 0.02}, 0},
		{"bursts of muscle noise", synth.Recipe{Muscle: 0.2}, 120},
		{"electrodes moved", synth.Recipe{Motion: 0.2}, 150},
	} {
		for _, rate := range []float64{128, 250, 500} {
			r := c.recipe
			r.Silent, r.RateHz, r.Seed = true, rate, 5
			const minutes = 2
			a, err := New(Config{RateHz: rate, PerMillivolt: 1})
			if err != nil {
				t.Fatal(err)
			}
			g := synth.New(r)
			beats, rated := 0, 0
			for range minutes * 60 {
				beats += len(a.Write(g.Samples(int(rate))))
				if _, why := a.Rate(); why == "" {
					rated++
				}
			}
			if float64(beats) > c.perMinute*minutes || rated > minutes*60/4 || c.perMinute == 0 && rated > 0 {
				t.Errorf("%s at %g Hz: %d beats in %d min, a rate in %d s", c.name, rate, beats, minutes, rated)
			}
		}
	}
}

// A huge artefact deafens the detector for 3 s at most.
func TestArtefacts(t *testing.T) {
	const rate = 250
	for _, c := range []struct {
		name  string
		spoil func(x []float64, at int)
	}{
		{"one sample", func(x []float64, at int) { x[at] += 1e9 }},
		{"twenty samples of all there is", func(x []float64, at int) {
			for i := range 20 {
				x[at+i] = math.MaxFloat64
			}
		}},
		{"a step", func(x []float64, at int) {
			for i := at; i < len(x); i++ {
				x[i] += 1e6
			}
		}},
		{"a step that dies away", func(x []float64, at int) {
			for i := at; i < len(x); i++ {
				x[i] += 300 * math.Exp(-float64(i-at)/rate/0.4)
			}
		}},
		{"10 s of 5 mV at 3 Hz", func(x []float64, at int) {
			for i := at; i < at+10*rate; i++ {
				x[i] += 5 * math.Sin(2*math.Pi*3*float64(i)/rate) * math.Sin(2*math.Pi*0.3*float64(i)/rate)
			}
		}},
		{"thirty blows in 10 s", func(x []float64, at int) {
			for k := range 30 {
				for i := range 25 {
					x[at+k*83+i] += 40 * math.Sin(math.Pi*float64(i)/25)
				}
			}
		}},
		{"forty blows as regular as a clock", func(x []float64, at int) {
			for k := range 40 {
				for i := range 25 {
					x[at-20*rate+k*125+i] += 40 * math.Sin(math.Pi*float64(i)/25)
				}
			}
		}},
		{"not a number", func(x []float64, at int) { x[at], x[at+1], x[at+2] = math.NaN(), math.Inf(1), math.MaxFloat64 }},
		{"off for 5 s", func(x []float64, at int) {
			for i := at; i < at+5*rate; i++ {
				x[i] = 3.3
			}
		}},
	} {
		g := synth.New(synth.Recipe{RateHz: rate, Seed: 3, White: 0.01, Wander: 0.1})
		x := g.Samples(60 * rate)
		const at = 30 * rate
		clean := append([]float64(nil), x...)
		c.spoil(x, at)
		over := at
		for i := range x {
			if x[i] != clean[i] && c.name[:6] != "a step" {
				over = i
			}
		}
		got := find(t, Config{RateHz: rate}, x, 0)
		late := compare(after(g.Beats(), over+3*rate), after(got, over+3*rate), rate)
		early := compare(before(g.Beats(), at-21*rate), before(got, at-21*rate), rate)
		if late.missed > 0 || late.false_ > 0 || early.missed > 0 || early.false_ > 0 {
			t.Errorf("%s: before %+v, 3 s after %+v", c.name, early, late)
		}
	}
}

func after(at []int, n int) (out []int) {
	for _, v := range at {
		if v >= n {
			out = append(out, v)
		}
	}
	return out
}

func before(at []int, n int) (out []int) {
	for _, v := range at {
		if v < n {
			out = append(out, v)
		}
	}
	return out
}

// Beats that are not late come within 0.4 s, at every rate, and the same however the samples are cut.
func TestCausal(t *testing.T) {
	for _, rate := range []float64{100, 250, 333.3, 2000} {
		g := synth.New(synth.Recipe{RateHz: rate, Seed: 2, White: 0.05, Muscle: 0.05, Jitter: 0.1,
			Beat: nth(5, synth.PVC, synth.PVCWide)})
		x := g.Samples(int(60 * rate))
		a, err := New(Config{RateHz: rate})
		if err != nil {
			t.Fatal(err)
		}
		prompt, worst := 0, 0.0
		var one []int
		for i := range x {
			for _, b := range a.Write(x[i : i+1]) {
				one = append(one, int(b.Sample))
				if !b.Late {
					prompt++
					worst = max(worst, float64(int64(i)-b.Sample)/rate)
				}
			}
		}
		for _, b := range a.Flush() {
			one = append(one, int(b.Sample))
		}
		if worst > 0.4 || prompt < len(one)*8/10 {
			t.Errorf("%g Hz: %d of %d beats at once, the last after %.3f s", rate, prompt, len(one), worst)
		}
		for _, chunk := range []int{0, 2, 17, 1000} {
			if got := find(t, Config{RateHz: rate}, x, chunk); fmt.Sprint(got) != fmt.Sprint(one) {
				t.Errorf("%g Hz in pieces of %d: other beats", rate, chunk)
			}
		}
	}
}
