// Package hid emulates a device of the USB class for human interfaces (a scale, a keyboard), for the kernel's own usbhid: a
// real /dev/hidrawN, and /dev/input/eventN if it has keys.
//
// Parties: what the device is writes its reports; the kernel's driver is the host.
//
// Invariants: a report is handed over whole, and only while somebody has a node of the device open: otherwise the kernel doesn't
// ask for any. A device outlives its cable.
//
// Source: USB HID 1.11, 6.2 and 7.2.
package hid

import (
	"errors"
	"sync"

	"telecart/device/lab/usbip"
)

const (
	epIn = 1

	kindHID    = 0x21
	kindReport = 0x22
)

// ErrOut: the cable is not in.
var ErrOut = errors.New("hid: not plugged in")

// Device is one device.
type Device struct {
	usb    usbip.Descriptors
	hid    []byte
	report []byte

	mu   sync.Mutex
	pipe *usbip.Pipe
}

// Role is what the boot protocol makes of a device; none, for most.
type Role byte

const (
	Other    Role = 0
	Keyboard Role = 1
)

// New makes a device with a report descriptor.
func New(id usbip.Identity, role Role, report []byte) *Device {
	own := []byte{9, kindHID, 0x11, 0x01, 0, 1, kindReport, byte(len(report)), byte(len(report) >> 8)}
	boot := byte(0)
	if role != Other {
		boot = 1
	}
	rest := append([]byte{9, 4, 0, 0, 1, 3, boot, byte(role), 0}, own...)
	rest = append(rest, 7, 5, 0x80|epIn, 3, 64, 0, 10)
	return &Device{usb: id.Descriptors(0, 1, rest), hid: own, report: report}
}

// Handle is the device's usbip.Handler.
func (d *Device) Handle(cable *usbip.Port, s usbip.Setup, _ []byte) ([]byte, error) {
	switch {
	case s.Standard() && s.Request == usbip.SetConfiguration:
		d.mu.Lock()
		defer d.mu.Unlock()
		d.pipe = cable.Open(epIn)
	case s.Standard() && s.Request == usbip.GetDescriptor && s.Value>>8 == kindReport:
		return d.report, nil
	case s.Standard() && s.Request == usbip.GetDescriptor && s.Value>>8 == kindHID:
		return d.hid, nil
	case s.Standard():
		return d.usb.Standard(s)
	case s.In(): // reports come by themselves
		return nil, usbip.ErrStall
	}
	return nil, nil // SET_IDLE, SET_PROTOCOL, SET_REPORT for the lamps of a keyboard
}

// Send waits until the host has taken a report.
func (d *Device) Send(report []byte) error {
	d.mu.Lock()
	pipe := d.pipe
	d.mu.Unlock()
	if pipe == nil {
		return ErrOut
	}
	return pipe.Send(report)
}
