package outbox

import (
	"fmt"

	"go.etcd.io/bbolt"

	"telecart/capture/ledger"
	"telecart/uplink/wire"
)

// maxBatch bounds how many requests share one commit.
const maxBatch = 64

// writer is the one goroutine that commits. Whoever asked while it was busy shares the next commit.
func (o *Outbox) writer() {
	defer o.wg.Done()
	defer close(o.ended)
	for {
		select {
		case r := <-o.requests:
			batch, size := append(make([]*request, 0, maxBatch), r), r.size
			for more := true; more && len(batch) < maxBatch && size < o.opt.SegmentSize/4; {
				select {
				case r := <-o.requests:
					batch = append(batch, r)
					size += r.size
				default:
					more = false
				}
			}
			err := o.writeBatch(batch)
			if err != nil {
				o.opt.Log.Error("outbox: commit failed", "err", err)
			}
			for _, r := range batch {
				r.done <- err
			}
			o.changed()
		case <-o.quit:
			for {
				select {
				case r := <-o.requests:
					r.done <- ErrClosed
				default:
					return
				}
			}
		}
	}
}

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
	// bbolt's own pages come on top; a new incarnation starts its own segment.
	if forks && o.used > 0 || o.used+size > o.opt.SegmentSize*3/4 {
		if err := o.nextSegment(); err != nil {
			return err
		}
	}
	o.mu.Lock()
	chain := o.chain
	o.mu.Unlock()
	var forkFrom *ledger.Hash
	if o.ambiguous {
		last := chain.Head
		forkFrom = &last
	}
	entries, next, err := o.commit(batch, chain, forkFrom)
	if err != nil {
		o.mu.Lock()
		o.condemned++
		o.mu.Unlock()
		o.opt.Log.Error("outbox: segment condemned", "segment", o.seg, "err", err)
		o.used, o.ambiguous = o.opt.SegmentSize, true // until a commit succeeds
		if err := o.nextSegment(); err != nil {
			return err
		}
		if entries, next, err = o.commit(batch, chain, forkFrom); err != nil {
			o.used = o.opt.SegmentSize
			return err
		}
	}
	o.ambiguous = false
	o.used += size
	o.committed(batch, entries, next)
	return nil
}

// commit writes a batch in one transaction. It changes nothing in memory.
func (o *Outbox) commit(batch []*request, chain ledger.Chain, fork *ledger.Hash) (entries []ledger.Entry, next ledger.Chain, err error) {
	o.dbmu.RLock()
	defer o.dbmu.RUnlock()
	if o.db == nil {
		return nil, chain, ErrClosed
	}
	err = o.db.Update(func(tx *bbolt.Tx) error {
		next, entries = chain, nil
		b := tx.Bucket(bucket)
		b.FillPercent = 1
		enter := func(kind ledger.Kind, body ledger.Hash, attempt uint64) error {
			e := next.Entry(kind, body)
			next = next.Advance(e)
			entries = append(entries, e)
			k := recordKey{attempt: attempt, chunk: manifestChunk}
			return b.Put(k.bytes(), encodeRecord(typeEntry, k, e.Marshal()))
		}
		if fork != nil {
			next = ledger.NewChain(o.opt.Book, ledger.NewID(), o.opt.Run)
			if err := enter(ledger.Fork, *fork, uint64(o.seg)<<32); err != nil {
				return err
			}
		}
		for _, r := range batch {
			for _, rec := range r.records {
				if err := b.Put(rec.key.bytes(), rec.bytes); err != nil {
					return err
				}
			}
			switch {
			case r.sealed != nil:
				e := next.Entry(ledger.Item, r.sealed.Hash)
				next = next.Advance(e)
				entries = append(entries, e)
				k := recordKey{attempt: r.attempt, chunk: manifestChunk}
				m := wire.Manifest{Header: r.sealed.Bytes, Wrap: r.wrap, Entry: e, Chunks: r.sealed.Chunks}
				if err := b.Put(k.bytes(), encodeRecord(typeManifest, k, m.Marshal())); err != nil {
					return err
				}
				r.entry = e
			case r.fork != nil:
				next = ledger.NewChain(o.opt.Book, ledger.NewID(), o.opt.Run)
				if err := enter(ledger.Fork, *r.fork, r.attempt); err != nil {
					return err
				}
			case r.records == nil: // the start of a run
				if err := enter(ledger.Run, ledger.Hash{}, r.attempt); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, chain, fmt.Errorf("outbox: %w", err)
	}
	return entries, next, nil
}

// committed takes over into memory what is on the disk.
func (o *Outbox) committed(batch []*request, entries []ledger.Entry, next ledger.Chain) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range entries {
		if e.Number == 0 {
			o.hashes, o.base = nil, 0
		}
		o.hashes = append(o.hashes, e.Hash())
		if e.Kind != ledger.Item {
			o.plain = append(o.plain, plainEntry{Entry: e, seg: o.seg})
		}
	}
	o.chain = next
	for _, r := range batch {
		if r.sealed != nil {
			h := r.sealed.Header
			o.insert(&item{last: o.seg, IndexItem: IndexItem{Attempt: r.attempt, Entry: r.entry, Kind: h.Kind,
				Urgency: h.Urgency, Length: h.Length, First: uint32(r.attempt >> 32)}})
		}
	}
}

// insert needs mu.
func (o *Outbox) insert(it *item) {
	if o.items[it.Entry.Body] != nil {
		return
	}
	if k, ok := o.kept[it.Entry.Body]; ok && k.Verdict == wire.Refused {
		it.refused = true
	}
	o.items[it.Entry.Body] = it
	o.order = append(o.order, it)
}

// nextSegment closes the segment and opens a fresh one; a spare for the next time is made meanwhile.
func (o *Outbox) nextSegment() error {
	o.dbmu.Lock()
	defer o.dbmu.Unlock()
	o.mu.Lock()
	n := o.seg + 1
	o.mu.Unlock()
	db, err := openSegment(o.opt.Dir, n, o.opt.SegmentSize)
	if err != nil {
		return err
	}
	if o.db != nil {
		if err := o.db.Close(); err != nil {
			o.opt.Log.Error("outbox: close segment", "segment", o.seg, "err", err)
		}
	}
	o.mu.Lock()
	if o.db != nil {
		o.segments[o.seg] = &oldSeg{path: segmentPath(o.opt.Dir, o.seg), incarnation: o.chain.Incarnation, last: o.chain.Next - 1,
			lastHash: o.chain.Head}
	}
	o.seg = n
	o.mu.Unlock()
	o.db, o.used = db, 0
	o.wg.Add(1)
	go o.makeSpare()
	return nil
}

// makeSpare makes one, unless another is being made: two makers would write into each other's file.
func (o *Outbox) makeSpare() {
	defer o.wg.Done()
	if !o.sparing.TryLock() {
		return
	}
	defer o.sparing.Unlock()
	if err := makeSegment(o.opt.Dir+"/"+spareName, o.opt.SegmentSize); err != nil {
		o.opt.Log.Warn("outbox: no spare segment", "err", err)
	}
}
