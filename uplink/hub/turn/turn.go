// Package turn lets media through where only TCP to port 443 is let out: a TURN server (RFC 8656) on TLS connections that
// the hub's one listener hands over, for the name turn.NAME.
//
// Parties: carts and browsers whose UDP does not reach the hub; the room, which answers at the other end. It is no relay to
// anywhere: what is allocated here is one end of an exchange in memory (exchange.go), and the only peer that exists on it is
// the room, under the address that no network may carry a packet to (RFC 7600, 4.8). No socket is opened for anybody, so neither
// hairpin NAT nor a firewall matters, and there is nothing else to reach.
//
// Keys: one, drawn at every start. A credential is an expiry and a name that stands for the stream's token, its password
// their HMAC (credential.go): nothing is kept for each, a restart of the hub voids them all, and everyone asks anew, as for
// the tokens. Media inside stays DTLS-SRTP between the peer and the room.
//
// Threats. Who steals a credential can, for its two minutes, open up to maxPerUser allocations and send packets to the room:
// what anybody can do by UDP without any credential. To publish or watch takes the stream's token as well. Who steals
// nothing can hold up to maxConns connections for authTime each, and is answered like anybody else then: by 401. What is
// not a request that a client sends before it is authenticated ends the connection. Nothing of a credential is logged.
//
// Invariants: everything is bounded: connections, allocations in all and per user, channels, message size, queue (by count
// and age: stale media is worse than none), bit rate, time to authenticate, idle time. One connection never delays another
// or the room.
package turn

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/logging"
	pionturn "github.com/pion/turn/v5"

	"telecart/device/kit"
)

const (
	maxConns    = 1024             // connections, authenticated or not
	maxAllocs   = 512              // in all
	maxPerUser  = 8                // of one stream token: a browser makes one for each of its networks, and a redial stands beside
	maxChannels = 8                // of one connection; there is one peer
	maxEarly    = 16               // messages before an allocation: two are needed
	maxFrame    = 2000             // bytes of one message; media has at most 1,500
	authTime    = 15 * time.Second // until there is an allocation
	idleTime    = 30 * time.Second // without a word of the client; ICE says one every few seconds (RFC 7675, 5.1)
	rateLimit   = 1_250_000        // bytes a second of one allocation, each way
	rateBurst   = 512 << 10        // bytes: a key frame
)

// ErrClosed: the server is closing down.
var ErrClosed = errors.New("turn: closed")

// Options of a server.
type Options struct {
	Name  string    // turn.NAME, which is also the realm
	Clock kit.Clock // nil: the machine's own
}

// Server is a running TURN server.
type Server struct {
	name  string
	clock kit.Clock
	key   [32]byte
	hall  *exchange
	logs  logging.LoggerFactory

	count struct {
		conns, refused, denied, malformed, authenticated atomic.Uint64
	}

	mu     sync.Mutex
	closed bool
	conns  map[*frames]bool
	users  map[string]int // allocations
	wg     sync.WaitGroup
}

// New makes a server with a key of its own.
func New(o Options) (*Server, error) {
	if o.Name == "" {
		return nil, errors.New("turn: no name: set Name to turn.NAME")
	}
	if o.Clock == nil {
		o.Clock = kit.System{}
	}
	quiet := logging.NewDefaultLoggerFactory() // pion's own log names addresses and users
	quiet.DefaultLogLevel, quiet.ScopeLevels = logging.LogLevelDisabled, map[string]logging.LogLevel{}
	s := &Server{name: o.Name, clock: o.Clock, hall: newExchange(o.Clock), logs: quiet, conns: map[*frames]bool{}, users: map[string]int{}}
	_, _ = rand.Read(s.key[:]) // never fails
	return s, nil
}

// Room is the room's end: a socket on which every allocation is a peer.
func (s *Server) Room() net.PacketConn { return s.hall.room }

// Counts are since the start, but for Connections and Allocations, which are now.
type Counts struct {
	Connections, Allocations int
	Accepted                 uint64 // connections
	Refused                  uint64 // connections and allocations beyond the bounds
	Authenticated            uint64 // allocations made
	Denied                   uint64 // wrong or expired credentials
	Malformed                uint64 // connections ended for what they said
	Stray                    uint64 // packets and permissions for peers other than the room
	Dropped                  uint64 // packets beyond rate, queue or age
	In, Out                  uint64 // bytes of media, from clients and to them
}

