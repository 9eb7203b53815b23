package steer

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telecart/device"
	"telecart/device/kit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// motor is a Steerable that tells what it was asked and answers when told.
type motor struct {
	steered chan map[string]int
	halted  chan struct{}
	hold    chan struct{} // nil: at once
	gone    chan struct{} // a held call was cancelled
}

func (m *motor) Axes(context.Context) ([]device.Axis, error) { return nil, nil }

func (m *motor) Steer(ctx context.Context, set map[string]int) error {
	m.steered <- set
	if m.hold == nil {
		return nil
	}
	select {
	case <-m.hold:
		return nil
	case <-ctx.Done():
		m.gone <- struct{}{}
		return ctx.Err()
	}
}

func (m *motor) Halt(context.Context) error { m.halted <- struct{}{}; return nil }

func start(t *testing.T, m *motor, do func(context.Context, Act) (string, error)) (*Shell, *kit.Manual, chan Action) {
	t.Helper()
	m.steered, m.halted, m.gone = make(chan map[string]int, 10), make(chan struct{}, 10), make(chan struct{}, 1)
	clock := kit.NewManual(time.Unix(0, 0))
	sent := make(chan Action, 100)
	s, err := NewShell(Options{Instrument: "scope", Device: m, Do: do, Send: func(a Action) { sent <- a }, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s, clock, sent
}

func take(_ context.Context, a Act) (string, error) {
	if a.Kind == "still" {
		return "item", nil
	}
	return "", errors.New("no such act")
}

func TestShell(t *testing.T) {
	m := &motor{}
	s, clock, sent := start(t, m, take)
	s.Deliver(ask("ada"))
	l := (<-sent).(Lease)
	if l.Holder != "ada" || l.Epoch >= 1<<53 || l.Epoch == 0 {
		t.Fatalf("%+v", l)
	}
	s.Deliver(Setpoint{Instrument: "scope", Who: "ada", Epoch: l.Epoch, Seq: 1, Set: map[string]int{"pan": 5}})
	if got := <-m.steered; got["pan"] != 5 {
		t.Errorf("steered to %v", got)
	}
	// Silence halts.
	clock.Advance(Fresh)
	s.Deliver(Wake{})
	select {
	case <-m.halted:
		t.Error("halted while its holder was heard")
	default:
	}
	clock.Advance(time.Millisecond)
	<-m.halted
	for _, c := range []struct {
		a    Act
		want ActResult
	}{
		{Act{ID: "1", Kind: "still"}, ActResult{ID: "1", OK: true, Item: "item"}},
		{Act{ID: "2", Kind: "dance"}, ActResult{ID: "2", Error: Failed}},
		{Act{ID: "3", Kind: Step, Set: map[string]int{"pan": 9}}, ActResult{ID: "3", OK: true}},
	} {
		c.a.Instrument, c.a.Who, c.a.Epoch, c.a.TTLMS = "scope", "ada", l.Epoch, 5000
		s.Deliver(c.a)
		if got := <-sent; got != c.want {
			t.Errorf("%+v: %+v", c.a, got)
		}
	}
	if got := <-m.steered; got["pan"] != 9 {
		t.Errorf("stepped to %v", got)
	}
	// A late lease: everything of it is refused once it is over.
	s.Deliver(TakeBack{})
	<-m.halted
	if l := (<-sent).(Lease); !l.TakenBack || l.Holder != "" {
		t.Errorf("%+v", l)
	}
	s.Deliver(Setpoint{Instrument: "scope", Who: "ada", Epoch: l.Epoch, Seq: 2, Set: map[string]int{"pan": 7}})
	s.Deliver(Act{ID: "4", Instrument: "scope", Who: "ada", Epoch: l.Epoch, Kind: "still", TTLMS: 5000})
	if got := <-sent; got != (ActResult{ID: "4", Error: NoLease}) {
		t.Errorf("%+v", got)
	}
	if n := s.Dropped()[NoLease]; n != 1 {
		t.Errorf("%d dropped", n)
	}
}

// A slow motor: setpoints that come meanwhile replace one another, and a halt does not wait.
func TestSlowMotor(t *testing.T) {
	m := &motor{hold: make(chan struct{})}
	s, _, sent := start(t, m, take)
	s.Deliver(ask("ada"))
	e := (<-sent).(Lease).Epoch
	set := func(seq uint64, axis string, v int) {
		s.Deliver(Setpoint{Instrument: "scope", Who: "ada", Epoch: e, Seq: seq, Set: map[string]int{axis: v}})
	}
	set(1, "pan", 1)
	<-m.steered
	set(2, "pan", 2)
	set(3, "tilt", 8)
	set(4, "pan", 4)
	m.hold <- struct{}{}
	if got := <-m.steered; len(got) != 2 || got["pan"] != 4 || got["tilt"] != 8 {
		t.Errorf("then steered to %v", got)
	}
	set(5, "pan", 5)
	s.Deliver(TakeBack{})
	<-m.gone   // the call under way was cut off
	<-m.halted // and what waited behind it is forgotten
	select {
	case got := <-m.steered:
		t.Errorf("steered to %v after the nurse took it back", got)
	default:
	}
}
