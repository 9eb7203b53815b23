// Package ad8232 is a single-lead electrocardiograph: an AD8232 front end whose output an ADS1115 converts on I2C.
//
// PATIENT SAFETY: the electrodes of such a board are connected to the cart's ground. On a cart that is powered from the
// mains, or connected by cable to anything that is, a fault can drive current through the patient's heart. Use it on
// battery alone with nothing plugged in, or behind medical isolation (IEC 60601-1, type CF or BF) of power and I2C. Software
// can't make it safe. Its picture is of monitoring quality, not for diagnosis; no rhythm is named.
//
// Parties: the ADS1115 at 0x48..0x4B on an I2C bus, whose AIN0 is the AD8232's OUTPUT; optionally a GPIO line on its ALERT/RDY
// and two on the AD8232's LO+ and LO-; the supervisor, which runs the instrument; the outlet it was made with; package ecg,
// which finds the beats. Twin is converter, front end and heart, simulated at register level.
//
// Two ways to sample, because the ADS1115's oscillator is only good to 10 % and it does not say when a value is new:
//
//   - With option ready ("gpiochip0:17", wired to ALERT/RDY with a pull-up) each conversion pulses the line, the kernel
//     stamps the edge, and we read. The true rate is measured on the kernel's clock for two seconds, and on; Samples.RateHz is
//     what was measured. This is the proper way.
//   - Without it the converter runs at its fastest, 860/s, and is read by our clock at the rate that is wanted. A value is then
//     up to 1.3 ms old, so samples are known to +-0.7 ms, and a late read is a late sample: all are moved to equal distances on
//     the times at which they were read. Good enough for a rate and for a look; 860/s can't be had.
//
// periph's ads1x15 has a ReadContinuous; it is unfit here: a ticker starts a single conversion for each sample, sleeps and
// reads, drops errors in silence and tells no times, so that its samples have holes and jitter and no known rate.
//
// Invariants: a heart rate is sent only while package ecg finds the signal good enough; otherwise it is absent with the
// reason. With option leads_off nothing is sent as a waveform while an electrode is off, nor for one second after it is on
// again (the AD8232's fast restore). Without it an electrode that is off is seen only as a line or a saturated output. A gap
// of more than 20 ms ends what was learnt; shorter ones are bridged by a straight line. The converter's configuration is read
// back every second: one that lost it would show an old value for ever.
//
// Sources: TI SBAS444D (ADS1115) 9.3.8, 9.6; Analog Devices AD8232 data sheet rev. D. That SparkFun's board has a gain of 1100
// is from memory: give your own with option gain. The reading of /dev/gpiochip was never tried on a real line: the lab's
// kernel has no gpio-sim; only the layout of its structures and the decoding of its events are tested.
package ad8232

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"periph.io/x/conn/v3/i2c"

	"telecart/device"
	"telecart/device/bus/wiring"
	"telecart/device/kit"
)

const (
	heartRate = "heart-rate"
	waveform  = "ecg"

	firstAddress, lastAddress = 0x48, 0x4B
	defaultAddress            = 0x49 // 0x48 is the thermometers'

	defaultRate = 250
	fastestRate = 860
	defaultGain = 1100
	maxMisses   = 3                     // failed transactions in a row
	widestGap   = 20 * time.Millisecond // that is bridged; a QRS is 80 ms wide
	tolerance   = 0.15                  // of the oscillator, where 0.1 is specified
	checkEvery  = time.Second
)

// Health reasons, besides those of package ecg.
const (
	LeadsOff device.Reason = "leads-off" // an electrode is off
	Settling device.Reason = "settling"  // measuring the rate, learning the beats, or just reconnected
)

// Errors of Run, besides those of the bus.
var (
	ErrRestarted = errors.New("ad8232: the converter lost its configuration: check its supply")
	ErrQuiet     = errors.New("ad8232: no pulses on the ready line: check its wire to ALERT/RDY and its pull-up")
	ErrRate      = errors.New("ad8232: the converter's rate is far from what it was told: check the wire of the ready line")
)

// signalling is whether ALERT/RDY says when a conversion is complete.
type signalling int

const (
	silent signalling = iota
	onReady
)

// Driver is this package's line in the table. Options: "rate" 250 (default), 475 or 860 samples a second; "gain" of the front
// end, default 1100; "mains" 50 (default), 60 or 0 Hz, taken out of the picture; "ready", a GPIO line like gpiochip0:17;
// "leads_off", one or two like gpiochip0:22,gpiochip0:23.
func Driver() device.Driver {
	return device.Driver{Name: "ad8232", Kind: device.KindECG, Quantities: []string{heartRate, waveform},
		Grade: device.Consumer, New: open}
}

