// Package nonin is the Nonin family of pulse oximeters (OEM III, Xpod, 3150, 4100, 9560) on a serial port, in any of its
// data formats 1, 2, 7, 8 and 13.
//
// Parties: the oximeter at 9600 8N1, which talks by itself; the supervisor, which runs the instrument; the outlet it was
// made with. Twin is an oximeter simulated byte by byte behind a real pseudo-terminal.
//
// Invariants: a number comes from a whole packet and from nothing else; 511 and 127 are not numbers. Formats 2 and 7 are
// known by their checksums. Formats 1 and 8 have none: they are believed only after three consistent packets in a row,
// one a second, each alone between two silences; a stream of format 2 or 7 has no such silence, so it is never taken for
// them (short.go). What the oximeter only keeps on showing (out of track, or no good pulse for 3 s) is not shown here
// (pulse.go). The last value is never repeated: after 3 s without a packet the health is "no-data", and nothing is sent.
// Values are those for display (SpO2-D, HR-D): what the maker's own screens show. A measurement from the oximeter's
// memory is of who knows whom and when: it is never shown (record.go). Nothing is sent to the oximeter but the answer to
// a whole record of format 13.
package nonin

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

// Mode is how a Nonin oximeter's line is set (mdpnp's DemoNoninPulseOx).
func Mode() line.Mode { return line.Mode{Baud: 9600} }

// Driver is this package's line in the table. Option "format": the data format that the oximeter is set to, 1, 2, 7, 8
// or 13, or auto, which finds it out. A spot-check oximeter (13) is silent between measurements; only who names its
// format is not told so.
func Driver() device.Driver {
	return device.Driver{Name: "nonin", Kind: device.KindOximeter, Quantities: []string{saturation, pulseRate, pleth}, New: open}
}

func open(s device.Settings, out device.Outlet) (device.Instrument, error) {
	formats := Formats()
	for name, value := range s.Options {
		if name != "format" {
			return nil, fmt.Errorf("nonin: unknown option %q: the only one is format", name)
		}
		var err error
		if formats, err = parseFormats(value); err != nil {
			return nil, err
		}
	}
	if s.Address != 0 {
		return nil, fmt.Errorf("nonin: address %d: a serial port has none; remove it", s.Address)
	}
	if s.Mux != "" {
		return nil, fmt.Errorf("nonin: mux %q: a serial port is behind none; remove it", s.Mux)
	}
	if err := hotplug.CheckPort(s.Port); err != nil {
		return nil, fmt.Errorf("nonin: %w", err)
	}
	id := device.Identity{Name: s.Name, Kind: device.KindOximeter, Driver: "nonin", Port: s.Port, Twin: s.Twin()}
	return &oximeter{id: id, formats: formats, clock: s.Clock, stamp: s.Stamp, out: out}, nil
}

type oximeter struct {
	id      device.Identity
	formats []Format
	clock   kit.Clock
	stamp   *kit.Stamper
	out     device.Outlet
}

// Run opens the port and reports what comes.
func (o *oximeter) Run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !o.id.Twin {
		return o.listen(ctx, o.id.Port)
	}
	format := Format7
	if len(o.formats) == 1 {
		format = o.formats[0]
	}
	twin, err := NewTwin(o.clock, format)
	if err != nil {
		return err
	}
	return line.Beside(ctx, twin, o.listen)
}

func (o *oximeter) listen(ctx context.Context, port string) error {
	p := line.Port{Name: port, Use: line.ToListen, Mode: Mode()}
	if allows(o.formats, Format13) {
		p.Use = line.ToTalk
	}
	err := line.Run(ctx, o.clock, p, func(now time.Time) line.Machine {
		o.out.Observe(device.Health{State: device.Settling, Reason: Settling})
		return NewSession(o.id, o.stamp, o.out, now, o.formats...)
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("nonin: %w", err)
	}
	return err
}
