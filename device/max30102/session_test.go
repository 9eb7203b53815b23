package max30102

import (
	"testing"
	"time"

	"telecart/device"
	"telecart/device/kit"
	"telecart/device/ppg"
)

func newTestSession() (*session, *log, *kit.Manual) {
	clock, out := kit.NewManual(start), &log{}
	return newSession(&oximeter{clock: clock, stamp: kit.NewStamper(clock, nil), out: out}, chip{direct{NewTwin(clock)}}), out, clock
}

// direct is a twin without a bus.
type direct struct{ *Twin }

func (d direct) Tx(w, r []byte) error { return d.Twin.Tx(address, w, r) }

// Light of other lamps is not what the chain saw before.
func TestLampChangeIsAGap(t *testing.T) {
	s, _, _ := newTestSession()
	was := s.chain
	if err := s.light(lamp{code: startLamp}, lamp{code: startLamp}); err != nil || s.chain != was || s.blind {
		t.Errorf("the same lamps again: %v", err)
	}
	if err := s.light(lamp{code: startLamp}, lamp{code: startLamp + 1}); err != nil || s.chain == was || !s.blind {
		t.Errorf("another lamp: %v", err)
	}
}

// Nor is another finger.
func TestFingerIsNew(t *testing.T) {
	s, out, _ := newTestSession()
	light := make([]sample, 10)
	for i := range light {
		light[i] = sample{red: fullScale * 6 / 10, ir: fullScale * 6 / 10}
	}
	was := s.chain
	for i := range 2 * fingerPolls {
		if err := s.look(light); err != nil {
			t.Fatal(err)
		}
		if there := i+1 >= fingerPolls; s.finger.on != there || (s.chain != was) != there || (len(out.samples) > 0) != there {
			t.Errorf("poll %d: finger %v, a new chain %v, %d samples", i, s.finger.on, s.chain != was, len(out.samples))
		}
	}
}

// A rate that was never measured is the chip's word alone.
func TestNoNumberBeforePaceIsKnown(t *testing.T) {
	s, out, _ := newTestSession()
	v := ppg.Vitals{Result: ppg.Result{Rate: 71.6, Match: 0.97}, Saturation: 96.5, Ratio: 0.6, Perfusion: 1.234}
	s.vitals(v)
	s.pace.known = true
	s.vitals(v)
	for i, want := range []string{"0", "0", "0", "97", "72", "1.23"} {
		if r := out.readings[i]; r.Value.String() != want && want != "0" || (r.Absent == device.NotYet) != (i < 3) {
			t.Errorf("%+v, want %s", r, want)
		}
	}
	if out.health[0].State != device.Settling || out.health[1].State != device.Live {
		t.Errorf("%v", out.health)
	}
}

// One part may be absent alone.
func TestAbsentParts(t *testing.T) {
	s, out, _ := newTestSession()
	s.pace.known = true
	s.vitals(ppg.Vitals{Result: ppg.Result{Rate: 72}, NoSaturation: ppg.Unlike, Perfusion: 2})
	s.vitals(ppg.Vitals{Result: ppg.Result{Absent: device.LowSignal}, NoSaturation: device.LowSignal, Perfusion: 0.1})
	for i, want := range []device.Reason{ppg.Unlike, "", "", device.LowSignal, device.LowSignal, ""} {
		if r := out.readings[i]; r.Absent != want || want != "" && r.Value != (device.Decimal{}) {
			t.Errorf("%+v, want %q", r, want)
		}
	}
	if h := out.health; h[0] != (device.Health{State: device.Live}) || h[1] != (device.Health{State: device.Settling, Reason: device.LowSignal}) {
		t.Errorf("%v", h)
	}
}

// A finger that gives nothing for long is not silence.
func TestRemind(t *testing.T) {
	for on, c := range map[bool]struct {
		after time.Duration
		why   device.Reason
	}{true: {quiet, device.NotYet}, false: {period, device.NoFinger}} {
		s, out, clock := newTestSession()
		s.finger.on = on
		clock.Advance(c.after - time.Millisecond)
		s.remind()
		if len(out.readings) > 0 {
			t.Errorf("too early: %+v", out.readings)
		}
		clock.Advance(time.Millisecond)
		s.remind()
		s.remind()
		if len(out.readings) != 3 || out.readings[0].Absent != c.why {
			t.Errorf("%+v", out.readings)
		}
	}
}
