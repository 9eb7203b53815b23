package intake

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"testing"

	"telecart/capture/ledger"
	"telecart/uplink/wire"
)

type item struct {
	wire.Manifest
	chunks [][]byte
}

// stream is a PUT's body with the chunks of these numbers; nil means all.
func (i item) stream(which []int) []byte {
	m := i.Marshal()
	b := append(binary.BigEndian.AppendUint32(nil, uint32(len(m))), m...)
	for n, c := range i.chunks {
		if which == nil || slices.Contains(which, n) {
			b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, uint32(n)), uint32(len(c)))
			b = append(b, c...)
		}
	}
	return b
}

// fixed is an item that is the same in every process, as a fuzzer's workers need. Nothing opens it.
func fixed() (ledger.Book, item) {
	w := wire.Wrap{Tenant: "north", Cart: "cart-1", Encounter: ledger.ID{1}, Run: ledger.ID{2}, Enc: []byte("enc"), Sealed: []byte("sealed")}
	h := wire.Header{Suite: wire.SuiteV1, Kind: 3, Tenant: w.Tenant, Cart: w.Cart, Encounter: w.Encounter, Wrap: w.ID(), Length: wire.PaddedLength(wire.ChunkSize + 1)}
	i := item{Manifest: wire.Manifest{Header: h.Marshal(), Wrap: w.Marshal()}}
	for n := range h.Chunks() {
		i.chunks = append(i.chunks, bytes.Repeat([]byte{byte(n + 1)}, h.SealedSize(n)))
		i.Chunks = append(i.Chunks, sha256.Sum256(i.chunks[n]))
	}
	i.Entry = ledger.NewChain(h.Book(), ledger.ID{3}, w.Run).Entry(ledger.Item, i.Hash())
	return h.Book(), i
}

func FuzzStream(f *testing.F) {
	book, i := fixed()
	f.Add(i.stream(nil))
	f.Add(i.stream([]int{1}))
	f.Add(i.stream(nil)[:400])
	f.Add(append(i.stream([]int{}), i.stream([]int{1})...))
	f.Add([]byte("\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &Stream{R: bytes.NewReader(b)}
		raw, err := s.Manifest()
		if err != nil {
			return
		}
		o, p := Admit(i.Hash(), book, wire.MaxLength, raw)
		if p != nil {
			return
		}
		if o.Hash != i.Hash() || o.Manifest.Entry.Body != i.Hash() {
			t.Fatal("another item was let in")
		}
		u := NewUpload(o, make([]bool, len(o.Manifest.Chunks)))
		for u.Missing > 0 {
			n, c, err := s.Chunk(u.Frame)
			if err != nil {
				break
			}
			if u.Chunk(n, c) == Keep {
				if !bytes.Equal(c, i.chunks[n]) {
					t.Fatalf("chunk %d was taken for another", n)
				}
				u.Kept(n)
			}
		}
		left := 0
		for _, h := range u.Held {
			if !h {
				left++
			}
		}
		if left != u.Missing {
			t.Fatalf("%d chunks are missing, %d are counted", left, u.Missing)
		}
	})
}

func FuzzEntries(f *testing.F) {
	book, i := fixed()
	run := ledger.NewChain(book, ledger.ID{3}, ledger.ID{2}).Entry(ledger.Run, ledger.Hash{})
	f.Add(run.Marshal())
	f.Add(append(run.Marshal(), run.Marshal()...))
	f.Add(i.Entry.Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		es, p := Entries(b)
		if p != nil {
			return
		}
		var again []byte
		for _, e := range es {
			again = append(again, e.Marshal()...)
		}
		if !bytes.Equal(again, b) {
			t.Fatal("entries came back otherwise")
		}
	})
}

func FuzzReceipts(f *testing.F) {
	r := wire.Receipt{Verdict: wire.Received, Hub: "hub.example", Store: ledger.ID{1}, Sequence: 9, Key: 7, Book: ledger.Book{Tenant: "north", Cart: "cart-1"}, Number: 3}
	one := r.Marshal()
	framed := append([]byte{byte(len(one) >> 8), byte(len(one))}, one...)
	f.Add(framed)
	f.Add(append(framed, framed...))
	f.Add(framed[:40])
	f.Fuzz(func(t *testing.T, b []byte) {
		rs, p := Receipts(b)
		if p != nil {
			return
		}
		var again []byte
		for _, r := range rs {
			raw := r.Marshal()
			again = append(append(again, byte(len(raw)>>8), byte(len(raw))), raw...)
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("%x read as %x", b, again)
		}
	})
}
