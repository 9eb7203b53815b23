// Package ina219 is the INA219 power monitor on I2C: what the cart's supply gives, in volts and amperes.
//
// Parties: the chip at 0x40..0x4F on an I2C bus; the supervisor, which runs the instrument; the outlet it was made with. Twin
// is the same chip simulated at register level.
//
// Invariants: a saturated or overflowed measurement is absent, not a number. A supply below its limit is said in the health
// ("supply-low") before it browns out.
//
// periph.io/x/devices/v3/ina219 would do for 5 V, but sets the 16 V range, and so saturates on a cart's 19 or 24 V rail.
//
// Source: TI SBOS448G.
package ina219

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"periph.io/x/conn/v3/i2c"

	"telecart/device"
	"telecart/device/bus/wiring"
	"telecart/device/kit"
)

const (
	voltage = "supply-voltage"
	current = "supply-current"

	period    = 2 * time.Second
	maxMisses = 3
)

// Reasons.
const (
	OverRange device.Reason = "over-range" // more than the chip can measure
	settling  device.Reason = "settling"
)

// Registers, 16 bits each, most significant byte first.
const (
	regConfig = 0x00
	regShunt  = 0x01 // signed, 10 uV
	regBus    = 0x02 // bits 15..3: 4 mV; bit 1 converted, bit 0 overflow

	// 32 V, +-320 mV, 128 samples each (68 ms), continuous.
	config  = 0x3FFF
	powerOn = 0x399F
	full    = 32000 // of the shunt: 320 mV
)

// ErrNotINA219: another chip answers.
var ErrNotINA219 = errors.New("ina219: another chip answers")

// Driver is this package's line in the table. Options: shunt_mohm, the shunt in thousandths of an ohm (100), and low_mv, the
// voltage below which the supply is about to fail (4750).
func Driver() device.Driver {
	return device.Driver{Name: "ina219", Kind: device.KindPower, Quantities: []string{voltage, current}, New: open}
}

func open(s device.Settings, out device.Outlet) (device.Instrument, error) {
	m := &monitor{clock: s.Clock, stamp: s.Stamp, out: out, shunt: 100, low: 4750,
		id: device.Identity{Name: s.Name, Kind: device.KindPower, Driver: "ina219", Port: s.Port, Twin: s.Twin()}}
	for name, v := range s.Options {
		to, known := map[string]*int64{"shunt_mohm": &m.shunt, "low_mv": &m.low}[name]
		if !known {
			return nil, fmt.Errorf("ina219: unknown option %q: there are shunt_mohm, low_mv", name)
		}
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > 32000 {
			return nil, fmt.Errorf("ina219: %s = %q: give a whole number from 1 to 32000", name, v)
		}
		*to = int64(n)
	}
	var err error
	m.wiring, err = wiring.New(s, wiring.Straps{Default: 0x40, First: 0x40, Last: 0x4F}, func(addr uint16) i2c.Bus { return NewTwin(addr, 5100, 900) })
	if err != nil {
		return nil, fmt.Errorf("ina219: %w", err)
	}
	return m, nil
}

type monitor struct {
	wiring     *wiring.Wiring
	id         device.Identity
	clock      kit.Clock
	stamp      *kit.Stamper
	out        device.Outlet
	shunt, low int64
}

type chip interface{ Tx(w, r []byte) error }

func read(c chip, reg byte) (uint16, error) {
	var b [2]byte
	if err := c.Tx([]byte{reg}, b[:]); err != nil {
		return 0, fmt.Errorf("ina219: register %#02x: %w", reg, err)
	}
	return binary.BigEndian.Uint16(b[:]), nil
}

// Run opens the bus, sets the chip up, and reports every two seconds.
func (m *monitor) Run(ctx context.Context) (err error) {
	c, err := m.wiring.Open()
	if err != nil {
		return fmt.Errorf("ina219: %w", err)
	}
	defer func() { err = wiring.Fault(errors.Join(err, c.Close())) }()
	if err := c.Tx(binary.BigEndian.AppendUint16([]byte{regConfig}, config), nil); err != nil {
		return fmt.Errorf("ina219: set up: %w", err)
	}
	m.out.Observe(device.Health{State: device.Settling, Reason: settling})
	for misses := 0; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-m.clock.After(period):
		}
		bus, shunt, err := sample(c)
		switch {
		case errors.Is(err, ErrNotINA219):
			return err
		case err == nil:
			misses = 0
			m.report(bus, shunt)
		default:
			if misses++; misses == maxMisses {
				return err
			}
		}
	}
}

// sample reads both, and makes sure that the chip is still set up: after a brown-out of its own it isn't.
func sample(c chip) (bus uint16, shunt int16, err error) {
	conf, err := read(c, regConfig)
	if err != nil {
		return 0, 0, err
	}
	if conf != config {
		return 0, 0, fmt.Errorf("%w, or it was reset: configuration %#04x, not %#04x", ErrNotINA219, conf, config)
	}
	if bus, err = read(c, regBus); err != nil {
		return 0, 0, err
	}
	raw, err := read(c, regShunt)
	return bus, int16(raw), err
}

// decode gives millivolts and milliamperes; ok is false when the shunt's amplifier is at its end. I = U/R: 10 uV over thousandths
// of an ohm is 10 mA.
func decode(bus uint16, shunt int16, mohm int64) (mv, ma int64, ok bool) {
	return int64(bus>>3) * 4, int64(shunt) * 10 / mohm, shunt < full && shunt > -full
}

func (m *monitor) report(bus uint16, shunt int16) {
	mv, ma, ok := decode(bus, shunt, m.shunt)
	h := device.Health{State: device.Live}
	base := device.Reading{Instrument: m.id, At: m.stamp.Now(), Period: device.Duration(period)}
	volts, amps := base, base
	volts.Quantity, volts.Unit, volts.Value = voltage, "V", device.Decimal{Coef: mv, Exp: -3}
	amps.Quantity, amps.Unit, amps.Value = current, "A", device.Decimal{Coef: ma, Exp: -3}
	if !ok {
		amps.Value, amps.Absent = device.Decimal{}, OverRange
	}
	if mv < m.low {
		h.Reason = device.SupplyLow
	}
	m.out.Observe(h)
	m.out.Observe(volts)
	m.out.Observe(amps)
}
