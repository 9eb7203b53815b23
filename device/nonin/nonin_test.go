package nonin

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"telecart/device"
	"telecart/device/conformance"
	"telecart/device/kit"
)

// story is an outlet for one goroutine that writes down what changed, in words.
type story struct {
	lines   []string
	samples []device.Samples
}

func (s *story) tell(line string) {
	if len(s.lines) == 0 || s.lines[len(s.lines)-1] != line {
		s.lines = append(s.lines, line)
	}
}

func (s *story) Observe(o device.Observation) {
	switch o := o.(type) {
	case device.Health:
		s.tell(strings.TrimSpace(fmt.Sprintf("health %s %s", o.State, o.Reason)))
	case device.Samples:
		s.samples = append(s.samples, o)
	case device.Reading:
		if o.Absent != "" {
			s.tell(o.Quantity + " absent " + string(o.Absent))
			return
		}
		s.tell(strings.TrimSpace(fmt.Sprintf("%s %s%s %s", o.Quantity, o.Value, o.Unit, o.Quality)))
	}
}

// bench is a session and the time it lives in.
type bench struct {
	story
	s     *session
	clock *kit.Manual
}

func newBench() *bench {
	b := &bench{clock: kit.NewManual(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC))}
	o := &oximeter{id: device.Identity{Name: "oximeter"}, clock: b.clock, stamp: kit.NewStamper(b.clock, nil), out: b}
	b.s = newSession(o, b.clock.Now())
	return b
}

func (b *bench) after(d time.Duration, bytes []byte) {
	b.clock.Advance(d)
	b.s.take(b.clock.Now(), bytes)
}

// packet is one with fixed values and a status in every frame.
func packet(f Format, status byte, rate, spo2 int) *Packet {
	p := &Packet{Format: f}
	for i := range p.Status {
		p.Status[i] = statusMark | status
	}
	p.Status[0] |= statusSync
	p.Data[atRateDisp], p.Data[atRateDisp+1], p.Data[atSaturationDisp] = byte(rate>>7), byte(rate&0x7F), byte(spo2)
	return p
}

func TestWhatIsReported(t *testing.T) {
	const green, yellow, red = 1 << 1, 3 << 1, 2 << 1
	for _, c := range []struct {
		name       string
		status     byte
		rate, spo2 int
		want       []string
		waves      int
	}{
		{"good", green, 112, 97, []string{"health live", "oxygen-saturation 97% good-perfusion", "pulse-rate 112/min good-perfusion"}, 1},
		{"marginal", yellow, 112, 97, []string{"health live", "oxygen-saturation 97% marginal-perfusion", "pulse-rate 112/min marginal-perfusion"}, 1},
		{"low", red, 250, 97, []string{"health live", "oxygen-saturation 97% low-perfusion", "pulse-rate 250/min low-perfusion"}, 1},
		{"between two beats", 0, 60, 97, []string{"health live", "oxygen-saturation 97%", "pulse-rate 60/min"}, 1},
		{"sensor off", statusNoSensor, 511, 127, []string{"health faulty no-sensor", "oxygen-saturation absent no-sensor", "pulse-rate absent no-sensor"}, 0},
		{"sensor off, old numbers", statusNoSensor, 112, 97, []string{"health faulty no-sensor", "oxygen-saturation absent no-sensor", "pulse-rate absent no-sensor"}, 0},
		{"no finger", statusAlarm | statusOutOfTrack, 511, 127, []string{"health settling no-finger", "oxygen-saturation absent no-finger", "pulse-rate absent no-finger"}, 0},
		{"out of track", statusOutOfTrack, 112, 97, []string{"health settling low-signal", "oxygen-saturation absent low-signal", "pulse-rate absent low-signal"}, 1},
		{"artifact", statusArtifact, 112, 97, []string{"health settling low-signal", "oxygen-saturation absent low-signal", "pulse-rate absent low-signal"}, 1},
		{"no rate yet", 0, 511, 97, []string{"health settling low-signal", "oxygen-saturation 97%", "pulse-rate absent low-signal"}, 1},
		{"no saturation yet", 0, 112, 127, []string{"health settling low-signal", "oxygen-saturation absent low-signal", "pulse-rate 112/min"}, 1},
		{"impossible", 0, 400, 110, []string{"health faulty sensor-fault", "oxygen-saturation absent sensor-fault", "pulse-rate absent sensor-fault"}, 1},
		{"zeros", 0, 0, 0, []string{"health faulty sensor-fault", "oxygen-saturation absent sensor-fault", "pulse-rate absent sensor-fault"}, 1},
	} {
		for _, f := range []Format{Format2, Format7} {
			b := newBench()
			b.after(packetPeriod, append(packet(f, c.status, c.rate, c.spo2).Append(nil), syncFrame(f)...))
			if diff := cmp.Diff(append([]string{"health settling settling"}, c.want...), b.lines); diff != "" {
				t.Errorf("%s, format %d: %s", c.name, f, diff)
			}
			if len(b.samples) != c.waves {
				t.Errorf("%s, format %d: %d stretches of pleth", c.name, f, len(b.samples))
			}
		}
	}
}

func TestBatteryLow(t *testing.T) {
	p := packet(Format2, 0, 72, 97)
	p.Data[atStatus2] = lowBattery
	if h := health(p, "", ""); h != (device.Health{State: device.Live, Reason: BatteryLow}) {
		t.Errorf("health %v", h)
	}
}

