package max30205

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
var ErrNACK = errors.New("max30205: twin: no acknowledge")

const conversion = 44 * time.Millisecond // typical

// Twin is a MAX30205 at register level: power-on values, conversion timing by the clock it was given, one-shot, shutdown and
// data format. The over-temperature output is not modelled. It is an i2c.Bus with one chip on it; Write and Read are single
// I2C messages, for use behind another bus. Safe for concurrent use.
type Twin struct {
	clock kit.Clock
	addr  uint16

	mu      sync.Mutex
	temp    uint16
	config  byte
	limits  [2]uint16 // THYST, TOS
	pointer byte
	done    time.Time // when the running conversion completes; zero if none runs
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
func (t *Twin) SetTemperature(milliCel int) { t.do(func() { t.warmth.Rest(milliCel) }) }

// Approach lets the chip drift from its temperature towards another with time constant tau, as a probe under an arm does.
func (t *Twin) Approach(milliCel int, tau time.Duration) {
	t.do(func() { t.warmth.Approach(t.clock.Now(), milliCel, tau) })
}

// Unplug takes the chip off the bus.
func (t *Twin) Unplug() { t.do(func() { t.absent = true }) }

// Plug puts it back, freshly powered.
func (t *Twin) Plug() {
	t.do(func() {
		t.absent = false
		t.powerOn()
	})
}

// BrownOut takes its supply away for a moment.
func (t *Twin) BrownOut() { t.do(t.powerOn) }

// NACK leaves the next n messages unacknowledged.
func (t *Twin) NACK(n int) { t.do(func() { t.nacks = n }) }

func (t *Twin) do(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance()
	f()
}

// Write is one I2C write message to the chip: the register pointer, and a value if more follows.
func (t *Twin) Write(b []byte) (err error) {
	t.do(func() { err = t.write(b) })
	return err
}

// Read is one I2C read message: the register that the pointer points to, over and over.
func (t *Twin) Read(b []byte) (err error) {
	t.do(func() { err = t.read(b) })
	return err
}

// Tx implements i2c.Bus.
func (t *Twin) Tx(addr uint16, w, r []byte) (err error) {
	if addr != t.addr {
		return fmt.Errorf("%w at %#02x", ErrNACK, addr)
	}
	t.do(func() {
		if len(w) > 0 {
			err = t.write(w)
		}
		if err == nil && len(r) > 0 {
			err = t.read(r)
		}
	})
	return err
}

// SetSpeed implements i2c.Bus; the chip takes any speed up to 400 kHz.
func (t *Twin) SetSpeed(f physic.Frequency) error {
	if f > 400*physic.KiloHertz {
		return fmt.Errorf("max30205: twin: %s is too fast: at most 400 kHz", f)
	}
	return nil
}

func (t *Twin) String() string { return fmt.Sprintf("max30205 twin(%#02x)", t.addr) }

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
	if len(b) > 0 {
		t.pointer = b[0] & 0x03
	}
	switch {
	case t.pointer == regConfig && len(b) >= 2:
		t.configure(b[1])
	case t.pointer >= regTHYST && len(b) >= 3:
		t.limits[t.pointer-regTHYST] = binary.BigEndian.Uint16(b[1:])
	}
	return nil
}

func (t *Twin) configure(v byte) {
	now, was := t.clock.Now(), t.config
	t.config = v &^ cfgOneShot
	switch {
	case v&cfgShutdown == 0 && (was&cfgShutdown != 0 || t.done.IsZero()):
		t.done = now.Add(conversion)
	case v&cfgShutdown != 0 && v&cfgOneShot != 0:
		t.done = now.Add(conversion)
	case v&cfgShutdown != 0:
		t.done = time.Time{}
	}
}

func (t *Twin) read(b []byte) error {
	if err := t.acknowledge(); err != nil {
		return err
	}
	word := t.temp
	switch t.pointer {
	case regConfig:
		word = uint16(t.config)<<8 | uint16(t.config)
	case regTHYST, regTOS:
		word = t.limits[t.pointer-regTHYST]
	}
	for i := range b {
		b[i] = byte(word >> (8 * (1 - i%2)))
	}
	return nil
}

func (t *Twin) powerOn() {
	t.temp, t.config, t.limits, t.pointer = 0, 0, [2]uint16{0x4B00, 0x5000}, 0
	t.done = t.clock.Now().Add(conversion)
}

// advance completes the conversions that are due; only the last one can be seen.
func (t *Twin) advance() {
	now := t.clock.Now()
	if t.done.IsZero() || now.Before(t.done) {
		return
	}
	at := t.done
	t.done = time.Time{}
	if t.config&cfgShutdown == 0 {
		at = at.Add(now.Sub(at) / conversion * conversion)
		t.done = at.Add(conversion)
	}
	v := t.warmth.At(at) * lsbPerCel / 1000
	if t.config&cfgExtended != 0 {
		v -= 64 * lsbPerCel
	}
	t.temp = uint16(int16(math.Round(min(max(v, math.MinInt16), math.MaxInt16))))
}
