// Package conformance is the suite that every instrument must pass, the twin included: what the supervisor and the
// screens rely on.
//
// Parties: a driver's test makes a Case; Run puts the instrument through it.
//
// Invariants it holds instruments to: Run returns soon after its context ends, and with an error after the instrument
// was unplugged; nothing is observed after Run returned, and no goroutine stays; health is settling before it is live;
// every value says what, in which unit, from whom and when; an absent value carries no number; site and side are never
// guessed.
package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telecart/device"
	"telecart/device/kit"
)

// Limits in real time. They are generous: they fail a test, they don't pace one.
const (
	promptly = 2 * time.Second
	patience = 20 * time.Second
	maxSteps = 100_000
)

// Case is one instrument under test.
type Case struct {
	Name       string
	Quantities []string   // that must come with a value, as readings or samples, once it is live; none for a camera
	Act        device.Act // that must come as an input; "" is none
	// Start makes a fresh instrument that reports to the outlet.
	Start func(device.Outlet) (Rig, error)
}

// Rig is an instrument and the hands on it.
type Rig struct {
	Instrument device.Instrument
	// Clock that the instrument runs by, moved on by Step whenever the instrument waits; nil if it runs by the real one.
	Clock *kit.Manual
	Step  time.Duration
	// Unplug takes the instrument away; nil where there is nothing to take away, and that rule is left out.
	Unplug func()
	// Close frees what the rig holds; may be nil.
	Close func()
	// Trigger is what a person does once the instrument is live, where values don't come by themselves: starts a cuff, reads
	// a barcode, steps on a pedal. It may be nil.
	Trigger func(context.Context) error
}

// Run puts the instrument through the whole suite.
func Run(t *testing.T, c Case) {
	t.Helper()
	for _, rule := range c.rules() {
		t.Run(c.Name+"/"+rule.name, func(t *testing.T) {
			if err := c.check(rule); err != nil {
				t.Error(err)
			}
		})
	}
}

type rule struct {
	name string
	test func(*trial) error
}

func (c Case) rules() []rule {
	rules := []rule{
		{"settles then goes live", c.goesLive},
		{"stops when told", c.stops},
		{"does not start when told not to", c.neverStarts},
	}
	if rig, err := c.Start(&recorder{}); err == nil {
		if rig.Unplug != nil {
			rules = append(rules, rule{"unplug ends it", c.unplug})
		}
		if rig.Close != nil {
			rig.Close()
		}
	}
	return rules
}

