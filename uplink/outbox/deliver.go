package outbox

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/wire"
)

// Ref names an item that is held.
type Ref struct {
	Hash    ledger.Hash
	Entry   ledger.Entry
	Kind    uint8
	Urgency wire.Urgency
	Length  uint64 // padded plaintext
}

func (it *item) ref() Ref { return Ref{it.Entry.Body, it.Entry, it.Kind, it.Urgency, it.Length} }

// Pending gives up to n items without a receipt, in the order in which they are to be sent: urgent before routine, newest
// first within urgent, oldest first within routine. Items for which skip says so are passed over.
func (o *Outbox) Pending(n int, skip func(Ref) bool) []Ref {
	o.mu.Lock()
	defer o.mu.Unlock()
	var urgent, routine []Ref
	for i := len(o.order) - 1; i >= 0; i-- {
		it := o.order[i]
		if o.open(it) && !skip(it.ref()) && it.Urgency == wire.Urgent && len(urgent) < n {
			urgent = append(urgent, it.ref())
		}
	}
	for _, it := range o.order {
		if len(urgent)+len(routine) >= n {
			break
		}
		if o.open(it) && it.Urgency != wire.Urgent && !skip(it.ref()) {
			routine = append(routine, it.ref())
		}
	}
	return append(urgent, routine...)
}

// open says whether the item waits for a receipt. It needs mu.
func (o *Outbox) open(it *item) bool {
	return !it.refused && it.damaged == nil && !o.receipted(it)
}

// receipted says whether the hub's present store signed for the item. It needs mu.
func (o *Outbox) receipted(it *item) bool {
	k, ok := o.kept[it.Entry.Body]
	return ok && k.Verdict == wire.Received && (o.store == ledger.ID{} || k.Store == o.store)
}

// Manifest reads what is sent before an item's chunks.
func (o *Outbox) Manifest(h ledger.Hash) (wire.Manifest, error) {
	o.mu.Lock()
	it := o.items[h]
	o.mu.Unlock()
	if it == nil {
		return wire.Manifest{}, fmt.Errorf("outbox: no item %s here", h)
	}
	b, err := o.read(it.last, recordKey{attempt: it.Attempt, chunk: manifestChunk})
	if err != nil {
		return wire.Manifest{}, o.damage(it, err)
	}
	m, _, _, err := wire.UnmarshalManifest(b)
	if err != nil {
		return wire.Manifest{}, o.damage(it, err)
	}
	return m, nil
}

// Chunk reads one sealed chunk, and checks it against the manifest.
func (o *Outbox) Chunk(m wire.Manifest, h wire.Header, i int) ([]byte, error) {
	o.mu.Lock()
	it := o.items[m.Entry.Body]
	o.mu.Unlock()
	if it == nil || i < 0 || i >= len(m.Chunks) {
		return nil, fmt.Errorf("outbox: no chunk %d of item %s here", i, m.Entry.Body)
	}
	out := make([]byte, 0, h.SealedSize(i))
	for seg, slice := it.First, 0; len(out) < h.SealedSize(i); slice++ {
		k := recordKey{it.Attempt, uint32(i), uint8(slice)}
		b, err := o.read(seg, k)
		for ; err == nil && b == nil && seg < it.last; b, err = o.read(seg, k) {
			seg++ // the item went on in the next segment
		}
		if err == nil && b == nil {
			err = fmt.Errorf("%w: chunk %d is not there", ErrDamaged, i)
		}
		if err != nil {
			return nil, o.damage(it, err)
		}
		out = append(out, b...)
	}
	if sha256.Sum256(out) != m.Chunks[i] {
		return nil, o.damage(it, fmt.Errorf("%w: chunk %d of item %s", ErrDamaged, i, m.Entry.Body))
	}
	return out, nil
}

