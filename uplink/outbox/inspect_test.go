package outbox_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"flag"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/outbox"
	"telecart/uplink/outbox/reader/author"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

var update = flag.Bool("update", false, "make the test vectors anew, with new keys")

const vectors = "testdata/vectors"

// secrets are the vectors' keys: for tests alone.
type secrets struct {
	Record []byte `json:"record"` // private X25519 record key of epoch 1, care
	Root   []byte `json:"root"`   // the offline root's public key, Ed25519
	Device []byte `json:"device"` // the cart's public key, P-256, SPKI DER
}

// expected is what a reader must find.
type expected struct {
	Book     ledger.Book       `json:"book"`
	Entries  []expectedEntry   `json:"entries"`
	Items    []expectedItem    `json:"items"`
	Receipts []expectedReceipt `json:"receipts"`
	Heads    []expectedHead    `json:"heads"`
	Problems int               `json:"problems"`
}

type expectedEntry struct {
	ledger.Entry
	Hash ledger.Hash `json:"hash"`
}

type expectedItem struct {
	Number     uint64        `json:"number"`
	Item       ledger.Hash   `json:"item"`
	Kind       uint8         `json:"kind"`
	Urgency    wire.Urgency  `json:"urgency"`
	Encounter  ledger.ID     `json:"encounter"`
	Wrap       ledger.ID     `json:"wrap_id"`
	DataKey    string        `json:"data_key,omitempty"`
	ItemKey    string        `json:"item_key,omitempty"`
	Commitment string        `json:"commitment"`
	Nonces     []string      `json:"nonces"`
	Chunks     []ledger.Hash `json:"chunks"`
	Plain      ledger.Hash   `json:"plain_sha256"`
	Text       string        `json:"plain,omitempty"` // if it is short
	Bad        []int         `json:"bad"`
}

type expectedReceipt struct {
	Verdict wire.Verdict `json:"verdict"`
	Number  uint64       `json:"number"`
	Item    ledger.Hash  `json:"item"`
	Signed  bool         `json:"signed"`
}

type expectedHead struct {
	File   string      `json:"file"`
	Number uint64      `json:"number"`
	Hash   ledger.Hash `json:"hash"`
	Signed bool        `json:"signed"`
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// noise is what a blob is made of.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{7})
	r.Read(b)
	return b
}

var vectorBook = ledger.Book{Tenant: "north", Cart: "cart-1"}

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

// agentBox is the product's own outbox, for one run.
func agentBox(t testing.TB, dir string, a *author.Author) (*outbox.Outbox, *seal.Key) {
	run := ledger.NewID()
	sealer := must[*seal.Sealer](t)(seal.NewSealer(a.Book, run, a.List.Records[0]))
	box := must[*outbox.Outbox](t)(outbox.Open(context.Background(), outbox.Options{Dir: dir, Book: a.Book, Run: run, Signer: a.Device,
		Clock: kit.NewManual(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)), SegmentSize: 2 << 20}))
	return box, must[*seal.Key](t)(sealer.NewKey(ledger.NewID()))
}

// TestReaderReadsTheProduct: what the product itself writes today, over two runs and several segments.
func TestReaderReadsTheProduct(t *testing.T) {
	state := t.TempDir()
	a := must[*author.Author](t)(author.New(filepath.Join(t.TempDir(), "keys"), vectorBook))
	writeJSON(t, filepath.Join(state, "keys.json"), a.Signed)
	s := secrets{a.Record.Private, a.Root.Public().(ed25519.PublicKey), must[[]byte](t)(x509.MarshalPKIXPublicKey(a.Device.Public()))}
	b := must[[]byte](t)(json.Marshal(a.Signed)) // indented, it would not be what was signed
	check(t, os.WriteFile(filepath.Join(state, "keys.json"), b, 0o600))
	dir, saved := filepath.Join(state, "care"), map[ledger.Hash]bool{}
	for range 2 {
		box, key := agentBox(t, dir, a)
		for i := range 40 {
			size := 300
			if i%10 == 9 {
				size = 400_000
			}
			got := must[outbox.Saved](t)(box.Put(context.Background(), key, 1, wire.Urgency(i%2), noise(size)))
			saved[got.Hash] = true
			if i == 0 {
				check(t, box.Receipt(a.Sign(got.Entry, wire.Received)))
			}
		}
		check(t, box.SaveHead(), box.Close())
	}
	product, damage := found(t, dir, &s)
	if len(damage) > 0 {
		t.Errorf("damage: %+v", damage)
	}
	for _, it := range product.Items {
		if len(it.Bad) > 0 {
			t.Errorf("item %d: chunks %v", it.Number, it.Bad)
		}
		delete(saved, it.Item)
	}
	if len(saved) > 0 || len(product.Entries) != 82 || len(product.Receipts) != 2 || len(product.Heads) != 1 || !product.Heads[0].Signed {
		t.Errorf("%d saved items not found, %d entries, receipts %+v, heads %+v", len(saved), len(product.Entries), product.Receipts, product.Heads)
	}
	other, problems := node(t, dir, &s)
	agree(t, product, other)
	if len(problems) > 0 {
		t.Errorf("the reader says %q", problems)
	}
}

