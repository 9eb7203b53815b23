package supervisor

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"telecart/device"
)

// call runs f on the instrument of one generation. f's context ends with the generation; a panic ends the generation;
// an error of a generation that is over is ErrGone.
func (g *generation) call(ctx context.Context, f func(context.Context) error) (err error) {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.ctx, cancel)()
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v", ErrPanic, v)
			g.fail(err)
		}
		if err != nil && g.ctx.Err() != nil && ctx.Err() == nil && !errors.Is(err, device.ErrGone) {
			err = fmt.Errorf("%w: %w", device.ErrGone, err)
		}
	}()
	return f(inner)
}

// camera stands for whichever generation of a camera is running.
type camera struct{ u *unit }

// Run refuses: the supervisor alone runs instruments.
func (c camera) Run(context.Context) error {
	return fmt.Errorf("supervisor: %s runs already: hold it, don't run it", c.u.settings.Name)
}

func (c camera) Watch() device.View { return &view{u: c.u} }

// view is a viewer's place that moves to the next generation when there is one.
type view struct {
	u *unit

	mu     sync.Mutex
	gen    *generation
	inner  device.View // at gen
	closed bool
}

func (v *view) Next(ctx context.Context) (device.Frame, error) {
	g, inner, err := v.attach(ctx)
	if err != nil {
		return device.Frame{}, err
	}
	var f device.Frame
	err = g.call(ctx, func(ctx context.Context) (err error) {
		f, err = inner.Next(ctx)
		return err
	})
	if err != nil {
		return device.Frame{}, err
	}
	return f, nil
}

func (v *view) attach(ctx context.Context) (*generation, device.View, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil, nil, device.ErrGone
	}
	g := v.u.current()
	if g == v.gen && g != nil {
		return g, v.inner, nil
	}
	v.leave()
	if g == nil {
		return nil, nil, device.ErrGone
	}
	cam, ok := g.inst.(device.Camera)
	if !ok {
		return nil, nil, device.ErrGone
	}
	err := g.call(ctx, func(context.Context) error {
		v.inner = cam.Watch()
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	v.gen = g
	return g, v.inner, nil
}

// leave gives the place at the old generation back; called under the lock.
func (v *view) leave() {
	if v.gen == nil {
		return
	}
	g, inner := v.gen, v.inner
	v.gen, v.inner = nil, nil
	// The generation may be long over; whatever closing it brings is nobody's concern.
	_ = g.call(context.Background(), func(context.Context) error {
		inner.Close()
		return nil
	})
}

func (v *view) Close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	v.leave()
}

// steerable stands for whichever generation of a steerable is running.
type steerable struct{ u *unit }

func (s steerable) with(ctx context.Context, f func(context.Context, device.Steerable) error) error {
	g := s.u.current()
	if g == nil {
		return device.ErrGone
	}
	inner, ok := g.inst.(device.Steerable)
	if !ok {
		return device.ErrGone
	}
	return g.call(ctx, func(ctx context.Context) error { return f(ctx, inner) })
}

func (s steerable) Axes(ctx context.Context) (axes []device.Axis, err error) {
	err = s.with(ctx, func(ctx context.Context, inner device.Steerable) (err error) {
		axes, err = inner.Axes(ctx)
		return err
	})
	return axes, err
}

func (s steerable) Steer(ctx context.Context, set map[string]int) error {
	return s.with(ctx, func(ctx context.Context, inner device.Steerable) error { return inner.Steer(ctx, set) })
}

func (s steerable) Halt(ctx context.Context) error {
	return s.with(ctx, func(ctx context.Context, inner device.Steerable) error { return inner.Halt(ctx) })
}
