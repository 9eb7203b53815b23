package wire

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"

	"telecart/capture/ledger"
)

const receiptMagic = "TCR\x01"

// Verdict is what a receipt says.
type Verdict uint8

const (
	// Received: the hub opened every chunk and made item, index and this receipt durable.
	Received Verdict = 1
	// Refused: the item does not open; it stays on the cart.
	Refused Verdict = 2
)

// Receipt is the hub's signed word about one item.
//
//	magic "TCR" 01 | verdict 1 | hub 1+n | store incarnation 16 | sequence 8 | key 4 | tenant 1+n | cart 1+n | practice 1 |
//	incarnation 16 | number 8 | prev 32 | item 32 | signature 64
//
// The signature is Ed25519 over "telecart receipt v1", a zero byte, and all that stands before it.
type Receipt struct {
	Verdict     Verdict
	Hub         string
	Store       ledger.ID // the hub store's incarnation: a hub restored from backup takes a new one
	Sequence    uint64    // position in that store; backup watermarks count it
	Key         uint32    // which receipt key of the key list signed
	Book        ledger.Book
	Incarnation ledger.ID
	Number      uint64
	Prev        ledger.Hash
	Item        ledger.Hash
	Signature   [ed25519.SignatureSize]byte
}

func (r Receipt) body() []byte {
	b := appendName(append([]byte(receiptMagic), byte(r.Verdict)), r.Hub)
	b = append(b, r.Store[:]...)
	b = binary.BigEndian.AppendUint64(b, r.Sequence)
	b = binary.BigEndian.AppendUint32(b, r.Key)
	b = appendName(b, r.Book.Tenant)
	b = append(appendName(b, r.Book.Cart), 0)
	if r.Book.Practice {
		b[len(b)-1] = 1
	}
	b = append(b, r.Incarnation[:]...)
	b = binary.BigEndian.AppendUint64(b, r.Number)
	b = append(b, r.Prev[:]...)
	return append(b, r.Item[:]...)
}

// Sign fills in the signature.
func (r *Receipt) Sign(key ed25519.PrivateKey) {
	copy(r.Signature[:], ed25519.Sign(key, append([]byte("telecart receipt v1\x00"), r.body()...)))
}

// Marshal is the canonical form with the signature.
func (r Receipt) Marshal() []byte { return append(r.body(), r.Signature[:]...) }

// MaxReceipt bounds an encoded receipt.
const MaxReceipt = 4 + 1 + 65 + 16 + 8 + 4 + 65 + 65 + 1 + 16 + 8 + 32 + 32 + 64

// UnmarshalReceipt reads the canonical form. It checks no signature: Verify does.
func UnmarshalReceipt(b []byte) (r Receipt, err error) {
	in := reader{b: b}
	in.magic(receiptMagic, "receipt")
	r.Verdict = Verdict(in.u8())
	r.Hub = in.name("hub")
	in.bytes(r.Store[:])
	r.Sequence, r.Key = in.u64(), in.u32()
	r.Book.Tenant, r.Book.Cart = in.name("tenant"), in.name("cart")
	practice := in.u8()
	r.Book.Practice = practice == 1
	in.bytes(r.Incarnation[:])
	r.Number = in.u64()
	in.bytes(r.Prev[:])
	in.bytes(r.Item[:])
	in.bytes(r.Signature[:])
	if in.end("receipt") == nil && (practice > 1 || r.Verdict != Received && r.Verdict != Refused) {
		in.err = malformed("receipt: verdict %d, practice %d", r.Verdict, practice)
	}
	return r, in.err
}

// Verify checks that the receipt is about this entry of this book and signed by a receipt key of the list.
func (r Receipt) Verify(keys KeyList, book ledger.Book, e ledger.Entry) error {
	switch {
	case r.Book != book || r.Incarnation != e.Incarnation || r.Number != e.Number || r.Prev != e.Prev || r.Item != e.Body:
		return fmt.Errorf("wire: the receipt is about another item than entry %d", e.Number)
	case r.Hub != keys.Hub:
		return fmt.Errorf("wire: the receipt is of hub %q, not %q", r.Hub, keys.Hub)
	}
	for _, k := range keys.Receipts {
		if k.ID == r.Key && ed25519.Verify(k.Public, append([]byte("telecart receipt v1\x00"), r.body()...), r.Signature[:]) {
			return nil
		}
	}
	return fmt.Errorf("wire: the receipt for entry %d is not signed by a receipt key of the hub's list", e.Number)
}

// Watermark is the hub's signed word that its backup holds everything up to Sequence: only then may a cart erase.
type Watermark struct {
	Hub       string    `json:"hub"`
	Store     ledger.ID `json:"store"`
	Sequence  uint64    `json:"sequence"` // receipts with a sequence up to and including this one are backed up
	Key       uint32    `json:"key"`
	Signature []byte    `json:"signature"`
}

func (w Watermark) message() []byte {
	b := appendName([]byte("telecart backup watermark v1\x00"), w.Hub)
	b = append(b, w.Store[:]...)
	b = binary.BigEndian.AppendUint64(b, w.Sequence)
	return binary.BigEndian.AppendUint32(b, w.Key)
}

// Sign fills in the signature.
func (w *Watermark) Sign(key ed25519.PrivateKey) { w.Signature = ed25519.Sign(key, w.message()) }

// Verify checks the watermark against the key list.
func (w Watermark) Verify(keys KeyList) error {
	for _, k := range keys.Receipts {
		if w.Hub == keys.Hub && k.ID == w.Key && ed25519.Verify(k.Public, w.message(), w.Signature) {
			return nil
		}
	}
	return fmt.Errorf("wire: the backup watermark is not signed by a receipt key of hub %q", keys.Hub)
}