// The colour of a pulse holds until the next, at most 3 s.
func TestPerfusionHolds(t *testing.T) {
	b := newBench()
	b.after(packetPeriod, packet(Format2, 1<<1, 60, 97).Append(nil))
	for range 11 {
		b.after(packetPeriod, packet(Format2, 0, 60, 97).Append(nil))
	}
	want := []string{"health settling settling",
		"health live", "oxygen-saturation 97% good-perfusion", "pulse-rate 60/min good-perfusion"}
	for range 9 {
		want = append(want, want[1:4]...)
	}
	want = append(want, "health live", "oxygen-saturation 97%", "pulse-rate 60/min")
	if diff := cmp.Diff(want, b.lines); diff != "" {
		t.Error(diff)
	}
}

func TestSilenceIsNotTheLastValue(t *testing.T) {
	b := newBench()
	b.after(packetPeriod, append(packet(Format2, 0, 72, 97).Append(nil), syncFrame(Format2)...))
	b.lines = nil
	for range 29 {
		b.after(100*time.Millisecond, nil)
	}
	if len(b.lines) > 0 {
		t.Fatalf("in the first 2.9 s: %q", b.lines)
	}
	for range 60 {
		b.after(100*time.Millisecond, nil)
	}
	if diff := cmp.Diff([]string{"health absent no-data"}, b.lines); diff != "" {
		t.Error(diff)
	}
	// Another oximeter, in another format, on the same cable.
	b.after(packetPeriod, append(packet(Format7, 0, 80, 99).Append(nil), syncFrame(Format7)...))
	if diff := cmp.Diff([]string{"health absent no-data", "health live", "oxygen-saturation 99%", "pulse-rate 80/min"}, b.lines); diff != "" {
		t.Error(diff)
	}
}

func TestBytesThatAreNoPackets(t *testing.T) {
	b := newBench()
	s := NewStream(Format2, 1)
	for range 10 {
		b.after(packetPeriod, s.Bytes(Garbage))
	}
	if diff := cmp.Diff([]string{"health settling settling", "health faulty unknown-format"}, b.lines); diff != "" {
		t.Error(diff)
	}
	for range 12 {
		b.after(packetPeriod, s.Bytes(HalfFrames))
	}
	if got := len(b.lines); got != 2 {
		t.Errorf("half frames gave %q", b.lines[2:])
	}
}

func TestPlethIsAHeart(t *testing.T) {
	for _, f := range []Format{Format2, Format7} {
		b, s := newBench(), NewStream(f, 5)
		for range 61 { // 20 s, and the SYNC of what follows
			b.after(packetPeriod, s.Bytes(Healthy))
		}
		var beats, n int
		armed := false
		top := int32(0xFF)
		if f == Format7 {
			top = 0xFFFF
		}
		for _, x := range b.samples {
			if x.RateHz != 75 || len(x.Values) != 25 || x.Unit != "1" || x.Quantity != "pleth" {
				t.Fatalf("samples %+v", x)
			}
			for _, v := range x.Values {
				n++
				if armed && v > top*6/10 {
					beats++
					armed = false
				} else if v < top*4/10 {
					armed = true
				}
			}
		}
		if n != 1500 || beats < 36 || beats > 39 { // 112 a minute in 20 s: 37.3
			t.Errorf("format %d: %d values, %d beats", f, n, beats)
		}
	}
}

func TestSettingsAreChecked(t *testing.T) {
	for _, c := range []struct {
		s    device.Settings
		want string
	}{
		{device.Settings{Port: "/dev/ttyUSB0"}, ""},
		{device.Settings{Port: "twin"}, ""},
		{device.Settings{Port: "COM3"}, "like /dev/ttyUSB0"},
		{device.Settings{}, "like /dev/ttyUSB0"},
		{device.Settings{Port: "twin", Address: 3}, "has none"},
		{device.Settings{Port: "twin", Options: map[string]string{"format": "2"}}, "found by itself"},
	} {
		_, err := Driver().New(c.s, &story{})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: got %v, want %q", c.s, err, c.want)
		}
	}
}

func TestNoSuchPort(t *testing.T) {
	inst, err := Driver().New(device.Settings{Port: "/dev/ttyUSB-none", Clock: kit.System{}}, &story{})
	if err != nil {
		t.Fatal(err)
	}
	if err := inst.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "open /dev/ttyUSB-none") {
		t.Errorf("got %v", err)
	}
}

func TestUnpluggedTwin(t *testing.T) {
	twin, err := NewTwin(kit.System{}, Format2)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(twin.Unplug(), twin.Unplug(), twin.Run(t.Context())); err != nil {
		t.Error(err)
	}
	if _, err := NewTwin(kit.System{}, 8); err == nil {
		t.Error("a twin of format 8")
	}
}

// Over a real pseudo-terminal, in real time: the driver by the port's path, in both formats, and the twin by its name.
func TestConformance(t *testing.T) {
	settings := func(port string) device.Settings {
		return device.Settings{Name: "oximeter", Driver: "nonin", Port: port, Clock: kit.System{}, Stamp: kit.NewStamper(kit.System{}, nil)}
	}
	quantities := []string{saturation, pulseRate, pleth}
	for _, f := range []Format{Format2, Format7} {
		conformance.Run(t, conformance.Case{Name: fmt.Sprintf("format %d", f), Quantities: quantities,
			Start: func(out device.Outlet) (conformance.Rig, error) {
				twin, err := NewTwin(kit.System{}, f)
				if err != nil {
					return conformance.Rig{}, err
				}
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					twin.Run(t.Context())
				}()
				inst, err := Driver().New(settings(twin.Port()), out)
				unplug := func() { twin.Unplug() }
				return conformance.Rig{Instrument: inst, Unplug: unplug, Close: func() { unplug(); <-ended }}, err
			}})
	}
	conformance.Run(t, conformance.Case{Name: "twin", Quantities: quantities,
		Start: func(out device.Outlet) (conformance.Rig, error) {
			inst, err := Driver().New(settings("twin"), out)
			return conformance.Rig{Instrument: inst}, err
		}})
}
