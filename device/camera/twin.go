package camera

import (
	"context"
	"fmt"
	"time"

	"telecart/device"
	"telecart/device/camera/scene"
	"telecart/device/kit"
)

// twin is a lens on a scene. Like a real camera it keeps its axes and goes on counting while it stays plugged in.
type twin struct {
	clock kit.Clock
	stamp *kit.Stamper
	options
	seq   uint64        // the next picture's; only one of stream and shoot uses it
	asked chan struct{} // holds one token: a key frame is wanted
	large *scene.Scene  // for stills; nil before the first
	*scene.Scene
}

func newTwin(clock kit.Clock, stamp *kit.Stamper, o options) *twin {
	return &twin{clock: clock, stamp: stamp, options: o, asked: make(chan struct{}, 1)}
}

// open paints the scene at the first use: settings of cameras that never run cost nothing.
func (t *twin) open(context.Context) (_ source, err error) {
	if t.Scene == nil {
		t.Scene, err = scene.Named(t.scene, t.width, t.height)
	}
	return t, err
}

func (t *twin) stream(ctx context.Context, put func(device.Frame)) error {
	period := time.Second / time.Duration(t.fps)
	for next := t.clock.Now(); ; {
		at := t.stamp.Now()
		put(device.Frame{Format: device.MJPEG, Data: t.JPEG(t.seq, at.Wall), Width: t.width, Height: t.height, Seq: t.seq, At: at})
		t.seq++
		now := t.clock.Now()
		for next = next.Add(period); next.Before(now); next = next.Add(period) {
			t.seq++ // too slow: these pictures are lost, as a camera's would be
			if now.Sub(next) > time.Second {
				next = now // the clock jumped
			}
		}
		select {
		case <-t.clock.After(next.Sub(now)):
		case <-ctx.Done():
			return nil
		}
	}
}

func (t *twin) alive(context.Context) error { return nil }
func (t *twin) Close() error                { return nil }

func (t *twin) about() device.About { return device.About{Model: "Twin camera, " + t.scene} }

// presses: the twin has no button.
func (t *twin) presses(context.Context, func()) error { return nil }

// whole is false: the twin streams half of what its sensor has.
func (t *twin) whole() bool   { return false }
func (t *twin) settling() int { return 0 }

// shoot draws the same view in twice the size.
func (t *twin) shoot(_ context.Context, size resolution) (device.Frame, error) {
	s, w, h := t.Scene, t.width, t.height
	if size == sensorSize {
		w, h = min(2*w, scene.MaxWidth), min(2*h, scene.MaxHeight)
		if t.large == nil {
			t.large = t.Enlarged()
		}
		s = t.large
		s.Look(t.Scene)
	}
	at := t.stamp.Now()
	f := device.Frame{Format: device.MJPEG, Data: s.JPEG(t.seq, at.Wall), Width: w, Height: h, Seq: t.seq, At: at}
	t.seq++
	return f, nil
}

// coding: the twin has a node for each if it is asked for.
func (t *twin) coding() coding {
	if t.h264 == "on" {
		return beside
	}
	return never
}

func (t *twin) film(ctx context.Context, put func(unit)) error {
	period := time.Second / time.Duration(t.fps)
	film := scene.NewFilm(t.width, t.height)
	film.KeyEvery, film.HeadersOnce = 10*t.fps, true // as cameras have it
	var s splicer
	for n := uint64(0); ; n++ {
		select {
		case <-t.asked:
			film.Cut()
		default:
		}
		at := t.stamp.Now()
		au, key, err := s.unit(film.Unit(n, at.Wall))
		if err != nil {
			return err
		}
		put(unit{device.Frame{Format: device.H264, Data: au, Width: t.width, Height: t.height, Seq: n, At: at}, key})
		select {
		case <-t.clock.After(period):
		case <-ctx.Done():
			return nil
		}
	}
}

func (t *twin) keyFrame(context.Context) error {
	select {
	case t.asked <- struct{}{}:
	default: // it has been asked
	}
	return nil
}

func (t *twin) axes(context.Context) ([]device.Axis, error) { return t.Axes(), nil }

func (t *twin) set(_ context.Context, values map[string]int) error {
	for _, a := range t.Axes() {
		if v, ok := values[a.Name]; ok && isAuto(a.Name) {
			t.Set(a.Name, v)
		}
	}
	for _, a := range t.Axes() {
		v, ok := values[a.Name]
		switch {
		case !ok || isAuto(a.Name):
		case a.Locked:
			return locked(a.Name)
		default:
			t.Set(a.Name, v)
		}
	}
	return nil
}

// halt has nothing to do: the twin is where it was sent.
func (t *twin) halt(context.Context) error { return nil }

func isAuto(axis string) bool { return axis == "focus-auto" || axis == "exposure-auto" }

func locked(axis string) error {
	return fmt.Errorf("%w: set %s-auto to 0 before %s", ErrLocked, axis, axis)
}
