package mlx90614

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
	"telecart/device/max30205"
)

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func settings(clock *kit.Manual) device.Settings {
	return device.Settings{Name: "forehead", Driver: "mlx90614", Port: "/dev/i2c-1", Clock: clock, Stamp: kit.NewStamper(clock, nil)}
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

// with is a bus with one chip on it.
func with(c simbus.Chip) *simbus.Bus {
	sim := &simbus.Bus{}
	sim.Attach(0x5A, c)
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

// drive runs the instrument through its start-up and so many polls, and returns what Run said. each is called before a poll; the
// log may be read afterwards.
func drive(inst device.Instrument, clock *kit.Manual, polls int, each func(poll int)) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- inst.Run(ctx)
		clock.After(1 << 62)
	}()
	clock.AwaitWaiters(1)
	clock.Advance(startUp)
	for i := range polls {
		clock.AwaitWaiters(1)
		each(i)
		clock.Advance(poll)
	}
	clock.AwaitWaiters(1)
	cancel()
	return <-done
}

func nothing(int) {}

// The exact bytes on the wire, with the reference's vectors, one read garbled once, one garbled for good.
func TestTranscript(t *testing.T) {
	clock := kit.NewManual(start)
	out := &log{}
	player := played(t, `
		# a read after a start may fail
		5a w 25 r ?????? ! sysfs-i2c: remote I/O error
		# its own temperature, the emissivity, the serial number
		5a w 06 r a639d9
		5a w 24 r ffffd6
		5a w 3c r 0238a7
		5a w 3d r 170514
		5a w 3e r 2c6a4a
		5a w 3f r b16062
		# at work
		5a w 07 r d23a30
		5a w 07 r 5a3c3d
		5a w 07 r 5a3c3c
		5a w 07 r 5a3c3d
		5a w 07 r 5a3c3d
		5a w 07 r 5a3c3d
		5a w 07 r d23a30`)
	inst := on(t, player, settings(clock), out)
	if err := drive(inst, clock, 4, nothing); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := player.Left(); err != nil {
		t.Error(err)
	}
	id := device.Identity{Name: "forehead", Kind: device.KindThermometer, Driver: "mlx90614", Serial: "380205176A2C60B1",
		Port: "/dev/i2c-1"}
	r := device.Reading{Quantity: "skin-temperature", Unit: "Cel", Method: "skin-surface-infrared", Instrument: id,
		Period: device.Duration(500 * time.Millisecond)}
	want := []device.Reading{r, r, r}
	for i, coef := range []int64{2801, 3585, 2801} { // the third poll gave nothing
		want[i].Value = device.Decimal{Coef: coef, Exp: -2}
	}
	for i := range out.readings {
		out.readings[i].At = kit.Stamp{}
	}
	if diff := cmp.Diff(want, out.readings); diff != "" {
		t.Error(diff)
	}
	if got := inst.(device.Counted).Counters()["pec_errors"]; got != 4 {
		t.Errorf("%d wrong checksums counted, want 4", got)
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
		if err := drive(on(t, b, settings(clock), out), clock, 3, nothing); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		for i := range out.readings {
			out.readings[i].At = kit.Stamp{}
		}
		return out.readings
	}
	clock := kit.NewManual(start)
	twin := NewTwin(clock, 0x5A)
	twin.SetObject(35_850)
	var text strings.Builder
	first := run(transcript.Record(with(twin), &text), clock)
	if diff := cmp.Diff(string(recorded), text.String()); diff != "" {
		t.Error(diff)
	}
	all := played(t, string(recorded))
	if diff := cmp.Diff(first, run(all, kit.NewManual(start))); diff != "" || len(first) != 3 {
		t.Errorf("%d readings; played: %s", len(first), diff)
	}
	if err := all.Left(); err != nil {
		t.Error(err)
	}
}

