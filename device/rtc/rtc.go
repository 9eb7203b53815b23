// Package rtc is the health of the cart's battery-backed clock.
//
// Parties: the kernel's driver behind /dev/rtcN (rtc-ds1307 for a DS3231, rtc-pcf8523), which alone reads and sets the chip;
// the supervisor, which runs the instrument; the outlet it was made with. Twin is a clock chip as the kernel's driver shows it.
//
// Invariants: nothing is ever set. The node is open only while it is read: the kernel lends it to one program at a time, and
// hwclock must get its turn. No quantity comes of it: what time it is, kit.Timekeeper says; Read is for whoever tells it.
//
// Source: linux/rtc.h and drivers/rtc of Linux 6.1. That the oscillator stopped is seen as EINVAL from RTC_RD_TIME, as
// RTC_VL_DATA_INVALID, or (kernels before 2025 clear a DS3231's flag when they find it) as a time before this program's.
package rtc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"time"

	"golang.org/x/sys/unix"

	"telecart/device"
	"telecart/device/kit"
)

const (
	poll      = 30 * time.Second
	first     = 3 * time.Second // long enough for a clock that counts seconds to be seen going
	maxMisses = 3               // polls in a row
)

// Health reasons.
const (
	Settling   device.Reason = "settling"        // does it go?
	NoClock    device.Reason = "no-rtc"          // no such chip in this cart
	NotSet     device.Reason = "clock-not-set"   // it lost the time, or never had it
	Stopped    device.Reason = "rtc-stopped"     // it shows the same second again
	BatteryLow device.Reason = "rtc-battery-low" // or empty: it will lose the time when the cart is switched off
	Held       device.Reason = "rtc-busy"        // another program keeps it open
)

// Errors of Run and Read.
var (
	ErrAbsent = errors.New("rtc: there is no battery-backed clock")
	ErrNotRTC = errors.New("rtc: not a clock")
	ErrBusy   = errors.New("rtc: another program keeps the clock open")
)

// Driver is this package's line in the table. It has no options.
func Driver() device.Driver { return device.Driver{Name: "rtc", Kind: device.KindClock, New: open} }

var portForm = regexp.MustCompile(`^/dev/(rtc[0-9]{0,3})$`)

func open(s device.Settings, out device.Outlet) (device.Instrument, error) {
	for name := range s.Options {
		return nil, fmt.Errorf("rtc: unknown option %q: there are none", name)
	}
	if s.Address != 0 || s.Mux != "" {
		return nil, fmt.Errorf("rtc: address %#x, mux %q: the kernel knows where the chip is; remove them", s.Address, s.Mux)
	}
	c := &clock{id: device.Identity{Name: s.Name, Kind: device.KindClock, Driver: "rtc", Port: s.Port, Twin: s.Twin()},
		clock: s.Clock, out: out}
	if s.Twin() {
		c.runOn(NewTwin(s.Clock))
		return c, nil
	}
	name := portForm.FindStringSubmatch(s.Port)
	if name == nil {
		return nil, fmt.Errorf("rtc: port %q: give the kernel's clock, like /dev/rtc0, or twin", s.Port)
	}
	c.read = func() (State, error) { return Read(s.Port) }
	c.model = func() string { return kernelName("/sys/class/rtc/" + name[1]) }
	return c, nil
}

type clock struct {
	id    device.Identity
	read  func() (State, error)
	model func() string
	clock kit.Clock
	out   device.Outlet
}

func (c *clock) runOn(t *Twin) {
	c.read = func() (State, error) { return readNode(t.open) }
	c.model = func() string { return "rtc-twin" }
}

// Run reads the clock twice in 3 s, to see it go, and then every 30 s.
func (c *clock) Run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	last, err := c.read()
	if err != nil {
		return fault(c.id.Port, err)
	}
	c.out.Observe(device.About{Model: c.model()})
	c.out.Observe(device.Health{State: device.Settling, Reason: Settling})
	wait, misses := first, 0
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.clock.After(wait):
		}
		wait = poll
		now, err := c.read()
		if err != nil {
			// A glitch on the bus, or hwclock had it: neither says anything of the clock.
			if misses++; misses == maxMisses || errors.Is(err, ErrAbsent) {
				return fault(c.id.Port, err)
			}
			continue
		}
		c.out.Observe(judge(last, now))
		last, misses = now, 0
	}
}

