package emulator

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

// packet number i of n bytes.
func packet(i, n int) []byte { return append([]byte{byte(i >> 8), byte(i)}, make([]byte, n-2)...) }

// all takes everything, each when it is due.
func all(d *Direction) (ids []int, times []time.Time) {
	for {
		next, ok := d.Next()
		if !ok {
			return ids, times
		}
		if _, early := d.Take(next.Add(-1)); early {
			panic("early")
		}
		p, _ := d.Take(next)
		ids, times = append(ids, int(p[0])<<8|int(p[1])), append(times, next)
	}
}

func TestNothingWrong(t *testing.T) {
	d := NewDirection(Path{}, 1)
	in := packet(7, 100)
	d.Offer(start, in)
	if p, ok := d.Take(start); !ok || !bytes.Equal(p, in) {
		t.Errorf("%x %t", p, ok)
	}
	if c := d.Count(); c != (Count{Offered: 1, Passed: 1, Bytes: 100}) {
		t.Errorf("%+v", c)
	}
}

// A full link hands out its rate, no more, and everything that waits comes after its delay.
func TestRate(t *testing.T) {
	d := NewDirection(Path{Rate: 125_000, Delay: 30 * time.Millisecond, Queue: 10_000}, 1)
	for i := range 8 {
		d.Offer(start, packet(i, 1250)) // 10 ms each
	}
	ids, times := all(d)
	for i := range 8 {
		if ids[i] != i || !times[i].Equal(at(10*(i+1)+30)) {
			t.Errorf("packet %d is %d at %s", i, ids[i], times[i].Sub(start))
		}
	}
	if c := d.Count(); c.Longest != 70*time.Millisecond || c.Waited != 280*time.Millisecond {
		t.Errorf("waited %s, %s at most", c.Waited, c.Longest)
	}
	d.Offer(at(1000), packet(9, 1250)) // an idle link saves nothing up
	if next, _ := d.Next(); !next.Equal(at(1040)) {
		t.Error(next.Sub(start))
	}
}

// What does not fit into the queue is dropped at its tail; there is room again as the queue drains.
func TestQueue(t *testing.T) {
	d := NewDirection(Path{Rate: 1000, Queue: 3000}, 1)
	for i := range 5 {
		d.Offer(start, packet(i, 1000))
	}
	if c := d.Count(); c.Overflowed != 2 {
		t.Fatalf("%+v", c)
	}
	d.Offer(at(999), packet(5, 1000)) // the first is not quite through
	d.Offer(at(1000), packet(6, 1000))
	if ids, _ := all(d); !slices.Equal(ids, []int{0, 1, 2, 6}) {
		t.Error(ids)
	}
}

// run offers n packets, one a millisecond.
func run(p Path, seed uint64, n int) (*Direction, []int, []time.Time) {
	d := NewDirection(p, seed)
	for i := range n {
		d.Offer(at(i), packet(i, 100))
	}
	ids, times := all(d)
	return d, ids, times
}

func TestLoss(t *testing.T) {
	p := Path{Loss: 0.02, Delay: time.Second}
	d, ids, _ := run(p, 5, 20_000)
	if share := float64(d.Count().Lost) / 20_000; math.Abs(share-0.02) > 0.003 {
		t.Errorf("%.4f lost", share)
	}
	if _, again, _ := run(p, 5, 20_000); !slices.Equal(ids, again) {
		t.Error("the same seed lost others")
	}
	if _, other, _ := run(p, 6, 20_000); slices.Equal(ids, other) {
		t.Error("another seed lost the same")
	}
}

// Bursts lose as much as their model says, and in a row.
func TestBurst(t *testing.T) {
	d, ids, _ := run(Path{Burst: Burst{Enter: 0.01, Leave: 0.2, Loss: 0.9}}, 3, 40_000)
	want := 0.01 / (0.01 + 0.2) * 0.9
	if share := float64(d.Count().Lost) / 40_000; math.Abs(share-want) > 0.006 {
		t.Errorf("%.4f lost, want %.4f", share, want)
	}
	gaps := 0
	for i := range ids[1:] {
		if ids[i+1] != ids[i]+1 {
			gaps++
		}
	}
	if mean := float64(d.Count().Lost) / float64(gaps); mean < 2 {
		t.Errorf("bursts of %.1f packets", mean)
	}
}

func TestJitterKeepsOrder(t *testing.T) {
	_, ids, times := run(Path{Delay: 20 * time.Millisecond, Jitter: 15 * time.Millisecond}, 3, 2000)
	if !slices.IsSorted(ids) || len(ids) != 2000 {
		t.Error("out of order")
	}
	least, most := time.Hour, time.Duration(0)
	for i, id := range ids {
		wait := times[i].Sub(at(id))
		least, most = min(least, wait), max(most, wait)
	}
	if least < 20*time.Millisecond || most > 35*time.Millisecond || most-least < 10*time.Millisecond {
		t.Errorf("%s to %s", least, most)
	}
}

func TestReorder(t *testing.T) {
	_, ids, _ := run(Path{Delay: 20 * time.Millisecond, Reorder: 0.1}, 3, 1000)
	early := 0
	for i, id := range ids {
		if id > i {
			early++
		}
	}
	if len(ids) != 1000 || early < 50 {
		t.Errorf("%d of %d came early", early, len(ids))
	}
}

// An outage loses what comes and what is on its way; after it all is as before.
func TestOutage(t *testing.T) {
	p := Path{Rate: 1000, Delay: 100 * time.Millisecond}
	d := NewDirection(p, 1)
	d.Offer(start, packet(0, 1000))
	down := p
	down.Down = true
	d.Set(down)
	d.Offer(at(1), packet(1, 1000))
	if _, any := d.Next(); any || d.Count().Downed != 2 {
		t.Errorf("%+v", d.Count())
	}
	d.Set(p)
	d.Offer(at(5000), packet(2, 1000))
	if next, _ := d.Next(); !next.Equal(at(6100)) {
		t.Error(next.Sub(start))
	}
}

func ExampleDirection() {
	d := NewDirection(Path{Rate: 100_000 / 8, Delay: 300 * time.Millisecond}, 1)
	d.Offer(start, make([]byte, 1250))
	next, _ := d.Next()
	fmt.Println(next.Sub(start))
	// Output: 400ms
}