// damage marks an item that can't be read back, so that it is named and not tried for ever.
func (o *Outbox) damage(it *item, err error) error {
	if errors.Is(err, ErrDamaged) || errors.Is(err, wire.ErrMalformed) {
		o.mu.Lock()
		it.damaged = err
		o.mu.Unlock()
		o.opt.Log.Error("outbox: item damaged", "item", it.Entry.Body, "number", it.Entry.Number, "err", err)
	}
	return err
}

// read gets one record from whichever segment: the one being written by bbolt (this process wrote all of it), old ones
// without it.
func (o *Outbox) read(seg uint32, k recordKey) ([]byte, error) {
	o.dbmu.RLock()
	defer o.dbmu.RUnlock()
	o.mu.Lock()
	current, old := o.seg, o.segments[seg]
	o.mu.Unlock()
	if seg == current && o.db != nil {
		var payload []byte
		err := o.db.View(func(tx *bbolt.Tx) error {
			v := tx.Bucket(bucket).Get(k.bytes())
			if v == nil {
				return nil
			}
			_, _, p, err := decodeRecord(v)
			payload = slices.Clone(p)
			return err
		})
		return payload, err
	}
	if old == nil {
		return nil, nil
	}
	r, err := o.reader(old.path)
	if err != nil {
		return nil, err
	}
	return r.get(k)
}

// openReaders is how many old segments are kept indexed.
const openReaders = 3

func (o *Outbox) reader(path string) (*reader, error) {
	o.mu.Lock()
	for _, r := range o.readers {
		if r.path == path {
			o.mu.Unlock()
			return r, nil
		}
	}
	o.mu.Unlock()
	r, err := newReader(path)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.readers) == openReaders {
		o.readers = o.readers[1:]
	}
	o.readers = append(o.readers, r)
	return r, nil
}

// loadOld checks the remaining old segments, newest first.
func (o *Outbox) loadOld(segs []uint32) {
	defer o.wg.Done()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-o.quit:
			cancel()
		case <-ctx.Done():
		}
	}()
	for i := len(segs) - 1; i >= 0 && ctx.Err() == nil; i-- {
		o.load(ctx, segs[i])
		o.mu.Lock()
		o.loading--
		o.mu.Unlock()
		o.changed()
	}
	if ctx.Err() != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	maps.DeleteFunc(o.kept, func(h ledger.Hash, _ kept) bool { return o.items[h] == nil })
}

