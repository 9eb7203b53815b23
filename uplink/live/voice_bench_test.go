package live

import (
	"context"
	"encoding/binary"
	"math"
	"net"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"telecart/device"
	"telecart/device/voice"
	"telecart/uplink/hub/room"
	"telecart/uplink/link/emulator"
)

// narrow is a socket of the hub whose way in is an emulated link. What a packet has beyond its payload (IP and UDP) counts.
type narrow struct {
	*net.UDPConn
	in chan arrival

	mu    sync.Mutex
	dir   *emulator.Direction
	from  []net.Addr
	wake  chan struct{}
	bytes []passed // that the link took of the speaker, when
}

type arrival struct {
	packet []byte
	from   net.Addr
}

type passed struct {
	at    time.Time
	from  int
	bytes int
}

const headers = 28 // of IPv4 and UDP

func newNarrow(b *testing.B, path emulator.Path, ctx context.Context) *narrow {
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	n := &narrow{UDPConn: udp, in: make(chan arrival, 256), dir: emulator.NewDirection(path, 1), wake: make(chan struct{}, 1)}
	go n.read()
	go n.deliver(ctx)
	return n
}

func (n *narrow) read() {
	buf := make([]byte, 2000)
	for {
		k, from, err := n.UDPConn.ReadFrom(buf)
		if err != nil {
			return
		}
		n.offer(from, buf[:k])
	}
}

// offer puts a packet onto the link; without a sender it is a still's, and goes nowhere.
func (n *narrow) offer(from net.Addr, payload []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	who := -1
	if from != nil {
		if who = slices.IndexFunc(n.from, func(a net.Addr) bool { return a.String() == from.String() }); who < 0 {
			who = len(n.from)
			n.from = append(n.from, from)
		}
	}
	p := make([]byte, headers, headers+len(payload))
	binary.BigEndian.PutUint32(p, uint32(who))
	now := time.Now()
	n.bytes = append(n.bytes, passed{now, who, headers + len(payload)})
	n.dir.Offer(now, append(p, payload...))
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *narrow) deliver(ctx context.Context) {
	for ctx.Err() == nil {
		n.mu.Lock()
		var late <-chan time.Time
		for {
			p, ok := n.dir.Take(time.Now())
			if !ok {
				break
			}
			if who := int32(binary.BigEndian.Uint32(p)); who >= 0 {
				n.in <- arrival{p[headers:], n.from[who]}
			}
		}
		if at, ok := n.dir.Next(); ok {
			late = time.After(time.Until(at))
		}
		n.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-late:
		case <-n.wake:
		}
	}
	close(n.in)
}

func (n *narrow) ReadFrom(p []byte) (int, net.Addr, error) {
	a, ok := <-n.in
	if !ok {
		return 0, nil, net.ErrClosed
	}
	return copy(p, a.packet), a.from, nil
}

// most is the most that anybody but the still took of the link in any three seconds, in kbit/s.
func (n *narrow) most(after time.Time) (kbps float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	const span = 3 * time.Second
	for from := range n.from {
		for at := after; at.Add(span).Before(time.Now()); at = at.Add(100 * time.Millisecond) {
			sum := 0
			for _, p := range n.bytes {
				if p.from == from && !p.at.Before(at) && p.at.Before(at.Add(span)) {
					sum += p.bytes
				}
			}
			kbps = max(kbps, float64(8*sum)/1000/span.Seconds())
		}
	}
	return kbps
}

// card is a loudspeaker with the delay of a real one in hand, which knows when each value was heard.
type card struct {
	mu    sync.Mutex
	start time.Time
	heard []int16
}

const inHand = 30 * time.Millisecond // as device/voice

func (c *card) Run(context.Context) error { return nil }
func (c *card) Speak() device.Mouth       { return c }
func (c *card) Close()                    {}

func (c *card) Write(ctx context.Context, values []int16) error {
	c.mu.Lock()
	if c.start.IsZero() {
		c.start = time.Now()
	}
	late := int(time.Since(c.start)*voice.RateHz/time.Second) - len(c.heard)
	c.heard = append(append(c.heard, make([]int16, max(0, late))...), values...) // nothing came in time: silence
	until := c.start.Add(time.Duration(len(c.heard))*time.Second/voice.RateHz - inHand)
	c.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-time.After(time.Until(until)):
	}
	return nil
}

// envelope is how loud a tone is around each 5 ms of a sound.
func envelope(values []int16, hz float64) (out []float64) {
	const window, hop = voice.RateHz / 50, voice.RateHz / 200
	for from := 0; from+window <= len(values); from += hop {
		out = append(out, level(values[from:from+window], hz))
	}
	return out
}

