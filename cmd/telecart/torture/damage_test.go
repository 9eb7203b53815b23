package torture

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telecart/capture"
	"telecart/uplink/wire"
)

// newTestWorld is a cart with some items that nobody has fetched, in an old segment; and where the records of each lie.
func newTestWorld(t *testing.T) (w *world, segment string) {
	t.Helper()
	p := newTestPlayer(t)
	w = newWorld(1, filepath.Join(p.dir, "run"), p, nil)
	t.Cleanup(borrowRandom(1))
	if err := w.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	w.lying, w.cart.net.calm = true, true
	for range 4 {
		b, err := w.cart.body(0, capture.Still, 9000)
		if err != nil {
			t.Fatal(err)
		}
		w.cart.put(t.Context(), putting{kind: capture.Still, urgency: wire.Routine, body: b})
	}
	w.cart.restart(inOrder)
	w.cart.work(true)
	return w, filepath.Join(w.cart.boxDir(0), "00000001.seg")
}

// recordsOf finds the records of the item that was saved as the nth, by kind.
func recordsOf(t *testing.T, w *world, segment string, n int, kind byte) (at []int) {
	t.Helper()
	b, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	item := w.oracle.saved[n].entry.Body
	for attempt, ms := range w.cart.manifests(0) {
		if ms[0].Entry.Body != item {
			continue
		}
		scanRecords(b, func(o int, r record) {
			if r.kind == kind && r.attempt == attempt {
				at = append(at, o)
			}
		})
	}
	if len(at) == 0 {
		t.Fatalf("no record %c of item %d", kind, n)
	}
	return at
}

// A record that was hit costs its item, and no more: the item is excused, the others arrive.
func TestHarmIsExcused(t *testing.T) {
	for _, kind := range []byte{'C', 'M'} {
		w, segment := newTestWorld(t)
		at := recordsOf(t, w, segment, 1, kind)[0] + 100
		w.oracle.harm.note(w.cart, 0, segment, nil, at, at+1)
		w.cart.disk.change(segment, at, []byte{0})
		w.cart.restart(killed)
		w.finish()
		if len(w.found) > 0 || w.oracle.harm.excused != 1 || len(w.hub.stored) != 3 || len(w.cart.quarantine) != 1 {
			t.Errorf("%c: %v; %d excused, %d stored, in quarantine %v", kind, w.found, w.oracle.harm.excused, len(w.hub.stored), w.cart.quarantine)
		}
	}
}

// What goes beyond that is found: an item of which nothing was hit, and a file to which nothing was done.
func TestMoreThanHarm(t *testing.T) {
	w, segment := newTestWorld(t)
	hit, gone := recordsOf(t, w, segment, 1, 'C')[0]+100, recordsOf(t, w, segment, 2, 'M')[0]+100
	w.oracle.harm.note(w.cart, 0, segment, nil, hit, hit+1)
	w.cart.disk.change(segment, hit, []byte{0})
	w.cart.disk.change(segment, gone, []byte{0})
	w.cart.restart(killed)
	w.finish()
	if said := fmt.Sprint(w.found); w.result.Lost != 1 || w.result.Unverifiable != 1 || !strings.Contains(said, "nothing of it was damaged") {
		t.Error(said)
	}
	if stray := newHarm().stray(w.cart.quarantine); len(stray) != 1 || stray[0] != "000000001.seg" {
		t.Error(stray)
	}
}

// An item that was hit must be named.
func TestHarmUnnamed(t *testing.T) {
	w, segment := newTestWorld(t)
	at := recordsOf(t, w, segment, 1, 'M')[0]
	w.oracle.harm.note(w.cart, 0, segment, nil, at, at+1)
	e := w.oracle.saved[1].entry
	if why := w.oracle.harm.costs(w.cart, e); !strings.Contains(why, "nobody names it") {
		t.Error(why)
	}
	e.Body[0] ^= 1
	if why := w.oracle.harm.costs(w.cart, e); !strings.Contains(why, "nothing of it was damaged") {
		t.Error(why)
	}
}

// The last batch of a log is told from those before it, and if the first lost its head.
func TestInLastBatch(t *testing.T) {
	b := make([]byte, 4*block)
	copy(b[block:], "TCLB")
	copy(b[2*block:], "TCLB")
	for at, want := range map[int]bool{0: false, block: false, 2*block - sector: false, 2 * block: true, 3 * block: true} {
		if got := inLastBatch(b, at+sector); got != want {
			t.Errorf("at %d: %t", at, got)
		}
	}
}

// Damage is done, and excused, and the runs are clean for all that.
func TestDamages(t *testing.T) {
	p := newTestPlayer(t)
	excused, quarantined := 0, 0
	for seed := uint64(1); seed <= 30; seed++ {
		w := newWorld(seed, filepath.Join(p.dir, "run"), p, nil)
		w.lying = true
		r, found := w.run()
		for _, f := range found {
			t.Error(f)
		}
		excused += w.oracle.harm.excused
		quarantined += r.Quarantined
	}
	t.Logf("%d items excused, %d files in quarantine", excused, quarantined)
	if excused < 3 || quarantined < 20 {
		t.Errorf("too little happened: %d excused, %d in quarantine", excused, quarantined)
	}
}
