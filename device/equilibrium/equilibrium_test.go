package equilibrium

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"telecart/device"
)

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

// A TMP117's bit is 8 mCel, a MAX30205's 4.
func TestToleratesNoiseNotDrift(t *testing.T) {
	for _, c := range []struct {
		name  string
		milli func(second int) int
		want  bool
	}{
		{"steady", func(int) int { return 37_000 }, true},
		{"a bit of noise", func(s int) int { return 37_000 + 8*(s&1) }, true},
		{"0.01 Cel in 10 s", func(s int) int { return 37_000 + s }, true},
		{"just under the limit", func(s int) int { return 35_000 + s*19/10 }, true},
		{"just over it", func(s int) int { return 35_000 + s*21/10 }, false},
		{"cooling 0.03 Cel in 10 s", func(s int) int { return 37_000 - 3*s }, false},
	} {
		e := New(30 * time.Second)
		var got bool
		for s := range 120 {
			got = e.Judge(at(float64(s)), c.milli(s)).State == device.Live
			if got && s < 40 {
				t.Fatalf("%s: settled after %d s", c.name, s)
			}
		}
		if got != c.want {
			t.Errorf("%s: settled = %v", c.name, got)
		}
	}
}

func TestOutsideSkinStartsOver(t *testing.T) {
	e := New(30 * time.Second)
	for s := range 120 {
		milli, want := 36_600, device.Health{State: device.Settling, Reason: Settling}
		switch {
		case s == 50:
			milli, want.Reason = 29_999, NotOnPatient
		case s == 51:
			milli, want.Reason = 45_001, NotOnPatient
		case s >= 40 && s < 50, s >= 52+40:
			want = device.Health{State: device.Live}
		}
		if got := e.Judge(at(float64(s)), milli); got != want {
			t.Fatalf("second %d: %v, want %v", s, got, want)
		}
	}
}

func TestBounded(t *testing.T) {
	e := New(time.Second)
	for i := range 10_000 {
		e.Judge(start.Add(time.Duration(i)*time.Millisecond), 37_000)
	}
	if len(e.samples) > maxSamples || cap(e.samples) > 4*maxSamples {
		t.Errorf("%d samples kept", len(e.samples))
	}
}

func TestParseHold(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"3": 3 * time.Second, "120": 2 * time.Minute, "2": 0, "121": 0, "": 0, "long": 0, "1e1": 0,
	} {
		got, err := ParseHold(value)
		if got != want || (err == nil) != (want != 0) || err != nil && !errors.Is(err, ErrHold) {
			t.Errorf("%q: %s, %v", value, got, err)
		}
	}
}

func TestWarmth(t *testing.T) {
	var w Warmth
	w.Rest(31_000)
	if got := w.At(at(1)); got != 31_000 {
		t.Errorf("at rest: %v", got)
	}
	w.Approach(at(10), 37_000, 2*time.Second)
	for s, want := range map[float64]float64{10: 31_000, 12: 37_000 - 6_000/math.E, 60: 37_000} {
		if got := w.At(at(s)); math.Abs(got-want) > 0.01 {
			t.Errorf("second %v: %v, want %v", s, got, want)
		}
	}
	w.Approach(at(12), 20_000, time.Second)
	if got := w.At(at(12)); math.Abs(got-(37_000-6_000/math.E)) > 0.01 {
		t.Errorf("it jumped to %v", got)
	}
}

// Whatever the probe reads and whenever: a number is shown only if the last 10 s were within what the slope allows.
func FuzzJudge(f *testing.F) {
	f.Add(uint64(1), uint8(0), uint8(1))
	f.Add(uint64(2), uint8(40), uint8(3))
	f.Add(uint64(3), uint8(200), uint8(255))
	f.Fuzz(func(t *testing.T, seed uint64, noise, pace uint8) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		e := New(3 * time.Second)
		now, value := start, 36_000
		for range 300 {
			now = now.Add(time.Duration(1+rnd.IntN(1+int(pace))) * 50 * time.Millisecond)
			value += rnd.IntN(2*int(noise)+1) - int(noise)
			h := e.Judge(now, value)
			if skin := value >= coldest && value <= hottest; skin == (h.Reason == NotOnPatient) {
				t.Fatalf("%d is judged %v", value, h)
			}
			if h.State != device.Live {
				continue
			}
			if now.Sub(e.first) < slopeSpan+e.hold {
				t.Fatalf("live %s after the first sample", now.Sub(e.first))
			}
			if len(e.samples) < minSamples || len(e.samples) > maxSamples || math.Abs(e.slope()) >= maxSlope {
				t.Fatalf("live with %d samples, slope %v", len(e.samples), e.slope())
			}
		}
	})
}
