package ingest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"telecart/capture/ledger"
	"telecart/uplink/hub/ingest/intake"
	"telecart/uplink/wire"
)

// evil is somebody with the hub's disk, while the hub is down.
type evil struct {
	t  *testing.T
	h  *hub
	db *sql.DB
	c  *cart
	is []item // entries 1 to 6; entry 0 is a run
}

func (e evil) exec(query string, args ...any) {
	e.t.Helper()
	r, err := e.db.Exec(query, args...)
	if err != nil {
		e.t.Fatal(err)
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		e.t.Fatalf("%s changed nothing (%v)", query, err)
	}
}

func (e evil) blob(n int) string {
	h := e.is[n-1].hash().String()
	return filepath.Join(e.h.dir, "blobs", "north", h[:2], h+".item")
}

func (e evil) edit(n int, change func([]byte) []byte) {
	e.t.Helper()
	b, err := os.ReadFile(e.blob(n))
	if err == nil {
		err = os.WriteFile(e.blob(n), change(b), 0o600)
	}
	if err != nil {
		e.t.Fatal(err)
	}
}

func (e evil) entry(n int) ledger.Entry { return e.is[n-1].Entry }

const atNumber = ` WHERE cart = 'cart-1' AND number = ?`

// What somebody with the hub's disk does to a whole ledger is named, by the real store.
func TestTampered(t *testing.T) {
	type want = Completeness
	for name, tc := range map[string]struct {
		do    func(e evil)
		depth Depth
		want  want
	}{
		"nothing": {func(evil) {}, Bytes, want{Entries: 7, Items: 6}},
		"an entry and its item deleted": {func(e evil) {
			e.exec(`DELETE FROM receipts WHERE item = ?`, e.is[2].hash().String())
			e.exec(`DELETE FROM items`+atNumber, 3)
			e.exec(`DELETE FROM entries`+atNumber, 3)
		}, Entries, want{Entries: 6, Items: 5, Missing: []Range{{3, 3}}}},
		"the item alone deleted": {func(e evil) {
			e.exec(`DELETE FROM receipts WHERE item = ?`, e.is[2].hash().String())
			e.exec(`DELETE FROM items`+atNumber, 3)
		}, Entries, want{Entries: 7, Items: 5, Absent: []uint64{3}}},
		"the run's entry deleted": {func(e evil) { e.exec(`DELETE FROM entries`+atNumber, 0) }, Entries, want{Entries: 6, Items: 6, Missing: []Range{{0, 0}}}},
		"the last ones deleted":   {func(e evil) { e.exec(`DELETE FROM entries WHERE number >= 5`) }, Entries, want{Entries: 5, Items: 4, Missing: []Range{{5, 6}}}},
		"an entry doubled": {func(e evil) {
			x := e.entry(4)
			x.Run = ledger.NewID()
			e.exec(`INSERT INTO entries SELECT tenant, cart, practice, incarnation, number, ?, kind, ?, prev, body, fork, arrived FROM entries`+atNumber,
				x.Hash().String(), x.Run.String(), 4)
		}, Entries, want{Entries: 8, Items: 7, Doubled: []uint64{4}}},
		"two entries change places": {func(e evil) {
			e.exec(`UPDATE entries SET number = 99`+atNumber, 2)
			e.exec(`UPDATE entries SET number = 2`+atNumber, 5)
			e.exec(`UPDATE entries SET number = 5`+atNumber, 99)
		}, Entries, want{Entries: 7, Items: 6, Altered: []uint64{1, 2, 4, 5}}},
		"two entries change places, hashed again": {func(e evil) {
			two, five := e.entry(2), e.entry(5)
			two.Number, five.Number = 5, 2
			e.exec(`DELETE FROM entries WHERE number IN (2, 5)`)
			for _, x := range []ledger.Entry{two, five} {
				e.exec(`INSERT INTO entries VALUES ('north', 'cart-1', 0, ?, ?, ?, ?, ?, ?, ?, 0, 1)`, x.Incarnation.String(), x.Number, x.Hash().String(), x.Kind,
					x.Run.String(), x.Prev.String(), x.Body.String())
			}
		}, Entries, want{Entries: 7, Items: 6, Altered: []uint64{1, 2, 4, 5}}},
		"an entry names another item": {func(e evil) { e.exec(`UPDATE entries SET body = ?`+atNumber, e.entry(2).Body.String(), 3) }, Entries,
			want{Entries: 7, Items: 6, Altered: []uint64{3}}},
		"a receipt turned into a refusal": {func(e evil) { e.exec(`UPDATE items SET verdict = 2`+atNumber, 3) }, Entries, want{Entries: 7, Items: 5, Refused: []uint64{3}}},
		"a file deleted": {func(e evil) {
			if err := os.Remove(e.blob(3)); err != nil {
				e.t.Fatal(err)
			}
		}, Files, want{Entries: 7, Items: 5, Damaged: []uint64{3}}},
		"a file cut short": {func(e evil) { e.edit(3, func(b []byte) []byte { return b[:len(b)-1] }) }, Files, want{Entries: 7, Items: 5, Damaged: []uint64{3}}},
		"two files change places": {func(e evil) {
			three, err := os.ReadFile(e.blob(3))
			if err != nil {
				e.t.Fatal(err)
			}
			e.edit(4, func(four []byte) []byte { e.edit(3, func([]byte) []byte { return four }); return three })
		}, Files, want{Entries: 7, Items: 4, Damaged: []uint64{3, 4}}},
		"a byte of a file flipped": {func(e evil) { e.edit(3, func(b []byte) []byte { b[len(b)-9] ^= 1; return b }) }, Bytes,
			want{Entries: 7, Items: 5, Damaged: []uint64{3}}},
		"what the item says, changed": {func(e evil) { e.exec(`UPDATE items SET meta = replace(meta, 'jpeg', 'gif')`+atNumber, 3) }, Bytes,
			want{Entries: 7, Items: 5, Damaged: []uint64{3}}},
		"what was opened, changed": {func(e evil) { e.exec(`UPDATE items SET plain_sha256 = replace(plain_sha256, 'a', 'b')`+atNumber, 3) }, Bytes,
			want{Entries: 7, Items: 5, Damaged: []uint64{3}}},
		"the head moved back":   {func(e evil) { e.exec(`UPDATE heads SET number = 5, hash = ?`, e.entry(5).Hash().String()) }, Entries, want{Entries: 7, Items: 6, Forged: true, Unsigned: 1}},
		"the head's key is not": {func(e evil) { e.exec(`UPDATE heads SET key = x'3000'`) }, Entries, want{Entries: 7, Items: 6, Forged: true}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t)
			c := h.cart("cart-1")
			e := evil{t: t, h: h, c: c, is: filled(t, c, 6)}
			head := c.sign()
			if err := h.in.Head(context.Background(), c.peer, head); err != nil {
				t.Fatal(err)
			}
			h.store.Close()
			var err error
			if e.db, err = sql.Open("sqlite", filepath.Join(h.dir, "hub.db")); err != nil {
				t.Fatal(err)
			}
			tc.do(e)
			if err := e.db.Close(); err != nil {
				t.Fatal(err)
			}
			h.open()
			got, err := h.in.Completeness(context.Background(), c.book, tc.depth)
			if err != nil || len(got) != 1 {
				t.Fatal(got, err)
			}
			g := got[0]
			if g.Whole() != (name == "nothing") {
				t.Errorf("whole: %t", g.Whole())
			}
			same := g.Entries == tc.want.Entries && g.Items == tc.want.Items && g.Forged == tc.want.Forged && g.Unsigned == tc.want.Unsigned &&
				slices.Equal(g.Missing, tc.want.Missing) && slices.Equal(g.Doubled, tc.want.Doubled) && slices.Equal(g.Altered, tc.want.Altered) &&
				slices.Equal(g.Refused, tc.want.Refused) && slices.Equal(g.Absent, tc.want.Absent) && slices.Equal(g.Damaged, tc.want.Damaged) && len(g.Gone) == 0
			if !same {
				t.Errorf("%+v\nwant %+v", g, tc.want)
			}
		})
	}
}

