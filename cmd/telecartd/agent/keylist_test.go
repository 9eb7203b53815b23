package agent

import (
	"crypto/ed25519"
	"errors"
	"os"
	"testing"

	"telecart/capture/ledger"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// list makes a key list from the first one.
func (r *rig) list(change func(*wire.KeyList)) (wire.SignedKeyList, wire.KeyList) {
	r.t.Helper()
	l, err := r.keys.Open(r.root.Public().(ed25519.PublicKey), 0)
	if err != nil {
		r.t.Fatal(err)
	}
	change(&l)
	signed, err := wire.SignKeyList(l, r.root)
	if err != nil {
		r.t.Fatal(err)
	}
	return signed, l
}

// epoch adds record keys that the rig can open with.
func (r *rig) epoch(n uint32) (out []wire.RecordKey) {
	r.t.Helper()
	for _, practice := range []bool{false, true} {
		private, public, err := seal.NewRecordKey(n, practice, 0x20)
		if err != nil {
			r.t.Fatal(err)
		}
		r.private, out = append(r.private, private), append(out, public)
	}
	var err error
	if r.records, err = seal.NewRecords(r.private); err != nil {
		r.t.Fatal(err)
	}
	return out
}

// sealedTo is the epoch of an item's data key, and that key's name.
func (r *rig) sealedTo(h ledger.Hash) (uint32, ledger.ID) {
	r.t.Helper()
	m, err := r.a.boxes()[0].Manifest(h)
	if err != nil {
		r.t.Fatal(err)
	}
	_, _, w, err := wire.UnmarshalManifest(m.Marshal())
	if err != nil {
		r.t.Fatal(err)
	}
	return w.Epoch, w.ID()
}

// A newer list counts from the next item on, in the encounter that is open too; the version never goes back, and two lists
// of one version are told apart.
func TestNewerKeyList(t *testing.T) {
	r := newRig(t).enrolled()
	a := r.start()
	r.do("open", `{}`)
	first := r.do("note", `{"text":"one"}`)[0]
	hello, err := a.currentLink().Greeting()
	if err != nil || hello.Keys != 1 || hello.Empty {
		t.Fatalf("%+v %v", hello, err)
	}
	other, same := r.list(func(l *wire.KeyList) { l.Hub = "hub.other" })
	var p *wire.Problem
	if err := a.takeKeys(other, same); !errors.As(err, &p) || p.Code != "two-key-lists" {
		t.Fatalf("another list of version 1: %v", err)
	}
	if err := a.takeKeys(r.keys, same); err != nil { // the very list
		t.Fatal(err)
	}
	keys := r.epoch(2)
	signed, l := r.list(func(l *wire.KeyList) { l.Version, l.Records = 2, append(l.Records, keys...) })
	if err := a.takeKeys(signed, l); err != nil {
		t.Fatal(err)
	}
	second := r.do("note", `{"text":"two"}`)[0]
	third := r.do("note", `{"text":"three"}`)[0]
	e1, w1 := r.sealedTo(first.Item)
	e2, w2 := r.sealedTo(second.Item)
	e3, w3 := r.sealedTo(third.Item)
	if e1 != 1 || e2 != 2 || e3 != 2 || w1 == w2 || w2 != w3 {
		t.Errorf("epochs %d %d %d, keys %s %s %s", e1, e2, e3, w1, w2, w3)
	}
	for _, s := range []Saved{first, second} {
		if b := r.body(0, s.Item); b.Note == nil || b.Encounter != a.state().Encounter.ID {
			t.Error("one encounter, two keys: it does not open")
		}
	}
	if hello, err := a.currentLink().Greeting(); err != nil || hello.Keys != 2 || hello.Empty {
		t.Errorf("%+v %v", hello, err)
	}
	if _, err := r.keys.Open(r.root.Public().(ed25519.PublicKey), hello.Keys+1); !errors.Is(err, wire.ErrOldKeyList) {
		t.Errorf("the version went back: %v", err)
	}

	// A list that this release can't seal by stays aside: capture and delivery go on.
	strange, l := r.list(func(l *wire.KeyList) {
		l.Version, l.Records = 3, append(l.Records, wire.RecordKey{Epoch: 3, KEM: 0xfffe, Public: []byte{1}})
	})
	if err := a.takeKeys(strange, l); err != nil {
		t.Fatal(err)
	}
	fourth := r.do("note", `{"text":"four"}`)[0]
	if e, _ := r.sealedTo(fourth.Item); e != 2 {
		t.Errorf("sealed to epoch %d", e)
	}

	// The next run begins with the list that was taken.
	r.stop()
	r.start()
	r.do("note", `{"text":"five"}`)
	if hello, err := r.a.currentLink().Greeting(); err != nil || hello.Keys != 2 {
		t.Errorf("after a restart: %+v %v", hello, err)
	}
}

// A newer list that can't be written down is no reason to end the link: the one held goes on, and the hub is told nothing else.
func TestKeyListNotWritten(t *testing.T) {
	r := newRig(t).enrolled()
	a := r.start()
	r.do("open", `{}`)
	keys := r.epoch(2)
	signed, l := r.list(func(l *wire.KeyList) { l.Version, l.Records = 2, append(l.Records, keys...) })
	if err := errors.Join(os.Remove(a.keysPath()), os.Mkdir(a.keysPath(), 0o700)); err != nil { // nothing can be renamed to this
		t.Fatal(err)
	}
	for _, want := range []uint32{1, 2} {
		if err := a.takeKeys(signed, l); err != nil {
			t.Fatalf("the link ends: %v", err)
		}
		if hello, err := a.currentLink().Greeting(); err != nil || hello.Keys != uint64(want) {
			t.Errorf("%+v %v", hello, err)
		}
		if e, _ := r.sealedTo(r.do("note", `{"text":"x"}`)[0].Item); e != want {
			t.Errorf("sealed to epoch %d, want %d", e, want)
		}
		if want == 1 {
			if err := os.Remove(a.keysPath()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// An expired list is a warning, once a day, and no more: the rig's own list ended in the year 1, and every test captures by it.
func TestExpiredKeyList(t *testing.T) {
	r := newRig(t).enrolled()
	a := r.make()
	a.trusted = func() bool { return true }
	a.keys.Expires = a.clock.Now().Add(-1)
	last := a.warnOfKeys(a.clock.Now().AddDate(0, 0, -2))
	if again := a.warnOfKeys(last); !again.Equal(last) || last.IsZero() {
		t.Error("warned twice, or never")
	}
}
