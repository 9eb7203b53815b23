// Package mcp9808 is the MCP9808 thermometer on I2C: how warm the room is, or the cart's box. Source: Microchip DS25095A, 5.1.
// Parties: the chip at 0x18..0x1F; the supervisor, which runs the instrument; its outlet. Twin is the chip's registers.
// Invariants: no other chip is believed, nor this one before its first conversion. What it says is of no patient.
package mcp9808

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"periph.io/x/conn/v3/i2c"

	"telecart/device"
	"telecart/device/bus/simbus"
	"telecart/device/bus/wiring"
)

const quantity, period = "room-temperature", 5 * time.Second // a conversion takes a quarter of a second

// Driver is this package's line in the table. It has no options.
func Driver() device.Driver {
	return device.Driver{Name: "mcp9808", Kind: device.KindRoom, Quantities: []string{quantity}, New: open}
}

type thermometer struct {
	device.Settings
	out    device.Outlet
	wiring *wiring.Wiring
}

func open(s device.Settings, out device.Outlet) (device.Instrument, error) {
	for name := range s.Options {
		return nil, fmt.Errorf("mcp9808: unknown option %q: there are none", name)
	}
	w, err := wiring.New(s, wiring.Straps{Default: 0x18, First: 0x18, Last: 0x1F}, Twin)
	return &thermometer{s, out, w}, err
}

// Run makes sure of the chip by its id, and reads its temperature every five seconds.
func (t *thermometer) Run(ctx context.Context) (err error) {
	c, err := t.wiring.Open()
	if err != nil {
		return err
	}
	defer func() { err = wiring.Fault(fmt.Errorf("mcp9808: %w", errors.Join(err, c.Close()))) }()
	var b [2]byte
	if err := c.Tx([]byte{0x07}, b[:]); err != nil || b[0] != 0x04 {
		return cmp.Or(err, fmt.Errorf("%w: its id is % x", wiring.ErrWrongChip, b))
	}
	t.out.Observe(device.Health{State: device.Settling, Reason: device.NotYet})
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.Clock.After(period):
		}
		if err := c.Tx([]byte{0x05}, b[:]); err != nil {
			return err
		}
		t.out.Observe(device.Health{State: device.Live})
		t.out.Observe(device.Reading{Quantity: quantity, Unit: "Cel", Value: celsius(uint16(b[0])<<8 | uint16(b[1])), At: t.Stamp.Now(),
			Instrument: device.Identity{Name: t.Name, Kind: device.KindRoom, Driver: "mcp9808", Port: t.Port, Twin: t.Twin()},
			Period:     device.Duration(period)})
	}
}

// celsius rounds sixteenths of a degree to tenths. Above their sign are three bits of alarm.
func celsius(v uint16) device.Decimal {
	return device.Decimal{Coef: (int64(int16(v<<3)>>3)*10 + 8) >> 4, Exp: -1}
}

// Twin is a chip at 21.5 Cel, alone on a bus.
func Twin(addr uint16) i2c.Bus {
	return simbus.Alone(addr, simbus.NewRegisters(map[byte]uint16{0x05: 0xC158, 0x07: 0x0400}))
}
