package evdev

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	codes "github.com/holoplot/go-evdev"

	"telecart/device"
)

const keyBytes = (codes.KEY_MAX + 8) / 8 // a bit for every key code there can be

// Requests of linux/input.h: EVIOCGKEY and EVIOCGBIT carry the length of the answer.
const (
	eviocGName    = 2<<30 | 256<<16 | 'E'<<8 | 0x06
	eviocGKey     = 2<<30 | keyBytes<<16 | 'E'<<8 | 0x18
	eviocGBitKey  = 2<<30 | keyBytes<<16 | 'E'<<8 | 0x20 + codes.EV_KEY
	eviocGrab     = 1<<30 | 4<<16 | 'E'<<8 | 0x90
	eviocSClockID = 1<<30 | 4<<16 | 'E'<<8 | 0xa0
)

// kernel is a real node.
type kernel struct {
	file *os.File
	path string
	own  string
	keys [keyBytes]byte
}

// newKernel asks the node who it is, and has it stamp its events with the monotonic clock: a gap between two keys must not
// grow because the wall clock was set.
func newKernel(f *os.File, path string) (*kernel, error) {
	k := &kernel{file: f, path: path}
	var name [256]byte
	err := errors.Join(k.ask(eviocGBitKey, k.keys[:]), k.ask(eviocGName, name[:]))
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
		return nil, fmt.Errorf("%w: %s", ErrNotKeys, path)
	}
	if err != nil {
		return nil, k.fail("describe", err)
	}
	if k.keys == [keyBytes]byte{} {
		return nil, fmt.Errorf("%w: %s has none", ErrNotKeys, path)
	}
	k.own = clean(unix.ByteSliceToString(name[:]))
	if err := k.ioctl(func(fd int) error { return unix.IoctlSetPointerInt(fd, eviocSClockID, unix.CLOCK_MONOTONIC) }); err != nil {
		return nil, k.fail("set the clock of", err)
	}
	return k, nil
}

func (k *kernel) name() string { return k.own }
func (k *kernel) has(code uint16) bool {
	return int(code) < 8*keyBytes && k.keys[code/8]&(1<<(code%8)) != 0
}

func (k *kernel) held() (bool, error) {
	var down [keyBytes]byte
	if err := k.ask(eviocGKey, down[:]); err != nil {
		return false, k.fail("read the keys of", err)
	}
	return down != [keyBytes]byte{}, nil
}

func (k *kernel) grab() error {
	err := k.ioctl(func(fd int) error { return unix.IoctlSetInt(fd, eviocGrab, 1) })
	if errors.Is(err, unix.EBUSY) {
		return device.Fault{Health: device.Health{State: device.Faulty, Reason: Busy},
			Err: fmt.Errorf("evdev: another program has grabbed %s", k.path)}
	}
	return k.fail("grab", err)
}

func (k *kernel) release() error {
	return k.fail("release", k.ioctl(func(fd int) error { return unix.IoctlSetInt(fd, eviocGrab, 0) }))
}

func (k *kernel) fail(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("%w: %s", ErrGone, k.path)
	}
	return fmt.Errorf("evdev: %s %s: %w", what, k.path, err)
}

// ask fills b with the answer to a request.
func (k *kernel) ask(request uintptr, b []byte) error {
	return k.ioctl(func(fd int) error {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(&b[0])))
		if errno != 0 {
			return errno
		}
		return nil
	})
}

// ioctl leaves the file in the runtime's poller, from which os.File.Fd could take it.
func (k *kernel) ioctl(call func(fd int) error) error {
	conn, err := k.file.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := conn.Control(func(fd uintptr) { result = call(int(fd)) }); err != nil {
		return err
	}
	return result
}
