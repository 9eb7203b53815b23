// Package ledger is the cart's hash-chained list of items.
//
// Parties: the cart appends; the hub, a courier and an auditor check, from the entries alone, without opening an item.
//
// Keys: the cart's device key signs the head (Head), at most once a second, because HPKE does not say who sealed an item.
//
// Invariants: numbers have no gaps and begin at 0; each entry names the hash of the one before; entry 0 of an incarnation
// and every start of the agent is a Run entry. An incarnation that took over from a disputed one names the hub's head in
// a Fork entry. Nothing here reads a clock, a disk or the network: the outbox makes entries durable.
package ledger

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

// Hash is a SHA-256.
type Hash [32]byte

// ID is a random 128-bit name: of an incarnation, a run, an encounter.
type ID [16]byte

func (h Hash) String() string { return hex.EncodeToString(h[:]) }
func (i ID) String() string   { return hex.EncodeToString(i[:]) }

// MarshalText and UnmarshalText make hashes and ids hexadecimal in JSON.
func (h Hash) MarshalText() ([]byte, error)  { return []byte(h.String()), nil }
func (i ID) MarshalText() ([]byte, error)    { return []byte(i.String()), nil }
func (h *Hash) UnmarshalText(b []byte) error { return unhex(h[:], b) }
func (i *ID) UnmarshalText(b []byte) error   { return unhex(i[:], b) }

func unhex(dst, src []byte) error {
	if hex.DecodedLen(len(src)) != len(dst) {
		return fmt.Errorf("ledger: %d hexadecimal digits where %d belong", len(src), 2*len(dst))
	}
	_, err := hex.Decode(dst, src)
	return err
}

// NewID draws a random id.
func NewID() (i ID) {
	rand.Read(i[:])
	return i
}

// Kind says what an entry is about.
type Kind uint8

const (
	Item Kind = 1 // Body is the item's hash
	Run  Kind = 2 // the agent started; Body is zero
	Fork Kind = 3 // this incarnation replaces a disputed one; Body is the hub's head there
)

// Entry is one line of the ledger.
type Entry struct {
	Incarnation ID     `json:"incarnation"`
	Number      uint64 `json:"number"`
	Kind        Kind   `json:"kind"`
	Run         ID     `json:"run"`
	Prev        Hash   `json:"prev"`
	Body        Hash   `json:"body"`
}

// EntrySize is the length of an encoded entry: incarnation 16, number 8 (big endian), kind 1, run 16, prev 32, body 32.
const EntrySize = 16 + 8 + 1 + 16 + 32 + 32

// Marshal is the canonical form.
func (e Entry) Marshal() []byte {
	b := make([]byte, 0, EntrySize)
	b = append(b, e.Incarnation[:]...)
	b = binary.BigEndian.AppendUint64(b, e.Number)
	b = append(b, byte(e.Kind))
	b = append(b, e.Run[:]...)
	b = append(b, e.Prev[:]...)
	return append(b, e.Body[:]...)
}

// UnmarshalEntry reads the canonical form and refuses everything else.
func UnmarshalEntry(b []byte) (e Entry, err error) {
	if len(b) != EntrySize {
		return e, fmt.Errorf("ledger: an entry has %d bytes, not %d", EntrySize, len(b))
	}
	copy(e.Incarnation[:], b)
	e.Number = binary.BigEndian.Uint64(b[16:])
	e.Kind = Kind(b[24])
	copy(e.Run[:], b[25:])
	copy(e.Prev[:], b[41:])
	copy(e.Body[:], b[73:])
	if e.Kind < Item || e.Kind > Fork {
		return e, fmt.Errorf("ledger: entry %d is of unknown kind %d", e.Number, e.Kind)
	}
	return e, nil
}

// Hash is what the next entry names.
func (e Entry) Hash() Hash {
	return sha256.Sum256(append([]byte("telecart ledger entry v1\x00"), e.Marshal()...))
}

