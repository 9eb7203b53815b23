package link

import (
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
		{1, map[*socket]gauge{a: slow(12_500, 0)}, 13_521},                          // what is delivered in a round trip and a little
		{1.5, map[*socket]gauge{a: slow(12_500, 4000), b: slow(0, 3000)}, 6_521},    // by all together
		{2, map[*socket]gauge{a: slow(13_500, 0)}, 13_521},                          // a bad second does not count for long
		{13, map[*socket]gauge{a: slow(13_500, 0)}, 13_521},                         // nor does time in which nobody asked
		{14, map[*socket]gauge{a: slow(14_500, 0)}, 4 * 1448},                       // but then it does, down to the least
		{15, map[*socket]gauge{a: {1 << 30, time.Millisecond, 0, 1448}}, 269508454}, // a local network is not held back
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
