package tmp117

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"periph.io/x/conn/v3/i2c"

	"telecart/device/kit"
)

var _ i2c.Bus = (*Twin)(nil)

func reg(t *testing.T, w *Twin, r byte) uint16 {
	t.Helper()
	var b [2]byte
	if err := w.Tx(0x48, []byte{r}, b[:]); err != nil {
		t.Fatal(err)
	}
	return binary.BigEndian.Uint16(b[:])
}

func set(t *testing.T, w *Twin, r byte, v uint16) {
	t.Helper()
	if err := w.Tx(0x48, binary.BigEndian.AppendUint16([]byte{r}, v), nil); err != nil {
		t.Fatal(err)
	}
}

func TestTwinPowerOn(t *testing.T) {
	clock := kit.NewManual(start)
	w := NewTwin(clock, 0x48)
	w.SetTemperature(36_600)
	for r, want := range map[byte]uint16{0x00: 0x8000, 0x01: 0x0220, 0x02: 0x6000, 0x03: 0x8000, 0x04: 0, 0x07: 0, 0x0F: 0x0117} {
		if got := reg(t, w, r); got != want {
			t.Errorf("register %#02x = %#04x, want %#04x", r, got, want)
		}
	}
	clock.Advance(124 * time.Millisecond)
	if got := reg(t, w, regConfig); got != 0x0220 {
		t.Errorf("CFG = %#04x before the first conversion ends", got)
	}
	clock.Advance(time.Millisecond)
	if got := reg(t, w, regConfig); got != 0x2220 {
		t.Errorf("CFG = %#04x after it", got)
	}
	if got := reg(t, w, regConfig); got != 0x0220 {
		t.Errorf("CFG = %#04x when read again: reading clears DATA_READY", got)
	}
	if got := reg(t, w, regTemp); got != 0x124D {
		t.Errorf("36.6 Cel reads %#04x", got)
	}
	w.SetTemperature(-5_000)
	clock.Advance(time.Second - time.Millisecond)
	if got := reg(t, w, regTemp); got != 0x124D {
		t.Errorf("%#04x before the next cycle", got)
	}
	clock.Advance(10 * time.Second)
	if got := reg(t, w, regTemp); got != 0xFD80 {
		t.Errorf("-5 Cel reads %#04x", got)
	}
}

func TestTwinModes(t *testing.T) {
	clock := kit.NewManual(start)
	w := NewTwin(clock, 0x48)
	w.SetTemperature(37_000)
	set(t, w, regConfig, 0x0400) // shutdown
	clock.Advance(time.Minute)
	if got := reg(t, w, regTemp); got != 0x8000 {
		t.Errorf("shut down, yet it reads %#04x", got)
	}
	set(t, w, regConfig, 0x0C60) // one-shot, 64 averages: 1 s
	clock.Advance(time.Second - 1)
	if got := reg(t, w, regConfig); got != 0x0C60 {
		t.Errorf("CFG = %#04x while converting", got)
	}
	clock.Advance(1)
	if got := reg(t, w, regConfig); got != 0x2460 {
		t.Errorf("CFG = %#04x: want ready and shut down", got)
	}
	if got := reg(t, w, regTemp); got != 0x1280 {
		t.Errorf("37.0 Cel reads %#04x", got)
	}
	set(t, w, regHigh, 0x1200)
	set(t, w, regConfig, 0x0000) // continuous, 15.5 ms
	clock.Advance(time.Second)
	if got := reg(t, w, regConfig); got != 0xA000 {
		t.Errorf("CFG = %#04x: want high alert and ready", got)
	}
	set(t, w, regConfig, 0x0002) // soft reset
	if got := reg(t, w, regHigh); got != 0x6000 {
		t.Errorf("HIGH = %#04x after soft reset", got)
	}
	set(t, w, regDeviceID, 0xDEAD)
	if got := reg(t, w, regDeviceID); got != 0x0117 {
		t.Errorf("the id could be written: %#04x", got)
	}
}

// Single messages, as a USB adapter sends them, keep the pointer.
func TestTwinMessages(t *testing.T) {
	w := NewTwin(kit.NewManual(start), 0x48)
	if err := w.Write([]byte{0x0F}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		b := make([]byte, 4)
		if err := w.Read(b); err != nil || !bytes.Equal(b, []byte{0x01, 0x17, 0x01, 0x17}) {
			t.Errorf("read % x, %v", b, err)
		}
	}
}

func TestTwinFaults(t *testing.T) {
	clock := kit.NewManual(start)
	w := NewTwin(clock, 0x48)
	if err := w.Tx(0x49, []byte{0x0F}, nil); !errors.Is(err, ErrNACK) {
		t.Errorf("another address: %v", err)
	}
	w.NACK(1)
	if err := w.Write([]byte{0}); !errors.Is(err, ErrNACK) {
		t.Errorf("injected: %v", err)
	}
	if err := w.Write([]byte{0}); err != nil {
		t.Errorf("after it: %v", err)
	}
	clock.Advance(time.Second)
	w.Unplug()
	if err := w.Read(make([]byte, 2)); !errors.Is(err, ErrNACK) {
		t.Errorf("unplugged: %v", err)
	}
	w.Plug()
	if got := reg(t, w, regTemp); got != 0x8000 {
		t.Errorf("plugged in again it reads %#04x: want the power-on value", got)
	}
}

// Any message at all may come over the bus; the chip answers, and stays a TMP117.
func FuzzTwinMessages(f *testing.F) {
	f.Add([]byte{0x01, 0x02, 0x20}, uint8(2))
	f.Add([]byte{0x0F}, uint8(4))
	f.Add([]byte{0x01, 0x0C, 0x60, 0xFF}, uint8(1))
	f.Fuzz(func(t *testing.T, message []byte, n uint8) {
		clock := kit.NewManual(start)
		w := NewTwin(clock, 0x48)
		for range 3 {
			if err := errors.Join(w.Write(message), w.Read(make([]byte, n))); err != nil {
				t.Fatal(err)
			}
			clock.Advance(time.Minute)
		}
		if got := reg(t, w, regDeviceID); got != 0x0117 {
			t.Fatalf("id %#04x", got)
		}
	})
}
