package tmp117

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"periph.io/x/conn/v3/i2c"

	"telecart/device"
	"telecart/device/bus"
	"telecart/device/bus/simbus"
	"telecart/device/bus/transcript"
	"telecart/device/bus/wiring"
	"telecart/device/conformance"
	"telecart/device/kit"
)

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func settings(clock *kit.Manual) device.Settings {
	return device.Settings{Name: "thermometer", Driver: "tmp117", Port: "/dev/i2c-1", Clock: clock, Stamp: kit.NewStamper(clock, nil)}
}

// on makes the instrument with a bus of models.
func on(t *testing.T, b i2c.BusCloser, s device.Settings, out device.Outlet) device.Instrument {
	t.Helper()
	s.Buses = bus.Simulated(func(string) (i2c.BusCloser, error) { return b, nil })
	inst, err := Driver().New(s, out)
	if err != nil {
		t.Fatal(err)
	}
	return inst
}

// closable is a bus with one chip on it.
type closable struct{ *Twin }

func (closable) Close() error { return nil }

// played is a bus on which the transcript happens.
func played(t *testing.T, text string) *transcript.Player {
	t.Helper()
	all, err := transcript.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return transcript.Play(all)
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
func drive(th device.Instrument, clock *kit.Manual, polls int, each func(poll int)) error {
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
	player := played(t, `
		48 w 0f r 1117
		48 w 010220
		# not ready: the temperature is not touched
		48 w 01 r 0220
		# ready, says the chip, with its power-on value
		48 w 01 r 2220
		48 w 00 r 8000
		48 w 01 r 2220
		48 w 00 r 124d`)
	if err := drive(on(t, player, settings(clock), out), clock, 3, func(int) {}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := player.Left(); err != nil {
		t.Error(err)
	}
	want := []device.Reading{{Quantity: "body-temperature", Unit: "Cel", Absent: device.NotYet,
		Instrument: device.Identity{Name: "thermometer", Kind: device.KindThermometer, Driver: "tmp117",
			Model: "TMP117 rev 1", Port: "/dev/i2c-1"},
		At: kit.NewStamper(clock, nil).Now(), Period: device.Duration(time.Second)}}
	want[0].At.Mono = out.readings[0].At.Mono // the boot began with the settings' stamper
	if diff := cmp.Diff(want, out.readings); diff != "" {
		t.Error(diff)
	}
}

func TestAnotherChip(t *testing.T) {
	clock := kit.NewManual(start)
	err := on(t, played(t, "48 w 0f r 0190"), settings(clock), &log{}).Run(t.Context())
	var f device.Fault
	if !errors.As(err, &f) || f.Health.Reason != wiring.WrongChip || !strings.Contains(err.Error(), "0x0190") {
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
	if diff := cmp.Diff([]string{"not-on-patient", "settling", "37.10", "not-on-patient"}, story); diff != "" {
		t.Error(diff)
	}
	// 15.1 Cel away with tau 5 s is flat after ln(15.1/5/0.002) x 5 = 37 s, the fit lags by half its span, then 30 s.
	if got := at["37.10"] - 20*time.Second; got < 67*time.Second || got > 80*time.Second {
		t.Errorf("the number came %s after the probe was placed", got)
	}
}

func TestGlitchesAndLoss(t *testing.T) {
	for _, c := range []struct {
		name  string
		do    func(*Twin)
		every int // polls, again; 0: once
		want  error
	}{
		{"two missed polls", func(w *Twin) { w.NACK(2) }, 0, context.Canceled},
		{"two missed polls, again and again", func(w *Twin) { w.NACK(2) }, 3, context.Canceled},
		{"three missed polls", func(w *Twin) { w.NACK(3) }, 0, ErrNACK},
		{"unplugged", (*Twin).Unplug, 0, ErrNACK},
		{"shut down by somebody else", func(w *Twin) { w.Write([]byte{regConfig, 0x04, 0x00}) }, 0, ErrNoConversion},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock := kit.NewManual(start)
			twin := NewTwin(clock, 0x48)
			err := drive(on(t, closable{twin}, settings(clock), &log{}), clock, 40, func(i int) {
				if i == 10 || c.every > 0 && i > 10 && (i-10)%c.every == 0 {
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
		{"behind a mux", func(s *device.Settings) { s.Mux = "0x71.3" }, ""},
		{"address", func(s *device.Settings) { s.Address = 0x40 }, "0x48 to 0x4b"},
		{"mux", func(s *device.Settings) { s.Mux = "0x71" }, "like 0x71.3"},
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

// What goes over the bus until the first value, on the twin: it doesn't change unnoticed, and gives the same when played.
func TestStartIsAsRecorded(t *testing.T) {
	const polls = 10
	recorded, err := os.ReadFile("testdata/start.i2c")
	if err != nil {
		t.Fatal(err)
	}
	run := func(b i2c.BusCloser, clock *kit.Manual) []device.Reading {
		out := &log{}
		if err := drive(on(t, b, settings(clock), out), clock, polls, func(int) {}); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		for i := range out.readings {
			out.readings[i].At = kit.Stamp{}
		}
		return out.readings
	}
	clock := kit.NewManual(start)
	twin := NewTwin(clock, 0x48)
	twin.SetTemperature(36_600)
	var text strings.Builder
	first := run(transcript.Record(closable{twin}, &text), clock)
	if diff := cmp.Diff(string(recorded), text.String()); diff != "" {
		t.Error(diff)
	}
	player := played(t, string(recorded))
	if diff := cmp.Diff(first, run(player, kit.NewManual(start))); diff != "" || len(first) != 3 {
		t.Errorf("%d readings; played: %s", len(first), diff)
	}
	if err := player.Left(); err != nil {
		t.Error(err)
	}
}

// Two thermometers at one address are both told, and neither is asked anything.
func TestAddressConflict(t *testing.T) {
	clock := kit.NewManual(start)
	player := played(t, "")
	buses := bus.Simulated(func(string) (i2c.BusCloser, error) { return player, nil })
	var both []device.Instrument
	for _, name := range []string{"left", "right"} {
		s := settings(clock)
		s.Name, s.Buses = name, buses
		inst, err := Driver().New(s, &log{})
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, inst)
	}
	for _, inst := range both {
		var f device.Fault
		err := inst.Run(t.Context())
		if !errors.As(err, &f) || f.Health.Reason != wiring.AddressConflict {
			t.Fatalf("got %v", err)
		}
		if !strings.Contains(err.Error(), "left (0x48") || !strings.Contains(err.Error(), "right (0x48") {
			t.Errorf("%v: it must name both", err)
		}
	}
}

// A bus that gets stuck in the middle is told from a chip that is gone.
func TestBusStuck(t *testing.T) {
	clock := kit.NewManual(start)
	sim := &simbus.Bus{}
	sim.Attach(0x48, NewTwin(clock, 0x48))
	err := drive(on(t, sim, settings(clock), &log{}), clock, 40, func(i int) {
		if i == 10 {
			sim.Hold()
		}
	})
	var f device.Fault
	if !errors.As(err, &f) || f.Health != (device.Health{State: device.Faulty, Reason: wiring.BusStuck}) {
		t.Errorf("got %v", err)
	}
}

func TestConformance(t *testing.T) {
	for name, edit := range map[string]func(*device.Settings, *Twin){
		"twin": func(s *device.Settings, _ *Twin) { s.Port = "twin" },
		"driver": func(s *device.Settings, twin *Twin) {
			sim := &simbus.Bus{}
			sim.Attach(0x48, twin)
			s.Buses = bus.Simulated(sim.Open)
		},
		"driver behind a mux": func(s *device.Settings, twin *Twin) {
			sim := &simbus.Bus{}
			sim.Mux(0x71).Attach(3, 0x48, twin)
			s.Mux, s.Buses = "0x71.3", bus.Simulated(sim.Open)
		},
	} {
		conformance.Run(t, conformance.Case{Name: name, Quantities: []string{"body-temperature"},
			Start: func(out device.Outlet) (conformance.Rig, error) {
				clock := kit.NewManual(start)
				s, twin := settings(clock), NewTwin(clock, 0x48)
				s.Options = map[string]string{"settle_s": "3"}
				twin.SetTemperature(36_600)
				edit(&s, twin)
				inst, err := Driver().New(s, out)
				r := conformance.Rig{Instrument: inst, Clock: clock, Step: poll}
				if !s.Twin() {
					r.Unplug = twin.Unplug
				}
				return r, err
			}})
	}
}

// Every value of the register is a temperature to within half of the last digit shown.
func FuzzCelsius(f *testing.F) {
	for _, v := range []uint16{0x124D, 0x1280, 0x1340, 0xFD80, 0x8000, 0x7FFF, 0xFFF0} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v uint16) {
		raw := int64(int16(v))
		d := celsius(int16(v))
		if d.Exp != -2 || abs(d.Coef*lsbPerCel-raw*100) > lsbPerCel/2 {
			t.Fatalf("%#04x = %s", v, d)
		}
		if m := milli(int16(v)); abs(int64(m)*lsbPerCel-raw*1000) >= lsbPerCel {
			t.Fatalf("%#04x = %d mCel", v, m)
		}
	})
}

func abs(x int64) int64 { return max(x, -x) }
