// Package max17048 is the MAX17048 fuel gauge on I2C: how full the cart's one-cell battery is.
//
// Parties: the chip at 0x36 on an I2C bus; the supervisor, which runs the instrument; the outlet it was made with. Twin is
// the same chip simulated at register level.
//
// Invariants: minutes are given only while the battery is emptied at a rate that the chip knows; on mains they are absent
// ("on-mains"). Below 10 % and falling for 30 s the health says device.BatteryCritical: what is being captured must be saved now. A
// gauge that was reset says so until it has learned the cell again.
//
// Source: Maxim 19-6171; scales as in Linux drivers/power/supply/max17040_battery.c.
package max17048

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"periph.io/x/conn/v3/i2c"

	"telecart/device"
	"telecart/device/bus/wiring"
	"telecart/device/kit"
)

const (
	charge  = "battery-charge"
	voltage = "battery-voltage"
	left    = "battery-left"

	period    = 5 * time.Second
	maxMisses = 3

	low           = 20 // percent
	critical      = 10
	criticalAfter = 30 * time.Second
	learningFor   = 10 * time.Minute
	mostMinutes   = 24 * 60 // a rate so small that more is left is no rate
)

// Reasons.
const (
	Learning   device.Reason = "gauge-learning" // the gauge was reset; its percentage is a first guess
	OnMains    device.Reason = "on-mains"       // nothing is taken from the battery
	BatteryLow device.Reason = "battery-low"
	settling   device.Reason = "settling"
)

// What the battery does, as the quality of its charge.
const (
	Charging    = "charging"
	Discharging = "discharging"
)

// Registers, 16 bits each, most significant byte first.
const (
	regVoltage = 0x02 // 78.125 uV
	regCharge  = 0x04 // 1/256 %
	regVersion = 0x08 // 0x001x
	regRate    = 0x16 // signed, 0.208 % an hour
	regStatus  = 0x1A

	statusReset = 1 << 8
)

// ErrNotMAX17048: another chip answers.
var ErrNotMAX17048 = errors.New("max17048: another chip answers")

// Driver is this package's line in the table. It has no options.
func Driver() device.Driver {
	return device.Driver{Name: "max17048", Kind: device.KindPower, Quantities: []string{charge, voltage, left}, New: open}
}

func open(s device.Settings, out device.Outlet) (device.Instrument, error) {
	for name := range s.Options {
		return nil, fmt.Errorf("max17048: unknown option %q: there are none", name)
	}
	w, err := wiring.New(s, wiring.Straps{Default: 0x36, First: 0x36, Last: 0x36}, func(uint16) i2c.Bus { return NewTwin(s.Clock) })
	if err != nil {
		return nil, fmt.Errorf("max17048: %w", err)
	}
	return &gauge{wiring: w, clock: s.Clock, stamp: s.Stamp, out: out,
		id: device.Identity{Name: s.Name, Kind: device.KindPower, Driver: "max17048", Port: s.Port, Twin: s.Twin()}}, nil
}

type gauge struct {
	wiring *wiring.Wiring
	id     device.Identity
	clock  kit.Clock
	stamp  *kit.Stamper
	out    device.Outlet

	sinking  time.Time // since when it is critical; zero: it isn't
	learning time.Time // until when
}

type chip interface{ Tx(w, r []byte) error }

func read(c chip, reg byte) (uint16, error) {
	var b [2]byte
	if err := c.Tx([]byte{reg}, b[:]); err != nil {
		return 0, fmt.Errorf("max17048: register %#02x: %w", reg, err)
	}
	return binary.BigEndian.Uint16(b[:]), nil
}

// Run opens the bus, makes sure of the chip, and reports every five seconds.
func (g *gauge) Run(ctx context.Context) (err error) {
	c, err := g.wiring.Open()
	if err != nil {
		return fmt.Errorf("max17048: %w", err)
	}
	defer func() { err = wiring.Fault(errors.Join(err, c.Close())) }()
	v, err := read(c, regVersion)
	if err != nil {
		return err
	}
	if v&0xFFF0 != 0x0010 {
		return fmt.Errorf("%w: version %#04x, not 0x001x", ErrNotMAX17048, v)
	}
	g.out.Observe(device.Health{State: device.Settling, Reason: settling})
	for misses := 0; ; {
		s, err := sample(c)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			misses = 0
			g.report(g.clock.Now(), s)
		default:
			if misses++; misses == maxMisses {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-g.clock.After(period):
		}
	}
}

// state is one look at the registers.
type state struct {
	voltage uint16
	charge  uint16
	rate    int16
	reset   bool
}

// sample reads all, and takes note of a reset so that the next one is seen too.
func sample(c chip) (s state, err error) {
	status, err := read(c, regStatus)
	if err != nil {
		return s, err
	}
	if s.reset = status&statusReset != 0; s.reset {
		if err := c.Tx(binary.BigEndian.AppendUint16([]byte{regStatus}, status&^statusReset), nil); err != nil {
			return s, fmt.Errorf("max17048: register %#02x: %w", regStatus, err)
		}
	}
	if s.voltage, err = read(c, regVoltage); err != nil {
		return s, err
	}
	if s.charge, err = read(c, regCharge); err != nil {
		return s, err
	}
	rate, err := read(c, regRate)
	s.rate = int16(rate)
	return s, err
}

// percent is the charge; the chip may say more than 100.
func (s state) percent() int64 { return min(int64(s.charge)>>8, 100) }

// minutes that are left, if the chip knows at which rate the battery is emptied.
func (s state) minutes() (int64, bool) {
	if s.rate >= 0 {
		return 0, false
	}
	n := int64(s.charge) * 60 * 1000 / 256 / (208 * -int64(s.rate))
	return n, n <= mostMinutes
}

func (g *gauge) report(now time.Time, s state) {
	if s.reset {
		g.learning = now.Add(learningFor)
	}
	if s.rate >= 0 || s.percent() >= critical {
		g.sinking = time.Time{}
	} else if g.sinking.IsZero() {
		g.sinking = now
	}
	g.out.Observe(g.health(now, s))
	base := device.Reading{Instrument: g.id, At: g.stamp.Now(), Period: device.Duration(period)}
	pc, volts, min := base, base, base
	pc.Quantity, pc.Unit, pc.Value, pc.Quality = charge, "%", device.Decimal{Coef: s.percent()}, Charging
	if s.rate < 0 {
		pc.Quality = Discharging
	}
	volts.Quantity, volts.Unit, volts.Value = voltage, "V", device.Decimal{Coef: (int64(s.voltage)*78125 + 500_000) / 1_000_000, Exp: -3}
	min.Quantity, min.Unit = left, "min"
	switch n, ok := s.minutes(); {
	case ok:
		min.Value = device.Decimal{Coef: n}
	case s.rate < 0: // so slowly that the chip can't tell
		min.Absent = device.NotYet
	default:
		min.Absent = OnMains
	}
	for _, r := range []device.Reading{pc, volts, min} {
		g.out.Observe(r)
	}
}

func (g *gauge) health(now time.Time, s state) device.Health {
	h := device.Health{State: device.Live}
	switch {
	case !g.sinking.IsZero() && now.Sub(g.sinking) >= criticalAfter:
		h.Reason = device.BatteryCritical
	case s.rate < 0 && s.percent() < low:
		h.Reason = BatteryLow
	case now.Before(g.learning):
		h.Reason = Learning
	}
	return h
}