// check runs one rule on a fresh instrument, and then what holds always.
func (c Case) check(r rule) error {
	before := goleak.IgnoreCurrent()
	rec := &recorder{news: make(chan struct{}, 1)}
	rig, err := c.Start(rec)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	tr := &trial{rig: rig, rec: rec, ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	tr.ctx, tr.cancel = ctx, cancel
	err = r.test(tr)
	cancel()
	if rig.Close != nil {
		rig.Close()
	}
	err = errors.Join(err, goleak.Find(before), c.wellFormed(rec))
	if n := rec.count(); tr.hasEnded() && n > tr.seen {
		return errors.Join(err, fmt.Errorf("%d observations after Run returned", n-tr.seen))
	}
	return err
}

func (c Case) goesLive(tr *trial) error {
	tr.run()
	if tr.rig.Trigger != nil {
		if err := tr.until("live", (*recorder).live); err != nil {
			return err
		}
		if err := tr.rig.Trigger(tr.ctx); err != nil {
			return fmt.Errorf("trigger: %w", err)
		}
	}
	err := tr.until(fmt.Sprintf("live with a value for each of %v, and act %q", c.Quantities, c.Act), func(r *recorder) bool {
		return r.live() && !slices.ContainsFunc(c.Quantities, func(q string) bool { return !r.values[q] }) &&
			(c.Act == "" || slices.ContainsFunc(r.inputs, func(i device.Input) bool { return i.Act == c.Act }))
	})
	if err != nil {
		return err
	}
	tr.rec.mu.Lock()
	states := slices.Clone(tr.rec.states)
	tr.rec.mu.Unlock()
	if i := slices.Index(states, device.Settling); i < 0 || i > slices.Index(states, device.Live) {
		return fmt.Errorf("health went %v: settling must come before live", states)
	}
	return tr.stop()
}

func (c Case) stops(tr *trial) error {
	tr.run()
	if err := tr.until("any health", func(r *recorder) bool { return len(r.states) > 0 }); err != nil {
		return err
	}
	return tr.stop()
}

func (c Case) neverStarts(tr *trial) error {
	tr.cancel()
	tr.run()
	if err := tr.stop(); err != nil {
		return err
	}
	if len(tr.rec.values) > 0 {
		return errors.New("it observed something though its context had ended before it began")
	}
	return nil
}

func (c Case) unplug(tr *trial) error {
	tr.run()
	if err := tr.until("live", (*recorder).live); err != nil {
		return err
	}
	tr.rig.Unplug()
	tr.unplugged = true
	if err := tr.until("the end of Run after unplug", func(*recorder) bool { return tr.hasEnded() }); err != nil {
		return err
	}
	if tr.err == nil || errors.Is(tr.err, context.Canceled) {
		return fmt.Errorf("Run returned %v after unplug: it must say what happened", tr.err)
	}
	return nil
}

// wellFormed checks everything that was observed.
func (c Case) wellFormed(rec *recorder) error {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	for _, r := range rec.readings {
		switch {
		case !slices.Contains(c.Quantities, r.Quantity):
			return fmt.Errorf("reading of %q, which the case doesn't list", r.Quantity)
		case r.Unit == "":
			return fmt.Errorf("reading of %s without a unit", r.Quantity)
		case r.Absent != "" && r.Value != device.Decimal{}:
			return fmt.Errorf("reading of %s is absent (%s) and carries a number", r.Quantity, r.Absent)
		case r.Site != "" || r.Side != "":
			return fmt.Errorf("reading of %s guesses site %q, side %q", r.Quantity, r.Site, r.Side)
		}
		if err := origin(r.Instrument, r.At); err != nil {
			return fmt.Errorf("reading of %s: %w", r.Quantity, err)
		}
	}
	for _, s := range rec.samples {
		if !slices.Contains(c.Quantities, s.Quantity) || s.Unit == "" || s.RateHz <= 0 || len(s.Values) == 0 {
			return fmt.Errorf("samples of %q: unlisted, or without unit, rate or values", s.Quantity)
		}
		if err := origin(s.Instrument, s.At); err != nil {
			return fmt.Errorf("samples of %s: %w", s.Quantity, err)
		}
	}
	for _, i := range rec.inputs {
		if i.Act == "" {
			return fmt.Errorf("input %+v says not what was done", i)
		}
		if err := origin(i.Instrument, i.At); err != nil {
			return fmt.Errorf("input %s: %w", i.Act, err)
		}
	}
	return nil
}

func origin(id device.Identity, at kit.Stamp) error {
	if id.Name == "" || id.Kind == "" || id.Driver == "" || id.Port == "" {
		return fmt.Errorf("identity %+v is not complete", id)
	}
	if at.Wall.IsZero() {
		return errors.New("no time")
	}
	return nil
}

// trial is one run of one instrument.
type trial struct {
	rig       Rig
	rec       *recorder
	ctx       context.Context
	cancel    context.CancelFunc
	ended     chan struct{}
	err       error // of Run, once ended is closed
	seen      int   // observations until then
	unplugged bool
}

func (tr *trial) run() {
	go func() {
		tr.err = tr.rig.Instrument.Run(tr.ctx)
		tr.seen = tr.rec.count()
		close(tr.ended)
		if tr.rig.Clock != nil {
			tr.rig.Clock.After(1 << 62) // until() waits for a waiter: let it see that there will be none
		}
	}()
}

func (tr *trial) hasEnded() bool {
	select {
	case <-tr.ended:
		return true
	default:
		return false
	}
}

// until waits for a state of affairs, moving the clock if it is ours to move.
func (tr *trial) until(what string, ok func(*recorder) bool) error {
	timeout := time.After(patience)
	for range maxSteps {
		ended := tr.hasEnded()
		if tr.rec.is(ok) {
			return nil
		}
		if ended && !tr.unplugged {
			return fmt.Errorf("waiting for %s: Run returned: %w", what, tr.err)
		}
		if tr.rig.Clock != nil {
			tr.rig.Clock.AwaitWaiters(1)
			tr.rig.Clock.Advance(tr.rig.Step)
			continue
		}
		select {
		case <-tr.rec.news:
		case <-tr.ended:
		case <-timeout:
			return fmt.Errorf("no %s within %s", what, patience)
		}
	}
	return fmt.Errorf("no %s after %d steps of the clock", what, maxSteps)
}

// stop ends the context and expects a clean, prompt return.
func (tr *trial) stop() error {
	tr.cancel()
	select {
	case <-tr.ended:
	case <-time.After(promptly):
		return fmt.Errorf("Run had not returned %s after its context ended", promptly)
	}
	if tr.err != nil && !errors.Is(tr.err, context.Canceled) {
		return fmt.Errorf("Run returned %w: a stop that was asked for is nil or the context's error", tr.err)
	}
	return nil
}

// recorder is an outlet that keeps everything.
type recorder struct {
	mu       sync.Mutex
	readings []device.Reading
	samples  []device.Samples
	inputs   []device.Input
	states   []device.State
	values   map[string]bool // quantities seen with a value
	news     chan struct{}
}

func (r *recorder) Observe(o device.Observation) {
	switch x := o.(type) {
	case device.Reading:
		r.note(x.Quantity, x.Absent == "", func() { r.readings = append(r.readings, x) })
	case device.Samples:
		r.note(x.Quantity, true, func() { r.samples = append(r.samples, x) })
	case device.Health:
		r.note("", false, func() { r.states = append(r.states, x.State) })
	case device.Input:
		r.note("", false, func() { r.inputs = append(r.inputs, x) })
	}
}

func (r *recorder) note(quantity string, value bool, keep func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	keep()
	if value {
		if r.values == nil {
			r.values = map[string]bool{}
		}
		r.values[quantity] = true
	}
	select {
	case r.news <- struct{}{}:
	default:
	}
}

func (r *recorder) is(ok func(*recorder) bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return ok(r)
}

// live is called under the lock.
func (r *recorder) live() bool { return len(r.states) > 0 && r.states[len(r.states)-1] == device.Live }

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.readings) + len(r.samples) + len(r.states) + len(r.inputs)
}
