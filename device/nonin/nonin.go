// Package nonin is the Nonin family of pulse oximeters (OEM III, Xpod) on a serial port, in data format 2 or 7.
//
// Parties: the oximeter at 9600 8N1, which talks and is never talked to; the supervisor, which runs the instrument; the
// outlet it was made with. Twin is an oximeter simulated byte by byte behind a real pseudo-terminal.
//
// Invariants: a number comes from a whole packet and from nothing else; 511 and 127 are not numbers. A packet with a
// missing sensor, an empty clip, artifact or lost track gives an absent value with its reason. The last value is never
// repeated: after 3 s without a packet the health is "no-data", and nothing is sent. Values are those for display
// (SpO2-D, HR-D): what the maker's own screens show. A packet comes three times a second.
package nonin

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"go.bug.st/serial"

	"telecart/device"
	"telecart/device/kit"
)

const (
	saturation = "oxygen-saturation"
	pulseRate  = "pulse-rate"
	pleth      = "pleth"

	packetPeriod = time.Second / 3
	readWait     = 100 * time.Millisecond // how long a read may hold up a stop
)

// ErrGone: the port was unplugged.
var ErrGone = errors.New("nonin: the serial port is gone")

// Driver is this package's line in the table. It has no options: the format is found by itself.
func Driver() device.Driver {
	return device.Driver{Name: "nonin", Kind: device.KindOximeter, Quantities: []string{saturation, pulseRate, pleth}, New: open}
}

func open(s device.Settings, out device.Outlet) (device.Instrument, error) {
	for name := range s.Options {
		return nil, fmt.Errorf("nonin: unknown option %q: there are none; the data format is found by itself", name)
	}
	if s.Address != 0 {
		return nil, fmt.Errorf("nonin: address %d: a serial port has none; remove it", s.Address)
	}
	if !s.Twin() && !filepath.IsAbs(s.Port) {
		return nil, fmt.Errorf("nonin: port %q: give a serial port like /dev/ttyUSB0, or twin", s.Port)
	}
	id := device.Identity{Name: s.Name, Kind: device.KindOximeter, Driver: "nonin", Port: s.Port, Twin: s.Twin()}
	return &oximeter{id: id, clock: s.Clock, stamp: s.Stamp, out: out}, nil
}

type oximeter struct {
	id    device.Identity
	clock kit.Clock
	stamp *kit.Stamper
	out   device.Outlet
}

// Run opens the port and reports three packets a second.
func (o *oximeter) Run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if o.id.Twin {
		return o.runTwin(ctx)
	}
	return o.listen(ctx, o.id.Port)
}

func (o *oximeter) runTwin(ctx context.Context) (err error) {
	twin, err := NewTwin(o.clock, Format7)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		twin.Run(ctx)
	}()
	defer func() {
		cancel()
		<-ended
		err = errors.Join(err, twin.Unplug())
	}()
	return o.listen(ctx, twin.Port())
}

func (o *oximeter) listen(ctx context.Context, path string) (err error) {
	// No InitialStatusBits: the kernel raises DTR and RTS at open anyway, which powers an Xpod, and a pseudo-terminal
	// has no modem lines to set.
	port, err := serial.Open(path, &serial.Mode{BaudRate: 9600, DataBits: 8, Parity: serial.NoParity, StopBits: serial.OneStopBit})
	if err != nil {
		return fmt.Errorf("nonin: open %s: %w", path, err)
	}
	// Closing a port under a waiting reader would leave it a file number that may be someone else's by then. So reads
	// are short, and the reader closes.
	defer func() { err = errors.Join(err, closePort(port)) }()
	if err := port.SetReadTimeout(readWait); err != nil {
		return fmt.Errorf("nonin: %s: %w", path, err)
	}
	s := newSession(o, o.clock.Now())
	var buf [256]byte
	for ctx.Err() == nil {
		n, err := port.Read(buf[:])
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrGone, path, err)
		}
		s.take(o.clock.Now(), buf[:n])
	}
	return ctx.Err()
}

func closePort(p serial.Port) error {
	if err := p.Close(); err != nil {
		return fmt.Errorf("nonin: close: %w", err)
	}
	return nil
}
