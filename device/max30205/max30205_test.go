package max30205

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
	"telecart/device/tmp117"
)

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func settings(clock *kit.Manual) device.Settings {
	return device.Settings{Name: "thermometer", Driver: "max30205", Port: "/dev/i2c-1", Clock: clock,
		Stamp: kit.NewStamper(clock, nil)}
}

// on makes the instrument with a bus of models.
func on(t *testing.T, b i2c.BusCloser, clock *kit.Manual, out device.Outlet) device.Instrument {
	t.Helper()
	s := settings(clock)
	s.Buses = bus.Simulated(func(string) (i2c.BusCloser, error) { return b, nil })
	inst, err := Driver().New(s, out)
	if err != nil {
		t.Fatal(err)
	}
	return inst
}

// with is a bus with one chip on it.
func with(c simbus.Chip) *simbus.Bus {
	sim := &simbus.Bus{}
	sim.Attach(0x48, c)
	return sim
}

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

// drive runs the instrument until a time, and returns what Run said. each is called whenever the instrument waits; the log
// may be read afterwards.
func drive(inst device.Instrument, clock *kit.Manual, until time.Duration, each func(elapsed time.Duration)) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- inst.Run(ctx)
		clock.After(1 << 62)
	}()
	for elapsed := time.Duration(0); elapsed < until; elapsed += step {
		clock.AwaitWaiters(1)
		each(elapsed)
		clock.Advance(step)
	}
	clock.AwaitWaiters(1)
	cancel()
	return <-done
}

const step = 20 * time.Millisecond // divides both waits of the driver

func nothing(time.Duration) {}

func TestCelsius(t *testing.T) {
	for _, c := range []struct {
		raw  uint16
		want string
	}{
		{0x249A, "36.60"}, {0x2500, "37.00"}, {0x2680, "38.50"}, // the reference's vectors
		{0x0000, "0.00"}, {0x0001, "0.00"}, {0xFFFF, "0.00"}, {0x0002, "0.01"}, {0xFFFE, "-0.01"},
		{0x0020, "0.13"}, {0xFFE0, "-0.13"}, // 0.125: half goes away from zero, both ways
		{0x7FFF, "128.00"}, {0x8000, "-128.00"},
	} {
		if got := celsius(int16(c.raw)).String(); got != c.want {
			t.Errorf("%#04x = %s, want %s", c.raw, got, c.want)
		}
	}
}

// The exact bytes on the wire, with a configuration that somebody left behind.
func TestTranscript(t *testing.T) {
	clock := kit.NewManual(start)
	out := &log{}
	player := played(t, `
		# what is there is read, two opposite values are tried, one conversion is made, and what was there is put back
		48 w 01 r 1a
		48 w 0179
		48 w 01 r 79
		48 w 0101
		48 w 01 r 01
		48 w 0181
		48 w 01 r 01
		48 w 00 r 1600
		48 w 011a
		# at work; a one-shot bit that reads as it was written is no surprise
		48 w 0101
		48 w 0181
		48 w 01 r 81
		48 w 00 r 249a
		48 w 0181`)
	if err := drive(on(t, player, clock, out), clock, 1100*time.Millisecond, nothing); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := player.Left(); err != nil {
		t.Error(err)
	}
	want := []device.Reading{{Quantity: "body-temperature", Unit: "Cel", Absent: device.NotYet,
		Instrument: device.Identity{Name: "thermometer", Kind: device.KindThermometer, Driver: "max30205", Port: "/dev/i2c-1"},
		Period:     device.Duration(time.Second)}}
	for i := range out.readings {
		out.readings[i].At = kit.Stamp{}
	}
	if diff := cmp.Diff(want, out.readings); diff != "" {
		t.Error(diff)
	}
}

