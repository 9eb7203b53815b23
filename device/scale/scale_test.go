package scale

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"telecart/device"
	"telecart/device/conformance"
	"telecart/device/hotplug"
	"telecart/device/kit"
)

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func settings(clock kit.Clock, port string, options map[string]string) device.Settings {
	return device.Settings{Name: "scale", Driver: "scale", Port: port, Options: options,
		Clock: clock, Stamp: kit.NewStamper(clock, nil)}
}

// story is an outlet for one goroutine that writes down readings, and health apart from them.
type story struct {
	readings, states []string
	about            device.About
	last             device.Reading
}

func (s *story) Observe(o device.Observation) {
	switch o := o.(type) {
	case device.About:
		s.about = o
	case device.Health:
		s.states = append(s.states, strings.TrimSpace(fmt.Sprintf("%s %s", o.State, o.Reason)))
	case device.Reading:
		s.last = o
		if o.Absent != "" {
			s.readings = append(s.readings, string(o.Absent))
			return
		}
		s.readings = append(s.readings, fmt.Sprintf("%s %s", o.Value, o.Unit))
	}
}

// bench is a session and its time.
type bench struct {
	story
	*session
	clock *kit.Manual
}

func newBench() *bench {
	b := &bench{clock: kit.NewManual(start)}
	s := &scale{id: device.Identity{Name: "scale"}, clock: b.clock, stamp: kit.NewStamper(b.clock, nil), out: &b.story}
	b.session = newSession(s, &node{layout: layout{data: dataID}})
	return b
}

// say has the scale send a report ten times a second for so long, at least once.
func (b *bench) say(r report, d time.Duration) {
	for end := b.clock.Now().Add(d); ; {
		b.take(b.clock.Now(), r.appendTo(nil, dataID))
		b.clock.Advance(100 * time.Millisecond)
		if b.tick(b.clock.Now()); !b.clock.Now().Before(end) {
			return
		}
	}
}

// act plays a script: what the scale says, each for a second, or for so many tenths: "zero moves 725/4". A number is a
// stable weight in tenths of its unit.
func (b *bench) act(script string) {
	as := report{unit: kilogram, scaling: -1}
	for word := range strings.FieldsSeq(script) {
		what, tenths, short := strings.Cut(word, "/")
		d := time.Second
		if short {
			n, _ := strconv.Atoi(tenths)
			d = time.Duration(n) * 100 * time.Millisecond
		}
		r := as
		switch what {
		case "lb":
			as.unit = pound
			continue
		case "g":
			as.unit, as.scaling = gram, 0
			continue
		case "stone":
			as.unit = 13
			continue
		case "zero":
			r.status = stableZero
		case "moves":
			r.status, r.raw = inMotion, 400
		case "under":
			r.status = underZero
		case "over":
			r.status = overLimit
		case "calibrate":
			r.status = calibrate
		case "rezero":
			r.status = rezero
		case "fails":
			r.status = fault
		case "nonsense":
			r.status, r.raw = 9, 725
		default:
			n, err := strconv.Atoi(what)
			if err != nil {
				panic(what)
			}
			r.status, r.raw = stable, uint16(n)
		}
		b.say(r, d)
	}
}

