package max30102

import (
	"fmt"
	"time"

	"telecart/device/bus/wiring"
)

const address = 0x57

// Registers, one byte each (Linux max30102.c). The LED currents are at 0x0C and 0x0D; at least one public
// header has them one lower.
const (
	regStatus1 = 0x00 // reading clears it
	regEnable1 = 0x02
	regWrite   = 0x04 // FIFO pointer of the chip's next sample
	regLost    = 0x05 // samples lost to a full FIFO
	regRead    = 0x06 // FIFO pointer of our next sample
	regData    = 0x07 // the address stays here in a burst
	regFIFO    = 0x08
	regMode    = 0x09
	regSpO2    = 0x0A
	regRed     = 0x0C
	regIR      = 0x0D
	regPart    = 0xFF

	partID = 0x15
)

const (
	almostFull   = 1 << 7 // of status and enable 1
	powerReady   = 1 << 0 // of status 1: it was powered up since
	pointers     = 0x1F
	depth        = 32 // samples in the FIFO
	sampleLen    = 6  // red, infrared: 3 bytes each, the most significant first
	sampleMask   = 1<<18 - 1
	fullScale    = sampleMask
	nominalHz    = 100
	modeShutdown = 1 << 7
	modeReset    = 1 << 6 // clears itself
	modeSpO2     = 3

	fifoConfig = 2<<5 | 1<<4 | 0xF // the mean of 4; the oldest is overwritten; almost full at 17
	spo2Config = 1<<5 | 3<<2 | 3   // 4096 nA, 400 samples a second (100 after the mean), pulses of 411 us: 18 bits

	startLamp = 0x24 // 7.2 mA, in steps of 0.2 mA

	resetPoll  = 10 * time.Millisecond
	resetPolls = 10 // the kernel's driver waits 100 ms at most
)

// chip is a MAX30102 seen from the bus.
type chip struct {
	bus interface{ Tx(w, r []byte) error }
}

func (c chip) read(reg byte, b []byte) error {
	if err := c.bus.Tx([]byte{reg}, b); err != nil {
		return fmt.Errorf("max30102: read register %#02x: %w", reg, err)
	}
	return nil
}

// write writes one register, or several that follow each other.
func (c chip) write(reg byte, values ...byte) error {
	if err := c.bus.Tx(append([]byte{reg}, values...), nil); err != nil {
		return fmt.Errorf("max30102: write register %#02x: %w", reg, err)
	}
	return nil
}

// probe asks whether this is a MAX30102, and writes nothing. The part's number may stand in an EEPROM by chance; its
// FIFO pointers would have to have their unused bits clear, too.
func (c chip) probe() error {
	var part [1]byte
	if err := c.read(regPart, part[:]); err != nil {
		return err
	}
	if part[0] != partID {
		return fmt.Errorf("max30102: %w: its part number reads %#02x, not %#02x", wiring.ErrWrongChip, part[0], partID)
	}
	var fifo [3]byte
	if err := c.read(regWrite, fifo[:]); err != nil {
		return err
	}
	if (fifo[0]|fifo[1]|fifo[2])&^pointers != 0 {
		return fmt.Errorf("max30102: %w: its FIFO pointers read % x", wiring.ErrWrongChip, fifo)
	}
	return nil
}

func (c chip) wasReset() (bool, error) {
	var mode [1]byte
	if err := c.read(regMode, mode[:]); err != nil {
		return false, err
	}
	return mode[0]&modeReset == 0, nil
}

// configure is for a chip that was just reset; its flags are cleared first, so that a later restart is seen.
func (c chip) configure() error {
	if err := c.read(regStatus1, make([]byte, 2)); err != nil {
		return err
	}
	for _, w := range [][]byte{
		{regFIFO, fifoConfig},
		{regSpO2, spo2Config},
		{regRed, startLamp, startLamp},
		{regEnable1, almostFull}, // tells a full FIFO from an empty one; nobody listens to the pin
		{regWrite, 0, 0, 0},
		{regMode, modeSpO2},
	} {
		if err := c.write(w[0], w[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// sleep turns the lamps off.
func (c chip) sleep() error { return c.write(regMode, modeShutdown) }

// backlog is what waits in the FIFO.
type backlog struct {
	unread    int  // 0 to 31 samples
	lost      bool // there were more than the FIFO holds, or it is full
	restarted bool // the chip isn't configured any more
}

func (c chip) backlog() (backlog, error) {
	var b [regRead + 1]byte
	if err := c.read(regStatus1, b[:]); err != nil {
		return backlog{}, err
	}
	return parseBacklog(b), nil
}

// parseBacklog reads registers 0x00 to 0x06. Equal pointers are an empty FIFO or a full one: then it has passed "almost
// full".
func parseBacklog(b [regRead + 1]byte) backlog {
	n := int(b[regWrite]-b[regRead]) & pointers
	return backlog{
		unread:    n,
		lost:      b[regLost]&pointers != 0 || n == 0 && b[regStatus1]&almostFull != 0,
		restarted: b[regStatus1]&powerReady != 0,
	}
}

// sample is one of both colours, of 18 bits.
type sample struct{ red, ir int32 }

func (c chip) samples(n int) ([]sample, error) {
	b := make([]byte, n*sampleLen)
	if err := c.read(regData, b); err != nil {
		return nil, err
	}
	return decode(b), nil
}

// decode reads whole samples; the bits above the 18 mean nothing.
func decode(b []byte) []sample {
	out := make([]sample, 0, len(b)/sampleLen)
	for ; len(b) >= sampleLen; b = b[sampleLen:] {
		out = append(out, sample{red: value(b), ir: value(b[3:])})
	}
	return out
}

func value(b []byte) int32 { return (int32(b[0])<<16 | int32(b[1])<<8 | int32(b[2])) & sampleMask }

// flush forgets all that is in the FIFO.
func (c chip) flush() error { return c.write(regWrite, 0, 0, 0) }

func (c chip) light(red, ir byte) error { return c.write(regRed, red, ir) }
