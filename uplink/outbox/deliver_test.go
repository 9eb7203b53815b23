package outbox

import (
	"os"
	"path/filepath"
	"testing"

	"telecart/capture/ledger"
	"telecart/uplink/wire"
)

// Items whose file can't be opened don't hold up the others, stay held, and are given once it can be.
func TestPendingPassesOver(t *testing.T) {
	r := newRig(t)
	r.open()
	var shut Saved
	for range 5 {
		shut = r.put("shut")
	}
	first, _ := filepath.Glob(filepath.Join(r.dir, "0*"))
	r.open()
	a, b := r.put("a"), r.put("b")
	r.open()
	r.loaded()
	held := r.box.Stats().Held
	move := func(from, to string) {
		for _, f := range first {
			if err := os.Rename(f+from, f+to); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
		}
	}
	if _, err := r.box.Manifest(shut.Hash); err != nil { // now it is known where all lies; a file that is gone before is damage
		t.Fatal(err)
	}
	all := func(Ref) bool { return false }
	move("", ".away")
	if got := r.box.Pending(2, all); len(got) != 2 || got[0].Hash != a.Hash || got[1].Hash != b.Hash {
		t.Fatalf("%+v, want %s and %s", got, a.Hash, b.Hash)
	}
	if got := r.box.Pending(1, func(x Ref) bool { return x.Hash == a.Hash }); len(got) != 1 || got[0].Hash != b.Hash {
		t.Fatalf("%+v, want %s", got, b.Hash)
	}
	if got := r.box.Pending(100, all); len(got) != 2 {
		t.Fatalf("%d items", len(got))
	}
	if st := r.box.Stats(); st.Held != held || st.Damaged != 0 || held != 7 {
		t.Fatalf("%+v, held before: %d", st, held)
	}
	move(".away", "")
	if got := r.box.Pending(100, all); len(got) != 7 || r.box.Pending(0, all) != nil {
		t.Fatalf("%d items", len(got))
	}
}

// Sent is the word of the hub's present store; as long as that is not known, of any.
func TestSentByPresentStore(t *testing.T) {
	r := newRig(t)
	r.open()
	s, before, now := r.put("a"), ledger.ID{1}, ledger.ID{2}
	for step, want := range []bool{false, true, true, false, true} {
		switch step {
		case 1:
			r.receipt(s, before, 1)
		case 2:
			r.box.Store(before)
		case 3:
			r.box.Store(now)
		case 4:
			r.receipt(s, now, 2)
		}
		sent, refused := r.box.Sent(s.Hash)
		if st := r.box.Stats(); sent != want || refused || (st.Held == 0) != want {
			t.Errorf("step %d: sent %t, refused %t, %+v", step, sent, refused, st)
		}
	}
	if sent, _ := r.box.Sent(ledger.Hash{9}); sent || wire.Received == wire.Refused {
		t.Error("sent what is not here")
	}
}
