package cms50d

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"telecart/device"
	"telecart/device/conformance"
	"telecart/device/hotplug"
	"telecart/device/kit"
	"telecart/device/oximeter/line"
)

// deaf is an outlet that nobody listens to.
type deaf struct{}

func (deaf) Observe(device.Observation) {}

func TestSettingsAreChecked(t *testing.T) {
	for _, c := range []struct {
		s    device.Settings
		want string
	}{
		{device.Settings{Port: "/dev/ttyUSB0"}, ""},
		{device.Settings{Port: "usb:0001"}, ""},
		{device.Settings{Port: "twin"}, ""},
		{device.Settings{Port: "COM3"}, "like /dev/ttyUSB0"},
		{device.Settings{Port: "twin", Address: 3}, "has none"},
		{device.Settings{Port: "twin", Mux: "0x71.3"}, "behind none"},
		{device.Settings{Port: "twin", Options: map[string]string{"parity": "odd"}}, "\"parity\": there are none"},
	} {
		_, err := Driver().New(c.s, deaf{})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: got %v, want %q", c.s, err, c.want)
		}
	}
	if d := Driver(); d.Grade != device.Consumer || d.Adopts != nil {
		t.Errorf("%+v", d)
	}
}

func TestNoSuchPort(t *testing.T) {
	inst, err := Driver().New(device.Settings{Port: "/dev/ttyUSB-none", Clock: kit.System{}}, deaf{})
	if err != nil {
		t.Fatal(err)
	}
	if err := inst.Run(t.Context()); !errors.Is(err, hotplug.ErrAbsent) || !strings.HasPrefix(err.Error(), "cms50d: ") {
		t.Errorf("got %v", err)
	}
}

// hurried is the real clock, four times as fast.
type hurried struct{ start time.Time }

const times = 4

func (h hurried) Now() time.Time                         { return h.start.Add(time.Since(h.start) * times) }
func (h hurried) After(d time.Duration) <-chan time.Time { return time.After(d / times) }

func settings(clock kit.Clock, port string) device.Settings {
	return device.Settings{Name: "oximeter", Driver: "cms50d", Port: port, Clock: clock, Stamp: kit.NewStamper(clock, nil)}
}

// plugged is a twin that runs, and the end of it.
func plugged(clock kit.Clock) (twin *Twin, end func(), err error) {
	if twin, err = NewTwin(clock); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		twin.Run(ctx)
	}()
	return twin, func() { cancel(); twin.Unplug(); <-ended }, nil
}

// Over a real pseudo-terminal: the driver by the port's path, and the twin by its name.
func TestConformance(t *testing.T) {
	quantities := []string{saturation, pulseRate, pleth}
	conformance.Run(t, conformance.Case{Name: "port", Quantities: quantities, Start: func(out device.Outlet) (conformance.Rig, error) {
		clock := hurried{time.Now()}
		twin, end, err := plugged(clock)
		if err != nil {
			return conformance.Rig{}, err
		}
		inst, err := Driver().New(settings(clock, twin.Port()), out)
		return conformance.Rig{Instrument: inst, Unplug: func() { twin.Tear() }, Close: end}, err
	}})
	conformance.Run(t, conformance.Case{Name: "twin", Quantities: quantities, Start: func(out device.Outlet) (conformance.Rig, error) {
		inst, err := Driver().New(settings(hurried{time.Now()}, "twin"), out)
		return conformance.Rig{Instrument: inst}, err
	}})
}

// heard is an outlet that hands on what comes.
type heard chan device.Observation

func (h heard) Observe(o device.Observation) {
	select {
	case h <- o:
	default:
	}
}

// The twin's faults, seen through the driver and a pseudo-terminal.
func TestFaultsOfTheTwin(t *testing.T) {
	clock := hurried{time.Now()}
	twin, end, err := plugged(clock)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	out, done := make(heard, 10_000), make(chan error, 1)
	inst, err := Driver().New(settings(clock, twin.Port()), out)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { done <- inst.Run(ctx) }()
	live := device.Health{State: device.Live}
	for _, c := range []struct {
		fault Fault
		want  device.Health
	}{
		{Healthy, live},
		{FingerOut, device.Health{State: device.Settling, Reason: device.NoFinger}},
		{Searching, device.Health{State: device.Settling, Reason: device.NotYet}},
		{ProbeError, device.Health{State: device.Faulty, Reason: device.SensorFault}},
		{NoValues, device.Health{State: device.Settling, Reason: device.LowSignal}},
		{Healthy, live},
		{HalfFrames, device.Health{State: device.Settling, Reason: device.LowSignal}},
		{Noise, live},
		{Silent, device.Health{State: device.Absent, Reason: device.NoData}},
		{Garbage, device.Health{State: device.Faulty, Reason: UnknownFormat}},
		{Healthy, live},
	} {
		twin.Set(c.fault)
		timeout := time.After(20 * time.Second)
		for got := false; !got; {
			select {
			case o := <-out:
				got = o == c.want
			case <-timeout:
				t.Fatalf("no %v after fault %d", c.want, c.fault)
			}
		}
	}
	twin.Tear()
	if err := <-done; !errors.Is(err, line.ErrGone) || !strings.HasPrefix(err.Error(), "cms50d: ") {
		t.Errorf("after the cable was pulled: %v", err)
	}
}

// What the settings promise about the twin: its heart beats as it says.
func TestPlethIsAHeart(t *testing.T) {
	s := NewStream(3)
	beats, armed := 0, false
	for range 20 * perSecond {
		switch v := s.Packet(Healthy).Pleth; {
		case armed && v > 80:
			beats, armed = beats+1, false
		case v < 40:
			armed = true
		}
	}
	if beats < 25 || beats > 31 { // 78 to 90 a minute
		t.Errorf("%d beats in 20 s", beats)
	}
}
