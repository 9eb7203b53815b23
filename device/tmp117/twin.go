package tmp117

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"periph.io/x/conn/v3/physic"

	"telecart/device/equilibrium"
	"telecart/device/kit"
)

// ErrNACK is what the twin answers when nothing acknowledges: absent, another address, or an injected fault.
var ErrNACK = errors.New("tmp117: twin: no acknowledge")

// Twin is a TMP117 at register level: power-on values, conversion timing by the clock it was given, alert flags in
// alert mode, one-shot, shutdown and soft reset. Therm mode and EEPROM programming are not modelled. It is an i2c.Bus
// with one chip on it; Write and Read are single I2C messages, for use behind another bus. Safe for concurrent use.
type Twin struct {
	clock kit.Clock
	addr  uint16

	mu      sync.Mutex
	regs    [16]uint16
	pointer byte
	done    time.Time // when the running conversion completes
	absent  bool
	nacks   int

	warmth equilibrium.Warmth
}

// NewTwin makes a chip that has just been powered, at 25 Cel.
func NewTwin(clock kit.Clock, addr uint16) *Twin {
	t := &Twin{clock: clock, addr: addr}
	t.warmth.Rest(25_000)
	t.powerOn()
	return t
}

// SetTemperature makes the chip this warm from now on, in thousandths of a degree Celsius.
func (t *Twin) SetTemperature(milliCel int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance()
	t.warmth.Rest(milliCel)
}

// Approach lets the chip drift from its temperature towards another with time constant tau, as a probe under an arm does.
func (t *Twin) Approach(milliCel int, tau time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance()
	t.warmth.Approach(t.clock.Now(), milliCel, tau)
}

// Unplug takes the chip off the bus.
func (t *Twin) Unplug() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.absent = true
}

// Plug puts it back, freshly powered.
func (t *Twin) Plug() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.absent = false
	t.powerOn()
}

// NACK leaves the next n messages unacknowledged.
func (t *Twin) NACK(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nacks = n
}

// Write is one I2C write message to the chip: the register pointer, and a value if two bytes follow.
func (t *Twin) Write(b []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.write(b)
}

// Read is one I2C read message: the register that the pointer points to, most significant byte first, over and over.
func (t *Twin) Read(b []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.read(b)
}

// Tx implements i2c.Bus.
func (t *Twin) Tx(addr uint16, w, r []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if addr != t.addr {
		return fmt.Errorf("%w at %#02x", ErrNACK, addr)
	}
	if len(w) > 0 {
		if err := t.write(w); err != nil {
			return err
		}
	}
	if len(r) > 0 {
		return t.read(r)
	}
	return nil
}

// SetSpeed implements i2c.Bus; the chip takes any speed up to 400 kHz.
func (t *Twin) SetSpeed(f physic.Frequency) error {
	if f > 400*physic.KiloHertz {
		return fmt.Errorf("tmp117: twin: %s is too fast: at most 400 kHz", f)
	}
	return nil
}

func (t *Twin) String() string { return fmt.Sprintf("tmp117 twin(%#02x)", t.addr) }

func (t *Twin) acknowledge() error {
	if t.nacks > 0 {
		t.nacks--
		return ErrNACK
	}
	if t.absent {
		return ErrNACK
	}
	return nil
}

func (t *Twin) write(b []byte) error {
	if err := t.acknowledge(); err != nil {
		return err
	}
	t.advance()
	if len(b) > 0 {
		t.pointer = b[0] & 0x0F
	}
	if len(b) < 3 {
		return nil
	}
	v := binary.BigEndian.Uint16(b[1:])
	switch t.pointer {
	case regConfig:
		if v&cfgReset != 0 {
			t.powerOn()
			return nil
		}
		t.regs[regConfig] = v & 0x0FFC // the flags are read-only; a pending one is lost, as a new conversion begins
		t.done = t.clock.Now().Add(t.active())
	case regHigh, regLow, regUnlock, regOffset:
		t.regs[t.pointer] = v
	}
	return nil
}

func (t *Twin) read(b []byte) error {
	if err := t.acknowledge(); err != nil {
		return err
	}
	t.advance()
	v := t.regs[t.pointer]
	for i := range b {
		b[i] = byte(v >> (8 * (1 - i%2)))
	}
	switch t.pointer {
	case regTemp:
		t.regs[regConfig] &^= cfgDataReady
	case regConfig:
		t.regs[regConfig] &^= cfgDataReady | cfgHighAlert | cfgLowAlert
	}
	return nil
}

// powerOn loads the reset values; EEPROM1 to 3 are as an unprogrammed chip's here.
func (t *Twin) powerOn() {
	t.regs = [16]uint16{regTemp: porTemp, regConfig: cfgRun, regHigh: 0x6000, regLow: 0x8000, regDeviceID: deviceID}
	t.pointer = 0
	t.done = t.clock.Now().Add(t.active())
}

// active is how long the averaged conversions take, cycle how long until the next ones begin (SNOSD82D table 7-7).
func (t *Twin) active() time.Duration {
	return [4]time.Duration{15500 * time.Microsecond, 125 * time.Millisecond, 500 * time.Millisecond,
		time.Second}[t.regs[regConfig]>>5&3]
}

func (t *Twin) cycle() time.Duration {
	wait := [8]time.Duration{15500 * time.Microsecond, 125 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
		time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second}[t.regs[regConfig]>>7&7]
	return max(wait, t.active())
}

// advance completes the conversions that are due; only the last one can be seen.
func (t *Twin) advance() {
	now, mode := t.clock.Now(), t.regs[regConfig]&cfgMod
	if mode == cfgShutdown || now.Before(t.done) {
		return
	}
	at := t.done
	if mode == cfgOneShot {
		t.regs[regConfig] = t.regs[regConfig]&^cfgMod | cfgShutdown
	} else {
		at = at.Add(now.Sub(at) / t.cycle() * t.cycle())
		t.done = at.Add(t.cycle())
	}
	v := t.warmth.At(at)*lsbPerCel/1000 + float64(int16(t.regs[regOffset]))
	temp := int16(math.Round(min(max(v, math.MinInt16), math.MaxInt16)))
	t.regs[regTemp] = uint16(temp)
	t.regs[regConfig] |= cfgDataReady
	if t.regs[regConfig]&cfgTherm == 0 {
		if temp > int16(t.regs[regHigh]) {
			t.regs[regConfig] |= cfgHighAlert
		}
		if temp < int16(t.regs[regLow]) {
			t.regs[regConfig] |= cfgLowAlert
		}
	}
}
