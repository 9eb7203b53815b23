package supervisor

import (
	"context"
	"errors"
	"testing"
	"time"

	"telecart/device"
)

// once is a value measured once.
func once(q string, n int64) device.Reading {
	r := reading(q, n)
	r.Period = 0
	return r
}

func TestOnceStands(t *testing.T) {
	unplug := make(chan struct{})
	r := start(t, 1, newFake("cuff", func(ctx context.Context, out device.Outlet) error {
		out.Observe(device.Health{State: device.Live})
		out.Observe(once("a", 115))
		out.Observe(reading("b", 7))
		<-unplug
		return errors.New("unplugged")
	}, forever))
	r.expect("cuff live", "a=115", "b=7")
	close(unplug)
	// The stream's value goes with the instrument; what was measured once stands.
	r.expect("b no-data", "cuff absent disconnected")
	if st := r.Snapshot()[0].Readings; len(st) != 2 || st[0].Stale || st[0].Value.String() != "115" || !st[1].Stale {
		t.Errorf("%+v", st)
	}
	r.Forget()
	r.expect("a no-data")
	if st := r.Snapshot()[0].Readings; len(st) != 1 {
		t.Errorf("forgotten, and there: %+v", st)
	}
}

func TestOnceGrowsOld(t *testing.T) {
	r := start(t, 1, newFake("cuff", func(ctx context.Context, out device.Outlet) error {
		out.Observe(device.Health{State: device.Live})
		out.Observe(once("a", 115))
		<-ctx.Done()
		return ctx.Err()
	}))
	r.expect("cuff live", "a=115")
	r.clock.AwaitWaiters(1)
	r.clock.Advance(5*time.Minute + time.Second)
	r.expect("a no-data")
	if h := r.Snapshot()[0].Health; h.State != device.Live {
		t.Errorf("an instrument that measured once is silent by right: %+v", h)
	}
}

func TestWake(t *testing.T) {
	fails := func(context.Context, device.Outlet) error { return errors.New("not there") }
	f := newFake("spo2", fails, fails, fails, forever)
	r := start(t, 1, f)
	r.expect("spo2 absent disconnected")
	for i := range 3 {
		r.clock.AwaitWaiters(2) // the watch and the delay; no time passes
		if f.count() != i+1 {
			t.Fatalf("started %d times before wake %d", f.count(), i)
		}
		r.Wake()
		if i == 2 {
			r.expect("spo2 live")
			return
		}
		for f.count() == i+1 {
			r.clock.AwaitWaiters(2)
		}
	}
}

func TestFaultSaysWhatTheNurseIsTold(t *testing.T) {
	r := start(t, 1, newFake("spo2", func(context.Context, device.Outlet) error {
		return device.Fault{Health: device.Health{State: device.Faulty, Reason: "address-conflict"}, Err: errors.New("two at 0x48")}
	}))
	r.expect("spo2 faulty address-conflict")
	if st := r.Snapshot()[0]; st.LastError != "two at 0x48" {
		t.Errorf("%+v", st)
	}
}

func TestGradeOnlyGetsWorse(t *testing.T) {
	f := newFake("spo2", func(ctx context.Context, out device.Outlet) error {
		out.Observe(device.About{Model: "CMS50D+", Grade: device.Consumer})
		out.Observe(device.Health{State: device.Live})
		out.Observe(reading("a", 97)) // its identity says nothing of a grade
		<-ctx.Done()
		return ctx.Err()
	})
	g := newFake("ppg", func(ctx context.Context, out device.Outlet) error {
		out.Observe(device.About{Grade: device.Consumer}) // better than its line: not believed
		out.Observe(device.Health{State: device.Live})
		<-ctx.Done()
		return ctx.Err()
	})
	g.Grade = device.Uncalibrated
	r := start(t, 2, f, g)
	for range 3 {
		r.next()
	}
	st := r.Snapshot()
	if st[0].Readings[0].Instrument.Grade != device.Consumer || st[0].Identity.Model != "CMS50D+" || st[1].Identity.Grade != device.Uncalibrated {
		t.Errorf("%+v, %+v", st[0], st[1].Identity)
	}
}

func TestInput(t *testing.T) {
	r := start(t, 1, newFake("scanner", func(ctx context.Context, out device.Outlet) error {
		out.Observe(device.Health{State: device.Live})
		out.Observe(device.Input{Act: device.Scanned, Text: "ABC-1234"})
		<-ctx.Done()
		return ctx.Err()
	}))
	r.expect("scanner live")
	e := <-r.sub.C
	if e.Input == nil || e.Input.Text != "ABC-1234" || e.Input.Instrument.Name != "scanner" || e.Input.At.Wall.IsZero() {
		t.Errorf("%+v", e.Input)
	}
	r.stop()
	if got := r.log.String(); got != "" {
		t.Errorf("logged: %s", got)
	}
}

// versatile has every ability.
type versatile struct{ instrument }

func (*versatile) Modes() []string                             { return []string{"adult", "child"} }
func (*versatile) Start(_ context.Context, mode string) error  { return errors.New("started " + mode) }
func (*versatile) Abort(context.Context) error                 { return errors.New("aborted") }
func (*versatile) Shoot(context.Context) (device.Frame, error) { return device.Frame{Seq: 7}, nil }
func (*versatile) Listen() device.Ear                          { return ear{} }
func (*versatile) Counters() map[string]uint64                 { return map[string]uint64{"lost_frames": 3} }
func (*versatile) Watch() device.View                          { return nil }

type ear struct{}

func (ear) Next(context.Context) (device.Sound, error) { return device.Sound{Seq: 9}, nil }
func (ear) Close()                                     {}

func TestAbilities(t *testing.T) {
	f := newFake("x", forever)
	make := f.New
	f.New = func(s device.Settings, out device.Outlet) (device.Instrument, error) {
		i, err := make(s, out)
		return &versatile{*i.(*instrument)}, err
	}
	r := start(t, 1, f)
	if _, ok := r.Triggerable("y"); ok {
		t.Error("y is not there")
	}
	r.expect("x live", "a=97")
	ctx := context.Background()
	trig, _ := r.Triggerable("x")
	shot, _ := r.Shooter("x")
	mic, _ := r.Microphone("x")
	if err := trig.Start(ctx, "adult"); err == nil || err.Error() != "started adult" {
		t.Error(err)
	}
	if err := trig.Abort(ctx); err == nil || err.Error() != "aborted" {
		t.Error(err)
	}
	if f, err := shot.Shoot(ctx); err != nil || f.Seq != 7 {
		t.Error(f, err)
	}
	e := mic.Listen()
	if s, err := e.Next(ctx); err != nil || s.Seq != 9 {
		t.Error(s, err)
	}
	if st := r.Snapshot()[0]; len(st.Modes) != 2 || st.Counters["lost_frames"] != 3 {
		t.Errorf("%+v", st)
	}
	r.stop()
	if _, err := e.Next(ctx); !errors.Is(err, device.ErrGone) {
		t.Error(err)
	}
	if _, err := shot.Shoot(ctx); !errors.Is(err, device.ErrGone) {
		t.Error(err)
	}
	if _, ok := r.Steerable("x"); ok {
		t.Error("it can't be steered")
	}
}
