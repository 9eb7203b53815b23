package stethoscope

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telecart/device"
	"telecart/device/conformance"
	"telecart/device/hotplug"
	"telecart/device/kit"
	"telecart/device/stethoscope/alsa"
)

const (
	tick = time.Second / stretches
	slow = 8000 // values a second, where the rate doesn't matter
)

func epoch() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Case{Name: "twin", Quantities: []string{quantity}, Start: func(out device.Outlet) (conformance.Rig, error) {
		clock := kit.NewManual(epoch())
		twin := newTwin(clock, 48000, options{beats: 72})
		s := newInstrument(settings(clock), out, twin.open)
		return conformance.Rig{Instrument: s, Clock: clock, Step: tick, Unplug: twin.Unplug, Trigger: func(context.Context) error {
			s.Listen() // before, nothing is to be seen: the twin was live, and drew no line
			return nil
		}}, nil
	}})
}

func settings(clock kit.Clock) device.Settings {
	return device.Settings{Name: "stethoscope", Driver: "stethoscope", Port: "twin", Clock: clock, Stamp: kit.NewStamper(clock, nil)}
}

func TestFaults(t *testing.T) {
	for _, x := range []struct {
		err  error
		want device.Health
	}{
		{fmt.Errorf("%w: no /dev/snd/controlC1", alsa.ErrUnplugged), device.Health{State: device.Absent, Reason: "unplugged"}},
		{hotplug.ErrAbsent, device.Health{State: device.Absent, Reason: "unplugged"}},
		{hotplug.ErrAmbiguous, device.Health{State: device.Faulty, Reason: "cannot-start"}},
		{errors.Join(alsa.ErrBusy, io.EOF), device.Health{State: device.Faulty, Reason: "busy"}},
		{alsa.ErrFormat, device.Health{State: device.Faulty, Reason: NoSoundFormat}},
		{alsa.ErrGain, device.Health{State: device.Faulty, Reason: AutomaticGain}},
		{alsa.ErrStalled, device.Health{State: device.Faulty, Reason: SoundStopped}},
		{fmt.Errorf("alsa: open: %w", unix.EACCES), device.Health{State: device.Faulty, Reason: "no-permission"}},
		{os.ErrClosed, device.Health{State: device.Faulty, Reason: "failed"}},
	} {
		err := fault(x.err)
		var f device.Fault
		if !errors.As(err, &f) || f.Health != x.want || !errors.Is(err, x.err) || !strings.HasPrefix(err.Error(), "stethoscope: ") {
			t.Errorf("%v: %+v, want %v", x.err, err, x.want)
		}
	}
	if fault(nil) != nil {
		t.Error("no error is no fault")
	}
}

func TestSettings(t *testing.T) {
	for _, x := range []struct {
		port    string
		options map[string]string
		address int
		words   string // of the refusal; "" is none
	}{
		{port: "twin"}, {port: "hw:1,0"}, {port: "usb:ABC-1"}, {port: "usb-port:1-1.2"},
		{port: "twin", options: map[string]string{"heart_rate": "140", "murmur": "systolic", "gain": "40"}},
		{port: "hw:1", words: "hw:1,0"}, {port: "default", words: "usb:SERIAL"}, {port: "", words: "usb:SERIAL"},
		{port: "/dev/snd/pcmC1D0c", words: "hw:1,0"}, {port: "pulse", words: "usb:SERIAL"}, {port: "plughw:1,0", words: "hw:1,0"},
		{port: "twin", address: 5, words: "no address"},
		{port: "twin", options: map[string]string{"rate": "8000"}, words: `no option "rate"; there are: gain, heart_rate, murmur`},
		{port: "twin", options: map[string]string{"gain": "101"}, words: "0 to 100"},
		{port: "twin", options: map[string]string{"heart_rate": "0"}, words: "20 to 250"},
		{port: "twin", options: map[string]string{"murmur": "loud"}, words: "systolic"},
	} {
		set := settings(kit.NewManual(epoch()))
		set.Port, set.Options, set.Address = x.port, x.options, x.address
		inst, err := Driver().New(set, &notes{})
		switch {
		case x.words == "" && err != nil:
			t.Errorf("%s %v: %v", x.port, x.options, err)
		case x.words != "" && (err == nil || !strings.Contains(err.Error(), x.words)):
			t.Errorf("%s %v: %v, want %q", x.port, x.options, err, x.words)
		case err == nil:
			if _, ok := inst.(device.Microphone); !ok {
				t.Error("it is no microphone")
			}
		}
	}
}

// The real path on a machine without that card.
func TestNoCard(t *testing.T) {
	set := settings(kit.NewManual(epoch()))
	for _, port := range []string{"hw:31,0", "usb:NO-SUCH-STETHOSCOPE"} {
		set.Port = port
		inst, err := Driver().New(set, &notes{})
		if err != nil {
			t.Fatal(err)
		}
		var f device.Fault
		if err := inst.Run(context.Background()); !errors.As(err, &f) || f.Health != (device.Health{State: device.Absent, Reason: "unplugged"}) {
			t.Errorf("%s: %v", port, err)
		}
	}
}

func TestAdopts(t *testing.T) {
	node := device.Node{Class: "sound", Vendor: 0x1234, Name: "Acme Digital Stethoscope"}
	if !adopts(node) {
		t.Error("a stethoscope is not taken")
	}
	webcam, serial := node, node
	webcam.Name, serial.Class = "HD Webcam C270", "tty"
	if adopts(webcam) || adopts(serial) {
		t.Error("something else is taken")
	}
}
