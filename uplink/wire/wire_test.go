package wire

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"telecart/capture/ledger"
)

// vector is one of testdata/*.json. They were computed with Python's hashlib and an Ed25519 of its own from the layouts in
// the comments of this package, so that whoever writes another end can check it against them.
type vector struct {
	Name      string
	Hex       string
	Kind      uint8
	Urgency   Urgency
	Practice  bool
	Length    uint64
	Chunks    int
	ID        ledger.ID
	Item      ledger.Hash
	Verdict   Verdict
	Seed      string
	Public    string
	Hub       string
	Sequence  uint64
	Key       uint32
	Signature string
}

func vectors(t testing.TB, name string) []vector {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var vs []vector
	if err := json.Unmarshal(b, &vs); err != nil || len(vs) == 0 {
		t.Fatal(name, err)
	}
	return vs
}

func (v vector) bytes(t testing.TB) []byte { return unhex(t, v.Hex) }

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func repeat(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

func wrapOf(practice bool) Wrap {
	return Wrap{KEM: 0x20, KDF: 1, AEAD: 3, Epoch: 7, Practice: practice, Tenant: "north", Cart: "cart-1", Encounter: ledger.ID(repeat(0x44, 16)),
		Run: ledger.ID(repeat(0x22, 16)), Enc: repeat(0x55, 32), Sealed: repeat(0x66, 48)}
}

func headerOf(v vector) Header {
	return Header{Suite: SuiteV1, Kind: v.Kind, Urgency: v.Urgency, Practice: v.Practice, Tenant: "north", Cart: "cart-1",
		Encounter: ledger.ID(repeat(0x44, 16)), Wrap: wrapOf(v.Practice).ID(), Salt: [32]byte(repeat(0x77, 32)), Commitment: [32]byte(repeat(0x88, 32)),
		Length: v.Length}
}

// canonical checks what holds for every encoding: it comes back alike, and nothing may be cut off, added or altered
// without notice.
func canonical(t *testing.T, good []byte, decode func([]byte) ([]byte, error)) {
	t.Helper()
	if again, err := decode(good); err != nil || !bytes.Equal(again, good) {
		t.Fatalf("%x comes back as %x, %v", good, again, err)
	}
	for n := range good {
		if _, err := decode(good[:n]); !errors.Is(err, ErrMalformed) {
			t.Fatalf("the first %d of %d bytes: %v", n, len(good), err)
		}
	}
	for _, more := range []string{"\x00", "x", string(good)} {
		if _, err := decode(append(bytes.Clone(good), more...)); !errors.Is(err, ErrMalformed) {
			t.Fatalf("%d bytes behind the end: %v", len(more), err)
		}
	}
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 0x80
		if again, err := decode(b); err == nil && !bytes.Equal(again, b) {
			t.Fatalf("byte %d altered: two encodings of one value", i)
		}
	}
}

func header(b []byte) ([]byte, error) { h, err := UnmarshalHeader(b); return h.Marshal(), err }
func wrap(b []byte) ([]byte, error)   { w, err := UnmarshalWrap(b); return w.Marshal(), err }
func manifest(b []byte) ([]byte, error) {
	m, _, _, err := UnmarshalManifest(b)
	return m.Marshal(), err
}
func receipt(b []byte) ([]byte, error) { r, err := UnmarshalReceipt(b); return r.Marshal(), err }