// TestInspectWhileTheAgentWrites: no damage is seen where there is none, and no gap.
func TestInspectWhileTheAgentWrites(t *testing.T) {
	a := must[*author.Author](t)(author.New(filepath.Join(t.TempDir(), "keys"), vectorBook))
	dir := t.TempDir()
	box, key := agentBox(t, dir, a)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				if _, err := box.Put(context.Background(), key, 1, wire.Routine, noise(200+w*100_000*(i%2))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	seen := 0
	for range 12 {
		x, damage := found(t, dir, nil)
		for i, e := range x.Entries {
			if e.Number != uint64(i) {
				t.Fatalf("entry %d stands in place %d", e.Number, i)
			}
		}
		for _, it := range x.Items {
			if len(it.Bad) > 0 {
				t.Fatalf("item %d: chunks %v", it.Number, it.Bad)
			}
		}
		if len(damage) > 0 || len(x.Entries) < seen {
			t.Fatalf("%d entries after %d, damage %+v", len(x.Entries), seen, damage)
		}
		seen = len(x.Entries)
	}
	close(done)
	wg.Wait()
	check(t, box.Close())
	if seen < 2 {
		t.Errorf("%d entries were seen: the agent wrote nothing meanwhile", seen)
	}
}

// book writes a folder of three small items in one segment, and three more in its log, two batches.
func damageBook(t *testing.T) (a *author.Author, items []author.Item, dir string) {
	dir = t.TempDir()
	a = must[*author.Author](t)(author.New(dir, vectorBook))
	first := a.Began(1)
	for range 6 {
		items = append(items, must[author.Item](t)(a.Put(1, capture.Still, wire.Routine, noise(9000))))
	}
	check(t, a.Segment(1, []author.Record{first}, items[0].All(), append(items[1].All(), items[2].All()...)),
		a.Log(1, 0, 64<<10, author.Batch(1, 0, 0, items[3].All()...), author.Batch(1, 0, 1, items[4].All()...), author.Batch(1, 0, 2, items[5].All()...)))
	return a, items, dir
}

// TestInspectNamesDamage: it costs what was damaged, and is told.
func TestInspectNamesDamage(t *testing.T) {
	seg, log := "00000001.seg", "00000001.0000.log"
	inLog := func(batch int) int { return batch * 12288 } // each takes three blocks of 4096
	for name, c := range map[string]struct {
		file    string
		change  func(b []byte, items []author.Item)
		numbers []uint64 // of entries that are still found
		bad     []uint64 // items with a bad chunk
		damage  int
	}{
		"nothing": {seg, func([]byte, []author.Item) {}, []uint64{0, 1, 2, 3, 4, 5, 6}, nil, 0},
		"a slice in the segment": {seg, func(b []byte, items []author.Item) { b[bytes.Index(b, items[1].Chunks[0][:64])+9]++ },
			[]uint64{0, 1, 2, 3, 4, 5, 6}, []uint64{2}, 1},
		"a manifest in the segment": {seg, func(b []byte, items []author.Item) { b[bytes.LastIndex(b, items[1].Record.Payload)+99]++ },
			[]uint64{0, 1, 3, 4, 5, 6}, nil, 1},
		"both meta pages": {seg, func(b []byte, _ []author.Item) { b[16+20]++; b[65536+16+20]++ }, []uint64{0, 1, 2, 3, 4, 5, 6}, nil, 1},
		"the leaf's head": {seg, func(b []byte, items []author.Item) {
			at := bytes.LastIndex(b, items[2].Record.Payload) &^ 0xffff
			b[at+8] ^= 0x10
		}, []uint64{0, 1, 2, 3, 4, 5, 6}, nil, 1},
		"a batch in the middle": {log, func(b []byte, _ []author.Item) { b[inLog(1)+1000]++ }, []uint64{0, 1, 2, 3, 4, 5, 6}, []uint64{5}, 1},
		"a head in the middle":  {log, func(b []byte, _ []author.Item) { b[inLog(1)+20]++ }, []uint64{0, 1, 2, 3, 4, 5, 6}, nil, 1},
		"a head wiped":          {log, func(b []byte, _ []author.Item) { clear(b[inLog(1) : inLog(1)+512]) }, []uint64{0, 1, 2, 3, 4, 5, 6}, []uint64{5}, 1},
		"the last, not torn":    {log, func(b []byte, _ []author.Item) { b[inLog(2)+1000]++ }, []uint64{0, 1, 2, 3, 4, 5, 6}, []uint64{6}, 1},
		"the last, torn":        {log, func(b []byte, _ []author.Item) { clear(b[inLog(2)+4096 : inLog(2)+4608]) }, []uint64{0, 1, 2, 3, 4, 5}, nil, 0},
		"the last, tail lost":   {log, func(b []byte, _ []author.Item) { clear(b[inLog(2)+8192:]) }, []uint64{0, 1, 2, 3, 4, 5}, nil, 0},
		"the last, not begun":   {log, func(b []byte, _ []author.Item) { clear(b[inLog(2) : inLog(2)+512]) }, []uint64{0, 1, 2, 3, 4, 5}, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			_, items, dir := damageBook(t)
			path := filepath.Join(dir, c.file)
			b := must[[]byte](t)(os.ReadFile(path))
			c.change(b, items)
			check(t, os.WriteFile(path, b, 0o600))
			x, damage := found(t, dir, nil)
			var numbers, bad []uint64
			for _, e := range x.Entries {
				numbers = append(numbers, e.Number)
			}
			for _, it := range x.Items {
				if len(it.Bad) > 0 {
					bad = append(bad, it.Number)
				}
			}
			if !slices.Equal(numbers, c.numbers) || !slices.Equal(bad, c.bad) || len(damage) != c.damage {
				t.Errorf("entries %v, want %v; bad items %v, want %v; damage %+v", numbers, c.numbers, bad, c.bad, damage)
			}
			other, _ := node(t, dir, nil) // the reader comes to the same
			agree(t, x, other)
		})
	}
}

