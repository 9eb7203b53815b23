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
	total uint64             // bytes delivered since the first one
}

const (
	standing    = 150 * time.Millisecond // on top of a round trip: held back acknowledgements (RFC 9293, 3.8.6.3), jitter, a busy processor
	spare       = 1                      // segment on top: it is on its way for longer than the small packet that the round trip was taken by
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
			v.total += g.acked - before
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
	// What was given up is forgotten (socket(7), SO_LINGER): else the kernel goes on sending it after an outage, before what counts.
	s.control(func(fd int) error {
		return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	})
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

// road is the valve with the sockets that it looks at: all that an item ever went over, until they are closed.
type road struct {
	mu    sync.Mutex
	valve valve
	all   map[net.Conn]*socket
}

// add makes a connection known.
func (r *road) add(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all[c] != nil {
		return
	}
	if s := newSocket(c); s != nil {
		if r.all == nil {
			r.all = map[net.Conn]*socket{}
		}
		r.all[c] = s
	}
}

// room asks the kernel about all connections; ok is false when there is none that it knows: in a test, or a simulation.
func (r *road) room(now time.Time) (free, mss int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	gauges := map[*socket]gauge{}
	for c, s := range r.all {
		g, err := s.gauge()
		if err != nil { // it was closed
			delete(r.all, c)
			r.valve.drop(s)
			continue
		}
		gauges[s] = g
		mss = max(mss, g.mss)
	}
	if len(gauges) == 0 {
		return 0, 0, false
	}
	return r.valve.room(now, gauges), mss, true
}

// segments is how many are on their way, as the kernel itself reckons (tcp_packets_in_flight): those that were lost, or have
// arrived beyond a gap, are not.
func segments(i *unix.TCPInfo) uint32 {
	return max(i.Unacked+i.Retrans, i.Sacked+i.Lost) - (i.Sacked + i.Lost)
}
