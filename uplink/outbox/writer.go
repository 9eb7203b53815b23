package outbox

import (
	"errors"
	"fmt"
	"runtime"

	"telecart/capture/ledger"
	"telecart/device/kit/planted"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// maxBatch bounds how many requests share one commit: if there are more, they seal while this one is written.
const maxBatch = 32

// request is one turn of the writer: an item with its last records, or an entry that is no item.
type request struct {
	records []record
	frames  []*[]byte // that they lie in
	size    int64
	sealed  *seal.Sealed
	wrap    []byte
	attempt uint64
	queued  bool         // of the caller alone
	fork    *forking     // begin a new incarnation
	turn    *live        // nothing to write: go to a fresh segment, if this one is still the current one
	entry   ledger.Entry // result
	done    chan error
}

// forking is a new incarnation and the head that it names.
type forking struct {
	incarnation ledger.ID
	disputed    ledger.Hash
}

type record struct {
	key   recordKey
	bytes []byte
}

// writer is the one goroutine that enters items in the ledger. Whoever asked while it was busy shares the next commit.
func (o *Outbox) writer() {
	defer o.wg.Done()
	defer close(o.ended)
	var left *request // did not fit into the batch
	for {
		r := left
		if left = nil; r == nil {
			select {
			case r = <-o.requests:
			case <-o.quit:
				o.refuse()
				return
			}
		}
		if r.turn != nil {
			r.done <- o.turn(r.turn)
			continue
		}
		var batch []*request
		batch, left = o.gather(r)
		err := o.writeBatch(batch)
		if err != nil {
			o.opt.Log.Error("outbox: commit failed", "err", err)
		}
		o.crowd.Store(int32(len(batch) + len(o.requests)))
		for _, r := range batch {
			if r.sealed != nil {
				o.endPut(r.attempt)
			}
			r.done <- err
		}
		o.changed()
	}
}

// refuse answers those who came too late.
func (o *Outbox) refuse() {
	for {
		select {
		case r := <-o.requests:
			r.done <- ErrClosed
		default:
			return
		}
	}
}

// patience is how often the writer lets others run before it commits without some of those who are known to be putting: those
// who shared the last commit, are woken by it and are sealing their next items, and those who came while it was under way.
const patience = 400

// many is how many who put at the same time are more than a cart's own work.
const many = 24

// busy says whether so many are putting.
func (o *Outbox) busy() bool { return o.crowd.Load() >= many }

// gather takes as many requests as one batch can hold.
func (o *Outbox) gather(r *request) (batch []*request, left *request) {
	batch = append(o.batch[:0], r)
	if r.fork != nil {
		return batch, nil // a segment has entries of one incarnation
	}
	size := r.size
	for yields := 0; len(batch) < maxBatch; {
		select {
		case r = <-o.requests:
			if r.turn != nil || r.fork != nil || size+r.size > o.logRoom() {
				return batch, r
			}
			batch = append(batch, r)
			size += r.size
		default:
			if len(batch) >= int(o.crowd.Load()) || yields >= patience {
				return batch, nil
			}
			yields++
			runtime.Gosched()
		}
	}
	return batch, nil
}

// logRoom is how many bytes of records one batch can have.
func (o *Outbox) logRoom() int64 { return o.opt.LogSize - blockSize }

// turn goes on to a fresh segment, unless that was done already.
func (o *Outbox) turn(from *live) error {
	if o.cur != from {
		return nil
	}
	return o.nextSegment()
}

// errUntouched: nothing was written; the numbers are free.
var errUntouched = errors.New("outbox: not saved; what was saved before is untouched")

// writeBatch commits, and if that fails commits the very same entries to a fresh segment: should the failed commit have
// reached the disk after all, both copies are equal. If the second commit fails too, the ledger can't say which of its
// next numbers are taken, and goes on in a new incarnation.
func (o *Outbox) writeBatch(batch []*request) error {
	size := int64(0)
	forks := o.ambiguous
	for _, r := range batch {
		size += r.size
		forks = forks || r.fork != nil
	}
	// A new incarnation starts its own segment.
	if forks && o.entered() || !o.reserve(o.cur, size) {
		if err := o.nextSegment(); err != nil {
			return fmt.Errorf("%w: %w", errUntouched, err)
		}
		o.cur.used.Add(size)
	}
	o.mu.Lock()
	chain := o.chain
	o.mu.Unlock()
	var fork *forking
	if o.ambiguous && batch[0].fork == nil {
		fork = &forking{ledger.NewID(), chain.Head}
	}
	next, err := o.commit(batch, chain, fork)
	if errors.Is(err, errUntouched) {
		return err
	}
	if err != nil {
		o.condemn(err)
		if planted.Is(planted.ReusedNumber) {
			return err
		}
		o.ambiguous = true // until a commit succeeds
		if err := o.nextSegment(); err != nil {
			return err
		}
		o.cur.used.Add(size)
		if next, err = o.commit(batch, chain, fork); err != nil {
			o.condemn(err)
			return err
		}
	}
	o.ambiguous = false
	o.committed(batch, next)
	return nil
}

// reserve gives a size a place in a segment, if there is room. bbolt's own pages come on top, hence not all of it.
func (o *Outbox) reserve(s *live, size int64) bool {
	if s.bad.Load() {
		return false
	}
	if s.used.Add(size) > o.opt.SegmentSize*3/4 {
		s.used.Add(-size)
		return false
	}
	return true
}

// entered says whether anything lies in the current segment.
func (o *Outbox) entered() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.cur.used.Load() > 0 || o.x.segment(o.cur.n).entries > 0
}

