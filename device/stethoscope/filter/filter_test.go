package filter

import (
	"encoding/json"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"testing"
)

// gain is the response of sections at f, in decibels.
func gain(sections []Section, f, rate float64) float64 {
	z := cmplx.Exp(complex(0, -2*math.Pi*f/rate)) // z^-1
	h := complex(1, 0)
	for _, s := range sections {
		h *= (complex(s.B[0], 0) + z*complex(s.B[1], 0) + z*z*complex(s.B[2], 0)) /
			(complex(s.A[0], 0) + z*complex(s.A[1], 0) + z*z*complex(s.A[2], 0))
	}
	return 20 * math.Log10(cmplx.Abs(h))
}

func each(t *testing.T, test func(t *testing.T, b Band, s []Section, rate float64)) {
	for _, b := range Bands() {
		for _, rate := range []float64{8000, 44100, 48000, 96000} {
			s, err := b.Sections(rate)
			if err != nil {
				t.Fatal(err)
			}
			test(t, b, s, rate)
		}
	}
}

func TestResponse(t *testing.T) {
	each(t, func(t *testing.T, b Band, s []Section, rate float64) {
		at := func(f float64) float64 { return gain(s, f, rate) }
		for _, corner := range []float64{b.LowHz, b.HighHz} {
			if g := at(corner); math.Abs(g+3.01) > 0.5 {
				t.Errorf("%s at %g: %.2f dB at the corner of %g Hz, want -3", b.Name, rate, g, corner)
			}
		}
		// Flat where neither corner is near: a Butterworth falls 0.28 dB at 1.4 times its corner.
		for f := 1.4 * b.LowHz; f <= b.HighHz/1.4; f *= 1.01 {
			if g := at(f); g > 0.01 || g < -0.5 {
				t.Fatalf("%s at %g: %.2f dB at %.0f Hz, in the middle of the band", b.Name, rate, g, f)
			}
		}
		// 24 dB an octave: two octaves below -48 dB, and one octave more -72; above it falls faster, near half the rate.
		for _, x := range []struct{ f, least, most float64 }{
			{b.LowHz / 4, -49, -47}, {b.LowHz / 8, -73, -71},
			{b.HighHz * 2, -60, -23}, {b.HighHz * 4, -1000, -47},
		} {
			if g := at(x.f); x.f < rate/2 && (g < x.least || g > x.most) {
				t.Errorf("%s at %g: %.1f dB at %.1f Hz, want %g to %g", b.Name, rate, g, x.f, x.least, x.most)
			}
		}
	})
}

// What the running filter does to a tone is what its coefficients say.
func TestTone(t *testing.T) {
	for _, x := range []struct {
		band     Band
		f        float64
		least, h float64
	}{
		{Bell(), 60, -0.3, 0.1}, {Bell(), 20, -3.3, -2.7}, {Bell(), 800, -60, -45},
		{Diaphragm(), 220, -0.3, 0.1}, {Diaphragm(), 25, -60, -45}, {Extended(), 30, -0.4, 0.1}, {Lung(), 1000, -0.3, 0.1},
	} {
		const rate = 48000
		f, err := New(x.band, rate)
		if err != nil {
			t.Fatal(err)
		}
		var power float64
		for i := range 3 * rate {
			y := f.Step(math.Sin(2 * math.Pi * x.f * float64(i) / rate))
			if i >= 2*rate {
				power += 2 * y * y / rate
			}
		}
		if g := 10 * math.Log10(power); g < x.least || g > x.h {
			t.Errorf("%s: a tone of %g Hz comes out at %.2f dB, want %g to %g", x.band.Name, x.f, g, x.least, x.h)
		}
	}
}

// A browser makes these coefficients of the nodes (Web Audio API, section 1.13.5, "Filters characteristics").
func TestNodes(t *testing.T) {
	each(t, func(t *testing.T, b Band, s []Section, rate float64) {
		nodes := b.Nodes()
		if len(nodes) != len(s) {
			t.Fatalf("%d nodes for %d sections", len(nodes), len(s))
		}
		for i, n := range nodes {
			w := 2 * math.Pi * n.FrequencyHz / rate
			alpha := math.Sin(w) / (2 * math.Pow(10, n.QdB/20))
			b0, b1 := (1-math.Cos(w))/2, 1-math.Cos(w)
			if n.Type == "highpass" {
				b0, b1 = (1+math.Cos(w))/2, -(1 + math.Cos(w))
			}
			a0 := 1 + alpha
			want := Section{[3]float64{b0 / a0, b1 / a0, b0 / a0}, [3]float64{1, -2 * math.Cos(w) / a0, (1 - alpha) / a0}}
			for j := range 3 {
				if math.Abs(s[i].B[j]-want.B[j]) > 1e-12 || math.Abs(s[i].A[j]-want.A[j]) > 1e-12 {
					t.Fatalf("%s at %g: section %d is %v, the browser's is %v", b.Name, rate, i, s[i], want)
				}
			}
		}
	})
	data, err := json.Marshal(Bell().Nodes()[:1])
	var said []map[string]any
	if err != nil || json.Unmarshal(data, &said) != nil || len(said[0]) != 3 || said[0]["type"] != "highpass" ||
		said[0]["frequency_hz"] != 20.0 || math.Abs(said[0]["q_db"].(float64)+5.33290683) > 1e-8 {
		t.Errorf("as data: %s", data)
	}
}

