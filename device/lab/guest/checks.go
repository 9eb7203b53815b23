package main

import (
	"context"
	"fmt"
	"os"

	"telecart/device"
	"telecart/device/lab/uvc"
	"telecart/device/nonin"
)

// checks are all checks of the drivers alone, by what they work on: first one that counts the time, then those that must be on
// time, then those that need the processor, which is an emulated one.
func checks() []stage { return []stage{{{{"hot-plug", hotPlug}}}, prompt(), cameras(), pictures()} }

// cameras paint and decode pictures.
func cameras() stage {
	return stage{
		{
			{"camera-640x480", func(ctx context.Context, b *bench) (string, error) {
				return b.frames(ctx, uvc.Size{Width: 640, Height: 480})
			}},
			{"camera-1280x720", func(ctx context.Context, b *bench) (string, error) {
				return b.frames(ctx, uvc.Size{Width: 1280, Height: 720})
			}},
			{"camera-pan", pan},
			{"camera-zoom", zoom},
			{"camera-exposure", exposure},
			{"camera-two-at-once", twoAtOnce},
			{"camera-unplug-replug", unplugReplug},
			{"camera-flagged-frames", flagged},
			{"camera-cut-frames", cut},
			{"camera-hang", hang},
			{"camera-button", button},
			{"camera-vivid-yuyv", vivid},
			{"camera-supervised", supervised},
		},
	}
}

func prompt() stage {
	return stage{
		{
			{"i2c-live", i2cLive},
			{"i2c-nack", i2cNACK},
			{"i2c-pec", i2cPEC},
			{"i2c-conflict", i2cConflict},
			{"i2c-unplug", i2cUnplug},
		},
		{{"i2c-mux-reset", i2cMux}},
		{{"i2c-stuck", i2cStuck}},
		{
			{"cuff", cuffMeasures},
			{"cuff-abort", cuffAbort},
			{"cuff-unplug", cuffUnplug},
		},
		{
			{"scanner-serial", scanSerial},
			{"scanner-keyboard", scanKeyboard},
			{"pedal", pedalSteps},
			{"scale", scaleWeighs},
		},
		{{"stethoscope", stethoscopeHears}},
		{{"clock-chip", clockChip}},
		{{"ecg", ecgCounts}},
		{{"finger-light", fingerLight}},
		{
			{"oximeter", oximeter},
			{"oximeter-unplug", oximeterUnplug},
			{"oximeter-cms50d", contec},
		},
	}
}

func (b *bench) oximeter(ctx context.Context) (*rig, error) {
	return b.start(ctx, nonin.Driver(), device.Settings{Port: b.tty})
}

// oximeter reads saturation, pulse and pleth from the byte stream that comes in from outside the machine.
func oximeter(ctx context.Context, b *bench) (string, error) {
	r, err := b.oximeter(ctx)
	if err != nil {
		return "", err
	}
	defer r.stop()
	spo2, err := r.reading(ctx, named("oxygen-saturation", between(90, 100)))
	if err != nil {
		return "", err
	}
	pulse, err := r.reading(ctx, named("pulse-rate", between(90, 140)))
	if err != nil {
		return "", err
	}
	select {
	case s := <-r.samples:
		return fmt.Sprintf("%s %s, %s %s, %s at %g Hz on %s", spo2.Value, spo2.Unit, pulse.Value, pulse.Unit, s.Quantity, s.RateHz, b.tty), nil
	case <-ctx.Done():
		return "", fmt.Errorf("no pleth: %w", ctx.Err())
	}
}

// unplugged is the file whose presence pulls the oximeter's cable; feed watches for it, outside.
const unplugged = "oximeter-unplugged"

// finger is the oximeter's instrument, held to what the finger outside has: 97 % and 112 a minute, both wandering a little.
func (b *bench) finger(ctx context.Context) (*rig, error) {
	return b.startJudged(ctx, nonin.Driver(), device.Settings{Port: b.tty}, func(o device.Observation) error {
		if x, ok := o.(device.Reading); ok && x.Absent == "" && !between(96, 98)(x) && !between(108, 116)(x) {
			return fmt.Errorf("%s %s, which is not the finger's", x.Quantity, x.Value)
		}
		return nil
	})
}

// oximeterUnplug pulls the serial adapter out of its USB port in the middle of a frame, and plugs it in again in the middle of one.
func oximeterUnplug(ctx context.Context, b *bench) (seen string, err error) {
	r, err := b.finger(ctx)
	if err != nil {
		return "", err
	}
	defer r.done(&err)
	if _, err := r.reading(ctx, between(1, 300)); err != nil {
		return "", err
	}
	flag := "/lab/" + unplugged
	if err := os.WriteFile(flag, nil, 0o644); err != nil {
		return "", err
	}
	defer os.Remove(flag)
	pulled := b.clock.Now()
	if err := r.failure(ctx); err != nil {
		return "", err
	}
	noticed := b.clock.Now().Sub(pulled)
	if err := awaitGone(ctx, b.clock, b.tty); err != nil { // the line hangs up before its node goes
		return "", err
	}
	if err := os.Remove(flag); err != nil {
		return "", err
	}
	if _, err := await(ctx, b.clock, b.tty); err != nil {
		return "", err
	}
	again, err := b.finger(ctx)
	if err != nil {
		return "", err
	}
	defer again.done(&err)
	got, err := again.reading(ctx, between(1, 300))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("in the middle of a frame: noticed after %.1f s, then %s %s again, no false number", noticed.Seconds(), got.Value, got.Unit), nil
}

func anything(device.Reading) bool { return true }

// between wants a number from lo to hi.
func between(lo, hi float64) func(device.Reading) bool {
	return func(r device.Reading) bool { return r.Absent == "" && r.Value.Float() >= lo && r.Value.Float() <= hi }
}

func named(quantity string, wanted func(device.Reading) bool) func(device.Reading) bool {
	return func(r device.Reading) bool { return r.Quantity == quantity && wanted(r) }
}
