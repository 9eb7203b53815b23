package ppg

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"

	"telecart/device"
	"telecart/device/ppg/synth"
)

// The values of reference 7, and what lies beyond the calibration's maximum.
func TestSaturation(t *testing.T) {
	for _, c := range []struct{ ratio, want float64 }{
		{0.4, 99.8}, {0.5, 98.8}, {0.6, 96.8}, {0.8, 90.3}, {1.0, 80.1}, {0.337, 100.0}, {0.2, 100.0}, {0.03, 100.0},
	} {
		if got := Saturation(c.ratio); math.Abs(got-c.want) > 0.06 || got > 100 {
			t.Errorf("R %.3f gives %.2f %%, want %.1f", c.ratio, got, c.want)
		}
	}
	for r := 0.0; r < 1.8; r += 0.01 {
		if Saturation(r+0.01) > Saturation(r) {
			t.Fatalf("it rises at R = %.2f", r)
		}
	}
}

func TestRates(t *testing.T) {
	for _, hz := range []float64{25, 117, 1000} {
		if _, err := New(hz); err != nil {
			t.Errorf("%g Hz: %v", hz, err)
		}
	}
	for _, hz := range []float64{0, -100, 24.9, 1001, math.NaN(), math.Inf(1)} {
		if _, err := New(hz); !errors.Is(err, ErrRate) {
			t.Errorf("%g Hz: %v", hz, err)
		}
		if _, err := NewOximeter(hz, 1); !errors.Is(err, ErrRate) {
			t.Errorf("%g Hz: %v", hz, err)
		}
	}
	for _, full := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if _, err := NewOximeter(100, full); err == nil {
			t.Errorf("full scale %g is taken", full)
		}
	}
}

// spell is a stretch of seconds with one word.
type spell struct {
	word     device.Reason // "" is a number
	from, to int
}

func spells(rs []Result) (out []spell) {
	for _, r := range rs {
		if n := len(out); n == 0 || out[n-1].word != r.Absent {
			out = append(out, spell{r.Absent, r.Seconds, r.Seconds})
		}
		out[len(out)-1].to = r.Seconds
	}
	return out
}

// What a chain says of a good pulse that something happens to at 20 s, and what it says last.
func TestInterruptions(t *testing.T) {
	const hz = 100
	for _, c := range []struct {
		name string
		do   func(x []float64) // to seconds 20 to 60
		then device.Reason     // said in between
		back int               // seconds after which there is a number again
	}{
		{"nothing", func([]float64) {}, "", 0},
		{"one sample lost", func(x []float64) { x[0] = math.NaN() }, "", 0},
		{"one sample wild", func(x []float64) { x[0] = 1e9 }, "", 0},
		{"one sample zero, every second", func(x []float64) {
			for i := 0; i < len(x); i += hz {
				x[i] = 0
			}
		}, "", 0},
		{"half a second lost", func(x []float64) { fill(x[:hz/2], math.NaN()) }, Moving, 8},
		{"infinite", func(x []float64) { fill(x[:3*hz], math.Inf(-1)) }, Moving, 11},
		{"half a second of zeros", func(x []float64) { fill(x[:hz/2], 0) }, Moving, 9},
		{"flat for 5 s", func(x []float64) { fill(x[:5*hz], x[0]) }, NoPulse, 13},
		{"flat for good", func(x []float64) { fill(x, x[0]) }, NoPulse, -1},
		{"a step", func(x []float64) { shift(x, 0.3) }, Moving, 8},
		{"steps for 4 s", func(x []float64) {
			for i := 0; i < 4*hz; i += 70 {
				shift(x[i:], 0.05*float64(1+i%3))
			}
		}, Moving, 13},
		{"saturated for 3 s", func(x []float64) { fill(x[:3*hz], 1.2) }, Moving, 12},
	} {
		x := infrared(synth.New(synth.Recipe{RateHz: hz, PulseRate: 72, Seed: 5, Breathing: 0.02, Perfusion: 0.01, Noise: 0.00005}), 60)
		c.do(x[20*hz:])
		rs := results(t, x, hz)
		if len(rs) != 60 || rs[18].Absent != "" {
			t.Fatalf("%s: %d seconds, %v", c.name, len(rs), spells(rs))
		}
		said, back := c.then == "", -1
		for _, r := range rs[20:] {
			said = said || r.Absent == c.then
			switch {
			case r.Absent != "" && (r.Rate != 0 || r.Match != 0):
				t.Errorf("%s: absent and a number: %+v", c.name, r)
			case r.Absent != "":
				back = -1
			case math.Abs(r.Rate-72) > 4:
				t.Errorf("%s: %.1f/min at %d s", c.name, r.Rate, r.Seconds)
			case back < 0:
				back = r.Seconds - 21
			}
		}
		if !said || back > c.back || back < 0 != (c.back < 0) {
			t.Errorf("%s: it said %v", c.name, spells(rs))
		}
	}
}

