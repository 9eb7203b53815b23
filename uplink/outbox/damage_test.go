package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/wire"
)

// A damaged segment costs what was damaged: the rest is salvaged, delivered, and work goes on in a new incarnation.
func TestDamagedSegment(t *testing.T) {
	r := newRig(t)
	r.open()
	var saved []Saved
	for i := range 10 {
		saved = append(saved, r.put(fmt.Sprint("item ", i, strings.Repeat("y", 9000))))
	}
	r.box.Close()
	r.box = nil
	segs, _ := listSegments(r.dir)
	path := segmentPath(r.dir, segs[len(segs)-1])
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Spoil the meta pages, so that bbolt has no way in, and a byte of every copy of item 3's chunk.
	for i := range 2 * pageSize {
		b[i] ^= 0x5a
	}
	attempt := uint64(segs[len(segs)-1])<<32 | 5 // the run's start is 1
	scan(bytes.Clone(b), func(at int, ty recordType, k recordKey, _ []byte) {
		if ty == typeSlice && k.attempt == attempt {
			b[at+100] ^= 1
		}
	})
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	r.open()
	r.loaded()
	if st := r.box.Stats(); st.Quarantine != 1 || st.Held != 9 || st.Damaged != 1 {
		t.Fatalf("%+v", st)
	}
	if d := r.box.Damaged(); len(d) != 1 || d[0].Hash != saved[3].Hash || d[0].Number != saved[3].Entry.Number || d[0].Kind == 0 || d[0].Reason == "" {
		t.Fatalf("%+v", d)
	}
	for i, s := range saved {
		m, err := r.box.Manifest(s.Hash)
		if err != nil {
			t.Fatal(err)
		}
		h, _ := wire.UnmarshalHeader(m.Header)
		_, err = r.box.Chunk(m, h, 0)
		if damaged := errors.Is(err, ErrDamaged); damaged != (i == 3) || err != nil && !damaged {
			t.Fatalf("item %d: %v", i, err)
		}
	}
	if st := r.box.Stats(); st.Damaged != 1 || st.Held != 9 {
		t.Fatalf("%+v", st)
	}
	if s := r.put("after"); s.Entry.Incarnation == saved[0].Entry.Incarnation {
		t.Fatal("the ledger went on as if nothing had been damaged")
	}
	r.open() // what is in quarantine is still there, and still held
	r.loaded()
	if st := r.box.Stats(); st.Quarantine != 1 || st.Held != 10 || st.Damaged != 1 {
		t.Fatalf("after one more restart: %+v", st)
	}
}

// A check that could not be made says nothing about the segment: everything is still held, now and later.
func TestCheckCannotRun(t *testing.T) {
	r := newRig(t)
	r.open()
	r.put("a")
	r.check = func(context.Context, string) (Index, error) {
		return Index{}, fmt.Errorf("%w: no process", errUnchecked)
	}
	for _, want := range []int{1, 2} {
		r.open()
		r.loaded()
		if st := r.box.Stats(); st.Held != want {
			t.Fatalf("%+v", st)
		}
		r.put("b")
		if q, _ := os.ReadDir(filepath.Join(r.dir, quarantine)); len(q) > 0 {
			t.Fatal("moved to quarantine, unchecked")
		}
	}
	r.check = nil
	r.open()
	r.loaded()
	if st := r.box.Stats(); st.Held != 3 || st.Quarantine != 0 {
		t.Fatalf("%+v", st)
	}
}

// A segment that was checked gives back the blocks that it never used.
func TestOldSegmentsAreTrimmed(t *testing.T) {
	r := newRig(t)
	r.open()
	s := r.put("a")
	for range 3 {
		r.open()
		r.loaded()
	}
	if st, err := os.Stat(segmentPath(r.dir, 1)); err != nil || st.Size() > testSegment/2 {
		t.Fatal(st.Size(), err)
	}
	if r.opened(s.Hash) != "a" {
		t.Fatal("not what was put")
	}
}

// What is being put is not erased, though the segment that it began in has nothing else to keep.
func TestRetireWhilePutting(t *testing.T) {
	r := newRig(t)
	r.open()
	store := ledger.NewID()
	r.box.Store(store)
	r.receipt(r.put("old"), store, 1)
	r.box.Watermark(wire.Watermark{Store: store, Sequence: 1})
	r.box.Posted(r.box.Entries())
	r.clock.Advance(2 * time.Hour)
	r.box.Subscribe(func() { // after every commit, in the middle of the clip
		if _, err := r.box.Retire(); err != nil {
			t.Error(err)
		}
	})
	clip := strings.Repeat("c", 5<<20)
	if got := r.opened(r.put(clip).Hash); got != clip {
		t.Fatal("a saved clip lost its beginning")
	}
	if n, err := r.box.Retire(); err != nil || n != 0 {
		t.Fatal(n, err)
	}
}

