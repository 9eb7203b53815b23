package max30102

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"periph.io/x/conn/v3/physic"

	"telecart/device/kit"
	"telecart/device/ppg/synth"
)

// ErrNACK is what the twin answers when nothing acknowledges: absent, another address, or an injected fault.
var ErrNACK = errors.New("max30102: twin: no acknowledge")

// Finger is what lies on the window.
type Finger struct {
	PulseRate  float64 // a minute
	Saturation float64 // per cent, by the calibration of package ppg
	Perfusion  float64 // share of the steady light
	Red, IR    float64 // counts that a lamp's step of 0.2 mA sends back
	Noise      float64 // rms per sample, per steady light
	Seed       uint64
}

// Healthy is a warm finger of an adult.
func Healthy() Finger {
	return Finger{PulseRate: 72, Saturation: 97, Perfusion: 0.02, Red: 2200, IR: 3000, Noise: 0.0001, Seed: 1}
}

// Twin is a MAX30102 at register level: power-on values, reset, shutdown, the FIFO with its pointers, overflow and both
// ways of going on, flags that clear when they are read, lamps whose current is what lights the finger, all by the
// clock it was given. It measures in heart rate and SpO2 mode; multi-LED mode and temperature are not modelled. It is
// an i2c.Bus with one chip on it. Safe for concurrent use.
type Twin struct {
	clock kit.Clock

	mu      sync.Mutex
	regs    [256]byte
	resets  time.Time // when the running reset is over; zero: none runs
	fifo    fifo
	next    time.Time // when the next sample is due
	ppm     float64   // by which samples come too fast
	stalled bool
	absent  bool
	nacks   int

	finger  *Finger // nil: none
	light   *synth.Finger
	lightHz float64
}

const (
	resetTime  = 2 * time.Millisecond // from memory
	empty      = 30                   // counts that a step sends back without a finger
	catchingUp = 4 * depth            // samples that are made after a long time without looking
)

// NewTwin makes a chip that has just been powered, with a healthy finger on it.
func NewTwin(clock kit.Clock) *Twin {
	t := &Twin{clock: clock}
	t.powerOn()
	f := Healthy()
	t.finger = &f
	return t
}

// Put puts a finger on it.
func (t *Twin) Put(f Finger) { t.do(func() { t.finger, t.light = &f, nil }) }

// Take takes the finger away.
func (t *Twin) Take() { t.do(func() { t.finger, t.light = nil, nil }) }

// Move disturbs the finger, by an amplitude per steady light.
func (t *Twin) Move(m synth.Motion, amplitude float64, d time.Duration) {
	t.do(func() {
		if t.light != nil {
			t.light.Move(m, amplitude, d.Seconds())
		}
	})
}

// Drift makes its samples come too fast by so many parts in a million.
func (t *Twin) Drift(ppm float64) { t.do(func() { t.ppm = ppm }) }

// Stall stops it sampling, though it answers.
func (t *Twin) Stall() { t.do(func() { t.stalled = true }) }

// NACK leaves the next n messages unacknowledged.
func (t *Twin) NACK(n int) { t.do(func() { t.nacks = n }) }

// Unplug takes the chip off the bus.
func (t *Twin) Unplug() { t.do(func() { t.absent = true }) }

// Plug puts it back, freshly powered.
func (t *Twin) Plug() { t.do(func() { t.absent = false; t.powerOn() }) }

// BrownOut takes its supply away for a moment.
func (t *Twin) BrownOut() { t.do(t.powerOn) }

// Lamps are the currents of red and infrared, in steps of 0.2 mA; 0 while they are off.
func (t *Twin) Lamps() (red, ir byte) {
	t.do(func() {
		if t.interval() > 0 {
			red, ir = t.regs[regRed], t.regs[regIR]
		}
	})
	return red, ir
}

func (t *Twin) do(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance()
	f()
}

func (t *Twin) powerOn() {
	t.reset()
	t.regs[regStatus1] = powerReady
}

func (t *Twin) reset() {
	t.regs, t.fifo, t.resets = [256]byte{regPart: partID}, fifo{}, time.Time{}
}

// Tx implements i2c.Bus.
func (t *Twin) Tx(addr uint16, w, r []byte) (err error) {
	if addr != address {
		return fmt.Errorf("%w at %#02x", ErrNACK, addr)
	}
	t.do(func() {
		if t.absent || t.nacks > 0 {
			t.nacks = max(0, t.nacks-1)
			err = ErrNACK
			return
		}
		if len(w) > 0 {
			t.regs[pointer] = w[0]
			for _, v := range w[1:] {
				t.write(v)
			}
		}
		for i := range r {
			r[i] = t.read()
		}
	})
	return err
}

// pointer is an unused place of the register file that holds the register pointer.
const pointer = 0x80

// step gives the register that is pointed to, and points to the next one.
func (t *Twin) step() (reg byte) {
	reg = t.regs[pointer]
	if reg != regData {
		t.regs[pointer]++
	}
	return reg
}

