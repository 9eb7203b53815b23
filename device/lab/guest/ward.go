package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"telecart/device"
	"telecart/device/kit"
	"telecart/device/supervisor"
)

// bed is an instrument of a ward, and the only numbers that it may ever show of a quantity.
type bed struct {
	device.Settings
	quantity string
	from, to float64
}

// ward is instruments that a supervisor runs, as the agent does. Every number that one of them shows is looked at.
type ward struct {
	*supervisor.Supervisor
	clock kit.Clock
	stop  func() error

	mu    sync.Mutex
	beds  map[string]bed
	shown map[string]int // numbers, by instrument
	wrong []string
}

// admit starts a ward.
func (b *bench) admit(ctx context.Context, drivers []device.Driver, beds ...bed) (*ward, error) {
	w := &ward{clock: b.clock, beds: map[string]bed{}, shown: map[string]int{}}
	w.Supervisor = supervisor.New(supervisor.Options{Drivers: drivers, Clock: b.clock,
		Stamp: kit.NewStamper(b.clock, kit.ClockSynchronised), Rand: func() float64 { return 0 }})
	for _, x := range beds {
		w.beds[x.Name] = x
		if err := w.Add(x.Settings); err != nil {
			return nil, err
		}
	}
	events := w.Subscribe(4096)
	run, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	var ended error
	done.Go(func() { ended = w.Run(run) })
	done.Go(func() {
		for e := range events.C {
			if e.Reading != nil {
				w.look(*e.Reading)
			}
		}
	})
	w.stop = func() error {
		cancel()
		done.Wait()
		if n := events.Dropped(); n > 0 {
			ended = errors.Join(ended, fmt.Errorf("%d events were not looked at", n))
		}
		return errors.Join(ended, w.verdict())
	}
	return w, nil
}

// look judges a reading.
func (w *ward) look(r device.Reading) {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.beds[r.Instrument.Name]
	if r.Absent != "" || r.Quantity != x.quantity {
		return
	}
	w.shown[x.Name]++
	if v := r.Value.Float(); v < x.from || v > x.to {
		w.wrong = append(w.wrong, fmt.Sprintf("%s showed %s %s, and is %g to %g", x.Name, r.Value, r.Unit, x.from, x.to))
	}
}

// numbers counts what an instrument has shown so far.
func (w *ward) numbers(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.shown[name]
}

func (w *ward) verdict() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.wrong) > 0 {
		return fmt.Errorf("%d false numbers: %s", len(w.wrong), strings.Join(w.wrong[:min(3, len(w.wrong))], "; "))
	}
	return nil
}

// status is an instrument's.
func (w *ward) status(name string) supervisor.Status {
	for _, s := range w.Snapshot() {
		if s.Name == name {
			return s
		}
	}
	return supervisor.Status{}
}

// names are those of all beds.
func (w *ward) names() []string { return slices.Sorted(maps.Keys(w.beds)) }

// until waits for a state of instruments: nil, and no number was ever wrong.
func (w *ward) until(ctx context.Context, is func(supervisor.Status) error, names ...string) error {
	for {
		var not error
		for _, name := range names {
			if err := is(w.status(name)); err != nil {
				not = errors.Join(not, fmt.Errorf("%s: %w", name, err))
			}
		}
		if err := w.verdict(); err != nil || not == nil {
			return err
		}
		select {
		case <-w.clock.After(50 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), not)
		}
	}
}

// shows wants an instrument live, with its number to be seen.
func (w *ward) shows(s supervisor.Status) error {
	x := w.beds[s.Name]
	for _, r := range s.Readings {
		if r.Quantity == x.quantity && r.Absent == "" && !r.Stale && s.Health.State == device.Live {
			return nil
		}
	}
	return fmt.Errorf("%s %s, no %s: %s", s.Health.State, s.Health.Reason, x.quantity, s.LastError)
}

// says wants a state and a reason, and no number.
func says(state device.State, why device.Reason) func(supervisor.Status) error {
	return func(s supervisor.Status) error {
		if s.Health.State != state || s.Health.Reason != why {
			return fmt.Errorf("is %s %s, not %s %s: %s", s.Health.State, s.Health.Reason, state, why, s.LastError)
		}
		for _, r := range s.Readings {
			if r.Absent == "" && !r.Stale {
				return fmt.Errorf("still shows %s %s", r.Quantity, r.Value)
			}
		}
		return nil
	}
}

// since counts the restarts of instruments, to see that there are none: what it returns says which were restarted.
func (w *ward) since(names ...string) func() error {
	before := map[string]int{}
	for _, n := range names {
		before[n] = w.status(n).Restarts
	}
	return func() (err error) {
		for _, n := range names {
			if s := w.status(n); s.Restarts > before[n] {
				err = errors.Join(err, fmt.Errorf("%s was restarted: %s", n, s.LastError))
			}
		}
		return err
	}
}
