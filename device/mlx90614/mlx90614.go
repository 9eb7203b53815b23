// Package mlx90614 is the MLX90614 infrared thermometer on I2C: it measures the surface that it is pointed at.
//
// Parties: the chip, at 0x5A unless its EEPROM says otherwise, on a bus of at most 100 kHz; the supervisor, which runs the
// instrument; the outlet it was made with. Twin is the same chip simulated at register level.
//
// Invariants: what is measured is the skin's surface, 1.5 to 3 Cel below the body's temperature and dependent on the room, so it is
// reported as skin-temperature with its method, and never as a body temperature. A value whose checksum (PEC) is wrong, that the
// chip flags, or that can't be skin is not a value. The EEPROM is read and never written: it holds the factory's calibration.
// Where on the body it is pointed is "not stated".
//
// The chip is not put to sleep by us and can't be woken by us (SDA would have to be held low for 33 ms): one that somebody put to
// sleep needs its power cut.
//
// Source: Melexis 3901090614; linux/drivers/iio/temperature/mlx90614.c. That file says that the chip gives no valid PEC on
// reads, other drivers check it: hence the option.
package mlx90614

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"periph.io/x/conn/v3/i2c"

	"telecart/device"
	"telecart/device/bus/wiring"
	"telecart/device/kit"
)

const (
	quantity = "skin-temperature"
	unit     = "Cel"

	startUp   = 250 * time.Millisecond // from waking to the first data
	poll      = 500 * time.Millisecond
	maxMisses = 3 // failed polls in a row
)

// SkinSurfaceInfrared is how every value was come by.
const SkinSurfaceInfrared device.Method = "skin-surface-infrared"

// Health reasons, besides the absent reasons of package device.
const (
	Settling device.Reason = "settling" // waiting for the first value
	NoSkin   device.Reason = "no-skin"  // outside the range of skin
	Garbled  device.Reason = "garbled"  // checksums are wrong
)

// Errors of Run, besides those of the bus and wiring.ErrWrongChip.
var (
	ErrPEC = errors.New("mlx90614: wrong checksum (PEC), three times: the bus may be faster than 100 kHz, the cable bad, " +
		"or the chip one that gives none: then set the option pec = off")
	ErrEmissivity = errors.New("mlx90614: its emissivity was changed, and is not that of skin")
)

// Driver is this package's line in the table. Option "pec": "strict" (default) believes only values with the right checksum,
// "off" is for chips that give none: then a disturbed value that could be skin passes for one.
func Driver() device.Driver {
	return device.Driver{Name: "mlx90614", Kind: device.KindThermometer, Quantities: []string{quantity}, New: open}
}

func open(s device.Settings, out device.Outlet) (device.Instrument, error) {
	t := &thermometer{
		id:    device.Identity{Name: s.Name, Kind: device.KindThermometer, Driver: "mlx90614", Port: s.Port, Twin: s.Twin()},
		check: strict,
		clock: s.Clock,
		stamp: s.Stamp,
		out:   out,
	}
	for name, value := range s.Options {
		switch {
		case name != "pec":
			return nil, fmt.Errorf("mlx90614: unknown option %q: the only one is pec", name)
		case value == "off":
			t.check = lenient
		case value != "strict":
			return nil, fmt.Errorf("mlx90614: pec = %q: give strict or off", value)
		}
	}
	var err error
	t.wiring, err = wiring.New(s, wiring.Straps{Default: 0x5A, First: 0x08, Last: 0x77}, func(addr uint16) i2c.Bus {
		twin := NewTwin(s.Clock, addr)
		twin.SetObject(34_200)
		return twin
	})
	if err != nil {
		return nil, fmt.Errorf("mlx90614: %w", err)
	}
	return t, nil
}

type thermometer struct {
	id     device.Identity
	wiring *wiring.Wiring
	check  func(got, want byte) bool
	broken atomic.Uint64
	clock  kit.Clock
	stamp  *kit.Stamper
	out    device.Outlet
}

// Counters implements device.Counted.
func (t *thermometer) Counters() map[string]uint64 {
	return map[string]uint64{"pec_errors": t.broken.Load()}
}

// Run opens the chip, makes sure of it, and reports two readings a second.
func (t *thermometer) Run(ctx context.Context) (err error) {
	opened, err := t.wiring.Open()
	if err != nil {
		return fmt.Errorf("mlx90614: %w", err)
	}
	defer func() { err = fault(errors.Join(err, opened.Close())) }()

	c := chip{Chip: opened, addr: t.wiring.Addr(), check: t.check, broken: &t.broken}
	_ = opened.Tx([]byte{cmdConfig}, make([]byte, 3)) // the first read after a start may fail, and means nothing
	if err := t.wait(ctx, startUp); err != nil {
		return err
	}
	id := t.id
	if id.Serial, err = c.probe(); err != nil {
		return err
	}
	t.out.Observe(device.Health{State: device.Settling, Reason: Settling})

	for misses := 0; ; {
		if err := t.wait(ctx, poll); err != nil {
			return err
		}
		raw, err := c.read(cmdObject)
		if err == nil {
			misses = 0
			t.report(id, raw)
		} else if misses++; misses == maxMisses {
			return err
		}
	}
}

// fault gives an error the health that it means.
func fault(err error) error {
	faulty := func(r device.Reason) error {
		return device.Fault{Health: device.Health{State: device.Faulty, Reason: r}, Err: err}
	}
	switch {
	case errors.Is(err, ErrPEC):
		return faulty(Garbled)
	case errors.Is(err, ErrEmissivity):
		return faulty(device.SensorFault)
	}
	return wiring.Fault(err)
}

func (t *thermometer) wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.clock.After(d):
		return nil
	}
}

func (t *thermometer) report(id device.Identity, raw uint16) {
	r := device.Reading{Quantity: quantity, Unit: unit, Method: SkinSurfaceInfrared, Instrument: id, At: t.stamp.Now(),
		Period: device.Duration(poll)}
	r.Value, r.Absent = judge(raw)
	h := device.Health{State: device.Live}
	switch r.Absent {
	case NoSkin:
		h = device.Health{State: device.Settling, Reason: NoSkin}
	case device.SensorFault:
		h = device.Health{State: device.Faulty, Reason: device.SensorFault}
	}
	t.out.Observe(h)
	t.out.Observe(r)
}
