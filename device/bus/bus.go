// Package bus is the cart's I2C buses, shared by the chips on them.
//
// Parties: drivers open one chip each, by bus, address and, behind a PCA9548, mux channel; main keeps the one Buses.
//
// Invariants: what a driver does in one Do is not mixed with what others do on the same physical bus.
package bus

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/host/v3/sysfs"
)

// ErrPort: the port names no I2C bus.
var ErrPort = errors.New("bus: give an I2C bus like /dev/i2c-1")

// Buses are all I2C buses of one cart.
type Buses struct {
	open func(port string) (i2c.BusCloser, error)

	mu  sync.Mutex
	all map[string]*shared
}

// shared is one physical bus while somebody uses it.
type shared struct {
	sync.Mutex
	i2c.BusCloser
	users int
}

// New makes the buses of this machine.
func New() *Buses { return &Buses{open: openSysfs, all: map[string]*shared{}} }

// Simulated makes buses of models: open gives the bus of a port.
func Simulated(open func(port string) (i2c.BusCloser, error)) *Buses {
	return &Buses{open: open, all: map[string]*shared{}}
}

// Check says what is wrong with a port or a mux setting, without opening anything.
func Check(port, mux string) error {
	_, err := number(port)
	return err
}

func number(port string) (int, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(port, "/dev/i2c-"))
	if err != nil || n < 0 || !strings.HasPrefix(port, "/dev/i2c-") {
		return 0, fmt.Errorf("%w, not %q", ErrPort, port)
	}
	return n, nil
}

// openSysfs goes straight to the one bus: i2creg would first start every GPIO, SPI, LED and thermal driver of the
// machine, and would not know a bus that was plugged in later.
func openSysfs(port string) (i2c.BusCloser, error) {
	n, err := number(port)
	if err != nil {
		return nil, err
	}
	return sysfs.NewI2C(n)
}

// Open opens the chip at addr. mux is "" or "0x71.3"; who is the instrument's name, for messages.
func (b *Buses) Open(port, mux string, addr uint16, who string) (*Chip, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.all[port]
	if s == nil {
		opened, err := b.open(port)
		if err != nil {
			return nil, fmt.Errorf("bus: open %s for %s: %w", port, who, err)
		}
		s = &shared{BusCloser: opened}
		b.all[port] = s
	}
	s.users++
	return &Chip{buses: b, port: port, bus: s, addr: addr}, nil
}

// Chip is one chip on a bus.
type Chip struct {
	buses *Buses
	port  string
	bus   *shared
	addr  uint16
	once  sync.Once
}

// Tx writes w, then reads r with a repeated start; either may be empty.
func (c *Chip) Tx(w, r []byte) error {
	return c.Do(func(tx func(w, r []byte) error) error { return tx(w, r) })
}

// Do makes several transactions with nobody else on the bus between them.
func (c *Chip) Do(f func(tx func(w, r []byte) error) error) error {
	c.bus.Lock()
	defer c.bus.Unlock()
	return f(func(w, r []byte) error { return c.bus.Tx(c.addr, w, r) })
}

// Close gives the chip back; the last one closes the bus. It may be called again.
func (c *Chip) Close() (err error) {
	c.once.Do(func() {
		c.buses.mu.Lock()
		defer c.buses.mu.Unlock()
		if c.bus.users--; c.bus.users == 0 {
			delete(c.buses.all, c.port)
			err = c.bus.Close()
		}
	})
	return err
}
