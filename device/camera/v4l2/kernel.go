package v4l2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"unsafe"

	"golang.org/x/sys/unix"
)

// node is an open /dev/videoN.
type node interface {
	ioctl(req uint, arg unsafe.Pointer) error
	mmap(offset int64, length int) ([]byte, error) // unmapped by Close
	wait(ctx context.Context) error                // until there is something to dequeue, or the node is in error
	io.Closer
}

// kernelNode is a real one. It is not an os.File: the runtime would add it to its epoll set, and polling a node that
// has no buffers yet starts the kernel's read() emulation, which then holds the stream (videobuf2-core.c, vb2_core_poll).
type kernelNode struct {
	fd, wake int
	maps     [][]byte
}

func openNode(path string) (node, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return nil, fmt.Errorf("%w: no %s", ErrUnplugged, path)
	case errors.Is(err, unix.EBUSY):
		return nil, fmt.Errorf("%w (%s)", ErrBusy, path)
	case err != nil:
		return nil, fmt.Errorf("v4l2: open %s: %w", path, err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("v4l2: eventfd: %w", err)
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

func (n *kernelNode) mmap(offset int64, length int) ([]byte, error) {
	b, err := unix.Mmap(n.fd, offset, length, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err == nil {
		n.maps = append(n.maps, b)
	}
	return b, err
}

func (n *kernelNode) wait(ctx context.Context) error {
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
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		fds := []unix.PollFd{{Fd: int32(n.fd), Events: unix.POLLIN}, {Fd: int32(n.wake), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return fmt.Errorf("v4l2: poll: %w", err)
		}
		if fds[0].Revents != 0 {
			return ctx.Err()
		}
	}
}

func (n *kernelNode) Close() error {
	var errs []error
	for _, m := range n.maps {
		errs = append(errs, unix.Munmap(m))
	}
	n.maps = nil
	return errors.Join(append(errs, unix.Close(n.fd), unix.Close(n.wake))...)
}

// failed names what was tried and recognises a camera that is gone.
func failed(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Errorf("%w (%s)", ErrUnplugged, what)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w (%s)", ErrBusy, what)
	}
	return fmt.Errorf("v4l2: %s: %w", what, err)
}
