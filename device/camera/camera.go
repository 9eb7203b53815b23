// Package camera is the driver of everything that sees: room cameras, otoscopes, dermatoscopes; and their twin.
//
// Parties: a source is one lens (a V4L2 node or two, or the twin's scene). The instrument shares it: any number of views of
// the live picture, any number of the coded one where the camera has an encoder, one still at a time, one hand on the axes.
//
// Keys: a camera is known by its port: "usb:SERIAL" stays true when it is plugged in elsewhere, "usb-port:1-1.2" when
// another of the same model is plugged in there; "/dev/videoN" does neither. Two with the same serial number are a fault
// that names their sockets, never a guess.
//
// Invariants: a lens that nobody looks through is off: the first view turns streaming on, the last one's end turns it off
// after a linger, so that changing from one screen to another does not blink. The latest picture wins; a slow viewer
// delays nobody. A picture's bytes are the camera's own and nobody writes to them; nothing here mirrors, turns or crops
// one. Of a coded stream every viewer sees whole stretches that begin with a key frame: none that needs a picture which
// was lost. A still is a whole JPEG of the size that was set, or an error; taking it pauses the views and moves no axis.
// Steering works whether or not there is a view. Every axis is an absolute position, so nothing moves on its own when a
// connection drops; Halt holds the position that has been reached, and belongs to whoever watches over the lease.
package camera

import (
	"context"
	"errors"
	"io"
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
	ErrLocked   = errors.New("camera: the axis is under automatic control")
	ErrSilent   = errors.New("camera: no picture came")
	ErrClosed   = errors.New("camera: the view is closed")
	ErrNotCoded = errors.New("camera: it gives no coded picture")
)

// source is one lens that is there. Only one of stream and shoot is called at a time.
type source interface {
	stream(ctx context.Context, put func(device.Frame)) error // until ctx ends or the lens fails
	alive(ctx context.Context) error
	about() device.About
	presses(ctx context.Context, pressed func()) error // of the camera's own button, until ctx ends or there is none
	io.Closer
	shooting
	coder
	steering
}

// steering turns a lens. The instrument has checked names and fitted values before set.
type steering interface {
	axes(ctx context.Context) ([]device.Axis, error)
	set(ctx context.Context, values map[string]int) error
	halt(ctx context.Context) error
}

// instrument implements device.Camera, Steerable, Shooter, Coded and Counted.
type instrument struct {
	outfit
	demand chan struct{} // holds one token: the number of views changed
	shots  chan shot

	mu    sync.Mutex
	lens  source        // nil while gone
	over  chan struct{} // closed when lens goes
	fixed []device.Axis
	news  chan struct{} // closed and made anew at each picture, and when the lens comes or goes
	live
	reel
}

// outfit is what an instrument is made of.
type outfit struct {
	clock kit.Clock
	stamp *kit.Stamper
	out   device.Outlet
	id    device.Identity
	still resolution
	tally *tally
	open  func(context.Context) (source, error)
}

func newInstrument(o outfit) *instrument {
	return &instrument{outfit: o, demand: make(chan struct{}, 1), shots: make(chan shot), news: make(chan struct{}),
		live: live{views: map[*view]struct{}{}}, reel: reel{strips: map[*strip]struct{}{}}}
}

// live is the picture that views share. It is guarded by the instrument's lock.
type live struct {
	views  map[*view]struct{}
	latest device.Frame
	count  uint64    // pictures so far; latest is the count-th
	fresh  bool      // latest belongs to the stream that is on
	since  uint64    // count when that stream began
	first  time.Time // when its first picture came
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
	if errors.Is(err, v4l2.ErrStalled) || errors.Is(err, v4l2.ErrBroken) || errors.Is(err, ErrSilent) {
		c.tally.add(stalls, 1)
	}
	h := health(err)
	c.out.Observe(h)
	return device.Fault{Health: h, Err: err}
}

