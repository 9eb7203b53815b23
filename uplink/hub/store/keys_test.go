package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"
	"pgregory.net/rapid"

	"telecart/capture/ledger"
	"telecart/provisioning/identity"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// A cart that was seen before hellos were written down may hold any list; one that was never seen holds none.
func TestKeysOfAnOlderStore(t *testing.T) {
	dir := t.TempDir()
	db, err := connect(filepath.Join(dir, dbName), "", "journal_mode(WAL)")
	if err != nil {
		t.Fatal(err)
	}
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, sub, goose.WithDisableGlobalRegistry(true))
	if err == nil {
		_, err = p.UpTo(ctx, 2)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{`INSERT INTO carts (tenant, cart, last_seen) VALUES ('north', 'seen', 7), ('north', 'never', 0)`,
		`INSERT INTO certificates (tenant, cart, serial, key, issued, expires) VALUES ('north', 'seen', '1', 'aa', 1, 2), ('north', 'seen', '2', 'aa', 1, 2),
			('north', 'seen', '3', 'bb', 1, 2), ('north', 'never', '4', 'cc', 1, 2)`} {
		if _, err := db.ExecContext(ctx, q); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	devices, err := open(t, dir).KeyDevices(ctx)
	want := []KeyDevice{{Tenant: "north", Cart: "seen", Device: "aa"}, {Tenant: "north", Cart: "seen", Device: "bb"}}
	if diff := cmp.Diff(want, devices); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestKeysHeard(t *testing.T) {
	s := open(t, t.TempDir())
	key := [32]byte{1}
	for i, x := range []struct {
		held, offered uint64
		empty         bool
		want          KeyDevice // of which only some is looked at
		back          bool
	}{
		{0, 3, false, KeyDevice{First: 3}, false},
		{3, 3, true, KeyDevice{First: 3, Held: 3, Cleared: 3}, false},
		{3, 4, false, KeyDevice{First: 3, Held: 3, Cleared: 3}, false},
		{4, 4, false, KeyDevice{First: 3, Held: 4, Cleared: 3}, false},
		{4, 4, true, KeyDevice{First: 3, Held: 4, Cleared: 4}, false},
		{3, 4, true, KeyDevice{First: 3, Held: 3, Cleared: 3, Back: 1}, true},
		{4, 4, false, KeyDevice{First: 3, Held: 4, Cleared: 3, Back: 1}, false},
		{0, 4, false, KeyDevice{First: 3, Back: 2}, true},
	} {
		back, err := s.KeysHeard(ctx, KeyHello{Tenant: "north", Cart: "cart-1", Device: key, Held: x.held, Empty: x.empty, Offered: x.offered})
		if err != nil || back != x.back {
			t.Fatalf("%d: %t %v", i, back, err)
		}
		all, err := s.KeyDevices(ctx)
		x.want.Tenant, x.want.Cart, x.want.Device, x.want.HeldAt = "north", "cart-1", hexOf(key), start
		if diff := cmp.Diff([]KeyDevice{x.want}, all); err != nil || diff != "" {
			t.Fatalf("%d: %v\n%s", i, err, diff)
		}
	}
}

// A hub that was restored from a backup has forgotten which lists it offered: what the cart holds tells.
func TestKeysHeardAfterRestore(t *testing.T) {
	s := open(t, t.TempDir())
	if _, err := s.KeysHeard(ctx, KeyHello{Tenant: "north", Cart: "cart-1", Held: 1, Offered: 3}); err != nil {
		t.Fatal(err)
	}
	if all, err := s.KeyDevices(ctx); err != nil || len(all) != 1 || all[0].First != 1 {
		t.Errorf("%+v %v", all, err)
	}
}

// The walker, which remembers one number at a time, finds what a walk back over all entries finds.
func TestWalkerProperty(t *testing.T) {
	book := ledger.Book{Tenant: "north", Cart: "cart-1"}
	rapid.Check(t, func(t *rapid.T) {
		w := walker{book: book, heads: map[ledger.ID][]signedEnd{}}
		all := map[ledger.Hash]ledger.Entry{}
		var here []ledger.Entry
		want := map[string]bool{}
		for inc := range rapid.IntRange(1, 2).Draw(t, "incarnations") {
			trunk := ledger.NewChain(book, ledger.ID{byte(inc + 1)}, ledger.ID{9})
			ends := []ledger.Chain{trunk}
			for i := range rapid.IntRange(0, 12).Draw(t, "entries") {
				at := rapid.IntRange(0, len(ends)-1).Draw(t, "branch")
				if rapid.IntRange(0, 5).Draw(t, "fork") == 0 {
					ends = append(ends, ends[at])
				}
				e := ends[at].Entry(ledger.Item, ledger.Hash{byte(i), byte(at)})
				ends[at] = ends[at].Advance(e)
				all[e.Hash()] = e
			}
			for _, c := range ends {
				if c.Next > 0 && rapid.Bool().Draw(t, "signed") {
					w.heads[c.Incarnation] = append(w.heads[c.Incarnation], signedEnd{c.Next - 1, c.Head})
				}
			}
		}
		got := map[ledger.Hash]ledger.Entry{}
		for _, e := range sorted(all) {
			if rapid.IntRange(0, 9).Draw(t, "arrives") > 0 {
				here, got[e.Hash()] = append(here, e), e
			}
		}
		for id, ends := range w.heads {
			slices.SortStableFunc(ends, func(a, b signedEnd) int { return int(a.number) - int(b.number) })
			for _, e := range ends {
				if !walks(book, got, id, e.hash) {
					want[fmt.Sprint(id, e.number)] = true
				}
			}
		}
		for _, e := range here {
			w.entry(e)
		}
		named := map[string]bool{}
		for _, g := range w.finish() {
			named[fmt.Sprint(g.Incarnation, g.Head)] = true
			for _, m := range g.Missing {
				for n := m.First; n <= m.Last; n++ {
					if m.Last > g.Head || slices.ContainsFunc(here, func(e ledger.Entry) bool { return e.Incarnation == g.Incarnation && e.Number == n }) {
						t.Fatalf("%d is not missing: %+v", n, g)
					}
				}
			}
		}
		if diff := cmp.Diff(want, named); diff != "" {
			t.Fatal(diff)
		}
	})
}

func sorted(all map[ledger.Hash]ledger.Entry) (out []ledger.Entry) {
	for _, e := range all {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b ledger.Entry) int {
		if c := bytes.Compare(a.Incarnation[:], b.Incarnation[:]); c != 0 || a.Number != b.Number {
			return c*1000 + int(a.Number) - int(b.Number)
		}
		return bytes.Compare(a.Body[:], b.Body[:])
	})
	return out
}

// walks follows a chain back the long way.
func walks(book ledger.Book, here map[ledger.Hash]ledger.Entry, id ledger.ID, at ledger.Hash) bool {
	for at != book.Genesis(id) {
		e, ok := here[at]
		if !ok {
			return false
		}
		at = e.Prev
	}
	return true
}

// sealedTo makes items under one data key, sealed to a record key.
func sealedTo(t *testing.T, record wire.RecordKey, items int) (out []wire.Manifest, headers []wire.Header, chunks [][][]byte) {
	t.Helper()
	book := ledger.Book{Tenant: "north", Cart: "cart-1", Practice: record.Practice}
	s, err := seal.NewSealer(book, ledger.NewID(), record)
	if err != nil {
		t.Fatal(err)
	}
	key, err := s.NewKey(ledger.NewID())
	if err != nil {
		t.Fatal(err)
	}
	chain := ledger.NewChain(book, ledger.NewID(), ledger.NewID())
	for range items {
		var cs [][]byte
		item, err := key.Seal(6, wire.Routine, []byte("a note"), func(_ int, c []byte) error { cs = append(cs, bytes.Clone(c)); return nil })
		if err != nil {
			t.Fatal(err)
		}
		e := chain.Entry(ledger.Item, item.Hash)
		chain = chain.Advance(e)
		out = append(out, wire.Manifest{Header: item.Bytes, Wrap: key.Wrap().Marshal(), Entry: e, Chunks: item.Chunks})
		headers, chunks = append(headers, item.Header), append(chunks, cs)
	}
	return out, headers, chunks
}

// However often keeping the data keys is cut short, calling it again ends with all of them kept, and with none twice.
func TestRewrapCutShort(t *testing.T) {
	cut := errors.New("power cut")
	left := -1 // commits until then
	s, err := Open(ctx, t.TempDir(), Options{Before: func(step string) error {
		if step != "commit" || left < 0 {
			return nil
		}
		if left--; left < 0 {
			return cut
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var private []seal.RecordKey
	public := map[string]wire.RecordKey{}
	for _, epoch := range []uint32{1, 2} {
		for _, practice := range []bool{false, true} {
			k, p, err := seal.NewRecordKey(epoch, practice, 0x20)
			if err != nil {
				t.Fatal(err)
			}
			private, public[fmt.Sprint(epoch, practice)] = append(private, k), p
		}
	}
	records, err := seal.NewRecords(private)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"1 false", "1 false", "1 true", "2 false"} {
		ms, hs, cs := sealedTo(t, public[k], 3)
		for i := range ms {
			add(t, s, ms[i], hs[i], cs[i])
		}
	}
	to := func(practice bool) (wire.RecordKey, error) { return public[fmt.Sprint(2, practice)], nil }
	for n := 0; ; n++ {
		left = n
		if _, err := s.Rewrap(ctx, 1, records, to); err == nil {
			break
		} else if !errors.Is(err, cut) {
			t.Fatal(err)
		}
	}
	left = -1
	use, err := s.EpochUse(ctx)
	want := []EpochUse{{1, false, 6, 2, 0}, {1, true, 3, 1, 0}, {2, false, 3, 1, 2}, {2, true, 0, 0, 1}}
	if diff := cmp.Diff(want, use); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if n, err := s.OnlyUnder(ctx, 1); n != 0 || err != nil {
		t.Errorf("%d under epoch 1 alone, %v", n, err)
	}
	if n, err := s.OnlyUnder(ctx, 2); n != 4 || err != nil {
		t.Errorf("%d under epoch 2 alone, %v", n, err)
	}
	if n, err := s.Rewrap(ctx, 1, records, to); n != 0 || err != nil {
		t.Errorf("again: %d %v", n, err)
	}
	// An item whose file can't be read stops it: its data key would be lost.
	ms, hs, cs := sealedTo(t, public["1 false"], 1)
	add(t, s, ms[0], hs[0], cs[0])
	if err := os.Truncate(filepath.Join(s.dir, blobPath("north", ms[0].Hash())), 9); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Rewrap(ctx, 1, records, to); !errors.Is(err, ErrDamaged) {
		t.Errorf("a damaged item: %v", err)
	}
}

// One item whose file is gone, or damaged, hides no other: all are named at once, and what can be kept is.
func TestUnreadableItems(t *testing.T) {
	s := open(t, t.TempDir())
	private, public, err := seal.NewRecordKey(1, false, 0x20)
	if err != nil {
		t.Fatal(err)
	}
	private2, newer, err := seal.NewRecordKey(2, false, 0x20)
	if err != nil {
		t.Fatal(err)
	}
	records, err := seal.NewRecords([]seal.RecordKey{private, private2})
	if err != nil {
		t.Fatal(err)
	}
	var items []ledger.Hash
	for range 4 { // each under a data key of its own
		ms, hs, cs := sealedTo(t, public, 1)
		add(t, s, ms[0], hs[0], cs[0])
		items = append(items, ms[0].Hash())
	}
	path := func(i int) string { return filepath.Join(s.dir, blobPath("north", items[i])) }
	if err := errors.Join(os.Remove(path(0)), os.Truncate(path(1), 9)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		bad, err := s.IndexKeys(ctx)
		if err != nil || len(bad) != 2 {
			t.Fatal(bad, err)
		}
		for _, u := range bad {
			if want := map[ledger.Hash]error{items[0]: ErrNotFound, items[1]: ErrDamaged}[u.Item]; want == nil || !errors.Is(u, want) || u.Tenant != "north" {
				t.Errorf("%v", u)
			}
		}
	}
	if n, err := s.OnlyUnder(ctx, 1); n != 2 || err != nil {
		t.Errorf("%d items were counted, %v", n, err)
	}
	if err := os.Remove(path(2)); err != nil { // since it was counted
		t.Fatal(err)
	}
	to := func(bool) (wire.RecordKey, error) { return newer, nil }
	n, err := s.Rewrap(ctx, 1, records, to)
	if n != 1 || !errors.Is(err, ErrUnreadable) {
		t.Errorf("%d were kept, %v", n, err)
	}
	for i, h := range items {
		if err != nil && strings.Contains(err.Error(), h.String()) != (i < 3) {
			t.Errorf("item %d of 4, of which 3 can't be read: %v", i, err)
		}
	}
}

// Keys from before a cart was revoked are void, even once its replacement has one; a device that is enrolled anew is not.
func TestDeviceKeys(t *testing.T) {
	s := open(t, t.TempDir())
	issue := func(serial string, key byte, at time.Time) {
		t.Helper()
		if err := s.Register().Issued(ctx, identity.Certificate{Tenant: "north", Cart: "cart-1", Serial: serial, Key: [32]byte{key}, Issued: at, Expires: at.Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(good, void []byte) {
		t.Helper()
		names := func(ks []byte) (out []string) {
			for _, k := range ks {
				out = append(out, hexOf([32]byte{k}))
			}
			return out
		}
		g, v, err := s.DeviceKeys(ctx, "north", "cart-1")
		if err != nil || !slices.Equal(g, names(good)) || !slices.Equal(v, names(void)) {
			t.Errorf("%v, void %v, %v", g, v, err)
		}
	}
	issue("a", 1, start)
	issue("b", 2, start)
	want([]byte{1, 2}, nil)
	if err := s.RevokeCart(ctx, "north", "cart-1", start); err != nil { // issued at that very moment: void, as Revoked has it
		t.Fatal(err)
	}
	want(nil, []byte{1, 2})
	issue("c", 3, start.Add(time.Second))
	issue("d", 2, start.Add(time.Second))
	want([]byte{2, 3}, []byte{1})
	if err := s.Revoke(ctx, "north", "cart-1", "c", start); err != nil {
		t.Fatal(err)
	}
	want([]byte{2}, []byte{1})
}
