package outbox

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == CheckCommand { // as telecartd does
		if err := CheckMain(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) == 3 && os.Args[1] == openCommand { // see BenchmarkScale
		if err := openMain(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

var book = ledger.Book{Tenant: "north", Cart: "cart-1"}

const testSegment = 2 << 20

type rig struct {
	t       testing.TB
	size    int64
	gone    int
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
	full  atomic.Bool // nothing new fits
	dead  atomic.Bool // nothing is done any more
	mu    sync.Mutex
	kind  kit.OpKind
	ext   string
	left  int
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

func (f *faults) synced(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.syncs[path]
}

func (f *faults) Do(op kit.Op, do func() error) error {
	switch {
	case f.dead.Load():
		return unix.EROFS
	case f.note(op):
		return unix.EIO
	case f.full.Load() && op.Kind == kit.OpWrite && strings.HasSuffix(op.Path, ".tmp"):
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
	r.box, err = Open(context.Background(), Options{Dir: r.dir, Book: book, Run: run, Signer: r.signer, Clock: r.clock,
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

func (r *rig) receipt(s Saved, store ledger.ID, seq uint64) {
	r.t.Helper()
	err := r.box.Receipt(wire.Receipt{Verdict: wire.Received, Hub: "hub", Store: store, Sequence: seq, Key: 1, Book: book,
		Incarnation: s.Entry.Incarnation, Number: s.Entry.Number, Prev: s.Entry.Prev, Item: s.Hash})
	if err != nil {
		r.t.Fatal(err)
	}
}

func none(Ref) bool { return false }

func TestPutReadRestart(t *testing.T) {
	r := newRig(t)
	r.open()
	want := map[ledger.Hash]string{}
	var numbers []uint64
	for i := range 40 {
		body := fmt.Sprintf("item %d %s", i, strings.Repeat("x", i*i*60))
		s := r.put(body)
		want[s.Hash] = body
		numbers = append(numbers, s.Entry.Number)
	}
	for i := range numbers {
		if numbers[i] != uint64(i+1) {
			t.Fatalf("numbers %v: the run is 0, items follow without gap", numbers)
		}
	}
	for range 2 {
		for h, body := range want {
			if got := r.opened(h); got != body {
				t.Fatalf("item %s: %d bytes back, not %d", h, len(got), len(body))
			}
		}
		if n := len(r.box.Pending(100, none)); n != 40 {
			t.Fatalf("%d pending", n)
		}
		r.open()
		r.loaded()
	}
	s := r.put("next")
	if s.Entry.Number != 40+3 { // items 1..40, runs at 41 and 42
		t.Fatalf("number %d after two restarts", s.Entry.Number)
	}
	if n := len(r.box.Entries()); n != 3 {
		t.Fatalf("%d runs in the ledger", n)
	}
}

// An item longer than a segment spans several, and others get their turn meanwhile.
func TestLongItem(t *testing.T) {
	r := newRig(t)
	r.open()
	long := strings.Repeat("0123456789abcdef", 5<<20/16)
	var wg sync.WaitGroup
	wg.Add(1)
	var s Saved
	go func() { defer wg.Done(); s = r.put(long) }()
	small := r.put("vital sign")
	wg.Wait()
	for range 2 {
		if r.opened(s.Hash) != long || r.opened(small.Hash) != "vital sign" {
			t.Fatal("not what was put")
		}
		r.open()
		r.loaded()
	}
	if segs, _ := listSegments(r.dir); len(segs) < 4 {
		t.Fatalf("segments %v", segs)
	}
}

// Segments never grow, and hold nothing readable.
func TestFixedSizeAndUnreadable(t *testing.T) {
	r := newRig(t)
	r.open()
	for range 50 {
		r.put("Zebulon Quackenbush 38.2 Cel")
	}
	files := 0
	filepath.WalkDir(r.dir, func(p string, d os.DirEntry, _ error) error {
		if d.IsDir() {
			return nil
		}
		b, err := os.ReadFile(p)
		if errors.Is(err, os.ErrNotExist) {
			return nil // a spare got its name meanwhile
		}
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("Quackenbush")) || bytes.Contains(b, []byte("38.2 Cel")) {
			t.Errorf("%s is readable", p)
		}
		if strings.HasSuffix(p, segmentExt) {
			var st unix.Stat_t
			if err := unix.Stat(p, &st); err != nil {
				t.Fatal(err)
			}
			if files++; len(b) != testSegment || st.Blocks*512 < testSegment {
				t.Errorf("%s has %d bytes, %d of them written", p, len(b), st.Blocks*512)
			}
		}
		return nil
	})
	if files == 0 {
		t.Fatal("no segments seen")
	}
}

func TestReceiptsSurviveAndStoreChangeReoffers(t *testing.T) {
	r := newRig(t)
	r.open()
	a, b := r.put("a"), r.put("b")
	store := ledger.NewID()
	r.receipt(a, store, 1)
	r.open()
	r.loaded()
	r.box.Store(store)
	if p := r.box.Pending(9, none); len(p) != 1 || p[0].Hash != b.Hash {
		t.Fatalf("pending %v", p)
	}
	if st := r.box.Stats(); st.Held != 1 || st.Receipted != 1 {
		t.Fatalf("%+v", st)
	}
	r.box.Store(ledger.NewID()) // the hub was restored from a backup
	if p := r.box.Pending(9, none); len(p) != 2 {
		t.Fatalf("%d re-offered", len(p))
	}
}

func TestOrder(t *testing.T) {
	r := newRig(t)
	r.open()
	put := func(u wire.Urgency) ledger.Hash {
		s, err := r.box.Put(context.Background(), r.key, 1, u, []byte{byte(u)})
		if err != nil {
			t.Fatal(err)
		}
		return s.Hash
	}
	r1, u1, r2, u2 := put(wire.Routine), put(wire.Urgent), put(wire.Routine), put(wire.Urgent)
	var got []ledger.Hash
	for _, p := range r.box.Pending(9, none) {
		got = append(got, p.Hash)
	}
	if !slices.Equal(got, []ledger.Hash{u2, u1, r1, r2}) {
		t.Fatal("not urgent before routine, newest urgent first, oldest routine first")
	}
}

// Erasing needs receipt, grace, watermark, and the hub's knowledge of every entry.
func TestRetire(t *testing.T) {
	r := newRig(t)
	r.open()
	s := r.put("a")
	store := ledger.NewID()
	r.box.Store(store)
	r.receipt(s, store, 7)
	r.open()
	r.loaded()
	r.box.Store(store)
	step := func(what string, want int) {
		t.Helper()
		if n, err := r.box.Retire(); err != nil || n != want {
			t.Fatalf("%s: %d retired, %v", what, n, err)
		}
	}
	step("grace not over", 0)
	r.clock.Advance(2 * time.Hour)
	step("no watermark", 0)
	r.box.Watermark(wire.Watermark{Store: store, Sequence: 6})
	step("watermark too low", 0)
	r.box.Watermark(wire.Watermark{Store: store, Sequence: 7})
	step("the hub has not all entries", 0)
	r.box.Posted(r.box.Entries())
	if left := r.box.Entries(); len(left) > 0 {
		t.Fatalf("%v still to be posted", left)
	}
	step("all conditions", 1)
	if cs, _ := filepath.Glob(filepath.Join(r.dir, "*.checkpoint")); len(cs) != 1 {
		t.Fatal("no checkpoint left")
	}
	r.open()
	r.loaded()
	if s := r.put("b"); s.Entry.Number != 4 { // run 0, a 1, run 2, run 3
		t.Fatalf("number %d after a retired segment", s.Entry.Number)
	}
}

func TestReconcileForks(t *testing.T) {
	for name, hub := range map[string]func(s Saved) ledger.Head{
		"the hub has more": func(s Saved) ledger.Head {
			return ledger.Head{Incarnation: s.Entry.Incarnation, Number: 99, Hash: ledger.Hash{1}}
		},
		"another entry": func(s Saved) ledger.Head {
			return ledger.Head{Incarnation: s.Entry.Incarnation, Number: 1, Hash: ledger.Hash{1}}
		},
	} {
		r := newRig(t)
		r.open()
		s := r.put("before")
		h := hub(s)
		forked, err := r.box.Reconcile(context.Background(), h)
		if err != nil || !forked {
			t.Fatal(name, forked, err)
		}
		after := r.put("after")
		if after.Entry.Incarnation == s.Entry.Incarnation || after.Entry.Number != 1 {
			t.Fatalf("%s: %+v", name, after.Entry)
		}
		es := r.box.Entries()
		if f := es[len(es)-1]; f.Kind != ledger.Fork || f.Body != h.Hash || f.Number != 0 {
			t.Fatalf("%s: %+v", name, f)
		}
		if len(r.box.Pending(9, none)) != 2 {
			t.Fatal("an item was dropped for its number")
		}
		r.open()
		r.loaded()
		if again := r.put("again"); again.Entry.Incarnation != after.Entry.Incarnation || again.Entry.Number != 3 {
			t.Fatalf("%s: %+v after the restart", name, again.Entry)
		}
	}
}

func TestConcurrentPuts(t *testing.T) {
	r := newRig(t)
	r.open()
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[uint64]bool{}
	for i := range 64 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			s, err := r.box.Put(context.Background(), r.key, 1, wire.Routine, []byte(fmt.Sprint(i)))
			mu.Lock()
			defer mu.Unlock()
			if err != nil || seen[s.Entry.Number] {
				t.Errorf("%v, number %d", err, s.Entry.Number)
			}
			seen[s.Entry.Number] = true
		}()
	}
	wg.Wait()
	if len(seen) != 64 {
		t.Fatalf("%d numbers", len(seen))
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(encodeRecord(typeEntry, recordKey{attempt: 7, chunk: manifestChunk}, bytes.Repeat([]byte{1}, ledger.EntrySize)))
	f.Add(append([]byte("garbage"+mark), encodeRecord(typeSlice, recordKey{1, 2, 3}, []byte("x"))...))
	f.Fuzz(func(t *testing.T, b []byte) {
		scan(b, func(at int, ty recordType, k recordKey, p []byte) {
			if !bytes.HasPrefix(b[at:], encodeRecord(ty, k, p)) {
				t.Fatal("a record that does not encode to what was read")
			}
		})
		whole := append(slices.Clone(b), encodeRecord(typeSlice, recordKey{9, 9, 9}, []byte("tail"))...)
		found := false
		scan(whole, func(_ int, _ recordType, k recordKey, p []byte) {
			found = found || k == recordKey{9, 9, 9} && string(p) == "tail"
		})
		if !found && !bytes.Contains(b, []byte(mark)) {
			t.Fatal("a record after garbage was not found")
		}
	})
}

func FuzzSlot(f *testing.F) {
	f.Add(encodeSlot(kept{Receipt: wire.Receipt{Verdict: wire.Received, Hub: "hub", Book: book}, arrived: time.UnixMilli(5)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := decodeSlot(b); err == nil {
			if again, err := decodeSlot(encodeSlot(k)); err != nil || again.Item != k.Item {
				t.Fatal(err)
			}
		}
	})
}