// judge compares two states that are at least 3 s apart.
func judge(last, now State) device.Health {
	switch {
	case !now.Set():
		return device.Health{State: device.Faulty, Reason: NotSet}
	case now.Shows.Equal(last.Shows):
		return device.Health{State: device.Faulty, Reason: Stopped}
	case now.Flags&backupEmpty != 0:
		return device.Health{State: device.Faulty, Reason: BatteryLow}
	case now.Flags&backupLow != 0:
		return device.Health{State: device.Live, Reason: BatteryLow}
	}
	return device.Health{State: device.Live}
}

// fault is what the nurse is to be told of an error that ended Run.
func fault(port string, err error) error {
	err = fmt.Errorf("%w (%s)", err, port)
	switch {
	case errors.Is(err, ErrAbsent):
		return device.Fault{Health: device.Health{State: device.Absent, Reason: NoClock}, Err: err}
	case errors.Is(err, ErrBusy):
		return device.Fault{Health: device.Health{State: device.Faulty, Reason: Held}, Err: err}
	case errors.Is(err, os.ErrPermission):
		return device.Fault{Health: device.Health{State: device.Faulty, Reason: "no-permission"}, Err: err}
	}
	return err
}

// State is what a clock shows, and what it says of itself.
type State struct {
	Shows time.Time // zero if it says that it doesn't know
	Flags uint32    // RTC_VL_READ; 0 where the chip's driver has none
}

// Bits of RTC_VL_READ (linux/rtc.h).
const (
	dataInvalid = 1 << 0
	backupLow   = 1 << 1
	backupEmpty = 1 << 2
)

// Set says whether the time it shows may be right: the clock never stopped since it was set, as far as it knows.
func (s State) Set() bool {
	return s.Flags&dataInvalid == 0 && s.Shows.After(kit.Built()) && s.Shows.Before(kit.Built().AddDate(20, 0, 0))
}

// Read asks the clock behind a node.
func Read(path string) (State, error) {
	return readNode(func() (node, error) { return openKernel(path) })
}

// node is the kernel's interface to a clock.
type node interface {
	Time() (unix.RTCTime, error) // EINVAL: it lost the time
	Voltage() (uint32, error)    // ENOTTY or EINVAL: it can't tell
	Close() error
}

func readNode(open func() (node, error)) (s State, err error) {
	n, err := open()
	if err != nil {
		return State{}, classify(err)
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	t, err := n.Time()
	switch {
	case errors.Is(err, unix.EINVAL):
	case err != nil:
		return State{}, classify(err)
	default:
		if s.Shows, err = parse(t); err != nil {
			return State{}, err
		}
	}
	flags, err := n.Voltage()
	switch {
	case err == nil:
		s.Flags = flags
	case !errors.Is(err, unix.ENOTTY) && !errors.Is(err, unix.EINVAL):
		return State{}, classify(err)
	}
	return s, nil
}

func classify(err error) error {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Errorf("%w: %w", ErrAbsent, err)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w: %w", ErrBusy, err)
	case errors.Is(err, unix.ENOTTY):
		return fmt.Errorf("%w: %w", ErrNotRTC, err)
	}
	return fmt.Errorf("rtc: %w", err)
}

// parse takes the chip's counters for what they say, in UTC, and refuses what no calendar has.
func parse(t unix.RTCTime) (time.Time, error) {
	at := time.Date(int(t.Year)+1900, time.Month(t.Mon)+1, int(t.Mday), int(t.Hour), int(t.Min), int(t.Sec), 0, time.UTC)
	if render(at) != (unix.RTCTime{Sec: t.Sec, Min: t.Min, Hour: t.Hour, Mday: t.Mday, Mon: t.Mon, Year: t.Year}) {
		return time.Time{}, fmt.Errorf("rtc: it shows no time: year %d, month %d, day %d, %d:%d:%d", int(t.Year)+1900, int(t.Mon)+1,
			t.Mday, t.Hour, t.Min, t.Sec)
	}
	return at, nil
}

// render is parse's way back, without the day of the week and the year, which some drivers leave out.
func render(at time.Time) unix.RTCTime {
	return unix.RTCTime{Sec: int32(at.Second()), Min: int32(at.Minute()), Hour: int32(at.Hour()), Mday: int32(at.Day()),
		Mon: int32(at.Month()) - 1, Year: int32(at.Year()) - 1900}
}
