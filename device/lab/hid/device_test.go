package hid_test

import (
	"bytes"
	"errors"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"telecart/device/lab/hid"
	"telecart/device/lab/usbip"
	"telecart/device/lab/usbip/usbiptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDevice(t *testing.T) {
	report := []byte{0x05, 0x8D, 0x09, 0x20, 0xA1, 0x01, 0xC0}
	d := hid.New(usbip.Identity{Vendor: 0x0922, Product: 0x8003, Name: "Scale", Serial: "SC-1"}, hid.Other, report)
	if err := d.Send([]byte{1}); !errors.Is(err, hid.ErrOut) {
		t.Errorf("before it was plugged in: %v", err)
	}
	h := usbiptest.Plug(t, d.Handle)
	config, _ := h.Get(0x80, 6, 0x0200, 0, 255)
	own, st := h.Get(0x81, 6, 0x2100, 0, 9)
	if st != 0 || len(config) != 34 || !bytes.Equal(config[18:27], own) || own[7] != byte(len(report)) || config[14] != 3 || config[15] != 0 {
		t.Errorf("configuration % x, HID descriptor % x, %v", config, own, st)
	}
	if b, st := h.Get(0x81, 6, 0x2200, 0, 255); st != 0 || !bytes.Equal(b, report) {
		t.Errorf("report descriptor: % x, %v", b, st)
	}
	if st := h.Set(0x21, 0x0A, 0, 0, nil); st != 0 {
		t.Errorf("SET_IDLE: %v", st)
	}
	if _, st := h.Get(0x21, 0x01, 0x0100, 0, 8); st != syscall.EPIPE {
		t.Errorf("GET_REPORT: %v", st)
	}
	if st := h.Set(0x00, 9, 1, 0, nil); st != 0 {
		t.Fatalf("SET_CONFIGURATION: %v", st)
	}
	sent := make(chan error, 1)
	go func() { sent <- d.Send([]byte{3, 4, 3}) }()
	h.Submit(1, usbip.Setup{}, 64, nil)
	if r := h.Reply(usbiptest.In); !bytes.Equal(r.Data, []byte{3, 4, 3}) || <-sent != nil {
		t.Errorf("report: % x", r.Data)
	}
	go func() { sent <- d.Send([]byte{3}) }()
	h.Unplug()
	if err := <-sent; !errors.Is(err, usbip.ErrStopped) {
		t.Errorf("unplugged: %v", err)
	}
}

func TestKeyboard(t *testing.T) {
	d := hid.New(usbip.Identity{}, hid.Keyboard, []byte{1})
	h := usbiptest.Plug(t, d.Handle)
	if config, _ := h.Get(0x80, 6, 0x0200, 0, 255); config[15] != 1 || config[16] != 1 {
		t.Errorf("no boot keyboard: % x", config)
	}
}
