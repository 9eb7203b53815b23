package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"telecart/device"
	"telecart/device/camera"
	"telecart/device/camera/scene"
	"telecart/device/lab/uvc"
)

// roll is all access units that a camera's encoder made, in order.
type roll struct {
	mu    sync.Mutex
	units [][]byte
}

// of makes a film that is kept. It sends SPS and PPS once, as many cameras do.
func (r *roll) of(s uvc.Size) uvc.Film {
	f := scene.NewFilm(s.Width, s.Height)
	f.HeadersOnce, f.KeyEvery = true, 10
	return keptFilm{f, r}
}

type keptFilm struct {
	uvc.Film
	roll *roll
}

func (f keptFilm) Unit(seq uint64, at time.Time) []byte {
	b := f.Film.Unit(seq, at)
	f.roll.mu.Lock()
	defer f.roll.mu.Unlock()
	f.roll.units = append(f.roll.units, bytes.Clone(b))
	return b
}

// find gives the place of an access unit after another place: the very bytes, or with the headers of a stream before it in
// front, which the driver may put there.
func (r *roll) find(b []byte, after int) (at int, added bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var headers []byte
	for i, u := range r.units {
		if n := bytes.Index(u, []byte{0, 0, 0, 1, 0x65}); n > 0 {
			headers = u[:n]
		}
		if i <= after {
			continue
		}
		if bytes.Equal(b, u) {
			return i, false, nil
		}
		if len(headers) > 0 && bytes.Equal(b, slices.Concat(headers, u)) {
			return i, true, nil
		}
	}
	return 0, false, fmt.Errorf("the camera never sent these %d bytes after its access unit %d", len(b), after)
}

// nalTypes are the types of the NAL units in an access unit (ITU-T H.264, table 7-1).
func nalTypes(b []byte) (types []byte) {
	for _, u := range bytes.Split(b, []byte{0, 0, 1})[1:] {
		if len(u) > 0 {
			types = append(types, u[0]&0x1f)
		}
	}
	return types
}

// codedView looks at a coded stream as a decoder would have to.
type codedView struct {
	device.View
	sent       *roll
	at         int // place of the last access unit
	keys       int
	added, cut int // key frames that got their headers from the driver; that came out of turn
}

// follow takes n access units: each as it was sent, each the next one, or else a key frame with its headers.
func (v *codedView) follow(ctx context.Context, n int) error {
	for range n {
		f, err := v.Next(ctx)
		if err != nil {
			return err
		}
		if f.Format != device.H264 || f.Width != 640 || f.Height != 480 {
			return fmt.Errorf("a frame %s of %dx%d", f.Format, f.Width, f.Height)
		}
		at, added, err := v.sent.find(f.Data, v.at)
		if err != nil {
			return err
		}
		types := nalTypes(f.Data)
		key := slices.Equal(types, []byte{7, 8, 5})
		switch {
		case key:
			v.keys++
		case at != v.at+1:
			return fmt.Errorf("access unit %d came after %d, and is no key frame with headers, but NAL units %v", at, v.at, types)
		case !slices.Equal(types, []byte{1}):
			return fmt.Errorf("access unit %d has NAL units %v", at, types)
		}
		if added {
			v.added++
		}
		if at != v.at+1 {
			v.cut++
		}
		v.at = at
	}
	return nil
}

// largest is the largest size that the emulated camera offers.
func largest() uvc.Size { return uvc.Size{Width: 1920, Height: 1080} }

// coded watches a camera's own H.264, and takes a still meanwhile.
func (b *bench) coded(ctx context.Context, e uvc.Encoder) (seen string, err error) {
	c := b.newCamera("CAM-H264", 5, e)
	c.draw(largest()).JPEG(0, b.clock.Now()) // painted beforehand: see gallery
	defer c.out(&err)
	if err := c.plug(ctx); err != nil {
		return "", err
	}
	options := map[string]string{"width": "640", "height": "480"}
	if e == uvc.SameNode {
		options["h264"] = "on"
	}
	r, err := b.start(ctx, camera.Driver(), device.Settings{Port: "usb:CAM-H264", Options: options})
	if err != nil {
		return "", err
	}
	defer r.stop()
	if err := r.live(ctx); err != nil {
		return "", err
	}
	coder, ok := r.Instrument.(device.Coded)
	shooter, ok2 := r.Instrument.(device.Shooter)
	eye, ok3 := r.Instrument.(device.Camera)
	if !ok || !ok2 || !ok3 {
		return "", errors.New("the driver's instrument is no device.Coded, Shooter and Camera")
	}
	film, err := coder.WatchCoded()
	if err != nil {
		return "", err
	}
	defer film.Close()
	v := &codedView{View: film, sent: &c.coded, at: -1}
	if err := v.follow(ctx, 25); err != nil {
		return "", err
	}
	if e == uvc.OwnNode { // pictures at the same time
		p := eye.Watch()
		defer p.Close()
		if err := c.shows(ctx, p); err != nil {
			return "", fmt.Errorf("pictures beside the coded stream: %w", err)
		}
	}
	before := v.at
	still, err := shooter.Shoot(ctx)
	if err != nil {
		return "", fmt.Errorf("a still meanwhile: %w", err)
	}
	if still.Width != largest().Width || still.Height != largest().Height {
		return "", fmt.Errorf("a still of %dx%d", still.Width, still.Height)
	}
	if err := c.took(still); err != nil {
		return "", fmt.Errorf("the still: %w", err)
	}
	if err := v.follow(ctx, 25); err != nil {
		return "", fmt.Errorf("after the still: %w", err)
	}
	return fmt.Sprintf("50 access units byte for byte in order, %d key frames, SPS and PPS put before %d of them, %d interruptions; "+
		"after %d units a still of %dx%d, %d bytes, of the camera's own", v.keys, v.added, v.cut, before+1, still.Width, still.Height, len(still.Data)), nil
}
