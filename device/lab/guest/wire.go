package main

import (
	"context"
	"path/filepath"

	"telecart/device/bus/simbus"
	"telecart/device/lab/i2ctiny"
	"telecart/device/lab/usbip"
)

// wire is an I2C adapter with a simulated bus behind it.
type wire struct {
	simbus.Bus
	host *usbip.Host
	port *usbip.Port
	node string // /dev/i2c-N
}

// plug plugs the adapter in; the chips on its bus stay the same.
func (w *wire) plug(ctx context.Context) (err error) {
	if w.port, err = w.host.Plug(usbip.FullSpeed, i2ctiny.New(&w.Bus).Handle); err != nil {
		return err
	}
	dir, err := w.host.Find(ctx, w.port, "*:1.0/i2c-*")
	if err != nil {
		return err
	}
	w.node = "/dev/" + filepath.Base(dir)
	return nil
}

// newWire plugs in an adapter of a check's own, with nothing on its bus.
func (b *bench) newWire(ctx context.Context) (*wire, error) {
	w := &wire{host: b.host}
	return w, w.plug(ctx)
}

func (w *wire) unplug(ctx context.Context) error { return w.host.Unplug(ctx, w.port) }
