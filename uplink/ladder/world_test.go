package ladder

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"telecart/uplink/link/emulator"
)

// world is a camera, its sender and a link, in a time of its own: what uplink/live does with a Ladder, without sockets.
type world struct {
	t       testing.TB
	now     time.Time
	begin   time.Time
	l       *Ladder
	track   *Track
	out     *emulator.Direction
	back    *emulator.Direction
	rnd     *rand.Rand
	lazy    bool // the scene moves little: the encoder needs half
	backlog int  // of items: bytes that wait
	moved   int64
	credit  float64

	queue   []int // packets' sizes that wait at the sender
	waiting int
	frame   time.Time // the next one is due
	frames  int       // that were encoded
	skipped int
	padding []time.Time // when a train's packets are due
	flight  map[uint16]int

	far struct { // the other end
		got     []got
		bytes   int
		last    time.Time
		newest  int
		reports map[int]Report
	}
	longest time.Duration // of packets before the bottleneck
	served  int           // bytes that came out
}

type got struct {
	seq uint16
	at  time.Time
}

const header = 12 + 8 + 16 + 28 // RTP with its extension, SRTP's tag, UDP and IP

func newWorld(t testing.TB, p emulator.Path, seed uint64) *world {
	w := &world{t: t, now: time.Unix(1_800_000_000, 0), rnd: rand.New(rand.NewPCG(seed, 1)), out: emulator.NewDirection(p, seed),
		back: emulator.NewDirection(emulator.Path{Delay: p.Delay}, seed+1), flight: map[uint16]int{}}
	w.begin, w.frame = w.now, w.now
	w.l = New(w.now, Options{})
	w.track = w.l.Join(w.now)
	w.far.reports = map[int]Report{}
	w.want(1)
	return w
}

func (w *world) want(pictures int) {
	w.l.Want(w.now, Demand{Pictures: pictures, Picture: 2_200_000, Backlog: w.backlog > 0})
}

// set changes the link.
func (w *world) set(p emulator.Path) {
	w.out.Set(p)
	w.back.Set(emulator.Path{Delay: p.Delay, Down: p.Down})
}

// run lets time pass, and calls each after every millisecond.
func (w *world) run(d time.Duration, each func()) {
	for end := w.now.Add(d); w.now.Before(end); w.now = w.now.Add(time.Millisecond) {
		w.deliver()
		w.encode()
		w.send()
		w.items()
		if w.now.Sub(w.begin).Milliseconds()%50 == 0 {
			w.l.Tick(w.now)
			w.sane()
		}
		if each != nil {
			each()
		}
	}
}

// sane holds what must be true at every moment.
func (w *world) sane() {
	w.t.Helper()
	s := w.l.Shares()
	if sum := s.Voice + s.Stethoscope + s.Still + s.Video; sum > w.l.Estimate() {
		w.t.Fatalf("%s: %+v of %d", w.now.Sub(w.begin), s, w.l.Estimate())
	}
	if sum := s.Voice + s.Stethoscope + s.Still + s.Video + s.Backlog; sum > w.l.Estimate() && s.Backlog > trickle {
		w.t.Fatalf("%s: %+v of %d", w.now.Sub(w.begin), s, w.l.Estimate())
	}
	if len(w.l.Log()) > logged || len(w.l.est.past) > 4000 {
		w.t.Fatal("grows")
	}
}

func (w *world) encode() {
	if w.now.Before(w.frame) {
		return
	}
	p := w.l.Plan()
	rate := max(p.Rate, 1)
	w.frame = w.frame.Add(time.Second / 30)
	if p.Step == Stills {
		w.queue, w.waiting = nil, 0
		return
	}
	if w.frames++; rate < 30 && w.frames%2 == 0 {
		return
	}
	if w.waiting*8 > p.Bitrate/6 { // more than a sixth of a second waits: this frame is left out
		w.skipped++
		return
	}
	bytes := float64(p.Bitrate) / 8 / float64(rate) * (0.7 + 0.6*w.rnd.Float64())
	if w.frames%120 == 1 {
		bytes *= 5
	}
	if w.lazy {
		bytes /= 2
	}
	for n := int(bytes); n > 0; n -= 1180 {
		w.queue = append(w.queue, min(n, 1180)+header)
		w.waiting += min(n, 1180) + header
	}
}

