// Package cms50d is the Contec CMS50D+ finger oximeter, a consumer's instrument, on its serial cable.
//
// Parties: the oximeter at 19200 baud, which talks by itself, 60 packets a second, and is never talked to; the
// supervisor, which runs the instrument; the outlet it was made with. Twin is an oximeter simulated byte by byte behind
// a real pseudo-terminal.
//
// Invariants: its values are graded "consumer". A packet has no checksum, so no packet is believed: a number is one that
// stood the same in the last quarter second of whole packets, in a second in which nearly all of them came whole. Finger
// out, searching, a probe error, a missing or impossible value are absent with their reason. Readings come once a
// second. The last value is never repeated: after 3 s without a packet the health is "no-data", and nothing is sent.
//
// Source: atbrask's CMS50Dplus. Firmware from 4.6 on speaks otherwise, at 115200 baud and only when asked: it is not
// read here.
package cms50d

import (
	"context"
	"fmt"
	"time"

	"telecart/device"
	"telecart/device/hotplug"
	"telecart/device/kit"
	"telecart/device/oximeter/line"
)

const (
	saturation = "oxygen-saturation"
	pulseRate  = "pulse-rate"
	pleth      = "pleth"
)

// Driver is this package's line in the table. It has no options: the parity is found by itself.
func Driver() device.Driver {
	return device.Driver{Name: "cms50d", Kind: device.KindOximeter, Quantities: []string{saturation, pulseRate, pleth},
		Grade: device.Consumer, New: open}
}

func open(s device.Settings, out device.Outlet) (device.Instrument, error) {
	for name := range s.Options {
		return nil, fmt.Errorf("cms50d: unknown option %q: there are none", name)
	}
	if s.Address != 0 {
		return nil, fmt.Errorf("cms50d: address %d: a serial port has none; remove it", s.Address)
	}
	if s.Mux != "" {
		return nil, fmt.Errorf("cms50d: mux %q: a serial port is behind none; remove it", s.Mux)
	}
	if err := hotplug.CheckPort(s.Port); err != nil {
		return nil, fmt.Errorf("cms50d: %w", err)
	}
	id := device.Identity{Name: s.Name, Kind: device.KindOximeter, Driver: "cms50d", Port: s.Port, Twin: s.Twin(),
		Grade: device.Consumer}
	return &oximeter{id: id, clock: s.Clock, stamp: s.Stamp, out: out}, nil
}

type oximeter struct {
	id    device.Identity
	clock kit.Clock
	stamp *kit.Stamper
	out   device.Outlet
}

// Run opens the port and reports what comes.
func (o *oximeter) Run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !o.id.Twin {
		return o.listen(ctx, o.id.Port)
	}
	twin, err := NewTwin(o.clock)
	if err != nil {
		return err
	}
	return line.Beside(ctx, twin, o.listen)
}

func (o *oximeter) listen(ctx context.Context, port string) error {
	p := line.Port{Name: port, Use: line.ToListen, Mode: modes()[0]}
	err := line.Run(ctx, o.clock, p, func(now time.Time) line.Machine {
		o.out.Observe(device.Health{State: device.Settling, Reason: Settling})
		return NewSession(o.id, o.stamp, o.out, now)
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("cms50d: %w", err)
	}
	return err
}
