package sound

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"telecart/device"
	"telecart/device/kit"
)

// heartbeat is values of a heart: two tones a beat, and a converter's noise of 2 steps.
func heartbeat(rate, n int) []int16 {
	random := rand.New(rand.NewPCG(1, 2))
	v := make([]int16, n)
	for i := range v {
		at := math.Mod(float64(i)/float64(rate), 0.833)
		x := 0.30*math.Exp(-math.Pow((at-0.10)/0.02, 2)/2)*math.Cos(2*math.Pi*50*(at-0.10)) +
			0.22*math.Exp(-math.Pow((at-0.40)/0.016, 2)/2)*math.Cos(2*math.Pi*70*(at-0.40))
		v[i] = int16(math.Round(32767*x + 2*random.NormFloat64()))
	}
	return v
}

func at(seconds float64) kit.Stamp {
	d := time.Duration(seconds * float64(time.Second))
	return kit.Stamp{Wall: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(d), Mono: int64(d), Boot: "b"}
}

func TestRecorder(t *testing.T) {
	ones := func(n int) []int16 { return slices.Repeat([]int16{1}, n) }
	type add struct {
		rate, n int
		seq     uint64
		err     error
	}
	for _, x := range []struct {
		name string
		adds []add
		n    int // values afterwards
		gaps []Gap
	}{
		{"nothing", nil, 0, nil},
		{"in order", []add{{8000, 160, 500, nil}, {8000, 160, 660, nil}}, 320, nil},
		{"a gap", []add{{8000, 160, 0, nil}, {8000, 160, 200, nil}, {8000, 10, 360, nil}, {8000, 1, 371, nil}}, 372, []Gap{{160, 40}, {370, 1}}},
		{"another rate", []add{{8000, 160, 0, nil}, {44100, 160, 160, ErrBroken}, {8000, 160, 160, ErrBroken}}, 160, nil},
		{"started anew", []add{{8000, 160, 9000, nil}, {8000, 160, 0, ErrBroken}, {8000, 160, 9160, ErrBroken}}, 160, nil},
		{"the same again", []add{{8000, 160, 0, nil}, {8000, 160, 159, ErrBroken}}, 160, nil},
		{"full", []add{{8000, 479_999, 0, nil}, {8000, 160, 479_999, ErrFull}, {8000, 1, 480_159, ErrFull}}, 480_000, nil},
		{"full to the brim", []add{{8000, 480_000, 0, nil}, {8000, 1, 480_000, ErrFull}}, 480_000, nil},
		{"a gap past the end", []add{{8000, 1000, 0, nil}, {8000, 160, 480_000, ErrFull}}, 1000, nil},
		{"a gap that leaves one", []add{{8000, 1000, 0, nil}, {8000, 160, 479_999, ErrFull}}, 480_000, []Gap{{1000, 478_999}}},
		{"a jump beyond all reason", []add{{8000, 1000, 0, nil}, {8000, 160, math.MaxUint64, ErrFull}}, 1000, nil},
		{"an empty stretch", []add{{8000, 160, 0, nil}, {8000, 0, 7, nil}, {8000, 1, 160, nil}}, 161, nil},
	} {
		var c Recorder
		for i, a := range x.adds {
			if err := c.Add(device.Sound{RateHz: a.rate, Values: ones(a.n), Seq: a.seq, At: at(1)}); !errors.Is(err, a.err) {
				t.Errorf("%s: stretch %d: %v, want %v", x.name, i, err, a.err)
			}
		}
		r := c.Recording()
		if len(r.Values) != x.n || !slices.Equal(r.Gaps, x.gaps) {
			t.Errorf("%s: %d values, gaps %v; want %d, %v", x.name, len(r.Values), r.Gaps, x.n, x.gaps)
		}
		silent := 0
		for _, g := range r.Gaps {
			silent += g.Values
		}
		for _, v := range r.Values {
			silent -= int(1 - v)
		}
		if silent != 0 {
			t.Errorf("%s: what is zero is not what was lost", x.name)
		}
		if x.n > 0 && r.valid() != nil {
			t.Errorf("%s: %v", x.name, r.valid())
		}
	}
	var c Recorder
	if err := c.Add(device.Sound{RateHz: 0, Values: ones(1)}); err == nil {
		t.Error("a sound without a rate is taken")
	}
	c = Recorder{}
	for i := range 2*maxGaps + 4 {
		if err := c.Add(device.Sound{RateHz: 8000, Values: ones(1), Seq: uint64(2 * i)}); err != nil && (i <= maxGaps || !errors.Is(err, ErrTorn)) {
			t.Fatalf("gap %d: %v", i, err)
		}
	}
	if n := len(c.Recording().Gaps); n != maxGaps {
		t.Errorf("%d gaps, want no more than %d", n, maxGaps)
	}
}

