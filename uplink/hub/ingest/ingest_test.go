package ingest

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/uplink/hub/ingest/intake"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestReceive(t *testing.T) {
	h := newHub(t)
	c := h.cart("cart-1")
	for n, size := range []int{0, 200, 3 * wire.ChunkSize} {
		i := c.item(c.still(size))
		if w := c.get(i); problemOf(t, w).Code != "not-here" {
			t.Fatal(w.Body)
		}
		w := c.put(i, nil)
		r := c.receipt(w, 200, i)
		if r.Store != h.store.Incarnation() || r.Sequence != uint64(n+1) {
			t.Fatalf("store %s sequence %d", r.Store, r.Sequence)
		}
		for _, again := range []*httptest.ResponseRecorder{c.put(i, nil), c.put(i, []int{}), c.get(i)} {
			c.receipt(again, 200, i)
			if !bytes.Equal(again.Body.Bytes(), w.Body.Bytes()) {
				t.Fatal("another receipt for the same item")
			}
		}
		e := h.events[n]
		if e.Item.Item != i.hash() || e.Entry != i.Entry || e.Body.Kind != capture.Still || len(e.Body.Blob) != 0 || e.Fork || len(h.events) != n+1 {
			t.Fatalf("event %+v of %d", e.Entry, len(h.events))
		}
	}
	h.reopen()
	got := h.items(c.enc)
	if len(got) != 3 || h.uploads() != 0 {
		t.Fatalf("%d items, %d uploads", len(got), h.uploads())
	}
	for n := range got {
		if got[n].Item != h.events[n].Item.Item || got[n].Plain != h.events[n].Plain || got[n].Sequence != h.events[n].Sequence || !got[n].Arrived.Equal(start) {
			t.Errorf("item %d differs from its event", n)
		}
	}

	// What lies in the store is sealed, and opens again to the very bytes.
	last := got[2]
	f, err := h.store.OpenItem("north", last.Item)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var plain []byte
	if err := h.records.Open(f.Wrap, f.Manifest.Header, f.Header, f.Chunk, func(p []byte) error { plain = append(plain, p...); return nil }); err != nil {
		t.Fatal(err)
	}
	b, err := capture.UnmarshalBody(plain)
	if err != nil || !bytes.Equal(b.Blob, c.still(3*wire.ChunkSize).Blob) || int64(len(plain)) != last.Size {
		t.Fatalf("%v, %d bytes", err, len(plain))
	}
	filepath.WalkDir(filepath.Join(h.dir, "blobs"), func(p string, d os.DirEntry, err error) error {
		if raw, _ := os.ReadFile(p); bytes.Contains(raw, []byte("JPEGdata")) {
			t.Errorf("%s is readable", p)
		}
		return err
	})
}

func TestResume(t *testing.T) {
	h := newHub(t)
	c := h.cart("cart-1")
	i := c.item(c.still(4 * wire.ChunkSize))
	if x := haveOf(t, c.put(i, []int{3, 1}), 202); !slices.Equal(x.Have, []int{1, 3}) || x.Total != 5 {
		t.Fatalf("%+v", x)
	}
	h.reopen()
	if x := haveOf(t, c.get(i), 206); !slices.Equal(x.Have, []int{1, 3}) || x.Total != 5 {
		t.Fatalf("%+v", x)
	}

	// The link drops inside chunk 2: chunk 0 is kept.
	b := i.stream([]int{0, 2})
	if p := problemOf(t, c.do("PUT", "/v1/items/"+i.hash().String(), b[:len(b)-9])); p.Code != "stream-cut" {
		t.Fatal(p)
	}
	if x := haveOf(t, c.get(i), 206); !slices.Equal(x.Have, []int{0, 1, 3}) {
		t.Fatalf("%+v", x)
	}
	if len(h.events) != 0 {
		t.Fatal("told too early")
	}
	// It drops again, but after the last byte that was needed.
	w := httptest.NewRecorder()
	r := httptest.NewRequest("PUT", "/v1/items/"+i.hash().String(), reader{bytes.NewReader(i.stream([]int{2, 4})), errors.New("connection lost")})
	r.Header.Set("Test-Cart", "cart-1")
	h.in.Handler().ServeHTTP(w, r)
	c.receipt(w, 200, i)
}

