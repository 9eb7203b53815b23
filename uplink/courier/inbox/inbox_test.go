package inbox

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/courier"
	"telecart/uplink/outbox"
	"telecart/uplink/outbox/reader/author"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func check(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

type rig struct {
	t     *testing.T
	a     *author.Author // of the keys; the hub's too
	state string
	box   *outbox.Outbox
	saved []outbox.Saved
}

func newRig(t *testing.T) *rig {
	book := ledger.Book{Tenant: "north", Cart: "cart-1"}
	a, err := author.New(filepath.Join(t.TempDir(), "keys"), book)
	check(t, err)
	r := &rig{t: t, a: a, state: t.TempDir()}
	run := ledger.NewID()
	s, err := seal.NewSealer(book, run, a.List.Records[0])
	check(t, err)
	key, err := s.NewKey(ledger.NewID())
	check(t, err)
	r.box, err = outbox.Open(context.Background(), outbox.Options{Dir: filepath.Join(r.state, "care"), Book: book, Run: run, Signer: a.Device,
		Clock: kit.NewManual(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)), SegmentSize: 2 << 20})
	check(t, err)
	t.Cleanup(func() { check(t, r.box.Close()) })
	for range 2 {
		it, err := r.box.Put(context.Background(), key, 1, wire.Routine, []byte("x"))
		check(t, err)
		r.saved = append(r.saved, it)
	}
	return r
}

// bring writes a file of receipts as a hub would, and fetches it from the stick.
func (r *rig) bring(w *wire.Watermark, rs ...wire.Receipt) {
	stick := r.t.TempDir()
	check(r.t, courier.WriteReceipts(kit.Disk{}, stick, r.a.Book, r.a.Signed, w, rs))
	_, damage, err := courier.Fetch(kit.Disk{}, stick, r.state, func(ledger.Book) bool { return true })
	if err != nil || len(damage) > 0 {
		r.t.Fatal(err, damage)
	}
}

func (r *rig) take() int {
	r.t.Helper()
	n, err := Take(Options{State: r.state, Log: slog.New(slog.DiscardHandler)}, []*outbox.Outbox{r.box}, r.a.List)
	check(r.t, err)
	if left, err := os.ReadDir(filepath.Join(r.state, courier.InboxDir)); err != nil || len(left) > 0 {
		r.t.Errorf("left in the inbox: %v %v", left, err)
	}
	return n
}

func (r *rig) water(key ed25519.PrivateKey) *wire.Watermark {
	w := &wire.Watermark{Hub: author.Hub, Store: r.a.Store, Sequence: 1, Key: 1}
	w.Sign(key)
	return w
}

func TestTake(t *testing.T) {
	_, forger, _ := ed25519.GenerateKey(nil)
	for name, c := range map[string]struct {
		bring func(r *rig)
		want  int
	}{
		"a receipt": {func(r *rig) { r.bring(r.water(r.a.Receipt), r.a.Sign(r.saved[0].Entry, wire.Received)) }, 1},
		"both, one twice": {func(r *rig) {
			x := r.a.Sign(r.saved[0].Entry, wire.Received)
			r.bring(r.water(r.a.Receipt), x, x, r.a.Sign(r.saved[1].Entry, wire.Received))
		}, 2},
		"no watermark, no link":        {func(r *rig) { r.bring(nil, r.a.Sign(r.saved[0].Entry, wire.Received)) }, 0},
		"no watermark, the link knows": {func(r *rig) { r.box.Store(r.a.Store); r.bring(nil, r.a.Sign(r.saved[0].Entry, wire.Received)) }, 1},
		"the hub was restored since": {func(r *rig) {
			r.box.Store(ledger.NewID())
			r.bring(r.water(r.a.Receipt), r.a.Sign(r.saved[0].Entry, wire.Received))
		}, 0},
		"a forged watermark": {func(r *rig) { r.bring(r.water(forger), r.a.Sign(r.saved[0].Entry, wire.Received)) }, 0},
		"a forged receipt": {func(r *rig) {
			x := r.a.Sign(r.saved[0].Entry, wire.Received)
			x.Sign(forger)
			r.bring(r.water(r.a.Receipt), x)
		}, 0},
		"about another entry": {func(r *rig) {
			e := r.saved[0].Entry
			e.Number++
			r.bring(r.water(r.a.Receipt), r.a.Sign(e, wire.Received))
		}, 0},
		"for an item that is not here": {func(r *rig) {
			e := r.saved[0].Entry
			e.Body[0]++
			r.bring(r.water(r.a.Receipt), r.a.Sign(e, wire.Received))
		}, 0},
		"a refusal": {func(r *rig) { r.bring(r.water(r.a.Receipt), r.a.Sign(r.saved[0].Entry, wire.Refused)) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			c.bring(r)
			if n := r.take(); n != c.want {
				t.Errorf("%d were taken, want %d", n, c.want)
			}
			if s := r.box.Stats(); name != "a refusal" && s.Receipted != c.want {
				t.Errorf("%+v", s)
			}
		})
	}
}

// After the hub has changed its receipt key, a cart without a link gets the list with the newer key by the same stick; if it does
// not, the receipts wait.
func TestNewerReceiptKey(t *testing.T) {
	r := newRig(t)
	public, next, err := ed25519.GenerateKey(nil)
	check(t, err)
	newer := r.a.List
	newer.Version++
	newer.Receipts = append(slices.Clone(newer.Receipts), wire.ReceiptKey{ID: 2, Public: public})
	old := r.a.Signed
	x, w := r.a.Sign(r.saved[0].Entry, wire.Received), r.water(next)
	x.Key, w.Key = 2, 2
	x.Sign(next)
	w.Sign(next)
	held := r.a.List
	root := r.a.Root.Public().(ed25519.PublicKey)
	o := Options{State: r.state, Log: slog.New(slog.DiscardHandler), List: func(s wire.SignedKeyList) (wire.KeyList, error) {
		l, err := s.Open(root, held.Version)
		if err == nil {
			held = l
		}
		return held, err
	}}
	_, strange, err := ed25519.GenerateKey(nil)
	check(t, err)
	for _, c := range []struct {
		name        string
		list        func() wire.SignedKeyList
		taken, left int
	}{
		{"the list held", func() wire.SignedKeyList { return old }, 0, 1},
		{"a stranger's list", func() wire.SignedKeyList { s, err := wire.SignKeyList(newer, strange); check(t, err); return s }, 0, 1},
		{"the newer list", func() wire.SignedKeyList { s, err := wire.SignKeyList(newer, r.a.Root); check(t, err); return s }, 1, 0},
	} {
		r.a.Signed = c.list()
		r.bring(w, x)
		for again := range 2 { // what stays is looked at again, and is one file
			n, err := Take(o, []*outbox.Outbox{r.box}, held)
			left, e := os.ReadDir(filepath.Join(r.state, courier.InboxDir))
			if check(t, err, e); n != c.taken*(1-again) || len(left) != c.left {
				t.Errorf("%s: %d taken, left %v", c.name, n, left)
			}
		}
	}
	if s := r.box.Stats(); s.Receipted != 1 {
		t.Errorf("%+v", s)
	}
}
