package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"telecart/device"
	"telecart/device/lab/hid"
	"telecart/device/lab/usbip"
	"telecart/device/scale"
)

// scaleReport is what a scale sends (USB HID POS 1.02): id 3, status, kilograms, tenths, and the number.
func scaleReport(status byte, tenths uint16) []byte {
	return []byte{3, status, 3, 0xff, byte(tenths), byte(tenths >> 8)}
}

const (
	scaleZero   = 2
	scaleMoving = 3
	scaleStable = 4
	scaleOver   = 6

	scaleEvery = 50 * time.Millisecond
)

// platform is a USB scale, which says what it weighs as long as somebody listens.
type platform struct {
	cord
	dev *hid.Device
	now atomic.Pointer[[]byte]
	end chan struct{}
	wg  sync.WaitGroup
}

func (b *bench) newPlatform() *platform {
	dev := hid.New(usbip.Identity{Vendor: 0x0922, Product: 0x8003, Name: "Scale", Serial: "KG-1"}, hid.Other, scale.Descriptor())
	p := &platform{cord: cord{bench: b, handler: dev.Handle, serial: "KG-1", class: "hidraw"}, dev: dev, end: make(chan struct{})}
	p.load(scaleZero, 0)
	p.wg.Go(func() {
		for {
			_ = dev.Send(*p.now.Load()) // an error: not plugged in
			select {
			case <-b.clock.After(scaleEvery):
			case <-p.end:
				return
			}
		}
	})
	return p
}

func (p *platform) load(status byte, tenths uint16) {
	b := scaleReport(status, tenths)
	p.now.Store(&b)
}

func (p *platform) away(err *error) {
	close(p.end)
	p.out(err)
	p.wg.Wait()
}

// weighs is a scale's instrument, live, which may say 72.5 kg and nothing else.
func (p *platform) weighs(ctx context.Context) (*rig, error) {
	return p.startJudged(ctx, scale.Driver(), device.Settings{Port: "usb:KG-1"}, func(o device.Observation) error {
		if r, ok := o.(device.Reading); ok && r.Absent == "" && r.Value.String() != "72.5" {
			return fmt.Errorf("%s %s of a patient of 72.5 kg", r.Value, r.Unit)
		}
		return nil
	})
}

// scaleWeighs weighs a patient once, through /dev/hidrawN; a cable pulled while he steps on gives no weight.
func scaleWeighs(ctx context.Context, b *bench) (seen string, err error) {
	p := b.newPlatform()
	defer p.away(&err)
	node, err := p.plug(ctx)
	if err != nil {
		return "", err
	}
	if !scale.Driver().Adopts(node) {
		return "", fmt.Errorf("%+v was not taken for a scale", node)
	}
	r, err := p.weighs(ctx)
	if err != nil {
		return "", err
	}
	defer r.done(&err)
	if err := r.is(ctx, device.Live, ""); err != nil {
		return "", err
	}
	stepOn := func(r *rig) error {
		for _, tenths := range []uint16{180, 431, 702, 739} {
			p.load(scaleMoving, tenths)
			<-b.clock.After(2 * scaleEvery)
		}
		return r.is(ctx, device.Settling, scale.InMotion)
	}
	if err := stepOn(r); err != nil {
		return "", err
	}
	p.load(scaleStable, 725)
	got, err := r.reading(ctx, between(1, 300))
	if err != nil {
		return "", err
	}
	p.load(scaleOver, 0)
	if err := r.is(ctx, device.Settling, scale.OverLimit); err != nil {
		return "", err
	}
	p.load(scaleZero, 0)
	if err := r.is(ctx, device.Live, ""); err != nil {
		return "", err
	}
	if err := stepOn(r); err != nil {
		return "", err
	}
	pulled := b.clock.Now()
	if err := p.pull(ctx); err != nil {
		return "", err
	}
	if err := r.failure(ctx); err != nil {
		return "", err
	}
	noticed := b.clock.Now().Sub(pulled)
	p.load(scaleStable, 512) // who stands on it when the cable is back, nobody knows
	if _, err := p.plug(ctx); err != nil {
		return "", err
	}
	again, err := p.weighs(ctx)
	if err != nil {
		return "", err
	}
	defer again.done(&err)
	if err := again.is(ctx, device.Settling, scale.NotEmpty); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %s from %s of %s; cable pulled while somebody steps on: noticed after %.1f s, no weight; "+
		"on it already afterwards: no weight", got.Value, got.Unit, node.Path, got.Instrument.Model, noticed.Seconds()), nil
}
