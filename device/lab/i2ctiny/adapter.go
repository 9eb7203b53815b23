// Package i2ctiny emulates an "i2c-tiny-usb" adapter, for the kernel's own driver of that name: a real /dev/i2c-N, with
// I2C_RDWR, behind which sit register models of chips.
//
// Parties: the kernel's driver sends each I2C message as one vendor control transfer; a Model per 7-bit address takes it.
//
// Invariants: models are called by one goroutine, one message at a time. An address without a model is not acknowledged,
// and neither is a message that its model refuses. (i2c-stub and emulated SMBus controllers are no substitute: they refuse
// I2C_RDWR.)
package i2ctiny

import (
	"encoding/binary"
	"fmt"
	"maps"

	"telecart/device/lab/usbip"
)

// Model is a chip: one message at a time. A nil error acknowledges.
type Model interface {
	Write(b []byte) error
	Read(b []byte) error
}

// Adapter is the adapter with the chips on its bus.
type Adapter struct {
	models map[uint16]Model
	nak    bool // how the last message ended
}

// New makes an adapter with a model per 7-bit address.
func New(models map[uint16]Model) (*Adapter, error) {
	for addr := range models {
		if addr < 0x08 || addr > 0x77 {
			return nil, fmt.Errorf("i2ctiny: 0x%02x is not a 7-bit I2C address from 0x08 to 0x77", addr)
		}
	}
	return &Adapter{models: maps.Clone(models)}, nil
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
		return a.standard(s)
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
		return a.message(s, out), nil
	}
	return nil, usbip.ErrStall
}

func (a *Adapter) message(s usbip.Setup, out []byte) (in []byte) {
	if s.In() {
		in = make([]byte, s.Length)
	}
	m := a.models[s.Index]
	switch {
	case m == nil:
		a.nak = true
	case s.In():
		a.nak = m.Read(in) != nil
	case len(out) == 0: // only asks whether somebody is there
		a.nak = false
	default:
		a.nak = m.Write(out) != nil
	}
	return in
}

func (a *Adapter) standard(s usbip.Setup) ([]byte, error) {
	switch s.Request {
	case 0: // GET_STATUS
		return []byte{0, 0}, nil
	case 5, 9, 11: // SET_ADDRESS, SET_CONFIGURATION, SET_INTERFACE
		return nil, nil
	case 6:
		switch s.Value >> 8 {
		case 1: // ids 0403:c631 are the driver's
			return []byte{18, 1, 0x10, 0x01, 0xff, 0, 0, 8, 0x03, 0x04, 0x31, 0xc6, 0x05, 0x01, 0, 0, 0, 1}, nil
		case 2:
			return []byte{9, 2, 18, 0, 1, 1, 0, 0x80, 5, 9, 4, 0, 0, 0, 0xff, 0, 0, 0}, nil
		}
	}
	return nil, usbip.ErrStall
}
