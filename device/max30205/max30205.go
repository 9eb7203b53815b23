// Package max30205 is the MAX30205 contact thermometer on I2C.
//
// Parties: the chip at 0x40..0x5F on an I2C bus; the supervisor, which runs the instrument; the outlet it was made with.
// Twin is the same chip simulated at register level.
//
// Invariants: a number is sent only in thermal equilibrium (package equilibrium) and inside the range of skin; otherwise the
// reading is absent as "not-yet" and the health says why ("settling", "not-on-patient"). Every number is of a conversion that
// we started. The chip has no identity register: it is taken for a MAX30205 when its configuration keeps what is written to it and
// it reads a bedside temperature; whatever it is, its configuration is put back after the question. The probe doesn't know
// where on the body it is: site and method stay "not stated".
//
// Source: Maxim 19-8505; addresses as in libdriver/max30205 (driver_max30205.h). That a conversion takes 50 ms at most, and the
// power-on values, are from memory and not confirmed.
package max30205

import (
	"context"
	"errors"
	"fmt"
	"time"

	"periph.io/x/conn/v3/i2c"

	"telecart/device"
	"telecart/device/bus/wiring"
	"telecart/device/equilibrium"
	"telecart/device/kit"
)

const (
	quantity = "body-temperature"
	unit     = "Cel"

	convert   = 60 * time.Millisecond // 50 ms at most, and some
	period    = time.Second           // from conversion to conversion
	maxMisses = 3                     // failed ones in a row; a single glitch must not cost a minute of settling
)

// ErrRestarted is an error of Run, as are those of the bus and wiring.ErrWrongChip.
var ErrRestarted = errors.New("max30205: the chip lost its configuration: check its supply")

// Driver is this package's line in the table. Option "settle_s": how long the temperature must have been steady before
// it is shown, 3 to 120 s, default 30.
func Driver() device.Driver {
	return device.Driver{Name: "max30205", Kind: device.KindThermometer, Quantities: []string{quantity}, New: open}
}

func open(s device.Settings, out device.Outlet) (device.Instrument, error) {
	t := &thermometer{
		id:    device.Identity{Name: s.Name, Kind: device.KindThermometer, Driver: "max30205", Port: s.Port, Twin: s.Twin()},
		hold:  equilibrium.DefaultHold,
		clock: s.Clock,
		stamp: s.Stamp,
		out:   out,
	}
	var err error
	for name, value := range s.Options {
		if name != equilibrium.Option {
			return nil, fmt.Errorf("max30205: unknown option %q: the only one is %s", name, equilibrium.Option)
		}
		if t.hold, err = equilibrium.ParseHold(value); err != nil {
			return nil, fmt.Errorf("max30205: %w", err)
		}
	}
	t.wiring, err = wiring.New(s, wiring.Straps{Default: 0x48, First: 0x40, Last: 0x5F}, func(addr uint16) i2c.Bus {
		twin := NewTwin(s.Clock, addr)
		twin.SetTemperature(31_000)
		twin.Approach(36_800, 2*time.Second)
		return twin
	})
	if err != nil {
		return nil, fmt.Errorf("max30205: %w", err)
	}
	return t, nil
}

type thermometer struct {
	id     device.Identity
	wiring *wiring.Wiring
	hold   time.Duration
	clock  kit.Clock
	stamp  *kit.Stamper
	out    device.Outlet
}

// Run opens the chip, makes as sure as can be that it is a MAX30205, and reports one reading a second.
func (t *thermometer) Run(ctx context.Context) (err error) {
	opened, err := t.wiring.Open()
	if err != nil {
		return fmt.Errorf("max30205: %w", err)
	}
	defer func() { err = wiring.Fault(errors.Join(err, opened.Close())) }()

	c := chip{opened}
	if err := t.probe(ctx, c); err != nil {
		return err
	}
	if err := c.configure(cfgRest); err != nil {
		return err
	}
	t.out.Observe(device.Health{State: device.Settling, Reason: equilibrium.Settling})

	contact := equilibrium.New(t.hold)
	for misses := 0; ; {
		raw, err := t.measure(ctx, c)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			misses = 0
			t.report(contact.Judge(t.clock.Now(), milli(raw)), raw)
		default:
			if misses++; misses == maxMisses {
				return err
			}
		}
		if err := t.wait(ctx, period-convert); err != nil {
			return err
		}
	}
}

// probe asks whether this is a MAX30205, and leaves the chip as it was.
func (t *thermometer) probe(ctx context.Context, c chip) (err error) {
	was, err := c.config()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.configure(was)) }()
	if err := c.holds(); err != nil {
		return err
	}
	raw, err := t.measure(ctx, c)
	if err != nil {
		return err
	}
	if raw <= coldest || raw >= hottest {
		return fmt.Errorf("max30205: %w: it reads %s Cel", wiring.ErrWrongChip, celsius(raw))
	}
	return nil
}

// measure makes one conversion.
func (t *thermometer) measure(ctx context.Context, c chip) (int16, error) {
	if err := c.configure(cfgConvert); err != nil {
		return 0, errors.Join(err, t.wait(ctx, convert))
	}
	if err := t.wait(ctx, convert); err != nil {
		return 0, err
	}
	return c.result()
}

func (t *thermometer) wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.clock.After(d):
		return nil
	}
}

func (t *thermometer) report(h device.Health, raw int16) {
	r := device.Reading{Quantity: quantity, Unit: unit, Instrument: t.id, At: t.stamp.Now(), Period: device.Duration(period)}
	if h.State == device.Live {
		r.Value = celsius(raw)
	} else {
		r.Absent = device.NotYet
	}
	t.out.Observe(h)
	t.out.Observe(r)
}