func TestDamagedChunk(t *testing.T) {
	h := newHub(t)
	c := h.cart("cart-1")
	i := c.item(c.still(3 * wire.ChunkSize))
	i.chunks[1][77] ^= 1
	i.chunks[2][0] ^= 1
	p := problemOf(t, c.put(i, nil))
	if p.Code != "chunk-damaged" || p.Status != 422 || p.Chunk == nil || *p.Chunk != 1 {
		t.Fatalf("%+v", p)
	}
	if x := haveOf(t, c.get(i), 206); !slices.Equal(x.Have, []int{0, 3}) {
		t.Fatalf("%+v", x)
	}
	i.chunks[1][77] ^= 1
	i.chunks[2][0] ^= 1
	c.receipt(c.put(i, []int{1, 2}), 200, i)
}

func TestProblems(t *testing.T) {
	h := newHub(t)
	h.limits = Limits{MaxItem: 4 * wire.ChunkSize}
	h.reopen()
	c, other := h.cart("cart-1"), h.cart("cart-2")
	small, big, foreign := c.item(c.still(9)), c.item(c.still(5*wire.ChunkSize)), other.item(other.still(9))
	two := c.item(c.still(wire.ChunkSize))
	url := func(i item) string { return "/v1/items/" + i.hash().String() }
	with := func(b []byte, tail ...byte) []byte { return append(bytes.Clone(b), tail...) }
	noKey := func() item {
		_, public, err := seal.NewRecordKey(4, false, 0x0020)
		if err != nil {
			t.Fatal(err)
		}
		h.public = public
		return h.cart("cart-1").item(c.still(9))
	}()
	for name, tc := range map[string]struct {
		cart, method, path string
		body               []byte
		code               string
		status             int
	}{
		"no certificate":       {"nobody", "PUT", url(small), nil, "no-certificate", 401},
		"no hash":              {"cart-1", "GET", "/v1/items/abc", nil, "malformed", 400},
		"unknown":              {"cart-1", "GET", url(small), nil, "not-here", 404},
		"empty":                {"cart-1", "PUT", url(small), nil, "stream-cut", 400},
		"half a length":        {"cart-1", "PUT", url(small), []byte{0, 0}, "stream-cut", 400},
		"garbage":              {"cart-1", "PUT", url(small), []byte("\x00\x00\x00\x05hello"), "malformed", 400},
		"manifest too long":    {"cart-1", "PUT", url(small), []byte("\xff\x00\x00\x05hello"), "too-large", 413},
		"other item's address": {"cart-1", "PUT", url(two), small.stream(nil), "wrong-hash", 422},
		"other cart's item":    {"cart-1", "PUT", url(foreign), foreign.stream(nil), "foreign-cart", 403},
		"practice":             {"cart-1", "PUT", url(small) + "?practice=1", small.stream(nil), "wrong-book", 400},
		"practice?":            {"cart-1", "PUT", url(small) + "?practice=yes", small.stream(nil), "malformed", 400},
		"too large":            {"cart-1", "PUT", url(big), big.stream(nil), "too-large", 413},
		"no such chunk":        {"cart-1", "PUT", url(two), with(frame(two.stream([]int{}), 2, 272)), "malformed", 400},
		"wrong length":         {"cart-1", "PUT", url(two), with(frame(two.stream([]int{}), 0, 99)), "malformed", 400},
		"chunk twice":          {"cart-1", "PUT", url(two), frame(two.stream([]int{1}), 1, len(two.chunks[1])), "malformed", 400},
		"cut in a frame head":  {"cart-1", "PUT", url(two), with(two.stream([]int{}), 0, 0, 0, 0), "stream-cut", 400},
		"unknown record key":   {"cart-1", "PUT", url(noKey), noKey.stream(nil), "unknown-record-key", 503},
		"ledger of items":      {"cart-1", "POST", "/v1/ledger", small.Entry.Marshal(), "malformed", 400},
		"half an entry":        {"cart-1", "POST", "/v1/ledger", make([]byte, 33), "malformed", 400},
		"unknown entry":        {"cart-1", "POST", "/v1/ledger", make([]byte, ledger.EntrySize), "malformed", 400},
		"ledger too long":      {"cart-1", "POST", "/v1/ledger", make([]byte, intake.MaxLedger+1), "too-large", 413},
	} {
		c.peer.Cart = tc.cart
		w := c.do(tc.method, tc.path, tc.body)
		if p := problemOf(t, w); p.Code != tc.code || p.Status != tc.status {
			t.Errorf("%s: %d %s, want %d %s", name, p.Status, &p, tc.status, tc.code)
		}
	}
	if len(h.items(c.enc)) != 0 || len(h.events) != 0 {
		t.Error("something was stored")
	}
	// Another cart of the tenant learns nothing of an item, and can't be told its receipt.
	other.receipt(other.put(foreign, nil), 200, foreign)
	c.peer.Cart = "cart-1"
	if p := problemOf(t, c.get(foreign)); p.Code != "not-here" {
		t.Error(p)
	}
}

