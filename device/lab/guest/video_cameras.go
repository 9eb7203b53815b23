package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"telecart/device"
	"telecart/device/camera"
	"telecart/device/camera/scene"
	"telecart/device/lab/usbip"
	"telecart/device/lab/uvc"
)

// pictures are the checks of what a camera shows, whatever goes wrong.
func pictures() stage {
	return stage{
		{
			{"camera-twins-serial", twinsBySerial},
			{"camera-twins-socket", twinsBySocket},
			{"camera-twins-same-serial", twinsOfOneSerial},
			{"camera-1920x1080", func(ctx context.Context, b *bench) (string, error) { return b.frames(ctx, largest()) }},
			{"camera-coded-same-node", func(ctx context.Context, b *bench) (string, error) { return b.coded(ctx, uvc.SameNode) }},
			{"camera-coded-own-node", func(ctx context.Context, b *bench) (string, error) { return b.coded(ctx, uvc.OwnNode) }},
			{"camera-still-sensor", stillSensor},
			{"camera-broken-stills", brokenStills},
			{"camera-deaf-controls", deafControls},
			{"camera-vivid-errors", vividErrors},
			{"camera-vivid-failures", vividFailures},
		},
	}
}

// ownCamera is a camera of a check's own, in or out.
type ownCamera struct {
	*uvc.Camera
	bench  *bench
	id     uint16
	draw   func(uvc.Size) uvc.Picture
	sent   *album
	coded  roll
	port   *usbip.Port
	node   string // as of the last plug, as is socket
	socket string // 1-1.2
	deaf   atomic.Bool
}

// idBits of a picture's sixteen-bit number say which camera took it; the others count.
const idBits = 4

// signed is a picture that carries the number of the camera that took it.
type signed struct {
	uvc.Picture
	id uint16
}

func (p signed) JPEG(seq uint64, at time.Time) []byte {
	return p.Picture.JPEG(uint64(p.id)<<(16-idBits)|seq&(1<<(16-idBits)-1), at)
}

// newCamera makes a camera that signs its pictures. Nobody steers it, so it can have CAM-A's scenes, painted already.
func (b *bench) newCamera(serial string, id uint16, e uvc.Encoder) *ownCamera {
	c := &ownCamera{bench: b, id: id, sent: &album{}}
	c.draw = func(s uvc.Size) uvc.Picture { return signed{b.cams["CAM-A"].draw(s), id} }
	c.Camera = uvc.NewCoded(serial, b.clock, c.sent.of(c.draw), e, c.coded.of)
	return c
}

// plug waits until the kernel has taken note of it: what is at that port before then is what was there before.
func (c *ownCamera) plug(ctx context.Context) (err error) {
	set, once := make(chan struct{}), sync.Once{}
	c.port, err = c.bench.host.Plug(usbip.HighSpeed, func(p *usbip.Port, s usbip.Setup, out []byte) ([]byte, error) {
		switch {
		case s.Standard() && s.Request == usbip.SetConfiguration:
			once.Do(func() { close(set) })
		case !s.Standard() && c.deaf.Load():
			return nil, usbip.ErrNAK
		}
		return c.Handle(p, s, out)
	})
	if err != nil {
		return err
	}
	select {
	case <-set:
	case <-ctx.Done():
		return fmt.Errorf("camera %d was plugged in, and not taken note of: %w", c.id, ctx.Err())
	}
	if c.node, err = awaitNode(ctx, c.bench.host, c.port); err != nil {
		return err
	}
	power, err := c.bench.host.Find(ctx, c.port, "power/control")
	if err != nil {
		return err
	}
	c.socket = filepath.Base(filepath.Dir(filepath.Dir(power)))
	return os.WriteFile(power, []byte("on"), 0) // see webcam.plug
}

// pull pulls the cable, if it is in, and waits until the socket is free.
func (c *ownCamera) pull(ctx context.Context) error {
	if c.port == nil {
		return nil
	}
	port := c.port
	c.port = nil
	if err := c.bench.host.Unplug(ctx, port); err != nil {
		return err
	}
	return awaitGone(ctx, c.bench.clock, "/sys/bus/usb/devices/"+c.socket)
}

// out is pull at the end of a check: its context may have ended.
func (c *ownCamera) out(err *error) {
	ctx, cancel := context.WithTimeout(context.Background(), plugTimeout)
	defer cancel()
	*err = errors.Join(*err, c.pull(ctx))
}

// took says whether a frame is one that this camera sent: by what is written in it, and byte for byte.
func (c *ownCamera) took(f device.Frame) error {
	img, err := camera.Decode(f)
	if err != nil {
		return err
	}
	_, number, ok := scene.ReadCells(img)
	if !ok {
		return errors.New("the frame's row of cells can't be read")
	}
	if id := number >> (16 - idBits); id != c.id {
		return fmt.Errorf("a picture of camera %d, and not of camera %d", id, c.id)
	}
	return c.sent.has(f.Data)
}

// shows waits until a view gives frames, which must all be this camera's, and looks at some of them.
func (c *ownCamera) shows(ctx context.Context, v device.View) error {
	for n := 0; n < someFrames/2; {
		f, err := v.Next(ctx)
		switch {
		case errors.Is(err, device.ErrGone):
			select {
			case <-c.bench.clock.After(100 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("nothing of camera %d: %w", c.id, ctx.Err())
			}
			continue
		case err == nil:
			err = c.took(f)
		}
		if err != nil {
			return fmt.Errorf("of camera %d: %w", c.id, err)
		}
		n++
	}
	return nil
}

// goes waits until a view has nothing more to show; what it still shows must be this camera's.
func (c *ownCamera) goes(ctx context.Context, v device.View) error {
	for {
		f, err := v.Next(ctx)
		if errors.Is(err, device.ErrGone) {
			return nil
		}
		if err == nil {
			err = c.took(f)
		}
		if err != nil {
			return fmt.Errorf("of camera %d, unplugged: %w", c.id, err)
		}
	}
}