func (w *world) send() {
	if p, ok := w.l.Probe(w.now); ok {
		n := p.Packets
		for i := range n {
			w.padding = append(w.padding, w.now.Add(p.Over*time.Duration(i)/time.Duration(n)))
		}
	}
	for len(w.padding) > 0 && !w.padding[0].After(w.now) {
		w.padding = w.padding[1:]
		w.put(ProbeSize+header, Padding)
	}
	for len(w.queue) > 0 && w.l.Wait(w.now, w.queue[0]) == 0 {
		w.put(w.queue[0], Media)
		w.waiting -= w.queue[0]
		w.queue = w.queue[1:]
	}
}

func (w *world) put(n int, kind Packet) {
	seq := w.l.Sent(w.track, w.now, n, kind)
	p := make([]byte, n)
	binary.BigEndian.PutUint16(p, seq)
	w.offer(p)
}

// offer puts a packet on the link, and notes how long it waits there.
func (w *world) offer(p []byte) {
	before := w.out.Count().Waited
	w.out.Offer(w.now, p)
	w.longest = max(w.longest, w.out.Count().Waited-before)
}

// items sends what waits, as the share allows.
func (w *world) items() {
	if w.backlog <= 0 {
		return
	}
	w.credit += float64(w.l.Shares().Backlog) / 8 / 1000
	for w.credit > 1300 && w.backlog > 0 {
		w.credit -= 1300
		w.backlog -= 1300
		p := make([]byte, 1300)
		p[0], p[1], p[2] = 0, 0, 1 // an item's
		w.offer(p)
	}
}

// deliver is the far end: a report after two packets' worth, a tenth of a second at most; and its way back.
func (w *world) deliver() {
	for p, ok := w.out.Take(w.now); ok; p, ok = w.out.Take(w.now) {
		w.served += len(p)
		if p[2] == 1 {
			w.moved += int64(len(p))
			w.l.Items(w.now, w.moved)
			continue
		}
		w.far.got = append(w.far.got, got{binary.BigEndian.Uint16(p), w.now})
		w.far.bytes += len(p)
	}
	since := w.now.Sub(w.far.last)
	if len(w.far.got) > 0 && (w.far.bytes >= 2000 && since >= 10*time.Millisecond || since >= 100*time.Millisecond) {
		w.report()
	}
	for p, ok := w.back.Take(w.now); ok; p, ok = w.back.Take(w.now) {
		w.l.Report(w.track, w.now, w.far.reports[int(binary.BigEndian.Uint32(p))])
	}
}

func (w *world) report() {
	g := w.far.got
	r := Report{First: g[0].seq}
	last := g[0].seq
	for _, x := range g {
		if int16(x.seq-last) > 0 {
			last = x.seq
		}
		if int16(x.seq-r.First) < 0 {
			r.First = x.seq
		}
	}
	if next := uint16(w.far.newest + 1); w.far.newest > 0 && int16(r.First-next) > 0 {
		r.First = next
	}
	r.Arrivals = make([]Arrival, int(last-r.First)+1)
	for i := range r.Arrivals {
		r.Arrivals[i].Lost = true
	}
	for _, x := range g {
		r.Arrivals[x.seq-r.First] = Arrival{At: x.at.Sub(w.begin) + time.Hour}
	}
	w.far.newest = int(last)
	w.far.got, w.far.bytes, w.far.last = nil, 0, w.now
	id := len(w.far.reports)
	w.far.reports[id] = r
	w.back.Offer(w.now, binary.BigEndian.AppendUint32(nil, uint32(id)))
}