// filled has a run and n items delivered.
func filled(t *testing.T, c *cart, n int) (is []item) {
	t.Helper()
	c.run()
	for range n {
		i := c.item(c.still(64))
		c.receipt(c.put(i, nil), 200, i)
		is = append(is, i)
	}
	return is
}

// run enters the start of a run.
func (c *cart) run() ledger.Entry {
	c.t.Helper()
	e := c.chain.Entry(ledger.Run, ledger.Hash{})
	c.chain = c.chain.Advance(e)
	c.post(e)
	return e
}

func (c *cart) post(e ledger.Entry) {
	c.t.Helper()
	if w := c.do("POST", "/v1/ledger?practice=0", e.Marshal()); w.Code != 200 {
		c.t.Fatal(w.Code, w.Body)
	}
}

// A head that was signed later shows at once that the hub's folder was put back, entries, head and all.
func TestPutBack(t *testing.T) {
	ctx := context.Background()
	h := newHub(t)
	c := h.cart("cart-1")
	filled(t, c, 3)
	if err := h.in.Head(ctx, c.peer, c.sign()); err != nil {
		t.Fatal(err)
	}
	c.item(c.still(9)) // receipted, then cut away with its head: as if it had never come
	if got := h.audit(c); !got.Whole() {
		t.Fatalf("%+v", got)
	}
	known, err := h.in.Hello(ctx, c.peer, []ledger.Head{c.sign()})
	if err != nil || len(known) != 1 || known[0].Number != 3 {
		t.Fatal(known, err)
	}
	if got := h.audit(c); got.Whole() || !slices.Equal(got.Missing, []Range{{4, 4}}) {
		t.Fatalf("%+v", got)
	}
}