// Long items change segments faster than spares are made.
func TestSparesDontCollide(t *testing.T) {
	for range 2 {
		r := newRig(t)
		r.open()
		if clip := strings.Repeat("c", 10<<20); r.opened(r.put(clip).Hash) != clip {
			t.Fatal("not what was put")
		}
	}
}

// Nobody waits for a writer that has left.
func TestPutAfterClose(t *testing.T) {
	r := newRig(t)
	r.open()
	if err := r.box.Close(); err != nil {
		t.Fatal(err)
	}
	for range 100 { // there is room in the queue, and nobody to empty it
		if _, err := r.box.Put(context.Background(), r.key, 1, wire.Routine, nil); !errors.Is(err, ErrClosed) {
			t.Fatal(err)
		}
	}
}

// A sync that fails condemns its segment and is not tried again; the same entries go to the next one, with the same numbers.
func TestFailedCommit(t *testing.T) {
	r := newRig(t)
	r.open()
	a := r.put("a")
	r.disk.fail(kit.OpSync, logExt, 1)
	b := r.put("b")
	if b.Entry.Number != a.Entry.Number+1 || b.Entry.Prev != a.Entry.Hash() {
		t.Fatalf("%+v", b.Entry)
	}
	if st := r.box.Stats(); st.Condemned != 1 {
		t.Fatalf("%+v", st)
	}
	c := r.put("c")
	if n := r.disk.synced(logPath(r.dir, 1, 0)); n != 3 { // run, a, and the one that failed
		t.Fatalf("the condemned log was synced %d times", n)
	}
	for range 2 {
		if r.opened(a.Hash) != "a" || r.opened(b.Hash) != "b" || r.opened(c.Hash) != "c" {
			t.Fatal("not what was put")
		}
		r.open()
		r.loaded()
		if st := r.box.Stats(); st.Held != 3 || st.Damaged != 0 || st.Quarantine != 0 {
			t.Fatalf("%+v", st)
		}
	}
}

// If the second commit fails too, the numbers are in doubt: a new incarnation that names the last sure head.
func TestFailedTwice(t *testing.T) {
	r := newRig(t)
	r.open()
	a := r.put("a")
	r.disk.fail(kit.OpSync, logExt, 2)
	if _, err := r.box.Put(context.Background(), r.key, 1, wire.Routine, []byte("b")); err == nil {
		t.Fatal("saved on a disk that refused it")
	}
	c := r.put("c")
	if c.Entry.Incarnation == a.Entry.Incarnation {
		t.Fatal("a number was used again after a commit in doubt")
	}
	es := r.box.Entries()
	if f := es[len(es)-1]; f.Kind != ledger.Fork || f.Body != a.Entry.Hash() {
		t.Fatalf("%+v", f)
	}
	if r.opened(a.Hash) != "a" || r.opened(c.Hash) != "c" {
		t.Fatal("not what was put")
	}
}

// A full disk: the next item is refused in words, what was saved is there, and when there is room again work goes on in the
// same ledger.
func TestFullDisk(t *testing.T) {
	r := newRig(t)
	r.open()
	r.disk.full.Store(true)
	var saved []Saved
	var refused error
	for refused == nil { // into what was made beforehand
		var s Saved
		if s, refused = r.box.Put(context.Background(), r.key, 1, wire.Routine, bytes.Repeat([]byte("z"), 100<<10)); refused == nil {
			saved = append(saved, s)
		}
	}
	if !errors.Is(refused, unix.ENOSPC) || !strings.Contains(refused.Error(), "untouched") || len(saved) == 0 {
		t.Fatal(len(saved), refused)
	}
	small := r.put("38.2 Cel") // there is room for little things left
	r.disk.full.Store(false)
	after := r.put("after")
	if after.Entry.Incarnation != saved[0].Entry.Incarnation || after.Entry.Number != small.Entry.Number+1 {
		t.Fatalf("%+v", after.Entry)
	}
	for _, s := range saved {
		r.opened(s.Hash)
	}
}
