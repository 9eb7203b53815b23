package ad8232

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
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
	"telecart/device/ecg"
	"telecart/device/ecg/synth"
	"telecart/device/kit"
	"telecart/device/tmp117"
)

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

const (
	step     = 2 * time.Millisecond
	fineStep = step / 4 // less than half of a conversion at 860/s
)

var withLines = map[string]string{"ready": "gpiochip0:17", "leads_off": "gpiochip0:22,gpiochip0:23"}

func settings(clock *kit.Manual, options map[string]string) device.Settings {
	return device.Settings{Name: "ecg", Driver: "ad8232", Port: "/dev/i2c-1", Clock: clock, Stamp: kit.NewStamper(clock, nil),
		Options: options}
}

// on makes the instrument on a bus of models, with a twin's lines.
func on(t *testing.T, twin *Twin, chip simbus.Chip, clock *kit.Manual, options map[string]string,
	out device.Outlet) *electrocardiograph {
	t.Helper()
	sim := &simbus.Bus{}
	sim.Attach(defaultAddress, chip)
	s := settings(clock, options)
	s.Buses = bus.Simulated(sim.Open)
	inst, err := Driver().New(s, out)
	if err != nil {
		t.Fatal(err)
	}
	e := inst.(*electrocardiograph)
	e.lines = twin
	return e
}

// hundred is a twin of a patient with 100 beats a minute.
func hundred(clock kit.Clock) *Twin {
	return NewTwinOf(clock, defaultAddress,
		synth.Recipe{Seed: 2, White: 0.01, Wander: 0.1, BPM: func(float64) float64 { return 100 }})
}

// log is an outlet.
type log struct {
	mu       sync.Mutex
	readings []device.Reading
	health   []device.Health
	samples  []device.Samples
}

func (l *log) Observe(o device.Observation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch o := o.(type) {
	case device.Reading:
		l.readings = append(l.readings, o)
	case device.Health:
		l.health = append(l.health, o)
	case device.Samples:
		l.samples = append(l.samples, o)
	}
}

// drive runs the instrument until a time, and returns what Run said. each is called whenever the instrument waits.
func drive(inst device.Instrument, clock *kit.Manual, until time.Duration, each func(elapsed time.Duration)) error {
	return driveBy(step, inst, clock, until, each)
}

