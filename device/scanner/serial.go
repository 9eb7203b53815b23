package scanner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"go.bug.st/serial"

	"telecart/device"
	"telecart/device/evdev"
	"telecart/device/hotplug"
)

const (
	maxLine    = 4096                   // bytes of a code; a claim has some hundred
	serialIdle = 500 * time.Millisecond // within a code nothing pauses so long, not even over a cordless scanner's base
	serialRest = 2 * time.Second
	readWait   = 50 * time.Millisecond // how long a read may hold up a stop
	quiet      = 100 * time.Millisecond
)

// ErrGone: the serial port was unplugged.
var ErrGone = errors.New("scanner: the serial port is gone")

func (s *scanner) runSerial(ctx context.Context) error {
	node, err := hotplug.Find("tty", s.id.Port)
	if errors.Is(err, hotplug.ErrAmbiguous) {
		err = device.Fault{Health: device.Health{State: device.Faulty, Reason: evdev.SameSerial}, Err: err}
	}
	if err != nil {
		return fmt.Errorf("scanner: %w", err)
	}
	return s.listen(ctx, node)
}

func (s *scanner) listen(ctx context.Context, node device.Node) (err error) {
	port, err := serial.Open(node.Path, &serial.Mode{BaudRate: s.baud, DataBits: 8, Parity: serial.NoParity,
		StopBits: serial.OneStopBit})
	if err != nil {
		return openError(node.Path, err)
	}
	// Reads are short, and the reader closes: closing under a waiting reader would leave it a file number that may be
	// someone else's by then.
	defer func() { err = errors.Join(err, closePort(port)) }()
	if err := port.SetReadTimeout(readWait); err != nil {
		return fmt.Errorf("scanner: %s: %w", node.Path, err)
	}
	ses := newSession(s, node)
	var buf [512]byte
	for ctx.Err() == nil {
		n, err := port.Read(buf[:])
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrGone, node.Path, err)
		}
		ses.take(s.clock.Now(), buf[:n])
	}
	return ctx.Err()
}

func openError(path string, err error) error {
	fault := device.Fault{Health: device.Health{State: device.Faulty}, Err: fmt.Errorf("scanner: open %s: %w", path, err)}
	var p *serial.PortError
	if errors.As(err, &p) {
		switch p.Code() {
		case serial.PortBusy:
			fault.Health.Reason = evdev.Busy
			return fault
		case serial.PermissionDenied:
			fault.Health.Reason = evdev.NoPermission
			return fault
		}
	}
	return fault.Err
}

func closePort(p serial.Port) error {
	if err := p.Close(); err != nil {
		return fmt.Errorf("scanner: close: %w", err)
	}
	return nil
}

// session turns bytes and time into observations. It is a step machine: no I/O, no goroutine, no clock of its own.
type session struct {
	*reporter
	start time.Time
	last  time.Time // when bytes were last read
	seen  time.Time // when the line was last looked at
	live  bool
}

func newSession(s *scanner, node device.Node) *session {
	now := s.clock.Now()
	l := line{limit: maxLine, idle: serialIdle, rest: serialRest}
	return &session{reporter: s.report(cmp.Or(node.Name, "serial scanner"), node.Serial, l), start: now, last: now, seen: now}
}

// take is called with what arrived by now, or with nothing if the line was silent just before. What is read now came
// after the line was last looked at, and may have come at once: only a silence that was seen counts as one.
func (s *session) take(now time.Time, b []byte) {
	since := s.seen
	s.seen = now
	if len(b) == 0 {
		s.silent(now)
		return
	}
	s.last = now
	if !s.live {
		return // the end of a code whose beginning nobody heard
	}
	for len(b) > 0 {
		n := 0
		for n < len(b) && b[n] != '\r' && b[n] != '\n' {
			n++
		}
		if n > 0 {
			s.line.add(since.Sub(s.start), string(b[:n]))
		}
		if n < len(b) {
			s.heard(s.line.end(since.Sub(s.start)))
			n++
		}
		b = b[n:]
	}
	s.line.last = now.Sub(s.start)
	s.heard("", false)
}

func (s *session) silent(now time.Time) {
	switch {
	case !s.live && now.Sub(s.last) >= quiet:
		s.live = true
		s.health(device.Health{State: device.Live})
	case s.live && s.line.begun && now.Sub(s.last) > serialRest:
		s.line.forget(false)
		s.heard("", false)
	}
}
