package nonin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"telecart/device"
	"telecart/device/conformance"
	"telecart/device/hotplug"
	"telecart/device/kit"
	"telecart/device/oximeter/line"
)

func TestSettingsAreChecked(t *testing.T) {
	option := func(name, value string) device.Settings {
		return device.Settings{Port: "twin", Options: map[string]string{name: value}}
	}
	for _, c := range []struct {
		s    device.Settings
		want string
	}{
		{device.Settings{Port: "/dev/ttyUSB0"}, ""},
		{device.Settings{Port: "usb:FT502JGB"}, ""},
		{device.Settings{Port: "usb-port:1-1.2"}, ""},
		{device.Settings{Port: "twin"}, ""},
		{option("format", "auto"), ""},
		{option("format", "1"), ""},
		{option("format", "13"), ""},
		{option("format", "3"), "give auto or one of 1, 2, 7, 8, 13"},
		{option("format", ""), "give auto or"},
		{option("baud", "9600"), "\"baud\": the only one is format"},
		{device.Settings{Port: "COM3"}, "like /dev/ttyUSB0"},
		{device.Settings{}, "like /dev/ttyUSB0"},
		{device.Settings{Port: "twin", Address: 3}, "has none"},
		{device.Settings{Port: "twin", Mux: "0x71.3"}, "behind none"},
	} {
		_, err := Driver().New(c.s, &story{})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: got %v, want %q", c.s, err, c.want)
		}
	}
}

func TestNoSuchPort(t *testing.T) {
	for _, port := range []string{"/dev/ttyUSB-none", "usb:NO-SUCH-OXIMETER"} {
		out := &story{}
		inst, err := Driver().New(device.Settings{Port: port, Clock: kit.System{}}, out)
		if err != nil {
			t.Fatal(err)
		}
		if err := inst.Run(t.Context()); !errors.Is(err, hotplug.ErrAbsent) || !strings.HasPrefix(err.Error(), "nonin: ") {
			t.Errorf("%s: got %v", port, err)
		}
		if len(out.lines) > 0 {
			t.Errorf("%s: told %q of what isn't there", port, out.lines)
		}
	}
}

func TestUnpluggedTwin(t *testing.T) {
	for _, f := range Formats() {
		twin, err := NewTwin(kit.System{}, f)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(twin.Unplug(), twin.Unplug(), twin.Run(t.Context())); err != nil {
			t.Error(err)
		}
	}
	if _, err := NewTwin(kit.System{}, 3); err == nil {
		t.Error("a twin of format 3")
	}
}

// hurried is the real clock, so many times as fast.
type hurried struct {
	start time.Time
	times time.Duration
}

func (h hurried) Now() time.Time                         { return h.start.Add(time.Since(h.start) * h.times) }
func (h hurried) After(d time.Duration) <-chan time.Time { return time.After(d / h.times) }

func settings(clock kit.Clock, port, format string) device.Settings {
	return device.Settings{Name: "oximeter", Driver: "nonin", Port: port, Clock: clock, Stamp: kit.NewStamper(clock, nil),
		Options: map[string]string{"format": format}}
}

// plugged is a twin that runs, and the end of it.
func plugged(clock kit.Clock, f Format) (twin *Twin, end func(), err error) {
	if twin, err = NewTwin(clock, f); err != nil {
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

// Over a real pseudo-terminal: the driver by the port's path, for every format, and the twin by its name. All are hurried.
func TestConformance(t *testing.T) {
	for _, f := range Formats() {
		quantities, clock := []string{saturation, pulseRate}, hurried{time.Now(), 16}
		switch f {
		case Format2, Format7:
			quantities = append(quantities, pleth)
		case Format1, Format8: // they are known by their pace
			clock.times = 4
		}
		conformance.Run(t, conformance.Case{Name: fmt.Sprintf("format %d", f), Quantities: quantities,
			Start: func(out device.Outlet) (conformance.Rig, error) {
				twin, end, err := plugged(clock, f)
				if err != nil {
					return conformance.Rig{}, err
				}
				inst, err := Driver().New(settings(clock, twin.Port(), "auto"), out)
				return conformance.Rig{Instrument: inst, Unplug: func() { twin.Tear() }, Close: end}, err
			}})
	}
	for _, format := range []string{"auto", "13"} {
		quantities := []string{saturation, pulseRate}
		if format == "auto" {
			quantities = append(quantities, pleth)
		}
		conformance.Run(t, conformance.Case{Name: "twin, format " + format, Quantities: quantities,
			Start: func(out device.Outlet) (conformance.Rig, error) {
				clock := hurried{time.Now(), 16}
				inst, err := Driver().New(settings(clock, "twin", format), out)
				return conformance.Rig{Instrument: inst}, err
			}})
	}
}

// heard is an outlet that hands on what comes.
type heard chan device.Observation

func (h heard) Observe(o device.Observation) {
	select {
	case h <- o:
	default:
	}
}

// until waits for an observation.
func (h heard) until(t *testing.T, what string, ok func(device.Observation) bool) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case o := <-h:
			if ok(o) {
				return
			}
		case <-timeout:
			t.Fatalf("no %s", what)
		}
	}
}

