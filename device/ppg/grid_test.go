package ppg

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"telecart/device/ppg/synth"
)

// seeds is how much of everything is tried: PPG_SEEDS=10 go test -v -run Grid ./device/ppg takes minutes and prints figures of a
// wider grid.
func seeds(t *testing.T) uint64 {
	n, err := strconv.Atoi(cmp.Or(os.Getenv("PPG_SEEDS"), "1"))
	if err != nil || n < 1 {
		t.Fatal("PPG_SEEDS: give a whole number")
	}
	return uint64(n)
}

// truth is the rate at which pulses began in a stretch of time.
func truth(beats []float64, from, to float64) float64 {
	first, _ := slices.BinarySearch(beats, from)
	last, _ := slices.BinarySearch(beats, to)
	if last-first < 2 {
		return 0
	}
	return 60 * float64(last-1-first) / (beats[last-1] - beats[first])
}

// false says that a shown rate is off by more than 5 a minute and more than 10 % from the truth.
func wrongRate(r Result, f *synth.Finger) bool {
	want := truth(f.Beats(), float64(r.Seconds)-8, float64(r.Seconds))
	return r.Absent == "" && math.Abs(r.Rate-want) > max(5, 0.1*want)
}

// tally counts seconds by what was tried.
type tally struct {
	shown, of, wrong map[string]int
	worst            float64
	errs             []float64
}

func newTally() *tally { return &tally{map[string]int{}, map[string]int{}, map[string]int{}, 0, nil} }

func (y *tally) add(key string, shown, wrong bool) {
	y.of[key]++
	if shown {
		y.shown[key]++
	}
	if wrong {
		y.wrong[key]++
	}
}

func (y *tally) share(key string) float64 { return float64(y.shown[key]) / float64(max(1, y.of[key])) }

func (y *tally) report(t *testing.T) {
	t.Helper()
	for _, key := range slices.Sorted(func(yield func(string) bool) {
		for k := range y.of {
			if !yield(k) {
				return
			}
		}
	}) {
		t.Logf("%-32s shown %5.1f %% of %d s, false %d", key, 100*y.share(key), y.of[key], y.wrong[key])
		if y.wrong[key] > 0 {
			t.Errorf("%s: %d false numbers", key, y.wrong[key])
		}
	}
}

// rate runs a finger through a chain and counts from the tenth second on.
func (y *tally) rate(t *testing.T, f *synth.Finger, seconds int, keys ...string) {
	t.Helper()
	c, err := New(f.RateHz)
	if err != nil {
		t.Fatal(err)
	}
	for range int(float64(seconds) * f.RateHz) {
		_, ir := f.Next()
		r, ok := c.Push(ir)
		if !ok {
			continue
		}
		for _, k := range keys {
			if wrong := wrongRate(r, f); r.Seconds > 10 || wrong {
				y.add(k, r.Absent == "", wrong)
			}
		}
	}
}

func TestGridOfRates(t *testing.T) {
	t.Parallel()
	y := newTally()
	for seed := range seeds(t) {
		for i, hz := range []float64{25, 64, 100, 117, 1000} {
			for j, pulse := range []float64{32, 40, 55, 75, 95, 120, 150, 180, 200, 240} {
				if seeds(t) == 1 && hz == 1000 && j%3 > 0 {
					continue
				}
				for _, noise := range []float64{0.01, 0.1, 0.3} { // of the pulse
					f := synth.New(synth.Recipe{RateHz: hz, PulseRate: pulse, Seed: seed, Shape: synth.Shape((i + j + int(seed)) % 3),
						Breathing: 0.03 * float64(j%3), Perfusion: 0.01, Noise: 0.01 * noise, Drift: 0.001})
					keys := []string{fmt.Sprintf("noise %.2f", noise), fmt.Sprintf("rate %3.0f, noise %.2f", pulse, noise)}
					if noise < 0.3 {
						keys = append(keys, fmt.Sprintf("%4.0f Hz", hz))
					}
					y.rate(t, f, 40, keys...)
				}
			}
		}
	}
	y.report(t)
	for key, want := range map[string]float64{"noise 0.01": 0.95, "noise 0.10": 0.90} {
		if y.share(key) < want {
			t.Errorf("%s: shown %.3f of the time, want %.2f", key, y.share(key), want)
		}
	}
}

// A far, cold or fast pulse is a sine; but so is breathing (under 45/min), and a lamp's flicker folded down by sampling.
func TestGridOfSines(t *testing.T) {
	t.Parallel()
	y := newTally()
	for seed := range seeds(t) {
		for _, pulse := range []float64{36, 60, 90, 140, 180, 220} {
			f := synth.New(synth.Recipe{RateHz: 117, PulseRate: pulse, Seed: seed, Shape: synth.Sine, Perfusion: 0.01, Noise: 0.0001})
			y.rate(t, f, 30, fmt.Sprintf("sine %g", pulse))
		}
	}
	y.report(t)
	for _, pulse := range []float64{60, 90, 140, 220} {
		if key := fmt.Sprintf("sine %g", pulse); y.share(key) < 0.9 {
			t.Errorf("%s: shown %.3f of the time", key, y.share(key))
		}
	}
	if y.shown["sine 36"]+y.shown["sine 180"] > 0 {
		t.Errorf("breathing or a lamp is shown as a pulse")
	}
}