func fill(x []float64, v float64) {
	for i := range x {
		x[i] = v
	}
}

func shift(x []float64, by float64) {
	for i := range x {
		x[i] += by
	}
}

// A gap forgets all, and the seconds go on.
func TestGap(t *testing.T) {
	c, err := New(50)
	if err != nil {
		t.Fatal(err)
	}
	f := synth.New(synth.Recipe{RateHz: 50, PulseRate: 80, Perfusion: 0.02})
	var rs []Result
	for i := range 30 * 50 {
		if i == 15*50 {
			c.Gap()
		}
		_, ir := f.Next()
		if r, ok := c.Push(ir); ok {
			rs = append(rs, r)
		}
	}
	got := spells(rs)
	if len(got) < 4 || got[0] != (spell{device.NotYet, 1, 5}) || got[1] != (spell{"", 6, 15}) || got[2].word != Moving || got[len(got)-1].word != "" {
		t.Errorf("it said %v", got)
	}
}

// A wrong rate of the oscillator is a wrong rate of the pulse, until the chain is told.
func TestRetime(t *testing.T) {
	f := synth.New(synth.Recipe{RateHz: 95, PulseRate: 100, Perfusion: 0.02}) // truly 95 Hz, said to be 100
	o, err := NewOximeter(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	var rates []float64
	for i := range 60 * 95 {
		if i == 30*95 {
			o.Retime(95)
			o.Retime(math.NaN())
			o.Retime(50) // no oscillator is so far off
		}
		red, ir := f.Next()
		if v, ok := o.Push(0.6*red, 0.6*ir); ok {
			rates = append(rates, v.Rate)
		}
	}
	if before, after := rates[25], rates[len(rates)-1]; math.Abs(before-100/0.95) > 1 || math.Abs(after-100) > 1 || len(rates) != 58 {
		t.Errorf("%.1f before, %.1f after, %d seconds", before, after, len(rates))
	}
}

// What is wrong with the light is said before anything else.
func TestLight(t *testing.T) {
	for _, c := range []struct {
		name    string
		red, ir float64 // steady light, of full scale
		edit    func(red, ir *float64)
		want    device.Reason
	}{
		{"good", 0.6, 0.6, nil, ""},
		{"just enough", 0.11, 0.11, nil, ""},
		{"dark", 0.09, 0.6, nil, TooDark},
		{"darkness", 0, 0, nil, TooDark},
		{"bright", 0.6, 0.92, nil, TooBright},
		{"tops missing", 0.88, 0.6, func(red, _ *float64) { *red = min(1+(*red-0.88)*30, 1) }, TooBright},
		{"a ratio that jumps", 0.6, 0.6, func() func(red, ir *float64) {
			n := 0
			return func(red, ir *float64) {
				ratio := 0.36 // so low that it makes little difference to the saturation
				if n++; n/100%2 == 0 {
					ratio = 0.62
				}
				*red = 0.6 + (*ir-0.6)*ratio
			}
		}(), Unlike},
		{"weak pulse", 0.6, 0.6, func(red, ir *float64) { *red, *ir = 0.6+(*red-0.6)/20, 0.6+(*ir-0.6)/20 }, device.LowSignal},
		{"no pulse in red", 0.6, 0.6, func(red, _ *float64) { *red = 0.6 + (*red-0.6)/1e4 }, Unlikely},
		{"red against infrared", 0.6, 0.6, func(red, ir *float64) { *red = 1.2 - *ir }, device.LowSignal},
		{"a ratio of 1.5", 0.6, 0.6, func(red, ir *float64) { *red = 0.6 + (*ir-0.6)*1.5 }, Unlikely},
	} {
		f := synth.New(synth.Recipe{RateHz: 100, PulseRate: 72, Seed: 5, Perfusion: 0.02, Ratio: 0.7})
		o, err := NewOximeter(100, 1)
		if err != nil {
			t.Fatal(err)
		}
		var last Vitals
		for range 20 * 100 {
			red, ir := f.Next()
			red, ir = c.red*red, c.ir*ir
			if c.edit != nil {
				c.edit(&red, &ir)
			}
			if v, ok := o.Push(red, ir); ok {
				last = v
			}
		}
		if last.NoSaturation != c.want || c.want == "" && math.Abs(last.Saturation-Saturation(0.7)) > 1 {
			t.Errorf("%s: %+v, want %q", c.name, last, c.want)
		}
	}
}

// The perfusion index is the pulse from valley to peak.
func TestPerfusion(t *testing.T) {
	for _, want := range []float64{0.3, 1, 5} {
		f := synth.New(synth.Recipe{RateHz: 100, PulseRate: 72, Shape: synth.Middle, Perfusion: want / 100, Noise: want / 1e4})
		var got float64
		vitals(t, f, 15, func(v Vitals) { got = v.Perfusion })
		if math.Abs(got-want) > 0.1*want {
			t.Errorf("%.2f %%, want %.2f", got, want)
		}
	}
}

// Any samples whatever: no panic, bounded memory, and a rate in range or none.
func FuzzChain(f *testing.F) {
	pulse := infrared(synth.New(synth.Recipe{RateHz: 25, PulseRate: 90, Perfusion: 0.02}), 12)
	f.Add(counts(pulse, 1<<14), uint16(25), false)
	f.Add([]byte{0, 0, 255, 255, 0, 128}, uint16(1000), true)
	f.Add([]byte{0xFF, 0x7F, 0x00, 0x80, 0x01}, uint16(117), true)
	f.Fuzz(func(t *testing.T, data []byte, hz uint16, repeat bool) {
		rate := 25 + float64(hz%976)
		c, err := New(rate)
		if err != nil {
			t.Fatal(err)
		}
		o, err := NewOximeter(rate, 1<<15)
		if err != nil {
			t.Fatal(err)
		}
		n := len(data) / 2
		if repeat && n > 0 {
			n = min(max(n, int(20*rate)), 8000)
		}
		seconds := 0
		for i := range n {
			at := 2 * i % (len(data) &^ 1)
			x := float64(int16(binary.LittleEndian.Uint16(data[at:])))
			if x == -32768 {
				x = math.NaN()
			}
			if r, ok := c.Push(x * x * x); ok {
				if seconds++; r.Seconds != seconds {
					t.Fatalf("second %d is called %d", seconds, r.Seconds)
				}
				if r.Absent == "" != (r.Rate >= MinPulse && r.Rate <= MaxPulse && r.Match >= minMatch) || r.Absent != "" && r.Rate+r.Match != 0 {
					t.Fatalf("%+v", r)
				}
			}
			v, ok := o.Push(x, x/2+8000)
			if ok && (v.NoSaturation == "" && !(v.Saturation >= minSaturation && v.Saturation <= 100) || v.Absent != "" && v.NoSaturation == "" ||
				v.Absent == "" && !(v.Rate >= MinPulse && v.Rate <= MaxPulse) || math.IsNaN(v.Perfusion+v.Ratio+v.Saturation+v.Rate)) {
				t.Fatalf("%+v", v)
			}
		}
		if kept := cap(c.in.kept[0]); kept > int(2*13*120)+2 {
			t.Fatalf("%d samples are kept", kept)
		}
	})
}

func counts(x []float64, scale float64) (b []byte) {
	low := slices.Min(x)
	for _, v := range x {
		b = binary.LittleEndian.AppendUint16(b, uint16((v-low)*scale))
	}
	return b
}
