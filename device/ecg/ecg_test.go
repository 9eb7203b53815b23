package ecg

import (
	"encoding/binary"
	"math"
	"math/cmplx"
	"strings"
	"testing"

	"telecart/device"
	"telecart/device/ecg/synth"
)

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{RateHz: 360}, ""},
		{Config{RateHz: 99}, "100 to 2000"},
		{Config{RateHz: 2001}, "100 to 2000"},
		{Config{RateHz: math.NaN()}, "100 to 2000"},
		{Config{RateHz: 360, PerMillivolt: -1}, "gain"},
		{Config{RateHz: 360, PerMillivolt: math.Inf(1)}, "gain"},
		{Config{RateHz: 360, Low: 2, High: 1}, "empty"},
		{Config{RateHz: 360, Low: math.NaN(), High: 1}, "empty"},
	} {
		_, err := New(c.config)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v", c.config, err)
		}
	}
}

// Within 5/min or 10 %, whichever is larger (IEC 60601-2-27), ten seconds after it became so.
func TestRate(t *testing.T) {
	for _, bpm := range []float64{22, 30, 40, 60, 72, 100, 120, 180, 240, 290} {
		const hz = 250
		a, err := New(Config{RateHz: hz, PerMillivolt: 1})
		if err != nil {
			t.Fatal(err)
		}
		g := synth.New(synth.Recipe{RateHz: hz, Seed: 4, White: 0.01, Jitter: 0.02, BPM: squareWave(60, bpm, 75)})
		for s := range 60 {
			a.Write(g.Samples(hz))
			want := bpm
			if s >= 30 {
				want = 75
			}
			got, why := a.Rate()
			if s < 1 && why != device.NotYet {
				t.Errorf("%g/min after 1 s: %g, %q", bpm, got, why)
			}
			if settled := s >= 14 && s < 30 || s >= 44; settled && (why != "" || math.Abs(got-want) > max(5, 0.1*want)) {
				t.Errorf("%g/min after %d s: %.1f, %q", want, s, got, why)
			}
		}
	}
}

// A clock that runs 7 % fast makes the heart 7 % slow, until the analyzer is told.
func TestRetime(t *testing.T) {
	a, err := New(Config{RateHz: 250})
	if err != nil {
		t.Fatal(err)
	}
	a.Write(synth.New(synth.Recipe{RateHz: 250 * 1.07, BPM: steady(100)}).Samples(250 * 20))
	wrong, _ := a.Rate()
	a.Retime(250 * 1.07)
	right, why := a.Rate()
	if math.Abs(wrong-93.5) > 0.5 || math.Abs(right-100) > 0.5 || why != "" {
		t.Errorf("%.1f, then %.1f %q", wrong, right, why)
	}
	a.Retime(math.NaN())
	if again, _ := a.Rate(); again != right {
		t.Errorf("%g after a clock that is no number", again)
	}
}

func TestWhyThereIsNoRate(t *testing.T) {
	const hz = 250
	heart := func() *synth.Generator { return synth.New(synth.Recipe{RateHz: hz, White: 0.01}) }
	noise := func(r synth.Recipe) []float64 {
		r.Silent, r.RateHz = true, hz
		return synth.New(r).Samples(20 * hz)
	}
	constant := func(v float64) []float64 {
		x := make([]float64, 6*hz)
		for i := range x {
			x[i] = v
		}
		return x
	}
	rail := heart().Samples(6 * hz)
	for i := range rail {
		rail[i] = min(1.65, rail[i]+1.5)
	}
	for _, c := range []struct {
		name   string
		heart  int // seconds of ECG before
		signal []float64
		want   device.Reason
	}{
		{"flat from the start", 0, constant(0.3), Flat},
		{"flat after beats", 20, constant(0.3), Flat},
		{"at the upper end", 20, constant(1.65), Saturated},
		{"beats cut off", 20, rail, Saturated},
		{"white noise", 0, noise(synth.Recipe{White: 0.2}), Noisy},
		{"white noise after beats", 20, noise(synth.Recipe{White: 0.3}), Noisy},
		{"no beats any more", 20, noise(synth.Recipe{White: 0.02}), NoBeats},
		{"not a number", 20, []float64{math.NaN()}, ""},
	} {
		a, err := New(Config{RateHz: hz, PerMillivolt: 1, Low: -1.65, High: 1.65})
		if err != nil {
			t.Fatal(err)
		}
		if _, why := a.Rate(); why != device.NotYet {
			t.Errorf("%s: %q before the first sample", c.name, why)
		}
		if a.Write(heart().Samples(c.heart * hz)); c.heart > 0 {
			if bpm, why := a.Rate(); why != "" || math.Abs(bpm-72) > 3 {
				t.Errorf("%s: before it %g, %q", c.name, bpm, why)
			}
		}
		a.Write(c.signal)
		if bpm, why := a.Rate(); why != c.want || why != "" && bpm != 0 {
			t.Errorf("%s: %g, %q, want %q", c.name, bpm, why, c.want)
		}
	}
}

// The end of a recording: a beat 50 ms before it counts.
func TestFlush(t *testing.T) {
	const hz = 360
	g := synth.New(synth.Recipe{RateHz: hz, Seed: 9, White: 0.005})
	x := g.Samples(30 * hz)
	last := g.Beats()[len(g.Beats())-1]
	a, err := New(Config{RateHz: hz})
	if err != nil {
		t.Fatal(err)
	}
	n := len(a.Write(x[:last+hz/20]))
	end := a.Flush()
	if len(end) != 1 || math.Abs(float64(end[0].Sample)-float64(last)) > 4 || n != len(g.Beats())-1 {
		t.Errorf("%d beats, then %+v; the last is at %d", n, end, last)
	}
}