func isHealth(want device.Health) func(device.Observation) bool {
	return func(o device.Observation) bool { return o == want }
}

// started is a driver that runs on a twin.
func started(t *testing.T, clock kit.Clock, f Format, format string) (*Twin, heard, chan error) {
	twin, end, err := plugged(clock, f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(end)
	out, done := make(heard, 10_000), make(chan error, 1)
	inst, err := Driver().New(settings(clock, twin.Port(), format), out)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- inst.Run(ctx) }()
	t.Cleanup(cancel)
	return twin, out, done
}

// The twin's faults, seen through the driver and a pseudo-terminal.
func TestFaultsOfTheTwin(t *testing.T) {
	for _, f := range []Format{Format2, Format7} {
		twin, out, done := started(t, hurried{time.Now(), 16}, f, "auto")
		live := device.Health{State: device.Live}
		out.until(t, "live", isHealth(live))
		for _, c := range []struct {
			fault Fault
			want  device.Health
		}{
			{FingerOut, device.Health{State: device.Settling, Reason: device.NoFinger}},
			{SensorOff, device.Health{State: device.Faulty, Reason: device.NoSensor}},
			{Motion, device.Health{State: device.Settling, Reason: device.LowSignal}},
			{Discharged, device.Health{State: device.Live, Reason: BatteryLow}},
			{Garbage, device.Health{State: device.Faulty, Reason: UnknownFormat}},
			{Chatter, live},
			{HalfFrames, device.Health{State: device.Faulty, Reason: UnknownFormat}},
			{Healthy, live},
			{Silent, device.Health{State: device.Absent, Reason: device.NoData}},
			{Healthy, live},
		} {
			twin.Set(c.fault)
			out.until(t, fmt.Sprintf("%v after fault %d in format %d", c.want, c.fault, f), isHealth(c.want))
		}
		twin.Tear()
		if err := <-done; !errors.Is(err, line.ErrGone) || !strings.HasPrefix(err.Error(), "nonin: ") {
			t.Errorf("after the cable was pulled: %v", err)
		}
	}
}

// A record is acknowledged over the line; one that was damaged is refused, kept by the oximeter and not shown when it comes from memory.
func TestRecordsOverTheLine(t *testing.T) {
	twin, out, _ := started(t, hurried{time.Now(), 32}, Format13, "13")
	number := func(o device.Observation) bool {
		r, ok := o.(device.Reading)
		return ok && r.Quantity == pulseRate && r.Absent == "" && r.Once()
	}
	out.until(t, "number", number)
	out.until(t, "next number", number) // so the first one was acknowledged
	if acks, _ := twin.Answers(); acks == 0 {
		t.Error("no acknowledgement")
	}
	twin.Set(Noise)
	noise := 0
	out.until(t, "measurement from memory", func(o device.Observation) bool {
		noise++
		_, naks := twin.Answers()
		return o == device.Health{State: device.Settling, Reason: FromMemory} && naks > 0
	})
	twin.Set(Healthy)
	out.until(t, "number after it", number)
}

// Noise on a line without checksums: what the gates let through is near what was sent.
func TestNoise(t *testing.T) {
	for _, f := range []Format{Format1, Format8, Format2, Format7} {
		b, s := newBench(), NewStream(f, 9)
		for range 2000 {
			b.after(s.Period(), s.Bytes(Noise))
		}
		numbers := b.numbers()
		if len(numbers) < 500 {
			t.Errorf("format %d: %d numbers", f, len(numbers))
		}
		off := 0
		for _, r := range numbers {
			if low, high := int64(97-1), int64(97+1); r.Quantity == saturation && (r.Value.Coef < low || r.Value.Coef > high) {
				off++
			}
			if r.Value.Coef < 60 || r.Value.Coef > 200 {
				t.Errorf("format %d: %s %s", f, r.Quantity, r.Value)
			}
		}
		if (f == Format2 || f == Format7) && off > 0 || off > len(numbers)/50 {
			t.Errorf("format %d: %d of %d saturations are off", f, off, len(numbers))
		}
	}
}

func TestDriver(t *testing.T) {
	if !slices.Equal(Driver().Quantities, []string{"oxygen-saturation", "pulse-rate", "pleth"}) || Driver().Grade != "" || Driver().Adopts != nil {
		t.Errorf("%+v", Driver())
	}
}