// A hub that gets its record key later takes the item without a chunk being sent again.
func TestKeyComesLater(t *testing.T) {
	h := newHub(t)
	c := h.cart("cart-1")
	right := h.records
	none, err := seal.NewRecords(nil)
	if err != nil {
		t.Fatal(err)
	}
	h.records = none
	h.reopen()
	i := c.item(c.still(100))
	if p := problemOf(t, c.put(i, nil)); p.Code != "unknown-record-key" {
		t.Fatal(p)
	}
	h.records = right
	h.reopen()
	c.receipt(c.put(i, []int{}), 200, i)
}

func TestRefused(t *testing.T) {
	h := newHub(t)
	c := h.cart("cart-1")
	wrongEncounter := c.still(9)
	wrongEncounter.Encounter = ledger.NewID()
	practice := c.still(9)
	practice.Practice = true
	altered := c.item(c.still(2 * wire.ChunkSize))
	altered.chunks[1][5] ^= 1
	altered.Chunks[1] = hashOfBytes(altered.chunks[1])
	altered.Entry.Body = altered.hash()
	for name, i := range map[string]item{
		"altered and hashed again":     altered,
		"encounter not as header says": c.item(wrongEncounter),
		"practice in a care book":      c.item(practice),
		"kind not as header says":      c.seal(uint8(capture.Note), mustMarshal(t, c.still(9))),
		"no JSON":                      c.seal(uint8(capture.Still), []byte("\x00\x00\x00\x03{{{")),
		"JSON too long":                c.seal(uint8(capture.Still), bytes.Repeat([]byte{0xff}, 99)),
		"shorter than it says":         c.seal(uint8(capture.Still), []byte("\x00\x00\x00\x03{}")),
		"no bytes":                     c.seal(uint8(capture.Still), nil),
	} {
		w := c.put(i, nil)
		c.receipt(w, 422, i)
		h.reopen()
		again, asked := c.put(i, nil), c.get(i)
		c.receipt(again, 422, i)
		if !bytes.Equal(again.Body.Bytes(), w.Body.Bytes()) || asked.Code != 200 || !bytes.Equal(asked.Body.Bytes(), w.Body.Bytes()) {
			t.Errorf("%s: another receipt", name)
		}
	}
	if len(h.events)+h.uploads()+len(h.items(c.enc)) != 0 {
		t.Error("a refused item was kept or told")
	}
}