// load checks one old segment and takes its items over. A damaged one goes to quarantine, and is salvaged at every start
// until what it holds is delivered. One that can't be checked is salvaged where it is.
func (o *Outbox) load(ctx context.Context, n uint32) (x Index, damaged bool) {
	path, moved := segmentPath(o.opt.Dir, n), segmentPath(filepath.Join(o.opt.Dir, quarantine), n)
	err := ErrDamaged
	if _, gone := os.Stat(path); gone != nil {
		path, damaged = moved, true
	} else if x, err = o.opt.Check(ctx, path); err != nil && ctx.Err() == nil {
		x, err = o.opt.Check(ctx, path) // a busy machine is no damage
	}
	switch {
	case err == nil:
		o.trim(path, x.Size)
	case ctx.Err() != nil:
		return x, false
	case errors.Is(err, ErrDamaged) && !damaged:
		damaged = true
		o.opt.Log.Error("outbox: segment quarantined", "segment", n, "err", err)
		if err := os.Rename(path, moved); err == nil {
			path = moved
			errors.Join(kit.SyncDir(o.opt.Dir), kit.SyncDir(filepath.Dir(moved)))
		}
	}
	if err != nil {
		damaged = true
		if x, err = Salvage(path); err != nil {
			o.opt.Log.Error("outbox: nothing salvaged", "segment", n, "err", err)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	s := &oldSeg{path: path, quarantined: damaged, entries: len(x.Entries)}
	if len(x.Entries) > 0 {
		last := x.Entries[len(x.Entries)-1]
		s.incarnation, s.last, s.lastHash = last.Incarnation, last.Number, last.Hash()
	}
	o.segments[n] = s
	for _, e := range x.Entries {
		if e.Kind != ledger.Item {
			o.plain = append(o.plain, plainEntry{Entry: e, seg: n})
		}
	}
	slices.SortFunc(x.Items, func(a, b IndexItem) int { return cmp.Compare(a.Entry.Number, b.Entry.Number) })
	for _, i := range x.Items {
		o.insert(&item{IndexItem: i, last: n})
	}
	return x, damaged
}

// trim gives back the blocks of an old segment that were written beforehand and never used.
func (o *Outbox) trim(path string, used int64) {
	if st, err := os.Stat(path); err != nil || used <= 0 || st.Size() <= used {
		return
	}
	if err := os.Truncate(path, used); err != nil {
		o.opt.Log.Warn("outbox: trim", "err", err)
	}
}

// Receipt takes the hub's word about an item. The caller has verified it (wire.Receipt.Verify); it is durable when this
// returns nil.
func (o *Outbox) Receipt(r wire.Receipt) error {
	o.mu.Lock()
	it := o.items[r.Item]
	if it == nil {
		o.mu.Unlock()
		return fmt.Errorf("outbox: a receipt for item %s, which is not here", r.Item)
	}
	k := kept{Receipt: r, arrived: o.opt.Clock.Now(), trusted: o.opt.Trusted()}
	err := o.receipts.add(k)
	if err == nil {
		o.kept[r.Item], o.newest = k, k.arrived
		it.refused = r.Verdict == wire.Refused
	}
	o.mu.Unlock()
	o.changed()
	return err
}

// Store tells which incarnation the hub's store is: receipts of another one don't count, and what is still held is
// offered again.
func (o *Outbox) Store(id ledger.ID) {
	o.mu.Lock()
	o.store = id
	o.mu.Unlock()
	o.changed()
}

// Watermark takes the hub's verified word on how far its backup goes.
func (o *Outbox) Watermark(w wire.Watermark) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if w.Store != o.watermark.Store || w.Sequence > o.watermark.Sequence {
		o.watermark = w
	}
}

// Reconcile compares the hub's head with the ledger. If they disagree (a restored card, a clone) the ledger goes on in
// a new incarnation that names the hub's head; nothing is dropped.
func (o *Outbox) Reconcile(ctx context.Context, hub ledger.Head) (forked bool, err error) {
	o.mu.Lock()
	c := o.chain
	disputed := false
	if hub.Incarnation == c.Incarnation {
		switch {
		case hub.Number >= c.Next:
			disputed = true
		case hub.Number >= o.base && hub.Number-o.base < uint64(len(o.hashes)):
			disputed = o.hashes[hub.Number-o.base] != hub.Hash
		default:
			for _, s := range o.segments {
				if s.incarnation == hub.Incarnation && s.last == hub.Number && s.lastHash != hub.Hash {
					disputed = true
				}
			}
		}
	}
	o.mu.Unlock()
	if !disputed {
		return false, nil
	}
	o.opt.Log.Error("outbox: the hub knows another ledger: new incarnation", "number", hub.Number, "ours", c.Next)
	return true, o.fork(ctx, hub.Hash)
}

// Entries are the ledger entries held that are no items, and that the hub's present store does not have yet.
func (o *Outbox) Entries() []ledger.Entry {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []ledger.Entry
	for _, p := range o.plain {
		if p.posted != o.store || o.store == (ledger.ID{}) {
			out = append(out, p.Entry)
		}
	}
	return out
}

// Posted says that the hub's present store has these entries now.
func (o *Outbox) Posted(es []ledger.Entry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.plain {
		if slices.Contains(es, o.plain[i].Entry) {
			o.plain[i].posted = o.store
		}
	}
}

// Stats is what the screens and metrics show.
type Stats struct {
	Held       int                  `json:"held"` // saved, and no receipt yet
	HeldByKind map[capture.Kind]int `json:"held_by_kind"`
	Receipted  int                  `json:"receipted"` // delivered and still here
	Refused    int                  `json:"refused"`
	Damaged    int                  `json:"damaged"`
	Loading    int                  `json:"loading"` // old segments still being checked
	Condemned  int                  `json:"condemned"`
	Quarantine int                  `json:"quarantine"`
	Segments   int                  `json:"segments"`
}

// Stats counts.
func (o *Outbox) Stats() Stats {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := Stats{HeldByKind: map[capture.Kind]int{}, Loading: o.loading, Condemned: o.condemned, Segments: len(o.segments) + 1}
	for _, it := range o.order {
		switch {
		case it.damaged != nil:
			s.Damaged++
		case o.receipted(it):
			s.Receipted++
		default:
			if it.refused {
				s.Refused++
			}
			s.Held++
			s.HeldByKind[capture.Kind(it.Kind)]++
		}
	}
	for _, seg := range o.segments {
		if seg.quarantined {
			s.Quarantine++
		}
	}
	return s
}

// Sent says whether the hub signed for the item, or refused it.
func (o *Outbox) Sent(h ledger.Hash) (sent, refused bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	k, ok := o.kept[h]
	return ok && k.Verdict == wire.Received, ok && k.Verdict == wire.Refused
}

// Retire erases the old segments of which every item has a receipt of the hub's present store, past grace by a clock
// that was trusted then and is now, and covered by the backup watermark; and of which the hub has every entry. Each leaves
// a signed checkpoint. It reports how many went.
func (o *Outbox) Retire() (n int, err error) {
	if !o.opt.Trusted() {
		return 0, nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.opt.Clock.Now()
	busy := map[uint32]bool{}
	for attempt := range o.puts { // its first chunks may lie in any segment since
		for seg := uint32(attempt >> 32); seg <= o.seg; seg++ {
			busy[seg] = true
		}
	}
	for _, it := range o.order {
		k, ok := o.kept[it.Entry.Body]
		if ok && !k.trusted { // it came before the clock was set: its grace begins now
			k.arrived, k.trusted = now, true
			o.kept[it.Entry.Body] = k
		}
		done := it.damaged == nil && o.receipted(it) && k.trusted && now.Sub(k.arrived) >= o.opt.Grace &&
			o.watermark.Store == k.Store && o.watermark.Sequence >= k.Sequence
		for seg := it.First; seg <= it.last && !done; seg++ {
			busy[seg] = true
		}
	}
	for _, p := range o.plain {
		if p.posted != o.store || o.store == (ledger.ID{}) {
			busy[p.seg] = true
		}
	}
	for seg, s := range o.segments {
		if busy[seg] || s.quarantined || o.loading > 0 {
			continue
		}
		if err := o.erase(seg, s); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// erase needs mu.
func (o *Outbox) erase(n uint32, s *oldSeg) error {
	if s.lastHash != (ledger.Hash{}) {
		c := ledger.Chain{Incarnation: s.incarnation, Next: s.last + 1, Head: s.lastHash}
		h, err := c.Sign(o.opt.Book, o.opt.Signer)
		if err != nil {
			return err
		}
		b, err := json.Marshal(checkpoint{n, h})
		if err != nil {
			return fmt.Errorf("outbox: %w", err)
		}
		if err := kit.WriteFile(filepath.Join(o.opt.Dir, fmt.Sprintf("%08d.checkpoint", n)), b, 0o600); err != nil {
			return err
		}
	}
	if err := os.Remove(s.path); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	delete(o.segments, n)
	o.readers = slices.DeleteFunc(o.readers, func(r *reader) bool { return r.path == s.path })
	o.order = slices.DeleteFunc(o.order, func(it *item) bool {
		if it.last == n {
			delete(o.items, it.Entry.Body)
			delete(o.kept, it.Entry.Body)
		}
		return it.last == n
	})
	o.plain = slices.DeleteFunc(o.plain, func(p plainEntry) bool { return p.seg == n })
	return kit.SyncDir(o.opt.Dir)
}

// LastReceipt is when the newest receipt came; zero if there is none.
func (o *Outbox) LastReceipt() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.newest
}
