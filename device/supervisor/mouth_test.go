package supervisor

import (
	"context"
	"errors"
	"testing"

	"telecart/device"
)

// horn is a loudspeaker that says who says what in which of its lives.
type horn struct {
	life   int16
	unplug chan struct{}
	said   chan int16
	waits  chan struct{}
}

func (h *horn) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-h.unplug:
		return errors.New("horn: unplugged")
	}
}

func (h *horn) Speak() device.Mouth { h.said <- h.life; return h }

// Write plays what it is given; of nothing it waits for ever.
func (h *horn) Write(ctx context.Context, values []int16) error {
	if len(values) == 0 {
		h.waits <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	h.said <- values[0]
	return nil
}

func (h *horn) Close() { h.said <- -h.life }

func TestLoudspeakerIsHeldAcrossRestarts(t *testing.T) {
	unplug, waits, said := make(chan struct{}), make(chan struct{}, 1), make(chan int16, 10)
	life := int16(100)
	r := start(t, 1, newFake("spo2", forever))
	r.drivers["horn"] = device.Driver{Name: "horn", Kind: device.KindVoice, New: func(device.Settings, device.Outlet) (device.Instrument, error) {
		life++
		return &horn{life, unplug, said, waits}, nil
	}}
	r.expect("spo2 live", "a=97")
	if err := r.Add(device.Settings{Name: "voice", Driver: "horn", Port: "twin"}); err != nil {
		t.Fatal(err)
	}
	speaker, ok := r.Loudspeaker("voice")
	if _, other := r.Loudspeaker("spo2"); !ok || other {
		t.Fatal("loudspeaker found wrongly")
	}
	if err := speaker.Run(t.Context()); err == nil {
		t.Error("a holder could run the loudspeaker")
	}
	up := func() { // a life begins without an event
		for r.find("voice").current() == nil {
			r.clock.AwaitWaiters(1)
			r.clock.Advance(maxDelay)
		}
	}
	hears := func(want ...int16) {
		t.Helper()
		for _, w := range want {
			if got := <-said; got != w {
				t.Errorf("it heard %d, want %d", got, w)
			}
		}
	}
	up()
	mouth := speaker.Speak()
	if err := mouth.Write(t.Context(), []int16{7}); err != nil {
		t.Fatal(err)
	}
	first := <-said
	hears(7)
	failed := make(chan error, 1)
	go func() { failed <- mouth.Write(t.Context(), nil) }()
	<-waits
	unplug <- struct{}{}
	if err := <-failed; !errors.Is(err, device.ErrGone) {
		t.Errorf("while it went: %v", err)
	}
	for word := ""; word != "voice absent disconnected"; {
		word = r.next()
	}
	if err := mouth.Write(t.Context(), []int16{8}); !errors.Is(err, device.ErrGone) {
		t.Errorf("while down: %v", err)
	}
	up()
	if err := mouth.Write(t.Context(), []int16{9}); err != nil {
		t.Fatal(err)
	}
	hears(-first)
	second := <-said
	hears(9)
	if second == first {
		t.Error("it is the life before")
	}
	mouth.Close()
	hears(-second)
	if err := mouth.Write(t.Context(), []int16{1}); !errors.Is(err, device.ErrGone) {
		t.Errorf("closed: %v", err)
	}
}
