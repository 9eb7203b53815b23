package live

import (
	"bytes"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

// NAL unit types (H.264 table 7-1) that matter here.
const (
	nalIDR = 5
	nalSPS = 7
	nalPPS = 8
)

// Frame is one access unit as it came out of the network.
type Frame struct {
	Data      []byte    // Annex B: NAL units behind start codes
	Key       bool      // holds an IDR picture, and SPS and PPS are known
	Timestamp uint32    // RTP, 90 kHz
	Received  time.Time // when its last packet came
}

const (
	window = 512 // packets kept while waiting for a missing one
	giveUp = 128 // packets after which it is no longer waited for: 0.6 s at 2 Mb/s, a repair over a satellite
)

// assembler puts RTP packets (RFC 6184) back in order and together. Its zero value waits for the first complete key
// frame. It is not safe for concurrent use.
type assembler struct {
	depay   codecs.H264Packet
	ring    [window]*rtp.Packet
	next    uint16 // the sequence number wanted now
	newest  uint16
	started bool // next is meaningful
	decode  bool // a key frame was seen and nothing was lost since
	sps     bool
	pps     bool
	data    []byte
	broken  bool // the access unit being built misses a packet
	ts      uint32
	// onLost is told that pictures can't be shown until the next key frame.
	onLost func()
}

// push takes one packet and gives the frames that are complete with it, in order.
func (a *assembler) push(p *rtp.Packet, now time.Time, out func(Frame)) {
	seq := p.SequenceNumber
	if !a.started {
		a.started, a.next, a.newest = true, seq, seq
	}
	if int16(seq-a.next) < 0 {
		return // late or repeated
	}
	if int16(seq-a.newest) > 0 {
		a.newest = seq
	}
	if seq-a.next >= window { // a jump that no repair will fill
		a.ring = [window]*rtp.Packet{}
		a.lose()
		a.next = seq
	}
	a.ring[seq%window] = p
	for a.ring[a.next%window] != nil || a.newest-a.next >= giveUp && int16(a.newest-a.next) > 0 {
		q := a.ring[a.next%window]
		a.ring[a.next%window] = nil
		a.next++
		if q == nil {
			a.lose()
			continue
		}
		a.add(q, now, out)
	}
}

func (a *assembler) lose() {
	a.broken = true
	if a.decode {
		a.decode = false
		if a.onLost != nil {
			a.onLost()
		}
	}
}

func (a *assembler) add(p *rtp.Packet, now time.Time, out func(Frame)) {
	if len(p.Payload) == 0 {
		return // padding, a probe
	}
	if p.Timestamp != a.ts { // a new access unit (RFC 6184 5.1), also when the last one's marker was lost
		a.ts, a.data = p.Timestamp, nil
		a.depay = codecs.H264Packet{}
		a.broken = false
	}
	nals, err := a.depay.Unmarshal(p.Payload)
	if err != nil {
		a.lose()
	}
	a.data = append(a.data, nals...)
	if !p.Marker {
		return
	}
	f := Frame{Data: a.data, Timestamp: a.ts, Received: now}
	a.data = nil
	if a.broken || len(f.Data) == 0 {
		return
	}
	idr := false
	for nal := range nalUnits(f.Data) {
		switch nal[0] & 0x1f {
		case nalSPS:
			a.sps = true
		case nalPPS:
			a.pps = true
		case nalIDR:
			idr = true
		}
	}
	f.Key = idr && a.sps && a.pps
	if f.Key {
		a.decode = true
	}
	if a.decode {
		out(f)
	}
}

// nalUnits walks over the non-empty NAL units of an Annex B stream (H.264 annex B.1).
func nalUnits(b []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		start := []byte{0, 0, 1}
		i := bytes.Index(b, start)
		for i >= 0 {
			b = b[i+len(start):]
			i = bytes.Index(b, start)
			nal := b
			if i >= 0 {
				nal = b[:i]
			}
			// The zero before a four-byte start code is not part of the NAL unit.
			if nal = bytes.TrimRight(nal, "\x00"); len(nal) > 0 && !yield(nal) {
				return
			}
		}
	}
}
