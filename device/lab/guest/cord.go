package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"telecart/device"
	"telecart/device/hotplug"
	"telecart/device/lab/usbip"
)

// cord is a USB device with its cable, in or out.
type cord struct {
	*bench
	handler usbip.Handler
	serial  string
	class   string // of the node that its driver uses
	port    *usbip.Port
}

// plug plugs it in and waits for its node: not for that of a device at the same port before it, which stays until the kernel
// finds the time for it.
func (c *cord) plug(ctx context.Context) (n device.Node, err error) {
	set, once := make(chan struct{}), sync.Once{}
	c.port, err = c.host.Plug(usbip.FullSpeed, func(p *usbip.Port, s usbip.Setup, out []byte) ([]byte, error) {
		if s.Standard() && s.Request == usbip.SetConfiguration {
			once.Do(func() { close(set) })
		}
		return c.handler(p, s, out)
	})
	if err != nil {
		return device.Node{}, err
	}
	select {
	case <-set:
	case <-ctx.Done():
		return device.Node{}, fmt.Errorf("%s was plugged in, and not taken note of: %w", c.serial, ctx.Err())
	}
	for {
		n, err := hotplug.Find(c.class, "usb:"+c.serial)
		if !errors.Is(err, hotplug.ErrAbsent) {
			return n, err
		}
		select {
		case <-c.clock.After(20 * time.Millisecond):
		case <-c.port.Done():
			return n, fmt.Errorf("%s: %w", c.serial, errors.Join(usbip.ErrStopped, c.port.Err()))
		case <-ctx.Done():
			return n, fmt.Errorf("%s was plugged in: %w: %w", c.serial, ctx.Err(), err)
		}
	}
}

// pull pulls the cable, if it is in.
func (c *cord) pull(ctx context.Context) error {
	if c.port == nil {
		return nil
	}
	port := c.port
	c.port = nil
	return c.host.Unplug(ctx, port)
}

// out is pull at the end of a check: its context may have ended.
func (c *cord) out(err *error) {
	ctx, cancel := context.WithTimeout(context.Background(), plugTimeout)
	defer cancel()
	*err = errors.Join(*err, c.pull(ctx))
}