func TestHeader(t *testing.T) {
	for _, v := range vectors(t, "header") {
		h := headerOf(v)
		if got := hex.EncodeToString(h.Marshal()); got != v.Hex {
			t.Errorf("%s: %s, want %s", v.Name, got, v.Hex)
		}
		back, err := UnmarshalHeader(v.bytes(t))
		if err != nil || back != h || h.Chunks() != v.Chunks || h.Book() != (ledger.Book{Tenant: "north", Cart: "cart-1", Practice: v.Practice}) {
			t.Errorf("%s: %+v, %v", v.Name, back, err)
		}
		canonical(t, v.bytes(t), header)
		sum := 0
		for i := range h.Chunks() {
			sum += h.SealedSize(i) - Overhead
		}
		if uint64(sum) != v.Length {
			t.Errorf("%s: its chunks hold %d of %d bytes", v.Name, sum, v.Length)
		}
	}
	good := headerOf(vectors(t, "header")[0])
	for name, f := range map[string]func(*Header){
		"suite 0": func(h *Header) { h.Suite = 0 }, "suite 2": func(h *Header) { h.Suite = 2 }, "no kind": func(h *Header) { h.Kind = 0 },
		"urgency 2": func(h *Header) { h.Urgency = 2 }, "no tenant": func(h *Header) { h.Tenant = "" }, "capitals": func(h *Header) { h.Tenant = "North" },
		"path": func(h *Header) { h.Cart = "../x" }, "long": func(h *Header) { h.Cart = strings.Repeat("c", 65) }, "empty": func(h *Header) { h.Length = 0 },
		"not padded": func(h *Header) { h.Length = 257 }, "too long": func(h *Header) { h.Length = PaddedLength(MaxLength + 1) },
		"endless": func(h *Header) { h.Length = 1 << 63 },
	} {
		h := good
		f(&h)
		if _, err := UnmarshalHeader(h.Marshal()); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, v := range vectors(t, "wrap") {
		w := wrapOf(v.Practice)
		if got := hex.EncodeToString(w.Marshal()); got != v.Hex || w.ID() != v.ID {
			t.Errorf("%s: %s %s", v.Name, got, w.ID())
		}
		canonical(t, v.bytes(t), wrap)
		if !bytes.HasPrefix(w.Info(), []byte("telecart data key v1\x00TCW\x01")) || !bytes.HasPrefix(w.Marshal(), w.Info()[len("telecart data key v1\x00"):]) {
			t.Errorf("%s: its info does not cover all that stands in front of the key", v.Name)
		}
	}
	w := wrapOf(false)
	w.Sealed = repeat(1, 4097)
	if _, err := UnmarshalWrap(w.Marshal()); !errors.Is(err, ErrMalformed) {
		t.Errorf("a key of 4097 bytes: %v", err)
	}
}

func TestManifest(t *testing.T) {
	for _, v := range vectors(t, "manifest") {
		b := v.bytes(t)
		m, h, w, err := UnmarshalManifest(b)
		if err != nil || m.Hash() != v.Item || m.Entry.Body != v.Item || h.Chunks() != len(m.Chunks) || w.ID() != h.Wrap || len(b) > MaxManifest {
			t.Fatalf("%s: %v %s", v.Name, err, m.Hash())
		}
		canonical(t, b, manifest)
		other := wrapOf(!h.Practice)
		run := w
		run.Run = ledger.ID{1}
		for name, f := range map[string]func(*Manifest){
			"a chunk too many": func(m *Manifest) { m.Chunks = append(m.Chunks, ledger.Hash{}) },
			"a chunk missing":  func(m *Manifest) { m.Chunks = m.Chunks[1:] },
			"another chunk":    func(m *Manifest) { m.Chunks[0][0]++ },
			"another item":     func(m *Manifest) { m.Entry.Body[0]++ },
			"not an item":      func(m *Manifest) { m.Entry.Kind = ledger.Run },
			"no kind":          func(m *Manifest) { m.Entry.Kind = 0 },
			"other wrap":       func(m *Manifest) { m.Wrap = other.Marshal() },
			"wrap of another run": func(m *Manifest) {
				m.Wrap = run.Marshal()
			},
			"wrap of another encounter, named": func(m *Manifest) {
				x, y := w, h
				x.Encounter = ledger.ID{1}
				y.Wrap = x.ID()
				m.Wrap, m.Header = x.Marshal(), y.Marshal()
				m.Entry.Body = m.Hash()
			},
			"other header": func(m *Manifest) { x := h; x.Kind = 2; m.Header = x.Marshal() },
			"no header":    func(m *Manifest) { m.Header = nil },
		} {
			x := m
			x.Chunks = append([]ledger.Hash(nil), m.Chunks...)
			f(&x)
			if _, _, _, err := UnmarshalManifest(x.Marshal()); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s, %s: %v", v.Name, name, err)
			}
		}
	}
}

