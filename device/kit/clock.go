// Package kit is what every room needs of the machine it runs on: clocks (this file) with a hand-set one for tests, whether
// they are to be trusted (time.go), and files that are wholly there or not there at all (file.go).
package kit

import (
	"slices"
	"sync"
	"time"
)

// Clock tells time and wakes waiters. The real one is System; tests use Manual, which moves only when told.
type Clock interface {
	Now() time.Time                         // wall time, with a monotonic part
	After(d time.Duration) <-chan time.Time // one tick, d from now
}

// System is the machine's own clock.
type System struct{}

func (System) Now() time.Time                         { return time.Now() }
func (System) After(d time.Duration) <-chan time.Time { return time.After(d) }

// Manual is a clock that moves only by Advance. Its zero value starts at the zero time; NewManual is kinder.
type Manual struct {
	mu    sync.Mutex
	cond  *sync.Cond
	now   time.Time
	waits []waiter
}

type waiter struct {
	at  time.Time
	ask time.Duration
	c   chan time.Time
}

// NewManual starts a manual clock at the given time.
func NewManual(start time.Time) *Manual {
	m := &Manual{now: start}
	m.cond = sync.NewCond(&m.mu)
	return m
}

func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

func (m *Manual) After(d time.Duration) <-chan time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := make(chan time.Time, 1)
	if d <= 0 {
		c <- m.now
		return c
	}
	m.waits = append(m.waits, waiter{m.now.Add(d), d, c})
	m.cond.Broadcast()
	return c
}

// Advance moves time on and wakes everyone whose time has come.
func (m *Manual) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(d)
	keep := m.waits[:0]
	for _, w := range m.waits {
		if w.at.After(m.now) {
			keep = append(keep, w)
		} else {
			w.c <- m.now
		}
	}
	m.waits = keep
}

// AwaitWaiters blocks until at least n callers wait for the clock: the moment at which Advance does something.
func (m *Manual) AwaitWaiters(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.waits) < n {
		m.cond.Wait()
	}
}

// AwaitFor blocks until somebody waits who asked for d: a certain waiter among others that come and go.
func (m *Manual) AwaitFor(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for !slices.ContainsFunc(m.waits, func(w waiter) bool { return w.ask == d }) {
		m.cond.Wait()
	}
}

// Stamp says when something was observed, as well as this machine can know it. Wall time alone is not enough: a cart
// has been seen in 1970; monotonic time with the boot's id orders events even then.
type Stamp struct {
	Wall    time.Time `json:"wall"`
	Mono    int64     `json:"mono_ns"` // since Boot began
	Boot    string    `json:"boot"`    // the kernel's boot id
	Trusted bool      `json:"trusted"` // was the wall clock synchronised?
}

// Stamper makes stamps. Trusted reports whether wall time is to be believed; nil means it is not.
type Stamper struct {
	clock   Clock
	boot    string
	start   time.Time
	trusted func() bool
	keeper  *Timekeeper // in place of the others
}

// NewStamper reads the kernel's boot id.
func NewStamper(c Clock, trusted func() bool) *Stamper {
	return &Stamper{clock: c, boot: bootID(), start: bootTime(c), trusted: trusted}
}

// NewStamperFor stamps with times that can be, as the Timekeeper knows them.
func NewStamperFor(k *Timekeeper) *Stamper { return &Stamper{keeper: k} }

// Now is this moment.
func (s *Stamper) Now() Stamp {
	if s.keeper != nil {
		return s.keeper.Now()
	}
	t := s.clock.Now()
	return Stamp{Wall: t.UTC().Round(0), Mono: int64(t.Sub(s.start)), Boot: s.boot, Trusted: s.trusted != nil && s.trusted()}
}
