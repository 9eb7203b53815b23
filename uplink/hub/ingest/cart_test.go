package ingest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/hub/store"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// hub is a hub whose store can be closed and opened again.
type hub struct {
	t       testing.TB
	dir     string
	clock   *kit.Manual
	store   *store.Store
	in      *Ingest
	keys    wire.KeyList
	key     ed25519.PrivateKey
	records Opener
	before  func(string) error
	limits  Limits
	public  wire.RecordKey

	mu     sync.Mutex
	events []ItemEvent
	forks  []Fork
	lost   int
	peers  map[string]Peer
}

func (h *hub) ItemStored(e ItemEvent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
}
func (h *hub) Forked(f Fork) { h.mu.Lock(); defer h.mu.Unlock(); h.forks = append(h.forks, f) }

func (h *hub) Lost(_ ledger.Book, items int) { h.mu.Lock(); defer h.mu.Unlock(); h.lost += items }

func newHub(t testing.TB) *hub {
	t.Helper()
	private, public, err := seal.NewRecordKey(3, false, 0x0020)
	if err != nil {
		t.Fatal(err)
	}
	records, err := seal.NewRecords([]seal.RecordKey{private})
	if err != nil {
		t.Fatal(err)
	}
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h := &hub{t: t, dir: t.TempDir(), clock: kit.NewManual(start), key: key, records: records, public: public, peers: map[string]Peer{},
		keys: wire.KeyList{Hub: "hub.example", Receipts: []wire.ReceiptKey{{ID: 7, Public: pub}}}}
	h.open()
	t.Cleanup(func() { h.store.Close() })
	return h
}

func (h *hub) open() {
	h.t.Helper()
	s, err := store.Open(context.Background(), h.dir, store.Options{Clock: h.clock, Before: h.before})
	if err != nil {
		h.t.Fatal(err)
	}
	in, err := New(s, Options{Hub: "hub.example", Key: ReceiptKey{7, h.key}, Opener: h.records, Observer: h, Clock: h.clock, Limits: h.limits,
		Peer: func(r *http.Request) (Peer, error) {
			p, ok := h.peers[r.Header.Get("Test-Cart")]
			if !ok {
				return p, errors.New("no certificate")
			}
			return p, nil
		}})
	if err != nil {
		h.t.Fatal(err)
	}
	h.store, h.in = s, in
}

func (h *hub) reopen() {
	h.t.Helper()
	if err := h.store.Close(); err != nil {
		h.t.Fatal(err)
	}
	h.open()
}

// cart seals and numbers items as the outbox does.
type cart struct {
	t     testing.TB
	h     *hub
	peer  Peer
	dev   *ecdsa.PrivateKey
	chain ledger.Chain
	book  ledger.Book
	key   *seal.Key
	enc   ledger.ID
}

func (h *hub) cart(name string) *cart {
	h.t.Helper()
	dev, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		h.t.Fatal(err)
	}
	c := &cart{t: h.t, h: h, dev: dev, book: ledger.Book{Tenant: "north", Cart: name}, enc: ledger.NewID()}
	c.peer = Peer{"north", name, dev.Public()}
	h.peers[name] = c.peer
	c.chain = ledger.NewChain(c.book, ledger.NewID(), ledger.NewID())
	s, err := seal.NewSealer(c.book, c.chain.Run, h.public)
	if err != nil {
		h.t.Fatal(err)
	}
	if c.key, err = s.NewKey(c.enc); err != nil {
		h.t.Fatal(err)
	}
	return c
}

// item is an item with its chunks.
type item struct {
	wire.Manifest
	chunks [][]byte
}

func (i item) hash() ledger.Hash { return i.Manifest.Hash() }

func (c *cart) still(blob int) capture.Body {
	return capture.Body{Kind: capture.Still, Encounter: c.enc, At: kit.Stamp{Wall: start}, Media: &capture.MediaInfo{Type: "image/jpeg"},
		Blob: bytes.Repeat([]byte("JPEGdata"), blob/8)}
}

