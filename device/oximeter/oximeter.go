// Package oximeter is a serial cable of which nobody said what is on it, and which may have a pulse oximeter at its far end.
//
// Parties: the cable, which is only listened to; the packages nonin and cms50d, one of which it is from its first valid
// packets on; the supervisor, which runs the instrument; the outlet it was made with.
//
// Invariants: nothing is ever sent: the port is opened for reading alone. So an oximeter that wants an answer (Nonin's
// format 13) is not found here; it needs settings of its own. Nothing is told of what is heard until it is sure which
// oximeter it is, and then that comes first. Values of a Contec are graded "consumer" though this driver's line is not.
// Who was found stays found: when it falls silent for good the run ends, and the next one begins without a name.
package oximeter

import (
	"context"
	"fmt"
	"time"

	"telecart/device"
	"telecart/device/hotplug"
	"telecart/device/kit"
	"telecart/device/nonin"
	"telecart/device/oximeter/line"
)

// Driver is this package's line in the table. It has no options.
func Driver() device.Driver {
	return device.Driver{Name: "oximeter", Kind: device.KindOximeter,
		Quantities: []string{"oxygen-saturation", "pulse-rate", "pleth"}, New: open, Adopts: adopts}
}

// nonins is Nonin Medical's USB vendor id (usb.ids); their cables also come with a bare FTDI chip in it.
const nonins = 0x1C3D

// adopts takes a serial port of Nonin's, or one of the common bridges that oximeters' cables are made of. It may be
// something else's cable: then nothing is found on it.
func adopts(n device.Node) bool {
	if n.Class != "tty" {
		return false
	}
	switch [2]uint16{n.Vendor, n.Product} {
	case [2]uint16{0x0403, 0x6001}, [2]uint16{0x0403, 0x6015}, // FTDI FT232, FT-X
		[2]uint16{0x10C4, 0xEA60}, // Silicon Labs CP210x
		[2]uint16{0x067B, 0x2303}, // Prolific PL2303
		[2]uint16{0x1A86, 0x7523}: // WCH CH340
		return true
	}
	return n.Vendor == nonins
}

func open(s device.Settings, out device.Outlet) (device.Instrument, error) {
	for name := range s.Options {
		return nil, fmt.Errorf("oximeter: unknown option %q: there are none; name the driver nonin or cms50d if you know it", name)
	}
	if s.Address != 0 {
		return nil, fmt.Errorf("oximeter: address %d: a serial port has none; remove it", s.Address)
	}
	if s.Mux != "" {
		return nil, fmt.Errorf("oximeter: mux %q: a serial port is behind none; remove it", s.Mux)
	}
	if err := hotplug.CheckPort(s.Port); err != nil {
		return nil, fmt.Errorf("oximeter: %w", err)
	}
	id := device.Identity{Name: s.Name, Kind: device.KindOximeter, Driver: "oximeter", Port: s.Port, Twin: s.Twin()}
	return &oximeter{id: id, clock: s.Clock, stamp: s.Stamp, out: out}, nil
}

type oximeter struct {
	id    device.Identity
	clock kit.Clock
	stamp *kit.Stamper
	out   device.Outlet
}

// Run opens the port, listens for an oximeter, and then is that oximeter.
func (o *oximeter) Run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !o.id.Twin {
		return o.listen(ctx, o.id.Port)
	}
	twin, err := nonin.NewTwin(o.clock, nonin.Format7)
	if err != nil {
		return err
	}
	return line.Beside(ctx, twin, o.listen)
}

func (o *oximeter) listen(ctx context.Context, port string) error {
	p := line.Port{Name: port, Use: line.ToListen, Mode: nonin.Mode()}
	err := line.Run(ctx, o.clock, p, func(now time.Time) line.Machine {
		o.out.Observe(device.Health{State: device.Settling, Reason: nonin.Settling})
		return newSearch(o.id, o.stamp, o.out, now)
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("oximeter: %w", err)
	}
	return err
}
