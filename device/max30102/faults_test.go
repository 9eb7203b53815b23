package max30102

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"periph.io/x/conn/v3/i2c"

	"telecart/device"
	"telecart/device/bus/wiring"
)

// A host that was away for a second: samples are lost, the chain is told, numbers come back later.
func TestOverflowIsAGap(t *testing.T) {
	r := newRig()
	const at = 20 * time.Second
	r.must(t, 40*time.Second, once(at, func() { r.clock.Advance(700 * time.Millisecond) }))
	if n := r.inst.(device.Counted).Counters()["fifo_overflows"]; n != 1 {
		t.Errorf("%d overflows", n)
	}
	shift := 700 * time.Millisecond
	if x := r.of(rate, at-2*time.Second, at); x[0].Absent != "" {
		t.Fatalf("before: %+v", x)
	}
	for _, x := range r.of(rate, at+shift, at+shift+4*time.Second) {
		if x.Absent == "" {
			t.Errorf("%s at %s: it rests on what was before the gap", x.Value, x.At.Wall.Sub(start))
		}
	}
	if x := r.of(rate, 38*time.Second, 41*time.Second); len(x) == 0 || x[len(x)-1].Absent != "" {
		t.Errorf("after: %+v", x)
	}
}

// broken is a chip that some messages to or from break off.
type broken struct {
	*Twin
	fail func(w, r []byte) bool
}

var errBroken = errors.New("broken off")

func (b *broken) Tx(addr uint16, w, r []byte) error {
	if b.fail != nil && b.fail(w, r) {
		_ = b.Twin.Tx(addr, w, r[:min(len(r), len(r)/2|1)]) // as far as it went: within a sample
		return errBroken
	}
	return b.Twin.Tx(addr, w, r)
}

func TestFaults(t *testing.T) {
	const from = 15 * time.Second
	for name, c := range map[string]struct {
		do    func(*Twin)
		every time.Duration // again; 0: once
		want  error
		state device.Health
	}{
		"two missed messages":         {do: func(w *Twin) { w.NACK(2) }, want: context.Canceled},
		"two of them again and again": {do: func(w *Twin) { w.NACK(2) }, every: time.Second, want: context.Canceled},
		"three missed messages":       {do: func(w *Twin) { w.NACK(3) }, want: ErrNACK},
		"unplugged":                   {do: (*Twin).Unplug, want: ErrNACK},
		"one brown-out":               {do: (*Twin).BrownOut, want: context.Canceled},
		"brown-outs without end":      {do: (*Twin).BrownOut, every: 50 * time.Millisecond, want: ErrRestart},
		"no samples any more": {do: (*Twin).Stall, want: ErrStalled,
			state: device.Health{State: device.Absent, Reason: device.NoData}},
		"somebody configured it to 50 Hz": {do: func(w *Twin) { _ = w.Tx(address, []byte{regSpO2, 0x2B}, nil) }, want: ErrPace,
			state: device.Health{State: device.Faulty, Reason: device.SensorFault}},
	} {
		r := newRig()
		err := r.run(t, 40*time.Second, func(elapsed time.Duration) {
			if elapsed == from || c.every > 0 && elapsed > from && (elapsed-from)%c.every == 0 {
				c.do(r.twin)
			}
		})
		var f device.Fault
		errors.As(err, &f)
		if !errors.Is(err, c.want) || f.Health != c.state {
			t.Errorf("%s: %v, health %v", name, err, f.Health)
		}
		if c.want == context.Canceled {
			if x := r.of(rate, 38*time.Second, 41*time.Second); len(x) == 0 || x[len(x)-1].Absent != "" {
				t.Errorf("%s: afterwards %+v", name, x)
			}
		}
		if name == "one brown-out" {
			if x := r.of(rate, from, from+300*time.Millisecond); len(x) == 0 || x[0].Absent != device.NotYet {
				t.Errorf("%s: at first %+v", name, x)
			}
		}
		if red, ir := r.twin.Lamps(); c.want == context.Canceled && red|ir != 0 {
			t.Errorf("%s: the lamps are on: %d, %d", name, red, ir)
		}
	}
}

