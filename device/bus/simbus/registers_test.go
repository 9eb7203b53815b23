package simbus

import (
	"bytes"
	"errors"
	"syscall"
	"testing"
)

func TestRegisters(t *testing.T) {
	chip := NewRegisters(map[byte]uint16{5: 0xC158, 7: 0x0400})
	b := Alone(0x18, chip)
	r := make([]byte, 4)
	for _, c := range []struct {
		do   func() error
		want []byte
	}{
		{func() error { return b.Tx(0x18, []byte{5}, r) }, []byte{0xC1, 0x58, 0xC1, 0x58}},
		{func() error { return b.Tx(0x18, []byte{5, 0x01, 0x02}, nil) }, []byte{0xC1, 0x58, 0xC1, 0x58}},
		{func() error { return b.Tx(0x18, nil, r) }, []byte{1, 2, 1, 2}}, // the pointer stays
		{func() error { chip.Set(5, 0xFFFE); return b.Tx(0x18, nil, r) }, []byte{0xFF, 0xFE, 0xFF, 0xFE}},
		{func() error { return b.Tx(0x18, []byte{9}, r) }, []byte{0, 0, 0, 0}},
	} {
		if err := c.do(); err != nil || !bytes.Equal(r, c.want) {
			t.Errorf("% x, %v, want % x", r, err, c.want)
		}
	}
	if err := b.Tx(0x19, []byte{5}, r); !errors.Is(err, syscall.ENXIO) {
		t.Error(err)
	}
}