func TestWeighings(t *testing.T) {
	for _, c := range []struct{ name, script, want, health string }{
		{"on and off", "zero moves 725/30 moves zero/90", "in-motion, 72.5 kg", "live"},
		{"twice", "zero moves 725 moves zero moves 725", "in-motion, 72.5 kg, in-motion, 72.5 kg", "live"},
		{"nobody", "zero/90", "", "live"},
		{"stable, and nothing on it", "0/90", "", "live"},
		{"it was on before we came", "725/90", "", "settling not-empty"},
		{"and then moved", "725 moves 725", "in-motion, 72.5 kg", "live"},
		{"motion from the first", "moves 725", "in-motion, 72.5 kg", "live"},
		{"stable for too short", "zero moves 725/4 moves", "in-motion", "settling in-motion"},
		{"stable long enough", "zero moves 725/5 moves/1", "in-motion, 72.5 kg", "settling in-motion"},
		{"stable, not the same", "zero 600/4 700/4 725", "in-motion, 72.5 kg", "live"},
		{"steps off too soon", "zero moves zero", "in-motion, not-yet", "live"},
		{"fidgets", "zero moves 725 moves 725 moves 725", "in-motion, 72.5 kg", "live"},
		{"its last digit flickers", "zero moves 725 726 725 724", "in-motion, 72.5 kg", "live"},
		{"takes a child up", "zero moves 725 moves 850", "in-motion, 72.5 kg, 85.0 kg", "live"},
		{"takes it up between two reports", "zero moves 725 850", "in-motion, 72.5 kg, 85.0 kg", "live"},
		{"no motion was seen", "zero 725", "in-motion, 72.5 kg", "live"},
		{"too heavy", "zero moves over", "in-motion, over-limit", "settling over-limit"},
		{"too heavy after somebody else", "zero moves 725 over", "in-motion, 72.5 kg, over-limit", "settling over-limit"},
		{"under zero", "under", "under-zero", "settling under-zero"},
		{"under zero after a weighing", "zero moves 725 moves under", "in-motion, 72.5 kg", "settling under-zero"},
		{"and on again", "zero 725 under 725", "in-motion, 72.5 kg, in-motion, 72.5 kg", "live"},
		{"not calibrated", "calibrate", "needs-calibration", "faulty needs-calibration"},
		{"to be zeroed", "rezero", "needs-zero", "settling needs-zero"},
		{"to be zeroed, after a weighing", "zero moves 725 zero rezero", "in-motion, 72.5 kg", "settling needs-zero"},
		{"it fails", "zero moves fails moves 725", "in-motion, sensor-fault, in-motion, 72.5 kg", "live"},
		{"stones", "zero stone 110", "unknown-format", "faulty unknown-format"},
		{"in pounds", "zero lb moves 1599", "in-motion, 72.53 kg", "live"},
		{"a newborn in grams", "zero g moves 3450", "in-motion, 3.450 kg", "live"},
		{"a form nobody knows", "nonsense", "unknown-format", "faulty unknown-format"},
		{"a hiccup", "zero nonsense/3 zero", "", "live"},
	} {
		b := newBench()
		b.act(c.script)
		if got := strings.Join(b.readings, ", "); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if b.states[0] != "settling settling" || b.states[len(b.states)-1] != c.health {
			t.Errorf("%s: health %q, want %s in the end", c.name, b.states, c.health)
		}
	}
}

func TestReading(t *testing.T) {
	b := newBench()
	b.act("zero 725")
	r := b.last
	if !r.Once() || r.Quantity != "body-weight" || r.Unit != "kg" || r.At.Wall.IsZero() || r.Instrument.Name != "scale" {
		t.Errorf("%+v", r)
	}
}

// A scale may send its weight once, and then nothing.
func TestSilentAfterItsWeight(t *testing.T) {
	b := newBench()
	b.take(b.clock.Now(), report{stableZero, kilogram, -1, 0}.appendTo(nil, dataID))
	b.take(b.clock.Now(), report{stable, kilogram, -1, 725}.appendTo(nil, dataID))
	b.clock.Advance(steady - 1)
	b.tick(b.clock.Now())
	if len(b.readings) != 1 {
		t.Errorf("too soon: %q", b.readings)
	}
	b.clock.Advance(1)
	b.tick(b.clock.Now())
	b.tick(b.clock.Now())
	if diff := cmp.Diff([]string{"in-motion", "72.5 kg"}, b.readings); diff != "" {
		t.Error(diff)
	}
	b.take(b.clock.Now(), []byte{1, 2, 3}) // another report of the scale's
	if b.bad != 0 {
		t.Error("a report with another id counts as bad")
	}
}

