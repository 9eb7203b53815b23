// Package line is the serial cable that an instrument talks on.
//
// Parties: a driver's Machine, which is pure: bytes and time in, observations and answers out; Run, which opens the
// cable, feeds the machine and closes the cable again; the kernel's serial port.
//
// Invariants: a byte that was damaged on the way (parity, framing, a break) is never handed on as if it were good: it is
// counted in its place. A chunk without bytes means that the line was silent just before, because a read waited in vain;
// so silence is something seen, never a guess from the time between two reads of a busy machine. What is opened ToListen
// can't send. Nobody else can open the port meanwhile.
package line

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"telecart/device"
	"telecart/device/hotplug"
)

// ErrGone: the port was unplugged.
var ErrGone = errors.New("line: the serial port is gone")

// Health reasons of a port that can't be opened.
const (
	Busy         device.Reason = "busy"          // another program has it
	NoPermission device.Reason = "no-permission" //
)

// Wait is how long a read waits for a byte: how long a stop may take, and how short a silence can be seen.
const Wait = 100 * time.Millisecond

// Parity of a line.
type Parity int

const (
	None Parity = iota
	Odd
)

// Mode is how a line is set. All have 8 data bits, 1 stop bit and no flow control.
type Mode struct {
	Baud   int
	Parity Parity
}

// Use is what a line is opened for.
type Use int

const (
	ToListen Use = unix.O_RDONLY
	ToTalk   Use = unix.O_RDWR
)

// Port is how a line is opened.
type Port struct {
	Name string // as the settings have it
	Use  Use
	Mode Mode // to begin with
}

// Chunk is what came since the last one.
type Chunk struct {
	Bytes   []byte
	Damaged int // bytes that came, but not whole; they are not among Bytes
}

// Silent says that nothing came at all.
func (c Chunk) Silent() bool { return len(c.Bytes) == 0 && c.Damaged == 0 }

// Line is an open port.
type Line struct {
	fd   int
	path string
	raw  [256]byte
	marks
}

// Open opens a port. It raises DTR and RTS, as the kernel does at every open: an Xpod takes its power from them.
func Open(p Port) (_ *Line, err error) {
	node, err := hotplug.Find("tty", p.Name)
	if err != nil {
		return nil, fmt.Errorf("line: %w", err)
	}
	fd, err := unix.Open(node.Path, int(p.Use)|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, verdict(fmt.Errorf("line: open %s: %w", node.Path, err))
	}
	l := &Line{fd: fd, path: node.Path}
	if err := unix.IoctlSetInt(fd, unix.TIOCEXCL, 0); err != nil {
		return nil, errors.Join(fmt.Errorf("line: %s is no serial port: %w", node.Path, err), unix.Close(fd))
	}
	if err := l.Set(p.Mode); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// verdict says what the nurse can do about a port that won't open.
func verdict(err error) error {
	switch {
	case errors.Is(err, unix.EBUSY):
		return device.Fault{Health: device.Health{State: device.Faulty, Reason: Busy}, Err: err}
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return device.Fault{Health: device.Health{State: device.Faulty, Reason: NoPermission}, Err: err}
	}
	return err
}

// Set changes speed and parity, and forgets what came before that and was not read yet. DTR and RTS stay as they are.
func (l *Line) Set(m Mode) error {
	var speed uint32
	switch m.Baud {
	case 9600:
		speed = unix.B9600
	case 19200:
		speed = unix.B19200
	default:
		return fmt.Errorf("line: %d baud: only 9600 and 19200 are known", m.Baud)
	}
	t, err := unix.IoctlGetTermios(l.fd, unix.TCGETS)
	if err != nil {
		return fmt.Errorf("line: %s: %w", l.path, err)
	}
	// INPCK and PARMRK: bytes that came damaged are marked, not passed off as good (termios(3)).
	t.Iflag, t.Oflag, t.Lflag = unix.INPCK|unix.PARMRK, 0, 0
	t.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | unix.HUPCL | speed
	if m.Parity == Odd {
		t.Cflag |= unix.PARENB | unix.PARODD
	}
	t.Ispeed, t.Ospeed = speed, speed
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(l.fd, unix.TCSETS, t); err != nil {
		return fmt.Errorf("line: %s: set %d baud: %w", l.path, m.Baud, err)
	}
	if err := unix.IoctlSetInt(l.fd, unix.TCFLSH, unix.TCIFLUSH); err != nil {
		return fmt.Errorf("line: %s: %w", l.path, err)
	}
	l.marks = marks{}
	return nil
}

// Read gives what has come, or after Wait a silent chunk. Its bytes are good until the next read.
func (l *Line) Read() (Chunk, error) {
	deadline := time.Now().Add(Wait)
	for {
		fds := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}}
		left := max(0, time.Until(deadline))
		n, err := unix.Poll(fds, int((left+time.Millisecond-1)/time.Millisecond))
		switch {
		case err == unix.EINTR: // the runtime's own signals; not a silence
			continue
		case err != nil:
			return Chunk{}, fmt.Errorf("line: %s: %w", l.path, err)
		case n == 0:
			return Chunk{}, nil
		}
		n, err = unix.Read(l.fd, l.raw[:])
		switch {
		case err == unix.EINTR || err == unix.EAGAIN:
			continue
		case err != nil:
			return Chunk{}, fmt.Errorf("%w: %s: %w", ErrGone, l.path, err)
		case n == 0: // hung up
			return Chunk{}, fmt.Errorf("%w: %s", ErrGone, l.path)
		}
		if c := l.clean(l.raw[:n]); !c.Silent() { // else only a part of a mark came
			return c, nil
		}
	}
}

// Write sends. A port that takes nothing now is an error: what isn't sent at once has no meaning later.
func (l *Line) Write(b []byte) error {
	n, err := unix.Write(l.fd, b)
	if err == nil && n < len(b) {
		err = fmt.Errorf("%d of %d bytes", n, len(b))
	}
	if err != nil {
		return fmt.Errorf("line: %s: send: %w", l.path, err)
	}
	return nil
}

// Close gives the port back. Only the reader may call it: closed under a waiting read, the number could be someone
// else's port.
func (l *Line) Close() error {
	_ = unix.IoctlSetInt(l.fd, unix.TIOCNXCL, 0) // fails when it was unplugged, and then nobody minds
	if err := unix.Close(l.fd); err != nil {
		return fmt.Errorf("line: close %s: %w", l.path, err)
	}
	return nil
}
