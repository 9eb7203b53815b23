package bus_test

import (
	"errors"
	"strings"
	"testing"

	"telecart/device/bus"
	"telecart/device/bus/simbus"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		port, mux string
		want      error
	}{
		{"/dev/i2c-1", "", nil},
		{"/dev/i2c-22", "0x70.0", nil},
		{"/dev/i2c-0", "0x77.7", nil},
		{"/dev/ttyUSB0", "", bus.ErrPort},
		{"/dev/i2c-", "", bus.ErrPort},
		{"/dev/i2c--1", "", bus.ErrPort},
		{"/dev/i2c-01", "", bus.ErrPort}, // would be another name for bus 1, with a lock of its own
		{"/dev/i2c-+1", "", bus.ErrPort},
		{"i2c-1", "", bus.ErrPort},
		{"", "", bus.ErrPort},
		{"/dev/i2c-1", "0x6f.0", bus.ErrChannel},
		{"/dev/i2c-1", "0x78.0", bus.ErrChannel},
		{"/dev/i2c-1", "0x71.8", bus.ErrChannel},
		{"/dev/i2c-1", "0x71", bus.ErrChannel},
		{"/dev/i2c-1", "71.3", bus.ErrChannel},
		{"/dev/i2c-1", "0x71.3 ", bus.ErrChannel},
		{"/dev/i2c-1", "0x71.03", bus.ErrChannel},
	} {
		if err := bus.Check(c.port, c.mux); !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
			t.Errorf("%q %q: %v, want %v", c.port, c.mux, err, c.want)
		}
	}
}

func TestConflicts(t *testing.T) {
	type place struct {
		port, mux string
		addr      uint16
	}
	for _, c := range []struct {
		name string
		a, b place
		want bool
	}{
		{"same address", place{"/dev/i2c-1", "", 0x48}, place{"/dev/i2c-1", "", 0x48}, true},
		{"another address", place{"/dev/i2c-1", "", 0x48}, place{"/dev/i2c-1", "", 0x49}, false},
		{"another bus", place{"/dev/i2c-1", "", 0x48}, place{"/dev/i2c-2", "", 0x48}, false},
		{"same channel", place{"/dev/i2c-1", "0x71.3", 0x48}, place{"/dev/i2c-1", "0x71.3", 0x48}, true},
		{"another channel", place{"/dev/i2c-1", "0x71.3", 0x48}, place{"/dev/i2c-1", "0x71.4", 0x48}, false},
		{"another mux", place{"/dev/i2c-1", "0x71.3", 0x48}, place{"/dev/i2c-1", "0x72.3", 0x48}, false},
		{"on the bus and behind a mux", place{"/dev/i2c-1", "", 0x48}, place{"/dev/i2c-1", "0x72.3", 0x48}, true},
		{"at the other's mux", place{"/dev/i2c-1", "", 0x71}, place{"/dev/i2c-1", "0x71.3", 0x48}, true},
		{"at the other's mux, behind another", place{"/dev/i2c-1", "0x72.0", 0x71}, place{"/dev/i2c-1", "0x71.3", 0x48}, true},
		{"at a mux of another bus", place{"/dev/i2c-2", "", 0x71}, place{"/dev/i2c-1", "0x71.3", 0x48}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			sim := &simbus.Bus{}
			buses := bus.Simulated(sim.Open)
			if err := errors.Join(buses.Claim(c.a.port, c.a.mux, c.a.addr, "a"), buses.Claim(c.b.port, c.b.mux, c.b.addr, "b")); err != nil {
				t.Fatal(err)
			}
			open := func(p place, who, other string) {
				chip, err := buses.Open(p.port, p.mux, p.addr, who)
				if errors.Is(err, bus.ErrConflict) != c.want {
					t.Fatalf("%s: %v, want a conflict: %v", who, err, c.want)
				}
				if err == nil {
					chip.Close()
				} else if !strings.Contains(err.Error(), other+" (0x") || !strings.Contains(err.Error(), who+" (0x") {
					t.Errorf("%s is told %q: it must name both", who, err)
				}
			}
			for range 2 { // told every time, both of them
				open(c.a, "a", "b")
				open(c.b, "b", "a")
			}
			if c.want && sim.Users() != 0 {
				t.Error("the bus was opened for a conflict")
			}
			buses.Forget("b")
			if chip, err := buses.Open(c.a.port, c.a.mux, c.a.addr, "a"); err != nil {
				t.Errorf("alone: %v", err)
			} else {
				chip.Close()
			}
		})
	}
}

// A supervisor makes an instrument again at each restart, by the same name.
func TestClaimAgain(t *testing.T) {
	buses := bus.Simulated((&simbus.Bus{}).Open)
	for range 3 {
		if err := buses.Claim("/dev/i2c-1", "", 0x48, "thermometer"); err != nil {
			t.Fatal(err)
		}
	}
	// One instrument may be two chips.
	if err := buses.Claim("/dev/i2c-1", "", 0x49, "thermometer"); err != nil {
		t.Fatal(err)
	}
	if _, err := buses.Open("/dev/i2c-1", "", 0x48, "thermometer"); err != nil {
		t.Error(err)
	}
	// Who never claimed, claims by opening.
	if _, err := buses.Open("/dev/i2c-1", "", 0x49, "late"); !errors.Is(err, bus.ErrConflict) {
		t.Errorf("got %v", err)
	}
	if _, err := buses.Open("/dev/i2c-1", "", 0x49, "thermometer"); !errors.Is(err, bus.ErrConflict) {
		t.Errorf("got %v", err)
	}
}

func TestAddressesAreChecked(t *testing.T) {
	buses := bus.Simulated((&simbus.Bus{}).Open)
	for _, c := range []struct {
		mux  string
		addr uint16
		want error
	}{
		{"", 0x07, bus.ErrAddress},
		{"", 0x78, bus.ErrAddress},
		{"0x71.1", 0x71, bus.ErrAddress}, // its own mux
		{"0x71.9", 0x48, bus.ErrChannel},
		{"0x71.1", 0x77, nil},
		{"", 0x08, nil},
	} {
		err := buses.Claim("/dev/i2c-1", c.mux, c.addr, "x")
		if !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
			t.Errorf("%q %#x: %v, want %v", c.mux, c.addr, err, c.want)
		}
	}
}
