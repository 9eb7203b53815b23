package simbus

import (
	"sync"

	"periph.io/x/conn/v3/i2c"
)

// Registers is a chip that is nothing but registers of 16 bits, most significant byte first: the first byte of a message points
// to one, two more write it, and it is read over and over. Safe for concurrent use.
type Registers struct {
	mu      sync.Mutex
	values  map[byte]uint16
	pointer byte
}

// NewRegisters makes a chip whose registers are these; all others read 0.
func NewRegisters(values map[byte]uint16) *Registers {
	c := &Registers{values: map[byte]uint16{}}
	for reg, v := range values {
		c.values[reg] = v
	}
	return c
}

// Set is the world changing a register.
func (c *Registers) Set(reg byte, v uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.values[reg] = v
}

// Tx implements Chip.
func (c *Registers) Tx(_ uint16, w, r []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(w) > 0 {
		c.pointer = w[0]
	}
	if len(w) == 3 {
		c.values[c.pointer] = uint16(w[1])<<8 | uint16(w[2])
	}
	for i := range r {
		r[i] = byte(c.values[c.pointer] >> (8 - i%2*8))
	}
	return nil
}

// Alone is a bus with one chip on it.
func Alone(addr uint16, c Chip) i2c.Bus {
	b := &Bus{}
	b.Attach(addr, c)
	return b
}