func hashOfBytes(b []byte) ledger.Hash { return ledger.Hash(sha(b)) }

func mustMarshal(t *testing.T, b capture.Body) []byte {
	p, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// opener fails in ways that say nothing about the item.
type opener struct{ err error }

func (o opener) Open(wire.Wrap, []byte, wire.Header, func(int) ([]byte, error), func([]byte) error) error {
	return o.err
}

func TestNotJudged(t *testing.T) {
	h := newHub(t)
	c := h.cart("cart-1")
	i := c.item(c.still(9))
	right := h.records
	h.records = opener{errors.New("out of memory")}
	h.reopen()
	if p := problemOf(t, c.put(i, nil)); p.Code != "internal" {
		t.Fatal(p)
	}
	h.records = right
	h.reopen()
	c.receipt(c.put(i, []int{}), 200, i)
}

// The same item over many connections at the same moment is stored once, with one receipt.
func TestConcurrent(t *testing.T) {
	h := newHub(t)
	h.limits = Limits{Requests: 64}
	h.reopen()
	c := h.cart("cart-1")
	i := c.item(c.still(2 * wire.ChunkSize))
	srv := httptest.NewServer(h.in.Handler())
	defer srv.Close()
	client := srv.Client()
	got := make([][]byte, 16)
	var wg sync.WaitGroup
	for n := range got {
		wg.Go(func() {
			req, err := http.NewRequest("PUT", srv.URL+"/v1/items/"+i.hash().String(), bytes.NewReader(i.stream(nil)))
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("Test-Cart", "cart-1")
			resp, err := client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			var b bytes.Buffer
			b.ReadFrom(resp.Body)
			if got[n] = b.Bytes(); resp.StatusCode != 200 {
				t.Errorf("%s %s", resp.Status, got[n])
			}
		})
	}
	wg.Wait()
	for _, b := range got {
		if !bytes.Equal(b, got[0]) {
			t.Fatal("two receipts")
		}
	}
	client.CloseIdleConnections()
	if len(h.items(c.enc)) != 1 || len(h.events) != 1 || h.events[0].Sequence != 1 {
		t.Fatalf("%d items, %d events", len(h.items(c.enc)), len(h.events))
	}
}

// The power is cut before each step that makes something durable. Nothing half is there afterwards, and trying again
// gives one item and one receipt.
func TestPowerCut(t *testing.T) {
	cut := errors.New("power cut")
	for _, step := range []string{"begin", "chunk", "sync", "rename", "syncdir", "insert", "commit"} {
		t.Run(step, func(t *testing.T) {
			h := newHub(t)
			c := h.cart("cart-1")
			i := c.item(c.still(2 * wire.ChunkSize))
			seen, armed := 0, false // opening commits too
			h.before = func(s string) error {
				if s == step && armed {
					if seen++; seen == 2 || step != "chunk" {
						return cut
					}
				}
				return nil
			}
			h.reopen()
			armed = true
			if p := problemOf(t, c.put(i, nil)); p.Code != "internal" || seen == 0 {
				t.Fatalf("%v, step seen %d times", &p, seen)
			}
			if len(h.events) != 0 || len(h.items(c.enc)) != 0 {
				t.Fatal("half an item is there")
			}
			if w := c.get(i); w.Code == 200 {
				t.Fatal("a receipt is there")
			}
			h.before = nil
			h.reopen()
			r := c.receipt(c.put(i, nil), 200, i)
			if r.Sequence != 1 || len(h.items(c.enc)) != 1 || len(h.events) != 1 || h.uploads() != 0 {
				t.Fatalf("sequence %d, %d items, %d events, %d uploads", r.Sequence, len(h.items(c.enc)), len(h.events), h.uploads())
			}
		})
	}
}

func TestDiskFull(t *testing.T) {
	for _, step := range []string{"begin", "chunk", "sync", "insert"} {
		h := newHub(t)
		c := h.cart("cart-1")
		full := true
		h.before = func(s string) error {
			if s == step && full {
				return &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
			}
			return nil
		}
		h.reopen()
		i := c.item(c.still(9))
		if p := problemOf(t, c.put(i, nil)); p.Code != "disk-full" || p.Status != 507 {
			t.Fatalf("%s: %v", step, &p)
		}
		full = false
		c.receipt(c.put(i, nil), 200, i)
	}
}

func TestFork(t *testing.T) {
	h := newHub(t)
	c := h.cart("cart-1")
	first := c.item(c.still(9))
	card := *c // the card is copied
	mine, clone := c.item(c.still(100)), card.item(card.still(200))
	c.receipt(c.put(first, nil), 200, first)
	c.receipt(c.put(mine, nil), 200, mine)
	card.receipt(card.put(clone, nil), 200, clone)
	card.receipt(card.put(clone, nil), 200, clone)
	if len(h.items(c.enc)) != 3 || len(h.forks) != 1 || h.forks[0].Number != 1 || h.forks[0].Incarnation != c.chain.Incarnation || !h.events[2].Fork {
		t.Fatalf("%d items, forks %+v", len(h.items(c.enc)), h.forks)
	}
	if got := h.audit(c); !slices.Equal(got.Doubled, []uint64{1}) || got.Whole() {
		t.Fatalf("%+v", got)
	}
}

// An item that the cart entered again in a new incarnation has a receipt for each entry.
func TestEnteredAgain(t *testing.T) {
	h := newHub(t)
	c := h.cart("cart-1")
	i := c.item(c.still(9))
	c.receipt(c.put(i, nil), 200, i)
	again := i
	again.Entry = ledger.NewChain(c.book, ledger.NewID(), ledger.NewID()).Entry(ledger.Item, i.hash())
	r := c.receipt(c.put(again, []int{}), 200, again)
	if r.Sequence != 2 || len(h.items(c.enc)) != 1 || len(h.events) != 1 {
		t.Fatalf("%d, %d items, %d events", r.Sequence, len(h.items(c.enc)), len(h.events))
	}
	for _, x := range []item{i, again} {
		c.receipt(c.do("GET", "/v1/items/"+x.hash().String()+"?entry="+x.Entry.Hash().String(), nil), 200, x)
	}
}

func TestRestored(t *testing.T) {
	ctx := context.Background()
	h := newHub(t)
	c := h.cart("cart-1")
	saved, lost := c.item(c.still(wire.ChunkSize)), c.item(c.still(9))
	before := c.receipt(c.put(saved, nil), 200, saved)
	backup := filepath.Join(t.TempDir(), "backup")
	if err := h.store.Backup(ctx, backup); err != nil {
		t.Fatal(err)
	}
	if w, err := h.in.Watermark(ctx); err != nil || w.Verify(h.keys) != nil || w.Sequence != before.Sequence || w.Store != before.Store {
		t.Fatalf("%+v, %v", w, err)
	}
	c.receipt(c.put(lost, nil), 200, lost)
	h.store.Close()

	h.dir = backup
	h.open()
	if h.store.Incarnation() == before.Store {
		t.Fatal("the restored store says it is the old one")
	}
	if w, err := h.in.Watermark(ctx); err != nil || w.Sequence != 0 {
		t.Fatalf("%+v, %v", w, err)
	}
	if x := haveOf(t, c.get(saved), 206); len(x.Have) != x.Total {
		t.Fatalf("%+v", x)
	}
	if p := problemOf(t, c.get(lost)); p.Code != "not-here" {
		t.Fatal(p)
	}
	now := c.receipt(c.put(saved, []int{}), 200, saved) // no chunk is sent again
	if now.Store != h.store.Incarnation() {
		t.Fatal("receipt of the old store")
	}
	c.receipt(c.put(lost, nil), 200, lost)
	if len(h.items(c.enc)) != 2 {
		t.Fatal("items are missing")
	}
}
