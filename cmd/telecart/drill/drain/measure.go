package drain

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"telecart/capture"
	"telecart/uplink/link/emulator"
)

const (
	// payload is what a full TCP segment carries of an IP packet of 1,500 bytes: 20 of IP, 20 of TCP and 12 of its timestamps go off
	// (RFC 9293, RFC 7323).
	payload     = 1448. / emulator.MTU
	vitalEvery  = 1500 * time.Millisecond
	firstBytes  = 4 << 10 // of one connection: its handshake is 2.3 KiB, the head of a request 0.3, and an item's bytes come then
	clipMeasure = 50_000_000
)

// outages are of different lengths, so that they end at different moments of dialling and backing off.
func outages() []time.Duration {
	return []time.Duration{5 * time.Second, 8 * time.Second, 11 * time.Second, 14 * time.Second, 21 * time.Second}
}

// measure does all on one link.
func measure(ctx context.Context, s shape, seed uint64, say io.Writer) (f figures, err error) {
	r, err := newRig(ctx, seed, say)
	if err != nil {
		return f, err
	}
	defer r.close()
	if f.Fraction, err = r.drain(ctx, s, say); err != nil {
		return f, err
	}
	fmt.Fprintf(say, "drain: %d kb/s: %.3f of the payload capacity\n", s.path.Rate*8/1000, f.Fraction)
	r.cable.Set(emulator.Path{}, emulator.Path{})
	c, err := r.cart(ctx)
	if err != nil {
		return f, err
	}
	defer c.close()
	if _, _, err := c.put(ctx, capture.Clip, clipMeasure); err != nil {
		return f, err
	}
	r.cable.Set(s.path, s.path)
	if err := c.start(ctx); err != nil {
		return f, err
	}
	over, err := c.vitals(ctx, s, say)
	if err != nil {
		return f, err
	}
	out, _ := r.cable.Count()
	fmt.Fprintf(say, "drain: %d kb/s: packets waited %d ms in the modem on average, %d ms at most\n", s.path.Rate*8/1000,
		out.Waited.Milliseconds()/int64(max(1, out.Offered)), out.Longest.Milliseconds())
	f.VitalP50, f.VitalP95, f.VitalMax = over[len(over)/2].Milliseconds(), over[len(over)*95/100].Milliseconds(), over[len(over)-1].Milliseconds()
	fmt.Fprintf(say, "drain: %d kb/s: vital signs over the round trip: %d ms p50, %d ms p95, %d ms at most\n", s.path.Rate*8/1000, f.VitalP50, f.VitalP95, f.VitalMax)
	for _, o := range outages() {
		d, err := r.firstByte(ctx, o)
		if err != nil {
			return f, err
		}
		f.FirstByte = append(f.FirstByte, d.Milliseconds())
	}
	fmt.Fprintf(say, "drain: %d kb/s: first bytes after outages: %v ms\n", s.path.Rate*8/1000, f.FirstByte)
	return f, nil
}

// drain measures how much of the link a backlog gets, from the first SYN to the last receipt.
func (r *rig) drain(ctx context.Context, s shape, say io.Writer) (float64, error) {
	c, err := r.cart(ctx)
	if err != nil {
		return 0, err
	}
	defer c.close()
	sealed := 0
	for k, n := range map[capture.Kind][2]int{capture.Clip: {1, s.items.clip}, capture.Still: {s.items.stills, s.items.still}, capture.Reading: {s.items.readings, 0}} {
		for range n[0] {
			_, n, err := c.put(ctx, k, n[1])
			if err != nil {
				return 0, err
			}
			sealed += n
		}
	}
	before, _ := r.cable.Count()
	r.cable.Set(s.path, s.path)
	from := time.Now()
	if err := c.start(ctx); err != nil {
		return 0, err
	}
	least := time.Duration(float64(sealed) / (float64(s.path.Rate) * payload) * float64(time.Second))
	if err := c.until(ctx, "a backlog", 4*least, func() bool { return c.box.Stats().Held == 0 }); err != nil {
		return 0, err
	}
	out, _ := r.cable.Count()
	fmt.Fprintf(say, "drain: %d kb/s: %d bytes of sealed items in %d bytes of packets; %d packets passed, %d lost, %d too many for the queue; %.1f s\n",
		s.path.Rate*8/1000, sealed, out.Bytes-before.Bytes, out.Passed-before.Passed, out.Lost-before.Lost, out.Overflowed-before.Overflowed, time.Since(from).Seconds())
	return least.Seconds() / time.Since(from).Seconds(), nil
}

// vitals captures a vital sign every now and then while a clip drains, and gives how long each waited for its receipt beyond
// the round trip, sorted.
func (c *cart) vitals(ctx context.Context, s shape, say io.Writer) (over []time.Duration, err error) {
	if err := c.rig.passed(ctx, 256<<10); err != nil { // beyond slow start
		return nil, err
	}
	for range s.vitals {
		from := time.Now()
		v, _, err := c.put(ctx, capture.Reading, 0)
		if err != nil {
			return nil, err
		}
		if err := c.until(ctx, "a vital sign's receipt", time.Minute, func() bool { sent, _ := c.box.Sent(v.Hash); return sent }); err != nil {
			return nil, err
		}
		took := time.Since(from)
		over = append(over, took-s.rtt())
		select {
		case <-time.After(vitalEvery - took):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	slices.Sort(over)
	fmt.Fprintf(say, "drain: %d kb/s: each, sorted: %v\n", s.path.Rate*8/1000, over)
	return over, nil
}

// passed waits until n more bytes have come out at the hub's end.
func (r *rig) passed(ctx context.Context, n int) error {
	start, _ := r.cable.Passed()
	return r.await(ctx, fmt.Sprintf("%d bytes of packets", n), func() (bool, <-chan struct{}) {
		now, more := r.cable.Passed()
		return now.Bytes-start.Bytes >= n, more
	})
}

// await waits until what comes out of the cable is as wanted.
func (r *rig) await(ctx context.Context, what string, ok func() (bool, <-chan struct{})) error {
	timeout := time.NewTimer(5 * time.Minute)
	defer timeout.Stop()
	for {
		there, more := ok()
		if there {
			return nil
		}
		select {
		case <-more:
		case <-timeout.C:
			return fmt.Errorf("drain: %s: not in five minutes", what)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// firstByte cuts the link for a time and measures how long after its return bytes of an item come out of it.
func (r *rig) firstByte(ctx context.Context, outage time.Duration) (time.Duration, error) {
	r.cable.Cut()
	select {
	case <-time.After(outage):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	r.cable.Mend()
	from := time.Now()
	if err := r.await(ctx, "an item's first byte", func() (bool, <-chan struct{}) {
		most, more := r.cable.Busiest()
		return most >= firstBytes, more
	}); err != nil {
		return 0, err
	}
	since := time.Since(from)
	return since, r.passed(ctx, 128<<10) // and really goes on
}
