package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"telecart/capture/ledger"
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
