package outbox_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/uplink/outbox"
	"telecart/uplink/outbox/reader/author"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// writeVectors writes a folder with everything that can lie in one: a retired segment's checkpoint and receipts, a trimmed segment, an item
// over two segments, logs, one of them with a torn tail, receipts with one slot that can't be read, and a head that does not
// cover the newest entry.
func writeVectors(t testing.TB, dir string) *author.Author {
	a := must[*author.Author](t)(author.New(filepath.Join(dir, "state", "care"), vectorBook))
	put := func(seg uint32, k capture.Kind, u wire.Urgency, n int) author.Item {
		return must[author.Item](t)(a.Put(seg, k, u, noise(n)))
	}
	a.Began(1)
	gone := []author.Item{put(1, capture.Reading, wire.Routine, 0), put(1, capture.Note, wire.Routine, 0)}
	check(t, a.Checkpoint(1, must[ledger.Head](t)(a.Head())))
	reading, still := put(2, capture.Reading, wire.Routine, 0), put(2, capture.Still, wire.Urgent, 20_000)
	note, correction := put(2, capture.Note, wire.Routine, 0), put(2, capture.Correction, wire.Routine, 0)
	clip := put(2, capture.Clip, wire.Routine, 150_000) // it begins in segment 2 and ends in 3
	check(t, a.Segment(2, append(reading.All(), still.All()...), clip.Slices[:10]),
		a.Log(2, 0, 16<<10, author.Batch(2, 0, 0, note.All()...), author.Batch(2, 0, 1, correction.All()...)))
	event := put(3, capture.Event, wire.Routine, 0)
	check(t, a.Segment(3, append(slices.Clone(clip.Slices[10:]), clip.Record), event.All()))
	run := must[author.Record](t)(a.Run())
	run.Attempt |= 4 << 32
	last := put(4, capture.Reading, wire.Urgent, 0)
	check(t, a.JSON("head", must[ledger.Head](t)(a.Head())))
	unsigned := put(4, capture.Note, wire.Routine, 0)
	never := put(4, capture.Sound, wire.Routine, 3000)
	torn := author.Batch(4, 1, 1, never.All()...)
	clear(torn[512:1024]) // one sector did not reach the disk before the power went
	check(t, a.Segment(4, nil), a.Log(4, 0, 8<<10, author.Batch(4, 0, 0, append([]author.Record{run}, last.All()...)...), author.Batch(4, 0, 1)),
		a.Log(4, 1, 16<<10, author.Batch(4, 1, 0, unsigned.All()...), torn))
	check(t, a.Gone(1, a.Sign(gone[0].Manifest.Entry, wire.Received), a.Sign(gone[1].Manifest.Entry, wire.Received)))
	received, refused := a.Sign(reading.Manifest.Entry, wire.Received), a.Sign(still.Manifest.Entry, wire.Refused)
	check(t, a.Receipts(1, 8, &received, &refused, nil))
	b := must[[]byte](t)(json.Marshal(a.Signed))
	check(t, os.WriteFile(filepath.Join(dir, "state", "keys.json"), b, 0o600))
	s := secrets{a.Record.Private, a.Root.Public().(ed25519.PublicKey), must[[]byte](t)(x509.MarshalPKIXPublicKey(a.Device.Public()))}
	writeJSON(t, filepath.Join(dir, "keys.json"), s)
	return a
}

func writeJSON(t testing.TB, path string, v any) {
	b := must[[]byte](t)(json.MarshalIndent(v, "", "  "))
	check(t, os.WriteFile(path, append(b, '\n'), 0o600))
}

func readJSON[T any](t testing.TB, path string) (v T) {
	b := must[[]byte](t)(os.ReadFile(path))
	check(t, json.Unmarshal(b, &v))
	return v
}

