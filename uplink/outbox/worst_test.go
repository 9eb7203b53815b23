package outbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/wire"
)

// A fork right after the start, before any item: each incarnation has segments of its own.
func TestForkAtOnce(t *testing.T) {
	r := newRig(t)
	r.open()
	old := r.box.chain.Incarnation
	if forked, err := r.box.Reconcile(t.Context(), ledger.Head{Book: book, Incarnation: old, Number: 77, Hash: ledger.Hash{1}}); !forked || err != nil {
		t.Fatal(forked, err)
	}
	s := r.put("x")
	if s.Entry.Incarnation == old {
		t.Fatal("no fork")
	}
	if _, ok := r.box.entryHash(s.Entry.Incarnation, s.Entry.Number); !ok {
		t.Error("an entry of the new incarnation is not found")
	}
	r.box.mu.Lock()
	defer r.box.mu.Unlock()
	for _, g := range r.box.x.segments {
		if g.n == 1 && g.entries != 1 {
			t.Errorf("segment 1 has %d entries, its own run's and others", g.entries)
		}
	}
}

// A file that can't be opened costs what is in it: what is good beside it goes out.
func TestUnreadableFile(t *testing.T) {
	r := newRig(t)
	r.open()
	for i := range 5 {
		r.put(fmt.Sprint("old ", i))
	}
	r.box.Close()
	bad := filepath.Join(r.dir, "00000001.0007.log")
	if err := os.Symlink(bad, bad); err != nil { // ELOOP, where a failing card says EIO
		t.Fatal(err)
	}
	r.open()
	r.loaded()
	r.put("new")
	if n := len(r.box.Pending(2, none)); n != 2 {
		t.Errorf("%d of 2", n)
	}
	if n := len(r.box.Pending(100, none)); n != 6 {
		t.Errorf("%d of 6", n)
	}
}

// An item that one store refused is offered to the next.
func TestRefusedByAnotherStore(t *testing.T) {
	r := newRig(t)
	r.open()
	s := r.put("x")
	a, b := ledger.ID{1}, ledger.ID{2}
	r.box.Store(a)
	err := r.box.Receipt(wire.Receipt{Verdict: wire.Refused, Hub: "hub", Store: a, Sequence: 1, Key: 1, Book: book,
		Incarnation: s.Entry.Incarnation, Number: s.Entry.Number, Prev: s.Entry.Prev, Item: s.Hash})
	if err != nil || len(r.box.Pending(9, none)) != 0 {
		t.Fatal(err, "or it is offered to who refused it")
	}
	for range 2 {
		r.box.Store(b)
		if n := len(r.box.Pending(9, none)); n != 1 {
			t.Fatalf("%d", n)
		}
		r.open()
		r.loaded()
	}
}

// crowded is a full disk until a spare is given up.
type crowded struct{ full, freed atomic.Bool }

func (c *crowded) Do(op kit.Op, do func() error) error {
	switch {
	case op.Kind == kit.OpRemove && strings.Contains(op.Path, "spare"):
		err := do()
		c.freed.Store(c.freed.Load() || err == nil)
		return err
	case op.Kind == kit.OpWrite && strings.HasSuffix(op.Path, ".tmp") && c.full.Load() && !c.freed.Load():
		return unix.ENOSPC
	}
	return do()
}

func (r *rig) openOn(w kit.Watcher) (*Outbox, error) {
	if r.box != nil {
		r.box.Close()
	}
	var err error
	r.box, err = Open(context.Background(), Options{Dir: r.dir, Book: book, Run: ledger.NewID(), Signer: r.signer, Clock: r.clock, Trusted: func() bool { return true },
		Grace: time.Hour, SegmentSize: r.size, Disk: kit.Disk{Watch: w}})
	return r.box, err
}

