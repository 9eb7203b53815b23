// Package supervisor runs the instruments: it starts them, restarts them, judges them, and hands on what they observe.
//
// Parties: drivers, each instrument in a goroutine of its own; callers, who add instruments, take snapshots, subscribe,
// and hold cameras; one Run.
//
// Invariants:
//   - A number that is no longer current is withdrawn: when an instrument goes down, says that it is absent or faulty,
//     or falls silent for Reading.StaleAfter, its readings turn absent ("no-data") in the snapshot and for subscribers.
//     What was measured once stands until it is too old, or until Forget: the end of the encounter.
//   - What an instrument says after its Run ended, or after it was given up, is not heard.
//   - An instrument that panics in a call we made, that blocks, or that floods, takes down nothing but itself. (A panic in
//     a goroutine that a driver started is beyond anybody's reach, and so is the goroutine of one that will not stop:
//     it is left behind, and not started again before it has returned.)
//   - Name, kind, driver, port and the twin mark of every value come from the settings, not from the driver.
//   - Who holds a camera or a steerable holds it across restarts, and gets device.ErrGone in between.
//   - Nothing observed is ever logged.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"telecart/device"
	"telecart/device/bus"
	"telecart/device/kit"
)

const (
	maxInstruments = 64
	watchEvery     = 500 * time.Millisecond
	stopLimit      = 5 * time.Second // for an instrument to return after its context ended
)

// Health reasons that the supervisor gives; the others are the drivers' own.
const (
	Starting     device.Reason = "starting"     // not yet run
	Disconnected device.Reason = "disconnected" // its port failed; it will be tried again
	CannotStart  device.Reason = "cannot-start" // the driver refuses to make it again
	Crashed      device.Reason = "crashed"
	Flooding     device.Reason = "flooding"
	Stuck        device.Reason = "stuck"   // told to stop, and doesn't
	Stopped      device.Reason = "stopped" // the supervisor has ended
)

// Errors.
var (
	ErrPanic   = errors.New("supervisor: the driver panicked")
	ErrFlood   = errors.New("supervisor: the driver sent more than any instrument can")
	ErrStuck   = errors.New("supervisor: the driver does not stop")
	ErrEnded   = errors.New("supervisor: the driver returned without a reason")
	ErrRunning = errors.New("supervisor: Run was called before")
)

// Options are what a supervisor needs. Drivers is required; the others have sensible defaults.
type Options struct {
	Drivers []device.Driver
	Clock   kit.Clock      // kit.System
	Stamp   *kit.Stamper   // one that trusts nothing
	Log     *slog.Logger   // discards
	Rand    func() float64 // 0 <= x < 1, for jitter; called from many goroutines
	Buses   *bus.Buses     // the machine's
}

// Status is one instrument's condition.
type Status struct {
	Name      string            `json:"name"`
	Kind      device.Kind       `json:"kind"`
	Identity  device.Identity   `json:"identity"`
	Health    device.Health     `json:"health"`
	Since     time.Time         `json:"since"` // of Health
	Readings  []ReadingState    `json:"readings"`
	Modes     []string          `json:"modes,omitempty"` // of a Triggerable
	Counters  map[string]uint64 `json:"counters,omitempty"`
	Restarts  int               `json:"restarts"`
	LastError string            `json:"last_error,omitempty"`
}

// ReadingState is the latest reading of a quantity. A stale one has lost its value; At still says when it was observed.
type ReadingState struct {
	device.Reading
	Stale bool `json:"stale"`
}

// Supervisor runs instruments. Its methods may be called from any goroutine.
type Supervisor struct {
	drivers map[string]device.Driver
	clock   kit.Clock
	stamp   *kit.Stamper
	log     *slog.Logger
	rand    func() float64
	buses   *bus.Buses
	hub     hub

	mu    sync.Mutex
	units []*unit
	ctx   context.Context // of Run; nil before
	ended bool
	wg    sync.WaitGroup
}

