package live

import (
	"context"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"telecart/device/kit"
	"telecart/uplink/ladder"
)

const (
	packetOver = 12 + 8 + 16 + 28       // bytes of headers on the wire: RTP with its extension, SRTP, UDP and IP
	outletMost = 1 << 20                // bytes that may wait: a key frame of any size that makes sense
	staleAfter = 500 * time.Millisecond // what waited so long is not worth sending
	probeLook  = 20 * time.Millisecond
)

// outlet lets packets out as the ladder allows; without one, at once. It numbers them when they leave: what was given up
// before leaves no gap for anybody to ask for.
type outlet struct {
	local *webrtc.TrackLocalStaticRTP
	lane  *ladder.Session // nil: there is no ladder
	clock kit.Clock
	order rtp.Sequencer
	more  chan struct{}

	mu    sync.Mutex
	queue []waiting
	bytes int
	ts    uint32 // of the last packet that left
	err   error  // of writing
}

type waiting struct {
	p  *rtp.Packet
	at time.Time
}

func newOutlet(local *webrtc.TrackLocalStaticRTP, o Options) *outlet {
	return &outlet{local: local, lane: o.Ladder, clock: o.Clock, order: rtp.NewRandomSequencer(), more: make(chan struct{}, 1)}
}

// put takes a picture's packets.
func (o *outlet) put(all []*rtp.Packet) error {
	if o.lane == nil {
		for _, p := range all {
			if err := o.write(p); err != nil {
				return err
			}
		}
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.clock.Now()
	for _, p := range all {
		if o.bytes > outletMost {
			break
		}
		o.queue = append(o.queue, waiting{p, now})
		o.bytes += len(p.Payload) + packetOver
	}
	select {
	case o.more <- struct{}{}:
	default:
	}
	return o.err
}

func (o *outlet) write(p *rtp.Packet) error {
	p.SequenceNumber = o.order.NextSequenceNumber()
	return o.local.WriteRTP(p)
}

// run lets packets out until ctx ends.
func (o *outlet) run(ctx context.Context) {
	for ctx.Err() == nil {
		if p, ok := o.lane.Probe(); ok {
			o.probe(ctx, p)
		}
		select {
		case <-ctx.Done():
		case <-o.more:
		case <-o.lane.News():
		case <-o.clock.After(o.flush()):
		}
	}
}

// flush sends what may go, and says when to look again.
func (o *outlet) flush() time.Duration {
	for {
		o.mu.Lock()
		if len(o.queue) == 0 || o.err != nil {
			o.mu.Unlock()
			return probeLook
		}
		p := o.queue[0].p
		if d := o.lane.Wait(len(p.Payload) + packetOver); d > 0 {
			o.mu.Unlock()
			return min(d, probeLook)
		}
		o.queue[0] = waiting{}
		o.queue = o.queue[1:]
		o.bytes -= len(p.Payload) + packetOver
		o.ts = p.Timestamp
		o.mu.Unlock()
		if err := o.write(p); err != nil {
			o.mu.Lock()
			o.err = err
			o.mu.Unlock()
		}
	}
}

// probe sends a train of padding, which the room keeps to itself. Nothing else leaves meanwhile: the picture is stopped.
func (o *outlet) probe(ctx context.Context, p ladder.Probe) {
	n := p.Packets
	o.mu.Lock()
	ts := o.ts
	o.mu.Unlock()
	begin := o.clock.Now()
	for i := range n {
		due := begin.Add(p.Over * time.Duration(i) / time.Duration(n))
		if wait := due.Sub(o.clock.Now()); wait > time.Millisecond {
			select {
			case <-ctx.Done():
				return
			case <-o.clock.After(wait):
			}
		}
		if err := o.write(&rtp.Packet{Header: rtp.Header{Version: 2, Padding: true, PaddingSize: ladder.ProbeSize, Timestamp: ts}}); err != nil {
			return
		}
	}
}

// behind says whether so much waits that another picture would only be late.
func (o *outlet) behind(bitrate int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lane != nil && o.bytes > bitrate/8/6
}

// stale gives up what has waited too long, and says whether something did: what comes next has to be a key frame.
func (o *outlet) stale() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 || o.clock.Now().Sub(o.queue[0].at) < staleAfter {
		return false
	}
	o.queue, o.bytes = nil, 0
	return true
}

// drop gives up all that waits.
func (o *outlet) drop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.queue, o.bytes = nil, 0
}
