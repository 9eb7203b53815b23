// Package outbox holds sealed items until the hub has signed for them.
//
// Parties: the capture side puts (Put returns when the item is saved: sealed, numbered and fsynced); the link reads pending
// items and hands in receipts; Retire erases what is delivered, past grace and covered by the hub's backup.
//
// Keys: none that opens an item. Items come in through seal.Key, in memory only; what is written is ciphertext.
//
// On disk (FORMAT.md has the bytes): small bbolt segments of fixed size whose blocks are kept beforehand, with logs in
// front of them; receipts in files of their own; a signed checkpoint for each retired segment; damaged files in quarantine/.
//
// Invariants: an entry commits in the same batch and segment as its item's last chunk. A number is used once. A batch is one
// write and one fdatasync, and the next is written after it. A failed write or sync is never tried again: it condemns log and
// segment, and the same entries are written to a fresh segment; if that fails too nobody knows what is on the disk, and the
// ledger goes on in a new incarnation. Nothing is built on what was found but not synced. Every run starts in a fresh segment;
// a segment has entries of one incarnation. Old bbolt files are checked in a child process and read without bbolt. One
// goroutine enters items in the ledger. Everything that is written goes through kit.Disk, but for bbolt's own commits.
package outbox

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"telecart/capture/ledger"
	"telecart/device/kit"
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
	LogSize     int64   // 0: 4 MiB, and a quarter of a segment at most; a multiple of 4096
	KeepGone    int     // the receipts of how many erased items are kept; 0: 65,536
	Check       Checker // nil: in this process, for tests alone
	Log         *slog.Logger

	// For a simulation. Disk: everything that is written, but by bbolt itself. Background: nil is a goroutine; it may run the
	// work at once or later, or never. Bolted: told of each segment that bbolt is about to write to.
	Disk       kit.Disk
	Background func(func())
	Bolted     func(path string, db *bbolt.DB)
}

// Sizes. They are written beforehand in about 20 ms on a solid-state disk, one second on a slow card.
const (
	DefaultSegmentSize = 16 << 20
	DefaultLogSize     = 4 << 20
	defaultGone        = 1 << 16
)

func (opt *Options) complete() {
	if opt.SegmentSize == 0 {
		opt.SegmentSize = DefaultSegmentSize
	}
	if opt.LogSize == 0 {
		opt.LogSize = min(DefaultLogSize, opt.SegmentSize/4)
	}
	opt.LogSize = max(opt.LogSize/blockSize*blockSize, 16*blockSize)
	if opt.KeepGone == 0 {
		opt.KeepGone = defaultGone
	}
	if opt.Check == nil {
		opt.Check = func(_ context.Context, path string) (Index, error) { return Check(path) }
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Background == nil {
		opt.Background = func(f func()) { go f() }
	}
	if opt.Bolted == nil {
		opt.Bolted = func(string, *bbolt.DB) {}
	}
	if opt.Trusted == nil {
		opt.Trusted = func() bool { return false }
	}
}

// Outbox is one book's store. All methods are safe for concurrent use. Locks are taken in the order retiring, taking,
// live.moving, live.mu, mu.
type Outbox struct {
	opt      Options
	requests chan *request
	quit     chan struct{}
	ended    chan struct{} // the writer has left
	sparing  sync.Mutex    // spares are made by one
	frames   sync.Pool     // *[]byte, for a chunk's records each
	crowd    atomic.Int32  // how many shared the last commit or came meanwhile
	wg       sync.WaitGroup
	life     context.Context // until Close
	end      context.CancelFunc

	// Of the writer alone.
	batch     []*request
	layout    layout
	ambiguous bool // a commit failed: see writeBatch

	retiring sync.Mutex // one Retire at a time
	taking   sync.Mutex // one receipt at a time
	receipts *receiptLog

	mu         sync.Mutex
	cur        *live // changed by the writer alone
	seg        uint32
	unfinished []*live // no longer written to, and not finished yet
	chain      ledger.Chain
	attempts   uint32
	puts       map[uint64]bool // attempts under way: their segments are not erased
	x          index
	plain      []plainEntry               // entries that are no items
	early      map[ledger.Hash]receiptRow // receipts whose items were not found yet
	receiptIn  map[uint32]int             // receipt file: how many items it matters to
	newest     time.Time                  // arrival of the newest receipt
	watermark  wire.Watermark
	condemned  int
	reasons    map[ledger.Hash]string // what is wrong with damaged items
	missing    []DamagedItem          // entries that should be here
	told       map[ledger.Hash]bool   // items of which was logged that they can't be read at the moment
	observers  []func()
	readers    []*reader
	trail      trail
	closing    bool
	loading    int // old segments still being checked
}

// plainEntry is an entry that is no item, and the hub's store that has it, from which place in its sequence on.
type plainEntry struct {
	ledger.Entry
	seg      uint32
	posted   ledger.ID
	sequence uint64
}

// Open brings an outbox back, or begins one. It returns when items can be put; old segments are still being checked then.
func Open(ctx context.Context, opt Options) (*Outbox, error) {
	opt.complete()
	o := &Outbox{opt: opt, batch: make([]*request, 0, maxBatch), requests: make(chan *request, 64), quit: make(chan struct{}), ended: make(chan struct{}), puts: map[uint64]bool{},
		x: newIndex(), early: map[ledger.Hash]receiptRow{}, receiptIn: map[uint32]int{}, reasons: map[ledger.Hash]string{}}
	o.life, o.end = context.WithCancel(context.Background())
	if err := opt.Disk.MkdirAll(filepath.Join(opt.Dir, quarantine), 0o700); err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	for _, dir := range []string{filepath.Join(opt.Dir, quarantine), opt.Dir, filepath.Dir(opt.Dir)} {
		if err := opt.Disk.SyncDir(dir); err != nil { // names that a killed agent left are built upon from here
			return nil, fmt.Errorf("outbox: %w", err)
		}
	}
	var err error
	var bad []error
	if o.receipts, bad, err = openReceipts(opt.Disk, filepath.Join(opt.Dir, "receipts"), o.dropSpares, o.early0); err != nil {
		return nil, err
	}
	for _, err := range bad {
		o.opt.Log.Error("outbox: receipts", "err", err)
	}
	o.sweep()
	o.sweepSpares()
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
		o.receipts.close()
		return nil, err
	}
	o.loading = len(rest) + 1
	o.wg.Add(1)
	go o.writer()
	if err := o.begin(ctx, head); err != nil {
		return nil, errors.Join(err, o.Close())
	}
	o.background(func() { o.loadOld(rest) })
	return o, nil
}