// Book says whose ledger it is. Practice has a ledger of its own.
type Book struct {
	Tenant   string `json:"tenant"`
	Cart     string `json:"cart"`
	Practice bool   `json:"practice"`
}

// Genesis is what entry 0 of an incarnation names as the one before it.
func (b Book) Genesis(incarnation ID) Hash {
	return sha256.Sum256(b.frame("telecart ledger genesis v1", incarnation[:]))
}

func (b Book) frame(domain string, parts ...[]byte) []byte {
	practice := byte(0)
	if b.Practice {
		practice = 1
	}
	out := append([]byte(domain), 0)
	for _, s := range []string{b.Tenant, b.Cart} {
		out = append(out, byte(len(s)))
		out = append(out, s...)
	}
	out = append(out, practice)
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// Chain is the growing end of a ledger: where the next entry goes.
type Chain struct {
	Incarnation ID
	Run         ID
	Next        uint64
	Head        Hash // of entry Next-1, or the genesis
}

// NewChain begins an incarnation.
func NewChain(b Book, incarnation, run ID) Chain {
	return Chain{Incarnation: incarnation, Run: run, Head: b.Genesis(incarnation)}
}

// Entry is what the next entry would be. It changes nothing: Advance does, once the entry is durable, so that a
// number is never used twice and never left out.
func (c Chain) Entry(k Kind, body Hash) Entry {
	return Entry{Incarnation: c.Incarnation, Number: c.Next, Kind: k, Run: c.Run, Prev: c.Head, Body: body}
}

// Advance moves the end past a durable entry.
func (c Chain) Advance(e Entry) Chain {
	c.Next, c.Head = e.Number+1, e.Hash()
	return c
}

var (
	ErrGap   = errors.New("ledger: a number is missing")
	ErrChain = errors.New("ledger: an entry does not follow from the one before")
)

// Follows checks that e is the next entry of the chain.
func (c Chain) Follows(e Entry) error {
	switch {
	case e.Incarnation != c.Incarnation:
		return fmt.Errorf("%w: entry %d is of incarnation %s, not %s", ErrChain, e.Number, e.Incarnation, c.Incarnation)
	case e.Number != c.Next:
		return fmt.Errorf("%w: entry %d where %d belongs", ErrGap, e.Number, c.Next)
	case e.Prev != c.Head:
		return fmt.Errorf("%w: entry %d", ErrChain, e.Number)
	}
	return nil
}

// Head is the signed end of a ledger.
type Head struct {
	Book
	Incarnation ID     `json:"incarnation"`
	Number      uint64 `json:"number"` // of the last entry
	Hash        Hash   `json:"hash"`
	Signature   []byte `json:"signature"` // ECDSA P-256 over SHA-256, ASN.1
}

func (h Head) digest() []byte {
	d := sha256.Sum256(h.frame("telecart ledger head v1", h.Incarnation[:], binary.BigEndian.AppendUint64(nil, h.Number), h.Hash[:]))
	return d[:]
}

// Sign makes the head of a chain that has at least one entry.
func (c Chain) Sign(b Book, key crypto.Signer) (Head, error) {
	if c.Next == 0 {
		return Head{}, errors.New("ledger: an empty ledger has no head")
	}
	h := Head{Book: b, Incarnation: c.Incarnation, Number: c.Next - 1, Hash: c.Head}
	sig, err := key.Sign(rand.Reader, h.digest(), crypto.SHA256)
	if err != nil {
		return Head{}, fmt.Errorf("ledger: sign head: %w", err)
	}
	h.Signature = sig
	return h, nil
}

// Verify checks the head against the cart's device key.
func (h Head) Verify(pub crypto.PublicKey) error {
	k, ok := pub.(*ecdsa.PublicKey)
	if !ok || !ecdsa.VerifyASN1(k, h.digest(), h.Signature) {
		return fmt.Errorf("ledger: the head of %s/%s is not signed by its device key", h.Tenant, h.Cart)
	}
	return nil
}
