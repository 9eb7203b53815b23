package alsa

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// node is an open file under /dev/snd.
type node interface {
	ioctl(req uint, arg unsafe.Pointer) error
	read(p []byte) (int, error)
	write(p []byte) (int, error)
	wait(ctx context.Context, events int16, limit time.Duration) error // until there is something to read, or the node is in error
	io.Closer
}

// kernelNode is a real one. It is not an os.File: a waiting Read is to end with its context, and nothing else.
type kernelNode struct{ fd, wake int }

func openNode(path string) (node, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return nil, fmt.Errorf("%w: no %s", ErrUnplugged, path)
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EAGAIN):
		return nil, fmt.Errorf("%w (%s)", ErrBusy, path)
	case err != nil:
		return nil, fmt.Errorf("alsa: open %s: %w", path, err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("alsa: eventfd: %w", err), unix.Close(fd))
	}
	return &kernelNode{fd: fd, wake: wake}, nil
}

func (n *kernelNode) ioctl(req uint, arg unsafe.Pointer) error {
	for {
		_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(n.fd), uintptr(req), uintptr(arg))
		switch e {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return e
		}
	}
}

func (n *kernelNode) read(p []byte) (int, error)  { return unix.Read(n.fd, p) }
func (n *kernelNode) write(p []byte) (int, error) { return unix.Write(n.fd, p) }

func (n *kernelNode) wait(ctx context.Context, events int16, limit time.Duration) error {
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		unix.Write(n.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		close(woken)
	})
	defer func() {
		if !stop() { // it writes, or has written: afterwards the next wait must find the counter at 0
			<-woken
			unix.Read(n.wake, make([]byte, 8))
		}
	}()
	for end := time.Now().Add(limit); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		fds := []unix.PollFd{{Fd: int32(n.fd), Events: events}, {Fd: int32(n.wake), Events: unix.POLLIN}}
		ready, err := unix.Poll(fds, int(max(0, time.Until(end).Milliseconds()+1)))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return fmt.Errorf("alsa: poll: %w", err)
		case ready == 0:
			return fmt.Errorf("%w: nothing came within %v", ErrStalled, limit)
		case fds[0].Revents != 0:
			return ctx.Err()
		}
	}
}

func (n *kernelNode) Close() error { return errors.Join(unix.Close(n.fd), unix.Close(n.wake)) }

// failed names what was tried and recognises a microphone that is gone.
func failed(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Errorf("%w (%s)", ErrUnplugged, what)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w (%s)", ErrBusy, what)
	}
	return fmt.Errorf("alsa: %s: %w", what, err)
}
