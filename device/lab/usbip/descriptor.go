package usbip

import (
	"encoding/binary"
	"unicode/utf16"
)

// Descriptors answer the standard requests that every device gets (USB 2.0, 9.4).
type Descriptors struct {
	Device        []byte
	Configuration []byte
	Strings       []string // number 1 is the first
}

// Standard requests and kinds of descriptors.
const (
	GetDescriptor    = 6
	SetConfiguration = 9

	kindDevice        = 1
	kindConfiguration = 2
	kindString        = 3
)

// Standard answers a standard request.
func (d Descriptors) Standard(s Setup) ([]byte, error) {
	switch s.Request {
	case 0: // GET_STATUS
		return []byte{0, 0}, nil
	case 1, 3, 5, SetConfiguration, 11: // CLEAR_FEATURE, SET_FEATURE, SET_ADDRESS, SET_INTERFACE
		return nil, nil
	case GetDescriptor:
		switch kind, n := s.Value>>8, int(s.Value&0xff); {
		case kind == kindDevice:
			return d.Device, nil
		case kind == kindConfiguration:
			return d.Configuration, nil
		case kind == kindString && n == 0:
			return []byte{4, kindString, 0x09, 0x04}, nil // in American English
		case kind == kindString && n <= len(d.Strings):
			return text(d.Strings[n-1]), nil
		}
	}
	return nil, ErrStall
}

// text is a string descriptor (USB 2.0, 9.6.7).
func text(s string) []byte {
	b := []byte{0, kindString}
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	b[0] = byte(len(b))
	return b
}

// Identity is what a device says of itself.
type Identity struct {
	Vendor, Product uint16
	Name, Serial    string
}

// Descriptors describes a full-speed device of USB 1.1 of a class, with its configuration: all interfaces and endpoints in one
// blob, without the configuration descriptor's own nine bytes.
func (id Identity) Descriptors(class, interfaces byte, rest []byte) Descriptors {
	le := binary.LittleEndian
	device := []byte{18, kindDevice, 0x10, 0x01, class, 0, 0, 64}
	device = le.AppendUint16(le.AppendUint16(device, id.Vendor), id.Product)
	config := le.AppendUint16([]byte{9, kindConfiguration}, uint16(9+len(rest)))
	return Descriptors{
		Device:        append(device, 0x00, 0x01, 0, 1, 2, 1), // release 1.0; no maker's name, name, serial number; one configuration
		Configuration: append(append(config, interfaces, 1, 0, 0x80, 50), rest...),
		Strings:       []string{id.Name, id.Serial},
	}
}
