package outbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telecart/capture/ledger"
	"telecart/uplink/wire"
)

// delivered has everything receipted by a store that is backed up, and past grace.
func (r *rig) delivered(saved []Saved, store ledger.ID, from uint64) {
	r.t.Helper()
	r.box.Store(store)
	for i, s := range saved {
		r.receipt(s, store, from+uint64(i))
	}
	r.box.Watermark(wire.Watermark{Store: store, Sequence: 1 << 40})
	r.box.Posted(r.box.Entries())
	r.clock.Advance(2 * time.Hour)
}

// weeks puts and delivers for several runs.
func (r *rig) weeks(n int, store ledger.ID) (all []Saved) {
	for w := range n {
		r.open()
		r.loaded()
		r.box.Store(store)
		var saved []Saved
		for i := range 5 {
			saved = append(saved, r.put(fmt.Sprint("week ", w, " item ", i)))
		}
		r.delivered(saved, store, uint64(len(all)))
		all = append(all, saved...)
		if _, err := r.box.Retire(); err != nil {
			r.t.Fatal(err)
		}
	}
	r.open()
	r.loaded()
	r.box.Store(store)
	r.box.Watermark(wire.Watermark{Store: store, Sequence: 1 << 40})
	r.box.Posted(r.box.Entries())
	if _, err := r.box.Retire(); err != nil {
		r.t.Fatal(err)
	}
	return all
}

func count(t *testing.T, pattern string) int {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// Erased items leave one checkpoint, and their receipts: a hub that was restored is told what it had signed for.
func TestGone(t *testing.T) {
	r := newRig(t)
	store := ledger.NewID()
	all := r.weeks(4, store)
	if n := count(t, filepath.Join(r.dir, "*.checkpoint")); n != 1 {
		t.Fatalf("%d checkpoints", n)
	}
	if st := r.box.Stats(); st.Receipted != 0 || st.Held != 0 {
		t.Fatalf("%+v", st)
	}
	for range r.box.Gone(store) {
		t.Fatal("gone, though the hub's store is the one that has it")
	}
	held := r.put("held")
	other := ledger.NewID()
	r.receipt(held, store, 99)
	i := 0
	for g := range r.box.Gone(other) {
		if g.Item != all[i].Hash || g.Number != all[i].Entry.Number || g.Store != store || g.Sequence != uint64(i) {
			t.Fatalf("%d: %+v", i, g)
		}
		i++
	}
	if i != len(all) {
		t.Fatalf("%d of %d named", i, len(all))
	}
	if s := r.put("next"); s.Entry.Incarnation != all[0].Entry.Incarnation {
		t.Fatal("another ledger")
	}
}

// The newest receipts of erased items are kept, the oldest not for ever.
func TestGoneIsBounded(t *testing.T) {
	r := newRig(t)
	r.gone = 7
	all := r.weeks(5, ledger.NewID())
	var got []ledger.Hash
	for g := range r.box.Gone(ledger.NewID()) {
		got = append(got, g.Item)
	}
	if len(got) != 10 || got[9] != all[24].Hash {
		t.Fatalf("%d named", len(got))
	}
}

// A receipt file goes with the last item that it matters to.
func TestReceiptFilesArePruned(t *testing.T) {
	r := newRig(t)
	r.open()
	store := ledger.NewID()
	keep := r.put("kept until the end")
	r.receipt(keep, store, 1)
	var saved []Saved
	for range 60 {
		saved = append(saved, r.put(strings.Repeat("s", 30<<10))) // the first segment is full
	}
	for range 2 { // a hub that says everything twice, each time into a file of its own
		r.box.receipts.next = fileSlots
		for i := range saved {
			r.receipt(saved[i], store, uint64(i))
		}
	}
	files := func() int { return count(t, filepath.Join(r.dir, "receipts", "*"+receiptExt)) }
	if n := files(); n != 3 {
		t.Fatalf("%d files", n)
	}
	r.open()
	r.loaded()
	if n := files(); n != 2 { // the first for what is kept, and the newest
		t.Fatalf("%d files, though one has old receipts alone", n)
	}
	r.delivered(saved, store, 1)
	if n, err := r.box.Retire(); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	r.open()
	r.loaded()
	if n := files(); n != 1 {
		t.Fatalf("%d files", n)
	}
}

// The checkpoint that a segment follows on is kept while the segment is, though newer ones are there.
func TestNeededCheckpoints(t *testing.T) {
	r := newRig(t)
	store := ledger.NewID()
	r.open()
	first := []Saved{r.put("first")}
	r.open()
	r.loaded()
	r.put("not delivered yet")
	r.open()
	r.loaded()
	third := []Saved{r.put("third")}
	r.open()
	r.loaded()
	r.delivered(append(first, third...), store, 1)
	if n, err := r.box.Retire(); err != nil || n != 2 {
		t.Fatal(n, err)
	}
	for _, n := range []int{1, 3} {
		if _, err := os.Stat(filepath.Join(r.dir, fmt.Sprintf("%08d.checkpoint", n))); err != nil {
			t.Fatal(err)
		}
	}
}

// Grace of a receipt that came under a clock that nobody vouched for begins when somebody does.
func TestGraceNeedsTrust(t *testing.T) {
	r := newRig(t)
	r.untrusted.Store(true)
	r.open()
	store := ledger.NewID()
	s := r.put("a")
	r.delivered([]Saved{s}, store, 1)
	r.open()
	r.loaded()
	r.box.Store(store)
	r.box.Watermark(wire.Watermark{Store: store, Sequence: 9})
	r.box.Posted(r.box.Entries())
	step := func(what string, want int) {
		t.Helper()
		if n, err := r.box.Retire(); err != nil || n != want {
			t.Fatalf("%s: %d, %v", what, n, err)
		}
	}
	r.clock.Advance(12 * 365 * 24 * time.Hour)
	step("a clock 12 years ahead", 0)
	r.untrusted.Store(false)
	step("trusted from now", 0)
	r.clock.Advance(time.Hour)
	step("after grace", 1)
}

// Sums and order hold whatever comes and goes.
func TestSums(t *testing.T) {
	r := newRig(t)
	r.open()
	var saved []Saved
	for i := range 30 {
		saved = append(saved, r.put(fmt.Sprint(i)))
	}
	store, other := ledger.NewID(), ledger.NewID()
	r.box.Store(store)
	check := func(held, receipted, first int) {
		t.Helper()
		if st := r.box.Stats(); st.Held != held || st.Receipted != receipted || st.HeldByKind[1] != held {
			t.Fatalf("%+v, not %d held and %d receipted", st, held, receipted)
		}
		p := r.box.Pending(100, none)
		if len(p) != held || held > 0 && p[0].Hash != saved[first].Hash {
			t.Fatalf("%d pending", len(p))
		}
		for _, ref := range p {
			if ref.Entry.Body != ref.Hash || ref.Entry.Prev == (ledger.Hash{}) {
				t.Fatalf("%+v", ref)
			}
		}
	}
	check(30, 0, 0)
	for i := range 10 {
		r.receipt(saved[i], store, uint64(i))
	}
	check(20, 10, 10)
	r.receipt(saved[20], store, 11)
	check(19, 11, 10)
	r.box.Store(other) // the hub was restored
	check(30, 0, 0)
	r.receipt(saved[0], other, 1)
	check(29, 1, 1)
	r.box.Store(store)
	check(20, 10, 0)
}
