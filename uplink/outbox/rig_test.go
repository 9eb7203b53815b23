package outbox

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

type rig struct {
	t       testing.TB
	size    int64
	gone    int
	idle    bool // nothing is done in the background
	dir     string
	clock   *kit.Manual
	signer  *ecdsa.PrivateKey
	records *seal.Records
	public  wire.RecordKey
	key     *seal.Key
	box     *Outbox
	check   Checker
	disk    *faults

	untrusted atomic.Bool
}

// faults is a disk that fails when it is told to.
type faults struct {
	full  atomic.Bool                   // nothing new fits
	dead  atomic.Bool                   // nothing is done any more
	hold  atomic.Pointer[chan struct{}] // a batch waits for it to be closed
	held  atomic.Bool                   // one does
	mu    sync.Mutex
	kind  kit.OpKind
	ext   string
	left  int
	torn  string
	syncs map[string]int
	fresh map[string]bool // names that are not durable
	early []string        // files that were synced under such a name
	named int
}

func newFaults() *faults { return &faults{syncs: map[string]int{}, fresh: map[string]bool{}} }

// fail has the next operations of a kind on files of a kind fail.
func (f *faults) fail(kind kit.OpKind, ext string, times int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kind, f.ext, f.left = kind, ext, times
}

// tear has the next write to a file fail, done in part.
func (f *faults) tear(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.torn = path
}

func (f *faults) tears(path string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	ok := f.torn == path
	if ok {
		f.torn = ""
	}
	return ok
}

func (f *faults) synced(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.syncs[path]
}

func (f *faults) Do(op kit.Op, do func() error) error {
	if c := f.hold.Load(); c != nil && op.Kind == kit.OpWrite && strings.HasSuffix(op.Path, logExt) {
		f.held.Store(true)
		<-*c
	}
	if op.Kind == kit.OpWrite && f.tears(op.Path) {
		op.Data = op.Data[:2*sectorSize]
		if file, err := os.OpenFile(op.Path, os.O_WRONLY, 0); err == nil {
			file.WriteAt(op.Data, op.Off)
			file.Close()
		}
		return unix.EIO
	}
	switch {
	case f.dead.Load():
		return unix.EROFS
	case f.note(op):
		return unix.EIO
	case f.full.Load() && (op.Kind == kit.OpWrite || op.Kind == kit.OpTruncate) && strings.HasSuffix(op.Path, ".tmp"):
		return unix.ENOSPC
	}
	return do()
}

// note keeps count, and says whether this one fails.
func (f *faults) note(op kit.Op) (fails bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fails = op.Kind == f.kind && strings.HasSuffix(op.Path, f.ext) && f.left > 0; fails {
		f.left--
	}
	switch op.Kind {
	case kit.OpSync:
		f.syncs[op.Path]++
		if f.fresh[op.Path] {
			f.early = append(f.early, op.Path)
		}
	case kit.OpRename:
		f.fresh[op.To] = true
	case kit.OpSyncDir:
		for path := range f.fresh {
			if filepath.Dir(path) == op.Path {
				delete(f.fresh, path)
				f.named++
			}
		}
	}
	return fails
}

func newRig(t testing.TB) *rig {
	t.Helper()
	return newRigIn(t, t.TempDir())
}

func newRigIn(t testing.TB, dir string) *rig {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, public, err := seal.NewRecordKey(1, false, 0x20)
	if err != nil {
		t.Fatal(err)
	}
	records, err := seal.NewRecords([]seal.RecordKey{private})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, size: testSegment, dir: dir, clock: kit.NewManual(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)), signer: k, records: records, public: public,
		disk: newFaults()}
	t.Cleanup(func() {
		if r.box != nil {
			r.box.Close()
		}
	})
	return r
}

// open starts a run of the agent.
func (r *rig) open() *Outbox {
	r.t.Helper()
	if r.box != nil {
		if err := r.box.Close(); err != nil {
			r.t.Fatal(err)
		}
	}
	run := ledger.NewID()
	s, err := seal.NewSealer(book, run, r.public)
	if err != nil {
		r.t.Fatal(err)
	}
	if r.key, err = s.NewKey(ledger.NewID()); err != nil {
		r.t.Fatal(err)
	}
	var background func(func())
	if r.idle {
		background = func(func()) {}
	}
	r.box, err = Open(context.Background(), Options{Background: background, Dir: r.dir, Book: book, Run: run, Signer: r.signer, Clock: r.clock,
		Trusted: func() bool { return !r.untrusted.Load() }, KeepGone: r.gone, Grace: time.Hour, SegmentSize: r.size, Check: r.check, Disk: kit.Disk{Watch: r.disk}})
	if err != nil {
		r.t.Fatal(err)
	}
	return r.box
}

// loaded waits until every old segment was checked.
func (r *rig) loaded() {
	done := make(chan struct{}, 1)
	r.box.Subscribe(func() {
		select {
		case done <- struct{}{}:
		default:
		}
	})
	for r.box.Stats().Loading > 0 {
		<-done
	}
}

func (r *rig) put(body string) Saved {
	r.t.Helper()
	s, err := r.box.Put(context.Background(), r.key, 1, wire.Routine, []byte(body))
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// opened reads an item back through the record key.
func (r *rig) opened(h ledger.Hash) string {
	r.t.Helper()
	m, err := r.box.Manifest(h)
	if err != nil {
		r.t.Fatal(err)
	}
	_, hd, w, err := wire.UnmarshalManifest(m.Marshal())
	if err != nil {
		r.t.Fatal(err)
	}
	var b bytes.Buffer
	err = r.records.Open(w, m.Header, hd, func(i int) ([]byte, error) { return r.box.Chunk(m, hd, i) },
		func(p []byte) error { b.Write(p); return nil })
	if err != nil {
		r.t.Fatal(err)
	}
	return b.String()
}

// whole reads all of an item that this rig has no key to.
func (r *rig) whole(h ledger.Hash) {
	r.t.Helper()
	m, err := r.box.Manifest(h)
	if err != nil {
		r.t.Fatal(err)
	}
	hd, err := wire.UnmarshalHeader(m.Header)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := range m.Chunks {
		if _, err := r.box.Chunk(m, hd, i); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) receipt(s Saved, store ledger.ID, seq uint64) {
	r.t.Helper()
	err := r.box.Receipt(wire.Receipt{Verdict: wire.Received, Hub: "hub", Store: store, Sequence: seq, Key: 1, Book: book,
		Incarnation: s.Entry.Incarnation, Number: s.Entry.Number, Prev: s.Entry.Prev, Item: s.Hash})
	if err != nil {
		r.t.Fatal(err)
	}
}

func none(Ref) bool { return false }