// A burst that broke off leaves the FIFO anywhere within a sample: red must never be taken for infrared.
func TestBrokenBurst(t *testing.T) {
	r := newRig()
	b := &broken{Twin: r.twin}
	r.chip = b
	r.must(t, 35*time.Second, once(15*time.Second, func() {
		left := 1
		b.fail = func(w, _ []byte) bool {
			if left == 0 || w[0] != regData {
				return false
			}
			left--
			return true
		}
	}))
	for _, x := range r.of(saturation, 0, 40*time.Second) {
		if x.Absent == "" && math.Abs(x.Value.Float()-97) > 2 {
			t.Errorf("%s at %s", x.Value, x.At.Wall.Sub(start))
		}
	}
	for _, x := range r.of(rate, 15200*time.Millisecond, 19*time.Second) {
		if x.Absent == "" {
			t.Errorf("%s at %s rests on both sides of the gap", x.Value, x.At.Wall.Sub(start))
		}
	}
	if x := r.of(rate, 33*time.Second, 36*time.Second); len(x) == 0 || x[len(x)-1].Absent != "" {
		t.Errorf("afterwards %+v", x)
	}
	always := newRig()
	always.chip = &broken{Twin: always.twin, fail: func(w, _ []byte) bool { return w[0] == regData }}
	if err := always.run(t, 2*time.Second, nil); !errors.Is(err, errBroken) {
		t.Errorf("bursts that always break off: %v", err)
	}
}

// A lamp's message that failed may have been heard or not: what was before is sent again before the light is judged.
func TestLampMessageLost(t *testing.T) {
	for _, heard := range []string{"heard", "not heard"} {
		r := newRig()
		f := Healthy()
		f.Red, f.IR = 6000, 1600
		r.twin.Put(f)
		var sent [][2]byte
		b := &broken{Twin: r.twin}
		b.fail = func(w, _ []byte) bool {
			if w[0] != regRed {
				return false
			}
			sent = append(sent, [2]byte{w[1], w[2]})
			if len(sent) != 2 {
				return false
			}
			if heard == "not heard" {
				w[1], w[2] = startLamp, startLamp
			}
			return true
		}
		r.chip = b
		r.must(t, 20*time.Second, nil)
		x := r.of(rate, 18*time.Second, 21*time.Second)
		if len(sent) < 4 || sent[0] != sent[2] || sent[1] != sent[3] || len(x) == 0 || x[len(x)-1].Absent != "" {
			t.Errorf("%s: sent %d; %+v", heard, sent, x)
		}
	}
}

// eeprom is what cheap boards have at the same address: it remembers what is written to it.
type eeprom struct {
	i2c.Bus
	cells  [256]byte
	at     byte
	writes int
}

func (e *eeprom) Tx(_ uint16, w, r []byte) error {
	if len(w) > 0 {
		e.at = w[0]
		e.writes += len(w) - 1
	}
	for i := range r {
		r[i] = e.cells[e.at]
		e.at++
	}
	return nil
}

func TestAnotherChip(t *testing.T) {
	blank, lucky := &eeprom{}, &eeprom{}
	for i := range blank.cells {
		blank.cells[i], lucky.cells[i] = 0xFF, 0xFF
	}
	lucky.cells[regPart] = partID
	for _, e := range []*eeprom{blank, lucky, {}} {
		r := newRig()
		r.chip = e
		var f device.Fault
		if err := r.run(t, tick, nil); !errors.Is(err, wiring.ErrWrongChip) || !errors.As(err, &f) || f.Health.Reason != wiring.WrongChip {
			t.Error(err)
		}
		if e.writes > 0 {
			t.Errorf("%d bytes were written to it", e.writes)
		}
	}
}

// A reset that never ends.
func TestNoReset(t *testing.T) {
	r := newRig()
	r.chip = resetting{r.twin}
	if err := r.run(t, time.Second, nil); !errors.Is(err, ErrReset) {
		t.Error(err)
	}
}

type resetting struct{ *Twin }

func (c resetting) Tx(addr uint16, w, r []byte) error {
	err := c.Twin.Tx(addr, w, r)
	if w[0] == regMode && len(r) > 0 {
		r[0] |= modeReset
	}
	return err
}
