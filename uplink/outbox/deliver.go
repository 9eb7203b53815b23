package outbox

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device/kit/planted"
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

// Pending gives up to n items without a receipt, in the order in which they are to be sent: urgent before routine, newest
// first within urgent, oldest first within routine. Items for which skip says so are passed over; of the entry skip sees
// number and body. What can't be read at this moment is passed over, too: it stays held, and the next call tries it again.
func (o *Outbox) Pending(n int, skip func(Ref) bool) (out []Ref) {
	seen, shut := map[ledger.Hash]bool{}, map[uint32]bool{} // items looked at, segments that can't be opened
	for ask := n; len(out) < n; ask *= 2 {                  // more each time: each walks past what was seen
		ask = max(min(ask, mostAsked), 1)
		refs, segments := o.candidates(ask, func(s *segment, r Ref) bool { return shut[s.n] || seen[r.Hash] || skip(r) })
		for i, ref := range refs {
			if len(out) == n || shut[segments[i]] {
				continue
			}
			seen[ref.Hash] = true
			m, err := o.Manifest(ref.Hash)
			if err != nil { // damaged: it waits no longer
				shut[segments[i]] = o.unread(ref.Hash, err)
				continue
			}
			ref.Entry = m.Entry
			out = append(out, ref)
		}
		if len(refs) < ask {
			break // that was all
		}
	}
	return out
}

// mostAsked bounds what one look at the index brings.
const mostAsked = 1 << 12

// unread notes that an item could not be read, once; closed says that it was its file that could not be opened.
func (o *Outbox) unread(h ledger.Hash, err error) (closed bool) {
	if errors.Is(err, ErrDamaged) || errors.Is(err, wire.ErrMalformed) {
		return false // damage has told
	}
	o.mu.Lock()
	known := o.told[h]
	if o.told == nil || len(o.told) >= maxMissing {
		o.told = map[ledger.Hash]bool{}
	}
	o.told[h] = true
	o.mu.Unlock()
	if !known {
		o.opt.Log.Error("outbox: item can't be read now; it stays held, and is tried again", "item", h, "err", err)
	}
	var p *fs.PathError
	return errors.As(err, &p) && p.Op == "open"
}

// candidates are up to n items that wait, and the segment of each.
func (o *Outbox) candidates(n int, skip func(*segment, Ref) bool) (out []Ref, segments []uint32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.x.waiting(func(s *segment, i int) bool {
		r := &s.rows[i]
		ref := Ref{r.body, ledger.Entry{Incarnation: s.incarnation, Number: r.number, Kind: ledger.Item, Body: r.body}, r.kind, r.urgency, uint64(r.length)}
		if !skip(s, ref) {
			out, segments = append(out, ref), append(segments, s.n)
		}
		return len(out) < n
	})
	return out, segments
}

// where is an item's attempt, and the segments from the first that may have something of it to the one with its manifest.
func (o *Outbox) where(h ledger.Hash) (attempt uint64, first, last uint32, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s, i, ok := o.x.find(h)
	if !ok {
		return 0, 0, 0, false
	}
	return s.rows[i].attempt, s.rows[i].first(), s.n, true
}

// Entry finds the ledger's entry of an item that is held.
func (o *Outbox) Entry(item ledger.Hash) (ledger.Entry, bool) {
	m, err := o.Manifest(item)
	return m.Entry, err == nil
}

// Manifest reads what is sent before an item's chunks.
func (o *Outbox) Manifest(h ledger.Hash) (wire.Manifest, error) {
	attempt, _, last, ok := o.where(h)
	if !ok {
		return wire.Manifest{}, fmt.Errorf("outbox: no item %s here", h)
	}
	b, err := o.read(last, recordKey{attempt: attempt, chunk: manifestChunk})
	if err == nil && b == nil {
		err = fmt.Errorf("%w: its manifest is not there", ErrDamaged)
	}
	if err != nil {
		return wire.Manifest{}, o.damage(h, err)
	}
	m, _, _, err := wire.UnmarshalManifest(b)
	if err != nil {
		return wire.Manifest{}, o.damage(h, err)
	}
	return m, nil
}