func driveBy(step time.Duration, inst device.Instrument, clock *kit.Manual, until time.Duration,
	each func(elapsed time.Duration)) error {
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

func nothing(time.Duration) {}

func at(when time.Duration, do func()) func(time.Duration) {
	return func(elapsed time.Duration) {
		if elapsed == when {
			do()
		}
	}
}

// The rate is right whatever the oscillator does, either way of sampling, and the waveform is of the right size and rate.
func TestHeartRate(t *testing.T) {
	for _, options := range []map[string]string{
		nil,
		{"rate": "475"},
		{"ready": "gpiochip0:17"},
		{"ready": "gpiochip0:17", "rate": "475"},
		{"ready": "gpiochip0:17", "rate": "860", "leads_off": "gpiochip0:22"},
	} {
		for _, speed := range []float64{0.9, 1, 1.1} {
			t.Run(fmt.Sprint(options, speed), func(t *testing.T) {
				t.Parallel()
				clock := kit.NewManual(start)
				twin := hundred(clock)
				twin.Oscillator(speed)
				out := &log{}
				e := on(t, twin, twin, clock, options, out)
				if err := driveBy(fineStep, e, clock, 15*time.Second, nothing); !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
				last := out.readings[len(out.readings)-1]
				if rate := last.Value.Float(); last.Absent != "" || rate < 99 || rate > 101 {
					t.Errorf("%+v: want 100", last)
				}
				want := float64(e.rate)
				if e.ready != nil {
					want *= speed
				}
				low, high, n := int32(0), int32(0), 0
				for _, s := range out.samples[10:] {
					if math.Abs(s.RateHz/want-1) > 0.002 || s.Unit != "uV" {
						t.Fatalf("samples at %g Hz in %s, want %g", s.RateHz, s.Unit, want)
					}
					low, high, n = min(low, slices.Min(s.Values)), max(high, slices.Max(s.Values)), n+len(s.Values)
				}
				if low < -500 || low > -150 || high < 900 || high > 1250 {
					t.Errorf("from %d to %d uV", low, high)
				}
				if e.lost.Load() > uint64(n/100) || e.gaps.Load() > 0 {
					t.Errorf("lost %d, gaps %d", e.lost.Load(), e.gaps.Load())
				}
			})
		}
	}
}

// The exact bytes on the wire. A chip that was left at something by somebody is told all that matters.
func TestTranscript(t *testing.T) {
	for _, c := range []struct {
		options map[string]string
		text    string
	}{
		{nil, `
			49 w 02 r 8000
			49 w 028000
			49 w 02 r 8000
			49 w 03 r 1234
			49 w 037fff
			49 w 03 r 7fff
			49 w 01 r 8583
			49 w 0142e3
			49 w 01 r c2e3
			49 w 00 r 0001`},
		{map[string]string{"ready": "gpiochip0:17", "rate": "475"}, `
			49 w 02 r 8000
			49 w 020000
			49 w 02 r 0000
			# all zeros may be a bus held low: package bus looks whether nobody is at home where nobody is
			03 r ?? ! simbus: nobody at 0x03: no such device or address
			49 w 03 r 7fff
			49 w 038000
			49 w 03 r 8000
			49 w 01 r 8583
			49 w 0142c0
			49 w 01 r 42c0
			49 w 00 r 3200`},
	} {
		all, err := transcript.Parse(strings.NewReader(c.text))
		if err != nil {
			t.Fatal(err)
		}
		player := transcript.Play(all)
		clock := kit.NewManual(start)
		s := settings(clock, c.options)
		s.Buses = bus.Simulated(func(string) (i2c.BusCloser, error) { return player, nil })
		inst, err := Driver().New(s, &log{})
		if err != nil {
			t.Fatal(err)
		}
		inst.(*electrocardiograph).lines = onePulse{clock: clock}
		if err := drive(inst, clock, 6*time.Millisecond, nothing); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if err := player.Left(); err != nil {
			t.Error(err)
		}
	}
}

// onePulse is a ready line that pulses once.
type onePulse struct {
	gpio
	clock kit.Clock
}

func (p onePulse) Pulses(line) (pulses, error) { return &oncePulses{clock: p.clock}, nil }

type oncePulses struct {
	clock kit.Clock
	done  bool
}

func (p *oncePulses) Next(ctx context.Context) (edge, error) {
	if !p.done {
		p.done = true
		return edge{n: 7, at: time.Second}, nil
	}
	select {
	case <-ctx.Done():
		return edge{}, ctx.Err()
	case <-p.clock.After(time.Second):
		return edge{}, errQuiet
	}
}

func (*oncePulses) Close() error { return nil }

// story is what the nurse sees, once a second, each word when it changes.
func story(out *log) (words []string) {
	for _, r := range out.readings {
		word := string(r.Absent)
		if word == "" {
			word = "rate"
		}
		if len(words) == 0 || words[len(words)-1] != word {
			words = append(words, word)
		}
	}
	return words
}

func TestElectrodes(t *testing.T) {
	for _, ready := range []bool{false, true} {
		options := map[string]string{"leads_off": withLines["leads_off"]}
		if ready {
			options["ready"] = withLines["ready"]
		}
		clock := kit.NewManual(start)
		twin := NewTwin(clock, defaultAddress)
		out := &log{}
		err := drive(on(t, twin, twin, clock, options, out), clock, 40*time.Second, func(elapsed time.Duration) {
			switch elapsed {
			case 15 * time.Second:
				twin.Detach()
			case 15*time.Second + 100*time.Millisecond: // half of what counts
				twin.Attach()
			case 20 * time.Second:
				twin.Detach()
			case 25 * time.Second:
				twin.Attach()
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"not-yet", "rate", "ecg-saturated", "rate", "leads-off", "not-yet", "rate"}, story(out)); diff != "" {
			t.Errorf("ready %v: %s", ready, diff)
		}
		for _, s := range out.samples {
			if e := s.At.Wall.Sub(start); e > 20*time.Second+300*time.Millisecond && e < 26*time.Second+200*time.Millisecond {
				t.Errorf("ready %v: samples at %s, while an electrode is off or the front end settles", ready, e)
				break
			}
		}
		for i, h := range out.health {
			if h.State == device.Live && i > 0 && h.Reason != "" {
				t.Errorf("live because %q", h.Reason)
			}
		}
	}
}

// Without lead-off lines a loose electrode shows as what it does to the signal; never as a number.
func TestElectrodeOffUnwatched(t *testing.T) {
	clock := kit.NewManual(start)
	twin := NewTwin(clock, defaultAddress)
	out := &log{}
	err := drive(on(t, twin, twin, clock, nil, out), clock, 20*time.Second, at(12*time.Second, twin.Detach))
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"not-yet", "rate", string(ecg.Saturated)}, story(out)); diff != "" {
		t.Error(diff)
	}
}

