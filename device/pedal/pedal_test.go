package pedal

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	codes "github.com/holoplot/go-evdev"

	"telecart/device"
	"telecart/device/conformance"
	"telecart/device/evdev"
	"telecart/device/hotplug"
	"telecart/device/kit"
)

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func settings(clock kit.Clock, options map[string]string) device.Settings {
	return device.Settings{Name: "pedal", Driver: "pedal", Port: "twin", Options: options,
		Clock: clock, Stamp: kit.NewStamper(clock, nil)}
}

// news is an outlet that hands on what it is told.
type news chan device.Observation

func (n news) Observe(o device.Observation) { n <- o }

// await skips to the next observation that is wanted.
func (n news) await(t *testing.T, want func(device.Observation) bool) device.Observation {
	t.Helper()
	for {
		select {
		case o := <-n:
			if want(o) {
				return o
			}
		case <-time.After(10 * time.Second):
			t.Fatal("it never came")
		}
	}
}

func health(h device.Health) func(device.Observation) bool {
	return func(o device.Observation) bool { return o == device.Observation(h) }
}

func isInput(o device.Observation) bool { _, ok := o.(device.Input); return ok }

// started runs a pedal on its twin until the test ends. What it returns pulls the cable and waits for the end.
func started(t *testing.T, clock *kit.Manual, options map[string]string, before func(*evdev.Twin)) (news, *evdev.Twin, func()) {
	t.Helper()
	out := make(news, 100)
	inst, err := Driver().New(settings(clock, options), out)
	if err != nil {
		t.Fatal(err)
	}
	twin := inst.(*pedal).twin
	if before != nil {
		before(twin)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err = inst.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		if !errors.Is(err, context.Canceled) && !errors.Is(err, evdev.ErrGone) {
			t.Error(err)
		}
		if twin.Grabbed() {
			t.Error("still grabbed after the end")
		}
	})
	return out, twin, func() { twin.Unplug(); <-ended }
}

func TestOneStepOnePicture(t *testing.T) {
	clock := kit.NewManual(start)
	out, twin, unplug := started(t, clock, nil, nil)
	out.await(t, health(device.Health{State: device.Live}))
	if !twin.Grabbed() {
		t.Error("not grabbed: the step types a letter on the nurse's screen")
	}
	// Two steps with chatter and repeats.
	move := func(after time.Duration, code uint16, value int32) { clock.Advance(after); twin.Key(code, value) }
	for range 2 {
		move(time.Second, codes.KEY_B, 1)
		move(3*time.Millisecond, codes.KEY_B, 0)
		move(3*time.Millisecond, codes.KEY_B, 1)
		move(250*time.Millisecond, codes.KEY_B, 2)
		move(250*time.Millisecond, codes.KEY_B, 0)
		move(5*time.Millisecond, codes.KEY_B, 1)
		move(2*time.Millisecond, codes.KEY_B, 0)
	}
	clock.Advance(time.Second)
	unplug()
	var steps []device.Input
	for range 2 {
		steps = append(steps, out.await(t, isInput).(device.Input))
	}
	for _, s := range steps {
		if id := s.Instrument; s.Act != device.Shutter || id.Model != "Foot switch (twin)" || !id.Twin || s.At.Wall.IsZero() {
			t.Errorf("%+v", s)
		}
	}
	if len(out) > 0 {
		t.Errorf("and then %+v", <-out)
	}
}

func TestOnlyTheKeyThatWasNamed(t *testing.T) {
	clock := kit.NewManual(start)
	out, twin, unplug := started(t, clock, map[string]string{"key": "KEY_F13"}, nil)
	out.await(t, health(device.Health{State: device.Live}))
	for _, k := range []uint16{codes.KEY_B, codes.KEY_F14, codes.KEY_F13} {
		clock.Advance(time.Second)
		twin.Tap(k)
	}
	unplug()
	if s := out.await(t, isInput).(device.Input); s.At.Wall.IsZero() {
		t.Errorf("%+v", s)
	}
	if len(out) > 0 {
		t.Errorf("and then %+v", <-out)
	}
}

func TestFootOnThePedal(t *testing.T) {
	clock := kit.NewManual(start)
	out, twin, _ := started(t, clock, nil, func(w *evdev.Twin) { w.Key(codes.KEY_B, 1) })
	out.await(t, health(device.Health{State: device.Settling, Reason: evdev.KeyHeld}))
	clock.AwaitWaiters(1)
	twin.Key(codes.KEY_B, 0)
	clock.Advance(time.Second)
	out.await(t, health(device.Health{State: device.Live}))
	clock.Advance(time.Second)
	twin.Tap(codes.KEY_B)
	out.await(t, isInput)
}

func TestTakenByAnother(t *testing.T) {
	inst, err := Driver().New(settings(kit.System{}, nil), make(news, 10))
	if err != nil {
		t.Fatal(err)
	}
	inst.(*pedal).twin.Seize()
	var f device.Fault
	if err := inst.Run(t.Context()); !errors.As(err, &f) || f.Health.Reason != evdev.Busy {
		t.Errorf("got %v", err)
	}
}

func TestSettingsAreChecked(t *testing.T) {
	for _, c := range []struct {
		s    device.Settings
		want string
	}{
		{device.Settings{Port: "/dev/input/event3"}, ""},
		{device.Settings{Port: "usb-port:1-1.2", Options: map[string]string{"key": "48"}}, ""},
		{device.Settings{Port: "usb:P1", Options: map[string]string{"key": "KEY_F13"}}, ""},
		{device.Settings{Port: "usb:P1", Options: map[string]string{"key": "b"}}, "KEY_B"},
		{device.Settings{Port: "usb:P1", Options: map[string]string{"key": "0"}}, "1 to 767"},
		{device.Settings{Port: "usb:P1", Options: map[string]string{"key": "768"}}, "1 to 767"},
		{device.Settings{Port: "usb:P1", Options: map[string]string{"keys": "48"}}, "the only one is key"},
		{device.Settings{Port: "COM3"}, "give a node"},
		{device.Settings{Port: "twin", Address: 3}, "no address"},
		{device.Settings{Port: "twin", Mux: "0x71.3"}, "no mux"},
	} {
		c.s.Clock = kit.System{}
		_, err := Driver().New(c.s, make(news, 1))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: got %v, want %q", c.s, err, c.want)
		}
	}
}

func TestNotPluggedIn(t *testing.T) {
	s := settings(kit.System{}, nil)
	s.Port = "usb:no-such-pedal"
	inst, err := Driver().New(s, make(news, 10))
	if err != nil {
		t.Fatal(err)
	}
	if err := inst.Run(t.Context()); !errors.Is(err, hotplug.ErrAbsent) {
		t.Errorf("got %v", err)
	}
}

func TestConformance(t *testing.T) {
	start := func(out device.Outlet) (conformance.Rig, error) {
		inst, err := Driver().New(settings(kit.System{}, nil), out)
		if err != nil {
			return conformance.Rig{}, err
		}
		twin := inst.(*pedal).twin
		return conformance.Rig{Instrument: inst, Unplug: twin.Unplug,
			Trigger: func(context.Context) error { twin.Tap(codes.KEY_B); return nil }}, nil
	}
	conformance.Run(t, conformance.Case{Name: "twin", Act: device.Shutter, Start: start})
}
