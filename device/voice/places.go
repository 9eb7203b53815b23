package voice

import (
	"context"
	"sync"

	"telecart/device"
)

const (
	patience = 100               // stretches that wait for an ear: two seconds
	mostHeld = RateHz * 3 / 100  // values that a mouth holds: what is in hand is delay
	mostSaid = RateHz * 12 / 100 // values of one Write
)

// Listen starts an ear, of sound that comes from now on. It may be called while the microphone is gone.
func (s *instrument) Listen() device.Ear {
	e := &ear{s: s, place: place{done: make(chan struct{}), news: make(chan struct{}, 1)}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ears[e] = struct{}{}
	s.tell()
	return e
}

// Speak starts a mouth. It may be called while the loudspeaker is gone.
func (s *instrument) Speak() device.Mouth {
	m := &mouth{s: s, place: place{done: make(chan struct{}), news: make(chan struct{}, 1)}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mouths[m] = struct{}{}
	s.tell()
	return m
}

// place is what an ear and a mouth have in common.
type place struct {
	once sync.Once
	done chan struct{}
	news chan struct{}
}

func (p *place) wake() {
	select {
	case p.news <- struct{}{}:
	default:
	}
}

func (p *place) closed() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// wait is over when there may be something new.
func (p *place) wait(ctx context.Context) {
	select {
	case <-p.news:
	case <-p.done:
	case <-ctx.Done():
	}
}

// ear is one listener's place.
type ear struct {
	place
	s     *instrument
	queue []device.Sound // under s.mu
}

// put appends a stretch and says how many made room for it. It is called under the lock.
func (e *ear) put(x device.Sound) (dropped uint64) {
	if len(e.queue) >= patience {
		e.queue = e.queue[:copy(e.queue, e.queue[1:])]
		dropped = 1
	}
	e.queue = append(e.queue, x)
	e.wake()
	return dropped
}

// Next waits for the next stretch; one goroutine at a time. What was heard before the microphone went comes before device.ErrGone.
func (e *ear) Next(ctx context.Context) (device.Sound, error) {
	for {
		switch x, ok, err := e.take(); {
		case ctx.Err() != nil:
			return device.Sound{}, ctx.Err()
		case e.closed():
			return device.Sound{}, ErrClosed
		case ok || err != nil:
			return x, err
		}
		e.wait(ctx)
	}
}

func (e *ear) take() (x device.Sound, ok bool, err error) {
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	switch {
	case len(e.queue) > 0:
		x = e.queue[0]
		e.queue = e.queue[:copy(e.queue, e.queue[1:])]
		return x, true, nil
	case !e.s.there:
		return x, false, device.ErrGone
	}
	return x, false, nil
}

// Close ends the ear; a Next that waits returns ErrClosed.
func (e *ear) Close() {
	e.once.Do(func() {
		close(e.done)
		e.s.mu.Lock()
		defer e.s.mu.Unlock()
		delete(e.s.ears, e)
		e.s.tell()
	})
}

// mouth is one speaker's place.
type mouth struct {
	place
	s      *instrument
	queue  []int16 // under s.mu
	saying bool    // it was not late so far; under s.mu
}

// Write says the values when those before were said; one goroutine at a time.
func (m *mouth) Write(ctx context.Context, values []int16) error {
	for len(values) > mostSaid {
		if err := m.Write(ctx, values[:mostSaid]); err != nil {
			return err
		}
		values = values[mostSaid:]
	}
	for {
		switch ok, err := m.put(values); {
		case ctx.Err() != nil:
			return ctx.Err()
		case m.closed():
			return ErrClosed
		case ok || err != nil:
			return err
		}
		m.wait(ctx)
	}
}

func (m *mouth) put(values []int16) (ok bool, err error) {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	switch {
	case !m.s.there:
		return false, device.ErrGone
	case len(m.queue) > 0 && len(m.queue)+len(values) > mostHeld:
		return false, nil
	}
	m.queue = append(m.queue, values...)
	return true, nil
}

// Close ends the mouth, with what it has not yet said.
func (m *mouth) Close() {
	m.once.Do(func() {
		close(m.done)
		m.s.mu.Lock()
		defer m.s.mu.Unlock()
		delete(m.s.mouths, m)
		m.s.tell()
	})
}
