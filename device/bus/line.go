package bus

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"

	"periph.io/x/conn/v3/i2c"
)

// nobody is an address that no chip has: reserved by the I2C specification (NXP UM10204, table 4).
const nobody = 0x03

// line is one physical bus. All but acquire and release is called under its lock.
type line struct {
	port string
	dial func(port string) (i2c.BusCloser, error)

	sync.Mutex
	conn       i2c.BusCloser // nil while nobody uses it, and after the adapter was unplugged
	generation int           // counts the connections
	users      int
	muxes      []uint16        // that anybody on this bus is behind
	masks      map[uint16]byte // of muxes, as far as they are known
}

// acquire opens the bus for one more user.
func (l *line) acquire(muxes []uint16) (generation int, err error) {
	l.Lock()
	defer l.Unlock()
	if l.conn == nil {
		conn, err := l.dial(l.port)
		if err != nil {
			return 0, err
		}
		l.conn = conn
		l.generation++
		clear(l.masks)
	}
	l.muxes = muxes
	l.users++
	return l.generation, nil
}

// release closes the bus after its last user.
func (l *line) release() error {
	l.Lock()
	defer l.Unlock()
	if l.users--; l.users > 0 || l.conn == nil {
		return nil
	}
	return l.hangUp()
}

func (l *line) hangUp() error {
	conn := l.conn
	l.conn = nil
	clear(l.masks)
	return conn.Close()
}

// is says whether the bus is still the one that was opened.
func (l *line) is(generation int) bool { return l.conn != nil && l.generation == generation }

// tx makes one transaction on whatever segments are connected. After an error no mux's channel is taken for granted.
func (l *line) tx(addr uint16, w, r []byte) error {
	if l.conn == nil {
		return fmt.Errorf("%w: %s", ErrGone, l.port)
	}
	err := l.conn.Tx(addr, w, r)
	if err == nil {
		return nil
	}
	clear(l.masks)
	switch {
	case is(err, syscall.ENODEV):
		return fmt.Errorf("%w: %s: %w", ErrGone, l.port, errors.Join(err, l.hangUp()))
	case held(err):
		// One chip that stretches the clock for ever, or all of them? Nobody is at this address, so a bus that works says so.
		if look := l.conn.Tx(nobody, nil, make([]byte, 1)); look != nil && held(look) {
			return fmt.Errorf("%w: %s: %w", ErrStuck, l.port, err)
		}
	}
	return err
}

// hopeless says that trying again at once is no use.
func hopeless(err error) bool { return errors.Is(err, ErrStuck) || errors.Is(err, ErrGone) }

// held: the controller could not get the bus, or gave up waiting for the clock. Which of the three it says differs
// between the kernel's bus drivers.
func held(err error) bool {
	return is(err, syscall.ETIMEDOUT) || is(err, syscall.EBUSY) || is(err, syscall.EAGAIN)
}

// isNACK: nobody acknowledged (the kernel's Documentation/i2c/fault-codes.rst; older bus drivers say EREMOTEIO).
func isNACK(err error) bool { return is(err, syscall.ENXIO) || is(err, syscall.EREMOTEIO) }

// is compares texts, too: periph's sysfs keeps of the kernel's error only that.
func is(err error, errno syscall.Errno) bool {
	return errors.Is(err, errno) || strings.HasSuffix(err.Error(), ": "+errno.Error())
}
