// Package simbus is a simulated I2C bus with chips on it and behind PCA9548 muxes.
//
// Parties: a test or a twin attaches register models; a bus.Buses made by bus.Simulated talks to it.
//
// Invariants: a message reaches exactly the chips that the open channels connect. What nobody acknowledges fails as the
// kernel's bus drivers let it fail (ENXIO), what a held clock swallows with ETIMEDOUT. A message that two chips answer is a
// clash: it is counted, and what is read is the bits that both left high, as on the wire.
package simbus

import (
	"fmt"
	"sync"
	"syscall"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"
)

// Chip is a model: one transaction at a time, addressed to it. Every i2c.Bus with one chip on it is one.
type Chip interface {
	Tx(addr uint16, w, r []byte) error
}

// Bus is the bus. Its zero value has nothing on it. It is safe for concurrent use.
type Bus struct {
	mu      sync.Mutex
	trunk   map[uint16]Chip
	muxes   []*Mux
	held    bool
	low     bool
	gone    bool
	clashes int
	open    int
}

var _ i2c.BusCloser = (*Bus)(nil)

// Attach puts a chip straight on the bus.
func (b *Bus) Attach(addr uint16, c Chip) {
	b.do(func() {
		if b.trunk == nil {
			b.trunk = map[uint16]Chip{}
		}
		b.trunk[addr] = c
	})
}

// Hold makes a chip hold the bus low: nothing gets through any more.
func (b *Bus) Hold() { b.do(func() { b.held = true }) }

// HoldData makes a chip hold the data line low while the clock runs: to a controller that doesn't look, every message is
// acknowledged, and reads as zeros. No chip hears anything.
func (b *Bus) HoldData() { b.do(func() { b.low = true }) }

// Release ends both.
func (b *Bus) Release() { b.do(func() { b.held, b.low = false, false }) }

// Unplug takes the adapter away.
func (b *Bus) Unplug() { b.do(func() { b.gone = true }) }

// Plug puts the adapter back, with the same chips on it.
func (b *Bus) Plug() { b.do(func() { b.gone = false }) }

func (b *Bus) do(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

// Clashes counts the messages that more than one chip answered.
func (b *Bus) Clashes() (n int) {
	b.do(func() { n = b.clashes })
	return n
}

// Open is the bus.Simulated's way to it: one bus for every port.
func (b *Bus) Open(string) (i2c.BusCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone {
		return nil, fmt.Errorf("simbus: %w", syscall.ENOENT)
	}
	b.open++
	return b, nil
}

// Users counts the connections that are open.
func (b *Bus) Users() (n int) {
	b.do(func() { n = b.open })
	return n
}

// Close implements i2c.BusCloser.
func (b *Bus) Close() error {
	b.do(func() { b.open-- })
	return nil
}

func (b *Bus) String() string { return "simbus" }

// SetSpeed implements i2c.Bus.
func (b *Bus) SetSpeed(physic.Frequency) error { return nil }

// Tx implements i2c.Bus.
func (b *Bus) Tx(addr uint16, w, r []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.gone:
		return fmt.Errorf("simbus: %w", syscall.ENODEV)
	case b.held:
		return fmt.Errorf("simbus: %w", syscall.ETIMEDOUT)
	case b.low:
		clear(r)
		return nil
	}
	chips := b.reached(addr)
	if len(chips) == 0 {
		return fmt.Errorf("simbus: nobody at %#02x: %w", addr, syscall.ENXIO)
	}
	if len(chips) > 1 {
		b.clashes++
	}
	for i := range r {
		r[i] = 0xFF
	}
	var err error
	answer := make([]byte, len(r))
	for _, c := range chips {
		if err = c.Tx(addr, w, answer); err != nil {
			continue
		}
		for i := range r {
			r[i] &= answer[i]
		}
	}
	if len(chips) > 1 {
		return nil
	}
	return err
}

// reached is everything that now hears the address.
func (b *Bus) reached(addr uint16) (chips []Chip) {
	if c := b.trunk[addr]; c != nil {
		chips = append(chips, c)
	}
	for _, m := range b.muxes {
		if m.absent {
			continue
		}
		if m.addr == addr {
			chips = append(chips, m)
		}
		for n := range m.segments {
			if c := m.segments[n][addr]; c != nil && m.mask>>n&1 == 1 {
				chips = append(chips, c)
			}
		}
	}
	return chips
}

// Mux is a PCA9548A.
type Mux struct {
	bus      *Bus
	addr     uint16
	mask     byte
	segments [8]map[uint16]Chip
	refuse   int
	deaf     bool
	absent   bool
	writes   int
}

// Mux puts a mux straight on the bus, all channels shut.
func (b *Bus) Mux(addr uint16) *Mux {
	m := &Mux{bus: b, addr: addr}
	b.do(func() { b.muxes = append(b.muxes, m) })
	return m
}

// Attach puts a chip behind a channel.
func (m *Mux) Attach(number int, addr uint16, c Chip) {
	m.bus.do(func() {
		if m.segments[number] == nil {
			m.segments[number] = map[uint16]Chip{}
		}
		m.segments[number][addr] = c
	})
}

// Set opens the channels of a mask, as a program before us may have left them. Set(0) is also what a brown-out does.
func (m *Mux) Set(mask byte) { m.bus.do(func() { m.mask = mask }) }

// Mask is the channels that are open.
func (m *Mux) Mask() (mask byte) {
	m.bus.do(func() { mask = m.mask })
	return mask
}

// Writes counts how often channels were selected.
func (m *Mux) Writes() (n int) {
	m.bus.do(func() { n = m.writes })
	return n
}

// NACK leaves the next n messages to the mux unacknowledged.
func (m *Mux) NACK(n int) { m.bus.do(func() { m.refuse = n }) }

// Deafen makes the mux acknowledge and change nothing, as one in a reset loop.
func (m *Mux) Deafen() { m.bus.do(func() { m.deaf = true }) }

// Unplug takes the mux away, with all that is behind it.
func (m *Mux) Unplug() { m.bus.do(func() { m.absent = true }) }

// Tx implements Chip. The bus calls it under its lock.
func (m *Mux) Tx(_ uint16, w, r []byte) error {
	if m.refuse > 0 {
		m.refuse--
		return fmt.Errorf("simbus: mux: %w", syscall.ENXIO)
	}
	for i := range r {
		r[i] = m.mask
	}
	if len(w) > 0 {
		m.writes++
		if !m.deaf {
			m.mask = w[len(w)-1] // the last byte counts, and takes effect at the stop
		}
	}
	return nil
}