// early0 takes a receipt that was found before its item.
func (o *Outbox) early0(k kept, file uint32, slot int) {
	o.early[k.Item] = o.receiptRow(k, file, slot)
	if k.Verdict == wire.Received && k.arrived.After(o.newest) {
		o.newest = k.arrived
	}
}

// head is where the ledger stood when the agent last ran.
type head struct {
	entry   *ledger.Entry // the last one; nil: nothing was ever written, or only a checkpoint is left
	chain   *checkpoint
	damaged bool
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
	return o.submit(ctx, &request{attempt: o.newAttempt()})
}

// fork goes on in a new incarnation that names the disputed head.
func (o *Outbox) fork(ctx context.Context, disputed ledger.Hash) error {
	return o.submit(ctx, &request{attempt: o.newAttempt(), fork: &forking{ledger.NewID(), disputed}})
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
	o.mu.Lock()
	defer o.mu.Unlock()
	o.attempts++
	n := uint64(o.seg)<<32 | uint64(o.attempts)
	o.puts[n] = true
	return n
}

func (o *Outbox) endPut(attempt uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.puts, attempt)
}

// background has work done apart from the caller, unless the outbox is closed first. The caller holds no lock.
func (o *Outbox) background(work func()) {
	o.opt.Background(func() {
		o.mu.Lock()
		if o.closing {
			o.mu.Unlock()
			return
		}
		o.wg.Add(1)
		o.mu.Unlock()
		defer o.wg.Done()
		work()
	})
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

func (o *Outbox) closed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closing
}

// Book is whose items these are.
func (o *Outbox) Book() ledger.Book { return o.opt.Book }

// Close ends the writer after what was submitted, marks the log's end, and moves what is in the logs, so that an older
// release finds everything in the segments.
func (o *Outbox) Close() error {
	o.mu.Lock()
	again := o.closing
	o.closing = true
	o.mu.Unlock()
	if again {
		return nil
	}
	o.end()
	close(o.quit)
	o.wg.Wait()
	o.crowd.Store(0) // the rush is over
	err := o.endMark()
	for _, s := range append(slices.Clone(o.unfinished), o.cur) {
		o.finish(s)
	}
	o.taking.Lock()
	defer o.taking.Unlock()
	o.receipts.close()
	return err
}

// endMark writes an empty batch: what lies behind it was not written by this run.
func (o *Outbox) endMark() error {
	s := o.cur
	if s.bad.Load() || s.log == nil || s.log.at+blockSize > o.opt.LogSize {
		return nil
	}
	if err := s.log.append(s.n, make([]byte, blockSize), 0); err != nil {
		s.bad.Store(true)
		return err
	}
	return nil
}
