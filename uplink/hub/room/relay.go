package room

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"

	"telecart/device/kit"
)

const (
	laneCap   = 256                    // packets waiting for one viewer: over a second of picture at 2 Mb/s
	keyEvery  = 500 * time.Millisecond // at most one key frame request to a publisher in this time
	maxLanes  = 64                     // viewers of one stream
	audioRate = 48000
)

// packet is one RTP packet of a source on its way to all lanes, which share it: nobody writes to it.
type packet struct {
	rtp.Packet
	source  uint64 // which publisher it came from
	entry   bool   // a viewer can start here
	padding bool   // a publisher's probe of its link, while its picture is stopped: no viewer gets it
}

// relay carries one medium (picture or sound) of one stream from its present source to its lanes.
type relay struct {
	clock kit.Clock
	rate  uint32 // RTP clock rate
	video bool

	mu    sync.Mutex // of changes to lanes
	lanes atomic.Pointer[[]*lane]

	asked chan struct{}          // somebody needs a key frame
	ask   atomic.Pointer[func()] // how to tell the present source
}

func newRelay(clock kit.Clock, rate uint32) *relay {
	r := &relay{clock: clock, rate: rate, video: rate != audioRate, asked: make(chan struct{}, 1)}
	r.lanes.Store(&[]*lane{})
	return r
}

// run passes key frame requests on, many as one, until ctx ends.
func (r *relay) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.asked:
		}
		if ask := r.ask.Load(); ask != nil {
			(*ask)()
		}
		select {
		case <-ctx.Done():
			return
		case <-r.clock.After(keyEvery):
		}
	}
}

// needKey asks the publisher for a key frame, now or when the last request is old enough. It never blocks.
func (r *relay) needKey() {
	if !r.video {
		return
	}
	select {
	case r.asked <- struct{}{}:
	default:
	}
}

// forward hands a packet to every lane. It never blocks.
func (r *relay) forward(p *packet) {
	p.entry = !p.padding && (!r.video || startsPicture(p.Payload))
	for _, l := range *r.lanes.Load() {
		l.push(p)
	}
}

func (r *relay) add(l *lane) {
	r.mu.Lock()
	defer r.mu.Unlock()
	lanes := append([]*lane{l}, *r.lanes.Load()...)
	r.lanes.Store(&lanes)
	r.needKey()
}

func (r *relay) remove(l *lane) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lanes []*lane
	for _, o := range *r.lanes.Load() {
		if o != l {
			lanes = append(lanes, o)
		}
	}
	r.lanes.Store(&lanes)
}

// lane is one viewer's queue. A viewer that is too slow loses packets, then starts again at a key frame; the others
// don't notice.
type lane struct {
	relay   *relay
	write   func(*rtp.Packet) error
	q       chan *packet
	lost    atomic.Bool
	dropped atomic.Uint64
	seam    seam
}

func newLane(r *relay, write func(*rtp.Packet) error) *lane {
	return &lane{relay: r, write: write, q: make(chan *packet, laneCap), seam: seam{rate: r.rate}}
}

func (l *lane) push(p *packet) {
	select {
	case l.q <- p:
	default:
		l.dropped.Add(1)
		l.lost.Store(true)
	}
}

// run writes until ctx ends or the viewer's connection does.
func (l *lane) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-l.q:
			if l.lost.Swap(false) {
				l.seam.open = false
				l.relay.needKey()
			}
			var out rtp.Packet
			if !l.seam.pass(p, l.relay.clock.Now(), &out) {
				continue
			}
			if err := l.write(&out); err != nil {
				return
			}
		}
	}
}

// seam joins what comes from one publisher after another into one RTP stream that a decoder can't tell from a single
// publisher's: sequence numbers and timestamps run on, every join is at a key frame. Gaps and disorder within one source
// are kept, so that the viewer's own loss repair works.
type seam struct {
	rate   uint32
	source uint64
	open   bool // packets pass
	begun  bool // something has passed
	first  uint16
	seqOff uint16
	tsOff  uint32
	probed uint16 // of the source, its latest padding
	probes bool   // there was some
	seq    uint16 // highest passed
	ts     uint32 // of it
	at     time.Time
}

// pass fills out and returns true when p is to be sent.
func (s *seam) pass(p *packet, now time.Time, out *rtp.Packet) bool {
	if p.source < s.source {
		return false // a straggler of the publisher before
	}
	if p.padding { // a number that no viewer shall miss: the picture goes on behind it as if it had not been
		if p.source == s.source {
			s.open, s.probed, s.probes = false, p.SequenceNumber, true
		}
		return false
	}
	if p.source > s.source || !s.open {
		if !p.entry || p.source == s.source && s.probes && int16(p.SequenceNumber-s.probed) < 0 {
			return false
		}
		s.probes = false
		switch {
		case !s.begun:
			s.seqOff, s.tsOff = 0, 0
		case p.source > s.source:
			s.seqOff = s.seq + 1 - p.SequenceNumber
			gone := uint32(now.Sub(s.at).Seconds() * float64(s.rate))
			s.tsOff = s.ts + max(gone, 1) - p.Timestamp
		default:
			s.seqOff = s.seq + 1 - p.SequenceNumber
		}
		s.source, s.open, s.begun, s.first = p.source, true, true, p.SequenceNumber
		s.seq = p.SequenceNumber + s.seqOff - 1
	}
	if int16(p.SequenceNumber-s.first) < 0 {
		return false // a straggler from before the key frame
	}
	seq, ts := p.SequenceNumber+s.seqOff, p.Timestamp+s.tsOff
	if int16(seq-s.seq) > 0 {
		s.seq, s.ts, s.at = seq, ts, now
		// int16 comparison with the first packet only holds near it.
		if p.SequenceNumber-s.first > 1<<14 {
			s.first = p.SequenceNumber - 1<<13
		}
	}
	*out = rtp.Packet{Payload: p.Payload, Header: rtp.Header{
		Version: 2, Marker: p.Marker, SequenceNumber: seq, Timestamp: ts,
	}}
	return true
}

// startsPicture: does this H.264 payload (RFC 6184 5.2) begin what a fresh decoder can start with, a parameter set?
func startsPicture(b []byte) bool {
	const sps, stapA = 7, 24
	if len(b) == 0 {
		return false
	}
	switch b[0] & 0x1f {
	case sps:
		return true
	case stapA:
		for b = b[1:]; len(b) > 2; {
			n := int(b[0])<<8 | int(b[1])
			if b[2]&0x1f == sps {
				return true
			}
			if len(b) < 2+n {
				return false
			}
			b = b[2+n:]
		}
	}
	return false
}
