package wiring

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"

	"telecart/device"
	"telecart/device/bus"
	"telecart/device/bus/simbus"
)

var straps = Straps{Default: 0x48, First: 0x48, Last: 0x4B}

// tag is a chip, and a bus with it alone: it reads its tag.
type tag byte

func (c tag) Tx(_ uint16, _, r []byte) error {
	for i := range r {
		r[i] = byte(c)
	}
	return nil
}

func (tag) String() string                  { return "tag" }
func (tag) SetSpeed(physic.Frequency) error { return nil }

func twin(addr uint16) i2c.Bus { return tag(addr) }

func read(t *testing.T, w *Wiring) byte {
	t.Helper()
	c, err := w.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var b [1]byte
	if err := c.Tx(nil, b[:]); err != nil {
		t.Fatal(err)
	}
	return b[0]
}

func TestSettings(t *testing.T) {
	for _, c := range []struct {
		name string
		set  device.Settings
		want string // "" is none
	}{
		{"default", device.Settings{Port: "/dev/i2c-1"}, ""},
		{"strapped, behind a mux", device.Settings{Port: "/dev/i2c-1", Mux: "0x71.3", Address: 0x4B}, ""},
		{"twin", device.Settings{Port: "twin"}, ""},
		{"address", device.Settings{Port: "/dev/i2c-1", Address: 0x4C}, "0x4c: the chip can be at 0x48 to 0x4b"},
		{"negative", device.Settings{Port: "/dev/i2c-1", Address: -1}, "can be at 0x48"},
		{"twin's address", device.Settings{Port: "twin", Address: 0x4C}, "can be at 0x48"},
		{"port", device.Settings{Port: "/dev/ttyUSB0"}, "like /dev/i2c-1, not \"/dev/ttyUSB0\", or twin"},
		{"mux", device.Settings{Port: "/dev/i2c-1", Mux: "71.3"}, "like 0x71.3"},
	} {
		_, err := New(c.set, straps, twin)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	_, err := New(device.Settings{Port: "/dev/i2c-1", Address: 0x48}, Straps{0x36, 0x36, 0x36}, twin)
	if err == nil || !strings.Contains(err.Error(), "always at 0x36") {
		t.Errorf("one address: %v", err)
	}
	// Its mux stands at the address.
	_, err = New(device.Settings{Port: "/dev/i2c-1", Mux: "0x71.3", Address: 0x71}, Straps{0x40, 0x40, 0x7F}, twin)
	if !errors.Is(err, bus.ErrAddress) {
		t.Errorf("its own mux: %v", err)
	}
}

// A twin never meets the real buses.
func TestTwinIsAlone(t *testing.T) {
	sim := &simbus.Bus{}
	buses := bus.Simulated(sim.Open)
	for _, name := range []string{"a", "b"} {
		w, err := New(device.Settings{Name: name, Port: "twin", Mux: "0x71.1", Address: 0x4A, Buses: buses}, straps, twin)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, w); got != 0x4A || w.Addr() != 0x4A {
			t.Errorf("read %#x", got)
		}
	}
}

func TestFaults(t *testing.T) {
	sim := &simbus.Bus{}
	sim.Attach(0x48, tag(1))
	buses := bus.Simulated(sim.Open)
	set := device.Settings{Name: "a", Port: "/dev/i2c-1", Buses: buses}
	a, err := New(set, straps, twin)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, a); got != 1 {
		t.Errorf("read %#x", got)
	}
	set.Name = "b"
	b, err := New(set, straps, twin)
	if err != nil {
		t.Fatal("a conflict keeps the other from being added: ", err)
	}
	for _, w := range []*Wiring{a, b} {
		_, err := w.Open()
		var f device.Fault
		want := device.Health{State: device.Faulty, Reason: AddressConflict}
		if !errors.As(err, &f) || f.Health != want || !errors.Is(err, bus.ErrConflict) {
			t.Errorf("got %v", err)
		}
	}
	stuck := fmt.Errorf("driver: %w", fmt.Errorf("%w: %w", bus.ErrStuck, syscall.ETIMEDOUT))
	var f device.Fault
	if err := Fault(stuck); !errors.As(err, &f) || f.Health.Reason != BusStuck || err.Error() != stuck.Error() {
		t.Errorf("stuck: %v", err)
	}
	if err := Fault(fmt.Errorf("driver: %w: id 0", ErrWrongChip)); !errors.As(err, &f) || f.Health.Reason != WrongChip {
		t.Errorf("another chip: %v", err)
	}
	own := device.Fault{Health: device.Health{State: device.Faulty, Reason: "own"}, Err: bus.ErrStuck}
	if err := Fault(own); !errors.As(err, &f) || f.Health.Reason != "own" {
		t.Errorf("a driver's own fault became %v", err)
	}
	for _, err := range []error{nil, syscall.ENXIO} {
		if got := Fault(err); got != err {
			t.Errorf("%v became %v", err, got)
		}
	}
}
