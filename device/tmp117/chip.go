package tmp117

import (
	"encoding/binary"
	"fmt"

	"telecart/device"
	"telecart/device/bus"
	"telecart/device/bus/wiring"
)

// Registers, 16 bits each, most significant byte first (SNOSD82D 7.6).
const (
	regTemp     = 0x00
	regConfig   = 0x01
	regHigh     = 0x02
	regLow      = 0x03
	regUnlock   = 0x04
	regOffset   = 0x07
	regDeviceID = 0x0F
)

const (
	deviceID  = 0x117
	lsbPerCel = 128    // one bit is 7.8125 mCel
	porTemp   = 0x8000 // -256 Cel: nothing converted since power-on

	cfgHighAlert = 1 << 15
	cfgLowAlert  = 1 << 14
	cfgDataReady = 1 << 13 // cleared by reading this register or the temperature
	cfgMod       = 3 << 10
	cfgShutdown  = 1 << 10
	cfgOneShot   = 3 << 10
	cfgTherm     = 1 << 4
	cfgReset     = 1 << 1

	// Continuous, one cycle a second, average of 8: the power-on default, written all the same because the chip may
	// come to us shut down by somebody else, or with other defaults in its EEPROM.
	cfgRun = 0x0220
)

// chip is a TMP117 seen from the bus.
type chip struct{ *bus.Chip }

func (c chip) read(reg byte) (uint16, error) {
	var b [2]byte
	if err := c.Tx([]byte{reg}, b[:]); err != nil {
		return 0, fmt.Errorf("tmp117: read register %#02x: %w", reg, err)
	}
	return binary.BigEndian.Uint16(b[:]), nil
}

func (c chip) write(reg byte, v uint16) error {
	if err := c.Tx(binary.BigEndian.AppendUint16([]byte{reg}, v), nil); err != nil {
		return fmt.Errorf("tmp117: write register %#02x: %w", reg, err)
	}
	return nil
}

// probe makes sure of the chip, and returns its revision.
func (c chip) probe() (rev int, err error) {
	id, err := c.read(regDeviceID)
	if err != nil {
		return 0, err
	}
	if id&0x0FFF != deviceID {
		return 0, fmt.Errorf("tmp117: %w: its id is %#04x, not 0x0117", wiring.ErrWrongChip, id)
	}
	return int(id >> 12), nil
}

func (c chip) start() error { return c.write(regConfig, cfgRun) }

// temperature returns a new conversion, in bits of 1/128 Cel, if there is one.
func (c chip) temperature() (raw int16, ready bool, err error) {
	cfg, err := c.read(regConfig)
	if err != nil || cfg&cfgDataReady == 0 {
		return 0, false, err
	}
	v, err := c.read(regTemp)
	if err != nil || v == porTemp {
		return 0, false, err
	}
	return int16(v), true, nil
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