func keysOf(t testing.TB, v vector) (KeyList, ed25519.PrivateKey) {
	private := ed25519.NewKeyFromSeed(unhex(t, v.Seed))
	return KeyList{Version: 1, Hub: "hub.example", Receipts: []ReceiptKey{{2, make([]byte, 32)}, {3, private.Public().(ed25519.PublicKey)}}}, private
}

func TestReceipt(t *testing.T) {
	for _, v := range vectors(t, "receipt") {
		keys, private := keysOf(t, v)
		book := ledger.Book{Tenant: "north", Cart: "cart-1", Practice: v.Practice}
		e := ledger.Entry{Incarnation: ledger.ID(repeat(0x11, 16)), Number: 9, Kind: ledger.Item, Run: ledger.ID{7}, Prev: ledger.Hash(repeat(0x99, 32)), Body: v.Item}
		r := Receipt{Verdict: v.Verdict, Hub: "hub.example", Store: ledger.ID(repeat(0xaa, 16)), Sequence: 12, Key: 3, Book: book,
			Incarnation: e.Incarnation, Number: 9, Prev: e.Prev, Item: v.Item}
		r.Sign(private)
		if got := hex.EncodeToString(r.Marshal()); got != v.Hex {
			t.Errorf("%s: %s, want %s", v.Name, got, v.Hex)
		}
		canonical(t, v.bytes(t), receipt)
		if err := r.Verify(keys, book, e); err != nil || len(r.Marshal()) > MaxReceipt {
			t.Fatal(v.Name, err)
		}
		for name, f := range map[string]func(*Receipt, *KeyList, *ledger.Book, *ledger.Entry){
			"verdict":          func(r *Receipt, _ *KeyList, _ *ledger.Book, _ *ledger.Entry) { r.Verdict = 3 - r.Verdict },
			"store":            func(r *Receipt, _ *KeyList, _ *ledger.Book, _ *ledger.Entry) { r.Store[0]++ },
			"sequence":         func(r *Receipt, _ *KeyList, _ *ledger.Book, _ *ledger.Entry) { r.Sequence++ },
			"key that is none": func(r *Receipt, _ *KeyList, _ *ledger.Book, _ *ledger.Entry) { r.Key = 9 },
			"another key":      func(r *Receipt, _ *KeyList, _ *ledger.Book, _ *ledger.Entry) { r.Key = 2 },
			"signature":        func(r *Receipt, _ *KeyList, _ *ledger.Book, _ *ledger.Entry) { r.Signature[5]++ },
			"another hub":      func(_ *Receipt, k *KeyList, _ *ledger.Book, _ *ledger.Entry) { k.Hub = "hub.other" },
			"hub in receipt": func(r *Receipt, k *KeyList, _ *ledger.Book, _ *ledger.Entry) {
				r.Hub, k.Hub = "hub.other", "hub.other"
			},
			"no keys":         func(_ *Receipt, k *KeyList, _ *ledger.Book, _ *ledger.Entry) { k.Receipts = nil },
			"another cart":    func(_ *Receipt, _ *KeyList, b *ledger.Book, _ *ledger.Entry) { b.Cart = "cart-2" },
			"practice":        func(_ *Receipt, _ *KeyList, b *ledger.Book, _ *ledger.Entry) { b.Practice = !b.Practice },
			"another item":    func(_ *Receipt, _ *KeyList, _ *ledger.Book, e *ledger.Entry) { e.Body[0]++ },
			"another number":  func(_ *Receipt, _ *KeyList, _ *ledger.Book, e *ledger.Entry) { e.Number++ },
			"another past":    func(_ *Receipt, _ *KeyList, _ *ledger.Book, e *ledger.Entry) { e.Prev[0]++ },
			"another ledger":  func(_ *Receipt, _ *KeyList, _ *ledger.Book, e *ledger.Entry) { e.Incarnation[0]++ },
			"altered to suit": func(r *Receipt, _ *KeyList, _ *ledger.Book, e *ledger.Entry) { e.Body[0]++; r.Item = e.Body },
		} {
			x, k, b, y := r, keys, book, e
			f(&x, &k, &b, &y)
			if x.Verify(k, b, y) == nil {
				t.Errorf("%s, %s: it counts", v.Name, name)
			}
		}
		x := r
		x.Verdict = 3
		if _, err := UnmarshalReceipt(x.Marshal()); !errors.Is(err, ErrMalformed) {
			t.Errorf("verdict 3: %v", err)
		}
	}
}