// A restored card goes on in a new incarnation that names the hub's head: IT is told, and nothing of either is dropped.
func TestRestoredCard(t *testing.T) {
	h := newHub(t)
	c := h.cart("cart-1")
	old := c.chain.Incarnation
	filled(t, c, 3)
	head := c.sign()
	if err := h.in.Head(context.Background(), c.peer, head); err != nil {
		t.Fatal(err)
	}
	if len(h.forks) != 0 {
		t.Fatal(h.forks)
	}
	h.clock.Advance(1)
	c.chain = ledger.NewChain(c.book, ledger.NewID(), ledger.NewID())
	took := c.chain.Entry(ledger.Fork, head.Hash)
	c.chain = c.chain.Advance(took)
	c.post(took)
	c.post(took)
	if len(h.forks) != 1 || h.forks[0].Incarnation != c.chain.Incarnation {
		t.Fatalf("told of %+v", h.forks)
	}
	i := c.item(c.still(9))
	c.receipt(c.put(i, nil), 200, i)
	if err := h.in.Head(context.Background(), c.peer, c.sign()); err != nil {
		t.Fatal(err)
	}
	audit := func() []Completeness {
		got, err := h.in.Completeness(context.Background(), c.book, Files)
		if err != nil || len(got) == 0 {
			t.Fatal(err)
		}
		return got
	}
	got := audit()
	if len(got) != 2 || got[0].Incarnation != old || !got[0].Whole() || !got[1].Whole() || got[1].After == nil || *got[1].After != (Origin{head.Hash, true, old, 3}) {
		t.Fatalf("%+v", got)
	}
	forks, err := h.store.Troubles(context.Background(), "north", 10)
	if err != nil || len(forks) != 1 || forks[0].Book != c.book || forks[0].Incarnation != c.chain.Incarnation || forks[0].Lost {
		t.Fatal(forks, err)
	}

	// Somebody makes the whole earlier ledger disappear: the later one still names it.
	h.store.Close()
	db, err := sql.Open("sqlite", filepath.Join(h.dir, "hub.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{`DELETE FROM entries WHERE incarnation = ?`, `DELETE FROM heads WHERE incarnation = ?`} {
		if _, err := db.Exec(q, old.String()); err != nil {
			t.Fatal(err)
		}
	}
	db.Close()
	h.open()
	if got := audit(); len(got) != 1 || got[0].Whole() || got[0].After.Known {
		t.Fatalf("%+v", got)
	}
}

// Receipts that a cart kept name what a restore lost: not just missing, but received, when and under which number.
func TestLostAtRestore(t *testing.T) {
	ctx := context.Background()
	h := newHub(t)
	c := h.cart("cart-1")
	first := filled(t, c, 2)
	backup := filepath.Join(t.TempDir(), "backup")
	if err := h.store.Backup(ctx, backup); err != nil {
		t.Fatal(err)
	}
	lost := []item{c.item(c.still(9)), c.item(c.still(9)), c.item(c.still(9))}
	var kept []wire.Receipt
	for _, i := range append(slices.Clone(first), lost...) {
		kept = append(kept, c.receipt(c.put(i, nil), 200, i))
	}
	head := c.sign()
	before := h.store.Incarnation()
	h.store.Close()
	h.dir = backup
	h.open()
	if _, err := h.in.Hello(ctx, c.peer, []ledger.Head{head}); err != nil {
		t.Fatal(err)
	}
	if got := h.audit(c); !slices.Equal(got.Missing, []Range{{3, 5}}) || len(got.Gone) != 0 {
		t.Fatalf("%+v", got)
	}
	// The cart still has the second of the three.
	c.receipt(c.put(lost[1], nil), 200, lost[1])
	for range 2 {
		if w := c.do("POST", "/v1/receipts?practice=0", frames(kept...)); w.Code != 200 || w.Body.String() != "{\"here\":3,\"kept\":2}\n" {
			t.Fatal(w.Code, w.Body)
		}
	}
	want := []Lost{{3, lost[0].hash(), before, kept[2].Sequence}, {5, lost[2].hash(), before, kept[4].Sequence}}
	if got := h.audit(c); got.Whole() || len(got.Missing)+len(got.Altered)+len(got.Doubled) != 0 || !slices.Equal(got.Gone, want) {
		t.Fatalf("%+v", got)
	}
	h.reopen()
	// One of them turns up on a stick after all.
	c.receipt(c.put(lost[0], nil), 200, lost[0])
	if got := h.audit(c); !slices.Equal(got.Gone, want[1:]) {
		t.Fatalf("%+v", got)
	}
	c.receipt(c.put(lost[2], nil), 200, lost[2])
	if got := h.audit(c); !got.Whole() {
		t.Fatalf("%+v", got)
	}
	if lives, err := h.store.Lives(ctx); err != nil || len(lives) != 2 || lives[0].Store != before || lives[1].Store != h.store.Incarnation() {
		t.Fatal(lives, err)
	}
}

func frames(rs ...wire.Receipt) (b []byte) {
	for _, r := range rs {
		raw := r.Marshal()
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(raw))), raw...)
	}
	return b
}

