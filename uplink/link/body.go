package link

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"telecart/uplink/wire"
)

// transfer is one PUT: what is sent, and what of it was.
type transfer struct {
	d        *delivery
	job      job
	manifest wire.Manifest
	header   wire.Header
	have     map[int]bool // chunks that the hub holds
	moved    atomic.Int64 // bytes handed out

	mu   sync.Mutex
	body *body // the present one
}

// traced tells the road of its connection.
func (t *transfer) traced(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { t.d.road.add(i.Conn) }})
}

// size is the length of the body.
func (t *transfer) size() int64 {
	n := int64(4 + len(t.manifest.Marshal()))
	for i := range t.manifest.Chunks {
		if !t.have[i] {
			n += int64(8 + t.header.SealedSize(i))
		}
	}
	return n
}

// open gives a fresh body; the one before reads no more.
func (t *transfer) open(ctx context.Context) io.ReadCloser {
	t.close()
	b := t.begin(ctx)
	t.mu.Lock()
	t.body = b
	t.mu.Unlock()
	return b
}

// close ends the present body: once it returns nothing reads the outbox any more.
func (t *transfer) close() {
	t.mu.Lock()
	b := t.body
	t.mu.Unlock()
	if b != nil {
		b.Close()
	}
}

// body is a PUT's body as it is read: length of the manifest (4), the manifest, then for each chunk its index (4), its length
// (4), its bytes. It gives a little at a time, and when the link has room for it.
type body struct {
	ctx context.Context
	t   *transfer

	mu     sync.Mutex
	rest   []byte // of the present frame
	next   int    // chunk
	closed bool
}

var errClosed = errors.New("link: the request has ended")

// begin gives a body that nobody else knows of.
func (t *transfer) begin(ctx context.Context) *body {
	m := t.manifest.Marshal()
	return &body{ctx: ctx, t: t, rest: append(binary.BigEndian.AppendUint32(nil, uint32(len(m))), m...)}
}

// Read gives what may go out now; it waits until something may.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, errClosed
	}
	if len(b.rest) == 0 {
		if err := b.fill(); err != nil {
			return 0, err
		}
	}
	n := min(len(p), len(b.rest))
	if !b.t.job.vital() {
		n = b.t.d.room(b.ctx, b.t, n)
	}
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n = copy(p[:n], b.rest)
	b.rest = b.rest[n:]
	b.t.moved.Add(int64(n))
	return n, nil
}

// whole is all of a body, for one that is small.
func (t *transfer) whole() ([]byte, error) {
	b := t.begin(context.Background())
	out := b.rest
	for {
		switch err := b.fill(); err {
		case nil:
			out = append(out, b.rest...)
		case io.EOF:
			return out, nil
		default:
			return nil, err
		}
	}
}

// fill reads the next chunk that the hub lacks.
func (b *body) fill() error {
	for t := b.t; b.next < len(t.manifest.Chunks); {
		i := b.next
		b.next++
		if t.have[i] {
			continue
		}
		chunk, err := t.job.box.Chunk(t.manifest, t.header, i)
		if err != nil {
			return err
		}
		frame := make([]byte, 0, 8+len(chunk))
		frame = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(frame, uint32(i)), uint32(len(chunk)))
		b.rest = append(frame, chunk...)
		return nil
	}
	return io.EOF
}

// Close waits for a Read that is under way: its context should have ended.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}

// A TLS record has a header of 5 bytes, a tag of 16 and a byte for its type beside what it carries, which is 16 KiB at most
// (RFC 8446, 5.2 and the cipher suites of B.4).
const (
	recordOver = 22
	recordMost = 16 << 10
)

// room waits until some of n bytes may be written, and says how many.
func (d *delivery) room(ctx context.Context, t *transfer, n int) int {
	if t.job.lane == LaneBulk {
		d.yield(ctx)
	}
	d.share(ctx, n)
	for ctx.Err() == nil {
		free, mss, ok := d.road.room(d.c.opt.Clock.Now())
		if !ok {
			break
		}
		if free >= min(n, mss) {
			return fitted(n, free, mss)
		}
		select {
		case <-ctx.Done():
		case <-d.c.opt.Clock.After(yieldStep):
		}
	}
	return n
}

// fitted is how many of n bytes are written at once, if free of them may be: as many as make one TLS record that fills its
// segments, since one that is a little longer costs a packet more. There is room for n, or for a segment.
func fitted(n, free, mss int) int {
	if full := min(free, recordMost) / mss * mss; full > recordOver {
		return min(n, full-recordOver)
	}
	return min(n, free)
}

// share keeps to the part of the link that items may take.
func (d *delivery) share(ctx context.Context, n int) {
	if d.c.opt.Share == nil {
		return
	}
	for ctx.Err() == nil {
		wait := shareStep
		if rate := d.c.opt.Share(); rate > 0 {
			if wait = d.turn(time.Duration(int64(n) * int64(time.Second) / int64(rate))); wait <= 0 {
				return
			}
		}
		select {
		case <-ctx.Done():
		case <-d.c.opt.Clock.After(min(wait, shareStep)):
		}
	}
}

// shareStep is how soon a changed share is noticed.
const shareStep = 50 * time.Millisecond

// turn takes a time slot that lasts so long, if the last one is over; else it says how long that takes.
func (d *delivery) turn(slot time.Duration) time.Duration {
	now := d.c.opt.Clock.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if wait := d.slot.Sub(now); wait > 0 {
		return wait
	}
	if now.Sub(d.slot) > shareStep { // what was not used is not saved up
		d.slot = now
	}
	d.slot = d.slot.Add(slot)
	return 0
}
