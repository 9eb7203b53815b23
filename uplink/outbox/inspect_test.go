package outbox_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"flag"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
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