func (c *cart) item(b capture.Body) item {
	c.t.Helper()
	p, err := b.Marshal()
	if err != nil {
		c.t.Fatal(err)
	}
	return c.seal(uint8(b.Kind), p)
}

func (c *cart) seal(kind uint8, plain []byte) item {
	c.t.Helper()
	var it item
	s, err := c.key.Seal(kind, wire.Routine, plain, func(_ int, b []byte) error {
		it.chunks = append(it.chunks, bytes.Clone(b))
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	it.Manifest = wire.Manifest{Header: s.Bytes, Wrap: c.key.Wrap().Marshal(), Entry: c.chain.Entry(ledger.Item, s.Hash), Chunks: s.Chunks}
	c.chain = c.chain.Advance(it.Entry)
	return it
}

// stream is a PUT's body with the chunks of these numbers; nil means all.
func (i item) stream(which []int) []byte {
	m := i.Marshal()
	b := append(binary.BigEndian.AppendUint32(nil, uint32(len(m))), m...)
	for n, c := range i.chunks {
		wanted := which == nil
		for _, w := range which {
			wanted = wanted || w == n
		}
		if wanted {
			b = append(frame(b, n, len(c)), c...)
		}
	}
	return b
}

func frame(b []byte, i, n int) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, uint32(i)), uint32(n))
}

func (c *cart) do(method, path string, body []byte) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	r.Header.Set("Test-Cart", c.peer.Cart)
	c.h.in.Handler().ServeHTTP(w, r)
	return w
}

func (c *cart) put(i item, which []int) *httptest.ResponseRecorder {
	return c.do("PUT", "/v1/items/"+i.hash().String()+"?practice=0", i.stream(which))
}

func (c *cart) get(i item) *httptest.ResponseRecorder {
	return c.do("GET", "/v1/items/"+i.hash().String(), nil)
}

// receipt checks that the answer is a receipt for the item, verified as a cart does.
func (c *cart) receipt(w *httptest.ResponseRecorder, status int, i item) wire.Receipt {
	c.t.Helper()
	if w.Code != status || w.Header().Get("Content-Type") != "application/octet-stream" {
		c.t.Fatalf("%d %s, want %d and a receipt", w.Code, w.Body, status)
	}
	r, err := wire.UnmarshalReceipt(w.Body.Bytes())
	if err != nil {
		c.t.Fatal(err)
	}
	if err := r.Verify(c.h.keys, c.book, i.Entry); err != nil {
		c.t.Fatal(err)
	}
	if want := map[int]wire.Verdict{200: wire.Received, 422: wire.Refused}[status]; r.Verdict != want {
		c.t.Fatalf("verdict %d", r.Verdict)
	}
	return r
}

func problemOf(t testing.TB, w *httptest.ResponseRecorder) wire.Problem {
	t.Helper()
	var p wire.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Header().Get("Content-Type") != "application/problem+json" || p.Status != w.Code {
		t.Fatalf("%d %q is no problem: %v", w.Code, w.Body, err)
	}
	return p
}

func haveOf(t testing.TB, w *httptest.ResponseRecorder, status int) have {
	t.Helper()
	var x have
	if err := json.Unmarshal(w.Body.Bytes(), &x); err != nil || w.Code != status {
		t.Fatalf("%d %q, want %d: %v", w.Code, w.Body, status, err)
	}
	return x
}

// rows counts what the store has.
func (h *hub) items(enc ledger.ID) []store.Item {
	h.t.Helper()
	got, err := h.store.Items(context.Background(), "north", enc, 100)
	if err != nil {
		h.t.Fatal(err)
	}
	return got
}

func (h *hub) uploads() int {
	h.t.Helper()
	u, err := h.store.Uploads()
	if err != nil {
		h.t.Fatal(err)
	}
	return len(u)
}

// reader gives its bytes, then an error.
type reader struct {
	io.Reader
	err error
}

func (r reader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err == io.EOF {
		err = r.err
	}
	return n, err
}