func TestGrade(t *testing.T) {
	for grade, want := range map[string]device.Grade{"": device.Consumer, "consumer": device.Consumer, "medical": ""} {
		var options map[string]string
		if grade != "" {
			options = map[string]string{"grade": grade}
		}
		out := &story{}
		inst, err := Driver().New(settings(kit.System{}, "twin", options), out)
		if err != nil {
			t.Fatal(err)
		}
		ses := newSession(inst.(*scale), &node{model: "S", serial: "7"})
		ses.absent(device.NotYet)
		id := out.last.Instrument
		if out.about != (device.About{Model: "S", Serial: "7", Grade: want}) || id.Grade != want || id.Model != "S" {
			t.Errorf("%q: %+v, %+v", grade, out.about, out.last)
		}
	}
}

func TestSettingsAreChecked(t *testing.T) {
	for _, c := range []struct {
		s    device.Settings
		want string
	}{
		{device.Settings{Port: "/dev/hidraw0"}, ""},
		{device.Settings{Port: "usb:W1"}, ""},
		{device.Settings{Port: "usb-port:1-1.2"}, ""},
		{device.Settings{Port: "twin"}, ""},
		{device.Settings{Port: "hidraw0"}, "give a node"},
		{device.Settings{Port: "twin", Address: 3}, "no address"},
		{device.Settings{Port: "twin", Mux: "0x71.3"}, "no address"},
		{device.Settings{Port: "twin", Options: map[string]string{"unit": "kg"}}, `"unit": the only one is grade`},
		{device.Settings{Port: "twin", Options: map[string]string{"grade": "class III"}}, "consumer or medical"},
	} {
		_, err := Driver().New(c.s, &story{})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: got %v, want %q", c.s, err, c.want)
		}
	}
}

func TestNoScale(t *testing.T) {
	for port, want := range map[string]error{
		"usb:no-such-scale": hotplug.ErrAbsent,
		"/dev/hidraw-none":  hotplug.ErrAbsent,
		os.DevNull:          ErrNotScale,
	} {
		inst, err := Driver().New(settings(kit.System{}, port, nil), &story{})
		if err != nil {
			t.Fatal(err)
		}
		if err := inst.Run(t.Context()); !errors.Is(err, want) {
			t.Errorf("%s: %v", port, err)
		}
	}
	for desc, want := range map[string]error{
		"05 01 09 02 A1 01 C0": ErrNotScale, // a mouse
		"C0":                   ErrNotScale,
		otherForm:              errReport,
	} {
		err := (&node{path: "/dev/hidraw0"}).understand(unhex(t, desc))
		if !errors.Is(err, want) || !strings.Contains(err.Error(), "/dev/hidraw0") {
			t.Errorf("%s: %v", desc, err)
		}
		if f := (device.Fault{}); errors.As(err, &f) != (want == errReport) {
			t.Errorf("%s: %+v", desc, f)
		}
	}
}

// otherForm is a scale whose weight comes in 32 bits.
const otherForm = "05 8D 09 20 A1 01 85 03 09 40 75 20 95 01 81 02 C0"