// On a full disk delivery still makes room: the spares serve receipts and erasing.
func TestRoomByDelivery(t *testing.T) {
	r := newRig(t)
	r.open()
	store := ledger.ID{9}
	var saved []Saved
	for range 30 {
		saved = append(saved, r.put(strings.Repeat("y", 60000)))
	}
	disk := &crowded{}
	if _, err := r.openOn(disk); err != nil {
		t.Fatal(err)
	}
	r.loaded()
	r.box.makeSpares()
	disk.full.Store(true)
	r.box.receipts.next = fileSlots
	r.delivered(saved, store, 1)
	disk.freed.Store(false)
	r.box.makeSpare(spareLog, r.box.opt.LogSize, func(d kit.Disk, path string, size int64) error { return os.WriteFile(path, make([]byte, size), 0o600) })
	if n, err := r.box.Retire(); n == 0 || err != nil {
		t.Fatal(n, err)
	}
}

// Receipts that can't be read, or can't be begun, keep nobody from capturing.
func TestReceiptsUnreadable(t *testing.T) {
	r := newRig(t)
	r.open()
	r.put("x")
	r.box.Close()
	bad := filepath.Join(r.dir, "receipts", "00000000.rcp")
	tmp := filepath.Join(r.dir, "00000009.seg.tmp")
	if err := errors.Join(os.Symlink(bad, bad), os.WriteFile(tmp, make([]byte, 99), 0o600)); err != nil {
		t.Fatal(err)
	}
	r.open()
	r.loaded()
	s := r.put("y")
	r.receipt(s, ledger.ID{1}, 1)
	if _, err := os.Lstat(bad); err != nil {
		t.Error("a file that can't be read was removed")
	}
	if _, err := os.Stat(tmp); err == nil {
		t.Error("what was half made is still there")
	}
}

// What was delivered and erased beside a segment in quarantine is not called lost.
func TestErasedIsNotMissing(t *testing.T) {
	r := newRig(t)
	store := ledger.ID{9}
	r.open()
	var others []Saved
	for range 150 {
		s := r.put(strings.Repeat("y", 60000))
		if _, _, n, _ := r.box.where(s.Hash); n != 1 {
			others = append(others, s)
		}
	}
	first := segmentPath(r.dir, 1)
	r.check = func(_ context.Context, path string) (Index, error) {
		if path == first {
			return Index{}, ErrDamaged
		}
		return Check(path)
	}
	r.open()
	r.loaded()
	if n := r.box.Stats().Quarantine; n != 1 {
		t.Fatalf("%d in quarantine", n)
	}
	before := len(r.box.Damaged())
	r.delivered(others, store, 1)
	if n, err := r.box.Retire(); n == 0 || err != nil {
		t.Fatal(n, err)
	}
	r.open()
	r.loaded()
	if n := len(r.box.Damaged()); n != before {
		t.Errorf("%d are called lost, %d before", n, before)
	}
}

// Grace that began when the clock was set goes on over restarts.
func TestGraceOfACartSwitchedOff(t *testing.T) {
	r := newRig(t)
	store := ledger.ID{9}
	r.open()
	r.box.Store(store)
	s := r.put("x")
	r.untrusted.Store(true)
	r.receipt(s, store, 1)
	r.untrusted.Store(false)
	for day := range 4 {
		r.open()
		r.loaded()
		r.box.Store(store)
		r.box.Posted(r.box.Entries())
		r.box.Watermark(wire.Watermark{Store: store, Sequence: 1 << 40})
		for range 2 {
			if _, err := r.box.Retire(); err != nil {
				t.Fatal(err)
			}
			r.clock.Advance(25 * time.Minute) // grace is an hour
		}
		if _, _, _, here := r.box.where(s.Hash); here != (day < 1) {
			t.Fatalf("day %d: here %t", day, here)
		}
	}
}