// Lamps at 50 and 60 Hz, and at twice that, at rates that fold them onto anything; up to thirty times as strong as the pulse.
func TestGridOfLamps(t *testing.T) {
	t.Parallel()
	y := newTally()
	n := 0
	for seed := range seeds(t) {
		for _, hz := range []float64{25, 30, 50, 64, 100, 117, 125, 128, 200, 250, 256, 1000} {
			for _, lamp := range []float64{50, 60, 100, 120} {
				for _, strength := range []float64{0.3, 1, 5, 30} {
					if n++; seeds(t) == 1 && n%3 == 0 {
						continue
					}
					pulse := []float64{50, 80, 150}[n%3]
					f := synth.New(synth.Recipe{RateHz: hz, PulseRate: pulse, Seed: seed, Shape: synth.Shape(n % 3), Breathing: 0.03,
						Perfusion: 0.01, Noise: 0.0001, Drift: 0.0005, LampHz: lamp, Lamp: 0.01 * strength})
					y.rate(t, f, 22, fmt.Sprintf("%4.0f Hz", hz))
				}
			}
		}
	}
	y.report(t)
	for _, key := range []string{" 100 Hz", " 200 Hz", " 250 Hz", " 256 Hz", "1000 Hz"} { // elsewhere sampling itself folds
		if y.share(key) < 0.9 {
			t.Errorf("%s: shown %.3f of the time", key, y.share(key))
		}
	}
}

// Beats that are not alike or come at odd times: a rate that isn't the pulse's is never shown; none is no harm.
func TestGridOfRhythms(t *testing.T) {
	t.Parallel()
	y := newTally()
	for seed := range 3 * seeds(t) {
		for _, pulse := range []float64{50, 60, 75} { // so that an early beat isn't where a second wave may be
			for name, rhythm := range map[string]synth.Rhythm{"bigeminy": synth.Bigeminy, "dropped": synth.Dropped} {
				y.rate(t, synth.New(synth.Recipe{RateHz: 100, PulseRate: pulse, Seed: seed, Shape: synth.Shape(seed % 3), Rhythm: rhythm,
					Perfusion: 0.01, Noise: 0.0001}), 30, name)
			}
		}
	}
	y.report(t)
	for seed := range 3 * seeds(t) {
		f := synth.New(synth.Recipe{RateHz: 100, PulseRate: 85, Seed: seed, Rhythm: synth.Irregular, Perfusion: 0.01, Noise: 0.0001})
		shown := 0
		for i, r := range results(t, infrared(f, 60), 100) {
			near := r.Absent != ""
			if !near {
				shown++
			}
			for _, span := range []float64{5, 6, 7, 8, 10, 12} { // a rate that wanders so is the rate of its window
				want := truth(f.Beats(), float64(i+1)-span, float64(i+1))
				near = near || math.Abs(r.Rate-want) <= max(5, 0.1*want)
			}
			if !near {
				t.Errorf("irregular: %.0f/min at %d s", r.Rate, r.Seconds)
			}
		}
		if shown > 10 {
			t.Errorf("irregular: shown for %d s of 60", shown)
		}
	}
}

func infrared(f *synth.Finger, seconds int) (x []float64) {
	for range int(float64(seconds) * f.RateHz) {
		_, ir := f.Next()
		x = append(x, ir)
	}
	return x
}

// Noise of every colour has no pulse.
func TestGridOfNoise(t *testing.T) {
	t.Parallel()
	y := newTally()
	for seed := range 2 * seeds(t) {
		for kind, next := range noises(seed) {
			c, err := New(100)
			if err != nil {
				t.Fatal(err)
			}
			for range 150 * 100 {
				if r, ok := c.Push(next()); ok {
					y.add(kind, r.Absent == "", r.Absent == "")
				}
			}
		}
	}
	y.report(t)
}

func noises(seed uint64) map[string]func() float64 {
	rng := rand.New(rand.NewPCG(seed, 3))
	shaken := synth.New(synth.Recipe{RateHz: 100, PulseRate: 60, Seed: seed})
	shaken.Move(synth.Shaking, 1, 1e9)
	walk, pink := 0.0, [3]float64{}
	return map[string]func() float64{
		"white":  rng.NormFloat64,
		"coarse": func() float64 { return math.Round(rng.NormFloat64()) },
		"brown":  func() float64 { walk = 0.9999*walk + rng.NormFloat64(); return walk },
		"pink": func() (x float64) {
			w := rng.NormFloat64()
			for i, a := range []float64{0.9, 0.99, 0.999} {
				pink[i] = a*pink[i] + w*math.Sqrt(1-a)
				x += pink[i]
			}
			return x
		},
		"shaken": func() float64 { _, ir := shaken.Next(); return ir },
	}
}
