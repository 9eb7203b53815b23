package wire

import (
	"crypto/sha256"
	"encoding/binary"

	"telecart/capture/ledger"
)

const wrapMagic = "TCW\x01"

// Wrap is a data key as it may be written down: HPKE-sealed (RFC 9180, base mode) to the hub's record key. One per
// encounter and agent run.
//
//	magic "TCW" 01 | kem 2 | kdf 2 | aead 2 | epoch 4 | practice 1 | tenant 1+n | cart 1+n | encounter 16 | run 16 |
//	enc 2+n | sealed key 2+n
type Wrap struct {
	KEM, KDF, AEAD uint16 // RFC 9180 section 7; stored because hybrids still follow a draft
	Epoch          uint32 // of the record key
	Practice       bool
	Tenant, Cart   string
	Encounter      ledger.ID
	Run            ledger.ID
	Enc            []byte
	Sealed         []byte
}

func (w Wrap) context() []byte {
	b := []byte(wrapMagic)
	for _, id := range []uint16{w.KEM, w.KDF, w.AEAD} {
		b = binary.BigEndian.AppendUint16(b, id)
	}
	b = append(binary.BigEndian.AppendUint32(b, w.Epoch), 0)
	if w.Practice {
		b[len(b)-1] = 1
	}
	b = appendName(b, w.Tenant)
	b = appendName(b, w.Cart)
	b = append(b, w.Encounter[:]...)
	return append(b, w.Run[:]...)
}

// Info is HPKE's info: a wrapped key opens only for the domain, suite, cart, encounter, run and epoch it was made for.
func (w Wrap) Info() []byte { return append([]byte("telecart data key v1\x00"), w.context()...) }

// Marshal is the canonical form.
func (w Wrap) Marshal() []byte {
	b := w.context()
	for _, p := range [][]byte{w.Enc, w.Sealed} {
		b = binary.BigEndian.AppendUint16(b, uint16(len(p)))
		b = append(b, p...)
	}
	return b
}

// ID names the wrap: the first half of the SHA-256 of its canonical form.
func (w Wrap) ID() ledger.ID {
	d := sha256.Sum256(w.Marshal())
	return ledger.ID(d[:16])
}

// UnmarshalWrap reads the canonical form.
func UnmarshalWrap(b []byte) (w Wrap, err error) {
	r := reader{b: b}
	r.magic(wrapMagic, "wrapped key")
	w.KEM, w.KDF, w.AEAD = r.u16(), r.u16(), r.u16()
	w.Epoch = r.u32()
	practice := r.u8()
	w.Practice = practice == 1
	w.Tenant, w.Cart = r.name("tenant"), r.name("cart")
	r.bytes(w.Encounter[:])
	r.bytes(w.Run[:])
	w.Enc, w.Sealed = r.field(), r.field()
	if r.end("wrapped key") == nil && practice > 1 {
		r.err = malformed("wrapped key: practice %d", practice)
	}
	return w, r.err
}

func (r *reader) u16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