// New makes a supervisor of nothing yet.
func New(o Options) *Supervisor {
	s := &Supervisor{drivers: map[string]device.Driver{}, clock: o.Clock, stamp: o.Stamp, log: o.Log, rand: o.Rand, buses: o.Buses}
	for _, d := range o.Drivers {
		s.drivers[d.Name] = d
	}
	if s.clock == nil {
		s.clock = kit.System{}
	}
	if s.stamp == nil {
		s.stamp = kit.NewStamper(s.clock, nil)
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.buses == nil {
		s.buses = bus.New()
	}
	if s.rand == nil {
		s.rand = rand.Float64
	}
	return s
}

// Add makes an instrument, and starts it if Run is running. It refuses settings that the driver refuses.
func (s *Supervisor) Add(set device.Settings) error {
	d, known := s.drivers[set.Driver]
	switch {
	case set.Name == "":
		return errors.New("supervisor: an instrument has no name: give each its own")
	case !known:
		names := make([]string, 0, len(s.drivers))
		for name := range s.drivers {
			names = append(names, name)
		}
		slices.Sort(names)
		return fmt.Errorf("supervisor: %s: unknown driver %q: there are %s", set.Name, set.Driver, strings.Join(names, ", "))
	}
	if set.Clock == nil {
		set.Clock = s.clock
	}
	if set.Stamp == nil {
		set.Stamp = s.stamp
	}
	if set.Buses == nil {
		set.Buses = s.buses
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
		return fmt.Errorf("supervisor: %s: too late: the supervisor has stopped", set.Name)
	case len(s.units) == maxInstruments:
		return fmt.Errorf("supervisor: %s: one cart has at most %d instruments", set.Name, maxInstruments)
	case slices.ContainsFunc(s.units, func(u *unit) bool { return u.settings.Name == set.Name }):
		return fmt.Errorf("supervisor: two instruments are called %s: give each its own name", set.Name)
	}
	u, err := newUnit(s, d, set)
	if err != nil {
		return fmt.Errorf("supervisor: %s: %w", set.Name, err)
	}
	s.units = append(s.units, u)
	if s.ctx != nil {
		s.launch(u)
	}
	return nil
}

// launch is called under the lock.
func (s *Supervisor) launch(u *unit) {
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		u.run(s.ctx)
	}()
}

// Run runs every instrument until ctx ends, and then gives them 5 s to stop. It returns nil, or the names of those that
// did not; it can be called once. Subscriptions end with it.
func (s *Supervisor) Run(ctx context.Context) error {
	s.mu.Lock()
	if s.ctx != nil {
		s.mu.Unlock()
		return ErrRunning
	}
	s.ctx = ctx
	for _, u := range s.units {
		s.launch(u)
	}
	s.mu.Unlock()

	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-s.clock.After(watchEvery):
			for _, u := range s.all() {
				u.watch()
			}
		}
	}
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.wg.Wait()
	s.hub.close()

	var errs []error
	for _, u := range s.all() {
		if u.isStuck() {
			errs = append(errs, fmt.Errorf("%w: %s", ErrStuck, u.settings.Name))
		}
	}
	return errors.Join(errs...)
}

func (s *Supervisor) all() []*unit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.units)
}

// Snapshot is how everything is now, in the order of Add.
func (s *Supervisor) Snapshot() []Status {
	out := []Status{}
	for _, u := range s.all() {
		out = append(out, u.status())
	}
	return out
}

// Subscribe starts a subscription that holds at most buffer events (at least 1).
func (s *Supervisor) Subscribe(buffer int) *Subscription { return s.hub.subscribe(buffer) }

// Wake tries at once what waits to be tried again: something was plugged in.
func (s *Supervisor) Wake() {
	for _, u := range s.all() {
		select {
		case u.wake <- struct{}{}:
		default:
		}
	}
}

// Forget withdraws what was measured once: it was another patient's.
func (s *Supervisor) Forget() {
	for _, u := range s.all() {
		u.forget()
	}
}

// Camera finds a camera by its instrument's name. It may be held for as long as the supervisor runs, as may all that
// the following methods find.
func (s *Supervisor) Camera(name string) (device.Camera, bool) {
	u, ok := able[device.Camera](s, name)
	return camera{u}, ok
}

// Coded finds a camera that may have an encoder of its own.
func (s *Supervisor) Coded(name string) (device.Coded, bool) {
	u, ok := able[device.Coded](s, name)
	return coded{u}, ok
}

// Shooter finds a camera that can take a still at its sensor's resolution.
func (s *Supervisor) Shooter(name string) (device.Shooter, bool) {
	u, ok := able[device.Shooter](s, name)
	return shooter{u}, ok
}

// Microphone finds a stethoscope, or the room's microphone.
func (s *Supervisor) Microphone(name string) (device.Microphone, bool) {
	u, ok := able[device.Microphone](s, name)
	return microphone{u}, ok
}

// Loudspeaker finds what plays.
func (s *Supervisor) Loudspeaker(name string) (device.Loudspeaker, bool) {
	u, ok := able[device.Loudspeaker](s, name)
	return loudspeaker{u}, ok
}

// Steerable finds what can be steered.
func (s *Supervisor) Steerable(name string) (device.Steerable, bool) {
	u, ok := able[device.Steerable](s, name)
	return steerable{u}, ok
}

// Triggerable finds what measures when it is told to.
func (s *Supervisor) Triggerable(name string) (device.Triggerable, bool) {
	u, ok := able[device.Triggerable](s, name)
	return triggerable{u}, ok
}

// able finds an instrument whose driver makes things of that ability.
func able[T any](s *Supervisor, name string) (*unit, bool) {
	u := s.find(name)
	if u == nil {
		return nil, false
	}
	_, ok := u.first.inst.(T)
	return u, ok
}

func (s *Supervisor) find(name string) *unit {
	for _, u := range s.all() {
		if u.settings.Name == name {
			return u
		}
	}
	return nil
}
