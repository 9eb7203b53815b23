package seal

import (
	"bytes"
	"errors"
	"testing"

	"telecart/capture/ledger"
	"telecart/uplink/wire"
)

// epochs makes the record keys of some epochs, for care.
func epochs(t testing.TB, numbers ...uint32) (private []RecordKey, public []wire.RecordKey) {
	t.Helper()
	for _, n := range numbers {
		k, p, err := NewRecordKey(n, false, x25519)
		if err != nil {
			t.Fatal(err)
		}
		private, public = append(private, k), append(public, p)
	}
	return private, public
}

func records(t testing.TB, keys ...RecordKey) *Records {
	t.Helper()
	r, err := NewRecords(keys)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

type keptKeys map[ledger.ID]Rewrap

func (k keptKeys) opener(r *Records) Opener {
	return Opener{r, func(_ string, id ledger.ID) (Rewrap, bool, error) { w, ok := k[id]; return w, ok, nil }}
}

func openBy(o Opener, w wire.Wrap, s Sealed, chunks [][]byte) ([]byte, error) {
	var got []byte
	err := o.Open(w, s.Bytes, s.Header, func(i int) ([]byte, error) { return chunks[i], nil }, func(p []byte) error { got = append(got, p...); return nil })
	return got, err
}

// An item outlives its epoch's key, twice; another item of that epoch, whose data key was not kept, does not.
func TestRewrap(t *testing.T) {
	private, public := epochs(t, 1, 2, 3)
	sealer, err := NewSealer(ledger.Book{Tenant: "north", Cart: "cart-1"}, ledger.NewID(), public[0])
	if err != nil {
		t.Fatal(err)
	}
	body := bytes.Repeat([]byte("pulse 72 "), 20_000)
	key, err := sealer.NewKey(ledger.NewID())
	if err != nil {
		t.Fatal(err)
	}
	item, chunks := sealAll(t, key, body)
	leaked, err := sealer.NewKey(ledger.NewID())
	if err != nil {
		t.Fatal(err)
	}
	stolen, stolenChunks := sealAll(t, leaked, body)

	first, err := records(t, private[0], private[1]).Rewrap(key.Wrap(), public[1])
	if err != nil || first.Wrap != key.Wrap().ID() || first.Epoch != 2 {
		t.Fatalf("%+v %v", first, err)
	}
	second, err := records(t, private[1], private[2]).Again(first, public[2])
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]Opener{"both keys": keptKeys{}.opener(records(t, private[0], private[1])),
		"the second alone": keptKeys{first.Wrap: first}.opener(records(t, private[1])),
		"the third alone":  keptKeys{second.Wrap: second}.opener(records(t, private[2]))} {
		if got, err := openBy(o, key.Wrap(), item, chunks); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	o := keptKeys{first.Wrap: first}.opener(records(t, private[1]))
	if _, err := openBy(o, leaked.Wrap(), stolen, stolenChunks); !errors.Is(err, ErrNoKey) {
		t.Errorf("a wrap to the destroyed epoch: %v", err)
	}
	forged := key.Wrap() // that says the newer epoch opens it
	forged.Epoch = 2
	if _, err := openBy(o, forged, item, chunks); !errors.Is(err, ErrOpen) {
		t.Errorf("a wrap that changed its epoch: %v", err)
	}
	// A kept key counts for its own wrap and for no other.
	other := first
	other.Wrap = leaked.Wrap().ID()
	if _, err := openBy(keptKeys{other.Wrap: other}.opener(records(t, private[1])), leaked.Wrap(), stolen, stolenChunks); err == nil || errors.Is(err, ErrOpen) {
		t.Errorf("another wrap's kept key: %v; the hub's own damage is no word about the item", err)
	}
}

func TestRewrapRefuses(t *testing.T) {
	private, public := epochs(t, 1, 2)
	sealer, err := NewSealer(ledger.Book{Tenant: "north", Cart: "cart-1"}, ledger.NewID(), public[0])
	if err != nil {
		t.Fatal(err)
	}
	key, err := sealer.NewKey(ledger.NewID())
	if err != nil {
		t.Fatal(err)
	}
	both := records(t, private...)
	practice := public[1]
	practice.Practice = true
	_, strange := epochs(t, 2) // an epoch 2 of another hub
	for name, c := range map[string]struct {
		r  *Records
		to wire.RecordKey
	}{"no key to open with": {records(t, private[1]), public[1]}, "no key to open again with": {records(t, private[0]), public[1]},
		"care to practice": {both, practice}, "another hub's key": {both, strange[0]}} {
		if _, err := c.r.Rewrap(key.Wrap(), c.to); err == nil {
			t.Errorf("%s: it was kept", name)
		}
	}
	if !both.Holds(public[0]) || both.Holds(strange[0]) || both.Holds(practice) {
		t.Error("which keys are here")
	}
}
