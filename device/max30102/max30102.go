// Package max30102 is the MAX30102 pulse oximeter chip on I2C: red and infrared light that comes back from a fingertip.
//
// Parties: the chip at 0x57 on an I2C bus; package ppg, which finds pulse and saturation in the light; the supervisor,
// which runs the instrument; the outlet it was made with. Twin is the same chip simulated at register level, with a
// finger on it.
//
// Invariants:
//   - All values are graded uncalibrated: no finger of ours was ever compared with a blood sample.
//   - A number comes from package ppg in the second in which it is sent, on samples without a gap, of lamps that were
//     not touched, at a sampling rate that was measured. In any other second the reading is absent, with the reason.
//   - A finger that is taken away ends the numbers with the next poll.
//   - Nothing is written to a chip that doesn't say that it is a MAX30102: an EEPROM may be at its address.
//   - The lamps are off when Run has returned, if the chip still hears us.
//
// Source: Linux drivers/iio/health/max30102.c and SparkFun's MAX30105.cpp (same part id), as in reference 1.2. How bright
// a finger is, and that the chip's clock may be off by several per cent, are from memory and not confirmed.
package max30102

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
	saturation = "oxygen-saturation"
	rate       = "pulse-rate"
	perfusion  = "perfusion-index"
	pleth      = "pleth"

	period    = time.Second            // of the readings
	poll      = 100 * time.Millisecond // 10 samples; the FIFO has room for 32
	maxMisses = 3                      // failed polls in a row
)

// Settling: the first light is waited for, or the lamps are being set.
const Settling device.Reason = "settling"

// Errors of Run, besides those of the bus and wiring.ErrWrongChip.
var (
	ErrReset    = errors.New("max30102: the chip doesn't come out of its reset: switch the cart off and on")
	ErrRestart  = errors.New("max30102: the chip restarted by itself: check its supply")
	ErrStalled  = errors.New("max30102: the chip gives no samples: switch the cart off and on")
	ErrOverflow = errors.New("max30102: samples come faster than they are read: the bus or the cart is too busy")
	ErrPace     = errors.New("max30102: samples don't come at 100 Hz: something else configured the chip, or it is broken")
)

// Driver is this package's line in the table. It has no options.
func Driver() device.Driver {
	return device.Driver{Name: "max30102", Kind: device.KindOximeter, Quantities: []string{saturation, rate, perfusion, pleth},
		Grade: device.Uncalibrated, New: open}
}

func open(s device.Settings, out device.Outlet) (device.Instrument, error) {
	for name := range s.Options {
		return nil, fmt.Errorf("max30102: unknown option %q: there are none", name)
	}
	w, err := wiring.New(s, wiring.Straps{Default: address, First: address, Last: address},
		func(uint16) i2c.Bus { return NewTwin(s.Clock) })
	if err != nil {
		return nil, fmt.Errorf("max30102: %w", err)
	}
	return &oximeter{wiring: w, clock: s.Clock, stamp: s.Stamp, out: out,
		id: device.Identity{Name: s.Name, Kind: device.KindOximeter, Driver: "max30102", Port: s.Port, Twin: s.Twin(),
			Grade: device.Uncalibrated}}, nil
}

type oximeter struct {
	id     device.Identity
	wiring *wiring.Wiring
	clock  kit.Clock
	stamp  *kit.Stamper
	out    device.Outlet

	overflows, misses, lampSteps atomic.Uint64
}

// Counters implements device.Counted.
func (o *oximeter) Counters() map[string]uint64 {
	return map[string]uint64{"fifo_overflows": o.overflows.Load(), "failed_polls": o.misses.Load(), "lamp_steps": o.lampSteps.Load()}
}

// Run opens the chip, makes sure that it is a MAX30102, and reports one set of readings a second.
func (o *oximeter) Run(ctx context.Context) (err error) {
	opened, err := o.wiring.Open()
	if err != nil {
		return fmt.Errorf("max30102: %w", err)
	}
	defer func() { err = wiring.Fault(errors.Join(err, opened.Close())) }()
	c := chip{opened}
	if err := c.probe(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.sleep()) }()
	if err := o.start(ctx, c); err != nil {
		return err
	}
	o.out.Observe(device.Health{State: device.Settling, Reason: Settling})
	return o.work(ctx, newSession(o, c))
}

// work polls until ctx ends or the chip fails.
func (o *oximeter) work(ctx context.Context, s *session) error {
	for misses := 0; ; {
		if err := o.wait(ctx, poll); err != nil {
			return err
		}
		n, err := s.poll(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrPace):
			return fault(err, device.Faulty, device.SensorFault)
		case err != nil:
			o.misses.Add(1)
			if misses++; misses < maxMisses {
				break
			}
			if errors.Is(err, ErrStalled) {
				return fault(err, device.Absent, device.NoData)
			}
			return err
		case n > 0:
			misses = 0
		}
		s.remind()
	}
}

func fault(err error, state device.State, why device.Reason) error {
	return device.Fault{Health: device.Health{State: state, Reason: why}, Err: err}
}

// start resets the chip, configures it, and lets it sample.
func (o *oximeter) start(ctx context.Context, c chip) error {
	if err := c.write(regMode, modeReset); err != nil {
		return err
	}
	for range resetPolls {
		if err := o.wait(ctx, resetPoll); err != nil {
			return err
		}
		done, err := c.wasReset()
		if err != nil {
			return err
		}
		if done {
			return c.configure()
		}
	}
	return ErrReset
}

func (o *oximeter) wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-o.clock.After(d):
		return nil
	}
}
