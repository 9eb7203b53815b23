// Package wiring is how the driver of an I2C chip comes from its settings to its chip.
//
// Parties: drivers, which make a Wiring when they are made, and open it when they run; package bus, which knows nothing of
// instruments; the supervisor, which is told the faults of a bus as health.
//
// Invariants: settings are refused before anything is opened. An instrument on port "twin" has a bus of its own, with its twin
// alone on it.
package wiring

import (
	"errors"
	"fmt"

	"periph.io/x/conn/v3/i2c"

	"telecart/device"
	"telecart/device/bus"
)

// Health reasons that all instruments on I2C share.
const (
	AddressConflict device.Reason = "address-conflict" // two instruments are configured at one address
	BusStuck        device.Reason = "bus-stuck"        // something holds the bus low
	WrongChip       device.Reason = "wrong-chip"       // something else answers at the address
)

// ErrWrongChip is what a driver returns that finds another chip than its own.
var ErrWrongChip = errors.New("another chip answers, check the address straps")

// Straps are the addresses that a chip can be given.
type Straps struct{ Default, First, Last uint16 }

// Wiring is the way to one chip.
type Wiring struct {
	buses     *bus.Buses
	port, mux string
	addr      uint16
	who       string
}

// New reads settings. twin makes the simulated chip at an address, afresh each time.
func New(s device.Settings, straps Straps, twin func(addr uint16) i2c.Bus) (*Wiring, error) {
	w := &Wiring{buses: s.Buses, port: s.Port, mux: s.Mux, addr: straps.Default, who: s.Name}
	if s.Address != 0 {
		if s.Address < int(straps.First) || s.Address > int(straps.Last) {
			return nil, fmt.Errorf("wiring: address %#x: %s", s.Address, straps)
		}
		w.addr = uint16(s.Address)
	}
	if s.Twin() {
		w.mux = ""
		w.buses = bus.Simulated(func(string) (i2c.BusCloser, error) { return alone{twin(w.addr)}, nil })
		return w, nil
	}
	if err := bus.Check(s.Port, s.Mux); err != nil {
		return nil, fmt.Errorf("wiring: %w, or twin as the port", err)
	}
	if w.buses == nil {
		w.buses = bus.New()
	}
	if err := w.buses.Claim(w.port, w.mux, w.addr, w.who); err != nil {
		return nil, fmt.Errorf("wiring: %w", err)
	}
	return w, nil
}

func (s Straps) String() string {
	if s.First == s.Last {
		return fmt.Sprintf("the chip is always at %#02x", s.First)
	}
	return fmt.Sprintf("the chip can be at %#02x to %#02x, and is at %#02x if you give none", s.First, s.Last, s.Default)
}

// alone is a bus with one chip on it, which needs no closing.
type alone struct{ i2c.Bus }

func (alone) Close() error { return nil }

// Addr is the chip's address.
func (w *Wiring) Addr() uint16 { return w.addr }

// Open opens the chip.
func (w *Wiring) Open() (*bus.Chip, error) {
	c, err := w.buses.Open(w.port, w.mux, w.addr, w.who)
	return c, Fault(err)
}

// Fault gives an error of Run the health that it means, if it means more than that the chip isn't there.
func Fault(err error) error {
	var known device.Fault
	if err == nil || errors.As(err, &known) {
		return err
	}
	var reason device.Reason
	switch {
	case errors.Is(err, bus.ErrConflict):
		reason = AddressConflict
	case errors.Is(err, bus.ErrStuck):
		reason = BusStuck
	case errors.Is(err, ErrWrongChip):
		reason = WrongChip
	default:
		return err
	}
	return device.Fault{Health: device.Health{State: device.Faulty, Reason: reason}, Err: err}
}
