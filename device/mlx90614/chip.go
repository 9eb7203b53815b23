package mlx90614

import (
	"fmt"
	"sync/atomic"

	"telecart/device"
	"telecart/device/bus"
	"telecart/device/bus/wiring"
)

// Commands: 0x00 and up are the RAM, 0x20 and up the EEPROM; words, least significant byte first (SMBus).
const (
	cmdAmbient    = 0x06
	cmdObject     = 0x07
	cmdPWM        = 0x22
	cmdEmissivity = 0x24
	cmdConfig     = 0x25
	cmdAddress    = 0x2E
	cmdID         = 0x3C // and the three after it
	cmdSleep      = 0xFF
)

const (
	errorFlag = 1 << 15

	kelvin = 27_315 // 0 Cel in hundredths; one bit is two of them

	coldSensor, hotSensor = -4_000, 12_500 // where the chip works, in hundredths of a degree
	coldSkin, hotSkin     = 2_000, 4_500   // what may be skin

	minEmissivity = 62_258 // 0.95 of 65535; the chip comes with 1, skin has 0.98
)

const tries = 3 // of one read, if its checksum is wrong

// crc8 is SMBus's packet error code: x^8 + x^2 + x + 1, from 0, not reflected (SMBus 3.1, 6.4.1.2).
func crc8(b ...byte) (c byte) {
	for _, x := range b {
		c ^= x
		for range 8 {
			carry := c & 0x80
			c <<= 1
			if carry != 0 {
				c ^= 0x07
			}
		}
	}
	return c
}

// readPEC is the code that ends a read of a word: it covers both address bytes.
func readPEC(addr uint16, cmd, lsb, msb byte) byte {
	return crc8(byte(addr<<1), cmd, byte(addr<<1|1), lsb, msb)
}

// writePEC is the code that ends a write.
func writePEC(addr uint16, cmd byte, data ...byte) byte {
	return crc8(append([]byte{byte(addr << 1), cmd}, data...)...)
}

// chip is an MLX90614 seen from the bus. It only ever reads.
type chip struct {
	*bus.Chip
	addr   uint16
	check  func(got, want byte) bool // of the PEC
	broken *atomic.Uint64            // PECs that were wrong
}

func strict(got, want byte) bool { return got == want }

func lenient(byte, byte) bool { return true }

func (c chip) read(cmd byte) (uint16, error) {
	var b [3]byte
	for range tries {
		if err := c.Tx([]byte{cmd}, b[:]); err != nil {
			return 0, fmt.Errorf("mlx90614: read %#02x: %w", cmd, err)
		}
		if c.check(b[2], readPEC(c.addr, cmd, b[0], b[1])) {
			return uint16(b[1])<<8 | uint16(b[0]), nil
		}
		c.broken.Add(1)
	}
	return 0, fmt.Errorf("%w: read %#02x", ErrPEC, cmd)
}

// probe makes as sure as can be that this is an MLX90614 fit for skin, and returns its serial number.
func (c chip) probe() (serial string, err error) {
	ambient, err := c.read(cmdAmbient)
	if err != nil {
		return "", err
	}
	if t, ok := hundredths(ambient); !ok || t < coldSensor || t > hotSensor {
		return "", fmt.Errorf("mlx90614: %w: its own temperature reads %#04x", wiring.ErrWrongChip, ambient)
	}
	emissivity, err := c.read(cmdEmissivity)
	if err != nil {
		return "", err
	}
	if emissivity < minEmissivity {
		return "", fmt.Errorf("%w: %.2f", ErrEmissivity, float64(emissivity)/65535)
	}
	for i := range byte(4) {
		word, err := c.read(cmdID + i)
		if err != nil {
			return "", err
		}
		serial += fmt.Sprintf("%04X", word)
	}
	return serial, nil
}

// hundredths of a degree Celsius, if the chip doesn't flag the value.
func hundredths(raw uint16) (int, bool) { return 2*int(raw) - kelvin, raw&errorFlag == 0 }

// judge says what a raw object temperature is worth: a value, or the reason why there is none.
func judge(raw uint16) (device.Decimal, device.Reason) {
	t, ok := hundredths(raw)
	switch {
	case !ok:
		return device.Decimal{}, device.SensorFault
	case t < coldSkin || t > hotSkin:
		return device.Decimal{}, NoSkin
	}
	return device.Decimal{Coef: int64(t), Exp: -2}, ""
}
