package oximeter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"telecart/device"
	"telecart/device/cms50d"
	"telecart/device/conformance"
	"telecart/device/hotplug"
	"telecart/device/kit"
	"telecart/device/nonin"
	"telecart/device/oximeter/line"
)

// bench is a search, the time it lives in, and what it told.
type bench struct {
	s     *search
	clock *kit.Manual
	told  []device.Observation
	modes []line.Mode
	err   error
}

func newBench() *bench {
	b := &bench{clock: kit.NewManual(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC))}
	b.s = newSearch(device.Identity{Name: "oximeter"}, kit.NewStamper(b.clock, nil), b, b.clock.Now())
	return b
}

func (b *bench) Observe(o device.Observation) { b.told = append(b.told, o) }

func (b *bench) take(c line.Chunk) {
	answer, err := b.s.Take(b.clock.Now(), c)
	if len(answer) > 0 {
		panic("it sends")
	}
	if b.err == nil {
		b.err = err
	}
	if m := b.s.Mode(); len(b.modes) == 0 || b.modes[len(b.modes)-1] != m {
		b.modes = append(b.modes, m)
	}
}

// after lets time pass, in the silent reads that a line makes of it, and then bytes come.
func (b *bench) after(d time.Duration, sent []byte) {
	for ; d > line.Wait; d -= line.Wait {
		b.clock.Advance(line.Wait)
		b.take(line.Chunk{})
	}
	b.clock.Advance(d)
	b.take(line.Chunk{Bytes: sent})
}

// models, grades and readings that were told, in order.
func (b *bench) story() (lines []string) {
	for _, o := range b.told {
		text := ""
		switch o := o.(type) {
		case device.About:
			text = strings.TrimSpace("about " + o.Model + " " + string(o.Grade))
		case device.Health:
			text = strings.TrimSpace(fmt.Sprintf("health %s %s", o.State, o.Reason))
		case device.Reading:
			text = strings.TrimSpace(fmt.Sprintf("%s %s", o.Quantity, o.Instrument.Grade))
		case device.Samples:
			text = strings.TrimSpace(fmt.Sprintf("%s %s", o.Quantity, o.Instrument.Grade))
		}
		if !slices.Contains(lines, text) {
			lines = append(lines, text)
		}
	}
	b.told = nil
	return lines
}

func (b *bench) expect(t *testing.T, what string, want ...string) {
	t.Helper()
	if got := b.story(); !slices.Equal(got, want) {
		t.Errorf("%s: told %q, want %q", what, got, want)
	}
}

// feed sends what a stream sends in that time.
func (b *bench) nonin(s *nonin.Stream, d time.Duration) {
	for end := b.clock.Now().Add(d); b.clock.Now().Before(end) && b.err == nil; {
		b.after(s.Period(), s.Bytes(nonin.Healthy))
	}
}

func (b *bench) contec(s *cms50d.Stream, d time.Duration) {
	for end := b.clock.Now().Add(d); b.clock.Now().Before(end) && b.err == nil; {
		b.after(time.Second/15, s.Bytes(cms50d.Healthy))
	}
}

// Which one it is comes first; then its health, then its values, with its grade.
func TestFound(t *testing.T) {
	for _, f := range []nonin.Format{nonin.Format2, nonin.Format7} {
		b := newBench()
		b.nonin(nonin.NewStream(f, 1), 20*time.Second)
		b.expect(t, "frames", fmt.Sprintf("about Nonin, data format %d", f), "health live", "pleth", "oxygen-saturation", "pulse-rate")
	}
	for _, f := range []nonin.Format{nonin.Format1, nonin.Format8} {
		b := newBench()
		b.nonin(nonin.NewStream(f, 1), 20*time.Second)
		b.expect(t, "a packet a second", fmt.Sprintf("about Nonin, data format %d", f), "health live", "oxygen-saturation", "pulse-rate")
	}
	b := newBench()
	b.contec(cms50d.NewStream(1), 20*time.Second)
	b.expect(t, "Contec", "about Contec CMS50D+ consumer", "health live", "oxygen-saturation consumer", "pulse-rate consumer", "pleth consumer")
	if b.err != nil || b.s.Mode() != (line.Mode{Baud: 19200, Parity: line.Odd}) {
		t.Errorf("%v, %v", b.s.Mode(), b.err)
	}
}