func (c *instrument) serve(ctx context.Context) (err error) {
	src, err := c.open(ctx)
	if err != nil {
		return prefixed(err)
	}
	defer func() { err = prefixed(errors.Join(err, src.Close())) }()
	axes, err := src.axes(ctx)
	if err != nil {
		return err
	}
	a := src.about()
	c.id.Model, c.id.Serial = a.Model, a.Serial
	c.out.Observe(a)
	c.lensIs(src, axes)
	defer c.lensIs(nil, nil)
	c.out.Observe(device.Health{State: device.Live})
	return c.attend(ctx, src)
}

// attend streams what is watched, shoots what is asked for, and glances at an idle lens.
func (c *instrument) attend(ctx context.Context, src source) error {
	pictures := &pump{clock: c.clock, wanted: c.watched, count: c.pictures, flow: func(ctx context.Context) error {
		defer c.blank()
		return src.stream(ctx, c.put)
	}}
	film := &pump{clock: c.clock, wanted: c.filmed, count: c.units, flow: func(ctx context.Context) error {
		c.splice()
		return src.film(ctx, c.thread)
	}}
	streaming := func() bool { return pictures.on() || film.on() }
	button := &pump{clock: c.clock, wanted: streaming, flow: func(ctx context.Context) error {
		_ = src.presses(ctx, c.pressed) // without a button it is a camera nonetheless
		<-ctx.Done()
		return nil
	}}
	defer button.stop()
	defer film.stop()
	defer pictures.stop()
	for ctx.Err() == nil {
		c.share(ctx, src.coding(), pictures, film)
		button.adjust(ctx)
		var idle <-chan time.Time
		if !streaming() {
			idle = c.clock.After(glance)
		}
		var err error
		select {
		case <-ctx.Done():
		case <-c.demand:
		case <-idle:
			err = src.alive(ctx)
		case s := <-c.shots:
			pictures.stop()
			film.stop()
			err = c.take(ctx, src, s)
		case err = <-pictures.ended:
			pictures.stop()
		case <-pictures.watch:
			err = pictures.check()
		case <-pictures.idle:
			pictures.leave()
		case bad := <-film.ended:
			film.stop()
			err = c.noFilm(bad)
		case <-film.watch:
			err = c.noFilm(film.check())
		case <-film.idle:
			film.leave()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// share turns the streams on and off as they are watched. On one node there is room for one: the coded one, if it is
// watched.
func (c *instrument) share(ctx context.Context, how coding, pictures, film *pump) {
	if how == instead && c.filmed() {
		pictures.stop()
	} else {
		if how == instead && c.watched() {
			film.stop() // without a linger
		}
		pictures.adjust(ctx)
	}
	film.adjust(ctx)
}

// tell wakes everyone who waits for news; the lock is held.
func (c *instrument) tell() {
	close(c.news)
	c.news = make(chan struct{})
}

func (c *instrument) put(f device.Frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.fresh {
		c.since, c.first = c.count, c.clock.Now()
	}
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
	if src != nil {
		c.over = make(chan struct{})
		c.reel.begin()
	} else {
		close(c.over)
		c.reel.cut()
	}
	c.tell()
}

func (c *instrument) watched() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.views) > 0
}

func (c *instrument) pictures() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count
}

func (c *instrument) nudge() {
	select {
	case c.demand <- struct{}{}:
	default:
	}
}

// present is the lens, and the end of it.
func (c *instrument) present() (source, <-chan struct{}, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lens == nil {
		return nil, nil, device.ErrGone
	}
	return c.lens, c.over, nil
}

// pressed tells that the camera's own button was pressed.
func (c *instrument) pressed() {
	c.out.Observe(device.Input{Act: device.Shutter, Instrument: c.id, At: c.stamp.Now()})
	c.tally.add(presses, 1)
}

// Counters tell how the camera has fared since the agent began.
func (c *instrument) Counters() map[string]uint64 { return c.tally.all() }