// Chunk reads one sealed chunk, and checks it against the manifest.
func (o *Outbox) Chunk(m wire.Manifest, h wire.Header, i int) ([]byte, error) {
	item := m.Entry.Body
	attempt, first, last, ok := o.where(item)
	if !ok || i < 0 || i >= len(m.Chunks) || i >= h.Chunks() {
		return nil, fmt.Errorf("outbox: no chunk %d of item %s here", i, item)
	}
	o.mu.Lock()
	loading := o.loading > 1 // the last 1 is for verifyDamaged, when all segments are here
	o.mu.Unlock()
	out, err := o.chunk(attempt, i, o.startAt(attempt, i, first), last, h.SealedSize(i))
	if errors.Is(err, errNoSlice) {
		out, err = o.chunk(attempt, i, first, last, h.SealedSize(i))
	}
	if errors.Is(err, errNoSlice) {
		if loading { // it may lie in a segment that is still to be checked
			return nil, fmt.Errorf("outbox: chunk %d of item %s is not found yet", i, item)
		}
		err = fmt.Errorf("%w: chunk %d is not there", ErrDamaged, i)
	}
	if err == nil && sha256.Sum256(out) != m.Chunks[i] {
		err = fmt.Errorf("%w: chunk %d does not have the hash in the manifest", ErrDamaged, i)
	}
	if err != nil {
		return nil, o.damage(item, err)
	}
	return out, nil
}

var errNoSlice = errors.New("outbox: part of a chunk is not there")

// chunk puts one together from its slices; an item goes on in the next segment when one is full.
func (o *Outbox) chunk(attempt uint64, i int, seg, last uint32, size int) ([]byte, error) {
	out := make([]byte, 0, size)
	for slice := 0; len(out) < size && slice <= 255; slice++ {
		k := recordKey{attempt, uint32(i), uint8(slice)}
		b, err := o.read(seg, k)
		for ; err == nil && b == nil && seg < last; b, err = o.read(seg, k) {
			seg = o.segmentAfter(seg, last)
		}
		if err == nil && len(b) == 0 {
			err = errNoSlice
		}
		if err != nil {
			return nil, err
		}
		if slice == 0 {
			o.mu.Lock()
			o.trail = trail{attempt, i, seg}
			o.mu.Unlock()
		}
		out = append(out, b...)
	}
	return out, nil
}

// segmentAfter is the next one that is here, last at most.
func (o *Outbox) segmentAfter(n, last uint32) uint32 {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.x.segments {
		if s.n > n && s.n < last {
			return s.n
		}
	}
	return last
}

// trail is where a chunk was found: the next one of the item lies there or later.
type trail struct {
	attempt uint64
	chunk   int
	segment uint32
}

func (o *Outbox) startAt(attempt uint64, i int, first uint32) uint32 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if t := o.trail; t.attempt == attempt && t.chunk <= i {
		return max(t.segment, first)
	}
	return first
}

// read gets one record from whichever segment: those of this run by bbolt or from their logs, old ones without bbolt.
func (o *Outbox) read(n uint32, k recordKey) ([]byte, error) {
	for {
		o.mu.Lock()
		s := o.x.segment(n)
		if s == nil {
			o.mu.Unlock()
			return nil, nil
		}
		live, files := s.live, s.files
		o.mu.Unlock()
		if live != nil {
			b, ok, err := live.read(k)
			if ok || err != nil {
				return b, err
			}
			if files = o.finished(n); files == nil {
				continue // it is being finished this moment
			}
		}
		r, err := o.reader(n, files)
		if err != nil {
			return nil, err
		}
		return r.get(k)
	}
}

// finished waits for a segment that is just becoming an old one.
func (o *Outbox) finished(n uint32) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s := o.x.segment(n); s != nil && s.live == nil {
		return s.files
	}
	return nil
}

// openReaders is how many old segments are kept indexed.
const openReaders = 3

func (o *Outbox) reader(n uint32, files []string) (*reader, error) {
	o.mu.Lock()
	for _, r := range o.readers {
		if r.segment == n {
			o.mu.Unlock()
			return r, nil
		}
	}
	o.mu.Unlock()
	r, err := newReader(n, files)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.readers) == openReaders {
		o.readers = slices.Delete(o.readers, 0, 1)
	}
	o.readers = append(o.readers, r)
	return r, nil
}

// Receipt takes the hub's word about an item. The caller has verified it (wire.Receipt.Verify); it is durable when this
// returns nil.
func (o *Outbox) Receipt(r wire.Receipt) error {
	o.taking.Lock()
	defer o.taking.Unlock()
	if o.closed() {
		return ErrClosed
	}
	if _, _, _, ok := o.where(r.Item); !ok {
		return fmt.Errorf("outbox: a receipt for item %s, which is not here", r.Item)
	}
	k := kept{Receipt: r, arrived: o.opt.Clock.Now(), trusted: o.opt.Trusted()}
	file, slot, err := o.receipts.add(k)
	if err != nil {
		return err
	}
	o.mu.Lock()
	if s, i, ok := o.x.find(r.Item); ok {
		if s.receipted(i) {
			o.receiptIn[s.receipts[i].file]--
		}
		o.receiptIn[file]++
		o.x.receipt(s, i, o.receiptRow(k, file, slot))
	}
	if k.Verdict == wire.Received {
		o.newest = k.arrived
	}
	o.mu.Unlock()
	o.changed()
	return nil
}

