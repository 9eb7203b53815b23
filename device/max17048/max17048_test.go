package max17048

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"periph.io/x/conn/v3/i2c"

	"telecart/device"
	"telecart/device/bus"
	"telecart/device/bus/simbus"
	"telecart/device/conformance"
	"telecart/device/kit"
)

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func settings(clock kit.Clock, sim *simbus.Bus) device.Settings {
	s := device.Settings{Name: "battery", Driver: "max17048", Port: "twin", Clock: clock, Stamp: kit.NewStamper(clock, nil)}
	if sim != nil {
		s.Port, s.Buses = "/dev/i2c-1", bus.Simulated(sim.Open)
	}
	return s
}

func TestConformance(t *testing.T) {
	all := []string{charge, voltage, left}
	conformance.Run(t, conformance.Case{Name: "twin", Quantities: all, Start: func(out device.Outlet) (conformance.Rig, error) {
		clock := kit.NewManual(start)
		i, err := Driver().New(settings(clock, nil), out)
		return conformance.Rig{Instrument: i, Clock: clock, Step: period}, err
	}})
	conformance.Run(t, conformance.Case{Name: "bus", Quantities: all, Start: func(out device.Outlet) (conformance.Rig, error) {
		clock, sim := kit.NewManual(start), &simbus.Bus{}
		sim.Attach(0x36, NewTwin(clock))
		i, err := Driver().New(settings(clock, sim), out)
		return conformance.Rig{Instrument: i, Clock: clock, Step: period, Unplug: sim.Unplug}, err
	}})
}

// words is an outlet for one goroutine that writes down what changed.
type words []string

func (w *words) Observe(o device.Observation) {
	var s string
	switch o := o.(type) {
	case device.Health:
		s = fmt.Sprint(o.State, " ", o.Reason)
	case device.Reading:
		s = fmt.Sprint(o.Quantity, " ", o.Value, o.Unit, " ", o.Absent, o.Quality)
	}
	if !slices.Contains(*w, s) {
		*w = append(*w, s)
	}
}

func TestVectors(t *testing.T) {
	var w words
	g := &gauge{clock: kit.NewManual(start), stamp: kit.NewStamper(kit.NewManual(start), nil), out: &w}
	g.report(start, state{voltage: 0xC300, charge: 0x5000, rate: -192}) // 80 % at 39.9 % an hour
	g.report(start, state{voltage: 0xC300, charge: 0x6500, rate: 3})    // 101 %
	g.report(start, state{voltage: 0xC300, charge: 0x5000, rate: -1})   // 16 days: no rate to plan by
	want := []string{"live ", "battery-charge 80% discharging", "battery-voltage 3.900V ", "battery-left 120min ",
		"battery-charge 100% charging", "battery-left 0min on-mains", "battery-left 0min not-yet"}
	if !slices.Equal(w, want) {
		t.Errorf("%q", w)
	}
}

func TestHealth(t *testing.T) {
	g := &gauge{clock: kit.NewManual(start), stamp: kit.NewStamper(kit.NewManual(start), nil), out: &words{}}
	at := func(after time.Duration, percent int, rate int16, reset bool) device.Reason {
		s := state{charge: uint16(percent << 8), rate: rate, reset: reset}
		g.report(start.Add(after), s)
		return g.health(start.Add(after), s).Reason
	}
	for i, c := range []struct {
		after   time.Duration
		percent int
		rate    int16
		reset   bool
		want    device.Reason
	}{
		{0, 80, -10, true, Learning},
		{9 * time.Minute, 80, -10, false, Learning},
		{11 * time.Minute, 80, -10, false, ""},
		{12 * time.Minute, 19, -10, false, BatteryLow},
		{12 * time.Minute, 19, 10, false, ""},
		{13 * time.Minute, 9, -10, false, BatteryLow},
		{13*time.Minute + 29*time.Second, 9, -10, false, BatteryLow},
		{13*time.Minute + 30*time.Second, 9, -10, false, device.BatteryCritical},
		{14 * time.Minute, 9, 10, false, ""},
		{14 * time.Minute, 9, -10, false, BatteryLow}, // plugged out again: thirty seconds anew
	} {
		if got := at(c.after, c.percent, c.rate, c.reset); got != c.want {
			t.Errorf("step %d: %q, want %q", i, got, c.want)
		}
	}
}

// A glitch is passed over, three in a row are an end, and another chip is not taken for a gauge.
func TestFaults(t *testing.T) {
	clock := kit.NewManual(start)
	twin := NewTwin(clock)
	run := func(c simbus.Chip, each func(i int)) error {
		sim := &simbus.Bus{}
		sim.Attach(0x36, c)
		i, err := Driver().New(settings(clock, sim), &words{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- i.Run(ctx); clock.After(1 << 62) }()
		for n := range 5 {
			clock.AwaitWaiters(1)
			each(n)
			clock.Advance(period)
		}
		clock.AwaitWaiters(1)
		cancel()
		return <-done
	}
	if err := run(twin, func(i int) {
		if i == 1 {
			twin.NACK(2)
		}
	}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := run(twin, func(i int) { twin.NACK(map[bool]int{true: 100}[i > 0]) }); !errors.Is(err, ErrNACK) {
		t.Error(err)
	}
	if err := run(other{}, func(int) {}); !errors.Is(err, ErrNotMAX17048) {
		t.Error(err)
	}
}

// other is a chip that answers ff to everything.
type other struct{ i2c.Bus }

func (other) Tx(_ uint16, _, r []byte) error {
	for i := range r {
		r[i] = 0xFF
	}
	return nil
}

func (other) String() string { return "other" }

func FuzzState(f *testing.F) {
	f.Add(uint16(0xC300), uint16(0x5000), int16(-192), false)
	f.Fuzz(func(t *testing.T, v, c uint16, rate int16, reset bool) {
		s := state{v, c, rate, reset}
		n, ok := s.minutes()
		if p := s.percent(); p < 0 || p > 100 || ok && (n < 0 || n > mostMinutes || rate >= 0) {
			t.Fatalf("%d %%, %d min, %v", p, n, ok)
		}
	})
}
