// Package voice is the driver of the room's microphone and loudspeaker, by which nurse and patient talk with a specialist; and
// their twin.
//
// Parties: a source is a microphone and a loudspeaker (those that the machine's sound server calls the default ones, or the
// twin's). The instrument shares them: any number of ears, each of which hears every value in order, and any number of mouths,
// which are heard together.
//
// Keys: the port "default" is whatever the sound server says it is. On the image that is PipeWire's pair with the echo cancelled
// (the loudspeaker's sound taken out of the microphone's): nothing here does that, and a port that went around the server would
// let every specialist hear themselves.
//
// Invariants: the microphone is on only while there is an ear, the loudspeaker only while there is a mouth, each a linger longer.
// Everything has 48 kHz and one channel. A mouth holds 30 ms; who does not write in time is heard with a gap, who
// writes too fast waits. Nothing is kept, but for the twin's loudspeaker, which was made for that.
package voice

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"telecart/device"
	"telecart/device/kit"
)

// RateHz of everything here.
const RateHz = 48000

const (
	stretch = 20 * time.Millisecond
	piece   = RateHz / 50     // values of a stretch
	linger  = 2 * time.Second // what is on stays on this long without anybody
	glance  = time.Second     // how often an idle one is asked whether it is still there
)

// Why a source fails.
var (
	ErrNoSound   = errors.New("voice: this machine has no microphone and loudspeaker that are ready; is its sound server running?")
	ErrUnplugged = errors.New("voice: the microphone or the loudspeaker was unplugged")
	ErrClosed    = errors.New("voice: closed")
)

// source is a microphone and a loudspeaker that are there.
type source interface {
	about() device.About
	alive() error
	// hear has the microphone on until ctx ends (nil) or it fails, and gives take what it hears.
	hear(ctx context.Context, take func(values []int16)) error
	// play has the loudspeaker on until ctx ends (nil) or it fails, and has fill say what comes next.
	play(ctx context.Context, fill func(values []int16)) error
	io.Closer
}

// options in the settings file.
type options struct {
	record string // a file for what the twin's loudspeaker played
}

func parse(given map[string]string) (o options, err error) {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		v := given[name]
		switch {
		case name != "record":
			return o, fmt.Errorf("voice: no option %q; the only one is record", name)
		case v != "" && (!filepath.IsAbs(v) || filepath.Ext(v) != ".wav"):
			return o, fmt.Errorf("voice: option record = %q: want the whole path of a .wav file, for the twin", v)
		}
		o.record = v
	}
	return o, nil
}

// Driver makes the room's voice. Port is "default", the sound server's, or "twin". Options: record, a file in which the twin keeps
// the last ten seconds that its loudspeaker played. What it makes is a device.Microphone and a device.Loudspeaker.
func Driver() device.Driver {
	return device.Driver{Name: "voice", Kind: device.KindVoice, New: open}
}

func open(s device.Settings, out device.Outlet) (device.Instrument, error) {
	o, err := parse(s.Options)
	if err != nil {
		return nil, err
	}
	switch {
	case s.Address != 0 || s.Mux != "":
		return nil, errors.New("voice: a sound device has no address and no mux; remove them")
	case s.Twin():
		t := newTwin(s.Clock, o)
		return newInstrument(s, out, t.open), nil
	case s.Port != "default":
		return nil, fmt.Errorf("voice: port %q: give default (what the sound server calls so) or twin", s.Port)
	case o.record != "":
		return nil, errors.New("voice: option record is for the twin alone: nothing that a person says is kept")
	}
	return newInstrument(s, out, func() (source, error) { return openCard(servers()) }), nil
}

func newInstrument(s device.Settings, out device.Outlet, open func() (source, error)) *instrument {
	clock, stamp := s.Clock, s.Stamp
	if clock == nil {
		clock = kit.System{}
	}
	if stamp == nil {
		stamp = kit.NewStamper(clock, nil)
	}
	return &instrument{clock: clock, stamp: stamp, out: out, open: open, changed: make(chan struct{}),
		ears: map[*ear]struct{}{}, mouths: map[*mouth]struct{}{}}
}

// fault says in a code that the screens have words for why Run ended.
func fault(err error) error {
	if err == nil {
		return nil
	}
	if !strings.HasPrefix(err.Error(), "voice: ") {
		err = fmt.Errorf("voice: %w", err)
	}
	if errors.Is(err, ErrNoSound) || errors.Is(err, ErrUnplugged) {
		return device.Fault{Health: device.Health{State: device.Absent, Reason: "unplugged"}, Err: err}
	}
	return device.Fault{Health: device.Health{State: device.Faulty, Reason: "failed"}, Err: err}
}
