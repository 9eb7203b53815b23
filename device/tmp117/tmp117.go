// Package tmp117 is the TMP117 contact thermometer on I2C.
//
// Parties: the chip at 0x48..0x4B on an I2C bus; the supervisor, which runs the instrument; the outlet it was made with.
// Twin is the same chip simulated at register level.
//
// Invariants: a number is sent only in thermal equilibrium (equilibrium.go) and inside the range of skin; otherwise the
// reading is absent as "not-yet" and the health says why ("settling", "not-on-patient"). The power-on value -256 Cel
// is never a temperature. The probe doesn't know where on the body it is: site and method stay "not stated".
//
// Source: TI SNOSD82D, sections 7.3 to 7.6.
package tmp117

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/host/v3/sysfs"

	"telecart/device"
	"telecart/device/kit"
)

const (
	quantity       = "body-temperature"
	unit           = "Cel"
	defaultAddress = 0x48
	lastAddress    = 0x4B

	poll      = 250 * time.Millisecond // a quarter of the conversion cycle
	period    = time.Second            // the conversion cycle that start() sets
	deadAfter = 5 * time.Second        // a chip that converts nothing for so long has lost its mind
	maxMisses = 3                      // failed polls in a row; a single glitch must not cost a minute of settling

	coldest = 30 * lsbPerCel // skin under a probe is not colder,
	hottest = 45 * lsbPerCel // and not hotter
)

// Health reasons.
const (
	Settling     device.Reason = "settling"       // on the way to equilibrium
	NotOnPatient device.Reason = "not-on-patient" // outside the range of skin
)

// Errors of Run, besides those of the bus.
var (
	ErrNotTMP117    = errors.New("tmp117: another chip answers")
	ErrNoConversion = errors.New("tmp117: the chip answers but does not measure")
)

// Driver is this package's line in the table. Option "settle_s": how long the temperature must have been steady before
// it is shown, 3 to 120 s, default 30.
func Driver() device.Driver {
	return device.Driver{Name: "tmp117", Kind: device.KindThermometer, Quantities: []string{quantity}, New: open}
}

func open(s device.Settings, out device.Outlet) (device.Instrument, error) {
	t := &thermometer{
		id:     device.Identity{Name: s.Name, Kind: device.KindThermometer, Driver: "tmp117", Port: s.Port, Twin: s.Twin()},
		addr:   defaultAddress,
		settle: 30 * time.Second,
		clock:  s.Clock,
		stamp:  s.Stamp,
		out:    out,
	}
	if s.Address != 0 {
		if s.Address < defaultAddress || s.Address > lastAddress {
			return nil, fmt.Errorf("tmp117: address %#x: the chip can only be at 0x48, 0x49, 0x4a or 0x4b", s.Address)
		}
		t.addr = uint16(s.Address)
	}
	for name, value := range s.Options {
		if name != "settle_s" {
			return nil, fmt.Errorf("tmp117: unknown option %q: the only one is settle_s", name)
		}
		n, err := strconv.Atoi(value)
		if err != nil || n < 3 || n > 120 {
			return nil, fmt.Errorf("tmp117: settle_s = %q: give whole seconds from 3 to 120", value)
		}
		t.settle = time.Duration(n) * time.Second
	}
	if s.Twin() {
		t.open = func() (i2c.BusCloser, error) {
			twin := NewTwin(s.Clock, t.addr)
			twin.SetTemperature(31_000)
			twin.Approach(37_100, 2*time.Second)
			return closable{twin}, nil
		}
		return t, nil
	}
	bus, isBus := strings.CutPrefix(s.Port, "/dev/i2c-")
	n, err := strconv.Atoi(bus)
	if !isBus || err != nil || n < 0 {
		return nil, fmt.Errorf("tmp117: port %q: give an I2C bus like /dev/i2c-1, or twin", s.Port)
	}
	// Straight to the one bus: i2creg would first start every GPIO, SPI, LED and thermal driver of the machine, and
	// would not know a bus that was plugged in later.
	t.open = func() (i2c.BusCloser, error) { return sysfs.NewI2C(n) }
	return t, nil
}

type closable struct{ *Twin }

func (closable) Close() error { return nil }

type thermometer struct {
	id     device.Identity
	open   func() (i2c.BusCloser, error)
	addr   uint16
	settle time.Duration
	clock  kit.Clock
	stamp  *kit.Stamper
	out    device.Outlet
}

// Run opens the bus, makes sure that the chip is a TMP117, and reports one reading a second.
func (t *thermometer) Run(ctx context.Context) (err error) {
	bus, err := t.open()
	if err != nil {
		return fmt.Errorf("tmp117: open %s: %w", t.id.Port, err)
	}
	defer func() { err = errors.Join(err, bus.Close()) }()

	c := chip{bus: bus, addr: t.addr}
	rev, err := c.probe()
	if err != nil {
		return err
	}
	id := t.id
	id.Model = fmt.Sprintf("TMP117 rev %d", rev)
	if err := c.start(); err != nil {
		return err
	}
	t.out.Observe(device.Health{State: device.Settling, Reason: Settling})

	eq := equilibrium{hold: t.settle}
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
			t.report(id, judge(&eq, now, raw), raw)
		default:
			misses = 0
		}
		if now.Sub(last) > deadAfter {
			return fmt.Errorf("%w: nothing for %s", ErrNoConversion, deadAfter)
		}
	}
}

// judge says how far one conversion is to be believed.
func judge(eq *equilibrium, at time.Time, raw int16) device.Health {
	switch {
	case raw < coldest || raw > hottest:
		eq.reset()
		return device.Health{State: device.Settling, Reason: NotOnPatient}
	case !eq.add(at, raw):
		return device.Health{State: device.Settling, Reason: Settling}
	}
	return device.Health{State: device.Live}
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
