package ad8232

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"periph.io/x/conn/v3/physic"

	"telecart/device/ecg/synth"
	"telecart/device/kit"
)

// ErrNACK is what the twin answers when nothing acknowledges: absent, another address, or an injected fault.
var ErrNACK = errors.New("ad8232: twin: no acknowledge")

const (
	twinError = 0.03  // of its oscillator: 3 % fast
	heartHz   = 1000  // of the heart's own samples
	heartSkip = 10    // s: a clock that jumps further finds the heart where it was
	middleV   = 1.65  // the AD8232's reference, half of its supply
	lowestV   = 0.01  // of its output
	highestV  = 3.29  //
	restoreV  = 1.2   // how far its output is off when electrodes are on again,
	restoreS  = 0.25  // and with which time constant it comes back
	twinGain  = 1.100 // V per mV
)

// Twin is an ADS1115 at register level (power-on values, continuous and single conversions timed by the clock it was given
// and an oscillator that is off, ranges, ALERT/RDY as ready signal) with an AD8232 and a heart on AIN0. The comparator's
// other uses are not modelled. It is an i2c.Bus with one chip on it, and the GPIO lines that lead to it: every line that is
// waited for is ALERT/RDY, every line that is looked at is LO+. Safe for concurrent use.
type Twin struct {
	clock kit.Clock
	addr  uint16
	began time.Time

	mu      sync.Mutex
	regs    [4]uint16
	pointer byte
	from    time.Time // when the conversions that run now began
	done    int64     // of them
	total   uint32    // since power-on
	speed   float64   // of the oscillator, 1 is right
	absent  bool
	nacks   int
	off     bool // an electrode
	onAgain time.Time

	heart   *synth.Generator
	origin  time.Time // of the heart's samples
	at      int64     // heart samples that were made
	a, b    float64
	changed chan struct{} // closed when conversions may be due at another time
}

// NewTwin makes a chip that has just been powered, on a patient with 72 beats a minute and an extra beat now and then.
func NewTwin(clock kit.Clock, addr uint16) *Twin {
	return NewTwinOf(clock, addr, synth.Recipe{Seed: 1, Jitter: 0.03, White: 0.01, Wander: 0.05, Mains: 0.01, MainsHz: 50})
}

// NewTwinOf makes one on a patient of your choice; RateHz of the recipe is the twin's.
func NewTwinOf(clock kit.Clock, addr uint16, patient synth.Recipe) *Twin {
	patient.RateHz = heartHz
	now := clock.Now()
	t := &Twin{clock: clock, addr: addr, began: now, origin: now, speed: 1 + twinError}
	t.heart, t.changed = synth.New(patient), make(chan struct{})
	t.powerOn()
	return t
}

// Detach takes an electrode off, Attach puts it on again.
func (t *Twin) Detach() { t.do(func() { t.off = true }) }
func (t *Twin) Attach() { t.do(func() { t.off, t.onAgain = false, t.clock.Now() }) }

// Oscillator sets how fast the chip's clock is; 1 is right.
func (t *Twin) Oscillator(speed float64) {
	t.do(func() {
		if t.speed = speed; !t.from.IsZero() {
			t.from, t.done = t.clock.Now(), 0
		}
	})
}

// Unplug takes the chip off the bus, Plug puts it back, freshly powered; BrownOut takes its supply away for a moment.
func (t *Twin) Unplug()   { t.do(func() { t.absent = true }) }
func (t *Twin) Plug()     { t.do(func() { t.absent = false; t.powerOn() }) }
func (t *Twin) BrownOut() { t.do(t.powerOn) }

// NACK leaves the next n messages unacknowledged.
func (t *Twin) NACK(n int) { t.do(func() { t.nacks = n }) }

func (t *Twin) do(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance()
	f()
	close(t.changed)
	t.changed = make(chan struct{})
}

// Tx implements i2c.Bus.
func (t *Twin) Tx(addr uint16, w, r []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if addr != t.addr {
		return fmt.Errorf("%w at %#02x", ErrNACK, addr)
	}
	if t.nacks > 0 {
		t.nacks--
		return ErrNACK
	}
	if t.absent {
		return ErrNACK
	}
	t.advance()
	if len(w) > 0 {
		t.pointer = w[0] & 3
	}
	if len(w) >= 3 {
		t.write(binary.BigEndian.Uint16(w[1:]))
	}
	v := t.regs[t.pointer]
	if t.pointer == regConfig && !t.converting() {
		v |= cfgIdle
	}
	for i := range r {
		r[i] = byte(v >> (8 * (1 - i%2)))
	}
	return nil
}

// SetSpeed implements i2c.Bus.
func (t *Twin) SetSpeed(f physic.Frequency) error {
	if f > 3400*physic.KiloHertz {
		return fmt.Errorf("ad8232: twin: %s is too fast: at most 3.4 MHz", f)
	}
	return nil
}

func (t *Twin) String() string { return fmt.Sprintf("ad8232 twin(%#02x)", t.addr) }