// What goes over the bus until the third value, on the twin: it doesn't change unnoticed, and gives the same when played.
func TestStartIsAsRecorded(t *testing.T) {
	recorded, err := os.ReadFile("testdata/start.i2c")
	if err != nil {
		t.Fatal(err)
	}
	run := func(b i2c.BusCloser, clock *kit.Manual) []device.Reading {
		out := &log{}
		if err := drive(on(t, b, clock, out), clock, 2500*time.Millisecond, nothing); !errors.Is(err, context.Canceled) {
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
	first := run(transcript.Record(with(twin), &text), clock)
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

// A probe is put under an arm, settles, shows a number, and is taken out again.
func TestSettling(t *testing.T) {
	clock := kit.NewManual(start)
	out := &log{}
	twin := NewTwin(clock, 0x48)
	twin.SetTemperature(22_000)
	err := drive(on(t, with(twin), clock, out), clock, 150*time.Second, func(elapsed time.Duration) {
		switch elapsed {
		case 20 * time.Second:
			twin.Approach(36_600, 5*time.Second)
		case 130 * time.Second:
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
	if diff := cmp.Diff([]string{"not-on-patient", "settling", "36.60", "not-on-patient"}, story); diff != "" {
		t.Error(diff)
	}
	// 14.6 Cel away with tau 5 s is flat after ln(14.6/5/0.002) x 5 = 36 s, the fit lags by half its span, then 30 s.
	if got := at["36.60"] - 20*time.Second; got < 66*time.Second || got > 80*time.Second {
		t.Errorf("the number came %s after the probe was placed", got)
	}
}

func TestGlitchesAndLoss(t *testing.T) {
	stuck := func(w *Twin) { w.do(func() { w.config, w.done = 0x61, time.Time{} }) }
	for _, c := range []struct {
		name  string
		do    func(*Twin)
		every time.Duration // again; 0: once
		want  error
	}{
		{"two missed messages", func(w *Twin) { w.NACK(2) }, 0, context.Canceled},
		{"two missed messages, again and again", func(w *Twin) { w.NACK(2) }, 3 * time.Second, context.Canceled},
		{"three conversions missed", func(w *Twin) { w.NACK(3) }, 0, ErrNACK},
		{"unplugged", (*Twin).Unplug, 0, ErrNACK},
		{"one brown-out", (*Twin).BrownOut, 0, context.Canceled},
		{"brown-outs without end", (*Twin).BrownOut, step, ErrRestarted},
		{"configured by somebody else, again and again", stuck, step, ErrRestarted},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock := kit.NewManual(start)
			twin := NewTwin(clock, 0x48)
			const from = 3 * time.Second
			err := drive(on(t, with(twin), clock, &log{}), clock, 20*time.Second, func(elapsed time.Duration) {
				if elapsed == from || c.every > 0 && elapsed > from && (elapsed-from)%c.every == 0 {
					c.do(twin)
				}
			})
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// After a brown-out the temperature register holds a conversion that we didn't start, or none: no reading comes of it.
func TestRestartIsNoReading(t *testing.T) {
	clock := kit.NewManual(start)
	out := &log{}
	twin := NewTwin(clock, 0x48)
	twin.SetTemperature(36_600)
	cut := 0
	err := drive(on(t, with(twin), clock, out), clock, 8*time.Second, func(elapsed time.Duration) {
		twin.do(func() { // in the middle of a conversion
			if cut == 0 && elapsed > 4*time.Second && !twin.done.IsZero() {
				twin.powerOn()
				cut = len(out.readings)
			}
		})
	})
	if !errors.Is(err, context.Canceled) || cut == 0 {
		t.Fatal(err, cut)
	}
	gap := out.readings[cut].At.Wall.Sub(out.readings[cut-1].At.Wall)
	if gap != 2*period {
		t.Errorf("the next reading came after %s", gap)
	}
}

func TestSettingsAreChecked(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*device.Settings)
		want string // "" is none
	}{
		{"default", func(*device.Settings) {}, ""},
		{"strapped", func(s *device.Settings) { s.Address = 0x5F }, ""},
		{"behind a mux", func(s *device.Settings) { s.Mux = "0x71.3" }, ""},
		{"quick", func(s *device.Settings) { s.Options = map[string]string{"settle_s": "3"} }, ""},
		{"address", func(s *device.Settings) { s.Address = 0x60 }, "0x40 to 0x5f"},
		{"mux", func(s *device.Settings) { s.Mux = "0x61.3" }, "like 0x71.3"},
		{"port", func(s *device.Settings) { s.Port = "/dev/ttyUSB0" }, "like /dev/i2c-1"},
		{"settle", func(s *device.Settings) { s.Options = map[string]string{"settle_s": "121"} }, "3 to 120"},
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

// A MAX30205 and a TMP117 both come at 0x48.
func TestAddressConflict(t *testing.T) {
	clock := kit.NewManual(start)
	sim := with(NewTwin(clock, 0x48))
	s := settings(clock)
	s.Buses = bus.Simulated(sim.Open)
	a, err := Driver().New(s, &log{})
	if err != nil {
		t.Fatal(err)
	}
	s.Name = "other"
	b, err := tmp117.Driver().New(s, &log{})
	if err != nil {
		t.Fatal(err)
	}
	for _, inst := range []device.Instrument{a, b} {
		var f device.Fault
		if err := inst.Run(t.Context()); !errors.As(err, &f) || f.Health.Reason != wiring.AddressConflict {
			t.Errorf("got %v", err)
		}
	}
}

func TestConformance(t *testing.T) {
	for name, edit := range map[string]func(*device.Settings, *Twin){
		"twin":   func(s *device.Settings, _ *Twin) { s.Port = "twin" },
		"driver": func(s *device.Settings, twin *Twin) { s.Buses = bus.Simulated(with(twin).Open) },
		"driver behind a mux": func(s *device.Settings, twin *Twin) {
			sim := &simbus.Bus{}
			sim.Mux(0x77).Attach(0, 0x48, twin)
			s.Mux, s.Buses = "0x77.0", bus.Simulated(sim.Open)
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
				r := conformance.Rig{Instrument: inst, Clock: clock, Step: step}
				if !s.Twin() {
					r.Unplug = twin.Unplug
				}
				return r, err
			}})
	}
}

// Every value of the register is a temperature to within half of the last digit shown.
func FuzzCelsius(f *testing.F) {
	for _, v := range []uint16{0x249A, 0x2500, 0x2680, 0x8000, 0x7FFF, 0xFFE0} {
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
