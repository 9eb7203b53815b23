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
// Memory: the data key lies on a page of its own outside the Go heap, which no core file has and Destroy unmaps. All that is
// derived from it (prk, item keys, cipher states) is made under erase.Do: off registers and stacks at once, off the heap when
// collected. The agent calls erase.Now when an encounter has closed; cmd/telecartd's memory test then reads all memory of the
// real agent, and finds no data key, prk, item key, nor a byte of a still or a clip.
//
// What may stay of a closed encounter until its memory is used again: words of its state as encoding/json last encoded them (its
// pooled buffers); names and numbers that the hub's list of today's patients holds anyway, and what the TLS and WebSocket libraries
// last read of that list; all that the kernel keeps of sockets, and the screen's own process. None of it is written to disk: the
// agent is not dumpable, and does not start where memory can be swapped out readable (uplink/seal/swap).
//
// Invariants: no copy of a data key, prk or item key is in memory after Destroy, the last Seal and erase.Now. Plaintext buffers
// made here are overwritten before they are let go. HPKE does not say who sealed: the ledger's signed head does.
package seal

import (
	"bytes"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"

	"telecart/capture/ledger"
	"telecart/device/kit/planted"
	"telecart/uplink/seal/erase"
	"telecart/uplink/wire"
)

// lengthSize is the true length in front of the body.
const lengthSize = 8

// keySize is that of data keys.
const keySize = 32

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

// Key is an encounter's data key, while it is open. Destroy it when the encounter closes. It is safe for concurrent use.
type Key struct {
	wrap   wire.Wrap
	wrapID ledger.ID
	marsh  []byte          // wrap's canonical form
	bufs   sync.Pool       // *[]byte, of a whole chunk, all zeros
	lost   runtime.Cleanup // for a key that is dropped without Destroy

	mu   sync.RWMutex // held for reading while the page is
	page []byte       // begins with the key; nil: destroyed
	salt *[32]byte    // for a planted bug alone
}

// NewKey draws a data key for an encounter and wraps it.
func (s *Sealer) NewKey(encounter ledger.ID) (*Key, error) {
	kdf, aead := hpke.HKDFSHA256(), hpke.ChaCha20Poly1305()
	w := wire.Wrap{KEM: s.record.KEM, KDF: kdf.ID(), AEAD: aead.ID(), Epoch: s.record.Epoch, Practice: s.book.Practice,
		Tenant: s.book.Tenant, Cart: s.book.Cart, Encounter: encounter, Run: s.run}
	page, err := newPage()
	if err != nil {
		return nil, err
	}
	info, secret := w.Info(), page[:keySize]
	var enc, sealed []byte
	erase.Do(func() {
		rand.Read(secret)
		var sender *hpke.Sender
		if enc, sender, err = hpke.NewSender(s.public, kdf, aead, info); err == nil {
			sealed, err = sender.Seal(nil, secret)
		}
	})
	if err != nil {
		freePage(page)
		return nil, fmt.Errorf("seal: wrap data key: %w", err)
	}
	w.Enc, w.Sealed = bytes.Clone(enc), bytes.Clone(sealed) // not Do's own: they are no secret, and stay
	k := &Key{wrap: w, wrapID: w.ID(), marsh: w.Marshal(), page: page}
	k.lost = runtime.AddCleanup(k, freePage, page)
	return k, nil
}

// Wrap is the key as it may be written down.
func (k *Key) Wrap() wire.Wrap { return k.wrap }

// WrapBytes is the canonical form of Wrap, not to be changed.
func (k *Key) WrapBytes() []byte { return k.marsh }

