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

// mortal is a bus that knows whether its adapter is still there. An adapter's driver seldom says so in its errors: i2c-tiny-usb
// gives EIO. Until we close it the kernel can't let go of it, and sees nothing new on the same USB hub.
type mortal interface{ Gone() bool }

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
	if m, ok := l.conn.(mortal); is(err, syscall.ENODEV) || ok && m.Gone() {
		return fmt.Errorf("%w: %s: %w", ErrGone, l.port, errors.Join(err, l.hangUp()))
	}
	if held(err) {
		// One chip that stretches the clock for ever, or all of them?
		if stuck := l.look(); stuck != nil {
			return fmt.Errorf("%w: %w", stuck, err)
		}
	}
	return err
}

// look says whether the bus is stuck: nobody is at this address, and a bus that works says so. A data line that is held low
// acknowledges everything and reads as zeros, to a controller that doesn't look.
func (l *line) look() error {
	err := l.conn.Tx(nobody, nil, make([]byte, 1))
	if err == nil || held(err) {
		clear(l.masks)
		return fmt.Errorf("%w: %s", ErrStuck, l.port)
	}
	return nil
}

func zeros(r []byte) bool {
	for _, b := range r {
		if b != 0 {
			return false
		}
	}
	return len(r) > 0
}

// hopeless says that trying again at once is no use.
func hopeless(err error) bool { return errors.Is(err, ErrStuck) || errors.Is(err, ErrGone) }

// held: the controller could not get the bus, or gave up waiting for the clock. Which of the four it says differs
// between the kernel's bus drivers (i2c-bcm2835 and i2c-tiny-usb: EIO).
func held(err error) bool {
	return is(err, syscall.ETIMEDOUT) || is(err, syscall.EBUSY) || is(err, syscall.EAGAIN) || is(err, syscall.EIO)
}

// isNACK: nobody acknowledged (the kernel's Documentation/i2c/fault-codes.rst; older bus drivers say EREMOTEIO).
func isNACK(err error) bool { return is(err, syscall.ENXIO) || is(err, syscall.EREMOTEIO) }

// is compares texts, too: periph's sysfs keeps of the kernel's error only that.
func is(err error, errno syscall.Errno) bool {
	return errors.Is(err, errno) || strings.HasSuffix(err.Error(), ": "+errno.Error())
}