func (t *Twin) read() byte {
	switch reg := t.step(); reg {
	case regStatus1, regStatus1 + 1:
		v := t.regs[reg]
		t.regs[reg] = 0
		return v
	case regWrite:
		return t.fifo.write
	case regLost:
		return t.fifo.lost
	case regRead:
		return t.fifo.read
	case regData:
		t.regs[regStatus1] &^= ready
		return t.fifo.next(t.wide())
	case pointer:
		return 0
	default:
		return t.regs[reg]
	}
}

func (t *Twin) write(v byte) {
	switch reg := t.step(); reg {
	case regWrite:
		t.fifo.set(v&pointers, t.fifo.read)
	case regRead:
		t.fifo.set(t.fifo.write, v&pointers)
	case regLost:
		t.fifo.lost = v & pointers
	case regMode:
		t.mode(v)
	case regStatus1, regStatus1 + 1, regData, pointer, regPart - 1, regPart:
	default:
		was := t.interval()
		t.regs[reg] = v
		t.retime(was)
	}
}

func (t *Twin) mode(v byte) {
	if v&modeReset != 0 {
		t.regs[regMode], t.resets = v, t.clock.Now().Add(resetTime)
		return
	}
	was := t.interval()
	if v&7 != t.regs[regMode]&7 {
		t.fifo = fifo{}
	}
	t.regs[regMode] = v
	t.retime(was)
}

// retime begins to sample anew if that was changed.
func (t *Twin) retime(was time.Duration) {
	if d := t.interval(); d != was {
		t.next = t.clock.Now().Add(d)
	}
}

// wide says that samples have both colours.
func (t *Twin) wide() bool { return t.regs[regMode]&7 == modeSpO2 }

// interval is the time from sample to sample; 0: it doesn't sample.
func (t *Twin) interval() time.Duration {
	m := t.regs[regMode]
	if m&(modeShutdown|modeReset) != 0 || m&7 != modeSpO2 && m&7 != modeSpO2-1 {
		return 0
	}
	rate := [...]float64{50, 100, 200, 400, 800, 1000, 1600, 3200}[t.regs[regSpO2]>>2&7]
	mean := min(t.regs[regFIFO]>>5, 5)
	return time.Duration(float64(time.Second) * float64(uint(1)<<mean) / rate / (1 + t.ppm/1e6))
}

// advance makes what has happened until now.
func (t *Twin) advance() {
	now := t.clock.Now()
	if !t.resets.IsZero() && !now.Before(t.resets) {
		t.reset()
	}
	d := t.interval()
	if d == 0 || t.stalled {
		t.next = now.Add(d)
		return
	}
	if late := now.Sub(t.next) / d; late > catchingUp {
		t.next = t.next.Add((late - catchingUp) * d)
	}
	for ; !t.next.After(now); t.next = t.next.Add(d) {
		t.sample(float64(time.Second) / float64(d))
	}
}

const ready = 1 << 6 // of status and enable 1

func (t *Twin) sample(hz float64) {
	red, ir := t.shine(hz)
	t.fifo.push(t.convert(red), t.convert(ir), t.regs[regFIFO]&(1<<4) != 0)
	flags := byte(ready)
	if t.fifo.n >= depth-int(t.regs[regFIFO]&0xF) {
		flags |= almostFull
	}
	t.regs[regStatus1] |= flags & t.regs[regEnable1]
}

// shine is the light that comes back, in counts at 4096 nA.
func (t *Twin) shine(hz float64) (red, ir float64) {
	red, ir = float64(t.regs[regRed]), float64(t.regs[regIR])
	if t.finger == nil {
		return empty * red, empty * ir
	}
	f := t.finger
	if t.light == nil || math.Abs(t.lightHz/hz-1) > 0.2 {
		t.light = synth.New(synth.Recipe{RateHz: hz, PulseRate: f.PulseRate, Seed: f.Seed, Breathing: 0.03,
			Ratio: ratio(f.Saturation), Perfusion: f.Perfusion, Noise: f.Noise})
		t.lightHz = hz
	}
	t.light.RateHz = hz
	r, i := t.light.Next()
	return red * f.Red * r, ir * f.IR * i
}

// convert is the converter: its range, its end, and the resolution that the pulses' width gives. Values are
// left-justified in 18 bits.
func (t *Twin) convert(counts float64) uint32 {
	cfg := t.regs[regSpO2]
	counts *= 2 / float64(uint(1)<<(cfg>>5&3))
	v := uint32(min(max(math.Round(counts), 0), fullScale))
	return v &^ (1<<(3-cfg&3) - 1)
}

// ratio is R for a saturation: package ppg's calibration, backwards.
func ratio(saturation float64) float64 {
	const a, b, c = 45.060, 30.354, 94.845
	return (b + math.Sqrt(max(0, b*b+4*a*(c-saturation)))) / (2 * a)
}

// SetSpeed implements i2c.Bus; the chip takes any speed up to 400 kHz.
func (t *Twin) SetSpeed(f physic.Frequency) error {
	if f > 400*physic.KiloHertz {
		return fmt.Errorf("max30102: twin: %s is too fast: at most 400 kHz", f)
	}
	return nil
}

func (t *Twin) String() string { return "max30102 twin" }
