package camera

import (
	"context"
	"errors"
	"sync"

	"telecart/device"
	"telecart/device/camera/v4l2"
)

// coding is how a lens gives a coded picture.
type coding int

const (
	never   coding = iota
	beside         // on a node of its own, at the same time as pictures
	instead        // on the same node: while it is watched, pictures stand still
)

// coder is a lens with an encoder in it.
type coder interface {
	coding() coding
	film(ctx context.Context, put func(unit)) error // until ctx ends or the encoder fails
	keyFrame(ctx context.Context) error             // asks for one, if the camera can be asked
}

// unit is an access unit, and whether it is a key frame: with its headers.
type unit struct {
	device.Frame
	key bool
}

// reelCap is how many access units wait for one viewer, some two seconds: then it begins anew at a key frame.
const reelCap = 64

// reel is the coded stream that coded views share. It is guarded by the instrument's lock.
type reel struct {
	strips map[*strip]struct{}
	spoilt error  // why there is no coded picture
	wound  uint64 // access units that a decoder could use
	last   uint64 // number of the one before
	torn   bool   // none may follow but a key frame
}

func (r *reel) begin() { r.spoilt, r.torn = nil, true }

// splice is for when the stream begins anew: what comes does not follow what was.
func (c *instrument) splice() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reel.torn = true
}

// cut takes back what waits: it is no longer live.
func (r *reel) cut() {
	for s := range r.strips {
		s.queue, s.torn = nil, true
	}
}

// thread takes an access unit. One that follows a lost one is of no use before the next key frame.
func (c *instrument) thread(u unit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &c.reel
	if u.key {
		r.torn = false
	} else if u.Seq != r.last+1 && !r.torn {
		r.torn = true
		c.tally.add(filmTears, 1)
	}
	r.last = u.Seq
	if r.torn {
		for s := range r.strips {
			s.torn = true
		}
		return
	}
	r.wound++
	for s := range r.strips {
		if s.torn && !u.key {
			continue
		}
		s.torn = false
		if len(s.queue) == reelCap {
			c.tally.add(filmDropped, reelCap)
			if s.queue, s.torn = nil, !u.key; s.torn {
				continue
			}
		}
		s.queue = append(s.queue, u.Frame)
	}
	c.tell()
}

func (c *instrument) units() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reel.wound
}

// filmed says whether anybody watches the coded picture.
func (c *instrument) filmed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.strips) > 0 && c.lens != nil && c.spoilt == nil
}

// noFilm ends the coded picture until the camera is opened again: viewers can have it encoded here instead. A camera that
// is gone is gone altogether.
func (c *instrument) noFilm(err error) error {
	if err == nil || errors.Is(err, v4l2.ErrUnplugged) {
		return err
	}
	c.tally.add(filmFailures, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spoilt = errors.Join(ErrNotCoded, err)
	c.reel.cut()
	c.tell()
	return nil
}

// WatchCoded starts a view of the coded picture: every access unit in order, from a key frame on. A view that falls two
// seconds behind misses all up to the next key frame. ErrNotCoded: this camera has none, or has no more.
func (c *instrument) WatchCoded() (device.View, error) {
	src, _, err := c.present()
	if err != nil {
		return nil, err
	}
	if src.coding() == never {
		return nil, ErrNotCoded
	}
	s := &strip{c: c, done: make(chan struct{}), torn: true}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.spoilt != nil {
		return nil, c.spoilt
	}
	c.strips[s] = struct{}{}
	c.nudge()
	return s, nil
}

// KeyFrame asks the camera for a key frame. Most can't be asked: then the next one comes when it comes, and that is no
// error.
func (c *instrument) KeyFrame(ctx context.Context) error {
	src, _, err := c.present()
	if err != nil {
		return err
	}
	return gone(src.keyFrame(ctx))
}

// strip is one viewer's place at the reel.
type strip struct {
	c     *instrument
	done  chan struct{}
	once  sync.Once
	queue []device.Frame // under c.mu, as is torn
	torn  bool           // waits for a key frame
}

// Next waits for the next access unit.
func (s *strip) Next(ctx context.Context) (device.Frame, error) { return await(ctx, s.done, s.look) }

func (s *strip) look() (f device.Frame, ok bool, news <-chan struct{}, err error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.lens == nil:
		return f, false, nil, device.ErrGone
	case c.spoilt != nil:
		return f, false, nil, c.spoilt
	case len(s.queue) > 0:
		f, s.queue = s.queue[0], s.queue[1:]
		return f, true, nil, nil
	}
	return f, false, c.news, nil
}

// Close ends the view; a Next that waits returns ErrClosed.
func (s *strip) Close() {
	s.once.Do(func() {
		close(s.done)
		s.c.mu.Lock()
		delete(s.c.strips, s)
		s.c.mu.Unlock()
		s.c.nudge()
	})
}
