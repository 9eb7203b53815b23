package tmp117

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/i2c/i2ctest"

	"telecart/device"
	"telecart/device/conformance"
	"telecart/device/kit"
)

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func settings(clock *kit.Manual) device.Settings {
	return device.Settings{Name: "thermometer", Driver: "tmp117", Port: "/dev/i2c-1", Clock: clock, Stamp: kit.NewStamper(clock, nil)}
}

// on makes the instrument with its bus replaced.
func on(t *testing.T, bus i2c.BusCloser, s device.Settings, out device.Outlet) *thermometer {
	t.Helper()
	inst, err := Driver().New(s, out)
	if err != nil {
		t.Fatal(err)
	}
	th := inst.(*thermometer)
	th.open = func() (i2c.BusCloser, error) { return bus, nil }
	return th
}

// log is an outlet for one goroutine.
type log struct {
	readings []device.Reading
	health   []device.Health
}

func (l *log) Observe(o device.Observation) {
	switch o := o.(type) {
	case device.Reading:
		l.readings = append(l.readings, o)
	case device.Health:
		l.health = append(l.health, o)
	}
}

// drive runs the instrument for so many polls and returns what Run said. The log may be read afterwards.
func drive(th *thermometer, clock *kit.Manual, polls int, each func(poll int)) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- th.Run(ctx)
		clock.After(1 << 62)
	}()
	for i := range polls {
		clock.AwaitWaiters(1)
		each(i)
		clock.Advance(poll)
	}
	clock.AwaitWaiters(1)
	cancel()
	return <-done
}

func TestCelsius(t *testing.T) {
	for _, c := range []struct {
		raw  uint16
		want string
	}{
		{0x124D, "36.60"}, {0x1280, "37.00"}, {0x1340, "38.50"}, {0xFD80, "-5.00"}, // the datasheet's scale
		{0x0000, "0.00"}, {0x0001, "0.01"}, {0xFFFF, "-0.01"}, // 7.8 mCel
		{0x0010, "0.13"}, {0xFFF0, "-0.13"}, // 0.125: half goes away from zero, both ways
		{0x7FFF, "255.99"}, {0x8001, "-255.99"},
	} {
		if got := celsius(int16(c.raw)).String(); got != c.want {
			t.Errorf("%#04x = %s, want %s", c.raw, got, c.want)
		}
	}
}