func TestStart(t *testing.T) {
	var c Recorder
	if err := c.Add(device.Sound{RateHz: 8000, Values: make([]int16, 161), At: at(1)}); err != nil {
		t.Fatal(err)
	}
	if s := c.Recording().Start; s != at(0.98) {
		t.Errorf("it began at %v, want 20 ms before the stretch's last value", s)
	}
	if d := (Recording{RateHz: 8000, Values: make([]int16, 12000)}).Duration(); d != 1500*time.Millisecond {
		t.Errorf("12000 values at 8000 take %v", d)
	}
}

func trip(t *testing.T, name string, r Recording) []byte {
	t.Helper()
	before := slices.Clone(r.Values)
	file, err := Encode(r)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	back, err := Decode(file)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if !slices.Equal(before, r.Values) {
		t.Errorf("%s: encoding altered the recording", name)
	}
	r.Start = kit.Stamp{}
	if d := cmp.Diff(r, back); d != "" {
		t.Errorf("%s: not what it was: %s", name, d[:min(len(d), 400)])
	}
	return file
}

func TestRoundTrip(t *testing.T) {
	fill := func(n int, f func(i int) int16) (v []int16) {
		for i := range n {
			v = append(v, f(i))
		}
		return v
	}
	random := rand.New(rand.NewPCG(1, 1))
	for name, v := range map[string][]int16{
		"one value":       {-32768},
		"two":             {32767, -32768},
		"zeros":           make([]int16, 10_000),
		"constant":        fill(5000, func(int) int16 { return -7 }),
		"full swing":      fill(9000, func(i int) int16 { return []int16{32767, -32768}[i%2] }),
		"least":           fill(4097, func(int) int16 { return -32768 }),
		"noise":           fill(20_000, func(int) int16 { return int16(random.Uint32()) }),
		"ramp":            fill(70_000, func(i int) int16 { return int16(i) }),
		"a click":         fill(4096, func(i int) int16 { return map[bool]int16{true: -32768}[i == 2000] }),
		"small, then big": fill(4096, func(i int) int16 { return int16(int(int16(random.Uint32())) >> (15 - 15*i/4095)) }),
		"heart":           heartbeat(48000, 96_000),
	} {
		trip(t, name, Recording{RateHz: 48000, Values: v})
	}
	for _, n := range []int{1, 2, 15, 16, 17, 255, 256, 257, 4095, 4096, 4097, 8191, 8192, 8193} {
		trip(t, "length", Recording{RateHz: 44100, Values: heartbeat(44100, n)})
	}
	v := heartbeat(8000, 4000)
	clear(v[0:10])
	clear(v[100:200])
	clear(v[3990:])
	trip(t, "gaps", Recording{RateHz: 8000, Values: v, Gaps: []Gap{{0, 10}, {100, 100}, {3990, 10}}})
	trip(t, "an odd rate", Recording{RateHz: 47_999, Values: heartbeat(48000, 100)})
}

func TestRefused(t *testing.T) {
	zeros := make([]int16, 100)
	for name, r := range map[string]Recording{
		"nothing":                  {RateHz: 8000},
		"no rate":                  {Values: zeros},
		"too fast":                 {RateHz: 96_000, Values: zeros},
		"too long":                 {RateHz: 8000, Values: make([]int16, 480_001)},
		"a gap outside":            {RateHz: 8000, Values: zeros, Gaps: []Gap{{90, 11}}},
		"a gap of nothing":         {RateHz: 8000, Values: zeros, Gaps: []Gap{{90, 0}}},
		"a gap before":             {RateHz: 8000, Values: zeros, Gaps: []Gap{{-1, 5}}},
		"gaps that touch":          {RateHz: 8000, Values: zeros, Gaps: []Gap{{5, 5}, {10, 5}}},
		"gaps in disorder":         {RateHz: 8000, Values: zeros, Gaps: []Gap{{50, 5}, {10, 5}}},
		"a gap as large as can be": {RateHz: 8000, Values: zeros, Gaps: []Gap{{50, math.MaxInt}}},
		"a gap with sound in it":   {RateHz: 8000, Values: []int16{0, 0, 1, 0}, Gaps: []Gap{{1, 2}}},
	} {
		if _, err := Encode(r); err == nil {
			t.Errorf("%s is encoded", name)
		}
	}
}

