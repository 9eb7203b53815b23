// Package tmp117 is the TMP117 contact thermometer on I2C.
//
// Parties: the chip at 0x48..0x4B on an I2C bus; the supervisor, which runs the instrument; the outlet it was made with.
// Twin is the same chip simulated at register level.
//
// Invariants: a number is sent only in thermal equilibrium (package equilibrium) and inside the range of skin; otherwise the
// reading is absent as "not-yet" and the health says why ("settling", "not-on-patient"). The power-on value -256 Cel
// is never a temperature. The probe doesn't know where on the body it is: site and method stay "not stated".
//
// Source: TI SNOSD82D, sections 7.3 to 7.6.
package tmp117

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

	poll      = 250 * time.Millisecond // a quarter of the conversion cycle
	period    = time.Second            // the conversion cycle that start() sets
	deadAfter = 5 * time.Second        // a chip that converts nothing for so long has lost its mind
	maxMisses = 3                      // failed polls in a row; a single glitch must not cost a minute of settling
)

// ErrNoConversion is an error of Run, as are those of the bus and wiring.ErrWrongChip.
var ErrNoConversion = errors.New("tmp117: the chip answers but does not measure")

// Driver is this package's line in the table. Option "settle_s": how long the temperature must have been steady before
// it is shown, 3 to 120 s, default 30.
func Driver() device.Driver {
	return device.Driver{Name: "tmp117", Kind: device.KindThermometer, Quantities: []string{quantity}, New: open}
}

func open(s device.Settings, out device.Outlet) (device.Instrument, error) {
	t := &thermometer{
		id:    device.Identity{Name: s.Name, Kind: device.KindThermometer, Driver: "tmp117", Port: s.Port, Twin: s.Twin()},
		hold:  equilibrium.DefaultHold,
		clock: s.Clock,
		stamp: s.Stamp,
		out:   out,
	}
	var err error
	for name, value := range s.Options {
		if name != equilibrium.Option {
			return nil, fmt.Errorf("tmp117: unknown option %q: the only one is %s", name, equilibrium.Option)
		}
		if t.hold, err = equilibrium.ParseHold(value); err != nil {
			return nil, fmt.Errorf("tmp117: %w", err)
		}
	}
	t.wiring, err = wiring.New(s, wiring.Straps{Default: 0x48, First: 0x48, Last: 0x4B}, func(addr uint16) i2c.Bus {
		twin := NewTwin(s.Clock, addr)
		twin.SetTemperature(31_000)
		twin.Approach(37_100, 2*time.Second)
		return twin
	})
	if err != nil {
		return nil, fmt.Errorf("tmp117: %w", err)
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

// Run opens the chip, makes sure that it is a TMP117, and reports one reading a second.
func (t *thermometer) Run(ctx context.Context) (err error) {
	opened, err := t.wiring.Open()
	if err != nil {
		return fmt.Errorf("tmp117: %w", err)
	}
	defer func() { err = wiring.Fault(errors.Join(err, opened.Close())) }()

	c := chip{opened}
	rev, err := c.probe()
	if err != nil {
		return err
	}
	id := t.id
	id.Model = fmt.Sprintf("TMP117 rev %d", rev)
	if err := c.start(); err != nil {
		return err
	}
	t.out.Observe(device.Health{State: device.Settling, Reason: equilibrium.Settling})

	contact := equilibrium.New(t.hold)
	last, misses := t.clock.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.clock.After(poll):
		}
		raw, ready, err := c.temperature()
		now := t.clock.Now()
		switch {
		case err != nil:
			if misses++; misses == maxMisses {
				return err
			}
		case ready:
			last, misses = now, 0
			t.report(id, contact.Judge(now, milli(raw)), raw)
		default:
			misses = 0
		}
		if now.Sub(last) > deadAfter {
			return fmt.Errorf("%w: nothing for %s", ErrNoConversion, deadAfter)
		}
	}
}

func (t *thermometer) report(id device.Identity, h device.Health, raw int16) {
	r := device.Reading{Quantity: quantity, Unit: unit, Instrument: id, At: t.stamp.Now(), Period: device.Duration(period)}
	if h.State == device.Live {
		r.Value = celsius(raw)
	} else {
		r.Absent = device.NotYet
	}
	t.out.Observe(h)
	t.out.Observe(r)
}
