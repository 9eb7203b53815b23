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
	seq uint64 // the next picture's; used by stream alone
	*scene.Scene
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
