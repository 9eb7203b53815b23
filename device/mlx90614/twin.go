package mlx90614

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"periph.io/x/conn/v3/physic"

	"telecart/device/kit"
)

// ErrNACK is what the twin answers when nothing acknowledges: absent, asleep, another address, or an injected fault.
var ErrNACK = errors.New("mlx90614: twin: no acknowledge")

// Twin is an MLX90614 at register level: RAM and EEPROM words, PEC both ways, start-up time, sleep. Filters and the second
// sensor are not modelled; values of the EEPROM are those of a new chip from memory. It is an i2c.Bus with one chip on it; Write
// and Read are single I2C messages, for use behind another bus. Safe for concurrent use.
type Twin struct {
	clock kit.Clock
	addr  uint16

	mu      sync.Mutex
	eeprom  [32]uint16
	pointer byte
	ready   time.Time // when the first data are there
	object  int       // mCel
	ambient int
	flagged bool
	asleep  bool
	absent  bool
	nacks   int
	garbled int
	writes  int
}

// NewTwin makes a chip that has just been powered, in a room and pointed at a wall of 22 Cel.
func NewTwin(clock kit.Clock, addr uint16) *Twin {
	t := &Twin{clock: clock, addr: addr, object: 22_000, ambient: 22_000}
	for cmd, v := range map[byte]uint16{0x20: 0x9993, 0x21: 0x62E3, cmdPWM: 0x0201, 0x23: 0xF71C, cmdEmissivity: 0xFFFF,
		cmdConfig: 0x9FB4, cmdAddress: 0xBE00 | addr, cmdID: 0x3802, cmdID + 1: 0x0517, cmdID + 2: 0x6A2C, cmdID + 3: 0x60B1} {
		t.eeprom[cmd&0x1F] = v
	}
	t.ready = clock.Now().Add(startUp)
	return t
}

// SetObject makes what it is pointed at this warm, in thousandths of a degree Celsius.
func (t *Twin) SetObject(milliCel int) { t.do(func() { t.object = milliCel }) }

// SetAmbient makes the chip itself this warm.
func (t *Twin) SetAmbient(milliCel int) { t.do(func() { t.ambient = milliCel }) }

// Flag makes it mark every temperature as wrong, Unflag ends that.
func (t *Twin) Flag() { t.do(func() { t.flagged = true }) }

// Unflag ends Flag.
func (t *Twin) Unflag() { t.do(func() { t.flagged = false }) }

// Garble breaks the next n reads: one bit of each is wrong.
func (t *Twin) Garble(n int) { t.do(func() { t.garbled = n }) }

// NACK leaves the next n messages unacknowledged.
func (t *Twin) NACK(n int) { t.do(func() { t.nacks = n }) }

// Unplug takes the chip off the bus.
func (t *Twin) Unplug() { t.do(func() { t.absent = true }) }

// Plug puts it back, freshly powered.
func (t *Twin) Plug() {
	t.do(func() {
		t.absent, t.asleep, t.pointer = false, false, 0
		t.ready = t.clock.Now().Add(startUp)
	})
}

// Wake is SDA held low for 33 ms.
func (t *Twin) Wake() {
	t.do(func() {
		t.asleep = false
		t.ready = t.clock.Now().Add(startUp)
	})
}

// Written counts the writes to the EEPROM, good or bad.
func (t *Twin) Written() (n int) {
	t.do(func() { n = t.writes })
	return n
}

func (t *Twin) do(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
}

// Write is one I2C write message to the chip: a command, and what it takes.
func (t *Twin) Write(b []byte) (err error) {
	t.do(func() { err = t.write(b) })
	return err
}

// Read is one I2C read message: the word of the last command, and its PEC.
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

// SetSpeed implements i2c.Bus.
func (t *Twin) SetSpeed(f physic.Frequency) error {
	if f > 100*physic.KiloHertz {
		return fmt.Errorf("mlx90614: twin: %s is too fast: at most 100 kHz", f)
	}
	return nil
}

func (t *Twin) String() string { return fmt.Sprintf("mlx90614 twin(%#02x)", t.addr) }

func (t *Twin) acknowledge() error {
	if t.nacks > 0 {
		t.nacks--
		return ErrNACK
	}
	if t.absent || t.asleep {
		return ErrNACK
	}
	return nil
}

func (t *Twin) write(b []byte) error {
	if err := t.acknowledge(); err != nil {
		return err
	}
	if len(b) == 0 {
		return nil
	}
	t.pointer = b[0]
	switch {
	case len(b) == 2 && b[0] == cmdSleep && b[1] == writePEC(t.addr, cmdSleep):
		t.asleep = true
	case len(b) == 4 && b[0]&0xE0 == 0x20:
		t.writes++
		cell, v := &t.eeprom[b[0]&0x1F], uint16(b[2])<<8|uint16(b[1])
		if b[3] == writePEC(t.addr, b[0], b[1], b[2]) && (v == 0 || *cell == 0) && b[0] < cmdID { // erased first
			*cell = v
		}
	}
	return nil
}

func (t *Twin) read(b []byte) error {
	if err := t.acknowledge(); err != nil {
		return err
	}
	v := t.word()
	lsb, msb := byte(v), byte(v>>8)
	answer := []byte{lsb, msb, readPEC(t.addr, t.pointer, lsb, msb)}
	if t.garbled > 0 {
		t.garbled--
		answer[0] ^= 0x10 // 0.32 Cel: one would not notice
	}
	for i := range b {
		b[i] = 0xFF
	}
	copy(b, answer)
	return nil
}

func (t *Twin) word() uint16 {
	switch {
	case t.pointer&0xE0 == 0x20:
		return t.eeprom[t.pointer&0x1F]
	case t.pointer == cmdAmbient:
		return t.raw(t.ambient)
	case t.pointer == cmdObject:
		return t.raw(t.object)
	}
	return 0
}

func (t *Twin) raw(milliCel int) uint16 {
	if t.clock.Now().Before(t.ready) {
		return 0
	}
	v := uint16(min(max(math.Round((float64(milliCel)+10*kelvin)/20), 0), 0x7FFF))
	if t.flagged {
		v |= errorFlag
	}
	return v
}
