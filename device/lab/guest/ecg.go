package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"telecart/device"
	"telecart/device/ad8232"
	"telecart/device/kit"
	"telecart/device/max30102"
	"telecart/device/rtc"
)

// pace moves a clock on while somebody waits for it, until stop. An instrument that samples is late on an emulated processor, which
// shows in what it measures; by such a clock it never is.
func pace(clock *kit.Manual, step time.Duration) (stop func()) {
	moving, cancel := context.WithCancel(context.Background())
	go func() {
		for moving.Err() == nil {
			clock.AwaitWaiters(1)
			clock.Advance(step)
		}
	}()
	return func() {
		cancel()
		clock.After(1 << 62) // nobody else waits any more
	}
}

// ecgCounts reads a heart 250 times a second through /dev/i2c-N.
func ecgCounts(ctx context.Context, b *bench) (seen string, err error) {
	wire, err := b.newWire(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, wire.unplug(ctx)) }()
	clock := kit.NewManual(b.clock.Now())
	chip := ad8232.NewTwin(clock, 0x49) // 72 beats a minute
	wire.Attach(0x49, chip)
	paced, at := &bench{clock: clock}, device.Settings{Port: wire.node}
	r, err := paced.startJudged(ctx, ad8232.Driver(), at, func(o device.Observation) error {
		if x, ok := o.(device.Reading); ok && x.Absent == "" && !between(66, 78)(x) {
			return fmt.Errorf("%s %s of a heart that beats 72 times", x.Quantity, x.Value)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	defer r.done(&err)
	defer pace(clock, time.Millisecond)()
	rate, err := r.reading(ctx, named("heart-rate", between(1, 300)))
	if err != nil {
		return "", err
	}
	counts := r.Instrument.(device.Counted).Counters()
	chip.NACK(2)
	if _, err := r.reading(ctx, named("heart-rate", anything)); err != nil {
		return "", err
	}
	chip.Unplug()
	if err := r.failure(ctx); err != nil {
		return "", err
	}
	s := <-r.samples
	return fmt.Sprintf("%s %s, %s at %g Hz on %s, %d gaps and %d samples lost until then; chip gone: noticed", rate.Value,
		rate.Unit, s.Quantity, s.RateHz, wire.node, counts["gaps"], counts["lost_samples"]), nil
}

// fingerLight reads the light of a finger from a chip's FIFO, up to 186 bytes at a time; the finger is taken away and put back.
func fingerLight(ctx context.Context, b *bench) (seen string, err error) {
	wire, err := b.newWire(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, wire.unplug(ctx)) }()
	clock := kit.NewManual(b.clock.Now())
	chip := max30102.NewTwin(clock) // 97 %, 72 beats a minute
	wire.Attach(0x57, chip)
	paced, at := &bench{clock: clock}, device.Settings{Port: wire.node}
	r, err := paced.startJudged(ctx, max30102.Driver(), at, func(o device.Observation) error {
		x, ok := o.(device.Reading)
		right := map[string]bool{spO2: between(95, 99)(x), "pulse-rate": between(70, 74)(x), "perfusion-index": between(0.1, 20)(x)}
		if ok && x.Absent == "" && !right[x.Quantity] {
			return fmt.Errorf("%s %s of a finger with 97 %% and 72 beats a minute", x.Quantity, x.Value)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	defer r.done(&err)
	defer pace(clock, 10*time.Millisecond)()
	value, gone := named(spO2, between(1, 100)), named(spO2, func(x device.Reading) bool { return x.Absent == device.NoFinger })
	first, err := r.reading(ctx, value)
	if err != nil {
		return "", err
	}
	chip.NACK(2)
	chip.Take()
	if _, err := r.reading(ctx, gone); err != nil {
		return "", err
	}
	chip.Put(max30102.Healthy())
	if _, err := r.reading(ctx, value); err != nil {
		return "", err
	}
	pulse, err := r.reading(ctx, named("pulse-rate", between(1, 300)))
	if err != nil {
		return "", err
	}
	r.stop()
	if red, ir := chip.Lamps(); red != 0 || ir != 0 {
		return "", fmt.Errorf("the lamps are on, %d and %d, and nobody looks", red, ir)
	}
	return fmt.Sprintf("%s %s, %s %s on %s; finger away: no number; back: again; lamps off at the end", first.Value, first.Unit,
		pulse.Value, pulse.Unit, wire.node), nil
}

const spO2 = "oxygen-saturation"

// clockChip: the machine's battery-backed clock, whichever it is: the kernel's driver is the same to us for all.
func clockChip(ctx context.Context, b *bench) (string, error) {
	r, err := b.start(ctx, rtc.Driver(), device.Settings{Port: "/dev/rtc0"})
	if err != nil {
		return "", err
	}
	defer r.stop()
	if err := r.is(ctx, device.Live, ""); err != nil {
		return "", err
	}
	return "/dev/rtc0 goes", nil
}