// The exact bytes on the wire, as a logic analyser would show them.
func TestTranscript(t *testing.T) {
	clock := kit.NewManual(start)
	out := &log{}
	bus := &i2ctest.Playback{DontPanic: true, Ops: []i2ctest.IO{
		{Addr: 0x48, W: []byte{0x0F}, R: []byte{0x11, 0x17}}, // revision 1
		{Addr: 0x48, W: []byte{0x01, 0x02, 0x20}},
		{Addr: 0x48, W: []byte{0x01}, R: []byte{0x02, 0x20}}, // not ready: the temperature is not touched
		{Addr: 0x48, W: []byte{0x01}, R: []byte{0x22, 0x20}},
		{Addr: 0x48, W: []byte{0x00}, R: []byte{0x80, 0x00}}, // ready, says the chip, with its power-on value
		{Addr: 0x48, W: []byte{0x01}, R: []byte{0x22, 0x20}},
		{Addr: 0x48, W: []byte{0x00}, R: []byte{0x12, 0x4D}},
	}}
	if err := drive(on(t, bus, settings(clock), out), clock, 3, func(int) {}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	want := []device.Reading{{Quantity: "body-temperature", Unit: "Cel", Absent: device.NotYet,
		Instrument: device.Identity{Name: "thermometer", Kind: device.KindThermometer, Driver: "tmp117", Model: "TMP117 rev 1", Port: "/dev/i2c-1"},
		At:         kit.NewStamper(clock, nil).Now(), Period: device.Duration(time.Second)}}
	want[0].At.Mono = out.readings[0].At.Mono // the boot began with the settings' stamper
	if diff := cmp.Diff(want, out.readings); diff != "" {
		t.Error(diff)
	}
}

func TestAnotherChip(t *testing.T) {
	clock := kit.NewManual(start)
	bus := &i2ctest.Playback{DontPanic: true, Ops: []i2ctest.IO{{Addr: 0x48, W: []byte{0x0F}, R: []byte{0x01, 0x90}}}}
	err := on(t, bus, settings(clock), &log{}).Run(t.Context())
	if !errors.Is(err, ErrNotTMP117) || !strings.Contains(err.Error(), "0x0190") {
		t.Errorf("got %v", err)
	}
}

// A probe is put under an arm, settles, shows a number, and is taken out again.
func TestSettling(t *testing.T) {
	clock := kit.NewManual(start)
	out := &log{}
	twin := NewTwin(clock, 0x48)
	twin.SetTemperature(22_000)
	err := drive(on(t, closable{twin}, settings(clock), out), clock, 4*150, func(i int) {
		switch i {
		case 4 * 20:
			twin.Approach(37_100, 5*time.Second)
		case 4 * 130:
			twin.SetTemperature(24_000)
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	var story []string
	at := map[string]time.Duration{}
	for i, h := range out.health[1:] {
		word := string(h.Reason)
		if h.State == device.Live {
			word = out.readings[i].Value.String()
		} else if out.readings[i].Absent != device.NotYet || out.readings[i].Value != (device.Decimal{}) {
			t.Fatalf("health %v came with %v", h, out.readings[i])
		}
		if len(story) == 0 || story[len(story)-1] != word {
			story = append(story, word)
			at[word] = out.readings[i].At.Wall.Sub(start)
		}
	}
	if diff := cmp.Diff([]string{string(NotOnPatient), string(Settling), "37.10", string(NotOnPatient)}, story); diff != "" {
		t.Error(diff)
	}
	// 15.1 Cel away with tau 5 s is flat after ln(15.1/5/0.002) x 5 = 37 s, the fit lags by half its span, then 30 s.
	if got := at["37.10"] - 20*time.Second; got < 67*time.Second || got > 80*time.Second {
		t.Errorf("the number came %s after the probe was placed", got)
	}
}

func TestEquilibriumToleratesNoiseNotDrift(t *testing.T) {
	for _, c := range []struct {
		name string
		raw  func(second int) int16
		want bool
	}{
		{"one bit of noise", func(s int) int16 { return 4736 + int16(s&1) }, true},
		{"0.01 Cel in 10 s", func(s int) int16 { return 4736 + int16(s*128/1000) }, true},
		{"0.03 Cel in 10 s", func(s int) int16 { return 4736 + int16(s*3*128/1000) }, false},
		{"cooling 0.03 Cel in 10 s", func(s int) int16 { return 4736 - int16(s*3*128/1000) }, false},
	} {
		eq := equilibrium{hold: 30 * time.Second}
		var got bool
		for s := range 120 {
			got = eq.add(start.Add(time.Duration(s)*time.Second), c.raw(s))
			if got && s < 40 {
				t.Fatalf("%s: settled after %d s", c.name, s)
			}
		}
		if got != c.want {
			t.Errorf("%s: settled = %v", c.name, got)
		}
	}
}

func TestEquilibriumIsBounded(t *testing.T) {
	eq := equilibrium{hold: time.Second}
	for i := range 10_000 {
		eq.add(start.Add(time.Duration(i)*time.Millisecond), 4736)
	}
	if len(eq.samples) > maxSamples {
		t.Errorf("%d samples kept", len(eq.samples))
	}
}

func TestGlitchesAndLoss(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(*Twin)
		want error
	}{
		{"two missed polls", func(w *Twin) { w.NACK(2) }, context.Canceled},
		{"three missed polls", func(w *Twin) { w.NACK(3) }, ErrNACK},
		{"unplugged", (*Twin).Unplug, ErrNACK},
		{"shut down by somebody else", func(w *Twin) { w.Write([]byte{regConfig, 0x04, 0x00}) }, ErrNoConversion},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock := kit.NewManual(start)
			twin := NewTwin(clock, 0x48)
			err := drive(on(t, closable{twin}, settings(clock), &log{}), clock, 40, func(i int) {
				if i == 10 {
					c.do(twin)
				}
			})
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestSettingsAreChecked(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*device.Settings)
		want string // "" is none
	}{
		{"default", func(*device.Settings) {}, ""},
		{"strapped", func(s *device.Settings) { s.Address = 0x4B }, ""},
		{"quick", func(s *device.Settings) { s.Options = map[string]string{"settle_s": "3"} }, ""},
		{"address", func(s *device.Settings) { s.Address = 0x40 }, "0x48, 0x49, 0x4a or 0x4b"},
		{"port", func(s *device.Settings) { s.Port = "/dev/ttyUSB0" }, "like /dev/i2c-1"},
		{"bus", func(s *device.Settings) { s.Port = "/dev/i2c-x" }, "like /dev/i2c-1"},
		{"settle", func(s *device.Settings) { s.Options = map[string]string{"settle_s": "2"} }, "3 to 120"},
		{"word", func(s *device.Settings) { s.Options = map[string]string{"settle_s": "long"} }, "3 to 120"},
		{"option", func(s *device.Settings) { s.Options = map[string]string{"settle": "3"} }, "settle_s"},
	} {
		s := settings(kit.NewManual(start))
		c.edit(&s)
		_, err := Driver().New(s, &log{})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestConformance(t *testing.T) {
	rig := func(port string, out device.Outlet) (conformance.Rig, error) {
		clock := kit.NewManual(start)
		s := settings(clock)
		s.Port, s.Options = port, map[string]string{"settle_s": "3"}
		inst, err := Driver().New(s, out)
		r := conformance.Rig{Instrument: inst, Clock: clock, Step: poll}
		if err == nil && !s.Twin() {
			twin := NewTwin(clock, 0x48)
			twin.SetTemperature(36_600)
			inst.(*thermometer).open = func() (i2c.BusCloser, error) { return closable{twin}, nil }
			r.Unplug = twin.Unplug
		}
		return r, err
	}
	for name, port := range map[string]string{"driver": "/dev/i2c-1", "twin": "twin"} {
		conformance.Run(t, conformance.Case{Name: name, Quantities: []string{"body-temperature"},
			Start: func(out device.Outlet) (conformance.Rig, error) { return rig(port, out) }})
	}
}
