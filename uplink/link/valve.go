package link

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// valve keeps what is under way small: what lies in a modem's queue delays the next vital sign, whatever the order here. So
// much goes out, over all connections together, as the link delivers in a round trip, and a little on top so that it never
// runs dry. It is a machine: time and the kernel's figures in, room out.
type valve struct {
	flows map[*socket]uint64 // bytes that had arrived when last seen
	since time.Time          // begin of the present window
	got   uint64             // bytes delivered in it
	best  peak               // bytes a second, of the windows
}

const (
	standing    = 250 * time.Millisecond // of queue at the bottleneck
	spare       = 2                      // segments on top: without them a slow link's rate, once taken too low, would stay there
	firstFlight = 10                     // segments, before anything is known (RFC 6928)
	leastFlight = 4                      // segments, so that losses show as duplicate acknowledgements
	window      = time.Second            // over which the rate is taken: acknowledgements come in bursts
	peakSpan    = 5 * time.Second        // the best window of the last one to two of them counts
	unsent      = 4 << 10                // bytes that the kernel may hold beyond what it may send (TCP_NOTSENT_LOWAT, tcp(7))
)

// gauge is what the kernel says of a connection (struct tcp_info of linux/tcp.h).
type gauge struct {
	acked  uint64        // bytes that arrived since it began, those beyond a gap too: else they would all count when it closes
	minRTT time.Duration // the least of the last minutes
	flying int           // bytes sent and not acknowledged, and bytes not sent yet
	mss    int
}

// peak is a maximum over the last one to two spans.
type peak struct {
	since     time.Time
	now, last float64
}

func (p *peak) add(now time.Time, v float64) {
	if d := now.Sub(p.since); d >= peakSpan {
		p.last = p.now
		if d >= 2*peakSpan {
			p.last = 0
		}
		p.since, p.now = now, 0
	}
	p.now = max(p.now, v)
}

func (p *peak) max() float64 { return max(p.now, p.last) }

// room is how many bytes may be written now. All are the connections that carry items.
func (v *valve) room(now time.Time, all map[*socket]gauge) int {
	if v.flows == nil {
		v.flows, v.since, v.best.since = map[*socket]uint64{}, now, now
	}
	minRTT, flying, mss := time.Hour, 0, 0
	for s, g := range all {
		before, known := v.flows[s]
		if known && g.acked > before {
			v.got += g.acked - before
		}
		v.flows[s] = max(before, g.acked)
		flying, mss = flying+g.flying, max(mss, g.mss)
		if g.minRTT > 0 {
			minRTT = min(minRTT, g.minRTT)
		}
	}
	if d := now.Sub(v.since); d >= window {
		if d < 2*window { // else it was not asked for a while
			v.best.add(now, float64(v.got)/d.Seconds())
		}
		v.since, v.got = now, 0
	}
	limit := firstFlight * mss
	if rate := v.best.max(); rate > 0 && minRTT < time.Hour {
		limit = max(int(rate*(minRTT+standing).Seconds())+spare*mss, leastFlight*mss)
	}
	return limit - flying
}

// drop forgets a connection.
func (v *valve) drop(s *socket) { delete(v.flows, s) }

// socket is the TCP connection beneath a request.
type socket struct{ raw syscall.RawConn }

// newSocket finds it, and sets it up; nil if there is none.
func newSocket(c net.Conn) *socket {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = t.NetConn()
	}
	t, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return nil
	}
	s := &socket{raw}
	// A lost packet on a radio link says nothing of a full queue. Where the kernel lacks BBR or does not allow it (tcp(7),
	// tcp_allowed_congestion_control), its own choice stays.
	s.control(func(fd int) error { return unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, "bbr") })
	if err := s.control(func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent) }); err != nil {
		return nil
	}
	return s
}

func (s *socket) control(do func(fd int) error) error {
	var err error
	return errors.Join(s.raw.Control(func(fd uintptr) { err = do(int(fd)) }), err)
}

func (s *socket) gauge() (g gauge, err error) {
	err = s.control(func(fd int) error {
		i, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			g = gauge{i.Bytes_acked + uint64(i.Sacked*i.Snd_mss), time.Duration(i.Min_rtt) * time.Microsecond, int(segments(i)*i.Snd_mss + i.Notsent_bytes), int(i.Snd_mss)}
		}
		return err
	})
	return g, err
}

// road is the valve with the sockets that it looks at.
type road struct {
	mu    sync.Mutex
	valve valve
	all   map[*socket]bool
}

// room asks the kernel about all connections; ok is false when it does not know this one (any more).
func (r *road) room(now time.Time, s *socket) (free, mss int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[*socket]bool{}
	}
	r.all[s] = true
	gauges := map[*socket]gauge{}
	for o := range r.all {
		if g, err := o.gauge(); err == nil {
			gauges[o] = g
		}
	}
	if g, ok := gauges[s]; ok {
		return r.valve.room(now, gauges), g.mss, true
	}
	return 0, 0, false
}

// drop forgets a connection.
func (r *road) drop(s *socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, s)
	r.valve.drop(s)
}

// segments is how many are on their way, as the kernel itself reckons (tcp_packets_in_flight): those that were lost, or have
// arrived beyond a gap, are not.
func segments(i *unix.TCPInfo) uint32 {
	return max(i.Unacked+i.Retrans, i.Sacked+i.Lost) - (i.Sacked + i.Lost)
}