// Counts is a snapshot.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	c := Counts{Connections: len(s.conns)}
	s.mu.Unlock()
	h := s.hall
	c.Allocations = h.size()
	c.Accepted, c.Refused, c.Denied = s.count.conns.Load(), s.count.refused.Load(), s.count.denied.Load()
	c.Malformed, c.Authenticated = s.count.malformed.Load(), s.count.authenticated.Load()
	c.Stray, c.Dropped, c.In, c.Out = h.stray.Load(), h.dropped.Load(), h.in.Load(), h.out.Load()
	return c
}

// Serve works on one connection, after its TLS handshake, until it ends, and closes it.
func (s *Server) Serve(conn net.Conn) error {
	shallow(conn)
	f := newFrames(conn, s.clock)
	if err := s.enter(f); err != nil {
		return errors.Join(err, conn.Close())
	}
	defer s.leave(f)
	p, err := pionturn.NewServer(pionturn.ServerConfig{
		PacketConnConfigs: []pionturn.PacketConnConfig{{PacketConn: f, RelayAddressGenerator: generator{s, f}, PermissionHandler: s.permits}},
		LoggerFactory:     s.logs, Realm: s.name, InboundMTU: maxFrame + 1,
		AuthHandler:  s.authenticate,
		QuotaHandler: func(user, _ string, _ net.Addr) bool { return s.quota(user) == nil },
		EventHandler: pionturn.EventHandler{
			OnAuth: func(_, _ net.Addr, _, _, _, _ string, ok bool) {
				if !ok {
					s.count.denied.Add(1)
				}
			},
			OnChannelCreated: func(_, _ net.Addr, _, _, _ string, _, _ net.Addr, _ uint16) { f.channel() },
		},
	})
	if err != nil {
		return errors.Join(fmt.Errorf("turn: %w", err), conn.Close())
	}
	f.watch()
	_ = p.Close() // it closes f, as f itself did
	f.released()  // pion closes its allocation once it reads the end
	err = f.end()
	if errors.Is(err, errMalformed) {
		s.count.malformed.Add(1)
	}
	return err
}

func (s *Server) enter(f *frames) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case len(s.conns) >= maxConns:
		s.count.refused.Add(1)
		return errors.New("turn: too many connections")
	}
	s.count.conns.Add(1)
	s.conns[f] = true
	s.wg.Add(1)
	return nil
}

func (s *Server) leave(f *frames) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, f)
	s.wg.Done()
}

// Close ends all connections and the room's end, and waits.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	for f := range s.conns {
		f.stop(ErrClosed)
	}
	s.mu.Unlock()
	s.wg.Wait()
	return s.hall.room.Close()
}

// permits says that the room is the only peer.
func (s *Server) permits(_ net.Addr, peer net.IP) bool {
	ok := peer.Equal(net.IP(roomAddr.Addr().AsSlice()))
	if !ok {
		s.hall.stray.Add(1)
	}
	return ok
}

var (
	errQuota    = errors.New("turn: too many allocations")
	errNotThere = errors.New("turn: only UDP to the room is relayed")
)

// quota says whether user may have one more.
func (s *Server) quota(user string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.allows(user)
}

// allows needs mu.
func (s *Server) allows(user string) error {
	if s.users[user] >= maxPerUser || s.hall.size() >= maxAllocs {
		s.count.refused.Add(1)
		return errQuota
	}
	return nil
}

// generator makes the allocations of one connection.
type generator struct {
	s *Server
	f *frames
}

func (generator) Validate() error { return nil }

// AllocatePacketConn gives an end of the exchange. Without a user it is asked for EVEN-PORT (RFC 8656, 18.6), which no ICE
// client needs and which would be tried 128 times.
func (g generator) AllocatePacketConn(c pionturn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	if c.UserID == "" || c.RequestedPort != 0 || c.Network != "udp4" {
		return nil, nil, errNotThere
	}
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	if g.s.closed {
		return nil, nil, ErrClosed
	}
	if err := g.s.allows(c.UserID); err != nil {
		return nil, nil, err
	}
	if !g.f.hold() {
		return nil, nil, ErrClosed
	}
	g.s.users[c.UserID]++
	e := g.s.hall.open(func() {
		g.s.mu.Lock()
		defer g.s.mu.Unlock()
		if g.s.users[c.UserID]--; g.s.users[c.UserID] == 0 {
			delete(g.s.users, c.UserID)
		}
		g.f.allocs.Done()
	})
	g.s.count.authenticated.Add(1)
	g.f.allocated()
	return e, net.UDPAddrFromAddrPort(e.addr), nil
}

// No TCP allocations (RFC 6062).
func (generator) AllocateListener(pionturn.AllocateListenerConfig) (net.Listener, net.Addr, error) {
	return nil, nil, errNotThere
}

func (generator) AllocateConn(pionturn.AllocateConnConfig) (net.Conn, error) {
	return nil, errNotThere
}