func TestAdopts(t *testing.T) {
	sys := t.TempDir()
	node := func(name, class string, desc []byte) device.Node {
		dir := filepath.Join(sys, name, "device")
		err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "report_descriptor"), desc, 0o644))
		if err != nil {
			t.Fatal(err)
		}
		return device.Node{Class: class, Sys: filepath.Join(sys, name)}
	}
	for name, c := range map[string]struct {
		n    device.Node
		want bool
	}{
		"a scale":                 {node("a", "hidraw", Descriptor()), true},
		"its input node":          {node("b", "input", Descriptor()), false},
		"a mouse":                 {node("c", "hidraw", unhex(t, "05 01 09 02 A1 01 C0")), false},
		"a scale of another form": {node("d", "hidraw", unhex(t, otherForm)), false},
		"nonsense":                {node("e", "hidraw", unhex(t, "B4")), false},
		"nothing":                 {device.Node{Class: "hidraw", Sys: filepath.Join(sys, "none")}, false},
	} {
		if got := Driver().Adopts(c.n); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// The twin's own faults, by its reports.
func TestTwinFaults(t *testing.T) {
	for f, want := range map[Fault]string{
		Restless:     "settling in-motion",
		Drifted:      "settling under-zero",
		Overloaded:   "settling over-limit",
		Uncalibrated: "faulty needs-calibration",
		Unzeroed:     "settling needs-zero",
		Broken:       "faulty sensor-fault",
		Garbage:      "faulty unknown-format",
		Silent:       "settling settling",
		Healthy:      "live",
	} {
		b := newBench()
		w := NewTwin(b.clock)
		w.Set(f)
		for range 8 {
			if r := w.next(); r != nil {
				b.take(b.clock.Now(), r)
			}
			b.clock.Advance(reportEvery)
		}
		if got := b.states[len(b.states)-1]; got != want {
			t.Errorf("fault %d: %s, want %s", f, got, want)
		}
	}
}

func TestTwinWeighs(t *testing.T) {
	b := newBench()
	w := NewTwin(b.clock)
	run := func(d time.Duration) {
		for end := b.clock.Now().Add(d); b.clock.Now().Before(end); b.clock.Advance(reportEvery) {
			b.take(b.clock.Now(), w.next())
		}
	}
	run(30 * time.Second) // one patient and a half
	w.Pounds()
	w.Load(1599)
	run(2 * time.Second)
	want := []string{"in-motion", "72.5 kg", "in-motion", "72.5 kg", "in-motion", "72.53 kg"}
	if diff := cmp.Diff(want, b.readings); diff != "" {
		t.Error(diff)
	}
}

func FuzzSession(f *testing.F) {
	f.Add([]byte("\x03\x02\x03\xff\x00\x00\x03\x03\x03\xff\x10\x00\x03\x04\x03\xff\xd5\x02\x03\x04\x03\xff\xd5\x02"), uint16(300))
	f.Add([]byte("\x03\x04\x0c\xff\x3f\x06"), uint16(0))
	f.Fuzz(func(t *testing.T, b []byte, pause uint16) {
		p := newBench()
		stables := 0
		for len(b) > 0 {
			n := min(len(b), 6)
			if n == 6 && b[0] == dataID && status(b[1]) == stable {
				stables++
			}
			p.take(p.clock.Now(), b[:n])
			p.clock.Advance(time.Duration(pause) * time.Millisecond)
			p.tick(p.clock.Now())
			b = b[n:]
		}
		values := 0
		for _, r := range p.readings {
			if strings.HasSuffix(r, " kg") {
				values++
				if strings.HasPrefix(r, "0 ") || strings.HasPrefix(r, "-") {
					t.Fatal(r)
				}
			}
		}
		if values > stables {
			t.Fatalf("%d weights of %d stable reports", values, stables)
		}
		// Whatever came before, the next weighing is one weight.
		p.act("zero")
		p.readings = nil
		p.act("moves 725")
		if diff := cmp.Diff([]string{"in-motion", "72.5 kg"}, p.readings); diff != "" {
			t.Fatal(diff)
		}
	})
}

// In real time, over a socket that keeps reports apart as hidraw does.
func TestConformance(t *testing.T) {
	start := func(out device.Outlet) (conformance.Rig, error) {
		inst, err := Driver().New(settings(kit.System{}, "twin", nil), out)
		if err != nil {
			return conformance.Rig{}, err
		}
		s := inst.(*scale)
		return conformance.Rig{Instrument: inst, Unplug: func() { s.twin.Unplug() },
			Trigger: func(context.Context) error { s.twin.Load(725); return nil }}, nil
	}
	conformance.Run(t, conformance.Case{Name: "twin", Quantities: []string{quantity}, Start: start})
}
