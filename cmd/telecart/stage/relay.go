package stage

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// relay stands between the cart and its hub, for TCP and UDP, and can be cut: connections are reset, packets vanish.
type relay struct {
	tcp  net.Listener
	udp  *net.UDPConn
	hub  string       // TCP address of the hub
	udpT *net.UDPAddr // and its UDP address
	cut  atomic.Bool
	wg   sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	peers map[string]*net.UDPConn // a socket towards the hub for each peer
	shut  bool
}

// newRelay listens on addr (TCP) and, with the same port number as the hub's media port, on media (UDP).
func newRelay(addr, media string) (*relay, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	ua, err := net.ResolveUDPAddr("udp", media)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	u, err := net.ListenUDP("udp", ua)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &relay{tcp: l, udp: u, conns: map[net.Conn]bool{}, peers: map[string]*net.UDPConn{}}, nil
}

// run forwards to the hub until close.
func (r *relay) run(hub, media string) error {
	r.hub = hub
	var err error
	if r.udpT, err = net.ResolveUDPAddr("udp", media); err != nil {
		return err
	}
	r.wg.Go(r.acceptTCP)
	r.wg.Go(r.readUDP)
	return nil
}

func (r *relay) acceptTCP() {
	for {
		c, err := r.tcp.Accept()
		if err != nil {
			return
		}
		if r.cut.Load() {
			reset(c)
			continue
		}
		h, err := net.Dial("tcp", r.hub)
		if err != nil || !r.hold(c, h) {
			reset(c)
			continue
		}
		for _, p := range [][2]net.Conn{{c, h}, {h, c}} {
			r.wg.Go(func() {
				io.Copy(p[0], p[1])
				p[0].Close()
				p[1].Close()
				r.mu.Lock()
				delete(r.conns, p[0])
				delete(r.conns, p[1])
				r.mu.Unlock()
			})
		}
	}
}

func (r *relay) hold(cs ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shut || r.cut.Load() {
		for _, c := range cs {
			reset(c)
		}
		return false
	}
	for _, c := range cs {
		r.conns[c] = true
	}
	return true
}

// reset closes without a goodbye.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	c.Close()
}

func (r *relay) readUDP() {
	b := make([]byte, 2048)
	for {
		n, from, err := r.udp.ReadFromUDP(b)
		if err != nil {
			return
		}
		if r.cut.Load() {
			continue
		}
		if p := r.peer(from); p != nil {
			p.Write(b[:n])
		}
	}
}

// peer is the socket towards the hub that stands for one sender.
func (r *relay) peer(from *net.UDPAddr) *net.UDPConn {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := from.String()
	if p := r.peers[key]; p != nil || r.shut {
		return p
	}
	p, err := net.DialUDP("udp", nil, r.udpT)
	if err != nil {
		return nil
	}
	r.peers[key] = p
	to := *from
	r.wg.Go(func() {
		b := make([]byte, 2048)
		for {
			n, err := p.Read(b)
			if err != nil {
				if errors.Is(err, net.ErrClosed) {
					return
				}
				continue // connection refused: the hub's socket is not there now
			}
			if !r.cut.Load() {
				r.udp.WriteToUDP(b[:n], &to)
			}
		}
	})
	return p
}

// setCut cuts the link or restores it.
func (r *relay) setCut(cut bool) {
	r.cut.Store(cut)
	if !cut {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		reset(c)
	}
}

func (r *relay) close() {
	r.tcp.Close()
	r.udp.Close()
	r.mu.Lock()
	r.shut = true
	for c := range r.conns {
		reset(c)
	}
	for _, p := range r.peers {
		p.Close()
	}
	r.mu.Unlock()
	r.wg.Wait()
}
