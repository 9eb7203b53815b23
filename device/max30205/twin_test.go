package max30205

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"periph.io/x/conn/v3/i2c"

	"telecart/device/kit"
)

var _ i2c.Bus = (*Twin)(nil)

func read(t *testing.T, w *Twin, reg byte, n int) (v uint16) {
	t.Helper()
	b := make([]byte, n)
	if err := w.Tx(0x48, []byte{reg}, b); err != nil {
		t.Fatal(err)
	}
	for _, x := range b {
		v = v<<8 | uint16(x)
	}
	return v
}

func configure(t *testing.T, w *Twin, v byte) {
	t.Helper()
	if err := w.Tx(0x48, []byte{regConfig, v}, nil); err != nil {
		t.Fatal(err)
	}
}

func TestTwinPowerOn(t *testing.T) {
	clock := kit.NewManual(start)
	w := NewTwin(clock, 0x48)
	w.SetTemperature(36_600)
	if got := read(t, w, regConfig, 1); got != 0x00 {
		t.Errorf("CONFIG = %#02x", got)
	}
	for reg, want := range map[byte]uint16{regTemp: 0, regTHYST: 0x4B00, regTOS: 0x5000} {
		if got := read(t, w, reg, 2); got != want {
			t.Errorf("register %d = %#04x, want %#04x", reg, got, want)
		}
	}
	clock.Advance(conversion - 1)
	if got := read(t, w, regTemp, 2); got != 0 {
		t.Errorf("TEMP = %#04x before the first conversion ends", got)
	}
	clock.Advance(1)
	if got := read(t, w, regTemp, 2); got != 0x249A {
		t.Errorf("36.6 Cel reads %#04x", got)
	}
	for milli, want := range map[int]uint16{37_000: 0x2500, 38_500: 0x2680, -1_000: 0xFF00} { // it goes on by itself
		w.SetTemperature(milli)
		clock.Advance(conversion)
		if got := read(t, w, regTemp, 2); got != want {
			t.Errorf("%d mCel reads %#04x, want %#04x", milli, got, want)
		}
	}
}

func TestTwinModes(t *testing.T) {
	clock := kit.NewManual(start)
	w := NewTwin(clock, 0x48)
	w.SetTemperature(37_000)
	configure(t, w, cfgShutdown)
	clock.Advance(time.Minute)
	if got := read(t, w, regTemp, 2); got != 0 {
		t.Errorf("shut down, yet it reads %#04x", got)
	}
	configure(t, w, cfgShutdown|cfgOneShot)
	if got := read(t, w, regConfig, 1); got != cfgShutdown {
		t.Errorf("CONFIG = %#02x: the one-shot bit clears itself", got)
	}
	clock.Advance(conversion)
	w.SetTemperature(20_000)
	clock.Advance(time.Minute)
	if got := read(t, w, regTemp, 2); got != 0x2500 {
		t.Errorf("37.0 Cel, once, reads %#04x", got)
	}
	configure(t, w, cfgExtended) // continuous
	w.SetTemperature(37_000)
	clock.Advance(conversion)
	if got := int16(read(t, w, regTemp, 2)); got != (37-64)*lsbPerCel {
		t.Errorf("37.0 Cel in the extended format reads %#04x", uint16(got))
	}
	if err := w.Write([]byte{regTOS, 0x26, 0x80}); err != nil || read(t, w, regTOS, 2) != 0x2680 {
		t.Errorf("TOS doesn't keep what is written: %v", err)
	}
	w.BrownOut()
	if config, tos := read(t, w, regConfig, 1), read(t, w, regTOS, 2); config != 0 || tos != 0x5000 {
		t.Errorf("after a brown-out CONFIG = %#02x, TOS = %#04x", config, tos)
	}
}

// Single messages, as a USB adapter sends them, keep the pointer.
func TestTwinMessages(t *testing.T) {
	w := NewTwin(kit.NewManual(start), 0x48)
	if err := w.Write([]byte{regTHYST}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		b := make([]byte, 4)
		if err := w.Read(b); err != nil || !bytes.Equal(b, []byte{0x4B, 0x00, 0x4B, 0x00}) {
			t.Errorf("read % x, %v", b, err)
		}
	}
}

func TestTwinFaults(t *testing.T) {
	clock := kit.NewManual(start)
	w := NewTwin(clock, 0x48)
	if err := w.Tx(0x49, []byte{0}, nil); !errors.Is(err, ErrNACK) {
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
	if got := read(t, w, regTemp, 2); got != 0 {
		t.Errorf("plugged in again it reads %#04x: want the power-on value", got)
	}
}

// Any message at all may come over the bus; the chip answers, and measures again when it is told to.
func FuzzTwinMessages(f *testing.F) {
	f.Add([]byte{0x01, 0x81}, uint8(2))
	f.Add([]byte{0x03, 0x26, 0x80}, uint8(4))
	f.Add([]byte{0x01, 0xFF, 0xFF, 0xFF}, uint8(1))
	f.Fuzz(func(t *testing.T, message []byte, n uint8) {
		clock := kit.NewManual(start)
		w := NewTwin(clock, 0x48)
		for range 3 {
			if err := errors.Join(w.Write(message), w.Read(make([]byte, n))); err != nil {
				t.Fatal(err)
			}
			clock.Advance(time.Minute)
		}
		configure(t, w, cfgShutdown|cfgOneShot)
		clock.Advance(conversion)
		if got := read(t, w, regTemp, 2); got != 25*lsbPerCel {
			t.Fatalf("25 Cel reads %#04x", got)
		}
	})
}
