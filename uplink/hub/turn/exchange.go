package turn

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"telecart/device/kit"
)

const (
	toRoom   = 1024                   // packets of all allocations that wait for the room
	toClient = 256                    // packets that wait for one client
	maxAge   = 500 * time.Millisecond // of a packet that waits for a client; then it is lost, and the sender hears of it
)

// exchange passes packets between the room and the allocations, in memory. It is the only thing that an allocation reaches.
type exchange struct {
	clock kit.Clock
	room  *roomEnd

	stray, dropped, in, out atomic.Uint64

	mu   sync.RWMutex
	ends map[uint16]*end // by port
	port uint16          // the last one given
}

// packet is one that waits.
type packet struct {
	data []byte
	from netip.AddrPort
	at   time.Time
}

func newExchange(clock kit.Clock) *exchange {
	x := &exchange{clock: clock, ends: map[uint16]*end{}, port: 1023}
	x.room = &roomEnd{x: x, queue: make(chan packet, toRoom), done: make(chan struct{})}
	return x
}

func (x *exchange) size() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.ends)
}

// open makes an allocation's end. A port comes back only after all others: late packets for the one before find nobody.
func (x *exchange) open(closed func()) *end {
	x.mu.Lock()
	defer x.mu.Unlock()
	for {
		if x.port++; x.port < 1024 {
			x.port = 1024
		}
		if x.ends[x.port] == nil {
			break
		}
	}
	e := &end{x: x, addr: netip.AddrPortFrom(address, x.port), queue: make(chan packet, toClient), done: make(chan struct{}), closed: closed,
		up: rate.NewLimiter(rateLimit, rateBurst), down: rate.NewLimiter(rateLimit, rateBurst)}
	x.ends[x.port] = e
	return e
}

// end is an allocation's relayed transport address, as a socket: what pion's server writes to it goes to the room.
type end struct {
	noDeadlines
	x        *exchange
	addr     netip.AddrPort
	queue    chan packet
	up, down *rate.Limiter
	once     sync.Once
	done     chan struct{}
	closed   func()
}

var errStray = errors.New("turn: the room is the only peer")

func (e *end) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(e.addr) }

// WriteTo takes a packet to the room. One too many is lost, as on any network.
func (e *end) WriteTo(p []byte, to net.Addr) (int, error) {
	if u, ok := to.(*net.UDPAddr); !ok || canonical(u.AddrPort()) != roomAddr {
		e.x.stray.Add(1)
		return 0, errStray
	}
	now := e.x.clock.Now()
	if !e.up.AllowN(now, len(p)) {
		e.x.dropped.Add(1)
		return len(p), nil
	}
	e.x.in.Add(uint64(len(p)))
	e.x.push(e.x.room.queue, packet{append([]byte(nil), p...), e.addr, now})
	return len(p), nil
}

// ReadFrom gives what the room sent, as long as it is fresh.
func (e *end) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		select {
		case <-e.done:
			return 0, nil, net.ErrClosed
		case k := <-e.queue:
			if e.x.clock.Now().Sub(k.at) > maxAge || len(k.data) > len(p) {
				e.x.dropped.Add(1)
				continue
			}
			e.x.out.Add(uint64(len(k.data)))
			return copy(p, k.data), net.UDPAddrFromAddrPort(k.from), nil
		}
	}
}

func (e *end) Close() error {
	e.once.Do(func() {
		e.x.mu.Lock()
		delete(e.x.ends, e.addr.Port())
		e.x.mu.Unlock()
		close(e.done)
		e.closed()
	})
	return nil
}

// push makes room for a packet by losing the oldest.
func (x *exchange) push(queue chan packet, k packet) {
	for {
		select {
		case queue <- k:
			return
		default:
		}
		select {
		case <-queue:
			x.dropped.Add(1)
		default:
		}
	}
}

// roomEnd is the room's socket.
type roomEnd struct {
	noDeadlines
	x     *exchange
	queue chan packet
	once  sync.Once
	done  chan struct{}
}

func (r *roomEnd) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(roomAddr) }

func (r *roomEnd) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := r.ReadFromAddrPort(p)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// ReadFromAddrPort and WriteToAddrPort spare pion's mux an allocation for each packet.
func (r *roomEnd) ReadFromAddrPort(p []byte) (int, netip.AddrPort, error) {
	select {
	case <-r.done:
		return 0, netip.AddrPort{}, io.EOF // as the mux expects of a socket that was closed
	case k := <-r.queue:
		return copy(p, k.data), k.from, nil
	}
}

func (r *roomEnd) WriteTo(p []byte, to net.Addr) (int, error) {
	u, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, fmt.Errorf("turn: %v is no UDP address", to)
	}
	return r.WriteToAddrPort(p, u.AddrPort())
}

// WriteToAddrPort takes a packet to the allocation at to. Nobody being there is not an error, as on any network.
func (r *roomEnd) WriteToAddrPort(p []byte, to netip.AddrPort) (int, error) {
	to = canonical(to)
	r.x.mu.RLock()
	e := r.x.ends[to.Port()]
	r.x.mu.RUnlock()
	if now := r.x.clock.Now(); e == nil || to.Addr() != address || !e.down.AllowN(now, len(p)) {
		r.x.dropped.Add(1)
	} else {
		r.x.push(e.queue, packet{append([]byte(nil), p...), roomAddr, now})
	}
	return len(p), nil
}

func (r *roomEnd) Close() error {
	r.once.Do(func() { close(r.done) })
	return nil
}

func canonical(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// noDeadlines: nothing here blocks but reading, which Close ends.
type noDeadlines struct{}

func (noDeadlines) SetDeadline(time.Time) error      { return nil }
func (noDeadlines) SetReadDeadline(time.Time) error  { return nil }
func (noDeadlines) SetWriteDeadline(time.Time) error { return nil }
