package sound_test

import (
	"context"
	"testing"
	"time"

	"telecart/capture/sound"
	"telecart/device"
	"telecart/device/kit"
	"telecart/device/stethoscope"
)

type deaf struct{}

func (deaf) Observe(device.Observation) {}

// Fifteen seconds of the twin's heart and breath go the whole way: converter, ear, recorder, file, and back.
func TestFifteenSecondsOfTheTwin(t *testing.T) {
	clock := kit.NewManual(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	inst, err := stethoscope.Driver().New(device.Settings{Name: "s", Driver: "stethoscope", Port: "twin", Clock: clock,
		Stamp: kit.NewStamper(clock, nil)}, deaf{})
	if err != nil {
		t.Fatal(err)
	}
	ear := inst.(device.Microphone).Listen()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- inst.Run(ctx) }()
	var c sound.Recorder
	for c.Recording().Duration() < 15*time.Second {
		clock.AwaitWaiters(1)
		clock.Advance(20 * time.Millisecond)
		x, err := ear.Next(ctx)
		if err == nil {
			err = c.Add(x)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	r := c.Recording()
	began := time.Now()
	file, err := sound.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	took, ratio := time.Since(began), float64(len(file))/float64(2*len(r.Values))
	t.Logf("%d values, %d gaps: %d bytes in %v, %.3f of what they were", len(r.Values), len(r.Gaps), len(file), took, ratio)
	if len(r.Gaps) > 0 || len(r.Values) != 15*48000 || ratio > 0.35 {
		t.Error("want 15 s without a gap, packed to a third")
	}
	if back, err := sound.Decode(file); err != nil || len(back.Values) != len(r.Values) {
		t.Errorf("%d values come back: %v", len(back.Values), err)
	}
}
