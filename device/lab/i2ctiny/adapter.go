// Package i2ctiny emulates an "i2c-tiny-usb" adapter, for the kernel's own driver of that name: a real /dev/i2c-N, with
// I2C_RDWR, behind which is a simulated bus.
//
// Parties: the kernel's driver sends each I2C message as one vendor control transfer; a Bus takes it.
//
// Invariants: the bus is called by one goroutine, one message at a time. A message that the bus refuses is not acknowledged; one
// that a held bus swallows (ETIMEDOUT) is not answered at all, as the adapter's firmware waits for the clock line and does nothing
// else meanwhile. (i2c-stub and emulated SMBus controllers are no substitute: they refuse I2C_RDWR.)
package i2ctiny

import (
	"encoding/binary"
	"errors"
	"syscall"

	"telecart/device/lab/usbip"
)

// Bus is what is behind the adapter: one message at a time, w or r, both empty to ask whether somebody is there. A nil error
// acknowledges. Every i2c.Bus is one.
type Bus interface {
	Tx(addr uint16, w, r []byte) error
}

// Adapter is the adapter.
type Adapter struct {
	usb usbip.Descriptors
	bus Bus
	nak bool // how the last message ended
}

// New makes an adapter with a bus behind it. The ids are those that the kernel's driver looks for.
func New(b Bus) *Adapter {
	id := usbip.Identity{Vendor: 0x0403, Product: 0xc631, Name: "i2c-tiny-usb"}
	return &Adapter{usb: id.Descriptors(0xff, 1, []byte{9, 4, 0, 0, 0, 0xff, 0, 0, 0}), bus: b}
}

// Vendor requests (drivers/i2c/busses/i2c-tiny-usb.c).
const (
	getFunctions = 1
	setDelay     = 2
	getStatus    = 3
	transfer     = 4 // + 1 for the first and + 2 for the last message of a transaction

	addressAck = 1
	addressNak = 2

	functions = 0x0eff_0009 // I2C_FUNC_I2C and I2C_FUNC_SMBUS_EMUL
)

var le = binary.LittleEndian

// Handle is the adapter's usbip.Handler.
func (a *Adapter) Handle(_ *usbip.Port, s usbip.Setup, out []byte) ([]byte, error) {
	if s.Standard() {
		return a.usb.Standard(s)
	}
	switch {
	case s.Request == getFunctions:
		return le.AppendUint32(nil, functions), nil
	case s.Request == setDelay:
		return nil, nil
	case s.Request == getStatus:
		if a.nak {
			return []byte{addressNak}, nil
		}
		return []byte{addressAck}, nil
	case s.Request&^3 == transfer:
		return a.message(s, out)
	}
	return nil, usbip.ErrStall
}

func (a *Adapter) message(s usbip.Setup, out []byte) (in []byte, err error) {
	if s.In() {
		in = make([]byte, s.Length)
	}
	err = a.bus.Tx(s.Index, out, in)
	if errors.Is(err, syscall.ETIMEDOUT) {
		return nil, usbip.ErrNAK
	}
	a.nak = err != nil
	return in, nil
}
