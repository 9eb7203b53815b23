package main

import (
	"context"
	"fmt"
	"os"

	"telecart/device"
	"telecart/device/lab/uvc"
	"telecart/device/nonin"
	"telecart/device/tmp117"
)

// checks are all checks of the drivers alone, by what they work on: the rows go at once, each in order.
func checks() [][]check {
	return [][]check{
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
		{
			{"thermometer", thermometer},
			{"thermometer-unplug", thermometerUnplug},
		},
		{
			{"oximeter", oximeter},
			{"oximeter-unplug", oximeterUnplug},
		},
	}
}

func (b *bench) thermometer(ctx context.Context) (*rig, error) {
	return b.start(ctx, tmp117.Driver(), device.Settings{Port: b.i2c, Address: chipAddress, Options: map[string]string{"settle_s": "3"}})
}

// thermometer reads the model's temperature through /dev/i2c-N, and a change of it.
func thermometer(ctx context.Context, b *bench) (string, error) {
	b.chip.SetTemperature(36_600)
	r, err := b.thermometer(ctx)
	if err != nil {
		return "", err
	}
	defer r.stop()
	warm, err := r.reading(ctx, between(36.5, 36.7))
	if err != nil {
		return "", fmt.Errorf("at 36.6 Cel: %w", err)
	}
	b.chip.SetTemperature(38_500)
	fever, err := r.reading(ctx, between(38.4, 38.6))
	if err != nil {
		return "", fmt.Errorf("at 38.5 Cel: %w", err)
	}
	return fmt.Sprintf("%s and then %s %s from %s on %s", warm.Value, fever.Value, fever.Unit, fever.Instrument.Model, b.i2c), nil
}

// thermometerUnplug takes the chip off the bus: the driver must end and say so, and read again after it is back.
func thermometerUnplug(ctx context.Context, b *bench) (string, error) {
	b.chip.SetTemperature(36_600)
	r, err := b.thermometer(ctx)
	if err != nil {
		return "", err
	}
	defer r.stop()
	if _, err := r.reading(ctx, anything); err != nil {
		return "", err
	}
	b.chip.Unplug()
	pulled := b.clock.Now()
	err = r.failure(ctx)
	b.chip.Plug()
	if err != nil {
		return "", err
	}
	noticed := b.clock.Now().Sub(pulled)
	again, err := b.thermometer(ctx)
	if err != nil {
		return "", err
	}
	defer again.stop()
	if _, err := again.reading(ctx, anything); err != nil {
		return "", err
	}
	return fmt.Sprintf("noticed after %.1f s, reads again", noticed.Seconds()), nil
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

// oximeterUnplug pulls the serial adapter out of its USB port, and plugs it in again.
func oximeterUnplug(ctx context.Context, b *bench) (string, error) {
	r, err := b.oximeter(ctx)
	if err != nil {
		return "", err
	}
	defer r.stop()
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
	again, err := b.oximeter(ctx)
	if err != nil {
		return "", err
	}
	defer again.stop()
	got, err := again.reading(ctx, between(1, 300))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("noticed after %.1f s, then %s %s again", noticed.Seconds(), got.Value, got.Unit), nil
}

func anything(device.Reading) bool { return true }

// between wants a number from lo to hi.
func between(lo, hi float64) func(device.Reading) bool {
	return func(r device.Reading) bool { return r.Absent == "" && r.Value.Float() >= lo && r.Value.Float() <= hi }
}

func named(quantity string, wanted func(device.Reading) bool) func(device.Reading) bool {
	return func(r device.Reading) bool { return r.Quantity == quantity && wanted(r) }
}