func TestPolesAreInside(t *testing.T) {
	each(t, func(t *testing.T, b Band, s []Section, rate float64) {
		for i, x := range s { // the triangle in which both roots of 1 + a1 z^-1 + a2 z^-2 are inside the unit circle
			if !(math.Abs(x.A[2]) < 1 && math.Abs(x.A[1]) < 1+x.A[2]) {
				t.Errorf("%s at %g: section %d is not stable: %v", b.Name, rate, i, x)
			}
		}
	})
}

// Twenty seconds of the worst that can come in must neither grow nor drift.
func TestLongRun(t *testing.T) {
	f, err := New(Extended(), 48000)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	peak := 0.0
	for range 20 * 48000 {
		x := 1.0
		if random.IntN(2) == 0 {
			x = -1
		}
		peak = max(peak, math.Abs(f.Step(x)))
	}
	if !(peak > 0.2 && peak < 4) {
		t.Errorf("20 s of full-scale noise peaks at %g", peak)
	}
	for range 5 * 48000 { // full-scale offset: nothing of it may stay
		f.Step(1)
	}
	if y := f.Step(1); math.Abs(y) > 1e-9 {
		t.Errorf("5 s into a constant the filter gives %g", y)
	}
}

// Silence leaves no denormal numbers behind, and none on the way.
func TestSilence(t *testing.T) {
	const rate = 8000
	for _, b := range Bands() {
		f, err := New(b, rate)
		if err != nil {
			t.Fatal(err)
		}
		f.Step(1)
		for i := range 10 * rate {
			f.Step(0)
			for _, z := range f.state {
				if tiny(z[0]) || tiny(z[1]) {
					t.Fatalf("%s: state %v, %d values into silence", b.Name, z, i)
				}
			}
		}
		for _, z := range f.state {
			if z != [2]float64{} {
				t.Errorf("%s: state %v after 10 s of silence", b.Name, z)
			}
		}
	}
}

// tiny says that a number is denormal.
func tiny(z float64) bool { return z != 0 && z < 0x1p-1022 && z > -0x1p-1022 }

func TestSettle(t *testing.T) {
	f, err := New(Bell(), 48000)
	if err != nil {
		t.Fatal(err)
	}
	f.Settle(0.25)
	for range 48000 {
		if y := f.Step(0.25); math.Abs(y) > 1e-9 {
			t.Fatalf("a settled filter gives %g at the offset it settled on", y)
		}
	}
}

func TestInt16(t *testing.T) {
	f, err := New(Extended(), 48000)
	if err != nil {
		t.Fatal(err)
	}
	tone := make([]int16, 48000)
	for i := range tone {
		tone[i] = int16(math.Round(32767 * math.Copysign(1, math.Sin(2*math.Pi*100*float64(i)/48000))))
	}
	f.Int16(tone, tone) // a square wave overshoots: it must be held, not wrapped
	var most, least int16
	for i := 1; i < len(tone); i++ {
		most, least = max(most, tone[i]), min(least, tone[i])
		if d := int(tone[i]) - int(tone[i-1]); d > 30000 || d < -30000 {
			t.Fatalf("a jump of %d at %d: it wrapped", d, i)
		}
	}
	if most != math.MaxInt16 || least != math.MinInt16 {
		t.Errorf("from %d to %d: a full-scale square wave should touch both ends", least, most)
	}
}

func TestRefused(t *testing.T) {
	for _, b := range []Band{{"", 0, 100}, {"", 200, 100}, {"", 100, 4000}, {"", math.NaN(), 100}} {
		if _, err := New(b, 8000); err == nil {
			t.Errorf("%v at 8000 is accepted", b)
		}
	}
	if b, ok := LookUp("lung"); !ok || b != Lung() {
		t.Error("lung is not found")
	}
	if _, ok := LookUp("trumpet"); ok {
		t.Error("trumpet is found")
	}
}

func BenchmarkSound(b *testing.B)   { bench(b, 1) }
func BenchmarkSilence(b *testing.B) { bench(b, 0) }

func bench(b *testing.B, level float64) {
	f, err := New(Extended(), 48000)
	if err != nil {
		b.Fatal(err)
	}
	f.Step(1)
	random := rand.New(rand.NewPCG(1, 2))
	x := make([]float64, 48000)
	for i := range x {
		x[i] = level * (2*random.Float64() - 1)
	}
	for b.Loop() {
		for _, v := range x {
			f.Step(v)
		}
	}
}
