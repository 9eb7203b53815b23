package supervisor

import (
	"cmp"
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

// camera stands for whichever generation of a camera is running; so do the types below for theirs.
type camera struct{ u *unit }

// Run refuses: the supervisor alone runs instruments.
func (c camera) Run(context.Context) error { return c.u.refuse() }

func (c camera) Watch() device.View {
	return &place[device.Frame]{u: c.u, take: func(i device.Instrument) (seat[device.Frame], bool) {
		cam, ok := i.(device.Camera)
		if !ok {
			return nil, false
		}
		return cam.Watch(), true
	}}
}

type coded struct{ u *unit }

// WatchCoded asks now whether there is a coded picture. The view moves on to the next generation, if that one has it too.
func (c coded) WatchCoded() (device.View, error) {
	var refused error // guarded by the place's lock
	p := &place[device.Frame]{u: c.u, take: func(i device.Instrument) (seat[device.Frame], bool) {
		cam, ok := i.(device.Coded)
		if !ok {
			return nil, false
		}
		v, err := cam.WatchCoded()
		refused = err
		return v, err == nil
	}}
	if _, _, err := p.attach(context.Background()); err != nil {
		p.Close()
		return nil, cmp.Or(refused, err)
	}
	return p, nil
}

// KeyFrame asks for a key frame, of a camera that can be asked.
func (c coded) KeyFrame(ctx context.Context) error {
	type keyed interface{ KeyFrame(context.Context) error }
	return with(ctx, c.u, func(ctx context.Context, inner keyed) error { return inner.KeyFrame(ctx) })
}

type microphone struct{ u *unit }

func (m microphone) Run(context.Context) error { return m.u.refuse() }

func (m microphone) Listen() device.Ear {
	return &place[device.Sound]{u: m.u, take: func(i device.Instrument) (seat[device.Sound], bool) {
		mic, ok := i.(device.Microphone)
		if !ok {
			return nil, false
		}
		return mic.Listen(), true
	}}
}

func (u *unit) refuse() error {
	return fmt.Errorf("supervisor: %s runs already: hold it, don't run it", u.settings.Name)
}

// seat is a viewer's or listener's place at an instrument.
type seat[T any] interface {
	Next(ctx context.Context) (T, error)
	Close()
}

// place is a seat that moves to the next generation when there is one.
type place[T any] struct {
	u    *unit
	take func(device.Instrument) (seat[T], bool)

	mu     sync.Mutex
	gen    *generation
	inner  seat[T] // at gen
	closed bool
}

func (p *place[T]) Next(ctx context.Context) (x T, err error) {
	g, inner, err := p.attach(ctx)
	if err != nil {
		return x, err
	}
	var got T
	err = g.call(ctx, func(ctx context.Context) (err error) {
		got, err = inner.Next(ctx)
		return err
	})
	if err != nil {
		return x, err
	}
	return got, nil
}

func (p *place[T]) attach(ctx context.Context) (*generation, seat[T], error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, device.ErrGone
	}
	g := p.u.current()
	if g == p.gen && g != nil {
		return g, p.inner, nil
	}
	p.leave()
	if g == nil {
		return nil, nil, device.ErrGone
	}
	able := false
	err := g.call(ctx, func(context.Context) error {
		p.inner, able = p.take(g.inst)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	if !able {
		return nil, nil, device.ErrGone
	}
	p.gen = g
	return g, p.inner, nil
}

// leave gives the place at the old generation back; called under the lock.
func (p *place[T]) leave() {
	if p.gen == nil {
		return
	}
	g, inner := p.gen, p.inner
	p.gen, p.inner = nil, nil
	// The generation may be long over; whatever closing it brings is nobody's concern.
	_ = g.call(context.Background(), func(context.Context) error {
		inner.Close()
		return nil
	})
}

func (p *place[T]) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.leave()
}

// with calls the running generation in its ability T.
func with[T any](ctx context.Context, u *unit, f func(context.Context, T) error) error {
	g := u.current()
	if g == nil {
		return device.ErrGone
	}
	inner, ok := g.inst.(T)
	if !ok {
		return device.ErrGone
	}
	return g.call(ctx, func(ctx context.Context) error { return f(ctx, inner) })
}

type shooter struct{ u *unit }

func (s shooter) Shoot(ctx context.Context) (f device.Frame, err error) {
	err = with(ctx, s.u, func(ctx context.Context, inner device.Shooter) (err error) {
		f, err = inner.Shoot(ctx)
		return err
	})
	return f, err
}

type triggerable struct{ u *unit }

func (t triggerable) Modes() []string { return t.u.modes() }

func (t triggerable) Start(ctx context.Context, mode string) error {
	return with(ctx, t.u, func(ctx context.Context, inner device.Triggerable) error { return inner.Start(ctx, mode) })
}

func (t triggerable) Abort(ctx context.Context) error {
	return with(ctx, t.u, func(ctx context.Context, inner device.Triggerable) error { return inner.Abort(ctx) })
}

func (u *unit) modes() (modes []string) {
	_ = with(context.Background(), u, func(_ context.Context, inner device.Triggerable) error { // none while it is gone
		modes = inner.Modes()
		return nil
	})
	return modes
}

func (u *unit) counters() (c map[string]uint64) {
	_ = with(context.Background(), u, func(_ context.Context, inner device.Counted) error { // none while it is gone
		c = inner.Counters()
		return nil
	})
	return c
}

type steerable struct{ u *unit }

func (s steerable) Axes(ctx context.Context) (axes []device.Axis, err error) {
	err = with(ctx, s.u, func(ctx context.Context, inner device.Steerable) (err error) {
		axes, err = inner.Axes(ctx)
		return err
	})
	return axes, err
}

func (s steerable) Steer(ctx context.Context, set map[string]int) error {
	return with(ctx, s.u, func(ctx context.Context, inner device.Steerable) error { return inner.Steer(ctx, set) })
}

func (s steerable) Halt(ctx context.Context) error {
	return with(ctx, s.u, func(ctx context.Context, inner device.Steerable) error { return inner.Halt(ctx) })
}