// Without anybody there the settings change again and again, and one round is what it takes to say so.
func TestNobody(t *testing.T) {
	b := newBench()
	b.after(9*time.Second, nil)
	b.expect(t, "the first round")
	b.after(time.Second, nil)
	b.expect(t, "its end", "health absent no-data")
	b.after(20*time.Second, nil)
	odd, none := line.Mode{Baud: 19200, Parity: line.Odd}, line.Mode{Baud: 19200}
	if !slices.Equal(b.modes[:6], []line.Mode{nonin.Mode(), odd, none, odd, nonin.Mode(), odd}) && !slices.Equal(b.modes[:5], []line.Mode{nonin.Mode(), odd, none, nonin.Mode(), odd}) {
		t.Errorf("modes %v", b.modes)
	}
}

// Something else talks: no number, whatever it says, and no answer.
func TestSomethingElse(t *testing.T) {
	spot := nonin.NewStream(nonin.Format13, 1)
	for name, say := range map[string]func() []byte{
		"a cuff":          func() []byte { return []byte{0x3E, 0x05, 0x02, 0x01, 0xBA} },
		"text":            func() []byte { return []byte("SPO2=097 HR=072\r\n") },
		"all ones":        func() []byte { return bytes.Repeat([]byte{0xFF}, 20) },
		"spot checks":     func() []byte { return spot.Bytes(nonin.Healthy) },
		"three and three": func() []byte { return []byte{0x80, 0x48, 0x61, 0x80, 0x48, 0x61} },
	} {
		b := newBench()
		for range 100 {
			b.after(300*time.Millisecond, say())
		}
		b.expect(t, name, "health faulty unknown-format")
	}
}

// It is lost when it is silent for 10 s, and not for less.
func TestLost(t *testing.T) {
	b := newBench()
	s := nonin.NewStream(nonin.Format7, 1)
	b.nonin(s, 5*time.Second)
	b.after(8*time.Second, nil)
	b.nonin(s, 5*time.Second)
	b.expect(t, "a pause", "about Nonin, data format 7", "health live", "pleth", "oxygen-saturation", "pulse-rate", "health absent no-data")
	b.nonin(nonin.NewStream(nonin.Format2, 1), 5*time.Second)
	b.expect(t, "another Nonin", "health faulty unknown-format", "about Nonin, data format 2", "health live", "pleth", "oxygen-saturation", "pulse-rate")
	b.contec(cms50d.NewStream(1), 30*time.Second)
	var f device.Fault
	if !errors.Is(b.err, ErrLost) || !errors.As(b.err, &f) || f.Health != (device.Health{State: device.Absent, Reason: device.NoData}) {
		t.Errorf("a Contec on its cable: %v", b.err)
	}
	if got := b.story(); slices.ContainsFunc(got, func(l string) bool { return !strings.HasPrefix(l, "health") }) {
		t.Errorf("told %q of the wrong one", got)
	}
}

func TestAdopts(t *testing.T) {
	for _, c := range []struct {
		n    device.Node
		want bool
	}{
		{device.Node{Class: "tty", Vendor: 0x0403, Product: 0x6001}, true},
		{device.Node{Class: "tty", Vendor: 0x0403, Product: 0x6015}, true},
		{device.Node{Class: "tty", Vendor: 0x10C4, Product: 0xEA60}, true},
		{device.Node{Class: "tty", Vendor: 0x067B, Product: 0x2303}, true},
		{device.Node{Class: "tty", Vendor: 0x1A86, Product: 0x7523}, true},
		{device.Node{Class: "tty", Vendor: 0x1C3D, Product: 0x1234}, true},
		{device.Node{Class: "tty", Vendor: 0x0403, Product: 0x6011}, false},
		{device.Node{Class: "tty", Vendor: 0x2341, Product: 0x0043}, false},
		{device.Node{Class: "tty"}, false},
		{device.Node{Class: "hidraw", Vendor: 0x1C3D}, false},
		{device.Node{Class: "input", Vendor: 0x0403, Product: 0x6001}, false},
	} {
		if Driver().Adopts(c.n) != c.want {
			t.Errorf("%+v: %v", c.n, !c.want)
		}
	}
}

// deaf is an outlet that nobody listens to.
type deaf struct{}