// Nothing is believed but the hub's own word about that very cart.
func TestForeignReceipts(t *testing.T) {
	h := newHub(t)
	c, other := h.cart("cart-1"), h.cart("cart-2")
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	make := func(change func(*wire.Receipt), key ed25519.PrivateKey) wire.Receipt {
		r := wire.Receipt{Verdict: wire.Received, Hub: "hub.example", Store: ledger.NewID(), Sequence: 9, Key: 7, Book: c.book, Incarnation: c.chain.Incarnation, Number: 3}
		change(&r)
		r.Sign(key)
		return r
	}
	same := func(*wire.Receipt) {}
	for name, x := range map[string]struct {
		body []byte
		code string
	}{
		"a stranger's":   {frames(make(same, stranger)), "foreign-receipt"},
		"another cart's": {frames(make(func(r *wire.Receipt) { r.Book = other.book }, h.key)), "foreign-receipt"},
		"practice":       {frames(make(func(r *wire.Receipt) { r.Book.Practice = true }, h.key)), "foreign-receipt"},
		"another hub's":  {frames(make(func(r *wire.Receipt) { r.Hub = "b.example" }, h.key)), "foreign-receipt"},
		"a refusal":      {frames(make(func(r *wire.Receipt) { r.Verdict = wire.Refused }, h.key)), "foreign-receipt"},
		"one of two":     {frames(make(same, h.key), make(same, stranger)), "foreign-receipt"},
		"none":           {nil, "malformed"},
		"cut off":        {frames(make(same, h.key))[:99], "malformed"},
		"half a length":  {[]byte{0}, "malformed"},
		"too many":       {bytes.Repeat([]byte{0}, intake.MaxReceipts+1), "too-large"},
	} {
		if p := problemOf(t, c.do("POST", "/v1/receipts?practice=0", x.body)); p.Code != x.code {
			t.Errorf("%s: %v", name, &p)
		}
	}
	if got, err := h.store.Proofs(t.Context(), c.book); err != nil || len(got) != 0 {
		t.Fatal(got, err)
	}
	// A number that is in use for something else here.
	is := filled(t, c, 3)
	if w := c.do("POST", "/v1/receipts?practice=0", frames(make(same, h.key))); w.Code != 200 || h.lost != 1 {
		t.Fatal(w.Code, h.lost)
	}
	if err := h.in.Head(t.Context(), c.peer, c.sign()); err != nil {
		t.Fatal(err)
	}
	if got := h.audit(c); !slices.Equal(got.Doubled, []uint64{is[2].Entry.Number}) || len(got.Gone) != 1 {
		t.Fatalf("%+v", got)
	}
}