// BenchmarkVoice says how long a voice takes from the room to the ear beyond the link's own delay, how much of it is missing, and what
// it takes of the link: 100 kb/s, 600 ms there and back, 2 % loss; once alone, and once beside a still that has the rest of it.
func BenchmarkVoice(b *testing.B) {
	for _, x := range []struct {
		name  string
		still int // bytes of a packet
	}{{"voice_alone_", 0}, {"voice_", 1200}} {
		added, gap, kbps := talk(b, x.still)
		b.ReportMetric(added, x.name+"added_ms")
		b.ReportMetric(gap, x.name+"max_gap_ms")
		b.ReportMetric(kbps, x.name+"kbps")
	}
}

func talk(b *testing.B, still int) (added, gap, kbps float64) {
	const delay, spoken = 300 * time.Millisecond, 40 * time.Second
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n := newNarrow(b, emulator.Path{Rate: 100_000 / 8, Delay: delay, Loss: 0.02}, ctx)
	hall, err := room.New(room.Options{UDP: n, Authorize: func(context.Context, string, string, room.Action) error { return nil }})
	if err != nil {
		b.Fatal(err)
	}
	srv := httptest.NewServer(hall.Handler())
	k, c := newTalker(b), &card{}
	up := make(chan struct{}, 2)
	ended := make(chan error, 2)
	go func() {
		ended <- Speak(ctx, SpeakOptions{Endpoint: srv.URL + "/v1/whip/v", Token: "t", HTTP: srv.Client(), Microphone: k.mic(), Up: func() { up <- struct{}{} }})
	}()
	go func() {
		ended <- Hear(ctx, HearOptions{Endpoint: srv.URL + "/v1/whep/v", Token: "t", HTTP: srv.Client(), Loudspeaker: c, Up: func() { up <- struct{}{} }})
	}()
	for range 2 {
		want(b, "both ends", up)
	}
	if still > 0 {
		go func() { // what a still gets that leaves the voice its share
			tick := time.NewTicker(time.Duration(still+headers) * 8 * time.Second / 75_000)
			defer tick.Stop()
			for ctx.Err() == nil {
				<-tick.C
				n.offer(nil, make([]byte, still))
			}
		}()
	}
	from := time.Now().Add(5 * time.Second) // until then it learns what the link is like
	<-time.After(time.Until(from.Add(spoken)))
	kbps = n.most(from)
	c.mu.Lock()
	heard, start := slices.Clone(c.heard), c.start
	c.mu.Unlock()
	cancel()
	for range 2 {
		if err := <-ended; err != nil {
			b.Error(err)
		}
	}
	srv.CloseClientConnections()
	srv.Close()
	hall.Close()

	var delays []float64
	loud := map[float64][]float64{}
	first := int64(from.Sub(k.Began())/voice.BurstEvery) + 1
	last := int64(from.Add(spoken-2*time.Second).Sub(k.Began()) / voice.BurstEvery)
	for burst := first; burst < last; burst++ {
		hz := voice.BurstHz(burst)
		if hz == 0 {
			continue
		}
		if loud[hz] == nil {
			loud[hz] = envelope(heard, hz)
		}
		said := k.Began().Add(time.Duration(burst) * voice.BurstEvery)
		if at, ok := onset(loud[hz], said.Sub(start)); ok {
			delays = append(delays, float64(at-said.Sub(start)-delay)/1e6)
		}
	}
	if len(delays) < int(last-first)/2 {
		b.Fatalf("%d of %d bursts were heard", len(delays), last-first)
	}
	slices.Sort(delays)
	typical := delays[len(delays)/2]
	for burst := first; burst < last; burst++ {
		if hz := voice.BurstHz(burst); hz != 0 {
			begin := k.Began().Add(time.Duration(burst)*voice.BurstEvery).Sub(start) + delay + time.Duration(typical*1e6)
			gap = max(gap, quietest(loud[hz], begin))
		}
	}
	b.Logf("still of %d bytes: added %.0f ms at least, %.0f in the middle, %.0f at most", still, delays[0], typical, delays[len(delays)-1])
	return delays[len(delays)*95/100], gap, kbps
}

const half = 4500 // of a burst's level

// onset is when a burst begins that was said at a time.
func onset(env []float64, said time.Duration) (time.Duration, bool) {
	for i := max(0, int(said/(5*time.Millisecond))); i < len(env) && i < int((said+1500*time.Millisecond)/(5*time.Millisecond)); i++ {
		if env[i] > half {
			return time.Duration(i)*5*time.Millisecond + 10*time.Millisecond, true // the window's middle
		}
	}
	return 0, false
}

// quietest is the longest time in which a burst that should be heard from begin on is not, in ms.
func quietest(env []float64, begin time.Duration) (most float64) {
	now := 0.0
	for t := 30 * time.Millisecond; t < voice.BurstLasts-30*time.Millisecond; t += 5 * time.Millisecond {
		i := int((begin + t) / (5 * time.Millisecond))
		if i < len(env) && env[i] < half/5 {
			if now += 5; now > most {
				most = now
			}
		} else {
			now = 0
		}
	}
	return math.Round(most)
}
