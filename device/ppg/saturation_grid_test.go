package ppg

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"telecart/device/ppg/synth"
)

const top = 262143 // of 18 bits

// vitals runs a finger through an oximeter, in counts, and calls each with what it says.
func vitals(t *testing.T, f *synth.Finger, seconds int, each func(v Vitals)) {
	t.Helper()
	o, err := NewOximeter(f.RateHz, top)
	if err != nil {
		t.Fatal(err)
	}
	counts := func(x, steady float64) float64 { return min(max(math.Round(x*steady), 0), top) }
	for range int(float64(seconds) * f.RateHz) {
		red, ir := f.Next()
		if v, ok := o.Push(counts(red, 150_000), counts(ir, 165_000)); ok {
			each(v)
		}
	}
}

// both counts rate and saturation.
func (y *tally) both(t *testing.T, f *synth.Finger, v Vitals, from int, key string) {
	t.Helper()
	want := Saturation(f.Ratio)
	off := math.Abs(v.Saturation - want)
	if wrong := wrongRate(v.Result, f); v.Seconds > from || wrong {
		y.add(key+", rate", v.Absent == "", wrong)
	}
	if wrong := v.NoSaturation == "" && off > 3; v.Seconds > from || wrong {
		y.add(key+", saturation", v.NoSaturation == "", wrong)
	}
	if v.NoSaturation == "" {
		y.worst = max(y.worst, off)
		y.errs = append(y.errs, off)
	}
	if v.Absent != "" && v.NoSaturation == "" || v.Absent != "" && v.Rate != 0 || v.NoSaturation != "" && v.Saturation+v.Ratio != 0 {
		t.Errorf("%s: absent and a number: %+v", key, v)
	}
}

func TestGridOfSaturations(t *testing.T) {
	t.Parallel()
	y := newTally()
	n := 0
	for seed := range seeds(t) {
		for _, ratio := range []float64{0.4, 0.5, 0.6, 0.8, 1.0, 1.2} {
			for _, perfusion := range []float64{0.002, 0.003, 0.005, 0.01, 0.05} {
				for _, pulse := range []float64{40, 75, 120, 200} {
					for _, noise := range []float64{0, 0.00005, 0.0003} {
						if n++; seeds(t) == 1 && n*7919%11 > 3 {
							continue
						}
						f := synth.New(synth.Recipe{RateHz: 100, PulseRate: pulse, Seed: seed, Shape: synth.Shape(n / 3 % 3), Breathing: 0.02,
							Perfusion: perfusion, Ratio: ratio, Noise: noise, Drift: 0.0005, LampHz: 50, Lamp: 0.01 * float64(n%2)})
						key := fmt.Sprintf("perfusion %.1f %%, noise %.3f %%", 100*perfusion, 100*noise)
						vitals(t, f, 30, func(v Vitals) { y.both(t, f, v, 10, key) })
					}
				}
			}
		}
	}
	y.report(t)
	t.Logf("saturation: error mean %.2f, median %.2f, max %.2f %%", mean(y.errs), median(y.errs), slices.Max(y.errs))
	for key := range y.of {
		var perfusion, noise float64
		var what string
		if _, err := fmt.Sscanf(key, "perfusion %f %%, noise %f %%, %s", &perfusion, &noise, &what); err != nil {
			t.Fatal(err)
		}
		if perfusion >= 0.5 && noise < 0.03 && y.share(key) < 0.9 {
			t.Errorf("%s: shown %.3f of the time", key, y.share(key))
		}
	}
}

// A finger moves for a while, then rests: nothing false meanwhile, and numbers again within some seconds.
func TestGridOfMovements(t *testing.T) {
	t.Parallel()
	y := newTally()
	n := 0
	for seed := range seeds(t) {
		for move, name := range []string{"shaking", "tapping", "sliding", "lifting"} {
			for _, strength := range []float64{0.3, 1, 3, 10, 40} { // of the pulse
				for _, pulse := range []float64{50, 75, 100, 160} {
					for _, seconds := range []float64{1, 3, 8} {
						n++
						ratio := []float64{0.5, 0.8, 1.1}[n%3]
						if seeds(t) == 1 && n%2 > 0 {
							continue
						}
						f := synth.New(synth.Recipe{RateHz: 100, PulseRate: pulse, Seed: seed, Shape: synth.Shape(n / 3 % 3), Breathing: 0.02,
							Perfusion: 0.01, Ratio: ratio, Noise: 0.00005, Drift: 0.0003})
						back := 0
						vitals(t, f, 13+int(seconds)+14, func(v Vitals) {
							if v.Seconds == 13 {
								f.Move(synth.Motion(move), 0.01*strength, seconds)
							}
							y.both(t, f, v, 13+int(seconds)+9, name)
							if v.Seconds > 13+int(seconds) && v.Absent == "" && back == 0 {
								back = v.Seconds - 13 - int(seconds)
							}
						})
						y.add("number again within 9 s", back > 0 && back <= 9, false)
					}
				}
			}
		}
	}
	y.report(t)
	if share := y.share("number again within 9 s"); share < 0.9 {
		t.Errorf("only %.2f are back within 9 s", share)
	}
	for _, name := range []string{"shaking", "tapping", "sliding", "lifting"} {
		if y.share(name+", rate") < 0.95 {
			t.Errorf("%s: the rate is shown %.3f of the time after it", name, y.share(name+", rate"))
		}
	}
}
