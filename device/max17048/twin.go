package max17048

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"periph.io/x/conn/v3/physic"

	"telecart/device/kit"
)

// ErrNACK is what the twin answers when nothing acknowledges.
var ErrNACK = errors.New("max17048: twin: no acknowledge")

// Twin is a MAX17048 at register level on a cell of which a steady share is taken or given. Safe for concurrent use.
type Twin struct {
	clock kit.Clock

	mu      sync.Mutex
	percent float64
	rate    float64 // percent an hour; negative empties
	at      time.Time
	status  uint16
	pointer byte
	nacks   int
}

// NewTwin makes a gauge that was just powered: 80 %, used up in two hours.
func NewTwin(clock kit.Clock) *Twin {
	return &Twin{clock: clock, percent: 80, rate: -40, at: clock.Now(), status: statusReset}
}

// Set makes the cell this full, changing by so many percent an hour.
func (t *Twin) Set(percent, rate float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.percent, t.rate, t.at = percent, rate, t.clock.Now()
}

// NACK leaves the next n transactions unacknowledged.
func (t *Twin) NACK(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nacks = n
}

// Tx implements i2c.Bus.
func (t *Twin) Tx(addr uint16, w, r []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.nacks > 0 {
		t.nacks--
		return ErrNACK
	}
	if addr != 0x36 {
		return fmt.Errorf("%w at %#02x", ErrNACK, addr)
	}
	if len(w) > 0 {
		t.pointer = w[0]
	}
	if len(w) == 3 && t.pointer == regStatus {
		t.status = binary.BigEndian.Uint16(w[1:])
	}
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], t.register())
	for i := range r {
		r[i] = b[i%2]
	}
	return nil
}

func (t *Twin) register() uint16 {
	now := t.clock.Now()
	t.percent = min(max(t.percent+t.rate*now.Sub(t.at).Hours(), 0), 101) // a full cell may read above 100
	t.at = now
	switch t.pointer {
	case regVoltage:
		return uint16((3.4 + 0.008*t.percent) / 78.125e-6)
	case regCharge:
		return uint16(t.percent * 256)
	case regVersion:
		return 0x0012
	case regRate:
		return uint16(int16(t.rate / 0.208))
	case regStatus:
		return t.status
	}
	return 0
}

// SetSpeed implements i2c.Bus.
func (t *Twin) SetSpeed(physic.Frequency) error { return nil }

func (t *Twin) String() string { return "max17048 twin" }
