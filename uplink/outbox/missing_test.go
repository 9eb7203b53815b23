package outbox

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"telecart/capture/ledger"
)

// What was delivered and erased is never called lost, whatever rots or was cut off beside it.

// finished waits until no segment is being finished.
func (r *rig) finished() {
	for n := 1; n > 0; runtime.Gosched() {
		r.box.mu.Lock()
		n = len(r.box.unfinished)
		r.box.mu.Unlock()
	}
}

// turn goes on to the next segment.
func (r *rig) turn() {
	r.t.Helper()
	if err := r.box.submit(context.Background(), &request{turn: r.box.cur}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) expect(named, quarantined int) {
	r.t.Helper()
	r.open()
	r.loaded()
	if d, st := r.box.Damaged(), r.box.Stats(); len(d) != named || st.Quarantine != quarantined {
		r.t.Errorf("named %+v; %+v", d, st)
	}
}

// heldAndErased has one item held in segment 1, and those of later segments delivered and erased.
func (r *rig) heldAndErased() {
	r.t.Helper()
	store := ledger.NewID()
	r.open()
	r.box.Store(store)
	r.put("held " + strings.Repeat("x", 5000))
	for w := range 4 {
		r.open()
		r.loaded()
		r.box.Store(store)
		var saved []Saved
		for i := range 5 {
			saved = append(saved, r.put(fmt.Sprint("week ", w, " item ", i)))
		}
		r.delivered(saved, store, uint64(10*w+1))
		if _, err := r.box.Retire(); err != nil {
			r.t.Fatal(err)
		}
	}
}

func TestErasedBesideRot(t *testing.T) {
	r := newRig(t)
	r.heldAndErased()
	r.expect(0, 0)
	if err := r.box.Close(); err != nil {
		t.Fatal(err)
	}
	r.box = nil
	path := segmentPath(r.dir, 1)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[strings.Index(string(b), mark)+2000] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	r.expect(1, 1)
}

func TestErasedBehindAFailedWrite(t *testing.T) {
	r := newRig(t)
	store := ledger.NewID()
	r.open()
	r.box.Store(store)
	r.put("held")
	r.disk.tear(logPath(r.dir, r.box.cur.n, 0))
	saved := []Saved{r.put(strings.Repeat("written twice ", 300))}
	for w := range 3 {
		for i := range 3 {
			saved = append(saved, r.put(fmt.Sprint(w, i)))
		}
		r.turn()
	}
	r.put("last")
	r.finished()
	r.delivered(saved, store, 1)
	if n, err := r.box.Retire(); n < 3 || err != nil {
		t.Fatal(n, err)
	}
	r.killed()
	r.expect(0, 0)
}

func TestDamagedCheckpoint(t *testing.T) {
	r := newRig(t)
	r.weeks(4, ledger.NewID())
	names, _ := filepath.Glob(filepath.Join(r.dir, "*"+checkpointExt))
	if len(names) == 0 {
		t.Fatal("no checkpoint")
	}
	for _, name := range names {
		if err := os.WriteFile(name, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.expect(0, 0)
}

// Of the removals of a segment's files the power let some reach the disk, in any order.
func TestErasingCutOff(t *testing.T) {
	r := newRig(t)
	r.size = 1 << 20
	r.idle = true // no log is moved
	store := ledger.NewID()
	r.open()
	r.box.Store(store)
	var saved []Saved
	for i := range 12 {
		saved = append(saved, r.put(fmt.Sprint(i, strings.Repeat("y", 50000))))
	}
	r.killed()
	r.idle = false
	r.open()
	r.loaded()
	r.box.Store(store)
	files, kept := filesOf(r.dir, 1), map[string][]byte{}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		kept[path] = b
	}
	if len(files) < 4 {
		t.Fatal(files)
	}
	r.delivered(saved, store, 1)
	if n, err := r.box.Retire(); n == 0 || err != nil {
		t.Fatal(n, err)
	}
	r.killed()
	for i, path := range files {
		if i == 1 || i == len(files)-1 {
			if err := os.WriteFile(path, kept[path], 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.expect(0, 0)
}

// A segment whose very first batch failed in part, and was written again next door.
func TestFirstBatchFailed(t *testing.T) {
	r := newRig(t)
	r.open()
	r.put("before")
	r.turn()
	r.disk.tear(logPath(r.dir, r.box.cur.n, 0))
	r.put(strings.Repeat("written twice ", 300))
	r.put("after")
	r.killed()
	r.expect(0, 0)
}

// An orderly end behind a rush moves everything all the same.
func TestCloseBehindARush(t *testing.T) {
	r := newRig(t)
	r.size = 16 << 20
	r.open()
	r.put("item")
	r.box.crowd.Store(many) // as the last batch of a rush leaves it
	if err := r.box.Close(); err != nil {
		t.Fatal(err)
	}
	r.box = nil
	if logs, _ := filepath.Glob(filepath.Join(r.dir, "*"+logExt)); len(logs) > 0 {
		t.Error(logs)
	}
}