func (t *Twin) write(v uint16) {
	switch t.pointer {
	case regConfig:
		start := v&cfgIdle != 0 || v&cfgSingleShot == 0
		t.regs[regConfig] = v &^ cfgIdle
		if start {
			t.from, t.done = t.clock.Now(), 0
		}
		close(t.changed)
		t.changed = make(chan struct{})
	case regLow, regHigh:
		t.regs[t.pointer] = v
	}
}

func (t *Twin) powerOn() {
	t.regs = [4]uint16{regConfig: porConfig &^ cfgIdle, regLow: porLow, regHigh: porHigh}
	t.pointer, t.total = 0, 0
	t.from, t.done = time.Time{}, 0
}

func (t *Twin) continuous() bool { return t.regs[regConfig]&cfgSingleShot == 0 }

func (t *Twin) converting() bool {
	return t.continuous() || !t.from.IsZero() && t.done == 0
}

func (t *Twin) period() time.Duration {
	rate := rates()[t.regs[regConfig]>>cfgRateShift&7]
	return time.Duration(float64(time.Second) / (float64(rate) * t.speed))
}

// advance completes the conversions that are due; only the last one can be seen.
func (t *Twin) advance() {
	if t.from.IsZero() {
		return
	}
	n := int64(t.clock.Now().Sub(t.from) / t.period())
	if !t.continuous() {
		n = min(n, 1)
	}
	if n <= t.done {
		return
	}
	t.total += uint32(n - t.done)
	t.done = n
	t.regs[regConversion] = uint16(t.convert(t.from.Add(time.Duration(n) * t.period())))
}

// convert is the input's voltage in steps of the chosen range.
func (t *Twin) convert(at time.Time) int16 {
	full := [8]float64{6.144, 4.096, 2.048, 1.024, 0.512, 0.256, 0.256, 0.256}[t.regs[regConfig]>>9&7]
	v := 0.0
	if mux := t.regs[regConfig] >> 12 & 7; mux == 0 || mux == 1 || mux == 4 { // with AIN0; the others are at ground
		v = t.output(at)
	}
	return int16(min(max(math.Round(v/full*32768), math.MinInt16), math.MaxInt16))
}

// output is the AD8232's, in volts.
func (t *Twin) output(at time.Time) float64 {
	v := middleV + twinGain*t.heartAt(at)
	if t.off {
		return highestV
	}
	if !t.onAgain.IsZero() {
		v += restoreV * math.Exp(-at.Sub(t.onAgain).Seconds()/restoreS)
	}
	return min(max(v, lowestV), highestV)
}

// heartAt is what the electrodes see, in mV. Time only goes on.
func (t *Twin) heartAt(at time.Time) float64 {
	if skip := at.Sub(t.origin) - time.Duration(t.at)*time.Second/heartHz; skip > heartSkip*time.Second {
		t.origin = t.origin.Add(skip)
	}
	where := at.Sub(t.origin).Seconds() * heartHz
	n := int64(where)
	for t.at <= n {
		t.a, t.b = t.b, t.heart.Next()
		t.at++
	}
	part := where - math.Floor(where)
	return t.a + part*(t.b-t.a)
}

// Pulses implements gpio: ALERT/RDY.
func (t *Twin) Pulses(line) (pulses, error) { return &twinPulses{twin: t}, nil }

// Level implements gpio: LO+.
func (t *Twin) Level(line) (level, error) { return twinLevel{t}, nil }

type twinPulses struct {
	twin *Twin
	last uint32
}

// Next waits for the clock, and for changes of the chip. It knows the time when the conversion completed, as the kernel does.
func (p *twinPulses) Next(ctx context.Context) (edge, error) {
	t := p.twin
	quiet := t.clock.Now().Add(time.Second)
	for {
		t.mu.Lock()
		t.advance()
		now, changed := t.clock.Now(), t.changed
		wait := quiet.Sub(now)
		if t.ready() {
			if t.total != p.last {
				p.last = t.total
				e := edge{n: t.total, at: t.from.Add(time.Duration(t.done) * t.period()).Sub(t.began)}
				t.mu.Unlock()
				return e, nil
			}
			wait = min(wait, t.from.Add(time.Duration(t.done+1)*t.period()).Sub(now))
		}
		t.mu.Unlock()
		if !now.Before(quiet) {
			return edge{}, errQuiet
		}
		select {
		case <-ctx.Done():
			return edge{}, ctx.Err()
		case <-changed:
		case <-t.clock.After(wait):
		}
	}
}

func (p *twinPulses) Close() error { return nil }

// ready says whether ALERT/RDY pulses.
func (t *Twin) ready() bool {
	return !t.absent && t.continuous() && !t.from.IsZero() && t.regs[regConfig]&cfgQueueOff != cfgQueueOff &&
		t.regs[regHigh]&0x8000 != 0 && t.regs[regLow]&0x8000 == 0
}

type twinLevel struct{ twin *Twin }

func (l twinLevel) High() (bool, error) {
	l.twin.mu.Lock()
	defer l.twin.mu.Unlock()
	return l.twin.off, nil
}

func (l twinLevel) Close() error { return nil }