// A page of the present segment that goes bad beneath bbolt is an error, not the end of the agent.
func TestBadPageNow(t *testing.T) {
	r := newRig(t)
	r.open()
	s := r.put(strings.Repeat("z", 700<<10)) // goes into bbolt
	f, err := os.OpenFile(r.box.cur.path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	for at := int64(2 * pageSize); at < r.size; at += pageSize {
		if _, err := f.WriteAt(make([]byte, 16), at); err != nil {
			t.Fatal(err)
		}
	}
	f.Close()
	n, row, ok := r.box.x.find(s.Hash)
	if !ok {
		t.Fatal("it is not here")
	}
	if _, err := r.box.read(n.n, recordKey{n.rows[row].attempt, 0, 0}); !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
	r.put("goes on")
}

// Many long items at once fill one segment after the other, and none is refused for it.
func TestManyLongOnes(t *testing.T) {
	r := newRig(t)
	r.open()
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			if _, err := r.box.Put(t.Context(), r.key, 1, wire.Routine, []byte(strings.Repeat("z", 3<<20))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// A long item whose caller gave up while its last batch was on its way to the disk: what of it lies in earlier segments is not
// erased under it.
func TestGivenUp(t *testing.T) {
	r := newRig(t)
	r.size = 16 << 20
	store := ledger.NewID()
	box := r.open()
	box.Store(store)
	first := r.put("first")
	gate := make(chan struct{})
	r.disk.hold.Store(&gate)
	ctx, giveUp := context.WithCancel(context.Background())
	body := strings.Repeat("a long item ", 20<<20/12) // more than a segment
	done := make(chan error)
	go func() {
		_, err := box.Put(ctx, r.key, 1, wire.Routine, []byte(body))
		done <- err
	}()
	for !r.disk.held.Load() {
		runtime.Gosched()
	}
	giveUp()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	r.delivered([]Saved{first}, store, 1)
	for unfinished := 1; unfinished > 0; runtime.Gosched() {
		box.mu.Lock()
		unfinished = len(box.unfinished)
		box.mu.Unlock()
	}
	if _, err := box.Retire(); err != nil {
		t.Fatal(err)
	}
	close(gate)
	r.put("next")
	for _, ref := range box.Pending(10, none) {
		if ref.Length > 1<<20 && r.opened(ref.Hash) == body {
			return
		}
	}
	t.Error("the long item was not entered")
}

// A receipt that comes after the end is not taken: nothing would keep it.
func TestReceiptAfterClose(t *testing.T) {
	r := newRig(t)
	box := r.open()
	s := r.put("item")
	if err := box.Close(); err != nil {
		t.Fatal(err)
	}
	err := box.Receipt(wire.Receipt{Verdict: wire.Received, Hub: "hub", Book: book, Incarnation: s.Entry.Incarnation, Number: s.Entry.Number, Item: s.Hash})
	if !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

// A spare that lost a sector since it was made becomes no segment and no log; a good one does.
func TestSpares(t *testing.T) {
	r := newRig(t)
	r.open()
	made := func(name string) os.FileInfo {
		r.box.makeSpares()
		st, err := os.Stat(filepath.Join(r.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	is := func(spare os.FileInfo, path string) bool {
		st, err := os.Stat(path)
		return err == nil && os.SameFile(spare, st)
	}
	seg, log := made(spareName), made(spareLog)
	r.open()
	r.put("into good ones")
	if n := r.box.cur.n; !is(seg, segmentPath(r.dir, n)) || !is(log, logPath(r.dir, n, 0)) {
		t.Error("good spares were not used")
	}
	for name, at := range map[string]int64{spareName: 2*pageSize + 8, spareLog: 3 * blockSize} {
		made(name)
		if f, err := os.OpenFile(filepath.Join(r.dir, name), os.O_WRONLY, 0); err != nil {
			t.Fatal(err)
		} else if _, err := f.WriteAt([]byte{0xff}, at); err != nil || f.Close() != nil {
			t.Fatal(err)
		}
	}
	r.open()
	r.put("into fresh ones")
	n := r.box.cur.n
	for path, at := range map[string]int64{segmentPath(r.dir, n): 2*pageSize + 8, logPath(r.dir, n, 0): 3 * blockSize} {
		if b, err := os.ReadFile(path); err != nil || b[at] == 0xff {
			t.Errorf("%s: %v: a damaged spare was used", path, err)
		}
	}
}
