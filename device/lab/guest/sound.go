package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"telecart/device"
	"telecart/device/stethoscope"
	"telecart/device/stethoscope/alsa"
)

const (
	lowTone, highTone = 30, 1000 // Hz: the first heart sound, and what lungs have at most
	toneLevel         = 8000     // amplitude of each, in steps of the converter
	tolerance         = 1.0      // dB
)

// loopback is the number of the kernel's own loopback card: what is played on its device 1 is captured on device 0.
func (b *bench) loopback(ctx context.Context) (card int, err error) {
	for {
		found, _ := filepath.Glob("/sys/class/sound/card*")
		for _, dir := range found {
			if id, _ := os.ReadFile(dir + "/id"); string(id) == "Loopback\n" {
				_, err := fmt.Sscanf(filepath.Base(dir), "card%d", &card)
				return card, err
			}
		}
		select {
		case <-b.clock.After(20 * time.Millisecond):
		case <-ctx.Done():
			return 0, fmt.Errorf("no card Loopback: %w", ctx.Err())
		}
	}
}

// stethoscopeHears plays two tones, and compares what the driver hears with what was played.
func stethoscopeHears(ctx context.Context, b *bench) (seen string, err error) {
	card, err := b.loopback(ctx)
	if err != nil {
		return "", err
	}
	player, err := alsa.OpenPlayer(card, 1, 48000, 1)
	if err != nil {
		return "", err
	}
	playing, stop := context.WithCancel(ctx)
	played := make(chan error, 1)
	go func() {
		second := tones(player.RateHz)
		var err error
		for err == nil {
			err = player.Write(playing, second)
		}
		played <- errors.Join(err, player.Close())
	}()
	defer func() {
		stop()
		if e := <-played; !errors.Is(e, context.Canceled) && !errors.Is(e, alsa.ErrUnplugged) {
			err = errors.Join(err, e)
		}
	}()
	r, err := b.start(ctx, stethoscope.Driver(), device.Settings{Port: fmt.Sprintf("hw:%d,0", card)})
	if err != nil {
		return "", err
	}
	defer r.done(&err)
	if err := r.is(ctx, device.Live, ""); err != nil {
		return "", err
	}
	ear := r.Instrument.(device.Microphone).Listen()
	defer ear.Close()
	sound, hz, err := b.unbroken(ctx, ear)
	if err != nil {
		return "", err
	}
	for _, tone := range []float64{lowTone, highTone} {
		level := 20 * math.Log10(goertzel(sound, tone, hz)/toneLevel)
		if math.Abs(level) > tolerance {
			return "", fmt.Errorf("%g Hz is %+.2f dB from what was played", tone, level)
		}
		for _, off := range []float64{-3, 3} { // a rate that isn't as stated would move it
			if beside := 20 * math.Log10(goertzel(sound, tone+off, hz)/toneLevel); beside > -20 {
				return "", fmt.Errorf("%+.1f dB at %g Hz, where nothing was played", beside, tone+off)
			}
		}
		seen += fmt.Sprintf("%g Hz %+.2f dB, ", tone, level)
	}
	if err := b.disconnect(ctx, r); err != nil {
		return "", err
	}
	for err == nil {
		_, err = ear.Next(ctx) // what was heard before comes first
	}
	if !errors.Is(err, device.ErrGone) {
		return "", fmt.Errorf("the ear: %w", err)
	}
	err = nil
	return seen + fmt.Sprintf("at %g Hz on hw:%d,0; the card taken away: told", hz, card), nil
}

// tones is one second of both: whole periods, so that it can be repeated.
func tones(rate int) []int16 {
	x := make([]int16, rate)
	for i := range x {
		t := 2 * math.Pi * float64(i) / float64(rate)
		x[i] = int16(math.Round(toneLevel * (math.Sin(lowTone*t) + math.Sin(highTone*t))))
	}
	return x
}

// unbroken waits for a second of sound without a gap, after the player has begun.
func (b *bench) unbroken(ctx context.Context, ear device.Ear) (sound []int16, hz float64, err error) {
	for next := uint64(0); ; {
		x, err := ear.Next(ctx)
		if err != nil {
			return nil, 0, fmt.Errorf("listening: %w", err)
		}
		if x.Seq != next || silent(x.Values) {
			sound = nil
		}
		next = x.Seq + uint64(len(x.Values))
		if sound = append(sound, x.Values...); len(sound) > 2*x.RateHz { // what begins is not yet steady
			return sound[len(sound)-x.RateHz:], float64(x.RateHz), nil
		}
	}
}

func silent(values []int16) bool {
	for _, v := range values {
		if v != 0 {
			return false
		}
	}
	return true
}

// goertzel is the amplitude of one frequency.
func goertzel(x []int16, f, rate float64) float64 {
	w := 2 * math.Pi * f / rate
	var s1, s2 float64
	for _, v := range x {
		s1, s2 = float64(v)+2*math.Cos(w)*s1-s2, s1
	}
	return 2 * math.Hypot(s1-s2*math.Cos(w), s2*math.Sin(w)) / float64(len(x))
}

// disconnect takes the card away from under the driver, as an unplugged one goes; the kernel waits until all have let go.
func (b *bench) disconnect(ctx context.Context, r *rig) error {
	gone := make(chan error, 1)
	go func() { gone <- os.WriteFile("/sys/bus/platform/drivers/snd_aloop/unbind", []byte("snd_aloop.0"), 0) }()
	if err := r.failure(ctx); err != nil {
		return err
	}
	select {
	case err := <-gone:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the kernel does not get rid of the card: %w", ctx.Err())
	}
}
