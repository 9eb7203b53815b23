// Package pty is a serial line without hardware: a pseudo-terminal whose far end a twin holds.
//
// Parties: a twin opens one, and tells its Path to whoever opens serial ports.
//
// Invariants: the line is raw from the beginning, so that nothing sent before it is opened is echoed back. What the
// receiver has no room for is lost, as on a real line. Parity and speed are not modelled: the kernel ignores them here.
package pty

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Line is the twin's end.
type Line struct {
	f    *os.File
	path string
}

// Open makes a line.
func Open() (_ *Line, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("pty: open /dev/ptmx: %w", err)
	}
	f := os.NewFile(uintptr(fd), "/dev/ptmx") // non-blocking, so a read waits without a thread and ends with Close
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("pty: %w", err), f.Close())
		}
	}()
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, err
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, err
	}
	raw, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, err
	}
	raw.Iflag, raw.Oflag, raw.Lflag = 0, 0, 0
	raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8 | unix.CREAD | unix.CLOCAL
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, raw); err != nil {
		return nil, err
	}
	return &Line{f, fmt.Sprintf("/dev/pts/%d", n)}, nil
}

// Path is the serial port, which any program can open.
func (l *Line) Path() string { return l.path }

// Write sends. Nobody may be reading: what doesn't fit is dropped, and that is no error.
func (l *Line) Write(b []byte) (int, error) {
	raw, err := l.f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var werr error
	err = raw.Write(func(fd uintptr) bool {
		_, werr = unix.Write(int(fd), b)
		return true
	})
	if werr == unix.EAGAIN {
		werr = nil
	}
	return len(b), errors.Join(err, werr)
}

// Read waits for what the port's user sent. While nobody has the port open it fails with EIO: ask again later.
func (l *Line) Read(b []byte) (int, error) { return l.f.Read(b) }

// Close pulls the cable: the port hangs up. It may be called again.
func (l *Line) Close() error {
	if err := l.f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("pty: %w", err)
	}
	return nil
}