func TestWatermark(t *testing.T) {
	v := vectors(t, "watermark")[0]
	keys, private := keysOf(t, v)
	w := Watermark{Hub: v.Hub, Store: ledger.ID(repeat(0xaa, 16)), Sequence: v.Sequence, Key: v.Key}
	w.Sign(private)
	if hex.EncodeToString(w.Signature) != v.Signature || w.Verify(keys) != nil {
		t.Errorf("%x", w.Signature)
	}
	for name, f := range map[string]func(*Watermark, *KeyList){
		"sequence": func(w *Watermark, _ *KeyList) { w.Sequence++ }, "store": func(w *Watermark, _ *KeyList) { w.Store[0]++ },
		"key": func(w *Watermark, _ *KeyList) { w.Key = 2 }, "hub": func(w *Watermark, _ *KeyList) { w.Hub = "hub.other" },
		"list of another hub": func(w *Watermark, k *KeyList) { k.Hub = "hub.other" }, "unsigned": func(w *Watermark, _ *KeyList) { w.Signature = nil },
	} {
		x, k := w, keys
		f(&x, &k)
		if x.Verify(k) == nil {
			t.Errorf("%s: it counts", name)
		}
	}
}

func TestPaddedLength(t *testing.T) {
	for n, want := range map[uint64]uint64{0: 256, 1: 256, 256: 256, 257: 272, 9000: 9216, 65536: 65536, 65537: 67584, MaxLength: MaxLength, 1<<20 - 1: 1 << 20} {
		if got := PaddedLength(n); got != want {
			t.Errorf("%d: %d, want %d", n, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint64Range(0, MaxLength).Draw(t, "n")
		p := PaddedLength(n)
		switch {
		case p < n || p < 256 || p > MaxLength:
			t.Fatalf("%d becomes %d", n, p)
		case PaddedLength(p) != p:
			t.Fatalf("%d is not padded", p)
		case n > 256 && float64(p-n) > 0.12*float64(n):
			t.Fatalf("%d becomes %d: more than 12 %%", n, p)
		case n < MaxLength && PaddedLength(n+1) < p:
			t.Fatal("not monotonic")
		}
	})
}

func TestItemHashIsUnambiguous(t *testing.T) {
	a, b := ledger.Hash{1}, ledger.Hash{2}
	seen := map[ledger.Hash]bool{}
	for _, h := range []ledger.Hash{ItemHash(nil, nil), ItemHash(a[:], nil), ItemHash(nil, []ledger.Hash{a}), ItemHash(a[:], []ledger.Hash{b}),
		ItemHash(nil, []ledger.Hash{a, b}), ItemHash(nil, []ledger.Hash{b, a}), ItemHash(append(a[:], b[:]...), nil)} {
		if seen[h] {
			t.Error("two items have one hash")
		}
		seen[h] = true
	}
}

func TestKeyList(t *testing.T) {
	root, private, _ := ed25519.GenerateKey(nil)
	other, _, _ := ed25519.GenerateKey(nil)
	list := KeyList{Version: 5, Hub: "hub.example", Issued: time.Unix(1, 0).UTC(), Expires: time.Unix(2, 0).UTC(), // long expired: that never stops anything
		Records: []RecordKey{{Epoch: 1, KEM: 0x20, Public: []byte("<&>")}, {Epoch: 3, KEM: 0x20, Public: []byte{3}}, {Epoch: 2, KEM: 0x20, Public: []byte{2}},
			{Epoch: 9, Practice: true, Public: []byte{9}}},
		Receipts: []ReceiptKey{{1, root}}}
	sign := func(l KeyList) SignedKeyList {
		s, err := SignKeyList(l, private)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	good := sign(list)
	for _, held := range []uint64{0, 4, 5} {
		if l, err := good.Open(root, held); err != nil || l.Version != 5 || len(l.Records) != 4 {
			t.Errorf("held %d: %v", held, err)
		}
	}
	if _, err := good.Open(root, 6); !errors.Is(err, ErrOldKeyList) {
		t.Errorf("the version went back: %v", err)
	}
	// It travels inside a larger JSON message, and lies on the disk: the signed bytes stay.
	var back SignedKeyList
	b, err := json.Marshal(map[string]any{"keys": good})
	if err == nil {
		err = json.Unmarshal(b, &struct{ Keys *SignedKeyList }{&back})
	}
	if _, open := back.Open(root, 5); err != nil || open != nil {
		t.Errorf("after its journey: %v %v", err, open)
	}
	short := list
	short.Receipts = []ReceiptKey{{1, root[:31]}}
	zero := list
	zero.Version = 0
	tampered := good
	tampered.List = bytes.Replace(good.List, []byte(`"version":5`), []byte(`"version":6`), 1)
	junk := SignedKeyList{List: []byte("x"), Signature: ed25519.Sign(private, append([]byte(keyListDomain), 'x'))}
	for name, c := range map[string]struct {
		s    SignedKeyList
		root ed25519.PublicKey
	}{
		"wrong root": {good, other}, "no root": {good, nil}, "short root": {good, root[:31]}, "tampered": {tampered, root},
		"unsigned": {SignedKeyList{List: good.List}, root}, "nothing": {SignedKeyList{}, root}, "no list": {junk, root},
		"receipt key of 31 bytes": {sign(short), root}, "version 0": {sign(zero), root},
		"signed for something else": {SignedKeyList{List: good.List, Signature: ed25519.Sign(private, good.List)}, root},
	} {
		if _, err := c.s.Open(c.root, 0); err == nil {
			t.Errorf("%s: it opens", name)
		}
	}
	if k, err := list.Record(false); err != nil || k.Epoch != 3 {
		t.Errorf("newest record key for care: %d %v", k.Epoch, err)
	}
	if k, err := list.Record(true); err != nil || k.Epoch != 9 {
		t.Errorf("newest record key for practice: %d %v", k.Epoch, err)
	}
	if _, err := (KeyList{Records: list.Records[:3]}).Record(true); err == nil {
		t.Error("practice has no key, and yet one was found")
	}
}

func TestProblem(t *testing.T) {
	chunk := 0
	p := NewProblem(422, "chunk-damaged", "A chunk is damaged", "chunk 0")
	p.Chunk = &chunk
	w := httptest.NewRecorder()
	p.Write(w)
	want := `{"type":"urn:telecart:chunk-damaged","code":"chunk-damaged","title":"A chunk is damaged","status":422,"detail":"chunk 0","chunk":0}`
	if w.Code != 422 || w.Header().Get("Content-Type") != "application/problem+json" || w.Header().Get("Cache-Control") != "no-store" ||
		strings.TrimSpace(w.Body.String()) != want {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if p.Error() != "A chunk is damaged: chunk 0 (chunk-damaged)" || NewProblem(404, "x", "Y", "").Error() != "Y (x)" {
		t.Error(p.Error())
	}
}

func fuzz(f *testing.F, name string, decode func([]byte) ([]byte, error)) {
	for _, v := range vectors(f, name) {
		b := v.bytes(f)
		f.Add(b)
		f.Add(b[:len(b)-1])
		f.Add(append(bytes.Clone(b), 0))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := decode(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("not canonical: %x", again)
		}
	})
}

func FuzzHeader(f *testing.F)   { fuzz(f, "header", header) }
func FuzzWrap(f *testing.F)     { fuzz(f, "wrap", wrap) }
func FuzzManifest(f *testing.F) { fuzz(f, "manifest", manifest) }
func FuzzReceipt(f *testing.F)  { fuzz(f, "receipt", receipt) }