func (o *Outbox) receiptRow(k kept, file uint32, slot int) receiptRow {
	return receiptRow{sequence: k.Sequence, arrived: k.arrived.UnixMilli(), store: o.x.storeNumber(k.Store), file: file, slot: uint16(slot),
		verdict: k.Verdict, trusted: k.trusted}
}

// Store tells which incarnation the hub's store is: receipts of another one don't count, and what is still held is
// offered again.
func (o *Outbox) Store(id ledger.ID) {
	o.mu.Lock()
	o.x.setStore(id)
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
	next, same := o.chain.Next, hub.Incarnation == o.chain.Incarnation
	o.mu.Unlock()
	if !same {
		return false, nil
	}
	ours, held := o.entryHash(hub.Incarnation, hub.Number)
	if hub.Number < next && (!held || ours == hub.Hash) || planted.Is(planted.RestoredCard) {
		return false, nil
	}
	o.opt.Log.Error("outbox: the hub knows another ledger: new incarnation", "number", hub.Number, "ours", next)
	return true, o.fork(ctx, hub.Hash)
}

// entryHash is the hash of an entry that is held, or that ends a retired segment.
func (o *Outbox) entryHash(incarnation ledger.ID, number uint64) (h ledger.Hash, ok bool) {
	var item ledger.Hash
	o.mu.Lock()
	for _, s := range o.x.segments {
		if s.incarnation != incarnation || s.entries == 0 || number < s.first || number > s.last {
			continue
		}
		if s.last == number {
			o.mu.Unlock()
			return s.lastHash, true
		}
		i, found := slices.BinarySearchFunc(s.rows, number, func(r row, n uint64) int {
			if r.number < n {
				return -1
			}
			return int(min(r.number-n, 1))
		})
		if found {
			item = s.rows[i].body
		}
	}
	for _, p := range o.plain {
		if p.Incarnation == incarnation && p.Number == number {
			h, ok = p.Hash(), true
		}
	}
	o.mu.Unlock()
	if item != (ledger.Hash{}) {
		e, found := o.Entry(item)
		return e.Hash(), found
	}
	if !ok {
		h, ok = o.checkpointHash(incarnation, number)
	}
	return h, ok
}

// Entries are the ledger entries held that are no items, and that the hub's present store does not have yet.
func (o *Outbox) Entries() []ledger.Entry {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []ledger.Entry
	for _, p := range o.plain {
		if p.posted != o.x.store || o.x.store == (ledger.ID{}) {
			out = append(out, p.Entry)
		}
	}
	return out
}

// Posted says that the hub's present store has these entries now.
func (o *Outbox) Posted(es []ledger.Entry) { o.PostedAt(es, 0) }

// PostedAt is Posted with the place in the store's sequence from which on a backup holds them: until then they are not erased.
func (o *Outbox) PostedAt(es []ledger.Entry, sequence uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.plain {
		if slices.Contains(es, o.plain[i].Entry) {
			o.plain[i].posted, o.plain[i].sequence = o.x.store, sequence
		}
	}
}

// Stats is what the screens and metrics show.
type Stats struct {
	Held       int                  `json:"held"` // saved, and no receipt yet
	HeldByKind map[capture.Kind]int `json:"held_by_kind"`
	Receipted  int                  `json:"receipted"` // delivered and still here
	Refused    int                  `json:"refused"`
	Damaged    int                  `json:"damaged"` // see Damaged
	Loading    int                  `json:"loading"` // old segments still being checked
	Condemned  int                  `json:"condemned"`
	Quarantine int                  `json:"quarantine"`
	Segments   int                  `json:"segments"`
}

// Stats counts.
func (o *Outbox) Stats() Stats {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := o.x.state
	s := Stats{Held: n[isHeld] + n[isRefused], HeldByKind: maps.Clone(o.x.kinds), Receipted: n[isReceipted], Refused: n[isRefused],
		Damaged: n[isDamaged] + len(o.missing), Loading: o.loading, Condemned: o.condemned, Segments: len(o.x.segments)}
	for _, seg := range o.x.segments {
		if seg.quarantined {
			s.Quarantine++
		}
	}
	return s
}

// Sent says whether the hub's present store signed for the item, or a store of the hub refused it: as Stats counts.
func (o *Outbox) Sent(h ledger.Hash) (sent, refused bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s, i, ok := o.x.find(h)
	if !ok || !s.receipted(i) {
		return false, false
	}
	return o.x.signed(s, i), s.receipts[i].verdict == wire.Refused
}

// LastReceipt is when the newest receipt came; zero if there is none.
func (o *Outbox) LastReceipt() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.newest
}
