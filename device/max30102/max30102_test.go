package max30102

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"telecart/device"
	"telecart/device/bus"
	"telecart/device/bus/simbus"
	"telecart/device/conformance"
	"telecart/device/kit"
	"telecart/device/ppg"
	"telecart/device/ppg/synth"
)

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func settings(clock kit.Clock, sim *simbus.Bus) device.Settings {
	s := device.Settings{Name: "oximeter", Driver: "max30102", Port: "twin", Clock: clock, Stamp: kit.NewStamper(clock, nil)}
	if sim != nil {
		s.Port, s.Buses = "/dev/i2c-1", bus.Simulated(sim.Open)
	}
	return s
}

func TestConformance(t *testing.T) {
	for _, name := range []string{"twin", "bus", "mux"} {
		conformance.Run(t, conformance.Case{Name: name, Quantities: Driver().Quantities, Start: func(out device.Outlet) (conformance.Rig, error) {
			clock, sim := kit.NewManual(start), &simbus.Bus{}
			r := conformance.Rig{Clock: clock, Step: poll}
			s := settings(clock, sim)
			switch name {
			case "twin":
				s = settings(clock, nil)
			case "mux":
				s.Mux = "0x71.3"
				sim.Mux(0x71).Attach(3, address, NewTwin(clock))
				r.Unplug = sim.Unplug
			default:
				sim.Attach(address, NewTwin(clock))
				r.Unplug = sim.Unplug
			}
			var err error
			r.Instrument, err = Driver().New(s, out)
			return r, err
		}})
	}
}

// log is an outlet for one goroutine.
type log struct {
	readings []device.Reading
	health   []device.Health
	samples  []device.Samples
}

func (l *log) Observe(o device.Observation) {
	switch o := o.(type) {
	case device.Reading:
		l.readings = append(l.readings, o)
	case device.Health:
		l.health = append(l.health, o)
	case device.Samples:
		l.samples = append(l.samples, o)
	}
}

// of are the readings of one quantity between two times after the start.
func (l *log) of(quantity string, from, to time.Duration) (found []device.Reading) {
	for _, r := range l.readings {
		if at := r.At.Wall.Sub(start); r.Quantity == quantity && at >= from && at < to {
			found = append(found, r)
		}
	}
	return found
}

// rig is an instrument on a twin, on a simulated bus.
type rig struct {
	log
	clock *kit.Manual
	twin  *Twin
	chip  simbus.Chip // what is on the bus
	inst  device.Instrument
}

func newRig() *rig {
	r := &rig{clock: kit.NewManual(start)}
	r.twin = NewTwin(r.clock)
	r.chip = r.twin
	return r
}

const tick = 10 * time.Millisecond // divides all waits of the driver

// run drives the instrument until a time, and returns what Run said. each is called whenever the instrument waits.
func (r *rig) run(t *testing.T, until time.Duration, each func(elapsed time.Duration)) error {
	t.Helper()
	sim := &simbus.Bus{}
	sim.Attach(address, r.chip)
	inst, err := Driver().New(settings(r.clock, sim), r)
	if err != nil {
		t.Fatal(err)
	}
	r.inst = inst
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- inst.Run(ctx); r.clock.After(1 << 62) }()
	for elapsed := time.Duration(0); elapsed < until; elapsed += tick {
		r.clock.AwaitWaiters(1)
		if each != nil {
			each(elapsed)
		}
		r.clock.Advance(tick)
	}
	r.clock.AwaitWaiters(1)
	cancel()
	return <-done
}

