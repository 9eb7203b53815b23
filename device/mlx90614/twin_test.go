package mlx90614

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"periph.io/x/conn/v3/i2c"

	"telecart/device/kit"
)

var _ i2c.Bus = (*Twin)(nil)

func word(t *testing.T, w *Twin, cmd byte) uint16 {
	t.Helper()
	var b [3]byte
	if err := w.Tx(0x5A, []byte{cmd}, b[:]); err != nil {
		t.Fatal(err)
	}
	if b[2] != readPEC(0x5A, cmd, b[0], b[1]) {
		t.Fatalf("read %#02x: % x has a wrong PEC", cmd, b)
	}
	return uint16(b[1])<<8 | uint16(b[0])
}

func TestTwinReads(t *testing.T) {
	clock := kit.NewManual(start)
	w := NewTwin(clock, 0x5A)
	w.SetObject(35_850)
	if got := word(t, w, cmdObject); got != 0 {
		t.Errorf("%#04x before the first data", got)
	}
	clock.Advance(startUp)
	for cmd, want := range map[byte]uint16{cmdObject: 0x3C5A, cmdAmbient: 0x39A6, cmdEmissivity: 0xFFFF, cmdAddress: 0xBE5A} {
		if got := word(t, w, cmd); got != want {
			t.Errorf("%#02x reads %#04x, want %#04x", cmd, got, want)
		}
	}
	w.Flag()
	if got := word(t, w, cmdObject); got != 0xBC5A {
		t.Errorf("flagged it reads %#04x", got)
	}
	w.Unflag()
	w.SetObject(28_010)
	b := make([]byte, 5)
	if err := errors.Join(w.Write([]byte{0x07}), w.Read(b)); err != nil || !bytes.Equal(b, []byte{0xD2, 0x3A, 0x30, 0xFF, 0xFF}) {
		t.Errorf("single messages: % x, %v", b, err)
	}
	w.Garble(1)
	if err := w.Read(b); err != nil || b[2] == readPEC(0x5A, 0x07, b[0], b[1]) {
		t.Errorf("garbled: % x has the right PEC", b)
	}
	w.SetObject(-300_000)
	if got := word(t, w, cmdObject); got != 0 {
		t.Errorf("colder than can be it reads %#04x", got)
	}
}

// Writing needs the right PEC, and an erased cell.
func TestTwinWrites(t *testing.T) {
	w := NewTwin(kit.NewManual(start), 0x5A)
	for _, c := range []struct {
		message []byte
		want    uint16 // of the emissivity afterwards
	}{
		{[]byte{0x24, 0xE1, 0xFA, 0x96}, 0xFFFF}, // not erased
		{[]byte{0x24, 0x00, 0x00, 0x29}, 0xFFFF}, // wrong PEC
		{[]byte{0x24, 0x00, 0x00}, 0xFFFF},       // none
		{[]byte{0x24, 0x00, 0x00, 0x28}, 0x0000},
		{[]byte{0x24, 0xE1, 0xFA, 0x96}, 0xFAE1},
	} {
		if err := w.Write(c.message); err != nil {
			t.Fatal(err)
		}
		if got := word(t, w, cmdEmissivity); got != c.want {
			t.Errorf("% x: %#04x, want %#04x", c.message, got, c.want)
		}
	}
	if got := w.Written(); got != 4 {
		t.Errorf("%d writes counted", got)
	}
	serial := word(t, w, cmdID)
	if err := w.Write([]byte{cmdID, 0, 0, writePEC(0x5A, cmdID, 0, 0)}); err != nil || word(t, w, cmdID) != serial {
		t.Errorf("the serial number could be erased: %v", err)
	}
}

func TestTwinSleeps(t *testing.T) {
	clock := kit.NewManual(start)
	w := NewTwin(clock, 0x5A)
	w.SetObject(35_850)
	clock.Advance(time.Second)
	if err := w.Write([]byte{0xFF, 0xE9}); err != nil {
		t.Fatal(err)
	}
	if got := word(t, w, cmdObject); got != 0x3C5A {
		t.Errorf("a wrong PEC put it to sleep: %#04x", got)
	}
	if err := w.Write([]byte{0xFF, 0xE8}); err != nil {
		t.Fatal(err)
	}
	if err := w.Write([]byte{0x07}); !errors.Is(err, ErrNACK) {
		t.Errorf("asleep: %v", err)
	}
	w.Wake()
	if got := word(t, w, cmdObject); got != 0 {
		t.Errorf("just awake it reads %#04x", got)
	}
	clock.Advance(startUp)
	if got := word(t, w, cmdObject); got != 0x3C5A {
		t.Errorf("awake it reads %#04x", got)
	}
}

func TestTwinFaults(t *testing.T) {
	w := NewTwin(kit.NewManual(start), 0x5A)
	if err := w.Tx(0x5B, []byte{7}, nil); !errors.Is(err, ErrNACK) {
		t.Errorf("another address: %v", err)
	}
	w.NACK(1)
	if err := w.Write([]byte{7}); !errors.Is(err, ErrNACK) {
		t.Errorf("injected: %v", err)
	}
	w.Unplug()
	if err := w.Read(make([]byte, 3)); !errors.Is(err, ErrNACK) {
		t.Errorf("unplugged: %v", err)
	}
	w.Plug()
	if got := word(t, w, cmdEmissivity); got != 0xFFFF {
		t.Errorf("plugged in again it reads %#04x", got)
	}
}

// Any message at all may come over the bus; the chip answers with a right PEC, and keeps its serial number.
func FuzzTwinMessages(f *testing.F) {
	f.Add([]byte{0x07}, uint8(3))
	f.Add([]byte{0xFF, 0xE8}, uint8(3))
	f.Add([]byte{0x24, 0x00, 0x00, 0x28}, uint8(1))
	f.Fuzz(func(t *testing.T, message []byte, n uint8) {
		w := NewTwin(kit.NewManual(start), 0x5A)
		serial := word(t, w, cmdID)
		for range 2 {
			err := errors.Join(w.Write(message), w.Read(make([]byte, n)))
			if asleep := errors.Is(err, ErrNACK); asleep != (bytes.Equal(message, []byte{0xFF, 0xE8})) {
				t.Fatal(err)
			}
		}
		w.Wake()
		if word(t, w, cmdID) != serial {
			t.Fatal("another serial number")
		}
	})
}
