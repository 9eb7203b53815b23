package i2ctiny_test

import (
	"errors"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"telecart/device/lab/i2ctiny"
	"telecart/device/lab/usbip"
	"telecart/device/lab/usbip/usbiptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a bus with one chip: a pointer and 256 registers, not to be written beyond 0x7f.
type memory struct {
	reg  [256]byte
	ptr  byte
	held bool
}

func (m *memory) Tx(addr uint16, w, r []byte) error {
	switch {
	case m.held:
		return syscall.ETIMEDOUT
	case addr != chip:
		return errors.New("nobody")
	case len(w) > 0:
		if m.ptr = w[0]; m.ptr > 0x7f && len(w) > 1 {
			return errors.New("read only")
		}
		copy(m.reg[m.ptr:], w[1:])
	}
	copy(r, m.reg[m.ptr:])
	return nil
}

const (
	in, out     = 0xc1, 0x41 // vendor, interface
	begin, end  = 1, 2
	message     = 4
	ack, nak    = 1, 2
	chip, empty = 0x48, 0x20
)

func plug(t testing.TB) *usbiptest.Host {
	t.Helper()
	return usbiptest.Plug(t, i2ctiny.New(&memory{reg: [256]byte{0x0f: 0x01, 0x10: 0x17}}).Handle)
}

func status(t testing.TB, h *usbiptest.Host) byte {
	t.Helper()
	b, st := h.Get(in, 3, 0, 0, 1)
	if st != 0 || len(b) != 1 {
		t.Fatalf("status: % x, %v", b, st)
	}
	return b[0]
}

func TestEnumerate(t *testing.T) {
	h := plug(t)
	if b, st := h.Get(0x80, 6, 0x0100, 0, 64); st != 0 || len(b) != 18 || string(b[8:12]) != "\x03\x04\x31\xc6" {
		t.Errorf("device descriptor: % x, %v", b, st)
	}
	if b, st := h.Get(0x80, 6, 0x0200, 0, 255); st != 0 || len(b) != 18 || b[2] != 18 {
		t.Errorf("configuration: % x, %v", b, st)
	}
	if b, _ := h.Get(in, 1, 0, 0, 4); len(b) != 4 || b[0]&1 == 0 {
		t.Errorf("functions % x lack I2C_FUNC_I2C", b)
	}
	if _, st := h.Get(in, 0x42, 0, 0, 4); st != syscall.EPIPE {
		t.Errorf("unknown request: %v", st)
	}
}

// Write the pointer, then read: the transaction of every register read.
func TestRegisterRead(t *testing.T) {
	h := plug(t)
	h.Set(out, message|begin, 0, chip, []byte{0x0f})
	if s := status(t, h); s != ack {
		t.Errorf("pointer: status %d", s)
	}
	b, _ := h.Get(in, message|end, 1, chip, 2)
	if s := status(t, h); s != ack || string(b) != "\x01\x17" {
		t.Errorf("read % x, status %d", b, s)
	}
}

func TestAcknowledge(t *testing.T) {
	for _, c := range []struct {
		name string
		addr uint16
		data []byte
		want byte
	}{
		{"write", chip, []byte{2, 0x60, 0}, ack},
		{"is somebody there", chip, nil, ack},
		{"refused by the chip", chip, []byte{0x80, 1}, nak},
		{"nobody there", empty, []byte{0}, nak},
		{"nobody there either", empty, nil, nak},
	} {
		h := plug(t)
		h.Set(out, message|begin|end, 0, c.addr, c.data)
		if s := status(t, h); s != c.want {
			t.Errorf("%s: status %d, want %d", c.name, s, c.want)
		}
	}
	h := plug(t)
	if b, _ := h.Get(in, message|begin|end, 1, empty, 2); len(b) != 2 || status(t, h) != nak {
		t.Error("a read from nobody must fill the host's buffer and not be acknowledged")
	}
}

// While something holds the clock the adapter says nothing, and afterwards it works.
func TestHeld(t *testing.T) {
	m := &memory{held: true}
	h := usbiptest.Plug(t, i2ctiny.New(m).Handle)
	seq := h.Submit(0, usbip.Setup{Type: out, Request: message | begin | end, Index: chip, Length: 1}, 1, []byte{0})
	h.Unlink(seq)
	if r := h.Reply(usbiptest.Out); r.Command != 4 || r.Status != syscall.ECONNRESET {
		t.Errorf("a held bus: %+v: want no answer until the host cancels", r)
	}
	m.held = false
	if h.Set(out, message|begin|end, 0, chip, []byte{0}); status(t, h) != ack {
		t.Error("after it was let go: no acknowledge")
	}
}
