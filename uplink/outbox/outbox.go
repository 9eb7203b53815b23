// Package outbox holds sealed items until the hub has signed for them.
//
// Parties: the capture side puts (Put returns when the item is saved: sealed, numbered and fsynced); the link reads pending
// items and hands in receipts; Retire erases what is delivered, past grace and covered by the hub's backup.
//
// Keys: none that opens an item. Items come in through seal.Key, in memory only; what is written is ciphertext.
//
// On disk (FORMAT.md has the bytes): small bbolt segments of fixed size whose blocks were written beforehand; receipts in
// files of their own; a signed checkpoint for each retired segment; damaged segments in quarantine/.
//
// Invariants: an entry commits in the same transaction and segment as its item's last chunk. A number is used once. A
// failed commit condemns its segment: the same entries are written again, to a fresh segment; if that fails too nobody knows
// what is on the disk, and the ledger goes on in a new incarnation. Every run starts in a fresh segment; a segment has
// entries of one incarnation. Old segments are checked in a child process and read without bbolt. One goroutine writes.
package outbox

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

var (
	// ErrDamaged: what is on the disk is not what was written.
	ErrDamaged = errors.New("outbox: damaged")
	// ErrClosed: the outbox was closed.
	ErrClosed = errors.New("outbox: closed")
)

// Options make an outbox.
type Options struct {
	Dir         string
	Book        ledger.Book
	Run         ledger.ID
	Signer      crypto.Signer // the cart's device key: heads and checkpoints
	Clock       kit.Clock
	Trusted     func() bool // is the clock to be believed?
	Grace       time.Duration
	SegmentSize int64   // 0: 16 MiB
	Check       Checker // nil: in this process, for tests alone
	Log         *slog.Logger
}

// DefaultSegmentSize is written beforehand in about 20 ms on a solid-state disk, one second on a slow card.
const DefaultSegmentSize = 16 << 20

// Outbox is one book's store. All methods are safe for concurrent use.
type Outbox struct {
	opt      Options
	requests chan *request
	quit     chan struct{}
	ended    chan struct{} // the writer has left
	sparing  sync.Mutex    // one spare segment is made at a time
	wg       sync.WaitGroup

	dbmu sync.RWMutex // held for reading while db is used, for writing while it changes
	db   *bbolt.DB

	// Of the writer alone.
	used      int64
	ambiguous bool // a commit failed twice: see writeBatch

	mu        sync.Mutex
	seg       uint32
	chain     ledger.Chain
	attempts  uint32
	puts      map[uint64]bool // attempts under way: their segments are not erased
	items     map[ledger.Hash]*item
	order     []*item            // as they were found or put
	hashes    []ledger.Hash      // of the current incarnation's entries, from number base on
	base      uint64             //
	plain     []plainEntry       // entries that are no items
	segments  map[uint32]*oldSeg // that are not written to any more
	receipts  *receiptLog
	kept      map[ledger.Hash]kept
	newest    time.Time // arrival of the newest receipt
	store     ledger.ID
	watermark wire.Watermark
	condemned int
	observers []func()
	readers   []*reader
	loading   int // old segments still being checked
}

type oldSeg struct {
	path        string
	incarnation ledger.ID
	last        uint64
	lastHash    ledger.Hash
	entries     int
	quarantined bool
}

// plainEntry is an entry that is no item, and the hub's store that has it.
type plainEntry struct {
	ledger.Entry
	seg    uint32
	posted ledger.ID
}

type item struct {
	IndexItem
	last    uint32 // the segment its manifest lies in
	refused bool
	damaged error
}

// request is one turn of the writer: records, and perhaps an item that they complete.
type request struct {
	records []record
	size    int64
	sealed  *seal.Sealed
	wrap    []byte
	attempt uint64
	fork    *ledger.Hash // begin a new incarnation that names this head
	entry   ledger.Entry // result
	done    chan error
}

type record struct {
	key   recordKey
	bytes []byte
}

