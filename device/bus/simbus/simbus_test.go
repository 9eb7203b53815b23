package simbus

import (
	"errors"
	"syscall"
	"testing"
)

// tag is a chip that reads its tag.
type tag byte

func (c tag) Tx(_ uint16, _, r []byte) error {
	for i := range r {
		r[i] = byte(c)
	}
	return nil
}

func read(b *Bus, addr uint16) (byte, error) {
	r := []byte{0}
	err := b.Tx(addr, nil, r)
	return r[0], err
}

func TestReach(t *testing.T) {
	b := &Bus{}
	m := b.Mux(0x70)
	m.Attach(0, 0x48, tag(0xF1))
	m.Attach(7, 0x48, tag(0x1F))
	b.Attach(0x49, tag(0x33))
	if _, err := read(b, 0x48); !errors.Is(err, syscall.ENXIO) {
		t.Errorf("all shut: %v", err)
	}
	for _, c := range []struct {
		mask, want byte
		clashes    int
	}{{0x01, 0xF1, 0}, {0x80, 0x1F, 0}, {0x81, 0x11, 1}} { // two at once pull each other's bits low
		if err := b.Tx(0x70, []byte{c.mask}, nil); err != nil {
			t.Fatal(err)
		}
		if got, err := read(b, 0x70); got != c.mask || err != nil {
			t.Errorf("the mux reads %#02x, %v", got, err)
		}
		if got, err := read(b, 0x48); got != c.want || err != nil || b.Clashes() != c.clashes {
			t.Errorf("mask %#02x: %#02x, %v, %d clashes", c.mask, got, err, b.Clashes())
		}
		if got, err := read(b, 0x49); got != 0x33 || err != nil {
			t.Errorf("beside the mux: %#02x, %v", got, err)
		}
	}
	b.Attach(0x70, tag(0)) // a chip at the mux's address
	if _, err := read(b, 0x70); err != nil || b.Clashes() != 2 {
		t.Errorf("%v, %d clashes", err, b.Clashes())
	}
}

func TestFaults(t *testing.T) {
	b := &Bus{}
	b.Attach(0x49, tag(0x33))
	b.Hold()
	if _, err := read(b, 0x49); !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("held: %v", err)
	}
	b.Release()
	b.HoldData()
	for _, addr := range []uint16{0x49, 0x50} {
		if got, err := read(b, addr); got != 0 || err != nil {
			t.Errorf("data held: %#02x, %v", got, err)
		}
	}
	b.Release()
	b.Unplug()
	if _, err := read(b, 0x49); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("unplugged: %v", err)
	}
	if _, err := b.Open("x"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("opened though it isn't there: %v", err)
	}
	b.Plug()
	if got, err := read(b, 0x49); got != 0x33 || err != nil {
		t.Errorf("plugged in again: %#02x, %v", got, err)
	}
}