// It is pointed at the wall, at a forehead, and held too close to a lamp; then the chip itself says that it is wrong.
func TestStory(t *testing.T) {
	clock := kit.NewManual(start)
	out := &log{}
	twin := NewTwin(clock, 0x5A)
	twin.SetObject(19_000)
	err := drive(on(t, with(twin), settings(clock), out), clock, 10, func(poll int) {
		switch poll {
		case 2:
			twin.SetObject(34_200)
		case 4:
			twin.SetObject(52_000)
		case 6:
			twin.SetObject(34_200)
			twin.Flag()
		case 8:
			twin.Unflag()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	type moment struct {
		Value  string
		Absent device.Reason
		Health device.Health
	}
	live := moment{"34.21", "", device.Health{State: device.Live}} // 34.20 lies between two steps of the chip
	noSkin := moment{"0", NoSkin, device.Health{State: device.Settling, Reason: NoSkin}}
	fault := moment{"0", device.SensorFault, device.Health{State: device.Faulty, Reason: device.SensorFault}}
	want := []moment{noSkin, noSkin, live, live, noSkin, noSkin, fault, fault, live, live}
	var got []moment
	for i, r := range out.readings {
		if r.Method != SkinSurfaceInfrared || r.Quantity != "skin-temperature" {
			t.Errorf("%+v", r)
		}
		got = append(got, moment{r.Value.String(), r.Absent, out.health[i+1]})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if out.health[0] != (device.Health{State: device.Settling, Reason: Settling}) {
		t.Errorf("it starts with %v", out.health[0])
	}
	if twin.Written() != 0 {
		t.Error("the EEPROM was written to")
	}
}

func TestGlitchesAndLoss(t *testing.T) {
	for _, c := range []struct {
		name   string
		do     func(*Twin)
		every  int // polls, again; 0: once
		want   error
		reason device.Reason // of the fault, if it is one
	}{
		{"two garbled reads", func(w *Twin) { w.Garble(2) }, 1, context.Canceled, ""},
		{"two polls garbled, again and again", func(w *Twin) { w.Garble(6) }, 3, context.Canceled, ""},
		{"garbled for good", func(w *Twin) { w.Garble(1 << 30) }, 0, ErrPEC, Garbled},
		{"two missed polls", func(w *Twin) { w.NACK(2) }, 0, context.Canceled, ""},
		{"three missed polls", func(w *Twin) { w.NACK(3) }, 0, ErrNACK, ""},
		{"unplugged", (*Twin).Unplug, 0, ErrNACK, ""},
		{"put to sleep by somebody else", func(w *Twin) { w.Write([]byte{0xFF, 0xE8}) }, 0, ErrNACK, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock := kit.NewManual(start)
			out := &log{}
			twin := NewTwin(clock, 0x5A)
			twin.SetObject(35_850)
			err := drive(on(t, with(twin), settings(clock), out), clock, 20, func(i int) {
				if i == 5 || c.every > 0 && i > 5 && (i-5)%c.every == 0 {
					c.do(twin)
				}
			})
			var f device.Fault
			if !errors.Is(err, c.want) || errors.As(err, &f) != (c.reason != "") || f.Health.Reason != c.reason {
				t.Errorf("got %v, %v; want %v, %q", err, f.Health, c.want, c.reason)
			}
			for _, r := range out.readings {
				if r.Value.String() != "35.85" {
					t.Errorf("a false number: %s", r.Value)
				}
			}
		})
	}
}

func TestProbe(t *testing.T) {
	for _, c := range []struct {
		name   string
		chip   func(*kit.Manual) simbus.Chip
		pec    string
		reason device.Reason
		text   string
	}{
		{"another chip", func(c *kit.Manual) simbus.Chip { return max30205.NewTwin(c, 0x5A) }, "strict", Garbled, "wrong checksum"},
		{"another chip, unchecked", func(*kit.Manual) simbus.Chip { return &parrot{} }, "off", wiring.WrongChip, "0xffff"},
		{"no sensor is so hot", edited(func(w *Twin) { w.SetAmbient(126_000) }), "strict", wiring.WrongChip, "another chip"},
		{"flags itself", edited((*Twin).Flag), "strict", wiring.WrongChip, "another chip"},
		{"made for metal", edited(func(w *Twin) { w.eeprom[cmdEmissivity&0x1F] = 0x8000 }), "strict", device.SensorFault, "0.50"},
	} {
		clock := kit.NewManual(start)
		s := settings(clock)
		s.Options = map[string]string{"pec": c.pec}
		out := &log{}
		err := drive(on(t, with(c.chip(clock)), s, out), clock, 0, nothing)
		var f device.Fault
		if !errors.As(err, &f) || f.Health.Reason != c.reason || !strings.Contains(err.Error(), c.text) || len(out.readings) > 0 {
			t.Errorf("%s: %v, %v", c.name, err, f.Health)
		}
	}
}

func edited(edit func(*Twin)) func(*kit.Manual) simbus.Chip {
	return func(clock *kit.Manual) simbus.Chip {
		w := NewTwin(clock, 0x5A)
		edit(w)
		return w
	}
}

// Chips that give no PEC work if the settings say so.
func TestPECOff(t *testing.T) {
	clock := kit.NewManual(start)
	s, out := settings(clock), &log{}
	s.Options = map[string]string{"pec": "off"}
	player := played(t, `
		5a w 25 r b49fff
		5a w 06 r 5d39ff
		5a w 24 r ffffff
		5a w 3c r 0238ff
		5a w 3d r 1705ff
		5a w 3e r 2c6aff
		5a w 3f r b160ff
		5a w 07 r 5a3cff`)
	if err := drive(on(t, player, s, out), clock, 1, nothing); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if len(out.readings) != 1 || out.readings[0].Value.String() != "35.85" {
		t.Errorf("%v", out.readings)
	}
}

func TestSettingsAreChecked(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*device.Settings)
		want string // "" is none
	}{
		{"default", func(*device.Settings) {}, ""},
		{"another address, behind a mux", func(s *device.Settings) { s.Address, s.Mux = 0x2A, "0x70.7" }, ""},
		{"no checksums", func(s *device.Settings) { s.Options = map[string]string{"pec": "off"} }, ""},
		{"address", func(s *device.Settings) { s.Address = 0x78 }, "0x08 to 0x77"},
		{"port", func(s *device.Settings) { s.Port = "usb:1" }, "like /dev/i2c-1"},
		{"mux", func(s *device.Settings) { s.Mux = "3" }, "like 0x71.3"},
		{"value", func(s *device.Settings) { s.Options = map[string]string{"pec": "on"} }, "strict or off"},
		{"option", func(s *device.Settings) { s.Options = map[string]string{"settle_s": "3"} }, "the only one is pec"},
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
	for name, edit := range map[string]func(*device.Settings, *Twin){
		"twin":   func(s *device.Settings, _ *Twin) { s.Port = "twin" },
		"driver": func(s *device.Settings, twin *Twin) { s.Buses = bus.Simulated(with(twin).Open) },
		"driver behind a mux": func(s *device.Settings, twin *Twin) {
			sim := &simbus.Bus{}
			sim.Mux(0x70).Attach(7, 0x5A, twin)
			s.Mux, s.Buses = "0x70.7", bus.Simulated(sim.Open)
		},
	} {
		conformance.Run(t, conformance.Case{Name: name, Quantities: []string{"skin-temperature"},
			Start: func(out device.Outlet) (conformance.Rig, error) {
				clock := kit.NewManual(start)
				s, twin := settings(clock), NewTwin(clock, 0x5A)
				twin.SetObject(34_000)
				edit(&s, twin)
				inst, err := Driver().New(s, out)
				r := conformance.Rig{Instrument: inst, Clock: clock, Step: startUp}
				if !s.Twin() {
					r.Unplug = twin.Unplug
				}
				return r, err
			}})
	}
}
