package usbip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
)

// USB/IP messages (Linux Documentation/usb/usbip_protocol.rst). All have a 48-byte big-endian head; only the setup packet
// in it is little-endian, as on the wire of USB itself.
const (
	headSize = 48

	cmdSubmit = 1
	cmdUnlink = 2
	retSubmit = 3
	retUnlink = 4

	maxTransfer = 1 << 20    // bytes; uvcvideo's largest bulk buffer is 16 KiB
	notIso      = 0xffffffff // number of packets of a transfer that isn't isochronous; older kernels say 0
)

// ErrProtocol: the host side sent what is not USB/IP, or a kind of transfer that no emulated device here has.
var ErrProtocol = errors.New("usbip: protocol error")

// Setup is the packet that begins a control transfer (USB 2.0, 9.3).
type Setup struct {
	Type    byte // bit 7: to the host; bits 6..5: standard, class, vendor; bits 4..0: device, interface, endpoint
	Request byte
	Value   uint16
	Index   uint16
	Length  uint16
}

// In says that the data go to the host.
func (s Setup) In() bool { return s.Type&0x80 != 0 }

// Standard says that the request is one every device has, not one of a class or a vendor.
func (s Setup) Standard() bool { return s.Type&0x60 == 0 }

// request is a CMD_SUBMIT, or a CMD_UNLINK of the transfer victim.
type request struct {
	cmd    uint32
	seq    uint32
	in     bool
	ep     uint32
	size   int // of the host's buffer; for OUT as much data follows the head
	setup  Setup
	victim uint32
}

func parseRequest(h *[headSize]byte) (request, error) {
	word := func(at int) uint32 { return binary.BigEndian.Uint32(h[at:]) }
	r := request{cmd: word(0), seq: word(4), ep: word(16)}
	switch r.cmd {
	case cmdUnlink:
		r.victim = word(20)
		return r, nil
	case cmdSubmit:
	default:
		return r, fmt.Errorf("%w: command %d", ErrProtocol, r.cmd)
	}
	direction, size, packets := word(12), word(24), word(32)
	switch {
	case direction > 1:
		return r, fmt.Errorf("%w: direction %d", ErrProtocol, direction)
	case r.ep > 15:
		return r, fmt.Errorf("%w: endpoint %d", ErrProtocol, r.ep)
	case size > maxTransfer:
		return r, fmt.Errorf("%w: transfer of %d bytes", ErrProtocol, size)
	case packets != 0 && packets != notIso:
		return r, fmt.Errorf("%w: isochronous transfer", ErrProtocol)
	}
	le := binary.LittleEndian
	r.in, r.size = direction == 1, int(size)
	r.setup = Setup{h[40], h[41], le.Uint16(h[42:]), le.Uint16(h[44:]), le.Uint16(h[46:])}
	return r, nil
}

// reply is a RET_SUBMIT or RET_UNLINK: 0 or a negative errno, the number of bytes moved, and what goes to the host.
func reply(cmd, seq uint32, status syscall.Errno, moved int, data []byte) []byte {
	b := make([]byte, headSize, headSize+len(data))
	be := binary.BigEndian
	be.PutUint32(b, cmd)
	be.PutUint32(b[4:], seq)
	be.PutUint32(b[20:], -uint32(status))
	be.PutUint32(b[24:], uint32(moved))
	return append(b, data...)
}