// found is what the product finds in a book's folder, items opened if there is a key.
func found(t testing.TB, dir string, s *secrets) (x expected, damage []outbox.FoundDamage) {
	t.Helper()
	var keys wire.KeyList
	if s != nil {
		signed := readJSON[wire.SignedKeyList](t, filepath.Join(dir, "..", "keys.json"))
		keys = must[wire.KeyList](t)(signed.Open(s.Root, 0))
	}
	seen := map[ledger.Hash]bool{}
	entries := map[uint64]ledger.Entry{}
	for f, err := range outbox.Inspect(dir) {
		check(t, err)
		switch {
		case f.Entry != nil:
			if e := f.Entry.Entry; !seen[e.Hash()] {
				seen[e.Hash()], entries[e.Number] = true, e
				x.Entries = append(x.Entries, expectedEntry{e, e.Hash()})
			}
		case f.Item != nil:
			x.Book = f.Item.Header.Book()
			x.Items = append(x.Items, itemOf(t, f.Item, s))
		case f.Receipt != nil:
			r := f.Receipt.Receipt
			e := ledger.Entry{Incarnation: r.Incarnation, Number: r.Number, Prev: r.Prev, Body: r.Item}
			x.Receipts = append(x.Receipts, expectedReceipt{r.Verdict, r.Number, r.Item, r.Verify(keys, vectorBook, e) == nil})
		case f.Head != nil:
			h := f.Head.Head
			signed := s != nil && h.Verify(must[any](t)(x509.ParsePKIXPublicKey(s.Device))) == nil
			x.Heads = append(x.Heads, expectedHead{f.Head.File, h.Number, h.Hash, signed})
		case f.Damage != nil:
			damage = append(damage, *f.Damage)
		}
	}
	x.Problems = len(damage)
	return x, damage
}

func itemOf(t testing.TB, f *outbox.FoundItem, s *secrets) expectedItem {
	h := f.Header
	it := expectedItem{Number: f.Entry.Number, Item: f.Entry.Body, Kind: h.Kind, Urgency: h.Urgency, Encounter: h.Encounter, Wrap: h.Wrap,
		Commitment: hex.EncodeToString(h.Commitment[:]), Chunks: f.Manifest.Chunks, Bad: f.Bad()}
	for i := range f.Manifest.Chunks {
		n := make([]byte, 12)
		n[9], n[10] = byte(i>>8), byte(i)
		if i == len(f.Manifest.Chunks)-1 {
			n[11] = 1
		}
		it.Nonces = append(it.Nonces, hex.EncodeToString(n))
	}
	if s == nil || len(it.Bad) > 0 {
		return it
	}
	records := must[*seal.Records](t)(seal.NewRecords([]seal.RecordKey{{Epoch: 1, Practice: h.Practice, KEM: 0x20, Private: s.Record}}))
	var plain bytes.Buffer
	check(t, records.Open(f.Wrap, f.Manifest.Header, h, func(i int) ([]byte, error) {
		c, _, err := f.Chunk(i)
		return c, err
	}, func(p []byte) error { plain.Write(p); return nil }))
	it.Plain = sha256.Sum256(plain.Bytes())
	if plain.Len() < 1024 {
		it.Text = plain.String()
	}
	it.DataKey, it.ItemKey = keysOf(t, f, s.Record)
	return it
}

// keysOf derives an item's keys with the standard library alone.
func keysOf(t testing.TB, f *outbox.FoundItem, private []byte) (data, item string) {
	kem := must[hpke.KEM](t)(hpke.NewKEM(f.Wrap.KEM))
	p := must[hpke.PrivateKey](t)(kem.NewPrivateKey(private))
	r := must[*hpke.Recipient](t)(hpke.NewRecipient(f.Wrap.Enc, p, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), f.Wrap.Info()))
	secret := must[[]byte](t)(r.Open(nil, f.Wrap.Sealed))
	prk := must[[]byte](t)(hkdf.Extract(sha256.New, secret, f.Header.Salt[:]))
	key := must[[]byte](t)(hkdf.Expand(sha256.New, prk, "telecart item key v1", 32))
	return hex.EncodeToString(secret), hex.EncodeToString(key)
}

