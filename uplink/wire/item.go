// Package wire has the types that both ends of the link speak, with their canonical bytes.
//
// Parties: the cart seals, numbers and offers items; the hub opens them and signs receipts; a courier or an auditor may
// check any of it unopened. Keys: see seal (data and item keys), keylist.go (record and receipt keys), ledger (device key).
//
// Invariants: every encoding here is canonical (one value, one byte string); every decoder refuses trailing bytes and
// unknown versions, bounds what it allocates by what it was given, and has a fuzz target. Integers are big endian.
package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"telecart/capture/ledger"
)

const (
	// SuiteV1 is HKDF-SHA256, ChaCha20-Poly1305 in 64 KiB chunks, key commitment by HKDF.
	SuiteV1 = 1
	// ChunkSize is the plaintext of every chunk but the last.
	ChunkSize = 64 << 10
	// Overhead is the Poly1305 tag on each chunk.
	Overhead = 16
	// MaxLength bounds one item's padded plaintext: 256 MiB.
	MaxLength = 256 << 20

	headerMagic   = "TCI\x01"
	manifestMagic = "TCM\x01"
	maxName       = 64
)

// Urgency says who goes first in the outbox.
type Urgency uint8

const (
	Routine Urgency = 0
	Urgent  Urgency = 1
)

// Header is the clear header of an item: all that is readable without the record key. It is the associated data of
// every chunk.
//
//	magic "TCI" 01 | suite 1 | kind 1 | urgency 1 | practice 1 | tenant 1+n | cart 1+n | encounter 16 | wrap 16 |
//	salt 32 | commitment 32 | padded length 8
type Header struct {
	Suite      uint8
	Kind       uint8 // capture.Kind
	Urgency    Urgency
	Practice   bool
	Tenant     string
	Cart       string
	Encounter  ledger.ID
	Wrap       ledger.ID // which wrapped data key
	Salt       [32]byte  // new at every sealing attempt
	Commitment [32]byte  // binds the item to one key
	Length     uint64    // of the padded plaintext
}

// ErrMalformed: bytes that are not what they claim to be.
var ErrMalformed = errors.New("wire: malformed")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// Book is the ledger that the item belongs to.
func (h Header) Book() ledger.Book {
	return ledger.Book{Tenant: h.Tenant, Cart: h.Cart, Practice: h.Practice}
}

// Chunks is how many chunks the item has.
func (h Header) Chunks() int { return int((h.Length + ChunkSize - 1) / ChunkSize) }

// SealedSize is the length of chunk i with its tag.
func (h Header) SealedSize(i int) int {
	return int(min(ChunkSize, h.Length-uint64(i)*ChunkSize)) + Overhead
}

// headerRoom is what most headers fit into.
const headerRoom = 256

// Marshal is the canonical form.
func (h Header) Marshal() []byte {
	b := append(append(make([]byte, 0, headerRoom), headerMagic...), h.Suite, h.Kind, byte(h.Urgency), 0)
	if h.Practice {
		b[len(b)-1] = 1
	}
	b = appendName(b, h.Tenant)
	b = appendName(b, h.Cart)
	b = append(b, h.Encounter[:]...)
	b = append(b, h.Wrap[:]...)
	b = append(b, h.Salt[:]...)
	b = append(b, h.Commitment[:]...)
	return binary.BigEndian.AppendUint64(b, h.Length)
}

// UnmarshalHeader reads the canonical form.
func UnmarshalHeader(b []byte) (h Header, err error) {
	r := reader{b: b}
	r.magic(headerMagic, "item header")
	h.Suite, h.Kind, h.Urgency = r.u8(), r.u8(), Urgency(r.u8())
	practice := r.u8()
	h.Practice = practice == 1
	h.Tenant, h.Cart = r.name("tenant"), r.name("cart")
	r.bytes(h.Encounter[:])
	r.bytes(h.Wrap[:])
	r.bytes(h.Salt[:])
	r.bytes(h.Commitment[:])
	h.Length = r.u64()
	switch {
	case r.end("item header") != nil:
	case h.Suite != SuiteV1:
		r.err = malformed("item header: suite %d is not known here", h.Suite)
	case h.Kind == 0 || h.Urgency > Urgent || practice > 1:
		r.err = malformed("item header: kind %d, urgency %d, practice %d", h.Kind, h.Urgency, practice)
	case h.Length == 0 || h.Length > MaxLength || h.Length != PaddedLength(h.Length):
		r.err = malformed("item header: %d is not a padded length up to %d", h.Length, MaxLength)
	}
	return h, r.err
}

// PaddedLength hides an item's exact size: the Padmé scheme (Nikitin et al., PoPETs 2019, section 4: at most 12 %
// more), and never less than 256 bytes.
func PaddedLength(n uint64) uint64 {
	if n <= 256 {
		return 256
	}
	e := bits.Len64(n) - 1
	s := bits.Len(uint(e))
	mask := uint64(1)<<(e-s) - 1
	return (n + mask) &^ mask
}

// ItemHash is SHA-256 over the header and the hashes of the sealed chunks, so that hub, courier and auditor check an
// item unopened and a bad chunk can be named while the rest stays good.
func ItemHash(header []byte, chunks []ledger.Hash) ledger.Hash {
	d := sha256.New()
	d.Write([]byte("telecart item v1\x00"))
	d.Write(binary.BigEndian.AppendUint32(nil, uint32(len(header))))
	d.Write(header)
	d.Write(binary.BigEndian.AppendUint32(nil, uint32(len(chunks))))
	for i := range chunks {
		d.Write(chunks[i][:])
	}
	return ledger.Hash(d.Sum(nil))
}

