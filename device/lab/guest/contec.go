package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"telecart/device"
	"telecart/device/cms50d"
	"telecart/device/lab/acm"
	"telecart/device/lab/usbip"
)

// contec is an oximeter that has no checksums, on a line with parity; the cable is pulled in the middle of a packet.
func contec(ctx context.Context, b *bench) (seen string, err error) {
	port := acm.New(usbip.Identity{Vendor: 0x1d6b, Product: 0x0104, Name: "Finger oximeter", Serial: "OX-1"}, func([]byte) {})
	c := &cord{bench: b, handler: port.Handle, serial: "OX-1", class: "tty"}
	defer c.out(&err)
	talking, stop := context.WithCancel(ctx)
	var mouth sync.WaitGroup
	var middle sync.Mutex // free while the line rests in the middle of a packet
	middle.Lock()
	defer mouth.Wait()
	defer stop()
	mouth.Go(func() {
		for stream := cms50d.NewStream(1); talking.Err() == nil; {
			p := stream.Bytes(cms50d.Healthy)
			_, _ = port.Write(p[:7]) // never fails; a packet and a bit
			middle.Unlock()
			<-b.clock.After(time.Second / 30)
			middle.Lock()
			_, _ = port.Write(p[7:])
			<-b.clock.After(time.Second / 30)
		}
	})
	run := func() (*rig, error) {
		if _, err := c.plug(ctx); err != nil {
			return nil, err
		}
		return b.startJudged(ctx, cms50d.Driver(), device.Settings{Port: "usb:OX-1"}, func(o device.Observation) error {
			if x, ok := o.(device.Reading); ok && x.Absent == "" && !between(95, 98)(x) && !between(78, 90)(x) {
				return fmt.Errorf("%s %s, which is not the finger's", x.Quantity, x.Value)
			}
			return nil
		})
	}
	var value device.Reading
	for range 2 {
		r, err := run()
		if err != nil {
			return "", err
		}
		value, err = r.reading(ctx, named(spO2, between(1, 100)))
		if err == nil {
			middle.Lock()
			err = c.pull(ctx)
			middle.Unlock()
			err = errors.Join(err, r.failure(ctx))
		}
		if r.done(&err); err != nil {
			return "", err
		}
	}
	if set := port.Setting(); set != "19200 8O1" {
		return "", fmt.Errorf("the line is set to %s", set)
	}
	return fmt.Sprintf("%s %s at %s; pulled in the middle of a packet and put back, twice: no false number", value.Value,
		value.Unit, port.Setting()), nil
}
