package room

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtp"

	"telecart/device/kit"
)

func pkt(source uint64, seq uint16, ts uint32, entry bool) *packet {
	p := &packet{source: source, entry: entry, Packet: rtp.Packet{Header: rtp.Header{SequenceNumber: seq, Timestamp: ts}}}
	p.Payload = []byte{1, 2}
	if entry {
		p.Payload = []byte{0x67, 0x42}
	}
	return p
}

func padding(source uint64, seq uint16) *packet {
	return &packet{source: source, padding: true, Packet: rtp.Packet{Header: rtp.Header{SequenceNumber: seq}}}
}

func TestSeam(t *testing.T) {
	type in struct {
		p   *packet
		at  time.Duration
		seq int // expected out; -1: held back
		ts  uint32
	}
	for name, steps := range map[string][]in{
		"starts at a key frame": {
			{pkt(1, 10, 1000, false), 0, -1, 0},
			{pkt(1, 11, 2000, true), 0, 11, 2000},
			{pkt(1, 10, 1000, false), 0, -1, 0},
			{pkt(1, 12, 2000, false), 0, 12, 2000},
		},
		"gaps and disorder within a source stay": {
			{pkt(1, 65535, 5, true), 0, 65535, 5},
			{pkt(1, 2, 6, false), 0, 2, 6},
			{pkt(1, 1, 6, false), 0, 1, 6},
			{pkt(1, 0, 6, false), 0, 0, 6},
		},
		"a new source runs on": {
			{pkt(1, 100, 9000, true), 0, 100, 9000},
			{pkt(1, 101, 9000, false), 0, 101, 9000},
			{pkt(2, 7, 70, false), time.Second, -1, 0},
			{pkt(1, 102, 12000, false), time.Second, 102, 12000},
			{pkt(2, 8, 70, true), 2 * time.Second, 103, 12000 + 90000},
			{pkt(1, 103, 15000, false), 2 * time.Second, -1, 0},
			{pkt(2, 9, 3070, false), 2 * time.Second, 104, 12000 + 90000 + 3000},
		},
		"padding is not missed": {
			{pkt(1, 10, 1000, true), 0, 10, 1000},
			{pkt(1, 11, 1000, false), 0, 11, 1000},
			{padding(1, 13), 0, -1, 0},
			{pkt(1, 12, 2000, false), 0, -1, 0}, // it came too late
			{padding(1, 15), 0, -1, 0},
			{padding(1, 14), 0, -1, 0},
			{pkt(1, 11, 1000, true), 0, -1, 0}, // an old key frame is no way back
			{pkt(1, 17, 9000, false), 0, -1, 0},
			{pkt(1, 18, 9000, true), 0, 12, 9000},
			{pkt(1, 17, 9000, false), 0, -1, 0},
			{pkt(1, 20, 9000, false), 0, 14, 9000},
			{pkt(1, 19, 9000, false), 0, 13, 9000},
		},
		"two sources at the same moment still move time on": {
			{pkt(1, 1, 500, true), 0, 1, 500},
			{pkt(2, 1, 500, true), 0, 2, 501},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := seam{rate: 90000}
			for i, st := range steps {
				var out rtp.Packet
				ok := s.pass(st.p, time.Unix(0, 0).Add(st.at), &out)
				switch {
				case ok != (st.seq >= 0):
					t.Fatalf("step %d: passed %v", i, ok)
				case ok && (out.SequenceNumber != uint16(st.seq) || out.Timestamp != st.ts):
					t.Fatalf("step %d: seq %d ts %d, want %d %d", i, out.SequenceNumber, out.Timestamp, st.seq, st.ts)
				}
			}
		})
	}
}

// A long stream from one source must not come to a halt when sequence numbers wrap.
func TestSeamWraps(t *testing.T) {
	s := seam{rate: 90000}
	for i := range 300_000 {
		var out rtp.Packet
		if !s.pass(pkt(1, uint16(i), uint32(i), i == 0), time.Time{}, &out) || out.SequenceNumber != uint16(i) {
			t.Fatalf("packet %d was held back or moved", i)
		}
	}
}

