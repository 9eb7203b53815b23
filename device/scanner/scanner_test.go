package scanner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

func settings(clock kit.Clock, port string, options ...string) device.Settings {
	s := device.Settings{Name: "scanner", Driver: "scanner", Port: port, Clock: clock, Stamp: kit.NewStamper(clock, nil)}
	for i := 0; i < len(options); i += 2 {
		if s.Options == nil {
			s.Options = map[string]string{}
		}
		s.Options[options[i]] = options[i+1]
	}
	return s
}

// story is an outlet for one goroutine that writes down what it is told, in words.
type story struct{ lines []string }

func (s *story) Observe(o device.Observation) {
	switch o := o.(type) {
	case device.Health:
		s.lines = append(s.lines, strings.TrimSpace(fmt.Sprintf("%s %s", o.State, o.Reason)))
	case device.Input:
		s.lines = append(s.lines, fmt.Sprintf("%s %s%q", o.Act, o.Symbology, o.Text))
	}
}

// told is all that came after it was live, in short: broken live "ABC-1".
func (s *story) told() string {
	all := strings.Join(s.lines, " ")
	rest, ok := strings.CutPrefix(all, "settling settling live")
	if !ok {
		return all
	}
	return strings.NewReplacer("live broken-scan", "broken", "scanned ", "").Replace(strings.TrimSpace(rest))
}

// news is an outlet that hands on what it is told.
type news chan device.Observation

func (n news) Observe(o device.Observation) { n <- o }

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

func isLive(o device.Observation) bool {
	return o == device.Observation(device.Health{State: device.Live})
}

func input(o device.Observation) bool { _, ok := o.(device.Input); return ok }