// A damaged file is never another recording.
func TestDamage(t *testing.T) {
	v := heartbeat(8000, 2500)
	clear(v[10:20])
	r := Recording{RateHz: 8000, Values: v, Gaps: []Gap{{10, 10}}}
	file := trip(t, "whole", r)
	for n := range file {
		if back, err := Decode(file[:n]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut to %d of %d bytes: %d values, %v", n, len(file), len(back.Values), err)
		}
	}
	random := rand.New(rand.NewPCG(5, 5))
	for i := range 600 {
		bit := i // all of the head: signature, STREAMINFO of 34 bytes, the last 16 of which are the sum
		if i >= 8*42 {
			bit = random.IntN(8 * len(file))
		}
		bad := slices.Clone(file)
		bad[bit/8] ^= 1 << (bit % 8)
		back, err := Decode(bad)
		if err == nil && (!slices.Equal(back.Values, r.Values) || back.RateHz != r.RateHz || bit >= 8*26 && bit < 8*42) {
			t.Fatalf("bit %d flipped makes another recording, or none that is missed", bit)
		}
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatalf("bit %d flipped: %v", bit, err)
		}
	}
	if _, err := Decode(append(slices.Clone(file), 0)); !errors.Is(err, ErrDamaged) {
		t.Errorf("a byte too many: %v", err)
	}
}

// The file says in its own words where something was lost, for programs that know nothing of us (RFC 9639, section 8.6).
func TestGapsInTheFile(t *testing.T) {
	v := heartbeat(8000, 1000)
	clear(v[100:200])
	file := trip(t, "gap", Recording{RateHz: 8000, Values: v, Gaps: []Gap{{100, 100}}})
	if !bytes.HasPrefix(file, []byte("fLaC\x00\x00\x00\x22")) || !bytes.Contains(file, []byte("\x0b\x00\x00\x00GAP=100+100")) {
		t.Errorf("no word of the gap in %q", file[:100])
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 0xFF, 0x7F, 0, 0x80}, uint16(4))
	f.Add(little(heartbeat(8000, 5000)), uint16(0))
	f.Add(bytes.Repeat([]byte{0, 0x80, 0xFF, 0x7F}, 3000), uint16(9000))
	f.Fuzz(func(t *testing.T, raw []byte, gap uint16) {
		var c Recorder
		for seq := uint64(0); len(raw) >= 2; seq += uint64(gap) { // stretches with gaps between them
			n := min(len(raw)/2, 960)
			s := device.Sound{RateHz: 48000, Seq: seq}
			for i := range n {
				s.Values = append(s.Values, int16(uint16(raw[2*i])|uint16(raw[2*i+1])<<8))
			}
			raw, seq = raw[2*n:], seq+uint64(n)
			if err := c.Add(s); err != nil {
				break
			}
		}
		r := c.Recording()
		if len(r.Values) == 0 {
			return
		}
		file := trip(t, "fuzz", r)
		if most := 2*len(r.Values) + len(r.Values)/64 + 32*len(r.Gaps) + 200; len(file) > most {
			t.Errorf("%d values make a file of %d bytes", len(r.Values), len(file))
		}
	})
}

func FuzzDecode(f *testing.F) {
	v := heartbeat(8000, 3000)
	clear(v[10:20])
	file, err := Encode(Recording{RateHz: 8000, Values: v, Gaps: []Gap{{10, 10}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Add(file[:200])
	flat, err := Encode(Recording{RateHz: 48000, Values: make([]int16, 48000)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(flat)
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := Decode(file)
		if err != nil {
			if !errors.Is(err, ErrDamaged) || len(r.Values) > 0 {
				t.Fatalf("%v, with %d values", err, len(r.Values))
			}
			return
		}
		trip(t, "what was accepted", r) // what is accepted is a whole recording
	})
}

func BenchmarkEncode(b *testing.B) {
	r := Recording{RateHz: 48000, Values: heartbeat(48000, 15*48000)}
	size := 0
	for b.Loop() {
		file, err := Encode(r)
		if err != nil {
			b.Fatal(err)
		}
		size = len(file)
	}
	b.ReportMetric(float64(size)/float64(2*len(r.Values)), "ratio")
}
