package supervisor

import (
	"context"
	"sync"

	"telecart/device"
)

// loudspeaker stands for whichever generation of one is running.
type loudspeaker struct{ u *unit }

// Run refuses: the supervisor alone runs instruments.
func (l loudspeaker) Run(context.Context) error { return l.u.refuse() }

func (l loudspeaker) Speak() device.Mouth { return &mouth{u: l.u} }

// mouth moves to the next generation when there is one.
type mouth struct {
	u *unit

	mu     sync.Mutex
	gen    *generation
	inner  device.Mouth // at gen
	closed bool
}

func (m *mouth) Write(ctx context.Context, values []int16) error {
	g, inner, err := m.attach(ctx)
	if err != nil {
		return err
	}
	return g.call(ctx, func(ctx context.Context) error { return inner.Write(ctx, values) })
}

func (m *mouth) attach(ctx context.Context) (*generation, device.Mouth, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, nil, device.ErrGone
	}
	g := m.u.current()
	if g == m.gen && g != nil {
		return g, m.inner, nil
	}
	m.leave()
	if g == nil {
		return nil, nil, device.ErrGone
	}
	err := g.call(ctx, func(context.Context) error {
		l, ok := g.inst.(device.Loudspeaker)
		if !ok {
			return device.ErrGone
		}
		m.inner = l.Speak()
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	m.gen = g
	return g, m.inner, nil
}

// leave gives the place at the old generation back; called under the lock.
func (m *mouth) leave() {
	if m.gen == nil {
		return
	}
	g, inner := m.gen, m.inner
	m.gen, m.inner = nil, nil
	_ = g.call(context.Background(), func(context.Context) error { // it may be long over
		inner.Close()
		return nil
	})
}

func (m *mouth) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.leave()
}