func open(s device.Settings, out device.Outlet) (device.Instrument, error) {
	e := &electrocardiograph{
		id: device.Identity{Name: s.Name, Kind: device.KindECG, Driver: "ad8232", Model: "AD8232, ADS1115", Port: s.Port,
			Twin: s.Twin(), Grade: device.Consumer},
		rate: defaultRate, gain: defaultGain, mains: 50,
		lines: chardev{},
		clock: s.Clock,
		stamp: s.Stamp,
		out:   out,
	}
	for name, value := range s.Options {
		if err := e.option(name, value); err != nil {
			return nil, err
		}
	}
	if e.rate == fastestRate && e.ready == nil {
		return nil, fmt.Errorf("ad8232: rate = %d needs option ready: without that line the converter is looked at now and then",
			fastestRate)
	}
	for _, l := range e.leads {
		if e.ready != nil && l == *e.ready {
			return nil, fmt.Errorf("ad8232: %s is both ready and leads_off", l)
		}
	}
	var err error
	straps := wiring.Straps{Default: defaultAddress, First: firstAddress, Last: lastAddress}
	e.wiring, err = wiring.New(s, straps, func(addr uint16) i2c.Bus {
		twin := NewTwin(s.Clock, addr)
		e.lines = twin
		return twin
	})
	if err != nil {
		return nil, fmt.Errorf("ad8232: %w", err)
	}
	return e, nil
}

func (e *electrocardiograph) option(name, value string) (err error) {
	switch name {
	case "rate":
		n, err := strconv.Atoi(value)
		if err != nil || !slices.Contains([]int{250, 475, 860}, n) {
			return fmt.Errorf("ad8232: rate = %q: give 250, 475 or 860 samples a second", value)
		}
		e.rate = n
	case "gain":
		e.gain, err = strconv.ParseFloat(value, 64)
		if err != nil || !(e.gain >= 10 && e.gain <= 10_000) {
			return fmt.Errorf("ad8232: gain = %q: give the front end's gain, 10 to 10000", value)
		}
	case "mains":
		if !slices.Contains([]string{"0", "50", "60"}, value) {
			return fmt.Errorf("ad8232: mains = %q: give 50 or 60 Hz, or 0 to leave it in", value)
		}
		e.mains, err = strconv.Atoi(value)
	case "ready":
		lines, err := parseLines(value, 1)
		if err != nil {
			return fmt.Errorf("ad8232: ready = %q: %w", value, err)
		}
		e.ready = &lines[0]
	case "leads_off":
		if e.leads, err = parseLines(value, 2); err != nil {
			return fmt.Errorf("ad8232: leads_off = %q: %w", value, err)
		}
	default:
		return fmt.Errorf("ad8232: unknown option %q: there are rate, gain, mains, ready, leads_off", name)
	}
	return err
}

type electrocardiograph struct {
	id     device.Identity
	wiring *wiring.Wiring
	rate   int
	gain   float64
	mains  int
	ready  *line
	leads  []line
	lines  gpio
	clock  kit.Clock
	stamp  *kit.Stamper
	out    device.Outlet

	lost, gaps atomic.Uint64
}

// Counters implements device.Counted.
func (e *electrocardiograph) Counters() map[string]uint64 {
	return map[string]uint64{"lost_samples": e.lost.Load(), "gaps": e.gaps.Load()}
}

// Run opens the chip and the lines, starts the converter, and reports a waveform ten times and a rate once a second.
func (e *electrocardiograph) Run(ctx context.Context) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	opened, err := e.wiring.Open()
	if err != nil {
		return fmt.Errorf("ad8232: %w", err)
	}
	defer func() { err = wiring.Fault(errors.Join(err, opened.Close())) }()

	r := &run{electrocardiograph: e, chip: &chip{bus: opened}, checked: e.clock.Now()}
	defer func() {
		for _, l := range r.leadsOff {
			err = errors.Join(err, l.Close())
		}
	}()
	for _, l := range e.leads {
		watched, err := e.lines.Level(l)
		if err != nil {
			return err
		}
		r.leadsOff = append(r.leadsOff, watched)
	}
	if e.ready == nil {
		return r.poll(ctx)
	}
	pulses, err := e.lines.Pulses(*e.ready)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pulses.Close()) }()
	return r.follow(ctx, pulses)
}
