package ad8232

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The GPIO character device, version 2 of its interface (linux/gpio.h, Documentation/userspace-api/gpio; kernel 5.10).
const (
	flagInput = 1 << 2 // GPIO_V2_LINE_FLAG_INPUT
	flagFall  = 1 << 5 // GPIO_V2_LINE_FLAG_EDGE_FALLING
	eventSize = 48     // struct gpio_v2_line_event
	eventRoom = 16     // edges that the kernel keeps for us: 64 ms at 250/s

	consumer  = "telecart-ecg"
	pollSlice = 100 * time.Millisecond // how long a wait may hold up a stop
	quietFor  = time.Second
)

// chardev opens lines of this machine.
type chardev struct{}

func (chardev) Pulses(l line) (pulses, error) {
	fd, err := request(l, flagInput|flagFall)
	if err != nil {
		return nil, err
	}
	return &linePulses{fd: fd, line: l}, nil
}

func (chardev) Level(l line) (level, error) {
	fd, err := request(l, flagInput)
	if err != nil {
		return nil, err
	}
	return &lineLevel{fd: fd, line: l}, nil
}

// request asks the kernel for one line. Bias is left as the device tree has it.
func request(l line, flags uint64) (fd int, err error) {
	chip, err := unix.Open("/dev/"+l.chip, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("%w %s: open /dev/%s: %w", ErrLine, l, l.chip, err)
	}
	defer unix.Close(chip)
	r := unix.GPIOV2LineRequest{Num_lines: 1, Event_buffer_size: eventRoom}
	r.Offsets[0] = l.offset
	copy(r.Consumer[:], consumer)
	r.Config.Flags = flags
	if err := ioctl(chip, unix.GPIO_V2_GET_LINE_IOCTL, unsafe.Pointer(&r)); err != nil {
		return -1, fmt.Errorf("%w %s: %w (EBUSY: something else uses it; EINVAL: there is no such line)", ErrLine, l, err)
	}
	unix.CloseOnExec(int(r.Fd))
	return int(r.Fd), nil
}

func ioctl(fd int, number uint, arg unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(number), uintptr(arg))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}

type linePulses struct {
	fd   int
	line line
}

// Next waits in slices, so that a stop is never held up for long.
func (p *linePulses) Next(ctx context.Context) (edge, error) {
	for waited := time.Duration(0); waited < quietFor; waited += pollSlice {
		if err := ctx.Err(); err != nil {
			return edge{}, err
		}
		polled := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(polled, int(pollSlice.Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR) || err == nil && n == 0:
			continue
		case err != nil:
			return edge{}, fmt.Errorf("%w %s: %w", ErrLine, p.line, err)
		case polled[0].Revents&unix.POLLIN == 0:
			return edge{}, fmt.Errorf("%w %s is gone", ErrLine, p.line)
		}
		var b [eventRoom * eventSize]byte
		n, err = unix.Read(p.fd, b[:])
		if err != nil && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return edge{}, fmt.Errorf("%w %s: %w", ErrLine, p.line, err)
		}
		if e, ok := newest(b[:max(n, 0)]); ok {
			return e, nil
		}
	}
	return edge{}, fmt.Errorf("%w %s for %s", errQuiet, p.line, quietFor)
}

func (p *linePulses) Close() error { return unix.Close(p.fd) }

// newest is the last falling edge of what was read.
func newest(b []byte) (e edge, ok bool) {
	for ; len(b) >= eventSize; b = b[eventSize:] {
		var v unix.GPIOV2LineEvent
		if err := binary.Read(bytes.NewReader(b[:eventSize]), binary.NativeEndian, &v); err != nil {
			return e, ok
		}
		if v.Id == unix.GPIO_V2_LINE_EVENT_FALLING_EDGE {
			e, ok = edge{n: v.Line_seqno, at: time.Duration(v.Timestamp_ns)}, true
		}
	}
	return e, ok
}

type lineLevel struct {
	fd   int
	line line
}

func (l *lineLevel) High() (bool, error) {
	v := unix.GPIOV2LineValues{Mask: 1}
	if err := ioctl(l.fd, unix.GPIO_V2_LINE_GET_VALUES_IOCTL, unsafe.Pointer(&v)); err != nil {
		return false, fmt.Errorf("%w %s: %w", ErrLine, l.line, err)
	}
	return v.Bits&1 != 0, nil
}

func (l *lineLevel) Close() error { return unix.Close(l.fd) }