func TestSlowLane(t *testing.T) {
	r := newRelay(kit.NewManual(time.Unix(0, 0)), 90000)
	ctx, cancel := context.WithCancel(t.Context())
	entered, release := make(chan struct{}, 1), make(chan struct{})
	var slow []uint16
	blocked := newLane(r, func(p *rtp.Packet) error {
		select {
		case entered <- struct{}{}:
		default:
		}
		<-release
		slow = append(slow, p.SequenceNumber)
		return nil
	})
	fast := make(chan uint16, 10*laneCap)
	quick := newLane(r, func(p *rtp.Packet) error { fast <- p.SequenceNumber; return nil })
	r.add(blocked)
	r.add(quick)
	done := make(chan struct{}, 2)
	for _, l := range []*lane{blocked, quick} {
		go func() { l.run(ctx); done <- struct{}{} }()
	}
	<-r.asked // the joins' request
	send := func(seq uint16, entry bool) {
		p := pkt(1, seq, 0, entry)
		r.forward(p)
		if got := <-fast; got != seq { // the other lane gets every packet, while the first is stuck
			t.Fatalf("the quick viewer got %d, want %d", got, seq)
		}
	}
	send(0, true)
	<-entered
	const n = laneCap + 50
	for i := 1; i < n; i++ {
		send(uint16(i), false)
	}
	if blocked.dropped.Load() != n-1-laneCap {
		t.Errorf("%d dropped", blocked.dropped.Load())
	}
	close(release)
	<-r.asked // the slow one asks for a new start
	for len(blocked.q) > 0 {
		runtime.Gosched()
	}
	send(n, false)
	send(n+1, true)
	send(n+2, false)
	for len(blocked.q) > 0 {
		runtime.Gosched()
	}
	cancel()
	<-done
	<-done
	// The first packet, then nothing until the next key frame, numbered as if nothing had been left out.
	if len(slow) < 2 || slow[0] != 0 || slow[1] != 1 || len(slow) > 3 {
		t.Errorf("the slow viewer got %v", slow)
	}
	r.remove(blocked)
	r.remove(quick)
	if len(*r.lanes.Load()) != 0 {
		t.Error("lanes are left")
	}
}

func TestKeyRequestsCoalesce(t *testing.T) {
	clock := kit.NewManual(time.Unix(0, 0))
	r := newRelay(clock, 90000)
	var asks atomic.Int32
	told := make(chan struct{}, 10)
	ask := func() { asks.Add(1); told <- struct{}{} }
	r.ask.Store(&ask)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { r.run(ctx); close(done) }()
	r.needKey()
	<-told
	for range 50 {
		r.needKey()
	}
	clock.AwaitWaiters(1)
	clock.Advance(keyEvery - time.Millisecond)
	if n := asks.Load(); n != 1 {
		t.Errorf("%d requests within %s", n, keyEvery)
	}
	clock.Advance(time.Millisecond)
	<-told
	clock.AwaitWaiters(1)
	clock.Advance(keyEvery)
	cancel()
	<-done
	if n := asks.Load(); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}

func TestStartsPicture(t *testing.T) {
	for _, c := range []struct {
		b    []byte
		want bool
	}{
		{nil, false},
		{[]byte{0x67}, true},
		{[]byte{0x41, 0x9a}, false},
		{[]byte{0x78, 0, 2, 0x67, 0x42, 0, 1, 0x68}, true},
		{[]byte{0x78, 0, 1, 0x68, 0, 2, 0x67, 0x42}, true},
		{[]byte{0x78, 0xff, 0xff, 0x68}, false},
		{[]byte{0x7c, 0x85, 0x88}, false}, // FU-A of an IDR: its parameter sets came before
	} {
		if got := startsPicture(c.b); got != c.want {
			t.Errorf("%x: %v", c.b, got)
		}
	}
}