// TestInspectLeavesOutWhatWasNotCommitted: a commit that wrote its pages and not its meta page never happened.
func TestInspectLeavesOutWhatWasNotCommitted(t *testing.T) {
	dir := t.TempDir()
	a := must[*author.Author](t)(author.New(dir, vectorBook))
	first := a.Began(1)
	kept, cut := must[author.Item](t)(a.Put(1, capture.Note, wire.Routine, nil)), must[author.Item](t)(a.Put(1, capture.Note, wire.Routine, nil))
	check(t, a.Segment(1, []author.Record{first}, kept.All()))
	path := filepath.Join(dir, "00000001.seg")
	metas := must[[]byte](t)(os.ReadFile(path))[:2<<16]
	check(t, a.Segment(1, cut.All()))
	b := must[[]byte](t)(os.ReadFile(path))
	check(t, os.WriteFile(path, append(slices.Clone(metas), b[2<<16:]...), 0o600))
	if !bytes.Contains(b, cut.Record.Payload) {
		t.Fatal("the record is not there")
	}
	x, damage := found(t, dir, nil)
	if len(x.Entries) != 2 || len(x.Items) != 1 || x.Items[0].Item != kept.Manifest.Hash() || len(damage) != 0 {
		t.Errorf("%d entries, items %+v, damage %v", len(x.Entries), x.Items, damage)
	}
}

// TestInspectTouchesNothing: not a byte, not a time.
func TestInspectTouchesNothing(t *testing.T) {
	dir := t.TempDir()
	writeVectors(t, dir)
	before := stamps(t, dir)
	found(t, filepath.Join(dir, "state/care"), nil)
	if after := stamps(t, dir); !maps.Equal(before, after) {
		t.Errorf("%v\n%v", before, after)
	}
}

func stamps(t testing.TB, dir string) map[string]string {
	out := map[string]string{}
	check(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		out[path] = st.ModTime().String()
		if !d.IsDir() {
			b, err := os.ReadFile(path)
			sum := sha256.Sum256(b)
			out[path] += hex.EncodeToString(sum[:])
			return err
		}
		return nil
	}))
	return out
}