// Destroy overwrites the key, after the sealing that is under way has drawn on it. Sealing with it fails from then on. What was
// derived from it is garbage when the last Seal has returned; erase.Now zeroes that.
func (k *Key) Destroy() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.page == nil {
		return
	}
	k.lost.Stop()
	freePage(k.page)
	k.page = nil
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
	h, err := k.header(kind, urgency, len(body))
	if err != nil {
		return Sealed{}, err
	}
	s := Sealed{Chunks: make([]ledger.Hash, h.Chunks())}
	s.Bytes, err = k.seal(&h, body, func(i int, sealed []byte) error {
		s.Chunks[i] = sha256.Sum256(sealed)
		return emit(i, sealed)
	})
	if err != nil {
		return Sealed{}, err
	}
	s.Header = h
	s.Hash = wire.ItemHash(s.Bytes, s.Chunks)
	return s, nil
}

// header is an item's, but for its commitment.
func (k *Key) header(kind uint8, urgency wire.Urgency, size int) (wire.Header, error) {
	if size+lengthSize > wire.MaxLength {
		return wire.Header{}, fmt.Errorf("seal: an item of %d bytes; %d fit", size, wire.MaxLength-lengthSize)
	}
	h := wire.Header{Suite: wire.SuiteV1, Kind: kind, Urgency: urgency, Practice: k.wrap.Practice, Tenant: k.wrap.Tenant, Cart: k.wrap.Cart,
		Encounter: k.wrap.Encounter, Wrap: k.wrapID, Length: wire.PaddedLength(uint64(size + lengthSize))}
	rand.Read(h.Salt[:])
	if planted.Is(planted.ReusedNonce) {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.salt == nil {
			k.salt = &h.Salt
		}
		h.Salt = *k.salt
	}
	return h, nil
}

// seal completes the header, gives its canonical form and seals the body. Plaintext is copied for the first and the last chunk alone: the first has
// the length in front, the last the padding behind.
func (k *Key) seal(h *wire.Header, body []byte, emit func(i int, sealed []byte) error) (header []byte, err error) {
	aead, err := k.cipher(h)
	if err != nil {
		return nil, err
	}
	header = h.Marshal()
	chunks := h.Chunks()
	whole := k.buffer()
	defer k.bufs.Put(whole)
	buf := (*whole)[:h.SealedSize(0)] // no chunk is larger
	defer clear(buf)
	at := -lengthSize // of the body
	for i := range chunks {
		n := h.SealedSize(i) - wire.Overhead
		plain := buf[:n]
		if at >= 0 && at+n <= len(body) {
			plain = body[at : at+n]
		} else {
			fill(plain, body, at)
		}
		at += n
		var sealed []byte
		once := nonce(i, i == chunks-1)
		erase.Do(func() { sealed = aead.Seal(buf[:0], once, plain, header) })
		if err := emit(i, sealed); err != nil {
			return nil, err
		}
	}
	return header, nil
}

// buffer is one for a chunk.
func (k *Key) buffer() *[]byte {
	if b, ok := k.bufs.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, wire.ChunkSize+wire.Overhead)
	return &b
}

// fill copies the body from at on, with its length before it and zeros behind.
func fill(plain, body []byte, at int) {
	n := 0
	if at < 0 {
		binary.BigEndian.PutUint64(plain, uint64(len(body)))
		n, at = lengthSize, 0
	}
	if at < len(body) {
		n += copy(plain[n:], body[at:])
	}
	clear(plain[n:])
}

// cipher derives the item's key, and sets the header's commitment.
func (k *Key) cipher(h *wire.Header) (aead sealer, err error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.page == nil {
		return nil, ErrClosed
	}
	erase.Do(func() {
		item := itemKey((*[keySize]byte)(k.page), &h.Salt)
		h.Commitment = item.commitment
		aead, err = chacha20poly1305.New(item.key[:])
	})
	return aead, err
}

// sealer is what sealing needs of an AEAD.
type sealer interface {
	Seal(dst, nonce, plaintext, additionalData []byte) []byte
}

func nonce(chunk int, final bool) []byte {
	n := make([]byte, chacha20poly1305.NonceSize)
	binary.BigEndian.PutUint64(n[3:11], uint64(chunk))
	if final {
		n[11] = 1
	}
	return n
}
