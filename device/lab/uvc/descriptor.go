package uvc

import (
	"encoding/binary"

	"telecart/device/lab/usbip"
)

// Descriptor types and sizes below: USB 2.0, 9.6; UVC 1.1, 3.2 to 3.10 and tables; UVC 1.1 MJPEG payload, 3.1;
// UVC 1.1 frame-based payload, 3.1.
const (
	idCamera, idProcessing, idOutput, idCoded = 1, 2, 3, 4 // entities, ours to choose
	ifControl, ifStream, ifCoded              = 0, 1, 2
	epStatus, epVideo, epCoded                = 1, 2, 3 // all IN

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

// format is a payload format.
type format int

const (
	mjpeg format = iota
	h264
)

// formats are those of a streaming interface, in the order of their indices; nil if there is no such interface.
func (c *Camera) formats(intf byte) []format {
	switch {
	case intf == ifStream && c.coder == SameNode:
		return []format{mjpeg, h264}
	case intf == ifStream:
		return []format{mjpeg}
	case intf == ifCoded && c.coder == OwnNode:
		return []format{h264}
	}
	return nil
}

func endpoint(intf byte) byte { return intf + epVideo - ifStream }

// guidH264 is what uvcvideo knows the format by (linux/usb/uvc.h, UVC_GUID_FORMAT_H264).
const guidH264 = "H264\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"

// describe is a format's descriptors: its own, and one for each size.
func (f format) describe(index int) []byte {
	var rates []byte
	for _, i := range intervals() {
		rates = le.AppendUint32(rates, i)
	}
	var b []byte
	if f == h264 {
		b = desc(0x24, 0x10, index, len(sizes()), []byte(guidH264), 0, 1, 0, 0, 0, 0, 1) // the last: frames differ in size
	} else {
		b = desc(0x24, 0x06, index, len(sizes()), 0, 1, 0, 0, 0, 0)
	}
	for i, s := range sizes() {
		w, h, slow, fast := uint16(s.Width), uint16(s.Height), s.maxBytes()*80, s.maxBytes()*240
		if f == h264 {
			b = append(b, desc(0x24, 0x11, i+1, 0, w, h, slow, fast, intervals()[0], len(intervals()), uint32(0), rates)...)
		} else {
			b = append(b, desc(0x24, 0x07, i+1, 0, w, h, slow, fast, s.maxBytes(), intervals()[0], len(intervals()), rates)...)
		}
	}
	return append(b, desc(0x24, 0x0d, 1, 1, 4)...) // colours: BT.709, SMPTE 170M matrix
}

// streaming is a streaming interface: its descriptors, the class's own, and its bulk endpoint, in alternate setting 0.
func (c *Camera) streaming(intf, terminal byte) []byte {
	const none = uint16(0)
	var b []byte
	formats := c.formats(intf)
	for i, f := range formats {
		b = append(b, f.describe(i+1)...)
	}
	// Both trigger bytes are 1: a hardware button whose use is the host's affair. Then a byte of controls for each
	// format: none.
	class := descOver(4, b, 0x24, 0x01, len(formats), none, 0x80|endpoint(intf), 0, terminal, 0, 1, 1, 1, make([]byte, len(formats)))
	b = append(desc(4, intf, 0, 1, 0x0e, 2, 0, 0), class...)
	return append(b, desc(5, 0x80|endpoint(intf), 2, uint16(512), 0)...)
}

func (c *Camera) configuration() []byte {
	var has [3][3]byte // bmControls by entity
	for _, k := range c.controls {
		has[k.unit][k.bit/8] |= 1 << (k.bit % 8)
	}
	const none = uint16(0)
	streams := []byte{ifStream}
	var b []byte
	add := func(d []byte) { b = append(b, d...) }

	// The class's own descriptors of the control interface: camera -> processing unit -> USB, once or twice.
	add(desc(0x24, 0x02, idCamera, uint16(0x0201), 0, 0, none, none, none, 3, has[idCamera][:]))
	add(desc(0x24, 0x05, idProcessing, idCamera, none, 2, has[idProcessing][:2], 0, 0))
	add(desc(0x24, 0x03, idOutput, uint16(0x0101), 0, idProcessing, 0))
	if c.coder == OwnNode {
		streams = append(streams, ifCoded)
		add(desc(0x24, 0x03, idCoded, uint16(0x0101), 0, idProcessing, 0))
	}
	control := descOver(5, b, 0x24, 0x01, uint16(0x0110), none, uint32(clockHz), len(streams), streams)

	// All together.
	b = nil
	add(desc(0x0b, ifControl, 1+len(streams), 0x0e, 3, 0, 0)) // a name here would be added to the product's
	add(desc(4, ifControl, 0, 1, 0x0e, 1, 0, 0))
	add(control)
	add(desc(5, 0x80|epStatus, 3, uint16(16), 8))
	add(desc(0x25, 3, uint16(16)))
	add(c.streaming(ifStream, idOutput))
	if c.coder == OwnNode {
		add(c.streaming(ifCoded, idCoded))
	}
	return descOver(2, b, 2, none, 1+len(streams), 1, 0, 0x80, 250)
}

func (c *Camera) descriptor(kind, index byte) ([]byte, error) {
	switch {
	case kind == 1: // class EF/02/01: there is an interface association
		serial := 3
		if c.serial == "" {
			serial = 0
		}
		return desc(1, uint16(0x0200), 0xef, 2, 1, 64, uint16(0x1d6b), uint16(0x0102), uint16(0x0100), 1, 2, serial, 1), nil
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
