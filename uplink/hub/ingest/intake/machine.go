package intake

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"net/http"

	"telecart/capture/ledger"
	"telecart/uplink/wire"
)

// Offer is an item that a cart offers, as its manifest says.
type Offer struct {
	Manifest wire.Manifest
	Header   wire.Header
	Wrap     wire.Wrap
	Hash     ledger.Hash
}

// Admit judges a manifest that came for the item named in the URL, from the cart of the book.
func Admit(url ledger.Hash, book ledger.Book, maxItem uint64, raw []byte) (o Offer, p *wire.Problem) {
	m, h, w, err := wire.UnmarshalManifest(raw)
	if err != nil {
		return o, wire.NewProblem(http.StatusBadRequest, "malformed", "The item's manifest can't be read", err.Error())
	}
	o = Offer{m, h, w, m.Hash()}
	switch {
	case h.Tenant != book.Tenant || h.Cart != book.Cart:
		return o, wire.NewProblem(http.StatusForbidden, "foreign-cart", "The item belongs to another cart",
			fmt.Sprintf("it is of %s/%s, the certificate is of %s/%s", h.Tenant, h.Cart, book.Tenant, book.Cart))
	case h.Practice != book.Practice:
		return o, wire.NewProblem(http.StatusBadRequest, "wrong-book", "The address says practice or care, the item the other",
			fmt.Sprintf("practice is %t in the item", h.Practice))
	case o.Hash != url:
		return o, wire.NewProblem(http.StatusUnprocessableEntity, "wrong-hash", "The item is not the one in the address", "it is "+o.Hash.String())
	case h.Length > maxItem:
		return o, wire.NewProblem(http.StatusRequestEntityTooLarge, "too-large", "The item is larger than this hub takes",
			fmt.Sprintf("%d bytes; at most %d", h.Length, maxItem))
	case m.Entry.Number > math.MaxInt64:
		return o, wire.NewProblem(http.StatusBadRequest, "malformed", "The ledger entry's number is impossible", "")
	}
	return o, nil
}

// Fate is what happens to a chunk.
type Fate uint8

const (
	Keep    Fate = iota // new and good
	Again               // already here
	Damaged             // not what the manifest says
)

// Upload is how far an item has come.
type Upload struct {
	Offer
	Held    []bool
	Missing int
	Damaged int // the first damaged chunk of this stream; -1: none
	seen    []bool
}

// NewUpload begins with the chunks that are held already.
func NewUpload(o Offer, held []bool) *Upload {
	u := &Upload{Offer: o, Held: held, seen: make([]bool, len(held)), Damaged: -1}
	for _, h := range held {
		if !h {
			u.Missing++
		}
	}
	return u
}

// Frame says whether a frame's index and length can be right. A chunk comes at most once in a stream, which bounds it.
func (u *Upload) Frame(i, n uint32) error {
	switch {
	case int64(i) >= int64(len(u.Held)):
		return fmt.Errorf("there is no chunk %d: the item has %d", i, len(u.Held))
	case int64(n) != int64(u.Header.SealedSize(int(i))):
		return fmt.Errorf("chunk %d has %d bytes, not %d", i, u.Header.SealedSize(int(i)), n)
	case u.seen[i]:
		return fmt.Errorf("chunk %d comes twice", i)
	}
	u.seen[i] = true
	return nil
}

// Chunk judges a chunk's bytes.
func (u *Upload) Chunk(i int, b []byte) Fate {
	switch {
	case u.Held[i]:
		return Again
	case ledger.Hash(sha256.Sum256(b)) != u.Manifest.Chunks[i]:
		if u.Damaged < 0 {
			u.Damaged = i
		}
		return Damaged
	}
	return Keep
}

// Kept notes that a chunk was written.
func (u *Upload) Kept(i int) { u.Held[i], u.Missing = true, u.Missing-1 }

// MaxLedger bounds one POST of ledger entries.
const MaxLedger = 1 << 20

// Entries reads concatenated entries that are no items: those come with the item itself.
func Entries(b []byte) ([]ledger.Entry, *wire.Problem) {
	bad := func(format string, args ...any) *wire.Problem {
		return wire.NewProblem(http.StatusBadRequest, "malformed", "The ledger entries can't be read", fmt.Sprintf(format, args...))
	}
	if len(b) == 0 || len(b)%ledger.EntrySize != 0 {
		return nil, bad("%d bytes are no whole number of entries of %d", len(b), ledger.EntrySize)
	}
	var out []ledger.Entry
	for ; len(b) > 0; b = b[ledger.EntrySize:] {
		e, err := ledger.UnmarshalEntry(b[:ledger.EntrySize])
		switch {
		case err != nil:
			return nil, bad("%v", err)
		case e.Kind == ledger.Item:
			return nil, bad("entry %d is an item's: it comes with the item", e.Number)
		case e.Number > math.MaxInt64:
			return nil, bad("an impossible number")
		}
		out = append(out, e)
	}
	return out, nil
}

// MaxReceipts bounds one POST of receipts.
const MaxReceipts = 1 << 20

// Receipts reads receipts, each behind its length (2, big endian). It checks no signature.
func Receipts(b []byte) ([]wire.Receipt, *wire.Problem) {
	bad := func(format string, args ...any) *wire.Problem {
		return wire.NewProblem(http.StatusBadRequest, "malformed", "The receipts can't be read", fmt.Sprintf(format, args...))
	}
	var out []wire.Receipt
	for len(b) > 0 {
		if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
			return nil, bad("receipt %d is cut off", len(out))
		}
		n := int(binary.BigEndian.Uint16(b))
		r, err := wire.UnmarshalReceipt(b[2 : 2+n])
		if err != nil {
			return nil, bad("%v", err)
		}
		if r.Number > math.MaxInt64 {
			return nil, bad("an impossible number")
		}
		out, b = append(out, r), b[2+n:]
	}
	if len(out) == 0 {
		return nil, bad("there is none")
	}
	return out, nil
}