// Open brings an outbox back, or begins one. It returns when items can be put; old segments are still being checked then.
func Open(ctx context.Context, opt Options) (*Outbox, error) {
	if opt.SegmentSize == 0 {
		opt.SegmentSize = DefaultSegmentSize
	}
	if opt.Check == nil {
		opt.Check = func(_ context.Context, path string) (Index, error) { return Check(path) }
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Trusted == nil {
		opt.Trusted = func() bool { return false }
	}
	o := &Outbox{opt: opt, requests: make(chan *request, 64), quit: make(chan struct{}), ended: make(chan struct{}), puts: map[uint64]bool{}, items: map[ledger.Hash]*item{},
		segments: map[uint32]*oldSeg{}, kept: map[ledger.Hash]kept{}}
	if err := os.MkdirAll(filepath.Join(opt.Dir, quarantine), 0o700); err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	log, all, err := openReceipts(filepath.Join(opt.Dir, "receipts"))
	if err != nil {
		return nil, err
	}
	o.receipts = log
	for _, k := range all {
		o.kept[k.Item] = k
		if k.Verdict == wire.Received && k.arrived.After(o.newest) {
			o.newest = k.arrived
		}
	}
	old, err := listSegments(opt.Dir)
	if err != nil {
		return nil, err
	}
	head, rest, err := o.findHead(ctx, old)
	if err != nil {
		return nil, err
	}
	if len(old) > 0 {
		o.seg = old[len(old)-1]
	}
	if err := o.nextSegment(); err != nil {
		return nil, err
	}
	o.wg.Add(1)
	go o.writer()
	if err := o.begin(ctx, head); err != nil {
		return nil, errors.Join(err, o.Close())
	}
	o.loading = len(rest)
	o.wg.Add(1)
	go o.loadOld(rest) // and forget the receipts of what is no longer here
	return o, nil
}

// head is where the ledger stood when the agent last ran.
type head struct {
	entry   *ledger.Entry // the last one; nil: nothing was ever written, or only a checkpoint is left
	chain   *checkpoint
	damaged bool
}

// findHead looks for the last entry, newest segment first. What it had to check on the way is loaded; the rest is returned.
func (o *Outbox) findHead(ctx context.Context, segs []uint32) (h head, rest []uint32, err error) {
	rest = slices.Clone(segs)
	for len(rest) > 0 && h.entry == nil {
		n := rest[len(rest)-1]
		rest = rest[:len(rest)-1]
		x, damaged := o.load(ctx, n)
		h.damaged = h.damaged || damaged
		if len(x.Entries) > 0 {
			h.entry = &x.Entries[len(x.Entries)-1]
		}
	}
	if h.entry == nil {
		h.chain, err = o.newestCheckpoint()
	}
	return h, rest, err
}

// begin enters this run in the ledger.
func (o *Outbox) begin(ctx context.Context, h head) error {
	switch {
	case h.damaged:
		body := ledger.Hash{}
		if h.entry != nil {
			body = h.entry.Hash()
		}
		return o.fork(ctx, body)
	case h.entry != nil:
		o.chain = ledger.Chain{Incarnation: h.entry.Incarnation, Run: o.opt.Run, Next: h.entry.Number + 1, Head: h.entry.Hash()}
	case h.chain != nil:
		o.chain = ledger.Chain{Incarnation: h.chain.Head.Incarnation, Run: o.opt.Run, Next: h.chain.Head.Number + 1, Head: h.chain.Head.Hash}
	default:
		o.chain = ledger.NewChain(o.opt.Book, ledger.NewID(), o.opt.Run)
	}
	if o.hashes == nil {
		o.base = o.chain.Next
	}
	return o.submit(ctx, &request{attempt: o.newAttempt()})
}

// fork goes on in a new incarnation that names the disputed head.
func (o *Outbox) fork(ctx context.Context, disputed ledger.Hash) error {
	return o.submit(ctx, &request{attempt: o.newAttempt(), fork: &disputed})
}

// newAttempt names one sealing attempt.
func (o *Outbox) newAttempt() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.attempts++
	return uint64(o.seg)<<32 | uint64(o.attempts)
}

