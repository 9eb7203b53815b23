package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	codes "github.com/holoplot/go-evdev"

	"telecart/device/evdev"
)

// uinput is an input device that a program makes (linux/uinput.h). What it sends in one write, the kernel stamps with one time.
type uinput struct {
	f    *os.File
	node string // /dev/input/eventN
}

const (
	uiSetEvBit  = 1<<30 | 4<<16 | 'U'<<8 | 100
	uiSetKeyBit = 1<<30 | 4<<16 | 'U'<<8 | 101
	uiCreate    = 'U'<<8 | 1
	uiSysName   = 2<<30 | 64<<16 | 'U'<<8 | 44

	uinputUserDev = 80 + 8 + 4 + 4*4*64 // struct uinput_user_dev: name, identity, ff_effects_max, four tables of axes
)

// newUinput makes a device with keys.
func newUinput(name string, keys ...uint16) (u *uinput, err error) {
	f, err := os.OpenFile("/dev/uinput", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	call := func(request, arg uintptr) error {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, arg); errno != 0 {
			return fmt.Errorf("uinput: request %#x: %w", request, errno)
		}
		return nil
	}
	if err := call(uiSetEvBit, codes.EV_KEY); err != nil {
		return nil, err
	}
	for _, k := range keys {
		if err := call(uiSetKeyBit, uintptr(k)); err != nil {
			return nil, err
		}
	}
	dev := make([]byte, uinputUserDev)
	copy(dev, name)
	binary.NativeEndian.PutUint16(dev[80:], 3) // BUS_USB
	if _, err := f.Write(dev); err != nil {
		return nil, fmt.Errorf("uinput: %w", err)
	}
	if err := call(uiCreate, 0); err != nil {
		return nil, err
	}
	var sys [64]byte
	if err := call(uiSysName, uintptr(unsafe.Pointer(&sys))); err != nil {
		return nil, err
	}
	dir := "/sys/devices/virtual/input/" + string(sys[:clen(sys[:])])
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("uinput: %w", err)
	}
	for _, e := range entries {
		if len(e.Name()) > 5 && e.Name()[:5] == "event" {
			return &uinput{f, "/dev/input/" + e.Name()}, nil
		}
	}
	return nil, fmt.Errorf("uinput: no event node in %s", dir)
}

func clen(b []byte) int {
	for i, c := range b {
		if c == 0 {
			return i
		}
	}
	return len(b)
}

// keys moves a key, once for each value: 1 down, 0 up. All at one time.
func (u *uinput) keys(code uint16, values ...int32) error {
	var b []byte
	for _, v := range values {
		b = evdev.Event{Type: codes.EV_KEY, Code: code, Value: v}.Append(b)
		b = evdev.Event{Type: codes.EV_SYN, Code: codes.SYN_REPORT}.Append(b)
	}
	if _, err := u.f.Write(b); err != nil {
		return fmt.Errorf("uinput: %w", err)
	}
	return nil
}

// Close takes the device away.
func (u *uinput) Close() error { return u.f.Close() }
