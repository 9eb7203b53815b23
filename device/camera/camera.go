// Package camera is the driver of everything that sees: room cameras, otoscopes, dermatoscopes; and their twin.
//
// Parties: a source is one lens (a V4L2 node, or the twin's scene). The instrument shares it: any number of views of the
// live picture, and one hand on the axes at a time.
//
// Keys: a camera is known by its port: "usb:SERIAL" stays true when it is plugged in elsewhere, "/dev/videoN" does not.
//
// Invariants: a lens that nobody looks through is off: the first view turns streaming on, the last one's end turns it off after
// a linger, so that changing from one screen to another does not blink. The latest picture wins; a slow viewer delays
// nobody. A picture's bytes are the camera's own and nobody writes to them. Steering works whether or not there is a
// view. Every axis is an absolute position, so nothing moves on its own when a connection drops; Halt holds the
// position that has been reached, and belongs to whoever watches over the lease.
package camera

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"telecart/device"
	"telecart/device/camera/v4l2"
	"telecart/device/kit"
)

const (
	linger  = 2 * time.Second // streaming goes on this long without a view
	silence = 5 * time.Second // streaming without a picture this long is a fault
	glance  = 2 * time.Second // how often an idle camera is asked whether it is still there
)

// Errors that a caller may tell apart. All but these come from the camera itself.
var (
	ErrLocked = errors.New("camera: the axis is under automatic control")
	ErrSilent = errors.New("camera: no picture came")
	ErrClosed = errors.New("camera: the view is closed")
)

// source is one lens that is there.
type source interface {
	stream(ctx context.Context, put func(device.Frame)) error // until ctx ends or the lens fails
	alive(ctx context.Context) error
	io.Closer
	steering
}

// steering turns a lens. The instrument has checked names and fitted values before set.
type steering interface {
	axes(ctx context.Context) ([]device.Axis, error)
	set(ctx context.Context, values map[string]int) error
	halt(ctx context.Context) error
}

// instrument implements device.Camera and device.Steerable.
type instrument struct {
	clock  kit.Clock
	out    device.Outlet
	open   func(context.Context) (source, error)
	demand chan struct{} // holds one token: the number of views changed

	mu     sync.Mutex
	lens   source // nil while gone
	fixed  []device.Axis
	views  map[*view]struct{}
	latest device.Frame
	count  uint64        // pictures so far; latest is the count-th
	fresh  bool          // latest belongs to the stream that is on
	news   chan struct{} // closed and made anew at each picture, and when the lens comes or goes
}

func newInstrument(clock kit.Clock, out device.Outlet, open func(context.Context) (source, error)) *instrument {
	return &instrument{clock: clock, out: out, open: open, demand: make(chan struct{}, 1),
		views: map[*view]struct{}{}, news: make(chan struct{})}
}

// Run opens the camera and serves views until ctx ends or the camera fails.
func (c *instrument) Run(ctx context.Context) error {
	if ctx.Err() != nil {
		return nil
	}
	c.out.Observe(device.Health{State: device.Settling})
	err := c.serve(ctx)
	if ctx.Err() != nil {
		return nil
	}
	c.out.Observe(health(err))
	return err
}

func (c *instrument) serve(ctx context.Context) (err error) {
	src, err := c.open(ctx)
	if err != nil {
		return prefixed(err)
	}
	defer func() { err = errors.Join(prefixed(err), src.Close()) }()
	axes, err := src.axes(ctx)
	if err != nil {
		return err
	}
	c.lensIs(src, axes)
	defer c.lensIs(nil, nil)
	c.out.Observe(device.Health{State: device.Live})
	for {
		if c.wanted() {
			err = c.show(ctx, src)
		} else {
			select {
			case <-c.demand:
			case <-c.clock.After(glance):
				err = src.alive(ctx)
			case <-ctx.Done():
			}
		}
		if err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// show streams while there are views, and a linger longer.
func (c *instrument) show(ctx context.Context, src source) error {
	ctx, off := context.WithCancel(ctx)
	defer off()
	seen, watch := c.pictures(), c.clock.After(silence)
	ended := make(chan error, 1)
	go func() { ended <- src.stream(ctx, c.put) }()
	end := func(err error) error {
		off()
		<-ended
		return err
	}
	defer c.blank()
	var idle <-chan time.Time
	for {
		if c.wanted() {
			idle = nil
		} else if idle == nil {
			idle = c.clock.After(linger)
		}
		select {
		case err := <-ended:
			return err
		case <-c.demand:
		case <-idle:
			if !c.wanted() {
				return end(nil)
			}
		case <-watch:
			n := c.pictures()
			if n == seen {
				return end(fmt.Errorf("%w within %v", ErrSilent, silence))
			}
			seen, watch = n, c.clock.After(silence)
		}
	}
}

// tell wakes everyone who waits for news; the lock is held.
func (c *instrument) tell() {
	close(c.news)
	c.news = make(chan struct{})
}

func (c *instrument) put(f device.Frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latest, c.fresh = f, true
	c.count++
	c.tell()
}

// blank forgets the last picture when the stream ends: it must not greet the next viewer as a live one.
func (c *instrument) blank() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latest, c.fresh = device.Frame{}, false
}

func (c *instrument) lensIs(src source, axes []device.Axis) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lens, c.fixed = src, axes
	c.tell()
}

