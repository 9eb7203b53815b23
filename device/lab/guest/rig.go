package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"telecart/device"
	"telecart/device/kit"
)

// outlet collects what an instrument observes. It never blocks: what nobody takes in time is dropped, but was looked at.
type outlet struct {
	judge    func(device.Observation) error
	readings chan device.Reading
	samples  chan device.Samples
	health   chan device.Health
	inputs   chan device.Input

	mu    sync.Mutex
	wrong error // the first that was
}

func newOutlet(judge func(device.Observation) error) *outlet {
	return &outlet{judge: judge, readings: make(chan device.Reading, 256), samples: make(chan device.Samples, 256),
		health: make(chan device.Health, 256), inputs: make(chan device.Input, 256)}
}

func (o *outlet) Observe(x device.Observation) {
	if err := o.judge(x); err != nil {
		o.mu.Lock()
		o.wrong = cmp.Or(o.wrong, err)
		o.mu.Unlock()
	}
	switch x := x.(type) {
	case device.Reading:
		offer(o.readings, x)
	case device.Samples:
		offer(o.samples, x)
	case device.Health:
		offer(o.health, x)
	case device.Input:
		offer(o.inputs, x)
	}
}

func offer[T any](c chan T, v T) {
	select {
	case c <- v:
	default:
	}
}

// rig is one driver at work on a real node, without the supervisor: its end is for a check to see.
type rig struct {
	device.Instrument
	*outlet
	cancel context.CancelFunc
	ended  chan error
}

func (b *bench) start(ctx context.Context, d device.Driver, s device.Settings) (*rig, error) {
	return b.startJudged(ctx, d, s, func(device.Observation) error { return nil })
}

// startJudged is start with somebody who looks at everything; verdict says what was found.
func (b *bench) startJudged(ctx context.Context, d device.Driver, s device.Settings, judge func(device.Observation) error) (*rig, error) {
	s.Name, s.Driver, s.Clock = string(d.Kind), d.Name, b.clock
	s.Stamp = kit.NewStamper(b.clock, kit.ClockSynchronised)
	out := newOutlet(judge)
	i, err := d.New(s, out)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &rig{i, out, cancel, make(chan error, 1)}
	go func() { r.ended <- i.Run(ctx) }()
	return r, nil
}

// stop ends the instrument and waits for it. It may be called again.
func (r *rig) stop() {
	r.cancel()
	r.ended <- <-r.ended
}

// verdict is the first thing that was wrong.
func (r *rig) verdict() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wrong
}

// done stops the instrument, and adds to a check's error what was wrong on the way.
func (r *rig) done(err *error) {
	r.stop()
	*err = errors.Join(*err, r.verdict())
}

// is waits for a condition.
func (r *rig) is(ctx context.Context, state device.State, why device.Reason) error {
	var last device.Health
	for {
		select {
		case last = <-r.health:
			if last == (device.Health{State: state, Reason: why}) {
				return nil
			}
		case err := <-r.ended:
			r.ended <- err
			return fmt.Errorf("the instrument ended: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("is %s %s, not %s %s: %w", last.State, last.Reason, state, why, ctx.Err())
		}
	}
}

// input waits for the next act of a person.
func (r *rig) input(ctx context.Context) (device.Input, error) {
	select {
	case got := <-r.inputs:
		return got, nil
	case err := <-r.ended:
		r.ended <- err
		return device.Input{}, fmt.Errorf("the instrument ended: %w", err)
	case <-ctx.Done():
		return device.Input{}, fmt.Errorf("no input: %w", ctx.Err())
	}
}

// reading waits for a reading that is wanted, and says what came instead if it doesn't.
func (r *rig) reading(ctx context.Context, wanted func(device.Reading) bool) (device.Reading, error) {
	last, health := "nothing", device.Health{}
	for {
		select {
		case got := <-r.readings:
			if wanted(got) {
				return got, nil
			}
			last = fmt.Sprintf("%s %s %s%s", got.Quantity, got.Value, got.Unit, got.Absent)
		case health = <-r.health:
		case err := <-r.ended:
			r.ended <- err // stop waits for it too
			return device.Reading{}, fmt.Errorf("the instrument ended: %w", err)
		case <-ctx.Done():
			return device.Reading{}, fmt.Errorf("last came %s, health %s %s: %w", last, health.State, health.Reason, ctx.Err())
		}
	}
}

// failure waits for the instrument to end by itself.
func (r *rig) failure(ctx context.Context) error {
	select {
	case err := <-r.ended:
		r.ended <- err
		if err == nil {
			return fmt.Errorf("the instrument ended without saying why")
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the instrument did not end: %w", ctx.Err())
	}
}

// within bounds one step of a check.
func within(ctx context.Context, d time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return f(ctx)
}
