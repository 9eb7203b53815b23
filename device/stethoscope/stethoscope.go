// Package stethoscope is the driver of everything that listens to a chest: USB sound devices with a chest piece; and their twin.
//
// Parties: a source is one converter (the kernel's, or the twin's heart). The instrument shares it: any number of ears, each of
// which hears every value in order.
//
// Keys: a stethoscope is known by its port: "usb:SERIAL" stays true when it is plugged in elsewhere, "hw:1,0" does not.
//
// Invariants: the microphone is on only while somebody listens, and a linger longer. Nothing touches the values between the
// converter and the ears: no resampling, no gain control, no noise suppression. Values are numbered; what was lost, in the
// kernel or by an ear that fell seconds behind, is a jump in the numbers, and so is the time in which the microphone was off. A
// stretch is stamped at its last value. Whether there is a heart in the sound is not judged; that it is cut off at full scale,
// or not there at all, is.
package stethoscope

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"telecart/device"
	"telecart/device/hotplug"
	"telecart/device/kit"
	"telecart/device/stethoscope/alsa"
)

const (
	quantity = "phonogram"
	linger   = 2 * time.Second // the microphone stays on this long without an ear
	glance   = time.Second     // how often an idle one is asked whether it is still there
)

// Health reasons.
const (
	Clipping      device.Reason = "clipping"        // more than 0.1 % of the values of a second are at full scale
	NoSound       device.Reason = "no-sound"        // digital silence
	NoSoundFormat device.Reason = "no-sound-format" // no 16 bits at 48 or 44.1 kHz
	SoundStopped  device.Reason = "sound-stopped"   //
	AutomaticGain device.Reason = "automatic-gain"  // and it can't be switched off
)

// ErrClosed: the ear was closed.
var ErrClosed = errors.New("stethoscope: the ear is closed")

// source is a converter that is there.
type source interface {
	about() device.About
	alive() error
	listen() (stream, error) // turns it on
	io.Closer
}

// stream is a converter that is on.
type stream interface {
	rate() int
	// read waits for values and gives as many as there are, at most as many as fit; lost is how many were lost before them.
	read(ctx context.Context, dst []int16) (n int, lost uint64, err error)
	io.Closer
}

// options of a stethoscope in the settings file.
type options struct {
	gain   int     // percent, or alsa.AsItIs
	beats  float64 // a minute; the twin's heart
	murmur murmur  //
}

func parse(given map[string]string) (o options, err error) {
	o = options{alsa.AsItIs, 72, quiet}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		v := given[name]
		n, bad := strconv.Atoi(v)
		switch {
		case name == "gain" && bad == nil && n >= 0 && n <= 100:
			o.gain = n
		case name == "gain":
			return o, fmt.Errorf("stethoscope: option gain = %q: want percent, 0 to 100; without it the gain stays as it is", v)
		case name == "heart_rate" && bad == nil && n >= 20 && n <= 250:
			o.beats = float64(n)
		case name == "heart_rate":
			return o, fmt.Errorf("stethoscope: option heart_rate = %q: want beats a minute, 20 to 250, for the twin", v)
		case name == "murmur" && slices.Contains([]murmur{quiet, systolic, diastolic}, murmur(v)):
			o.murmur = murmur(v)
		case name == "murmur":
			return o, fmt.Errorf("stethoscope: option murmur = %q: want none, systolic or diastolic, for the twin", v)
		default:
			return o, fmt.Errorf("stethoscope: no option %q; there are: gain, heart_rate, murmur", name)
		}
	}
	return o, nil
}

// Driver makes stethoscopes. Port is "hw:1,0", "usb:SERIAL", "usb-port:1-1.2" or "twin". Options: gain, the capture volume in
// percent of its range (as it is); and what the twin hears: heart_rate a minute (72), and murmur, none, systolic or diastolic.
// What it makes is a device.Microphone.
func Driver() device.Driver {
	return device.Driver{Name: "stethoscope", Kind: device.KindStethoscope, Quantities: []string{quantity}, New: open, Adopts: adopts}
}

// adopts takes what calls itself a stethoscope. Any other microphone may be a webcam's.
func adopts(n device.Node) bool {
	return n.Class == "sound" && n.Vendor != 0 && strings.Contains(strings.ToLower(n.Name), "stethoscope")
}

func open(s device.Settings, out device.Outlet) (device.Instrument, error) {
	o, err := parse(s.Options)
	if err != nil {
		return nil, err
	}
	if s.Address != 0 || s.Mux != "" {
		return nil, errors.New("stethoscope: a sound device has no address and no mux; remove them")
	}
	if s.Twin() {
		t := newTwin(s.Clock, 48000, o)
		return newInstrument(s, out, t.open), nil
	}
	if err := hotplug.CheckPort(s.Port); err != nil || strings.HasPrefix(s.Port, "/") {
		return nil, fmt.Errorf("stethoscope: port %q: give usb:SERIAL, usb-port:1-1.2, hw:1,0 (card, device) or twin", s.Port)
	}
	return newInstrument(s, out, func() (source, error) { return openCard(s.Port, o.gain) }), nil
}

func newInstrument(s device.Settings, out device.Outlet, open func() (source, error)) *instrument {
	clock, stamp := s.Clock, s.Stamp
	if clock == nil {
		clock = kit.System{}
	}
	if stamp == nil {
		stamp = kit.NewStamper(clock, nil)
	}
	id := device.Identity{Name: s.Name, Kind: device.KindStethoscope, Driver: "stethoscope", Port: s.Port, Twin: s.Twin()}
	return &instrument{id: id, clock: clock, stamp: stamp, out: out, open: open, demand: make(chan struct{}, 1), ears: map[*ear]struct{}{}}
}

// fault says in a code that the screens have words for why Run ended.
func fault(err error) error {
	if err == nil {
		return nil
	}
	if !strings.HasPrefix(err.Error(), "stethoscope: ") {
		err = fmt.Errorf("stethoscope: %w", err)
	}
	for _, x := range []struct {
		err    error
		health device.Health
	}{
		{alsa.ErrUnplugged, device.Health{State: device.Absent, Reason: "unplugged"}},
		{hotplug.ErrAbsent, device.Health{State: device.Absent, Reason: "unplugged"}},
		{hotplug.ErrAmbiguous, device.Health{State: device.Faulty, Reason: "cannot-start"}}, // IT names it otherwise
		{alsa.ErrBusy, device.Health{State: device.Faulty, Reason: "busy"}},
		{alsa.ErrFormat, device.Health{State: device.Faulty, Reason: NoSoundFormat}},
		{alsa.ErrGain, device.Health{State: device.Faulty, Reason: AutomaticGain}},
		{alsa.ErrStalled, device.Health{State: device.Faulty, Reason: SoundStopped}},
		{os.ErrPermission, device.Health{State: device.Faulty, Reason: "no-permission"}},
	} {
		if errors.Is(err, x.err) {
			return device.Fault{Health: x.health, Err: err}
		}
	}
	return device.Fault{Health: device.Health{State: device.Faulty, Reason: "failed"}, Err: err}
}