func (deaf) Observe(device.Observation) {}

func TestSettingsAreChecked(t *testing.T) {
	for _, c := range []struct {
		s    device.Settings
		want string
	}{
		{device.Settings{Port: "/dev/ttyUSB0"}, ""},
		{device.Settings{Port: "usb-port:1-1.2:1.0"}, ""},
		{device.Settings{Port: "twin"}, ""},
		{device.Settings{Port: "COM3"}, "like /dev/ttyUSB0"},
		{device.Settings{Port: "twin", Address: 3}, "has none"},
		{device.Settings{Port: "twin", Mux: "0x71.3"}, "behind none"},
		{device.Settings{Port: "twin", Options: map[string]string{"format": "7"}}, "\"format\": there are none"},
	} {
		_, err := Driver().New(c.s, deaf{})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: got %v, want %q", c.s, err, c.want)
		}
	}
	inst, err := Driver().New(device.Settings{Port: "/dev/ttyUSB-none", Clock: kit.System{}}, deaf{})
	if err != nil {
		t.Fatal(err)
	}
	if err := inst.Run(t.Context()); !errors.Is(err, hotplug.ErrAbsent) {
		t.Errorf("no such port: %v", err)
	}
}

// hurried is the real clock, so many times as fast.
type hurried struct {
	start time.Time
	times time.Duration
}

func (h hurried) Now() time.Time                         { return h.start.Add(time.Since(h.start) * h.times) }
func (h hurried) After(d time.Duration) <-chan time.Time { return time.After(d / h.times) }

func settings(clock kit.Clock, port string) device.Settings {
	return device.Settings{Name: "oximeter", Driver: "oximeter", Port: port, Clock: clock, Stamp: kit.NewStamper(clock, nil)}
}

// Over a real pseudo-terminal, whichever of the two is at the far end, and the twin by its name.
func TestConformance(t *testing.T) {
	for name, plug := range map[string]func(kit.Clock) (line.Twin, error){
		"Nonin":  func(c kit.Clock) (line.Twin, error) { return nonin.NewTwin(c, nonin.Format7) },
		"Contec": func(c kit.Clock) (line.Twin, error) { return cms50d.NewTwin(c) },
	} {
		conformance.Run(t, conformance.Case{Name: name, Quantities: Driver().Quantities, Start: func(out device.Outlet) (conformance.Rig, error) {
			clock := hurried{time.Now(), 4}
			twin, err := plug(clock)
			if err != nil {
				return conformance.Rig{}, err
			}
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				twin.Run(ctx)
			}()
			inst, err := Driver().New(settings(clock, twin.Port()), out)
			unplug := func() { twin.Unplug() }
			return conformance.Rig{Instrument: inst, Unplug: unplug, Close: func() { cancel(); unplug(); <-ended }}, err
		}})
	}
	conformance.Run(t, conformance.Case{Name: "twin", Quantities: Driver().Quantities, Start: func(out device.Outlet) (conformance.Rig, error) {
		inst, err := Driver().New(settings(hurried{time.Now(), 4}, "twin"), out)
		return conformance.Rig{Instrument: inst}, err
	}})
}

// rounds is an outlet that counts them.
type rounds chan struct{}

func (r rounds) Observe(o device.Observation) {
	if o == (device.Health{State: device.Absent, Reason: device.NoData}) {
		r <- struct{}{}
	}
}

// Nothing ever reaches the far end, not even an acknowledgement that it asks for.
func TestNothingIsSent(t *testing.T) {
	clock := hurried{time.Now(), 16}
	twin, err := nonin.NewTwin(clock, nonin.Format13)
	if err != nil {
		t.Fatal(err)
	}
	out, done := make(rounds, 100), make(chan error, 1)
	inst, err := Driver().New(settings(clock, twin.Port()), out)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		done <- line.Beside(ctx, twin, func(ctx context.Context, _ string) error { return inst.Run(ctx) })
	}()
	timeout := time.After(20 * time.Second)
	for n := 0; n < 3; n++ {
		select {
		case <-out:
		case <-timeout:
			t.Error("it found something")
			n = 3
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if acks, naks := twin.Answers(); acks+naks > 0 {
		t.Errorf("%d acknowledgements, %d refusals", acks, naks)
	}
}