func (c *instrument) wanted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.views) > 0
}

func (c *instrument) pictures() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count
}

// Watch starts a view, of pictures that arrive from now on: a still that was asked for now must not be of before. It may be
// called while the camera is gone; the view shows it when it comes.
func (c *instrument) Watch() device.View {
	v := &view{c: c, done: make(chan struct{})}
	c.mu.Lock()
	v.seen = c.count
	c.views[v] = struct{}{}
	c.mu.Unlock()
	c.nudge()
	return v
}

func (c *instrument) nudge() {
	select {
	case c.demand <- struct{}{}:
	default:
	}
}

// view is one viewer's place.
type view struct {
	c    *instrument
	done chan struct{}
	once sync.Once
	seen uint64 // under c.mu
}

// Next waits for a picture newer than the last one this view gave. While the camera is gone it returns device.ErrGone at
// once; a viewer that wants to go on asks again after a pause.
func (v *view) Next(ctx context.Context) (device.Frame, error) {
	for {
		if err := ctx.Err(); err != nil {
			return device.Frame{}, err
		}
		select {
		case <-v.done:
			return device.Frame{}, ErrClosed
		default:
		}
		f, ok, news, err := v.look()
		if ok || err != nil {
			return f, err
		}
		select {
		case <-news:
		case <-v.done:
		case <-ctx.Done():
		}
	}
}

func (v *view) look() (f device.Frame, ok bool, news <-chan struct{}, err error) {
	c := v.c
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.lens == nil:
		return f, false, nil, device.ErrGone
	case c.fresh && c.count > v.seen:
		v.seen = c.count
		return c.latest, true, nil, nil
	}
	return f, false, c.news, nil
}

// Close ends the view; a Next that waits returns ErrClosed.
func (v *view) Close() {
	v.once.Do(func() {
		close(v.done)
		v.c.mu.Lock()
		delete(v.c.views, v)
		v.c.mu.Unlock()
		v.c.nudge()
	})
}

func (c *instrument) present() (source, []device.Axis, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lens == nil {
		return nil, nil, device.ErrGone
	}
	return c.lens, c.fixed, nil
}

// Axes lists what this camera can steer, with present values. What it lacks is not listed.
func (c *instrument) Axes(ctx context.Context) ([]device.Axis, error) {
	src, _, err := c.present()
	if err != nil {
		return nil, err
	}
	axes, err := src.axes(ctx)
	return axes, gone(err)
}

// Steer sets axes by name, in their own units, clamped and rounded to a step. Automatic modes are set first, so that
// {"focus-auto": 0, "focus": 120} works in one call. An axis under automatic control gives ErrLocked; an unknown one
// an error that names those there are, and then nothing moves.
func (c *instrument) Steer(ctx context.Context, set map[string]int) error {
	src, axes, err := c.present()
	if err != nil {
		return err
	}
	fitted := make(map[string]int, len(set))
	for name, v := range set {
		i := slices.IndexFunc(axes, func(a device.Axis) bool { return a.Name == name })
		if i < 0 {
			var have []string
			for _, a := range axes {
				have = append(have, a.Name)
			}
			return fmt.Errorf("camera: no axis %q; this camera has: %s", name, strings.Join(have, ", "))
		}
		fitted[name] = v4l2.Fit(v, axes[i].Min, axes[i].Max, axes[i].Step)
	}
	return gone(src.set(ctx, fitted))
}

// Halt stops all motion where it is.
func (c *instrument) Halt(ctx context.Context) error {
	src, _, err := c.present()
	if err != nil {
		return err
	}
	return gone(src.halt(ctx))
}

// gone says in the seam's word that a camera was unplugged under a call.
func gone(err error) error {
	if errors.Is(err, v4l2.ErrUnplugged) {
		return fmt.Errorf("%w: %w", device.ErrGone, err)
	}
	return prefixed(err)
}

func prefixed(err error) error {
	if err == nil || strings.HasPrefix(err.Error(), "camera: ") {
		return err
	}
	return fmt.Errorf("camera: %w", err)
}

// health puts a failure in a code that the screens have words for.
func health(err error) device.Health {
	for _, x := range []struct {
		err    error
		state  device.State
		reason device.Reason
	}{
		{v4l2.ErrUnplugged, device.Absent, "unplugged"},
		{v4l2.ErrBusy, device.Faulty, "busy"},
		{v4l2.ErrNotCamera, device.Faulty, "not-a-camera"},
		{v4l2.ErrNoFormat, device.Faulty, "no-format"},
		{v4l2.ErrBroken, device.Faulty, "broken-pictures"},
		{v4l2.ErrStalled, device.Faulty, "stream-failed"},
		{ErrSilent, device.Faulty, "no-pictures"},
		{os.ErrPermission, device.Faulty, "no-permission"},
	} {
		if errors.Is(err, x.err) {
			return device.Health{State: x.state, Reason: x.reason}
		}
	}
	return device.Health{State: device.Faulty, Reason: "failed"}
}