// Manifest is what is sent of an item before its chunks: everything needed to check each chunk as it comes.
//
//	magic "TCM" 01 | header 2+n | wrap 2+n | entry 105 | chunks 4 | 32 each
type Manifest struct {
	Header []byte // canonical Header
	Wrap   []byte // canonical Wrap
	Entry  ledger.Entry
	Chunks []ledger.Hash
}

// Hash is the item's hash.
func (m Manifest) Hash() ledger.Hash { return ItemHash(m.Header, m.Chunks) }

func (m Manifest) Marshal() []byte {
	b := append(make([]byte, 0, len(manifestMagic)+2+len(m.Header)+2+len(m.Wrap)+ledger.EntrySize+4+32*len(m.Chunks)), manifestMagic...)
	for _, p := range [][]byte{m.Header, m.Wrap} {
		b = binary.BigEndian.AppendUint16(b, uint16(len(p)))
		b = append(b, p...)
	}
	b = append(b, m.Entry.Marshal()...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.Chunks)))
	for i := range m.Chunks {
		b = append(b, m.Chunks[i][:]...)
	}
	return b
}

// MaxManifest bounds an encoded manifest.
const MaxManifest = 4 + 2*(2+4096) + ledger.EntrySize + 4 + 32*(MaxLength/ChunkSize)

// UnmarshalManifest reads a manifest, and the header and wrap inside, and checks that they belong together: the entry
// names this very item, the wrap is the one the header names.
func UnmarshalManifest(b []byte) (m Manifest, h Header, w Wrap, err error) {
	r := reader{b: b}
	r.magic(manifestMagic, "manifest")
	m.Header, m.Wrap = r.field(), r.field()
	entry := make([]byte, ledger.EntrySize)
	r.bytes(entry)
	n := r.u32()
	if r.err == nil && int64(n)*32 != int64(len(r.b)) {
		r.err = malformed("manifest: %d chunks announced, %d bytes of hashes", n, len(r.b))
	}
	if r.err != nil {
		return m, h, w, r.err
	}
	m.Chunks = make([]ledger.Hash, n)
	for i := range m.Chunks {
		r.bytes(m.Chunks[i][:])
	}
	if m.Entry, err = ledger.UnmarshalEntry(entry); err != nil {
		return m, h, w, malformed("manifest: %v", err)
	}
	if h, err = UnmarshalHeader(m.Header); err != nil {
		return m, h, w, err
	}
	if w, err = UnmarshalWrap(m.Wrap); err != nil {
		return m, h, w, err
	}
	switch {
	case h.Chunks() != len(m.Chunks):
		err = malformed("manifest: the header means %d chunks, %d are listed", h.Chunks(), len(m.Chunks))
	case w.ID() != h.Wrap:
		err = malformed("manifest: its wrapped key is not the one the header names")
	case w.Tenant != h.Tenant || w.Cart != h.Cart || w.Encounter != h.Encounter || w.Practice != h.Practice:
		err = malformed("manifest: its wrapped key belongs to another encounter")
	case m.Entry.Kind != ledger.Item || m.Entry.Body != m.Hash():
		err = malformed("manifest: the ledger entry is not about this item")
	}
	return m, h, w, err
}

func appendName(b []byte, s string) []byte { return append(append(b, byte(len(s))), s...) }

// ValidName says whether a tenant's or cart's name can stand in a header: 1 to 64 of a-z 0-9 - .
func ValidName(s string) bool {
	ok := len(s) > 0 && len(s) <= maxName
	for _, c := range []byte(s) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.')
	}
	return ok
}

// reader takes fields off the front and remembers the first thing that was wrong.
type reader struct {
	b   []byte
	err error
}

func (r *reader) take(n int) []byte {
	if r.err != nil || len(r.b) < n {
		if r.err == nil {
			r.err = malformed("%d bytes missing", n-len(r.b))
		}
		return make([]byte, min(n, 64))
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) magic(m, what string) {
	if !bytes.Equal(r.take(len(m)), []byte(m)) {
		r.err = malformed("not a version 1 %s", what)
	}
}

func (r *reader) bytes(dst []byte) { copy(dst, r.take(len(dst))) }
func (r *reader) u8() uint8        { return r.take(1)[0] }
func (r *reader) u32() uint32      { return binary.BigEndian.Uint32(r.take(4)) }
func (r *reader) u64() uint64      { return binary.BigEndian.Uint64(r.take(8)) }

// field is at most 4 KiB with a 16-bit length.
func (r *reader) field() []byte {
	n := int(binary.BigEndian.Uint16(r.take(2)))
	if n > 4096 {
		r.err = malformed("a field of %d bytes", n)
	}
	if r.err != nil {
		return nil
	}
	return bytes.Clone(r.take(n))
}

func (r *reader) name(what string) string {
	s := string(r.take(int(r.u8())))
	if r.err == nil && !ValidName(s) {
		r.err = malformed("%q is no name of a %s", s, what)
	}
	return s
}

func (r *reader) end(what string) error {
	if r.err == nil && len(r.b) > 0 {
		r.err = malformed("%d bytes follow the %s", len(r.b), what)
	}
	return r.err
}
