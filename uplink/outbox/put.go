package outbox

import (
	"context"
	"errors"

	"telecart/capture/ledger"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// Saved is the answer to Put: the item is sealed, in the ledger and fsynced.
type Saved struct {
	Entry ledger.Entry
	Hash  ledger.Hash
}

// groupBytes is how much of a long item goes into bbolt at once, beside the log: others are not kept waiting.
const groupBytes = 1 << 20

// Put seals a body and saves it. It returns nil only when the item is durable. When it returns an error the item may
// still have been saved (the hub then gets it, and the nurse was told less than the truth, never more).
func (o *Outbox) Put(ctx context.Context, key *seal.Key, kind uint8, urgency wire.Urgency, body []byte) (Saved, error) {
	r := &request{attempt: o.newPut(), wrap: key.WrapBytes()}
	defer func() {
		if !r.queued { // else the writer does it: it may enter what its caller has given up
			o.endPut(r.attempt)
		}
	}()
	group := min(groupBytes, o.opt.LogSize/2)
	sealed, err := key.Seal(kind, urgency, body, func(i int, chunk []byte) error {
		r.slice(uint32(i), chunk, o.frame())
		if r.size < group {
			return nil
		}
		return o.bulk(ctx, r)
	})
	if err != nil {
		return Saved{}, err
	}
	r.sealed = &sealed
	manifest := int64(len(sealed.Bytes) + len(r.wrap) + 32*len(sealed.Chunks) + 512)
	if r.size > 0 && r.size+manifest > o.logRoom() {
		if err := o.bulk(ctx, r); err != nil {
			return Saved{}, err
		}
	}
	r.size += manifest
	if err := o.submit(ctx, r); err != nil {
		return Saved{}, err // the writer may hold the frames still
	}
	o.free(r)
	return Saved{Entry: r.entry, Hash: sealed.Hash}, nil
}

// frame is memory for the records of a chunk: making garbage of it would take as long as sealing.
func (o *Outbox) frame() *[]byte {
	if f, ok := o.frames.Get().(*[]byte); ok {
		return f
	}
	const slices = wire.ChunkSize/sliceSize + 1
	f := make([]byte, 0, wire.ChunkSize+wire.Overhead+slices*(recordHead+recordTail))
	return &f
}

// free takes the records of a request that is done with.
func (o *Outbox) free(r *request) {
	for _, f := range r.frames {
		o.frames.Put(f)
	}
	r.frames, r.records, r.size = r.frames[:0], r.records[:0], 0
}

// slice cuts a sealed chunk into records.
func (r *request) slice(i uint32, chunk []byte, frame *[]byte) {
	n := (len(chunk) + sliceSize - 1) / sliceSize
	all := (*frame)[:0]
	r.frames = append(r.frames, frame)
	for s := range n {
		k := recordKey{r.attempt, i, uint8(s)}
		from := len(all)
		all = appendRecord(all, typeSlice, k, chunk[s*sliceSize:min((s+1)*sliceSize, len(chunk))])
		r.records = append(r.records, record{k, all[from:len(all):len(all)]})
	}
	r.size += int64(len(all))
}

// bulk commits part of a long item into bbolt, in the caller's goroutine. If the segment is full or condemned it goes into
// a fresh one.
func (o *Outbox) bulk(ctx context.Context, r *request) (err error) {
	for failed := 0; failed < 3; {
		o.mu.Lock()
		s := o.cur
		o.mu.Unlock()
		if o.reserve(s, r.size) {
			if err = s.bulk(r.records); err == nil {
				o.free(r)
				return nil
			}
			failed++
			if !errors.Is(err, errNotHere) {
				o.opt.Log.Error("outbox: segment condemned", "segment", s.n, "err", err)
				o.mu.Lock()
				o.condemned++
				o.mu.Unlock()
			}
		}
		if turned := o.submit(ctx, &request{turn: s}); turned != nil {
			return errors.Join(err, turned)
		}
	}
	return err
}

func (o *Outbox) submit(ctx context.Context, r *request) error {
	r.done = make(chan error, 1)
	select {
	case o.requests <- r:
		r.queued = true
	case <-o.quit:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-o.ended:
	}
	select { // it may have been the writer's last
	case err := <-r.done:
		return err
	default:
		return ErrClosed
	}
}