func TestFaults(t *testing.T) {
	both := []map[string]string{nil, {"ready": "gpiochip0:17"}}
	for _, c := range []struct {
		name    string
		options []map[string]string
		do      func(*Twin)
		want    error
	}{
		{"two missed", both, func(w *Twin) { w.NACK(2) }, context.Canceled},
		{"three missed", both, func(w *Twin) { w.NACK(3) }, ErrNACK},
		{"unplugged", both, (*Twin).Unplug, ErrNACK},
		{"supply lost for a moment", both, (*Twin).BrownOut, ErrRestarted},
		{"a clock at twice its speed", both[1:], func(w *Twin) { w.Oscillator(2) }, ErrRate},
		{"a wire off", both[1:], func(w *Twin) {
			var b [2]byte
			w.Tx(defaultAddress, []byte{regLow, 0x80, 0}, nil) // as good as a wire: no pulses, and the configuration stays
			w.Tx(defaultAddress, []byte{regConversion}, b[:])
		}, ErrQuiet},
	} {
		for _, options := range c.options {
			clock := kit.NewManual(start)
			twin := NewTwin(clock, defaultAddress)
			out := &log{}
			e := on(t, twin, twin, clock, options, out)
			err := drive(e, clock, 20*time.Second, at(10*time.Second, func() { c.do(twin) }))
			if !errors.Is(err, c.want) {
				t.Errorf("%s, %v: %v, want %v", c.name, options, err, c.want)
			}
			if c.want != context.Canceled {
				continue
			}
			health, counters := out.health[len(out.health)-1], e.Counters()
			if health.State != device.Live || counters["gaps"] != 0 || counters["lost_samples"] == 0 {
				t.Errorf("%s, %v: health %+v, counters %v", c.name, options, health, counters)
			}
		}
	}
}

