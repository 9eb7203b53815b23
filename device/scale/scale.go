// Package scale is a scale on USB that speaks the HID class for weighing devices (usage page 0x8D): patients stand on it.
//
// Parties: the scale's hidraw node, which gives a report whenever the scale likes; the supervisor, which runs the
// instrument; the outlet it was made with. Twin is a scale simulated at the level of its reports.
//
// Invariants: a weight is told only when the scale calls it stable, it has stayed the same for half a second, and the
// load had changed before: one reading a weighing. No load is no weight. A node whose report descriptor is not a scale's
// is refused, and so is a report of another form. Weights are in kg, whatever the scale's display says, converted
// exactly (report.go).
//
// Sources: USB HID Point of Sale Usage Tables 1.02, section 4; USB HID 1.11, section 6.2.2; linux/hidraw.h.
package scale

import (
	"context"
	"errors"
	"fmt"
	"time"

	"telecart/device"
	"telecart/device/hotplug"
	"telecart/device/kit"
)

const look = 100 * time.Millisecond // how often time is looked at while a weight must stay

// Driver is this package's line in the table. Port is a hidraw node ("/dev/hidraw0"), usb:SERIAL, usb-port:1-1.2 or
// twin. Option "grade": consumer, the default, or medical for a scale that was approved for weighing patients: the class
// is that of parcel scales as well, and a report doesn't tell.
func Driver() device.Driver {
	return device.Driver{Name: "scale", Kind: device.KindScale, Quantities: []string{quantity}, New: open, Adopts: adopts}
}

func open(s device.Settings, out device.Outlet) (device.Instrument, error) {
	sc := &scale{
		id:    device.Identity{Name: s.Name, Kind: device.KindScale, Driver: "scale", Port: s.Port, Twin: s.Twin()},
		grade: device.Consumer,
		clock: s.Clock, stamp: s.Stamp, out: out,
	}
	for name, value := range s.Options {
		switch {
		case name != "grade":
			return nil, fmt.Errorf("scale: unknown option %q: the only one is grade", name)
		case value == "medical":
			sc.grade = ""
		case value != string(device.Consumer):
			return nil, fmt.Errorf("scale: grade = %q: give consumer or medical", value)
		}
	}
	if s.Address != 0 || s.Mux != "" {
		return nil, errors.New("scale: it has no address and no mux; remove them")
	}
	if err := hotplug.CheckPort(s.Port); err != nil {
		return nil, fmt.Errorf("scale: %w", err)
	}
	return sc, nil
}

type scale struct {
	id    device.Identity
	grade device.Grade
	clock kit.Clock
	stamp *kit.Stamper
	out   device.Outlet
	twin  *Twin // while it runs on one
}

// Run opens the node, makes sure that it is a scale's, and reports every weighing.
func (s *scale) Run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.id.Twin {
		return s.runTwin(ctx)
	}
	n, err := openPort(s.id.Port)
	if err != nil {
		return err
	}
	return s.watch(ctx, n)
}

// watch reads the node, and closes it in the end.
func (s *scale) watch(ctx context.Context, n *node) (err error) {
	reports := n.start()
	defer func() { err = errors.Join(err, n.stop()) }()
	ses := newSession(s, n)
	var wait <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case b, ok := <-reports:
			if !ok {
				return n.err
			}
			ses.take(s.clock.Now(), b)
		case <-wait:
			wait = nil
			ses.tick(s.clock.Now())
		}
		if wait == nil && !ses.since.IsZero() {
			wait = s.clock.After(look)
		}
	}
}

func (s *scale) runTwin(ctx context.Context) (err error) {
	t := NewTwin(s.clock)
	n, err := t.open()
	if err != nil {
		return err
	}
	s.twin = t
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		t.Run(ctx)
	}()
	defer func() {
		cancel()
		t.Unplug()
		<-ended
	}()
	return s.watch(ctx, n)
}