func (r *rig) must(t *testing.T, until time.Duration, each func(elapsed time.Duration)) {
	t.Helper()
	if err := r.run(t, until, each); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// once does something at a time.
func once(at time.Duration, do func()) func(time.Duration) {
	return func(elapsed time.Duration) {
		if elapsed == at {
			do()
		}
	}
}

// spy writes down what goes over the bus.
type spy struct {
	simbus.Chip
	lines []string
}

func (s *spy) Tx(addr uint16, w, r []byte) error {
	err := s.Chip.Tx(addr, w, r)
	line := fmt.Sprintf("w %x", w)
	if len(r) > 0 {
		line += fmt.Sprintf(" r %x", r)
	}
	s.lines = append(s.lines, line)
	return err
}

// The exact bytes of a start: nothing is written before the chip said who it is, and it runs as reference 1.2 recommends.
func TestStart(t *testing.T) {
	r := newRig()
	r.twin.Take()
	s := &spy{Chip: r.twin}
	r.chip = s
	r.must(t, 120*time.Millisecond, nil)
	want := []string{"w ff r 15", "w 04 r 000000", "w 0940", "w 09 r 00", "w 00 r 0000",
		"w 085f", "w 0a2f", "w 0c2424", "w 0280", "w 04000000", "w 0903",
		"w 00 r 000080000a0000", "w 07 r " + strings.Repeat("000438", 20), "w 0980"}
	if !slices.Equal(s.lines, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(s.lines, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// A healthy finger: the lamps are set, then the truth is told within the grade of such optics.
func TestFinger(t *testing.T) {
	for _, c := range []struct{ rate, saturation, perfusion, ppm float64 }{
		{72, 97, 0.02, 0}, {110, 88, 0.01, 0}, {50, 93, 0.03, 0}, {72, 97, 0.02, 40_000}, {72, 97, 0.02, -40_000},
	} {
		r := newRig()
		f := Healthy()
		f.PulseRate, f.Saturation, f.Perfusion = c.rate, c.saturation, c.perfusion
		r.twin.Put(f)
		r.twin.Drift(c.ppm)
		r.must(t, 40*time.Second, nil)
		for q, want := range map[string][2]float64{
			saturation: {c.saturation, 2}, rate: {c.rate, 0.01*c.rate + 0.5}, perfusion: {100 * c.perfusion, 20 * c.perfusion},
		} {
			all, numbers, worst := r.of(q, 0, 40*time.Second), 0, 0.0
			for _, x := range all {
				if x.Absent != "" {
					continue
				}
				if numbers++; numbers == 1 {
					t.Logf("%+v: the first %s after %s", c, q, x.At.Wall.Sub(start))
				}
				worst = max(worst, math.Abs(x.Value.Float()-want[0]))
			}
			t.Logf("%+v: %d numbers of %s, off by %.2f at most", c, numbers, q, worst)
			if numbers < 25 || worst > want[1] {
				t.Errorf("%+v: %d numbers of %s in %d readings, off by %.2f", c, numbers, q, len(all), worst)
			}
		}
		if h := r.health[len(r.health)-1]; h.State != device.Live || r.health[0] != (device.Health{State: device.Settling, Reason: Settling}) {
			t.Errorf("%+v: health %v, at first %v", c, h, r.health[0])
		}
		for _, x := range r.readings {
			if x.Period != device.Duration(time.Second) || x.Method != "" || x.Instrument.Grade != device.Uncalibrated {
				t.Fatalf("%+v", x)
			}
		}
	}
}

// The pulse goes up in the waveform, at 100 values a second.
func TestPleth(t *testing.T) {
	r := newRig()
	r.must(t, 20*time.Second, nil)
	n, low, high := 0, int32(math.MaxInt32), int32(0)
	var up, down int
	for _, s := range r.samples {
		if s.RateHz != 100 || s.Unit != "1" {
			t.Fatalf("%+v", s)
		}
		n += len(s.Values)
		for i, v := range s.Values {
			low, high = min(low, v), max(high, v)
			if i > 0 && v > s.Values[i-1] {
				up++
			} else {
				down++
			}
		}
	}
	// A pulse rises faster than it falls: most of the time it goes down.
	if n < 1800 || n > 2000 || high-low < 2000 || high-low > 6000 || up >= down {
		t.Errorf("%d values from %d to %d, %d up, %d down", n, low, high, up, down)
	}
}

// Out: absent within a second, no number until it is back and settled; the lamps go back to where they start.
func TestFingerOut(t *testing.T) {
	far, near := Healthy(), Healthy() // from the lamps that it starts with
	far.IR, far.Red = 6000, 1000
	near.IR, near.Red = 4500, 4500
	t.Run("far", func(t *testing.T) { fingerOut(t, far) })
	t.Run("near", func(t *testing.T) { fingerOut(t, near) })
}

func fingerOut(t *testing.T, f Finger) {
	const out, in = 20 * time.Second, 30 * time.Second
	r := newRig()
	r.twin.Put(f)
	r.must(t, 50*time.Second, func(elapsed time.Duration) {
		switch elapsed {
		case out:
			r.twin.Take()
		case in - tick:
			if red, ir := r.twin.Lamps(); red != startLamp || ir != startLamp {
				t.Errorf("lamps %#x, %#x", red, ir)
			}
		case in:
			r.twin.Put(f)
		}
	})
	for _, q := range []string{saturation, rate, perfusion} {
		if x := r.of(q, out-2*time.Second, out); len(x) == 0 || x[len(x)-1].Absent != "" {
			t.Fatalf("%s before: %+v", q, x)
		}
		gone := r.of(q, out, in)
		if first := gone[0]; first.Absent != device.NoFinger || first.At.Wall.Sub(start) > out+200*time.Millisecond {
			t.Errorf("%s: at first %+v", q, first)
		}
		for _, x := range r.of(q, out, in+4*time.Second) {
			if x.Absent == "" {
				t.Errorf("%s is %s without a finger", q, x.Value)
			}
		}
		if len(gone) < 10 {
			t.Errorf("%d readings of %s in 10 s", len(gone), q)
		}
		if x := r.of(q, in+15*time.Second, in+20*time.Second); len(x) == 0 || x[len(x)-1].Absent != "" {
			t.Errorf("%s after: %+v", q, x)
		}
	}
	for _, s := range r.samples {
		if at := s.At.Wall.Sub(start); at > out+200*time.Millisecond && at < in {
			t.Fatalf("a pulse wave without a finger, at %s", at)
		}
	}
}

// An empty window, under any lamp, is no finger: no number, and the lamps stay.
func TestNoFinger(t *testing.T) {
	r := newRig()
	r.twin.Take()
	r.must(t, 10*time.Second, nil)
	all := r.of(rate, 0, 10*time.Second)
	for _, x := range r.readings {
		if x.Absent != device.NoFinger || x.Value != (device.Decimal{}) {
			t.Fatalf("%+v", x)
		}
	}
	if len(all) < 9 || r.health[len(r.health)-1] != (device.Health{State: device.Settling, Reason: device.NoFinger}) {
		t.Errorf("%d readings, %v", len(all), r.health[len(r.health)-1])
	}
}

func TestMotionGivesNoWrongNumber(t *testing.T) {
	r := newRig()
	const from = 20 * time.Second
	r.must(t, 45*time.Second, once(from, func() { r.twin.Move(synth.Shaking, 0.05, 8*time.Second) }))
	absent := 0
	for _, x := range r.of(rate, from, 45*time.Second) {
		if x.Absent != "" {
			absent++
		} else if math.Abs(x.Value.Float()-72) > 8 {
			t.Errorf("%s at %s", x.Value, x.At.Wall.Sub(start))
		}
	}
	if absent < 5 {
		t.Errorf("%d absent readings in 8 s of shaking", absent)
	}
	if x := r.of(rate, 43*time.Second, 45*time.Second); len(x) == 0 || x[len(x)-1].Absent != "" {
		t.Errorf("afterwards %+v", x)
	}
}

// The lamps bring any finger to 50 to 75 % of full scale, in steps of at most the double and not more often than five
// times a second, and then stay.
func TestServoConverges(t *testing.T) {
	for _, c := range []struct{ red, ir float64 }{{2200, 3000}, {900, 1600}, {7000, 7000}, {30_000, 60_000}, {1500, 5500}, {50_000, 50_000}} {
		r := newRig()
		f := Healthy()
		f.Red, f.IR = c.red, c.ir
		r.twin.Put(f)
		last, changed := [2]byte{startLamp, startLamp}, time.Duration(0)
		r.must(t, 10*time.Second, func(elapsed time.Duration) {
			if elapsed < 50*time.Millisecond { // not started yet
				return
			}
			red, ir := r.twin.Lamps()
			if now := [2]byte{red, ir}; now != last {
				for i := range now {
					if f := float64(now[i]) / float64(last[i]); f > 2 || f < 0.499 && now[i] > 1 && last[i]/2 != now[i] {
						t.Errorf("%+v: from %d to %d", c, last[i], now[i])
					}
				}
				if elapsed-changed < 2*poll || elapsed > 3*time.Second {
					t.Errorf("%+v: %d after %d at %s, %s after the last", c, now, last, elapsed, elapsed-changed)
				}
				last, changed = now, elapsed
			}
		})
		for i, perStep := range []float64{c.red, c.ir} {
			share := perStep * float64(last[i]) / fullScale
			if (share < lowest || share > highest) && last[i] != maxLamp {
				t.Errorf("%+v: at last %d: %.2f of full scale", c, last[i], share)
			}
		}
	}
}

func TestLamp(t *testing.T) {
	l := newLamp()
	for i, c := range []struct {
		share float64
		times int
		want  byte
	}{
		{1.0, 1, 22}, {0.8, 1, 17}, {0.7, 1, 17}, {0.84, 20, 17}, {0.41, 20, 17}, {0.39, 9, 17}, {0.5, 1, 17}, {0.39, 9, 17}, {0.39, 1, 27},
		{0.0, 1, 54}, {0.0, 1, 108}, {0.0, 1, 127}, {0.0, 100, 127},
	} {
		for range c.times {
			l.adjust(c.share * fullScale)
		}
		if l.code != c.want {
			t.Errorf("step %d: %d, want %d", i, l.code, c.want)
		}
	}
	dark := lamp{code: 1}
	if dark.adjust(fullScale) || dark.code != 1 || !dark.held {
		t.Errorf("a lamp that can't be darker: %+v", dark)
	}
}

func TestSettings(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*device.Settings)
		want string
	}{
		"good":    {func(*device.Settings) {}, ""},
		"mux":     {func(s *device.Settings) { s.Mux = "0x71.3" }, ""},
		"address": {func(s *device.Settings) { s.Address = 0x58 }, "0x57"},
		"port":    {func(s *device.Settings) { s.Port = "/dev/ttyUSB0" }, "like /dev/i2c-1"},
		"option":  {func(s *device.Settings) { s.Options = map[string]string{"led": "9"} }, `"led": there are none`},
	} {
		s := settings(kit.NewManual(start), &simbus.Bus{})
		c.edit(&s)
		_, err := Driver().New(s, &log{})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPace(t *testing.T) {
	for _, c := range []struct {
		hz   float64
		good bool
	}{{100, true}, {101.5, true}, {93, true}, {107, true}, {50, false}, {200, false}, {110, false}, {90, false}} {
		p, now, sent, counted := newPace(), start, 0.0, 0
		var err error
		for i := 0; i < 1300 && err == nil; i++ {
			sent += c.hz / 10
			n := int(sent) - counted
			counted += n
			now = now.Add(poll)
			_, err = p.take(now, n)
			if p.known && i < 39 {
				t.Fatal("known too early")
			}
		}
		if c.good && (err != nil || math.Abs(p.hz/c.hz-1) > 0.0011) || !c.good && (!errors.Is(err, ErrPace) || p.known) {
			t.Errorf("%g Hz: %+v, %v", c.hz, p, err)
		}
	}
}

// Package ppg's chain is what the driver takes; its calibration is what the twin's finger is made by.
func TestRatio(t *testing.T) {
	var _ chain = (*ppg.Oximeter)(nil)
	for _, s := range []float64{99, 97, 90, 80, 70} {
		if got := ppg.Saturation(ratio(s)); math.Abs(got-s) > 1e-6 {
			t.Errorf("%g: %g", s, got)
		}
	}
}
