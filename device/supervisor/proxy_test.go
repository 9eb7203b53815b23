package supervisor

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"telecart/device"
)

// eye is a camera that is steerable. Its frames carry the number of its life.
type eye struct {
	life   uint64
	unplug chan struct{}
	views  chan string // "open" and "close", in order
	waits  chan struct{}
}

func (e *eye) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-e.unplug:
		return errors.New("eye: unplugged")
	}
}

func (e *eye) Watch() device.View {
	e.views <- "open"
	return &glance{eye: e}
}

func (e *eye) Axes(context.Context) ([]device.Axis, error) { return []device.Axis{{Name: "pan"}}, nil }

func (e *eye) Steer(_ context.Context, set map[string]int) error {
	if set["pan"] == 666 {
		panic("eye: burnt")
	}
	return nil
}

func (e *eye) Halt(ctx context.Context) error { // waits, as a slow motor does
	e.waits <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

type glance struct {
	*eye
	n int
}

// Next gives two frames; for the third it waits for ever.
func (g *glance) Next(ctx context.Context) (device.Frame, error) {
	if g.n++; g.n <= 2 {
		return device.Frame{Seq: g.life}, nil
	}
	g.waits <- struct{}{}
	<-ctx.Done()
	return device.Frame{}, ctx.Err()
}

func (g *glance) Close() { g.views <- "close" }

func TestCameraIsHeldAcrossRestarts(t *testing.T) {
	unplug, waits, views := make(chan struct{}), make(chan struct{}, 10), make(chan string, 100)
	var made uint64
	d := device.Driver{Name: "eye", Kind: device.KindCamera, New: func(device.Settings, device.Outlet) (device.Instrument, error) {
		made++
		return &eye{life: made, unplug: unplug, views: views, waits: waits}, nil
	}}
	r := start(t, 1, newFake("spo2", forever))
	r.drivers["eye"] = d
	r.expect("spo2 live", "a=97")
	if err := r.Add(device.Settings{Name: "room", Driver: "eye", Port: "twin"}); err != nil {
		t.Fatal(err)
	}
	cam, ok := r.Camera("room")
	if _, other := r.Camera("spo2"); !ok || other {
		t.Fatal("camera found wrongly")
	}
	hand, ok := r.Steerable("room")
	if _, other := r.Steerable("nobody"); !ok || other {
		t.Fatal("steerable found wrongly")
	}
	if err := cam.Run(t.Context()); err == nil {
		t.Error("a holder could run the camera")
	}
	up := func() { // a life begins without an event
		for r.find("room").current() == nil {
			r.clock.AwaitWaiters(1)
			r.clock.Advance(maxDelay)
		}
	}
	up()
	view := cam.Watch()
	next := func(want uint64) {
		t.Helper()
		if f, err := view.Next(t.Context()); err != nil || f.Seq != want {
			t.Fatalf("frame of life %d, %v; want life %d", f.Seq, err, want)
		}
	}
	next(1)
	next(1)

	// One viewer waits for a frame and one hand for a motor when the cable goes: both are let go at once.
	failed := make(chan error, 2)
	go func() { _, err := view.Next(t.Context()); failed <- err }()
	go func() { failed <- hand.Halt(t.Context()) }()
	<-waits
	<-waits
	unplug <- struct{}{}
	for range 2 {
		if err := <-failed; !errors.Is(err, device.ErrGone) {
			t.Errorf("while it went: %v", err)
		}
	}
	for word := ""; word != "room absent disconnected"; {
		word = r.next()
	}
	if _, err := view.Next(t.Context()); !errors.Is(err, device.ErrGone) {
		t.Errorf("while down: %v", err)
	}
	if err := hand.Steer(t.Context(), nil); !errors.Is(err, device.ErrGone) {
		t.Errorf("while down: %v", err)
	}
	up()
	next(2)
	if axes, err := hand.Axes(t.Context()); err != nil || len(axes) != 1 {
		t.Errorf("axes %v, %v", axes, err)
	}

	// A panic inside the camera's own method ends that life, and not the caller's.
	if err := hand.Steer(t.Context(), map[string]int{"pan": 666}); !errors.Is(err, ErrPanic) || !errors.Is(err, device.ErrGone) {
		t.Errorf("panic came out as %v", err)
	}
	for word := ""; word != "room faulty crashed"; {
		word = r.next()
	}
	up()
	next(3)
	next(3)

	// The holder's own context is its own affair.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := view.Next(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, device.ErrGone) {
		t.Errorf("a cancelled call: %v", err)
	}
	view.Close()
	if _, err := view.Next(t.Context()); !errors.Is(err, device.ErrGone) {
		t.Errorf("after Close: %v", err)
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	close(views)
	var got []string
	for v := range views {
		got = append(got, v)
	}
	if diff := cmp.Diff([]string{"open", "close", "open", "close", "open", "close"}, got); diff != "" {
		t.Error(diff)
	}
}
