package steer

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"telecart/device"
	"telecart/device/kit"
)

// stepTime bounds one call of the instrument: a motor controller that does not answer must not hold up a halt.
const stepTime = 500 * time.Millisecond

// Options of a shell.
type Options struct {
	Instrument string
	Device     device.Steerable
	// Do runs an act (except Step, which the shell does itself) and returns the hash of the item that it made, if any.
	// Its error's text is not sent, only the code Failed.
	Do func(context.Context, Act) (string, error)
	// Send passes on a Lease, a Refused or an ActResult. It must not block.
	Send  func(Action)
	Clock kit.Clock // nil: the machine's own
	Log   *slog.Logger
}

// Shell runs one instrument's Machine: events in by Deliver, motion and messages out.
type Shell struct {
	o    Options
	wake chan struct{} // the machine's next wake may have changed
	work chan struct{} // there is something for the motion goroutine
	acts chan Run

	mu      sync.Mutex
	m       *Machine
	halt    bool
	pending map[string]target  // by axis: the latest wins
	steps   []Run              // of kind "step"; bounded by the machine
	cancel  context.CancelFunc // of the call to the instrument that is under way
	dropped map[string]uint64
}

type target struct {
	value int
	at    Tick
}

// NewShell makes the shell; Run starts it.
func NewShell(o Options) (*Shell, error) {
	if o.Instrument == "" || o.Device == nil || o.Do == nil || o.Send == nil {
		return nil, errors.New("steer: Instrument, Device, Do and Send are all needed")
	}
	if o.Clock == nil {
		o.Clock = kit.System{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, fmt.Errorf("steer: %w", err)
	}
	epoch := binary.BigEndian.Uint64(b[:]) >> 12 // room to count up below 2^53, all that JavaScript can hold
	return &Shell{
		o: o, wake: make(chan struct{}, 1), work: make(chan struct{}, 1), acts: make(chan Run, maxAct),
		m: New(o.Instrument, epoch, o.Clock.Now()), pending: map[string]target{}, dropped: map[string]uint64{},
	}, nil
}

// Lease is the present state.
func (s *Shell) Lease() Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m.Lease(s.o.Clock.Now())
}

// Dropped counts messages that came to nothing, by code.
func (s *Shell) Dropped() map[string]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]uint64, len(s.dropped))
	for k, v := range s.dropped {
		out[k] = v
	}
	return out
}

// Deliver takes an event. It never waits for the instrument.
func (s *Shell) Deliver(ev Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.m.Step(s.o.Clock.Now(), ev) {
		s.take(a)
	}
	poke(s.wake)
}

// take does one action; the lock keeps their order.
func (s *Shell) take(a Action) {
	switch a := a.(type) {
	case Apply:
		for axis, v := range a.Set {
			s.pending[axis] = target{v, a.At}
		}
		poke(s.work)
	case Run:
		if a.Act.Kind == Step {
			s.steps = append(s.steps, a)
			poke(s.work)
			return
		}
		s.acts <- a // the machine has no more under way than fit
	case Halt:
		s.halt = true
		clear(s.pending)
		if s.cancel != nil {
			s.cancel()
		}
		poke(s.work)
	case Dropped:
		s.dropped[a.Code]++
	default:
		s.o.Send(a)
	}
}

func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run works until ctx ends, then halts the instrument.
func (s *Shell) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { s.move(ctx) })
	wg.Go(func() { s.act(ctx) })
	for {
		s.mu.Lock()
		at, ok := s.m.NextWake()
		now := s.m.Tick(s.o.Clock.Now())
		s.mu.Unlock()
		var timer <-chan time.Time
		if ok {
			timer = s.o.Clock.After(time.Duration(at-now) * time.Millisecond)
		}
		select {
		case <-ctx.Done():
			wg.Wait()
			return s.call(context.WithoutCancel(ctx), s.o.Device.Halt)
		case <-s.wake:
		case <-timer:
			s.Deliver(Wake{})
		}
	}
}

// move is the one goroutine that touches the instrument's motion: a halt first, then steps, then the latest setpoint.
func (s *Shell) move(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.work:
		}
		for ctx.Err() == nil && s.once(ctx) {
		}
	}
}

// once does the most urgent thing; false when there is nothing.
func (s *Shell) once(ctx context.Context) bool {
	s.mu.Lock()
	now := s.m.Tick(s.o.Clock.Now())
	switch {
	case s.halt:
		s.halt = false
		gone := s.steps
		s.steps = nil
		s.mu.Unlock()
		if err := s.call(ctx, s.o.Device.Halt); err != nil {
			s.o.Log.Error("steer: halt failed", "instrument", s.o.Instrument, "err", err)
		}
		for _, a := range gone {
			s.Deliver(Done{ID: a.Act.ID, Error: NoLease})
		}
		return true
	case len(s.steps) > 0:
		a := s.steps[0]
		s.steps = s.steps[1:]
		if now >= a.Expires {
			s.mu.Unlock()
			s.Deliver(Done{ID: a.Act.ID, Error: Late})
			return true
		}
		err := s.steer(ctx, a.Act.Set)
		s.Deliver(outcome(a.Act.ID, "", err))
		return true
	}
	set := map[string]int{}
	for axis, t := range s.pending {
		if now-t.at <= Fresh.Milliseconds() { // it may have waited for a slow motor
			set[axis] = t.value
		} else {
			s.dropped[Late]++
		}
	}
	clear(s.pending)
	if len(set) == 0 {
		s.mu.Unlock()
		return false
	}
	_ = s.steer(ctx, set) // logged; the next setpoint tries again
	return true
}

// steer calls the instrument; the lock, held on entry, is given up. A Halt meanwhile cancels the call.
func (s *Shell) steer(ctx context.Context, set map[string]int) error {
	ctx, cancel := context.WithCancel(ctx)
	s.cancel = cancel
	s.mu.Unlock()
	err := s.call(ctx, func(ctx context.Context) error { return s.o.Device.Steer(ctx, set) })
	s.mu.Lock()
	s.cancel = nil
	s.mu.Unlock()
	cancel()
	if err != nil && ctx.Err() == nil {
		s.o.Log.Warn("steer: not steered", "instrument", s.o.Instrument, "err", err)
	}
	return err
}

func (s *Shell) call(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	if err := f(ctx); err != nil {
		return fmt.Errorf("steer: %s: %w", s.o.Instrument, err)
	}
	return nil
}

// act runs acts one after the other; a still that takes a second does not hold up motion.
func (s *Shell) act(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-s.acts:
			s.mu.Lock()
			ok, now := s.m.holds(a.Act.Who, a.Act.Epoch), s.m.Tick(s.o.Clock.Now())
			s.mu.Unlock()
			switch {
			case now >= a.Expires:
				s.Deliver(Done{ID: a.Act.ID, Error: Late})
			case !ok: // the lease ended while it waited
				s.Deliver(Done{ID: a.Act.ID, Error: NoLease})
			default:
				item, err := s.o.Do(ctx, a.Act)
				if err != nil {
					s.o.Log.Warn("steer: act failed", "kind", a.Act.Kind, "err", err)
				}
				s.Deliver(outcome(a.Act.ID, item, err))
			}
		}
	}
}

func outcome(id, item string, err error) Done {
	if err != nil {
		return Done{ID: id, Error: Failed}
	}
	return Done{ID: id, OK: true, Item: item}
}