// The filters' amplitudes by their transfer functions.
func TestFilters(t *testing.T) {
	gain := func(q biquad, at, rate float64) float64 {
		z := cmplx.Exp(complex(0, -2*math.Pi*at/rate))
		c := func(v float64) complex128 { return complex(v, 0) }
		return cmplx.Abs((c(q.b0) + c(q.b1)*z + c(q.b2)*z*z) / (1 + c(q.a1)*z + c(q.a2)*z*z))
	}
	near := func(what string, got, want, tol float64) {
		t.Helper()
		if math.Abs(got-want) > tol {
			t.Errorf("%s: %.4f, want %.4f", what, got, want)
		}
	}
	for _, rate := range []float64{100, 128, 250, 360, 1000, 2000} {
		low, high := lowPass(15, rate), highPass(5, rate)
		near("low pass at 0", gain(low, 0, rate), 1, 1e-9)
		near("low pass at its cut-off", gain(low, 15, rate), math.Sqrt(0.5), 1e-9)
		near("high pass at its cut-off", gain(high, 5, rate), math.Sqrt(0.5), 1e-9)
		near("high pass at half the rate", gain(high, rate/2, rate), 1, 1e-9)
		if rate < 125 {
			continue
		}
		n := notch(50, 30, rate)
		near("notch", gain(n, 50, rate), 0, 1e-9)
		near("below the notch", gain(n, 40, rate), 1, 0.01)
		if rate >= 360 { // the bilinear transform bends the width near half of the rate
			near("its edge", gain(n, 50*(1-1/60.0), rate), math.Sqrt(0.5), 0.05)
		}
	}
}

func TestDisplay(t *testing.T) {
	for _, c := range []struct {
		at, mains float64
		low, high float64
	}{
		{0.05, 50, 0, 0.02}, {0.5, 50, 0.65, 0.75}, {5, 50, 0.97, 1.01}, {20, 50, 0.95, 1.01}, {50, 50, 0, 0.01},
		{60, 60, 0, 0.01}, {100, 50, 0, 0.03}, {50, 0, 0.2, 0.4},
	} {
		const rate = 500
		d, err := NewDisplay(rate, c.mains)
		if err != nil {
			t.Fatal(err)
		}
		peak := 0.0
		for i := range 60 * rate {
			y := d.Step(3 + math.Sin(2*math.Pi*c.at*float64(i)/rate))
			if i > 30*rate {
				peak = max(peak, math.Abs(y))
			}
		}
		if peak < c.low || peak > c.high {
			t.Errorf("%g Hz with %g Hz mains: %.3f", c.at, c.mains, peak)
		}
	}
	for _, c := range [][2]float64{{50, 50}, {250, 16.7}, {5000, 50}} {
		if _, err := NewDisplay(c[0], c[1]); err == nil {
			t.Errorf("%v: no error", c)
		}
	}
	d, err := NewDisplay(100, 50) // no notch can be made here
	if err != nil || math.Abs(d.Step(5)) > 1e-9 {
		t.Errorf("it starts with a step: %v", err)
	}
}

// Any signal at all: no panic, the promises kept, memory bounded, the same beats in pieces.
func FuzzAnalyzer(f *testing.F) {
	seed := func(r synth.Recipe) {
		r.RateHz = 100
		var b []byte
		for _, v := range synth.New(r).Samples(600) {
			b = binary.LittleEndian.AppendUint16(b, uint16(int16(v*2000)))
		}
		f.Add(b, uint16(0), uint8(7), uint8(0))
	}
	seed(synth.Recipe{})
	seed(synth.Recipe{BPM: steady(240), Motion: 0.3})
	seed(synth.Recipe{Silent: true, White: 1})
	f.Add([]byte{0, 0x80, 1, 0x80, 2, 0x80, 0xFF, 0x7F, 0, 0}, uint16(260), uint8(1), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, rate uint16, chunk, scale uint8) {
		if len(b) > 8000 {
			return
		}
		var x []float64
		for ; len(b) >= 2; b = b[2:] {
			v := float64(int16(binary.LittleEndian.Uint16(b)))
			switch v {
			case math.MinInt16:
				v = math.NaN()
			case math.MinInt16 + 1:
				v = math.Inf(-1)
			case math.MaxInt16:
				v = math.MaxFloat64
			}
			x = append(x, v*math.Pow(10, float64(scale%64)-32))
		}
		c := Config{RateHz: MinRateHz + float64(rate%(MaxRateHz-MinRateHz+1)), PerMillivolt: float64(scale >> 6)}
		whole := find(t, c, x, 0)
		pieces := find(t, c, x, int(chunk)+1)
		if len(whole) != len(pieces) {
			t.Fatalf("%d beats at once, %d in pieces", len(whole), len(pieces))
		}
		for i := range whole {
			if whole[i] != pieces[i] {
				t.Fatalf("beat %d: %d at once, %d in pieces", i, whole[i], pieces[i])
			}
		}
		a, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			a.Write(x)
			bpm, why := a.Rate()
			if why == "" && !(bpm >= slowest && bpm <= fastest) || why != "" && bpm != 0 {
				t.Fatalf("rate %g, %q", bpm, why)
			}
		}
		d := a.detector
		if len(d.held) > heldMost || len(d.large) > alikeRow || len(d.floor.blocks) > floorSpan || len(a.rate.beats) > rateBeats {
			t.Fatal("it grows")
		}
	})
}

func BenchmarkAnalyzer(b *testing.B) {
	x := synth.New(synth.Recipe{RateHz: 360, White: 0.02}).Samples(3600)
	a, err := New(Config{RateHz: 360})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		a.Write(x)
	}
}
