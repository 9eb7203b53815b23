// Package seal makes items unreadable to whoever finds the cart, and opens them at the hub.
//
// Parties: the cart seals (Sealer, Key); the hub opens (Records). The cart can't open what it sealed once the key is gone.
//
// Keys: one random 32-byte data key per encounter and agent run, in memory only (Key). Written down it exists only as a
// wire.Wrap: HPKE base mode (RFC 9180, HKDF-SHA256, ChaCha20-Poly1305) to the hub's record key, its info naming domain,
// suite, cart, encounter, run and epoch. Item key and key commitment = HKDF-SHA256(data key, salt), the salt random and new
// at every attempt, so that no nonce can repeat under one key however often an item is sealed again.
//
// Format: plaintext = length (8, big endian) | body | zeros up to the padded length; cut into 64 KiB chunks; chunk i is
// ChaCha20-Poly1305 under the item key, nonce = i (11 bytes, big endian) | 1 if it is the last, else 0; associated data = the
// clear header. The order and the end of the chunks are therefore authenticated.
//
// Invariants: plaintext buffers made here are overwritten before they are let go. HPKE does not say who sealed: the
// ledger's signed head does.
package seal

import (
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"

	"telecart/capture/ledger"
	"telecart/uplink/wire"
)

// lengthSize is the true length in front of the body.
const lengthSize = 8

// Sealer draws data keys for one book (care or practice) in one run of the agent.
type Sealer struct {
	book   ledger.Book
	run    ledger.ID
	record wire.RecordKey
	public hpke.PublicKey
}

// NewSealer checks the record key.
func NewSealer(book ledger.Book, run ledger.ID, record wire.RecordKey) (*Sealer, error) {
	kem, err := hpke.NewKEM(record.KEM)
	if err != nil {
		return nil, fmt.Errorf("seal: record key of epoch %d: %w", record.Epoch, err)
	}
	pub, err := kem.NewPublicKey(record.Public)
	if err != nil {
		return nil, fmt.Errorf("seal: record key of epoch %d: %w", record.Epoch, err)
	}
	if record.Practice != book.Practice {
		return nil, errors.New("seal: practice and care have record keys of their own")
	}
	return &Sealer{book: book, run: run, record: record, public: pub}, nil
}

// Key is an encounter's data key, while it is open. Destroy it when the encounter closes.
type Key struct {
	secret [32]byte
	wrap   wire.Wrap
	wrapID ledger.ID
	dead   bool
}

// NewKey draws a data key for an encounter and wraps it.
func (s *Sealer) NewKey(encounter ledger.ID) (*Key, error) {
	kdf, aead := hpke.HKDFSHA256(), hpke.ChaCha20Poly1305()
	k := &Key{wrap: wire.Wrap{KEM: s.record.KEM, KDF: kdf.ID(), AEAD: aead.ID(), Epoch: s.record.Epoch, Practice: s.book.Practice,
		Tenant: s.book.Tenant, Cart: s.book.Cart, Encounter: encounter, Run: s.run}}
	rand.Read(k.secret[:])
	enc, sender, err := hpke.NewSender(s.public, kdf, aead, k.wrap.Info())
	if err != nil {
		return nil, fmt.Errorf("seal: wrap data key: %w", err)
	}
	if k.wrap.Sealed, err = sender.Seal(nil, k.secret[:]); err != nil {
		return nil, fmt.Errorf("seal: wrap data key: %w", err)
	}
	k.wrap.Enc = enc
	k.wrapID = k.wrap.ID()
	return k, nil
}

// Wrap is the key as it may be written down.
func (k *Key) Wrap() wire.Wrap { return k.wrap }

// Destroy overwrites the key. Sealing with it fails from then on.
func (k *Key) Destroy() {
	clear(k.secret[:])
	k.dead = true
}

// ErrClosed: the encounter's key is gone.
var ErrClosed = errors.New("seal: the encounter is closed; its key is gone")

// Sealed is a sealed item without its chunks.
type Sealed struct {
	Header wire.Header
	Bytes  []byte // canonical header
	Chunks []ledger.Hash
	Hash   ledger.Hash // of the item
}

// Seal seals one item's body. Each chunk goes to emit in order; emit must not keep the slice.
func (k *Key) Seal(kind uint8, urgency wire.Urgency, body []byte, emit func(i int, sealed []byte) error) (Sealed, error) {
	if k.dead {
		return Sealed{}, ErrClosed
	}
	if len(body)+lengthSize > wire.MaxLength {
		return Sealed{}, fmt.Errorf("seal: an item of %d bytes; %d fit", len(body), wire.MaxLength-lengthSize)
	}
	h := wire.Header{Suite: wire.SuiteV1, Kind: kind, Urgency: urgency, Practice: k.wrap.Practice, Tenant: k.wrap.Tenant, Cart: k.wrap.Cart,
		Encounter: k.wrap.Encounter, Wrap: k.wrapID, Length: wire.PaddedLength(uint64(len(body) + lengthSize))}
	rand.Read(h.Salt[:])
	item, err := itemKey(k.secret[:], &h)
	if err != nil {
		return Sealed{}, err
	}
	defer clear(item)
	aead, err := chacha20poly1305.New(item)
	if err != nil {
		return Sealed{}, fmt.Errorf("seal: %w", err)
	}
	s := Sealed{Header: h, Bytes: h.Marshal(), Chunks: make([]ledger.Hash, h.Chunks())}
	buf := make([]byte, wire.ChunkSize+wire.Overhead)
	defer clear(buf)
	binary.BigEndian.PutUint64(buf, uint64(len(body)))
	at := lengthSize
	for i := range s.Chunks {
		n := h.SealedSize(i) - wire.Overhead
		used := at + copy(buf[at:n], body)
		body = body[used-at:]
		clear(buf[used:n])
		sealed := aead.Seal(buf[:0], nonce(i, i == len(s.Chunks)-1), buf[:n], s.Bytes)
		s.Chunks[i] = sha256.Sum256(sealed)
		if err := emit(i, sealed); err != nil {
			return Sealed{}, err
		}
		at = 0
	}
	s.Hash = wire.ItemHash(s.Bytes, s.Chunks)
	return s, nil
}

// itemKey derives the item key, and sets the header's commitment or checks it if it is set.
func itemKey(secret []byte, h *wire.Header) ([]byte, error) {
	prk, err := hkdf.Extract(sha256.New, secret, h.Salt[:])
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	defer clear(prk)
	key, err := hkdf.Expand(sha256.New, prk, "telecart item key v1", chacha20poly1305.KeySize)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	commit, err := hkdf.Expand(sha256.New, prk, "telecart key commitment v1", len(h.Commitment))
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	if h.Commitment == [32]byte{} {
		copy(h.Commitment[:], commit)
	} else if subtle.ConstantTimeCompare(commit, h.Commitment[:]) != 1 {
		return nil, fmt.Errorf("%w: its header commits to another key", ErrOpen)
	}
	return key, nil
}

func nonce(chunk int, final bool) []byte {
	n := make([]byte, chacha20poly1305.NonceSize)
	binary.BigEndian.PutUint64(n[3:11], uint64(chunk))
	if final {
		n[11] = 1
	}
	return n
}
