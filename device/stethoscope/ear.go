package stethoscope

import (
	"context"
	"sync"

	"telecart/device"
)

// patience is how many stretches wait for an ear: five seconds.
const patience = 5 * stretches

// Listen starts an ear, of sound that comes from now on. It may be called while the stethoscope is gone.
func (s *instrument) Listen() device.Ear {
	e := &ear{s: s, done: make(chan struct{}), news: make(chan struct{}, 1)}
	s.mu.Lock()
	s.ears[e] = struct{}{}
	s.mu.Unlock()
	select {
	case s.demand <- struct{}{}:
	default:
	}
	return e
}

func (s *instrument) wanted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ears) > 0
}

// isThere wakes those who wait in vain.
func (s *instrument) isThere(there bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.there = there
	for e := range s.ears {
		e.tell()
	}
}

// ear is one listener's place.
type ear struct {
	s    *instrument
	done chan struct{}
	once sync.Once
	news chan struct{}

	queue []device.Sound // under s.mu, as is all below
	off   int            // of the queue's first
}

// put appends a stretch and says how many made room for it. It is called under the lock.
func (e *ear) put(x device.Sound) (dropped uint64) {
	if len(e.queue)-e.off >= patience {
		e.queue[e.off] = device.Sound{}
		e.off++
		dropped = 1
	}
	if e.off >= patience { // the front of the slice is used up: move to it
		e.queue = append(e.queue[:0], e.queue[e.off:]...)
		clear(e.queue[len(e.queue):cap(e.queue)])
		e.off = 0
	}
	e.queue = append(e.queue, x)
	e.tell()
	return dropped
}

func (e *ear) tell() {
	select {
	case e.news <- struct{}{}:
	default:
	}
}

// Next waits for the next stretch. When the stethoscope is gone it first gives what was heard before, then device.ErrGone at
// once; a listener that wants to go on asks again after a pause. One goroutine waits at an ear at a time.
func (e *ear) Next(ctx context.Context) (device.Sound, error) {
	for {
		if err := ctx.Err(); err != nil {
			return device.Sound{}, err
		}
		select {
		case <-e.done:
			return device.Sound{}, ErrClosed
		default:
		}
		if x, ok, err := e.take(); ok || err != nil {
			return x, err
		}
		select {
		case <-e.news:
		case <-e.done:
		case <-ctx.Done():
		}
	}
}

func (e *ear) take() (x device.Sound, ok bool, err error) {
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	if e.off < len(e.queue) {
		x, e.queue[e.off] = e.queue[e.off], device.Sound{}
		if e.off++; e.off == len(e.queue) {
			e.queue, e.off = e.queue[:0], 0
		}
		return x, true, nil
	}
	if !e.s.there {
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
		e.queue, e.off = nil, 0
	})
}
