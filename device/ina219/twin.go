package ina219

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"periph.io/x/conn/v3/physic"
)

// ErrNACK is what the twin answers when nothing acknowledges.
var ErrNACK = errors.New("ina219: twin: no acknowledge")

// Twin is an INA219 at register level with a 0.1 ohm shunt. Safe for concurrent use.
type Twin struct {
	addr uint16

	mu      sync.Mutex
	config  uint16
	mv, ma  int
	pointer byte
}

// NewTwin makes a chip that was just powered, on a supply of so many mV and mA.
func NewTwin(addr uint16, mv, ma int) *Twin {
	return &Twin{addr: addr, config: powerOn, mv: mv, ma: ma}
}

// Set changes the supply.
func (t *Twin) Set(mv, ma int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mv, t.ma = mv, ma
}

// Reset is a brown-out of the chip itself.
func (t *Twin) Reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.config = powerOn
}

// Tx implements i2c.Bus.
func (t *Twin) Tx(addr uint16, w, r []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if addr != t.addr {
		return fmt.Errorf("%w at %#02x", ErrNACK, addr)
	}
	if len(w) > 0 {
		t.pointer = w[0]
	}
	if len(w) == 3 && t.pointer == regConfig {
		t.config = binary.BigEndian.Uint16(w[1:])
	}
	var v uint16
	switch t.pointer {
	case regConfig:
		v = t.config
	case regShunt:
		v = uint16(int16(min(max(t.ma*10, -full), full))) // 0.1 ohm: 1 mA is 100 uV
	case regBus:
		most := 16000
		if t.config&(1<<13) != 0 {
			most = 32760 // 13 bits of 4 mV
		}
		v = uint16(min(t.mv, most)/4)<<3 | 2
	}
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	for i := range r {
		r[i] = b[i%2]
	}
	return nil
}

// SetSpeed implements i2c.Bus.
func (t *Twin) SetSpeed(physic.Frequency) error { return nil }

func (t *Twin) String() string { return "ina219 twin" }
