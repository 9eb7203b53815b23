package uvc

import (
	"encoding/binary"

	"telecart/device/lab/usbip"
)

// Descriptor types and sizes below: USB 2.0, 9.6; UVC 1.1, 3.2 to 3.10 and tables; UVC 1.1 MJPEG payload, 3.1.
const (
	idCamera, idProcessing, idOutput = 1, 2, 3 // entities, ours to choose
	ifControl, ifStream              = 0, 1
	epStatus, epVideo                = 1, 2 // both IN

	clockHz = 48_000_000
)

// Size is a picture's width and height in pixels.
type Size struct{ Width, Height int }

// maxBytes is what no frame of this size exceeds.
func (s Size) maxBytes() uint32 { return uint32(s.Width * s.Height * 2) }

// sizes and intervals (in 100 ns) are what the camera offers; both are indexed from 1 in descriptors.
func sizes() []Size       { return []Size{{640, 480}, {1280, 720}, {1920, 1080}} }
func intervals() []uint32 { return []uint32{333333, 666666, 1000000} }

var le = binary.LittleEndian

// desc builds a descriptor: its length in front, an int as one byte, the rest little-endian.
func desc(parts ...any) []byte { return descOver(0, nil, parts...) }

// descOver builds a descriptor with those that follow it, and puts the length of them all at offset total.
func descOver(total int, follow []byte, parts ...any) []byte {
	b := []byte{0}
	for _, p := range parts {
		if n, ok := p.(int); ok {
			p = byte(n)
		}
		b, _ = binary.Append(b, le, p) // fails only for types that have no fixed size: none here
	}
	b[0] = byte(len(b))
	b = append(b, follow...)
	if total > 0 {
		le.PutUint16(b[total:], uint16(len(b)))
	}
	return b
}

func (c *Camera) configuration() []byte {
	var has [3][3]byte // bmControls by entity
	for _, k := range c.controls {
		has[k.unit][k.bit/8] |= 1 << (k.bit % 8)
	}
	var rates []byte
	for _, i := range intervals() {
		rates = le.AppendUint32(rates, i)
	}
	const none = uint16(0)
	var b []byte
	add := func(d []byte) { b = append(b, d...) }

	// The class's own descriptors of the control interface: camera -> processing unit -> USB.
	add(desc(0x24, 0x02, idCamera, uint16(0x0201), 0, 0, none, none, none, 3, has[idCamera][:]))
	add(desc(0x24, 0x05, idProcessing, idCamera, none, 2, has[idProcessing][:2], 0, 0))
	add(desc(0x24, 0x03, idOutput, uint16(0x0101), 0, idProcessing, 0))
	control := descOver(5, b, 0x24, 0x01, uint16(0x0110), none, uint32(clockHz), 1, ifStream)

	// Those of the streaming interface: one format, MJPEG.
	b = nil
	add(desc(0x24, 0x06, 1, len(sizes()), 0, 1, 0, 0, 0, 0))
	for i, s := range sizes() {
		add(desc(0x24, 0x07, i+1, 0, uint16(s.Width), uint16(s.Height), s.maxBytes()*80, s.maxBytes()*240, s.maxBytes(),
			intervals()[0], len(intervals()), rates))
	}
	add(desc(0x24, 0x0d, 1, 1, 4)) // colours: BT.709, SMPTE 170M matrix
	// Both trigger bytes are 1: a hardware button whose use is the host's affair.
	stream := descOver(4, b, 0x24, 0x01, 1, none, 0x80|epVideo, 0, idOutput, 0, 1, 1, 1, 0)

	// All together. The video endpoint is bulk, in alternate setting 0.
	b = nil
	add(desc(0x0b, ifControl, 2, 0x0e, 3, 0, 0)) // a name here would be added to the product's
	add(desc(4, ifControl, 0, 1, 0x0e, 1, 0, 0))
	add(control)
	add(desc(5, 0x80|epStatus, 3, uint16(16), 8))
	add(desc(0x25, 3, uint16(16)))
	add(desc(4, ifStream, 0, 1, 0x0e, 2, 0, 0))
	add(stream)
	add(desc(5, 0x80|epVideo, 2, uint16(512), 0))
	return descOver(2, b, 2, none, 2, 1, 0, 0x80, 250)
}

func (c *Camera) descriptor(kind, index byte) ([]byte, error) {
	switch {
	case kind == 1: // class EF/02/01: there is an interface association
		return desc(1, uint16(0x0200), 0xef, 2, 1, 64, uint16(0x1d6b), uint16(0x0102), uint16(0x0100), 1, 2, 3, 1), nil
	case kind == 2:
		return c.configuration(), nil
	case kind == 3 && index == 0:
		return desc(3, uint16(0x0409)), nil
	case kind == 3 && index < 4:
		var s []byte
		for _, r := range []string{"", "Lab", "Lab Camera", c.serial}[index] {
			s = le.AppendUint16(s, uint16(r))
		}
		return desc(3, s), nil
	}
	return nil, usbip.ErrStall
}
