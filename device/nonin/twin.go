package nonin

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"telecart/device/kit"
	"telecart/device/pty"
)

// Twin is an oximeter behind a pseudo-terminal: Port is its serial port, which any program can open. Safe for
// concurrent use.
type Twin struct {
	clock  kit.Clock
	stream *Stream
	line   *pty.Line
	held   int // its port, held open; -1 if it isn't
	reader sync.WaitGroup

	mu     sync.Mutex
	fault  Fault
	gone   bool
	acks   int
	naks   int
	record *Record // sent, and not acknowledged yet
}

// NewTwin plugs an oximeter in. Unplug must be called in the end.
func NewTwin(clock kit.Clock, f Format) (*Twin, error) {
	if !allows(Formats(), f) {
		return nil, fmt.Errorf("nonin: twin: there is no data format %d", f)
	}
	l, err := pty.Open()
	if err != nil {
		return nil, err
	}
	t := &Twin{clock: clock, stream: NewStream(f, 1), line: l, held: -1}
	if f == Format13 {
		// The port stays open at this end, so that waiting for an answer is waiting, whoever has it open or not.
		if t.held, err = unix.Open(l.Path(), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0); err != nil {
			return nil, errors.Join(fmt.Errorf("nonin: twin: %w", err), l.Close())
		}
		t.reader.Go(t.listen)
	}
	return t, nil
}

// Port is the serial port's path.
func (t *Twin) Port() string { return t.line.Path() }

// Set makes the fault, from the next packet on.
func (t *Twin) Set(f Fault) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fault = f
}

// Answers counts what the other side said to records.
func (t *Twin) Answers() (acks, naks int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.acks, t.naks
}

// Run sends by the twin's clock until ctx ends or the oximeter is unplugged.
func (t *Twin) Run(ctx context.Context) error {
	for {
		if !t.send() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.clock.After(t.stream.Period()):
		}
	}
}

func (t *Twin) send() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone {
		return false
	}
	// Nobody may be reading: as on a real line, what the receiver has no room for is lost.
	_, err := t.line.Write(t.next())
	return err == nil
}

// next is called under the lock. A record that wasn't acknowledged is kept, and sent again as one from memory.
func (t *Twin) next() []byte {
	if t.stream.format != Format13 || t.fault == Silent {
		return t.stream.Bytes(t.fault)
	}
	if t.record != nil {
		t.record.Status |= recordFromMemory
	} else {
		r := t.stream.Record(t.fault)
		t.record = &r
	}
	return t.stream.wire(t.record.Append(nil), t.fault)
}

// listen takes the answers, until the oximeter is unplugged.
func (t *Twin) listen() {
	var b [16]byte
	for {
		n, err := t.line.Read(b[:])
		if err != nil {
			return
		}
		t.mu.Lock()
		for _, x := range b[:n] {
			switch x {
			case ack:
				t.acks, t.record = t.acks+1, nil
			case nak:
				t.naks++
			}
		}
		t.mu.Unlock()
	}
}

// Unplug pulls the cable: the port hangs up. It may be called again.
func (t *Twin) Unplug() error { return t.unplug(nil) }

// Tear pulls the cable in the middle of a packet.
func (t *Twin) Tear() error {
	t.mu.Lock()
	b := t.stream.Bytes(Healthy)
	t.mu.Unlock()
	return t.unplug(b[:len(b)/2])
}

func (t *Twin) unplug(last []byte) error {
	t.mu.Lock()
	if len(last) > 0 && !t.gone {
		_, _ = t.line.Write(last)
	}
	t.gone = true
	err := t.line.Close()
	if t.held >= 0 {
		err = errors.Join(err, unix.Close(t.held))
		t.held = -1
	}
	t.mu.Unlock()
	t.reader.Wait()
	return err
}
