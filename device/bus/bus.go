// Package bus is the cart's I2C buses, shared by the chips on them.
//
// Parties: drivers claim one chip each when they are made, and open it when they run, by bus, address and, behind a PCA9548
// or TCA9548A, mux channel; main keeps the one Buses.
//
// Invariants:
//   - What a driver does in one Do is not mixed with what others do on the same physical bus, its muxes included.
//   - Of all mux channels of one bus at most one is open, so chips behind different channels may have the same address.
//   - Which channel is open is known only as long as nothing failed: after any error a channel is selected again, and read
//     back, before it is used.
//   - What is read while something holds the bus low is ErrStuck, and never taken for a chip's word.
//   - Two instruments whose chips would answer to the same transaction are both refused, for as long as both are configured.
//
// The muxes are driven here and not by periph.io/x/devices/v3/pca9548, because that package remembers the channel it
// selected and never selects it again: after a mux lost its supply for a moment, all that is behind it would be gone until
// the agent restarts. (The kernel's i2c-mux-pca954x makes a bus of every channel. Name that bus, and no mux, to use it; address
// conflicts across its channels are then not seen.)
//
// The speed of a bus is the kernel's business (on a Raspberry Pi dtparam=i2c_arm_baudrate) and holds for all that is on it:
// with an MLX90614 anywhere on a bus, behind a mux or not, it must be 100 kHz or less.
package bus

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"periph.io/x/conn/v3/i2c"
)

// What a setting can be wrong in.
var (
	ErrPort    = errors.New("bus: give an I2C bus like /dev/i2c-1")
	ErrChannel = errors.New("bus: give a mux and its channel from 0x70.0 to 0x77.7, like 0x71.3")
	ErrAddress = errors.New("bus: give a 7-bit I2C address from 0x08 to 0x77")
)

// What can go wrong on a bus, besides errors of the kernel.
var (
	ErrConflict = errors.New("bus: two instruments at one address")
	ErrStuck    = errors.New("bus: stuck: nothing gets through, a chip or a cable holds it low: " +
		"unplug what is on it one by one, or switch the cart off and on")
	ErrMux    = errors.New("bus: the mux does not answer or does not keep its channel: check its supply and its address straps")
	ErrGone   = errors.New("bus: the adapter was unplugged")
	ErrClosed = errors.New("bus: the chip was closed")
)

// Buses are all I2C buses of one cart.
type Buses struct {
	dial func(port string) (i2c.BusCloser, error)

	mu     sync.Mutex
	lines  map[string]*line // by port; they stay, so that there is never more than one lock for a bus
	claims []claim
}

// New makes the buses of this machine.
func New() *Buses { return Simulated(openKernel) }

// Simulated makes buses of models: open gives the bus of a port.
func Simulated(open func(port string) (i2c.BusCloser, error)) *Buses {
	return &Buses{dial: open, lines: map[string]*line{}}
}

// Check says what is wrong with a port or a mux setting, without opening anything. mux is "" or "0x71.3".
func Check(port, mux string) error {
	if _, err := number(port); err != nil {
		return err
	}
	_, err := parseChannel(mux)
	return err
}

// number takes one spelling only: two names for one bus would be two locks.
func number(port string) (int, error) {
	digits, ok := strings.CutPrefix(port, "/dev/i2c-")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 0 || strconv.Itoa(n) != digits {
		return 0, fmt.Errorf("%w, not %q", ErrPort, port)
	}
	return n, nil
}

// Open opens the chip at addr. mux is "" or "0x71.3"; who is the instrument's name. It claims the address, if Claim did not
// before, and returns ErrConflict while another instrument claims it too.
func (b *Buses) Open(port, mux string, addr uint16, who string) (*Chip, error) {
	c, err := b.claim(port, mux, addr, who)
	if err != nil {
		return nil, err
	}
	if err := b.conflict(c); err != nil {
		return nil, err
	}
	l, muxes := b.line(port)
	generation, err := l.acquire(muxes)
	if err != nil {
		return nil, fmt.Errorf("bus: open %s for %s: %w", port, who, err)
	}
	return &Chip{line: l, generation: generation, at: c}, nil
}

// line finds a port's line, and the muxes that are on it.
func (b *Buses) line(port string) (*line, []uint16) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lines[port]
	if l == nil {
		l = &line{port: port, dial: b.dial, masks: map[uint16]byte{}}
		b.lines[port] = l
	}
	return l, b.muxes(port)
}

// Chip is one chip on a bus.
type Chip struct {
	line       *line
	generation int // of the connection it was opened on
	at         claim

	mu     sync.Mutex
	closed bool
}

// Tx writes w, then reads r with a repeated start; either may be empty.
func (c *Chip) Tx(w, r []byte) error {
	return c.Do(func(tx func(w, r []byte) error) error { return tx(w, r) })
}

// Do makes several transactions with nobody else on the bus between them. f may not use the chip but through tx.
func (c *Chip) Do(f func(tx func(w, r []byte) error) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	c.line.Lock()
	defer c.line.Unlock()
	if !c.line.is(c.generation) {
		return fmt.Errorf("%w: %s", ErrGone, c.line.port)
	}
	done := 0
	return f(func(w, r []byte) error {
		done++
		if done == 1 {
			return c.line.first(c.at, w, r)
		}
		return c.line.next(c.at, w, r)
	})
}

// Close gives the chip back; the last one closes the bus. It may be called again.
func (c *Chip) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	return c.line.release()
}