// A receipt is given again only while the item is here.
func TestReceiptOfWhatIsGone(t *testing.T) {
	h := newHub(t)
	c := h.cart("cart-1")
	i := c.item(c.still(3 * wire.ChunkSize))
	first := c.put(i, nil).Body.Bytes()
	e := evil{t: t, h: h, c: c, is: []item{i}}
	again := func(which []int) {
		t.Helper()
		w := c.put(i, which)
		if c.receipt(w, 200, i); !bytes.Equal(w.Body.Bytes(), first) {
			t.Fatal("another receipt")
		}
	}
	again([]int{})
	e.edit(1, func(b []byte) []byte { b[len(b)-5] ^= 1; return b }) // in the last chunk
	if x := haveOf(t, c.put(i, []int{}), 202); !slices.Equal(x.Have, []int{0, 1, 2}) {
		t.Fatal(x)
	}
	again([]int{3})
	e.edit(1, func(b []byte) []byte { return b[:len(b)-50000] })
	if x := haveOf(t, c.get(i), 206); !slices.Equal(x.Have, []int{0, 1}) {
		t.Fatal(x)
	}
	again([]int{2, 3})
	if err := os.Remove(e.blob(1)); err != nil {
		t.Fatal(err)
	}
	if p := problemOf(t, c.get(i)); p.Code != "not-here" {
		t.Fatal(p)
	}
	if x := haveOf(t, c.put(i, []int{1}), 202); !slices.Equal(x.Have, []int{1}) {
		t.Fatal(x)
	}
	again([]int{0, 2, 3})
	if got := h.audit(c); len(got.Damaged) != 0 || got.Items != 1 || len(h.events) != 1 {
		t.Fatalf("%+v, %d events", got, len(h.events))
	}
}

// After a failed sync the file is not believed, whatever the page cache shows: all of it has to come again.
func TestSyncFails(t *testing.T) {
	h := newHub(t)
	c := h.cart("cart-1")
	for _, step := range []string{"sync", "syncdir"} {
		fails := 1
		h.before = func(s string) error {
			if s == step && fails > 0 {
				fails--
				return errors.New("I/O error")
			}
			return nil
		}
		h.reopen()
		i := c.item(c.still(2 * wire.ChunkSize))
		if p := problemOf(t, c.put(i, nil)); p.Code != "internal" {
			t.Fatal(p)
		}
		if x := haveOf(t, c.put(i, []int{}), 202); len(x.Have) != 0 {
			t.Fatalf("%s: believed %v", step, x.Have)
		}
		c.receipt(c.put(i, nil), 200, i)
	}
}