// A machine that is busy for 300 ms makes a gap: the rate goes and comes back, and no beat is invented.
func TestGap(t *testing.T) {
	for _, options := range []map[string]string{nil, {"ready": "gpiochip0:17"}} {
		clock := kit.NewManual(start)
		twin := NewTwin(clock, defaultAddress)
		out := &log{}
		counted := &counting{Chip: twin}
		e := on(t, twin, counted, clock, options, out)
		var before, hurry int
		err := drive(e, clock, 25*time.Second, func(elapsed time.Duration) {
			switch elapsed {
			case 12 * time.Second:
				clock.Advance(300 * time.Millisecond)
				before = counted.count()
			case 12*time.Second + 20*time.Millisecond:
				hurry = counted.count() - before
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if hurry > 10 {
			t.Errorf("%v: %d transactions in the 20 ms after it", options, hurry)
		}
		if diff := cmp.Diff([]string{"not-yet", "rate", "not-yet", "rate"}, story(out)); diff != "" || e.gaps.Load() != 1 {
			t.Errorf("%v: %d gaps: %s", options, e.gaps.Load(), diff)
		}
	}
}

// counting counts transactions.
type counting struct {
	simbus.Chip
	mu sync.Mutex
	n  int
}

func (c *counting) Tx(addr uint16, w, r []byte) error {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
	return c.Chip.Tx(addr, w, r)
}

func (c *counting) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// A converter that gets warm runs faster; the rate does not.
func TestOscillatorDrifts(t *testing.T) {
	clock := kit.NewManual(start)
	twin := hundred(clock)
	out := &log{}
	e := on(t, twin, twin, clock, map[string]string{"ready": "gpiochip0:17"}, out)
	err := drive(e, clock, 40*time.Second, at(10*time.Second, func() { twin.Oscillator(1.1) }))
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	r, s := out.readings[len(out.readings)-1], out.samples[len(out.samples)-1]
	if rate := r.Value.Float(); rate < 99 || rate > 101 || math.Abs(s.RateHz-275) > 0.5 {
		t.Errorf("%g/min, %g Hz", rate, s.RateHz)
	}
}

// A sample or two that were missed are bridged: a line stays one.
func TestBridge(t *testing.T) {
	for _, options := range []map[string]string{nil, {"ready": "gpiochip0:17"}} {
		clock := kit.NewManual(start)
		twin := NewTwinOf(clock, defaultAddress, synth.Recipe{Silent: true})
		out := &log{}
		e := on(t, twin, twin, clock, options, out)
		if err := drive(e, clock, 15*time.Second, at(10*time.Second, func() { twin.NACK(2) })); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		for _, s := range out.samples {
			if slices.Max(s.Values) > 1 || slices.Min(s.Values) < -1 {
				t.Fatalf("%v: %v", options, s.Values)
			}
		}
		if last := out.readings[len(out.readings)-1]; last.Absent != ecg.Flat || e.lost.Load() == 0 {
			t.Errorf("%v: %+v, lost %d", options, last, e.lost.Load())
		}
	}
}

func TestAnotherChip(t *testing.T) {
	clock := kit.NewManual(start)
	other := tmp117.NewTwin(clock, defaultAddress)
	err := on(t, nil, other, clock, nil, &log{}).Run(t.Context())
	if !errors.Is(err, wiring.ErrWrongChip) {
		t.Errorf("got %v", err)
	}
	var fault device.Fault
	if !errors.As(err, &fault) || fault.Health.Reason != wiring.WrongChip {
		t.Errorf("the nurse is told %+v", fault.Health)
	}
	for reg, want := range map[byte]string{1: "0220", 2: "6000", 3: "8000"} {
		var b [2]byte
		if err := other.Tx(defaultAddress, []byte{reg}, b[:]); err != nil || fmt.Sprintf("%x", b) != want {
			t.Errorf("its register %d is left at %x: %v", reg, b, err)
		}
	}
}

func TestConformance(t *testing.T) {
	for name, c := range map[string]struct {
		port    string
		options map[string]string
	}{
		"driver, polled":     {"/dev/i2c-1", nil},
		"driver, ready line": {"/dev/i2c-1", withLines},
		"twin, polled":       {"twin", nil},
		"twin, ready line":   {"twin", withLines},
	} {
		conformance.Run(t, conformance.Case{Name: name, Quantities: []string{"heart-rate", "ecg"},
			Start: func(out device.Outlet) (conformance.Rig, error) {
				clock := kit.NewManual(start)
				r := conformance.Rig{Clock: clock, Step: step}
				if c.port != "twin" {
					twin := NewTwin(clock, defaultAddress)
					r.Instrument = on(t, twin, twin, clock, c.options, out)
					r.Unplug = twin.Unplug
					return r, nil
				}
				s := settings(clock, c.options)
				s.Port = c.port
				var err error
				r.Instrument, err = Driver().New(s, out)
				return r, err
			}})
	}
}
