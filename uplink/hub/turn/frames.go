package turn

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/stun/v4"

	"telecart/device/kit"
)

var (
	errMalformed = errors.New("turn: not what a TURN client says")
	errLate      = errors.New("turn: not authenticated in time")
	errIdle      = errors.New("turn: silent for too long")
)

const (
	stunHeader    = 20
	channelHeader = 4
	magicCookie   = 0x2112A442 // RFC 8489, 5
)

// frames is a connection as pion's server sees it: a socket that reads whole messages (RFC 8656, 12.5; RFC 8489, 6.2.2), and
// only such as belong here at this moment. pion's own reader of streams trusts lengths and grows with what comes in drips.
type frames struct {
	conn  net.Conn
	clock kit.Clock
	in    *bufio.Reader

	open     atomic.Bool   // there is an allocation
	opened   chan struct{} // closed with it
	opening  sync.Once
	heard    atomic.Uint64 // messages
	channels atomic.Int32

	mu     sync.Mutex
	over   bool           // no allocation begins any more
	allocs sync.WaitGroup // that are open

	once sync.Once
	done chan struct{}
	why  error // once done is closed
}

func newFrames(conn net.Conn, clock kit.Clock) *frames {
	return &frames{conn: conn, clock: clock, in: bufio.NewReaderSize(conn, maxFrame), opened: make(chan struct{}), done: make(chan struct{})}
}

// allocated tells that the client has proved itself.
func (f *frames) allocated() {
	f.open.Store(true)
	f.opening.Do(func() { close(f.opened) })
}

// hold books an allocation, unless the connection is over.
func (f *frames) hold() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.over {
		f.allocs.Add(1)
	}
	return !f.over
}

// released waits, after the end, until no allocation is open.
func (f *frames) released() {
	f.mu.Lock()
	f.over = true
	f.mu.Unlock()
	f.allocs.Wait()
}

func (f *frames) channel() {
	if f.channels.Add(1) > maxChannels {
		f.stop(fmt.Errorf("%w: more than %d channels", errMalformed, maxChannels))
	}
}

// watch waits for the connection's end, and is it if the client is late or silent.
func (f *frames) watch() {
	select {
	case <-f.done:
		return
	case <-f.clock.After(authTime):
		if !f.open.Load() {
			f.stop(errLate)
			return
		}
	case <-f.opened:
	}
	for last := f.heard.Load(); ; {
		select {
		case <-f.done:
			return
		case <-f.clock.After(idleTime):
		}
		now := f.heard.Load()
		if now == last {
			f.stop(errIdle)
			return
		}
		last = now
	}
}

// stop closes the connection for a reason; the first one counts.
func (f *frames) stop(why error) {
	f.once.Do(func() {
		f.why = why
		close(f.done)
		_ = f.conn.Close() // it is over either way
	})
}

// end is why the connection ended, nil if the client just left.
func (f *frames) end() error {
	<-f.done
	return f.why
}

// ReadFrom gives the next message that is let through.
func (f *frames) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, err := readFrame(f.in, p)
		if err != nil {
			if !errors.Is(err, errMalformed) {
				err = nil // the client left, or the line is cut
			}
			f.stop(err)
			return 0, nil, net.ErrClosed
		}
		if count := f.heard.Add(1); !f.open.Load() && count > maxEarly {
			f.stop(fmt.Errorf("%w: %d messages without an allocation", errMalformed, maxEarly))
			return 0, nil, net.ErrClosed
		}
		switch admit(p[:n], f.open.Load()) {
		case pass:
			return n, f.conn.RemoteAddr(), nil
		case refuse:
			f.stop(errMalformed)
			return 0, nil, net.ErrClosed
		}
	}
}

// readFrame reads one message, with its padding, into p.
func readFrame(in *bufio.Reader, p []byte) (int, error) {
	head, err := in.Peek(channelHeader)
	if err != nil {
		return 0, err
	}
	size := int(binary.BigEndian.Uint16(head[2:]))
	switch {
	case head[0]>>6 == 0: // STUN: the length counts what follows the header, and is a multiple of four (RFC 8489, 5)
		if size%4 != 0 {
			return 0, errMalformed
		}
		size += stunHeader
	case head[0]>>4 == 4: // a channel, 0x4000 to 0x4FFF, padded to a multiple of four on a stream (RFC 8656, 12.5)
		size = channelHeader + (size+3)/4*4
	default:
		return 0, errMalformed
	}
	if size > min(maxFrame, len(p)) {
		return 0, fmt.Errorf("%w: a message of %d bytes", errMalformed, size)
	}
	return io.ReadFull(in, p[:size])
}

// verdict on a message.
type verdict int

const (
	pass   verdict = iota
	skip           // it means nothing here, and does no harm
	refuse         // nobody who means well says that
)

// admit lets through what pion's server has a use for: requests of RFC 8656 and Binding; once there is an allocation, media.
func admit(p []byte, open bool) verdict {
	if p[0]>>6 == 1 {
		if !open {
			return refuse
		}
		return pass
	}
	if binary.BigEndian.Uint32(p[4:]) != magicCookie {
		return refuse
	}
	m := stun.Message{Raw: p}
	if m.Decode() != nil {
		return refuse
	}
	switch m.Type {
	case stun.NewType(stun.MethodAllocate, stun.ClassRequest), stun.BindingRequest:
		return pass
	case stun.NewType(stun.MethodRefresh, stun.ClassRequest), stun.NewType(stun.MethodCreatePermission, stun.ClassRequest),
		stun.NewType(stun.MethodChannelBind, stun.ClassRequest), stun.NewType(stun.MethodSend, stun.ClassIndication):
		if open {
			return pass
		}
	}
	return skip
}

// WriteTo sends one message, which pion has padded. A client that does not take it holds up only itself.
func (f *frames) WriteTo(p []byte, _ net.Addr) (int, error) { return f.conn.Write(p) }

// Close is pion's.
func (f *frames) Close() error {
	f.stop(nil)
	return nil
}

// LocalAddr is an IPv4 address whatever the connection came by: relayed addresses are IPv4 (RFC 8656, 7.2).
func (f *frames) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(roomAddr) }

func (f *frames) SetDeadline(t time.Time) error      { return f.conn.SetDeadline(t) }
func (f *frames) SetReadDeadline(t time.Time) error  { return f.conn.SetReadDeadline(t) }
func (f *frames) SetWriteDeadline(t time.Time) error { return f.conn.SetWriteDeadline(t) }
