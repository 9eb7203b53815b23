// Package pedal is a foot pedal that takes the picture: a USB device that acts as a keyboard with a key or two.
//
// Parties: the pedal's input node, kept from everybody else while it is ours; the supervisor, which runs the instrument; the
// outlet it was made with. The twin is an input node simulated at the level of its bytes (evdev.Twin).
//
// Invariants: one step is one press, however its contact chatters (30 ms) and whatever the key repeats. It acts as the
// key goes down. A node is never taken by itself: it could be somebody's keyboard.
package pedal

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	codes "github.com/holoplot/go-evdev"

	"telecart/device"
	"telecart/device/evdev"
	"telecart/device/hotplug"
	"telecart/device/kit"
)

// Settling: the node is being taken.
const Settling device.Reason = "settling"

// Driver is this package's line in the table. Port is an input node ("/dev/input/event3"), usb:SERIAL, usb-port:1-1.2 or
// twin. Option "key": only this key counts, by its name in linux/input-event-codes.h (KEY_B, KEY_F13) or its number
// there; default any but Shift, Ctrl and the like.
func Driver() device.Driver {
	return device.Driver{Name: "pedal", Kind: device.KindPedal, New: open}
}

func open(s device.Settings, out device.Outlet) (device.Instrument, error) {
	p := &pedal{
		id:    device.Identity{Name: s.Name, Kind: device.KindPedal, Driver: "pedal", Port: s.Port, Twin: s.Twin()},
		clock: s.Clock, stamp: s.Stamp, out: out,
	}
	for name, value := range s.Options {
		if name != "key" {
			return nil, fmt.Errorf("pedal: unknown option %q: the only one is key", name)
		}
		var err error
		if p.key, err = parseKey(value); err != nil {
			return nil, err
		}
	}
	if s.Address != 0 || s.Mux != "" {
		return nil, errors.New("pedal: an input device has no address and no mux; remove them")
	}
	if err := hotplug.CheckPort(s.Port); err != nil {
		return nil, fmt.Errorf("pedal: %w", err)
	}
	p.open = func() (*evdev.Node, device.Node, error) { return evdev.OpenPort(s.Port, p.keys()...) }
	if s.Twin() {
		p.twin = evdev.NewTwin(s.Clock, "Foot switch (twin)", append(p.keys(), codes.KEY_B)...)
		p.open = func() (*evdev.Node, device.Node, error) {
			n, err := p.twin.Open()
			return n, device.Node{}, err
		}
	}
	return p, nil
}

func parseKey(s string) (uint16, error) {
	if code, ok := codes.KEYFromString[s]; ok {
		return uint16(code), nil
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || n > uint64(evdev.MaxKey) {
		return 0, fmt.Errorf("pedal: key = %q: give a name like KEY_B or a number from 1 to %d", s, evdev.MaxKey)
	}
	return uint16(n), nil
}

type pedal struct {
	id    device.Identity
	key   uint16 // 0 is any
	twin  *evdev.Twin
	open  func() (*evdev.Node, device.Node, error)
	clock kit.Clock
	stamp *kit.Stamper
	out   device.Outlet
}

func (p *pedal) keys() []uint16 {
	if p.key == 0 {
		return nil
	}
	return []uint16{p.key}
}

// Run takes the node for itself and reports every step.
func (p *pedal) Run(ctx context.Context) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	n, found, err := p.open()
	if err != nil {
		return fmt.Errorf("pedal: %w", err)
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	id := p.id
	id.Model, id.Serial = n.Name(), found.Serial
	p.out.Observe(device.About{Model: id.Model, Serial: id.Serial})
	p.out.Observe(device.Health{State: device.Settling, Reason: Settling})
	err = n.Grab(ctx, p.clock, func() { p.out.Observe(device.Health{State: device.Settling, Reason: evdev.KeyHeld}) })
	if err != nil {
		return fmt.Errorf("pedal: %w", err)
	}
	p.out.Observe(device.Health{State: device.Live})
	steps := evdev.Debouncer{Key: p.key}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-n.Events():
			if !ok {
				return fmt.Errorf("pedal: %w", n.Err())
			}
			if steps.Press(e) {
				p.out.Observe(device.Input{Act: device.Shutter, Instrument: id, At: p.stamp.Now()})
			}
		}
	}
}
