package ina219

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"telecart/device"
	"telecart/device/bus"
	"telecart/device/bus/simbus"
	"telecart/device/conformance"
	"telecart/device/kit"
)

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func settings(clock kit.Clock, sim *simbus.Bus) device.Settings {
	s := device.Settings{Name: "supply", Driver: "ina219", Port: "twin", Clock: clock, Stamp: kit.NewStamper(clock, nil)}
	if sim != nil {
		s.Port, s.Buses = "/dev/i2c-1", bus.Simulated(sim.Open)
	}
	return s
}

func TestConformance(t *testing.T) {
	all := []string{voltage, current}
	conformance.Run(t, conformance.Case{Name: "twin", Quantities: all, Start: func(out device.Outlet) (conformance.Rig, error) {
		clock := kit.NewManual(start)
		i, err := Driver().New(settings(clock, nil), out)
		return conformance.Rig{Instrument: i, Clock: clock, Step: period}, err
	}})
	conformance.Run(t, conformance.Case{Name: "bus", Quantities: all, Start: func(out device.Outlet) (conformance.Rig, error) {
		clock, sim := kit.NewManual(start), &simbus.Bus{}
		sim.Attach(0x40, NewTwin(0x40, 12000, 1500))
		i, err := Driver().New(settings(clock, sim), out)
		return conformance.Rig{Instrument: i, Clock: clock, Step: period, Unplug: sim.Unplug}, err
	}})
}

// words is an outlet for one goroutine that writes down what it hears.
type words []string

func (w *words) Observe(o device.Observation) {
	switch o := o.(type) {
	case device.Health:
		*w = append(*w, strings.TrimSpace(fmt.Sprint(o.State, " ", o.Reason)))
	case device.Reading:
		*w = append(*w, fmt.Sprint(o.Value, o.Unit, o.Absent))
	}
}

func TestSupply(t *testing.T) {
	clock, sim, twin := kit.NewManual(start), &simbus.Bus{}, NewTwin(0x40, 19000, 1250)
	sim.Attach(0x40, twin)
	var w words
	i, err := Driver().New(settings(clock, sim), &w)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- i.Run(context.Background()); clock.After(1 << 62) }()
	for _, do := range []func(){
		func() {}, // a rail above the 16 V that the power-on range would saturate at
		func() { twin.Set(4740, -200) },
		func() { twin.Set(5000, 5000) },
		twin.Reset,
	} {
		clock.AwaitWaiters(1)
		do()
		clock.Advance(period)
	}
	if err := <-done; !errors.Is(err, ErrNotINA219) || !strings.Contains(err.Error(), "0x399f") {
		t.Error(err)
	}
	want := []string{"settling settling", "live", "19.000V", "1.250A", "live supply-low", "4.740V", "-0.200A", "live", "5.000V", "0Aover-range"}
	if !slices.Equal(w, want) {
		t.Errorf("%q", w)
	}
}

func TestOptions(t *testing.T) {
	for want, o := range map[string]map[string]string{"no-such": {"no-such": "1"}, "shunt_mohm": {"shunt_mohm": "0"}, "low_mv": {"low_mv": "x"}} {
		s := settings(kit.NewManual(start), nil)
		s.Options = o
		if _, err := Driver().New(s, &words{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", o, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(uint16(19000/4<<3|2), int16(12500), uint16(100)) // 19 V, 1.25 A
	f.Fuzz(func(t *testing.T, bus uint16, shunt int16, mohm uint16) {
		mv, ma, ok := decode(bus, shunt, max(1, int64(mohm)))
		if mv < 0 || mv > 32764 || ok && (ma > 320_000 || ma < -320_000 || ma > 0 != (ma != 0 && shunt > 0)) {
			t.Fatalf("%d mV, %d mA", mv, ma)
		}
	})
}
