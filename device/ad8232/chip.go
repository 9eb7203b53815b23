package ad8232

import (
	"encoding/binary"
	"fmt"

	"telecart/device/bus/wiring"
)

// Registers of the ADS1115, 16 bits each, most significant byte first (SBAS444D 9.6).
const (
	regConversion = 0x00
	regConfig     = 0x01
	regLow        = 0x02
	regHigh       = 0x03
)

// Bits of the config register.
const (
	cfgIdle       = 1 << 15 // read: no conversion runs; write: start one
	cfgInput0     = 4 << 12 // AIN0 against ground
	cfgRange4V    = 1 << 9  // +-4.096 V: 125 uV a step
	cfgSingleShot = 1 << 8
	cfgRateShift  = 5
	cfgQueueOff   = 3 // the comparator, and with it ALERT/RDY, does nothing

	porConfig = 0x8583
	porLow    = 0x8000
	porHigh   = 0x7FFF
)

// With these thresholds ALERT/RDY pulses after each conversion (SBAS444D 9.3.8).
const (
	readyHigh = 0x8000
	readyLow  = 0x0000
)

const (
	microvoltPerStep = 125
	supplySteps      = 3_300_000 / microvoltPerStep // the AD8232's output stays within 0 and its supply
)

// rates are what DR selects, in samples a second.
func rates() [8]int { return [8]int{8, 16, 32, 64, 128, 250, 475, 860} }

// rateCode is DR for a rate.
func rateCode(rate int) (uint16, bool) {
	for code, r := range rates() {
		if r == rate {
			return uint16(code), true
		}
	}
	return 0, false
}

// transactor is the way to one chip: *bus.Chip.
type transactor interface{ Tx(w, r []byte) error }

// chip is an ADS1115 seen from the bus.
type chip struct {
	bus    transactor
	config uint16 // what it was told
}

func (c *chip) read(reg byte) (uint16, error) {
	var b [2]byte
	if err := c.bus.Tx([]byte{reg}, b[:]); err != nil {
		return 0, fmt.Errorf("ad8232: read register %d: %w", reg, err)
	}
	return binary.BigEndian.Uint16(b[:]), nil
}

func (c *chip) write(reg byte, v uint16) error {
	if err := c.bus.Tx(binary.BigEndian.AppendUint16([]byte{reg}, v), nil); err != nil {
		return fmt.Errorf("ad8232: write register %d: %w", reg, err)
	}
	return nil
}

// setting is a register and what it is to hold.
type setting struct {
	reg   byte
	value uint16
}

// start makes the chip convert for ever at a rate, with or without pulses on ALERT/RDY. The ADS1115 has no identity: it is
// taken for one when its registers keep what is written to them. Another chip gets back what it had.
func (c *chip) start(code uint16, pulses signalling) error {
	c.config = cfgInput0 | cfgRange4V | code<<cfgRateShift | cfgQueueOff
	low, high := uint16(porLow), uint16(porHigh)
	if pulses == onReady {
		c.config &^= cfgQueueOff
		low, high = readyLow, readyHigh
	}
	var had []setting
	for _, s := range []setting{{regLow, low}, {regHigh, high}, {regConfig, c.config}} {
		was, err := c.read(s.reg)
		if err != nil {
			return err
		}
		if err := c.write(s.reg, s.value); err != nil {
			return err
		}
		had = append(had, setting{s.reg, was})
		got, err := c.read(s.reg)
		if err != nil {
			return err
		}
		if s.reg == regConfig {
			got &^= cfgIdle
		}
		if got != s.value {
			return fmt.Errorf("ad8232: %w: register %d became %#04x, not %#04x%s", wiring.ErrWrongChip, s.reg, got, s.value,
				c.putBack(had))
		}
	}
	return nil
}

func (c *chip) putBack(had []setting) (also string) {
	for _, s := range had {
		if err := c.write(s.reg, s.value); err != nil {
			also += fmt.Sprintf("; it could not be put back: %v", err)
		}
	}
	return also
}

// conversion is the last one that completed, in steps.
func (c *chip) conversion() (int16, error) {
	v, err := c.read(regConversion)
	return int16(v), err
}

// lost says that the chip no longer does what it was told: its supply failed for a moment.
func (c *chip) lost() (bool, error) {
	v, err := c.read(regConfig)
	return err == nil && v&^cfgIdle != c.config, err
}
