// Package usbiptest is a scripted host for testing device models without a kernel: what vhci_hcd would be.
package usbiptest

import (
	"encoding/binary"
	"io"
	"net"
	"syscall"
	"testing"

	"telecart/device/lab/usbip"
)

// Host is the host's end of a cable. Its methods fail the test on anything that isn't USB/IP.
type Host struct {
	Port *usbip.Port
	t    testing.TB
	sock net.Conn
	seq  uint32
}

// Reply is what came back for a transfer: RET_SUBMIT (3) or RET_UNLINK (4).
type Reply struct {
	Command uint32
	Seq     uint32
	Status  syscall.Errno
	Moved   int
	Data    []byte
}

// Plug connects a device model to a scripted host. The cable is pulled when the test ends.
func Plug(t testing.TB, h usbip.Handler) *Host {
	t.Helper()
	here, there := net.Pipe()
	host := &Host{Port: usbip.Serve(there, h), t: t, sock: here}
	t.Cleanup(host.Unplug)
	return host
}

// Unplug pulls the cable and waits until the device has noticed.
func (h *Host) Unplug() {
	h.sock.Close()
	<-h.Port.Done()
}

// Submit starts a transfer without waiting for its answer and returns its number.
func (h *Host) Submit(ep uint32, s usbip.Setup, size int, out []byte) (seq uint32) {
	h.t.Helper()
	h.seq++
	b := make([]byte, 48, 48+len(out))
	be, le := binary.BigEndian, binary.LittleEndian
	be.PutUint32(b, 1)
	be.PutUint32(b[4:], h.seq)
	if out == nil {
		be.PutUint32(b[12:], 1)
	}
	be.PutUint32(b[16:], ep)
	be.PutUint32(b[24:], uint32(size))
	b[40], b[41] = s.Type, s.Request
	le.PutUint16(b[42:], s.Value)
	le.PutUint16(b[44:], s.Index)
	le.PutUint16(b[46:], s.Length)
	h.Write(append(b, out...))
	return h.seq
}

// Unlink asks to cancel a transfer.
func (h *Host) Unlink(victim uint32) (seq uint32) {
	h.t.Helper()
	h.seq++
	b := make([]byte, 48)
	binary.BigEndian.PutUint32(b, 2)
	binary.BigEndian.PutUint32(b[4:], h.seq)
	binary.BigEndian.PutUint32(b[20:], victim)
	h.Write(b)
	return h.seq
}

// Write sends bytes as they are.
func (h *Host) Write(b []byte) {
	h.t.Helper()
	if _, err := h.sock.Write(b); err != nil {
		h.t.Fatalf("usbiptest: write: %v", err)
	}
}

// Reply reads the next answer. in says whether data follow a RET_SUBMIT: the host knows from what it asked.
func (h *Host) Reply(in Direction) Reply {
	h.t.Helper()
	b := make([]byte, 48)
	if _, err := io.ReadFull(h.sock, b); err != nil {
		h.t.Fatalf("usbiptest: read: %v", err)
	}
	be := binary.BigEndian
	r := Reply{Command: be.Uint32(b), Seq: be.Uint32(b[4:]), Status: syscall.Errno(-be.Uint32(b[20:])), Moved: int(be.Uint32(b[24:]))}
	if in == In && r.Command == 3 {
		r.Data = make([]byte, r.Moved)
		if _, err := io.ReadFull(h.sock, r.Data); err != nil {
			h.t.Fatalf("usbiptest: read data: %v", err)
		}
	}
	return r
}

// Direction of a transfer.
type Direction int

const (
	Out Direction = iota
	In
)

// Get makes a control transfer to the host of at most n bytes. Status is 0 or EPIPE, a stall.
func (h *Host) Get(typ, req byte, value, index uint16, n int) ([]byte, syscall.Errno) {
	h.t.Helper()
	h.Submit(0, usbip.Setup{Type: typ | 0x80, Request: req, Value: value, Index: index, Length: uint16(n)}, n, nil)
	r := h.Reply(In)
	return r.Data, r.Status
}

// Set makes a control transfer to the device.
func (h *Host) Set(typ, req byte, value, index uint16, data []byte) syscall.Errno {
	h.t.Helper()
	if data == nil {
		data = []byte{}
	}
	h.Submit(0, usbip.Setup{Type: typ, Request: req, Value: value, Index: index, Length: uint16(len(data))}, len(data), data)
	return h.Reply(Out).Status
}
