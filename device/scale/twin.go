package scale

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"telecart/device/kit"
)

// Fault is something that goes wrong with a scale.
type Fault int

const (
	Healthy      Fault = iota
	Restless           // never stable, as under a child
	Drifted            // below zero
	Overloaded         //
	Uncalibrated       //
	Unzeroed           //
	Broken             // it says so itself
	Garbage            // reports of no known form
	Silent             // none at all
)

const (
	reportEvery = 100 * time.Millisecond
	climb       = 700 * time.Millisecond // for a person to step on, or off
)

// Twin is a scale simulated at the level of its reports, which it sends ten times a second while Run runs. By itself it
// has a patient of 72.5 kg who steps on a second after it was plugged in, off after 6 s, and on again every 20 s. Safe
// for concurrent use.
type Twin struct {
	clock kit.Clock
	begun time.Time

	mu    sync.Mutex
	fault Fault
	unit  unit
	load  func(time.Duration) (raw uint16, moving bool) // since it was plugged in
	out   int                                           // file descriptor of our end; -1: nobody has it open
	gone  bool
	n     int // reports so far
}

// NewTwin plugs a scale in that measures in steps of 0.1 kg.
func NewTwin(clock kit.Clock) *Twin {
	return &Twin{clock: clock, begun: clock.Now(), unit: kilogram, load: visits, out: -1}
}

func visits(t time.Duration) (raw uint16, moving bool) {
	const weight = 725
	switch t %= 20 * time.Second; {
	case t < time.Second:
		return 0, false
	case t < time.Second+climb:
		return uint16(weight * (t - time.Second) / climb), true
	case t < 6*time.Second:
		return weight, false
	case t < 6*time.Second+climb:
		return uint16(weight * (6*time.Second + climb - t) / climb), true
	}
	return 0, false
}

// Load puts this much on it, in tenths of its unit, or takes all away (0), and leaves it there.
func (t *Twin) Load(tenths uint16) {
	t.mu.Lock()
	defer t.mu.Unlock()
	from := t.clock.Now().Sub(t.begun)
	old, _ := t.load(from)
	t.load = func(now time.Duration) (uint16, bool) {
		if now-from < climb {
			return uint16((int(old) + int(tenths)) / 2), true
		}
		return tenths, false
	}
}

// Pounds has it measure in lb, as the switch on its underside does.
func (t *Twin) Pounds() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unit = pound
}

// Set makes the fault, from the next report on.
func (t *Twin) Set(f Fault) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fault = f
}

// Run sends reports until ctx ends or the scale is unplugged.
func (t *Twin) Run(ctx context.Context) error {
	for t.send() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.clock.After(reportEvery):
		}
	}
	return nil
}

// send says whether the scale is still there. As in hidraw, a report for which the reader has no room is lost.
func (t *Twin) send() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone {
		return false
	}
	if b := t.next(); t.out >= 0 && b != nil {
		unix.Write(t.out, b)
	}
	return true
}

// next is the next report.
func (t *Twin) next() []byte {
	t.n++
	raw, moving := t.load(t.clock.Now().Sub(t.begun))
	r := report{status: stable, unit: t.unit, scaling: -1, raw: raw}
	switch {
	case moving:
		r.status = inMotion
	case raw == 0:
		r.status = stableZero
	}
	switch t.fault {
	case Restless:
		r.status, r.raw = inMotion, r.raw+uint16(t.n%3)
	case Drifted:
		r.status, r.raw = underZero, 0
	case Overloaded:
		r.status = overLimit
	case Uncalibrated:
		r.status = calibrate
	case Unzeroed:
		r.status = rezero
	case Broken:
		r.status = fault
	case Garbage:
		return []byte{dataID, byte(t.n), 0xEE}
	case Silent:
		return nil
	}
	return r.appendTo(nil, dataID)
}

// open is what openNode does with a path. A socket keeps reports apart as hidraw does.
func (t *Twin) open() (*node, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("scale: twin: %w", err)
	}
	t.hangUp()
	t.out = fds[1]
	n := &node{path: "twin", file: os.NewFile(uintptr(fds[0]), "twin"), model: "HID scale (twin)"}
	if err := n.understand(Descriptor()); err != nil {
		n.file.Close()
		return nil, err
	}
	return n, nil
}

// Unplug pulls the cable. It may be called again.
func (t *Twin) Unplug() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gone = true
	t.hangUp()
}

// hangUp is called under the lock.
func (t *Twin) hangUp() {
	if t.out >= 0 {
		unix.Close(t.out)
		t.out = -1
	}
}

const dataID = 3 // as scales on the market have it

// Descriptor is the twin's report descriptor: the form that scales on the market have, with the reports that matter here.
func Descriptor() []byte {
	return []byte{
		0x05, 0x8D, // Usage Page (Weighing Devices)
		0x09, 0x20, // Usage (Scale Device)
		0xA1, 0x01, // Collection (Application)
		0x09, 0x30, // Usage (Scale Attribute Report)
		0xA1, 0x02, //  Collection (Logical)
		0x85, 0x01, //  Report ID (1)
		0x75, 0x08, 0x95, 0x05, //  Report Size (8), Count (5)
		0x09, 0x21, //  Usage (Scale Class)
		0xB1, 0x02, //  Feature
		0xC0,
		0x09, 0x32, // Usage (Scale Data Report)
		0xA1, 0x02, //  Collection (Logical)
		0x85, dataID, //  Report ID
		0x15, 0x01, 0x25, 0x08, //  Logical 1 to 8
		0x75, 0x08, 0x95, 0x01, //  Report Size (8), Count (1)
		0x09, 0x70, //  Usage (Scale Status)
		0x81, 0x00, //  Input
		0x25, 0x0C, //  Logical 1 to 12
		0x09, 0x50, //  Usage (Weight Unit)
		0x81, 0x00, //  Input
		0x15, 0x81, 0x25, 0x7F, //  Logical -127 to 127
		0x09, 0x41, //  Usage (Data Scaling)
		0x81, 0x02, //  Input
		0x15, 0x00, 0x27, 0xFF, 0xFF, 0x00, 0x00, //  Logical 0 to 65535
		0x75, 0x10, //  Report Size (16)
		0x09, 0x40, //  Usage (Data Weight)
		0x81, 0x02, //  Input
		0xC0,
		0xC0,
	}
}
