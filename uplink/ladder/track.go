package ladder

import "time"

// Packet says what a packet is for.
type Packet int

// Kinds of packets.
const (
	Media Packet = iota
	Padding
)

// kept is how many packets of a session are remembered: 4 s at 5 Mb/s. Those that are not answered by then are lost.
const kept = 2048

// timeout is after how long an unanswered packet counts as lost: longer than any round trip that can be talked over.
const timeout = 2 * time.Second

// Track is one media session's packets on their way. It belongs to its Ladder.
type Track struct {
	next   uint16
	oldest uint16 // from here on packets may be unanswered
	ring   [kept]sent
	flying int // bytes
	base   floor
	rtt    floor
}

// sent is a packet that was sent.
type sent struct {
	at   time.Duration
	size int32
	open bool // not answered yet
	kind Packet
}

// Report is what the far end says of the packets from First on, one after the other.
type Report struct {
	First    uint16
	Arrivals []Arrival
}

// Arrival is one packet's.
type Arrival struct {
	Lost bool
	At   time.Duration // by the far end's clock, whose beginning nobody knows
}

// arrival is a packet's as the estimator takes it.
type arrival struct {
	sent  time.Duration
	at    time.Duration // by our clock, less what the empty link takes: sent + wait
	wait  time.Duration // in queues
	size  int
	probe bool
}

// answered is what one report brought.
type answered struct {
	arrived []arrival
	lost    int
	rtt     time.Duration // of the newest packet; 0: none arrived
	oldest  time.Duration // the same of the oldest
	minRTT  time.Duration
}

func (t *Track) send(at time.Duration, n int, kind Packet) uint16 {
	seq := t.next
	s := &t.ring[seq%kept]
	if s.open {
		t.close(s)
	}
	*s = sent{at: at, size: int32(n), open: true, kind: kind}
	t.flying += n
	t.next++
	if t.next-t.oldest > kept {
		t.oldest = t.next - kept
	}
	return seq
}

func (t *Track) close(s *sent) {
	s.open = false
	t.flying -= int(s.size)
}

// expire gives up what was not answered for too long.
func (t *Track) expire(at time.Duration) {
	for ; t.oldest != t.next; t.oldest++ {
		s := &t.ring[t.oldest%kept]
		if s.open && at-s.at < timeout {
			return
		}
		if s.open {
			t.close(s)
		}
	}
}

// waits is when the oldest unanswered packet was sent.
func (t *Track) waits() (at time.Duration, ok bool) {
	for ; t.oldest != t.next; t.oldest++ {
		if s := &t.ring[t.oldest%kept]; s.open {
			return s.at, true
		}
	}
	return 0, false
}

// report takes what the far end says.
func (t *Track) report(at time.Duration, r Report) (a answered) {
	ours := func(seq uint16) *sent { // nil: never sent, answered already, or forgotten
		if d := t.next - seq; d == 0 || d > kept {
			return nil
		}
		if s := &t.ring[seq%kept]; s.open {
			return s
		}
		return nil
	}
	for i, x := range r.Arrivals {
		if s := ours(r.First + uint16(i)); s != nil && !x.Lost {
			t.base.add(at, x.At-s.at)
		}
	}
	least := t.base.min()
	for i, x := range r.Arrivals {
		s := ours(r.First + uint16(i))
		if s == nil {
			continue
		}
		t.close(s)
		if x.Lost {
			a.lost++
			continue
		}
		wait := x.At - s.at - least
		a.arrived = append(a.arrived, arrival{sent: s.at, at: s.at + wait, wait: wait, size: int(s.size), probe: s.kind == Padding})
		a.rtt = at - s.at
		a.oldest = max(a.oldest, a.rtt)
	}
	if a.rtt > 0 {
		t.rtt.add(at, a.rtt)
	}
	a.minRTT = t.rtt.min()
	// What came before this report and was never told of: the report of it was lost.
	if d := t.next - r.First; d > 0 && d <= kept {
		for t.oldest != r.First && t.oldest-r.First > kept {
			if s := &t.ring[t.oldest%kept]; s.open {
				t.close(s)
			}
			t.oldest++
		}
	}
	return a
}

// floorSpan is how long a least value counts: for one to two of them.
const floorSpan = 15 * time.Second

// floor is a minimum over the last one to two spans.
type floor struct {
	since     time.Duration
	now, last time.Duration
	some, old bool
}

func (f *floor) add(at, v time.Duration) {
	if d := at - f.since; !f.some || d >= floorSpan {
		f.last, f.old = f.now, f.some && d < 2*floorSpan
		f.since, f.now, f.some = at, v, true
	}
	f.now = min(f.now, v)
}

// shift takes everything to be so much more.
func (f *floor) shift(by time.Duration) { f.now, f.last = f.now+by, f.last+by }

func (f *floor) min() time.Duration {
	if f.old {
		return min(f.now, f.last)
	}
	return f.now
}
