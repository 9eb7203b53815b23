package camera

import (
	"context"
	"sync"

	"telecart/device"
)

// Watch starts a view, of pictures that arrive from now on: a still that was asked for now must not be of before. It may be
// called while the camera is gone; the view shows it when it comes.
func (c *instrument) Watch() device.View { return c.watch() }

func (c *instrument) watch() *view {
	v := &view{c: c, done: make(chan struct{})}
	c.mu.Lock()
	v.seen = c.count
	c.views[v] = struct{}{}
	c.mu.Unlock()
	c.nudge()
	return v
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
func (v *view) Next(ctx context.Context) (device.Frame, error) { return await(ctx, v.done, v.look) }

// await waits until look finds a frame, or the reason why there will be none; it looks again when there is news.
func await(ctx context.Context, done <-chan struct{},
	look func() (f device.Frame, ok bool, news <-chan struct{}, err error)) (device.Frame, error) {
	for {
		if err := ctx.Err(); err != nil {
			return device.Frame{}, err
		}
		select {
		case <-done:
			return device.Frame{}, ErrClosed
		default:
		}
		f, ok, news, err := look()
		if ok || err != nil {
			return f, err
		}
		select {
		case <-news:
		case <-done:
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
