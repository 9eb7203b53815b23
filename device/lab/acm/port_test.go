package acm_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"telecart/device/lab/acm"
	"telecart/device/lab/usbip"
	"telecart/device/lab/usbip/usbiptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func plug(t testing.TB, p *acm.Port) *usbiptest.Host {
	t.Helper()
	h := usbiptest.Plug(t, p.Handle)
	if st := h.Set(0x00, 9, 1, 0, nil); st != 0 {
		t.Fatalf("SET_CONFIGURATION: %v", st)
	}
	return h
}

func port(takes func([]byte)) *acm.Port {
	return acm.New(usbip.Identity{Vendor: 0x1d6b, Product: 0x0104, Name: "Cuff", Serial: "BP-1"}, takes)
}

func TestEnumerate(t *testing.T) {
	h := plug(t, port(nil))
	device, _ := h.Get(0x80, 6, 0x0100, 0, 64)
	if len(device) != 18 || device[4] != 2 || !bytes.Equal(device[8:12], []byte{0x6b, 0x1d, 0x04, 0x01}) {
		t.Errorf("device descriptor: % x", device)
	}
	config, _ := h.Get(0x80, 6, 0x0200, 0, 255)
	if len(config) < 9 || int(binary.LittleEndian.Uint16(config[2:])) != len(config) || config[4] != 2 {
		t.Fatalf("configuration: % x", config)
	}
	endpoints := map[byte]byte{} // and their kinds
	for b := config; len(b) > 0; b = b[b[0]:] {
		if b[0] == 0 || int(b[0]) > len(b) {
			t.Fatalf("a descriptor of %d bytes with %d left", b[0], len(b))
		}
		if b[1] == 5 {
			endpoints[b[2]] = b[3]
		}
	}
	if len(endpoints) != 3 || endpoints[0x83] != 3 || endpoints[0x81] != 2 || endpoints[0x02] != 2 {
		t.Errorf("endpoints: %v", endpoints)
	}
	for n, want := range map[uint16]string{1: "Cuff", 2: "BP-1"} {
		b, st := h.Get(0x80, 6, 0x0300|n, 0x0409, 255)
		if got := strings.ReplaceAll(string(b[2:]), "\x00", ""); st != 0 || got != want {
			t.Errorf("string %d: %q, %v", n, got, st)
		}
	}
	if _, st := h.Get(0x80, 6, 0x0303, 0x0409, 255); st != syscall.EPIPE {
		t.Errorf("a string that there isn't: %v", st)
	}
}

func TestLineCoding(t *testing.T) {
	p := port(nil)
	h := plug(t, p)
	coding := []byte{0x00, 0x4b, 0, 0, 0, 1, 8}
	if st := h.Set(0x21, 0x20, 0, 0, coding); st != 0 || p.Setting() != "19200 8O1" {
		t.Errorf("set: %v, %q", st, p.Setting())
	}
	if got, st := h.Get(0x21, 0x21, 0, 0, 7); st != 0 || !bytes.Equal(got, coding) {
		t.Errorf("get: % x, %v", got, st)
	}
	if st := h.Set(0x21, 0x20, 0, 0, []byte{1, 0, 0, 0, 9, 9, 9}); st != 0 || p.Setting() != "" {
		t.Errorf("nonsense: %v, %q", st, p.Setting())
	}
	if st := h.Set(0x21, 0x22, 3, 0, nil); st != 0 { // DTR and RTS
		t.Errorf("control lines: %v", st)
	}
	if st := h.Set(0x21, 0x42, 0, 0, nil); st != syscall.EPIPE {
		t.Errorf("unknown: %v", st)
	}
}

func TestBytes(t *testing.T) {
	var got []byte
	p := port(func(b []byte) { got = append(got, b...) })
	h := plug(t, p)
	h.Submit(2, usbip.Setup{}, 3, []byte("abc"))
	if r := h.Reply(usbiptest.Out); r.Status != 0 || string(got) != "abc" {
		t.Errorf("sent: %+v, %q arrived", r, got)
	}
	// Written while nobody reads: as much as the chip holds waits, in order.
	long := make([]byte, 600)
	for i := range long {
		long[i] = byte(i)
	}
	p.Write(long[:300])
	p.Write(long[300:])
	got = nil
	for len(got) < 512 {
		h.Submit(1, usbip.Setup{}, 512, nil)
		r := h.Reply(usbiptest.In)
		got = append(got, r.Data...)
	}
	// One packet may have left the chip for the wire before the rest came.
	if n := len(got); n > 512+63 || !bytes.Equal(got, long[:n]) {
		t.Errorf("%d bytes came, or not in order", n)
	}
	h.Unplug()
	p.Write([]byte("lost with the cable"))
	h = plug(t, p)
	p.Write([]byte("again"))
	h.Submit(1, usbip.Setup{}, 512, nil)
	if r := h.Reply(usbiptest.In); string(r.Data) != "again" {
		t.Errorf("after it was plugged in again: %q", r.Data)
	}
}