// newPut names the attempt of a Put that is under way until endPut.
func (o *Outbox) newPut() uint64 {
	n := o.newAttempt()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.puts[n] = true
	return n
}

func (o *Outbox) endPut(attempt uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.puts, attempt)
}

// Saved is the answer to Put: the item is sealed, in the ledger and fsynced.
type Saved struct {
	Entry ledger.Entry
	Hash  ledger.Hash
}

// groupBytes is how much of a long item goes into one transaction: others get their turn in between.
const groupBytes = 1 << 20

// Put seals a body and saves it. It returns nil only when the item is durable. When it returns an error the item may
// still have been saved (the hub then gets it, and the nurse was told less than the truth, never more).
func (o *Outbox) Put(ctx context.Context, key *seal.Key, kind uint8, urgency wire.Urgency, body []byte) (Saved, error) {
	r := &request{attempt: o.newPut(), wrap: key.Wrap().Marshal()}
	attempt := r.attempt
	defer o.endPut(attempt)
	sealed, err := key.Seal(kind, urgency, body, func(i int, chunk []byte) error {
		for s := 0; s*sliceSize < len(chunk); s++ {
			k := recordKey{attempt, uint32(i), uint8(s)}
			b := encodeRecord(typeSlice, k, chunk[s*sliceSize:min((s+1)*sliceSize, len(chunk))])
			r.records = append(r.records, record{k, b})
			r.size += int64(len(b))
		}
		if r.size < groupBytes {
			return nil
		}
		full := r
		r = &request{attempt: attempt, wrap: full.wrap}
		full.wrap = nil
		return o.submit(ctx, full)
	})
	if err != nil {
		return Saved{}, err
	}
	r.sealed = &sealed
	r.size += int64(len(sealed.Bytes) + len(r.wrap) + 32*len(sealed.Chunks) + 1024)
	if err := o.submit(ctx, r); err != nil {
		return Saved{}, err
	}
	return Saved{Entry: r.entry, Hash: sealed.Hash}, nil
}

func (o *Outbox) submit(ctx context.Context, r *request) error {
	r.done = make(chan error, 1)
	select {
	case o.requests <- r:
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

// Subscribe has f called after every change, from some goroutine; it must not block.
func (o *Outbox) Subscribe(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.observers = append(o.observers, f)
}

func (o *Outbox) changed() {
	o.mu.Lock()
	fs := o.observers
	o.mu.Unlock()
	for _, f := range fs {
		f()
	}
}

// Head is the signed end of the ledger.
func (o *Outbox) Head() (ledger.Head, error) {
	o.mu.Lock()
	c := o.chain
	o.mu.Unlock()
	return c.Sign(o.opt.Book, o.opt.Signer)
}

// Close ends the writer after what was submitted.
func (o *Outbox) Close() error {
	select {
	case <-o.quit:
		return nil
	default:
	}
	close(o.quit)
	o.wg.Wait()
	o.dbmu.Lock()
	defer o.dbmu.Unlock()
	o.receipts.close()
	if o.db == nil {
		return nil
	}
	err := o.db.Close()
	o.db = nil
	return err
}

// checkpoint is what a retired segment leaves: the signed head at its end.
type checkpoint struct {
	Segment uint32      `json:"segment"`
	Head    ledger.Head `json:"head"`
}

func (o *Outbox) newestCheckpoint() (*checkpoint, error) {
	names, err := filepath.Glob(filepath.Join(o.opt.Dir, "*.checkpoint"))
	if err != nil || len(names) == 0 {
		return nil, err
	}
	slices.Sort(names)
	b, err := os.ReadFile(names[len(names)-1])
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	var c checkpoint
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("%w: %s", ErrDamaged, filepath.Base(names[len(names)-1]))
	}
	return &c, nil
}

// Book is whose items these are.
func (o *Outbox) Book() ledger.Book { return o.opt.Book }
