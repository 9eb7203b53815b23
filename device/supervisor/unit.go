package supervisor

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"telecart/device"
)

const (
	firstDelay = 500 * time.Millisecond
	maxDelay   = 10 * time.Second // what is plugged in again is noticed within this
)

// unit is one instrument through all its lives. run is its only goroutine; everything else comes from outside.
type unit struct {
	s        *Supervisor
	driver   device.Driver
	settings device.Settings
	first    *generation // made by Add; what it is able to do, its successors are
	wake     chan struct{}

	mu       sync.Mutex
	gen      *generation // now running; nil while down
	id       device.Identity
	health   device.Health // as shown
	said     device.Health // by the driver
	silent   bool          // live, it says, but its readings have stopped
	since    time.Time
	latest   map[string]*held // by quantity
	restarts int
	lastErr  string
	logged   string // the last error written to the log since it was live
	stuck    bool
}

// generation is one life: one instrument that the driver made, and its outlet.
type generation struct {
	u      *unit
	inst   device.Instrument
	ctx    context.Context // while it runs
	cancel context.CancelCauseFunc
	limit  *rate.Limiter
}

func newUnit(s *Supervisor, d device.Driver, set device.Settings) (*unit, error) {
	u := &unit{s: s, driver: d, settings: set, latest: map[string]*held{}, wake: make(chan struct{}, 1), since: s.clock.Now(),
		health: device.Health{State: device.Absent, Reason: Starting}}
	u.id = u.identity(device.Identity{})
	g, err := u.make()
	if err != nil {
		return nil, err
	}
	u.first = g
	return u, nil
}

// make has the driver make a fresh instrument.
func (u *unit) make() (g *generation, err error) {
	g = &generation{u: u, limit: rate.NewLimiter(maxRate, maxBurst)}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v", ErrPanic, v)
		}
	}()
	if g.inst, err = u.driver.New(u.settings, g); err == nil && g.inst == nil {
		err = errors.New("the driver made nothing")
	}
	return g, err
}

// run lives until ctx ends.
func (u *unit) run(ctx context.Context) {
	g, delay := u.first, firstDelay
	for {
		began := u.s.clock.Now()
		var err error
		if g == nil {
			g, err = u.make()
		}
		if err != nil {
			u.down(device.Health{State: device.Faulty, Reason: CannotStart}, err)
		} else {
			u.live(ctx, g)
		}
		g = nil
		if ctx.Err() != nil {
			u.down(device.Health{State: device.Absent, Reason: Stopped}, nil)
			return
		}
		if u.s.clock.Now().Sub(began) >= maxDelay {
			delay = firstDelay // it did work
		}
		// Between half the delay and all of it, so that instruments behind one failed hub don't come back in step.
		wait := delay/2 + time.Duration(u.s.rand()*float64(delay/2))
		delay = min(2*delay, maxDelay)
		select {
		case <-ctx.Done():
			continue
		case <-u.wake:
			delay = firstDelay
		case <-u.s.clock.After(wait):
		}
		u.mu.Lock()
		u.restarts++
		u.mu.Unlock()
	}
}

// live runs one generation to its end, or past all patience.
func (u *unit) live(ctx context.Context, g *generation) {
	g.ctx, g.cancel = context.WithCancelCause(ctx)
	defer g.cancel(nil)
	u.up(g)

	done := make(chan error, 1)
	go func() {
		err := ErrEnded // stays if the driver ends its goroutine by runtime.Goexit
		defer func() {
			if v := recover(); v != nil {
				err = fmt.Errorf("%w: %v", ErrPanic, v)
				u.s.log.Error("instrument panicked", "instrument", u.settings.Name, "driver", u.driver.Name, "stack", string(debug.Stack()))
			}
			done <- err
		}()
		if err = g.inst.Run(g.ctx); err == nil {
			err = ErrEnded
		}
	}()

	var err error
	select {
	case err = <-done:
	case <-g.ctx.Done():
		select {
		case err = <-done:
		case <-u.s.clock.After(stopLimit):
			u.setStuck(true)
			u.down(device.Health{State: device.Faulty, Reason: Stuck}, ErrStuck)
			if ctx.Err() != nil {
				return
			}
			select {
			case err = <-done: // not before: it may still have the port
				u.setStuck(false)
			case <-ctx.Done():
				return
			}
		}
	}
	if ctx.Err() != nil {
		return
	}
	if cause := context.Cause(g.ctx); cause != nil {
		err = cause
	}
	u.down(verdict(err), err)
}

// verdict is what an end means for the nurse.
func verdict(err error) device.Health {
	switch {
	case errors.Is(err, ErrPanic):
		return device.Health{State: device.Faulty, Reason: Crashed}
	case errors.Is(err, ErrFlood):
		return device.Health{State: device.Faulty, Reason: Flooding}
	}
	var f device.Fault
	if errors.As(err, &f) {
		return f.Health
	}
	return device.Health{State: device.Absent, Reason: Disconnected}
}

func (u *unit) up(g *generation) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.gen, u.silent = g, false
	u.id.Model, u.id.Serial, u.id.Grade = "", "", u.driver.Grade // another one may be plugged in now
}

// down ends what the instrument may say, and withdraws what it said.
func (u *unit) down(h device.Health, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.downLocked(h, err)
}

func (u *unit) downLocked(h device.Health, err error) {
	u.gen, u.said, u.silent = nil, h, false
	u.show()
	if err == nil {
		return
	}
	u.lastErr = err.Error()
	if text := u.lastErr; text != u.logged { // an unplugged cable is news once, not every 10 s
		u.logged = text
		u.s.log.Warn("instrument is down", "instrument", u.settings.Name, "driver", u.driver.Name, "reason", h.Reason, "err", text)
	}
}

func (u *unit) setStuck(s bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.stuck = s
}

func (u *unit) isStuck() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.stuck
}

// current is the running generation, or nil.
func (u *unit) current() *generation {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.gen
}

// fail ends a generation from outside its Run.
func (g *generation) fail(err error) {
	g.u.mu.Lock()
	defer g.u.mu.Unlock()
	g.failLocked(err)
}

func (g *generation) failLocked(err error) {
	if g.u.gen == g {
		g.u.downLocked(verdict(err), err)
	}
	g.cancel(err)
}
