package link

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"
)

func TestValve(t *testing.T) {
	a, b := &socket{}, &socket{raw: nil}
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	slow := func(acked uint64, flying int) gauge { return gauge{acked, 600 * time.Millisecond, flying, 1448} }
	var v valve
	for i, c := range []struct {
		at   float64
		all  map[*socket]gauge
		want int
	}{
		{0, map[*socket]gauge{a: {mss: 1448}}, 14_480}, // nothing known: the first flight
		{0.5, map[*socket]gauge{a: slow(0, 15_000)}, -520},
		{1, map[*socket]gauge{a: slow(12_500, 0)}, 10_823},                          // what is delivered in a round trip and a little
		{1.5, map[*socket]gauge{a: slow(12_500, 4000), b: slow(0, 3000)}, 3_823},    // by all together
		{2, map[*socket]gauge{a: slow(13_500, 0)}, 10_823},                          // a bad second does not count for long
		{13, map[*socket]gauge{a: slow(13_500, 0)}, 10_823},                         // nor does time in which nobody asked
		{14, map[*socket]gauge{a: slow(14_500, 0)}, 4 * 1448},                       // but then it does, down to the least
		{15, map[*socket]gauge{a: {1 << 30, time.Millisecond, 0, 1448}}, 162134273}, // a local network is not held back
	} {
		if room := v.room(at(c.at), c.all); room != c.want {
			t.Errorf("%d: room for %d, want %d", i, room, c.want)
		}
	}
	v.drop(a)
	v.drop(nil)
	if _, known := v.flows[a]; known {
		t.Error("a connection that is gone is remembered")
	}
}

// What is written at once fills its segments, TLS's share included.
func TestFitted(t *testing.T) {
	for _, c := range []struct{ n, free, mss, want int }{
		{32 << 10, 1448, 1448, 1426},            // one
		{32 << 10, 2895, 1448, 1426},            // not quite two
		{32 << 10, 2896, 1448, 2874},            // two
		{32 << 10, 1 << 20, 1448, 11*1448 - 22}, // as many as a record holds
		{500, 1448, 1448, 500},                  // the end of a chunk
		{500, 600, 1448, 500},
		{1440, 1448, 1448, 1426},
		{32 << 10, 1 << 20, 65483, 32 << 10}, // the loopback device: no record fills a segment
		{1 << 10, 1 << 20, 65483, 1 << 10},
	} {
		if got := fitted(c.n, c.free, c.mss); got != c.want {
			t.Errorf("fitted(%d, %d, %d) = %d, want %d", c.n, c.free, c.mss, got, c.want)
		}
	}
}

// A connection counts until it is closed, and what it had not sent by then is never sent.
func TestRoad(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	var r road
	pipe, _ := net.Pipe()
	r.add(pipe)
	if _, _, ok := r.room(start); ok {
		t.Error("room on what is no TCP connection")
	}
	r.add(near)
	r.add(near)
	if free, mss, ok := r.room(start); !ok || mss == 0 || free != firstFlight*mss || len(r.all) != 1 {
		t.Errorf("room for %d, segments of %d, %t; %d connections", free, mss, ok, len(r.all))
	}
	near.Close()
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the end was no reset: %v", err)
	}
	if _, _, ok := r.room(start); ok || len(r.all) != 0 || len(r.valve.flows) != 0 {
		t.Errorf("a closed connection still counts: %t", ok)
	}
}