func TestSettingsAreChecked(t *testing.T) {
	for _, c := range []struct {
		port    string
		options []string
		mode    string
		want    string // of the error; "" is none
	}{
		{"/dev/ttyACM0", nil, serialMode, ""},
		{"/dev/ttyACM0", []string{"baud", "115200"}, serialMode, ""},
		{"/dev/ttyACM0", []string{"mode", "serial"}, serialMode, ""},
		{"/dev/input/event3", nil, keyboardMode, ""},
		{"/dev/input/by-id/usb-X-event-kbd", nil, keyboardMode, ""},
		{"usb:S1", nil, "", ""},
		{"usb:S1", []string{"mode", "keyboard"}, keyboardMode, ""},
		{"usb-port:1-1.2", []string{"mode", "serial", "baud", "9600"}, serialMode, ""},
		{"twin", nil, serialMode, ""},
		{"twin", []string{"mode", "keyboard"}, keyboardMode, ""},
		{"/dev/input/event3", []string{"mode", "serial"}, "", "is a keyboard"},
		{"/dev/ttyACM0", []string{"mode", "keyboard"}, "", "is a serial"},
		{"/dev/input/event3", []string{"baud", "9600"}, "", "no baud rate"},
		{"/dev/ttyACM0", []string{"baud", "9601"}, "", "give one of [1200 "},
		{"/dev/ttyACM0", []string{"baud", "fast"}, "", "give one of [1200 "},
		{"usb:S1", []string{"mode", "usb"}, "", "serial or keyboard"},
		{"usb:S1", []string{"suffix", "CR"}, "", `"suffix": there are mode and baud`},
		{"COM3", nil, "", "give a node"},
		{"", nil, "", "give a node"},
	} {
		inst, err := Driver().New(settings(kit.System{}, c.port, c.options...), &story{})
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s %v: got %v, want %q", c.port, c.options, err, c.want)
			}
			continue
		}
		if err != nil || inst.(*scanner).mode != c.mode {
			t.Errorf("%s %v: %v, mode %q", c.port, c.options, err, inst.(*scanner).mode)
		}
	}
	for _, s := range []device.Settings{{Port: "twin", Address: 1}, {Port: "twin", Mux: "0x71.3"}} {
		if _, err := Driver().New(s, &story{}); err == nil || !strings.Contains(err.Error(), "no address") {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

func TestNotThere(t *testing.T) {
	for _, c := range []struct {
		port string
		mode string
		want error
	}{
		{"/dev/tty-none", "", hotplug.ErrAbsent},
		{"/dev/input/event-none", "", hotplug.ErrAbsent},
		{"usb:no-such-scanner", "", hotplug.ErrAbsent},
		{"usb:no-such-scanner", "serial", hotplug.ErrAbsent},
		{"usb:no-such-scanner", "keyboard", hotplug.ErrAbsent},
	} {
		var options []string
		if c.mode != "" {
			options = []string{"mode", c.mode}
		}
		inst, err := Driver().New(settings(kit.System{}, c.port, options...), &story{})
		if err != nil {
			t.Fatal(err)
		}
		if err := inst.Run(t.Context()); !errors.Is(err, c.want) {
			t.Errorf("%s %s: %v", c.port, c.mode, err)
		}
	}
	inst, err := Driver().New(settings(kit.System{}, os.DevNull), &story{})
	if err != nil {
		t.Fatal(err)
	}
	if err := inst.Run(t.Context()); err == nil || !strings.Contains(err.Error(), os.DevNull) {
		t.Errorf("a node that is no serial port: %v", err)
	}
}

func TestAdopts(t *testing.T) {
	sys := func(keys string) string {
		dir := t.TempDir()
		caps := filepath.Join(dir, "device", "capabilities")
		if err := errors.Join(os.MkdirAll(caps, 0o755), os.WriteFile(filepath.Join(caps, "key"), []byte(keys), 0o644)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	full, volume := sys("1000000000007 ff9f207ac14057ff febeffdfffefffff fffffffffffffffe"), sys("3e000000000000 0")
	for _, c := range []struct {
		name string
		n    device.Node
		want bool
	}{
		{"a Honeywell as serial port", device.Node{Class: "tty", Vendor: 0x0c2e}, true},
		{"a Zebra as keyboard", device.Node{Class: "input", Vendor: 0x05e0, Sys: full}, true},
		{"its volume keys", device.Node{Class: "input", Vendor: 0x05e0, Sys: volume}, false},
		{"its hidraw node", device.Node{Class: "hidraw", Vendor: 0x05e0, Sys: full}, false},
		{"a Datalogic", device.Node{Class: "tty", Vendor: 0x05f9}, true},
		{"a Newland", device.Node{Class: "tty", Vendor: 0x1eab}, true},
		{"somebody's keyboard", device.Node{Class: "input", Vendor: 0x046d, Sys: full}, false},
		{"an oximeter's adapter", device.Node{Class: "tty", Vendor: 0x0403}, false},
		{"no USB device", device.Node{Class: "input", Sys: full}, false},
	} {
		if got := Driver().Adopts(c.n); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// running runs a scanner on its twin until the test ends.
func running(t *testing.T, mode string) (news, *scanner) {
	t.Helper()
	out := make(news, 1000)
	inst, err := Driver().New(settings(kit.System{}, "twin", "mode", mode), out)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- inst.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	out.await(t, isLive)
	return out, inst.(*scanner)
}

// Real codes through a real pseudo-terminal, and through input events, in real time.
func TestScans(t *testing.T) {
	for _, c := range []struct{ read, symbology, text string }{
		{"ABC-123455", "", "ABC-123455"},
		{"]C1" + "8018123456789012345675\x1d8019123", "]C1", "8018123456789012345675\x1d8019123"},
		{"]d2" + "0109506000134352" + "17251231" + "10AB-12", "]d2", "0109506000134352" + "17251231" + "10AB-12"},
		{"MRN-00123|O'Hara, Amina|1984-05-17", "", "MRN-00123|O'Hara, Amina|1984-05-17"},
	} {
		for _, mode := range []string{serialMode, keyboardMode} {
			out, s := running(t, mode)
			s.hands.Scan(c.read)
			got := out.await(t, input).(device.Input)
			id := got.Instrument
			if got.Act != device.Scanned || got.Text != c.text || got.Symbology != c.symbology || !id.Twin || id.Model == "" {
				t.Errorf("%s: %+v", mode, got)
			}
			if n := s.Counters(); n["scans"] != 1 || n["broken_scans"] != 0 {
				t.Errorf("%s: counted %v", mode, n)
			}
		}
	}
}

func TestGrabbedWhileItRuns(t *testing.T) {
	_, s := running(t, keyboardMode)
	twin := s.hands.(*KeyboardTwin)
	if !twin.Grabbed() {
		t.Error("what is scanned is typed into the nurse's screen as well")
	}
}

func TestReleasedInTheEnd(t *testing.T) {
	out := make(news, 100)
	inst, err := Driver().New(settings(kit.System{}, "twin", "mode", "keyboard"), out)
	if err != nil {
		t.Fatal(err)
	}
	twin := NewKeyboardTwin(kit.System{})
	twin.Key(codes.KEY_5, 1) // a finger on it
	n, err := twin.Open()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- inst.(*scanner).watch(ctx, n, "") }()
	out.await(t, func(o device.Observation) bool {
		return o == device.Observation(device.Health{State: device.Settling, Reason: evdev.KeyHeld})
	})
	if twin.Grabbed() {
		t.Error("grabbed with a key down")
	}
	twin.Key(codes.KEY_5, 0)
	out.await(t, isLive)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || twin.Grabbed() {
		t.Errorf("%v, grabbed %v", err, twin.Grabbed())
	}
}

func TestConformance(t *testing.T) {
	trigger := func(h func() hands) func(context.Context) error {
		return func(context.Context) error { h().Scan("ABC-123455"); return nil }
	}
	onPort := func(out device.Outlet) (conformance.Rig, error) {
		twin, err := NewSerialTwin()
		if err != nil {
			return conformance.Rig{}, err
		}
		inst, err := Driver().New(settings(kit.System{}, twin.Port()), out)
		return conformance.Rig{Instrument: inst, Unplug: twin.Unplug, Close: twin.Unplug,
			Trigger: trigger(func() hands { return twin })}, err
	}
	conformance.Run(t, conformance.Case{Name: "serial port", Act: device.Scanned, Start: onPort})
	for _, mode := range []string{serialMode, keyboardMode} {
		onTwin := func(out device.Outlet) (conformance.Rig, error) {
			inst, err := Driver().New(settings(kit.System{}, "twin", "mode", mode), out)
			if err != nil {
				return conformance.Rig{}, err
			}
			s := inst.(*scanner)
			return conformance.Rig{Instrument: inst, Unplug: func() { s.hands.Unplug() },
				Trigger: trigger(func() hands { return s.hands })}, nil
		}
		conformance.Run(t, conformance.Case{Name: mode + " twin", Act: device.Scanned, Start: onTwin})
	}
}
