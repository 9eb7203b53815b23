package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	codes "github.com/holoplot/go-evdev"

	"telecart/device"
	"telecart/device/pedal"
)

// between two steps of a foot there is more than a contact's chatter.
const stepApart = 100 * time.Millisecond

// pedalSteps counts steps on a pedal whose contact chatters, on a node that is kept from everybody else.
func pedalSteps(ctx context.Context, b *bench) (seen string, err error) {
	foot, err := newUinput("Foot switch", codes.KEY_B, codes.KEY_LEFTSHIFT)
	if err != nil {
		return "", err
	}
	gone := false
	defer func() {
		if !gone {
			err = errors.Join(err, foot.Close())
		}
	}()
	other, err := spyOn(foot.node)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, other.Close()) }()
	r, err := b.start(ctx, pedal.Driver(), device.Settings{Port: foot.node, Options: map[string]string{"key": "KEY_B"}})
	if err != nil {
		return "", err
	}
	defer r.done(&err)
	if err := r.is(ctx, device.Live, ""); err != nil {
		return "", err
	}
	const steps = 5
	for i := range steps {
		if err := foot.keys(codes.KEY_LEFTSHIFT, 1, 0); err != nil { // is no step
			return "", err
		}
		chatter := []int32{1, 0, 1, 0, 1}
		if err := foot.keys(codes.KEY_B, chatter[:1+2*(i%3)]...); err != nil {
			return "", err
		}
		if got, err := r.input(ctx); err != nil || got.Act != device.Shutter {
			return "", errors.Join(fmt.Errorf("step %d: %q", i+1, got.Act), err)
		}
		<-b.clock.After(stepApart)
		if err := foot.keys(codes.KEY_B, 0, 1, 0); err != nil { // the foot comes off, and the contact chatters again
			return "", err
		}
		<-b.clock.After(stepApart)
	}
	if n := len(r.inputs); n > 0 {
		return "", fmt.Errorf("%d presses more than %d steps", n, steps)
	}
	if leak := other.read(); len(leak) > 0 {
		return "", fmt.Errorf("another program read %d events of it", len(leak))
	}
	gone = true
	if err := errors.Join(foot.Close(), r.failure(ctx)); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d steps of a chattering contact on %s: %d presses, another reader got nothing; gone: noticed",
		steps, foot.node, steps), nil
}