// TestVectors: the product finds in the fixed folder what was found when it was made, and opens it.
func TestVectors(t *testing.T) {
	if *update {
		check(t, os.RemoveAll(vectors))
		writeVectors(t, vectors)
	}
	s := readJSON[secrets](t, filepath.Join(vectors, "keys.json"))
	got, damage := found(t, filepath.Join(vectors, "state/care"), &s)
	if *update {
		writeJSON(t, filepath.Join(vectors, "expected.json"), got)
	}
	want := readJSON[expected](t, filepath.Join(vectors, "expected.json"))
	var again expected // as it would be written
	check(t, json.Unmarshal(must[[]byte](t)(json.Marshal(got)), &again))
	if !reflect.DeepEqual(again, want) {
		t.Errorf("found %+v\nwant %+v", again, want)
	}
	if len(want.Entries) != 9 || len(want.Items) != 8 || len(want.Receipts) != 4 || len(want.Heads) != 2 || len(damage) != 1 || !strings.HasPrefix(damage[0].File, "receipts/") {
		t.Errorf("%d entries, %d items, %d receipts, %d heads, damage %+v", len(want.Entries), len(want.Items), len(want.Receipts), len(want.Heads), damage)
	}
	for _, it := range want.Items {
		if len(it.Bad) > 0 || it.Plain == (ledger.Hash{}) {
			t.Errorf("item %d: %+v", it.Number, it)
		}
	}
}

// node runs the reader that shares no code with the product.
func node(t testing.TB, dir string, s *secrets) (x expected, problems []string) {
	t.Helper()
	args := []string{"reader/reader.mjs", dir}
	if s != nil {
		args = append(args, "--record", hex.EncodeToString(s.Record), "--root", hex.EncodeToString(s.Root), "--device", hex.EncodeToString(s.Device),
			"--keys", filepath.Join(dir, "../keys.json"))
	}
	cmd := exec.Command("node", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the reader: %v\n%s", err, stderr.String())
	}
	var r struct {
		expected
		Problems []string `json:"problems"`
	}
	check(t, json.Unmarshal(out, &r))
	r.expected.Problems = len(r.Problems)
	return r.expected, r.Problems
}

// agree compares what both found, in the fields that the reader prints.
func agree(t testing.TB, product, other expected) {
	t.Helper()
	byNumber := func(a, b expectedItem) int { return int(a.Number) - int(b.Number) }
	slices.SortFunc(product.Items, byNumber)
	for i := range product.Items {
		it := &product.Items[i]
		it.Commitment, it.Nonces, it.Chunks, it.Text, it.Wrap = "", nil, nil, "", ledger.ID{}
		if it.Bad == nil {
			it.Bad = []int{}
		}
	}
	for _, c := range []struct {
		what string
		a, b any
	}{{"book", product.Book, other.Book}, {"entries", product.Entries, other.Entries}, {"items", product.Items, other.Items}, {"receipts", product.Receipts, other.Receipts},
		{"heads", product.Heads, other.Heads}} {
		x, y := must[[]byte](t)(json.Marshal(c.a)), must[[]byte](t)(json.Marshal(c.b))
		if string(x) != string(y) && !(string(x) == "null" && string(y) == "[]") {
			t.Errorf("%s: the product found\n%s\nthe reader\n%s", c.what, x, y)
		}
	}
}

func TestReader(t *testing.T) {
	s := readJSON[secrets](t, filepath.Join(vectors, "keys.json"))
	product, _ := found(t, filepath.Join(vectors, "state/care"), &s)
	other, problems := node(t, filepath.Join(vectors, "state/care"), &s)
	agree(t, product, other)
	if len(problems) != 1 {
		t.Errorf("the reader says %q", problems)
	}
	dir := t.TempDir() // and a folder with other keys
	writeVectors(t, dir)
	s = readJSON[secrets](t, filepath.Join(dir, "keys.json"))
	product, _ = found(t, filepath.Join(dir, "state/care"), &s)
	other, _ = node(t, filepath.Join(dir, "state/care"), &s)
	agree(t, product, other)
}