func (o *Outbox) condemn(err error) {
	o.cur.bad.Store(true)
	o.mu.Lock()
	o.condemned++
	o.mu.Unlock()
	o.opt.Log.Error("outbox: segment condemned", "segment", o.cur.n, "err", err)
}

// layout is a batch as it is being put together.
type layout struct {
	b       []byte
	spots   []spotOf
	entries []ledger.Entry
	chain   ledger.Chain
}

func (l *layout) record(k recordKey, b []byte) {
	l.spots = append(l.spots, spotOf{k, int64(len(l.b)), int32(len(b))})
	l.b = append(l.b, b...)
}

func (l *layout) encode(t recordType, k recordKey, payload []byte) {
	from := len(l.b)
	l.b = appendRecord(l.b, t, k, payload)
	l.spots = append(l.spots, spotOf{k, int64(from), int32(len(l.b) - from)})
}

// enter adds an entry that is no item.
func (l *layout) enter(kind ledger.Kind, body ledger.Hash, attempt uint64) {
	e := l.chain.Entry(kind, body)
	l.chain = l.chain.Advance(e)
	l.entries = append(l.entries, e)
	l.encode(typeEntry, recordKey{attempt: attempt, chunk: manifestChunk}, e.Marshal())
}

// lay puts a batch together, and numbers its items.
func (o *Outbox) lay(batch []*request, chain ledger.Chain, fork *forking) *layout {
	l := &o.layout
	*l = layout{b: append(l.b[:0], make([]byte, headSize)...), spots: l.spots[:0], entries: l.entries[:0], chain: chain}
	restart := func(f *forking, attempt uint64) {
		l.chain = ledger.NewChain(o.opt.Book, f.incarnation, o.opt.Run)
		l.enter(ledger.Fork, f.disputed, attempt)
	}
	if fork != nil {
		restart(fork, uint64(o.cur.n)<<32)
	}
	for _, r := range batch {
		for _, rec := range r.records {
			l.record(rec.key, rec.bytes)
		}
		switch {
		case r.sealed != nil:
			r.entry = l.chain.Entry(ledger.Item, r.sealed.Hash)
			l.chain = l.chain.Advance(r.entry)
			l.entries = append(l.entries, r.entry)
			m := wire.Manifest{Header: r.sealed.Bytes, Wrap: r.wrap, Entry: r.entry, Chunks: r.sealed.Chunks}
			l.encode(typeManifest, recordKey{attempt: r.attempt, chunk: manifestChunk}, m.Marshal())
		case r.fork != nil:
			restart(r.fork, r.attempt)
		default: // the start of a run
			l.enter(ledger.Run, ledger.Hash{}, r.attempt)
		}
	}
	return l
}

// commit writes a batch to the log. It changes nothing in memory but where the records lie.
func (o *Outbox) commit(batch []*request, chain ledger.Chain, fork *forking) (next ledger.Chain, err error) {
	l := o.lay(batch, chain, fork)
	length := len(l.b) - headSize
	size := aligned(int64(len(l.b)))
	if size > o.opt.LogSize {
		return chain, fmt.Errorf("%w: %d bytes at once, where a log has %d", errUntouched, size, o.opt.LogSize)
	}
	l.b = append(l.b, make([]byte, size-int64(len(l.b)))...)
	s := o.cur
	if s.log == nil || s.log.at+size > o.opt.LogSize {
		if err := o.nextLog(s); err != nil {
			return chain, fmt.Errorf("%w: %w", errUntouched, err)
		}
		defer o.background(o.makeSpares)
		if s.made > 1 {
			defer o.background(func() { o.moveIfCalm(s, 1) })
		}
	}
	if err := s.log.append(s.n, l.b, length); err != nil {
		return chain, err
	}
	s.wrote(s.log, l.spots, size)
	return l.chain, nil
}

// committed takes over into memory what is on the disk.
func (o *Outbox) committed(batch []*request, next ledger.Chain) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.x.segment(o.cur.n)
	for _, e := range o.layout.entries {
		if s.entries++; s.entries == 1 {
			s.incarnation, s.first = e.Incarnation, e.Number
		}
		if e.Kind != ledger.Item {
			o.plain = append(o.plain, plainEntry{Entry: e, seg: s.n})
		}
	}
	o.chain = next
	s.last, s.lastHash = next.Next-1, next.Head
	for _, r := range batch {
		if r.sealed != nil {
			h := r.sealed.Header
			o.x.insert(s, row{body: r.entry.Body, number: r.entry.Number, attempt: r.attempt, kind: h.Kind, urgency: h.Urgency, length: uint32(h.Length)})
		}
	}
}

// nextSegment begins a fresh one. The one before is finished meanwhile; no more than one is.
func (o *Outbox) nextSegment() error {
	o.mu.Lock()
	behind := append([]*live(nil), o.unfinished...)
	n := o.seg + 1
	o.mu.Unlock()
	for len(filesOf(o.opt.Dir, n)) > 0 { // begun by a try that failed
		n++
	}
	for _, s := range behind {
		o.finish(s)
	}
	s, err := o.openLive(n)
	if err != nil {
		return err
	}
	before := o.cur
	o.mu.Lock()
	o.cur, o.seg = s, n
	o.x.add(&segment{n: n, live: s})
	if before != nil {
		o.unfinished = append(o.unfinished, before)
	}
	o.mu.Unlock()
	if before != nil {
		o.background(func() { o.finish(before) })
	}
	o.background(o.makeSpares)
	return nil
}
