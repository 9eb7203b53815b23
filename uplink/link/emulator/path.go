// Package emulator is a bad network on a good machine: it delays, rations, loses, reorders and cuts IP packets beneath the
// kernel's own TCP.
//
// Parties: two network namespaces with a TUN device each (net.go, tun.go: Linux, CAP_NET_ADMIN in a user namespace is enough);
// between them one Direction each way. Keys: none; packets pass unread.
//
// Invariants: a Direction is a pure machine: with the same seed, and the same packets at the same times, the same come out
// at the same times. It holds at most Queue bytes before the bottleneck and what its delay makes it hold after it. Nothing
// is altered or made twice.
package emulator

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// Path is one direction of a link. The zero value lets everything through at once.
type Path struct {
	Rate    int           // bytes of IP packets a second; 0: no limit
	Queue   int           // bytes that wait before the bottleneck, as in a modem; what comes on top is dropped. 0: 64 KiB
	Delay   time.Duration // of each packet, after the bottleneck
	Jitter  time.Duration // up to so much more, drawn anew for each packet; order is kept
	Loss    float64       // share of packets lost after the bottleneck, each by itself
	Burst   Burst         // and in bursts
	Reorder float64       // share of packets that overtake those before them by up to Delay/2
	Down    bool          // an outage: everything is lost, what is on its way as well
}

// Burst is the Gilbert-Elliott model of a radio link: a good state and a bad one, drawn at each packet.
type Burst struct {
	Enter float64 // chance to go bad
	Leave float64 // chance to become good again
	Loss  float64 // share of packets lost while bad
}

// Count is what became of the packets of a Direction.
type Count struct {
	Offered, Passed, Bytes   int // Bytes of those that passed
	Lost, Overflowed, Downed int
	Waited, Longest          time.Duration // before the bottleneck: all together, and one packet at most
}

const defaultQueue = 64 << 10

// Direction carries packets one way. It is not safe for more than one goroutine.
type Direction struct {
	path  Path
	rnd   *rand.Rand
	bad   bool
	busy  time.Time // until then the bottleneck is taken
	last  time.Time // the latest arrival yet: order is kept to it
	queue flights
	seq   uint64
	count Count
}

// flight is a packet on its way.
type flight struct {
	at     time.Time
	seq    uint64
	packet []byte
}

// NewDirection starts good and empty.
func NewDirection(p Path, seed uint64) *Direction {
	return &Direction{path: p, rnd: rand.New(rand.NewPCG(seed, 0x7e1eca27))}
}

// Set changes the path from now on; what is on its way stays, unless it goes down.
func (d *Direction) Set(p Path) {
	d.path = p
	if p.Down {
		d.count.Downed += len(d.queue)
		d.queue, d.busy, d.last = nil, time.Time{}, time.Time{}
	}
}

// Path is as it was set.
func (d *Direction) Path() Path { return d.path }

// Count is what became of the packets yet.
func (d *Direction) Count() Count { return d.count }

// Offer takes a packet, which it keeps, or drops it.
func (d *Direction) Offer(now time.Time, packet []byte) {
	d.count.Offered++
	if d.path.Down {
		d.count.Downed++
		return
	}
	out := now
	if d.path.Rate > 0 {
		free := later(d.busy, now)
		if waiting := d.bytes(free.Sub(now)); waiting+len(packet) > d.limit() {
			d.count.Overflowed++
			return
		}
		d.count.Waited, d.count.Longest = d.count.Waited+free.Sub(now), max(d.count.Longest, free.Sub(now))
		out = free.Add(time.Duration(int64(len(packet)) * int64(time.Second) / int64(d.path.Rate)))
		d.busy = out
	}
	if d.lost() {
		d.count.Lost++
		return
	}
	at := out.Add(d.path.Delay)
	if d.path.Jitter > 0 {
		at = at.Add(time.Duration(d.rnd.Int64N(int64(d.path.Jitter) + 1)))
	}
	if d.path.Reorder > 0 && d.rnd.Float64() < d.path.Reorder {
		at = at.Add(-d.path.Delay / 2)
	} else {
		at = later(at, d.last)
		d.last = at
	}
	d.seq++
	heap.Push(&d.queue, flight{at, d.seq, packet})
}

// lost draws a packet's fate.
func (d *Direction) lost() bool {
	b := d.path.Burst
	if b != (Burst{}) {
		if d.bad {
			d.bad = d.rnd.Float64() >= b.Leave
		} else {
			d.bad = d.rnd.Float64() < b.Enter
		}
		if d.bad && d.rnd.Float64() < b.Loss {
			return true
		}
	}
	return d.path.Loss > 0 && d.rnd.Float64() < d.path.Loss
}

func (d *Direction) limit() int {
	if d.path.Queue > 0 {
		return d.path.Queue
	}
	return defaultQueue
}

// bytes is how many of them pass in a time.
func (d *Direction) bytes(t time.Duration) int {
	return int(int64(t) * int64(d.path.Rate) / int64(time.Second))
}

// Next says when the next packet comes out.
func (d *Direction) Next() (at time.Time, ok bool) {
	if len(d.queue) == 0 {
		return time.Time{}, false
	}
	return d.queue[0].at, true
}

// Take gives a packet that has come out by now.
func (d *Direction) Take(now time.Time) (packet []byte, ok bool) {
	if len(d.queue) == 0 || d.queue[0].at.After(now) {
		return nil, false
	}
	p := heap.Pop(&d.queue).(flight).packet
	d.count.Passed++
	d.count.Bytes += len(p)
	return p, true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// flights is a heap by time, then by order of arrival.
type flights []flight

func (f flights) Len() int { return len(f) }
func (f flights) Less(i, j int) bool {
	return f[i].at.Before(f[j].at) || f[i].at.Equal(f[j].at) && f[i].seq < f[j].seq
}
func (f flights) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *flights) Push(x any)   { *f = append(*f, x.(flight)) }
func (f *flights) Pop() any {
	x := (*f)[len(*f)-1]
	(*f)[len(*f)-1].packet = nil
	*f = (*f)[:len(*f)-1]
	return x
}
