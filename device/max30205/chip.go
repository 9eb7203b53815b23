package max30205

import (
	"encoding/binary"
	"fmt"

	"telecart/device"
	"telecart/device/bus"
	"telecart/device/bus/wiring"
)

// Registers: the configuration is one byte, the others are two, most significant first (datasheet 19-8505, register
// description).
const (
	regTemp   = 0x00
	regConfig = 0x01
	regTHYST  = 0x02
	regTOS    = 0x03
)

const (
	lsbPerCel = 256 // one bit is 3.90625 mCel

	coldest = 10 * lsbPerCel // a cart is not colder,
	hottest = 60 * lsbPerCel // and nothing on it hotter

	cfgOneShot    = 1 << 7 // clears itself
	cfgNoTimeout  = 1 << 6
	cfgExtended   = 1 << 5 // temperatures are stored 64 Cel lower
	cfgFaultQueue = 3 << 3
	cfgShutdown   = 1 << 0

	cfgRest    = cfgShutdown // between conversions, so that the chip doesn't warm itself
	cfgConvert = cfgShutdown | cfgOneShot
	cfgHeld    = 0x7F // what reads back as it was written
)

// chip is a MAX30205 seen from the bus.
type chip struct{ *bus.Chip }

func (c chip) config() (byte, error) {
	var b [1]byte
	if err := c.Tx([]byte{regConfig}, b[:]); err != nil {
		return 0, fmt.Errorf("max30205: read the configuration: %w", err)
	}
	return b[0], nil
}

func (c chip) configure(v byte) error {
	if err := c.Tx([]byte{regConfig, v}, nil); err != nil {
		return fmt.Errorf("max30205: write the configuration: %w", err)
	}
	return nil
}

// holds makes sure that the configuration keeps what is written to it: two opposite values, as a chip without such a register
// may well read back one of them. Output polarity and mode stay out of it, somebody may have wired that pin.
func (c chip) holds() error {
	for _, v := range []byte{cfgShutdown | cfgNoTimeout | cfgExtended | cfgFaultQueue, cfgShutdown} {
		if err := c.configure(v); err != nil {
			return err
		}
		got, err := c.config()
		if err != nil {
			return err
		}
		if got&cfgHeld != v {
			return fmt.Errorf("max30205: %w: its configuration reads %#02x after %#02x was written", wiring.ErrWrongChip, got, v)
		}
	}
	return nil
}

// result is what the conversion gave. A chip that isn't configured as we left it has restarted, and its temperature is not
// that of the conversion.
func (c chip) result() (raw int16, err error) {
	var b [2]byte
	var cfg [1]byte
	err = c.Do(func(tx func(w, r []byte) error) error {
		if err := tx([]byte{regConfig}, cfg[:]); err != nil {
			return err
		}
		return tx([]byte{regTemp}, b[:])
	})
	if err != nil {
		return 0, fmt.Errorf("max30205: read the temperature: %w", err)
	}
	if cfg[0]&cfgHeld != cfgRest {
		return 0, fmt.Errorf("%w: its configuration is %#02x", ErrRestarted, cfg[0])
	}
	return int16(binary.BigEndian.Uint16(b[:])), nil
}

// milli is thousandths of a degree.
func milli(raw int16) int { return int(raw) * 1000 / lsbPerCel }

// celsius rounds to 0.01 Cel, half away from zero. The last digit is finer than the chip's accuracy (0.1 Cel) but not
// than its resolution, so that trends are not lost.
func celsius(raw int16) device.Decimal {
	n, half := int64(raw)*100, int64(lsbPerCel/2)
	if n < 0 {
		half = -half
	}
	return device.Decimal{Coef: (n + half) / lsbPerCel, Exp: -2}
}
