package seal

import (
	"crypto/hpke"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"

	"telecart/device/kit/planted"
	"telecart/uplink/wire"
)

var (
	// ErrOpen: the item does not open. It was altered, or is not for this key.
	ErrOpen = errors.New("seal: the item does not open")
	// ErrNoKey: the hub does not hold the record key of that epoch.
	ErrNoKey = errors.New("seal: no record key of that epoch here")
)

// RecordKey is one private record key of the hub.
type RecordKey struct {
	Epoch    uint32 `json:"epoch"`
	Practice bool   `json:"practice"`
	KEM      uint16 `json:"kem"`
	Private  []byte `json:"private"`
}

// NewRecordKey draws a record key (RFC 9180 section 7.1: kem 0x0020 is X25519).
func NewRecordKey(epoch uint32, practice bool, kem uint16) (RecordKey, wire.RecordKey, error) {
	k, err := hpke.NewKEM(kem)
	if err != nil {
		return RecordKey{}, wire.RecordKey{}, fmt.Errorf("seal: %w", err)
	}
	private, err := k.GenerateKey()
	if err != nil {
		return RecordKey{}, wire.RecordKey{}, fmt.Errorf("seal: %w", err)
	}
	b, err := private.Bytes()
	if err != nil {
		return RecordKey{}, wire.RecordKey{}, fmt.Errorf("seal: %w", err)
	}
	return RecordKey{epoch, practice, kem, b}, wire.RecordKey{Epoch: epoch, Practice: practice, KEM: kem, Public: private.PublicKey().Bytes()}, nil
}

// Records opens items with the hub's record keys. It is safe for concurrent use.
type Records struct {
	keys map[recordID]hpke.PrivateKey
}

type recordID struct {
	epoch    uint32
	practice bool
	kem      uint16
}

// NewRecords loads the private record keys.
func NewRecords(keys []RecordKey) (*Records, error) {
	r := &Records{keys: map[recordID]hpke.PrivateKey{}}
	for _, k := range keys {
		kem, err := hpke.NewKEM(k.KEM)
		if err != nil {
			return nil, fmt.Errorf("seal: record key of epoch %d: %w", k.Epoch, err)
		}
		p, err := kem.NewPrivateKey(k.Private)
		if err != nil {
			return nil, fmt.Errorf("seal: record key of epoch %d: %w", k.Epoch, err)
		}
		r.keys[recordID{k.Epoch, k.Practice, k.KEM}] = p
	}
	return r, nil
}

// Open opens one item. header is the canonical form of h; chunks gives sealed chunk i; sink takes the body in order,
// without length and padding, and must not keep the slice. What sink was given counts only if Open returns nil.
func (r *Records) Open(w wire.Wrap, header []byte, h wire.Header, chunks func(i int) ([]byte, error), sink func(plain []byte) error) error {
	private, ok := r.keys[recordID{w.Epoch, w.Practice, w.KEM}]
	if !ok {
		return fmt.Errorf("%w: epoch %d, practice %t", ErrNoKey, w.Epoch, w.Practice)
	}
	secret, err := unwrap(private, w)
	if err != nil {
		return err
	}
	defer clear(secret)
	return openWith(secret, header, h, chunks, sink)
}

// openWith opens an item with its data key.
func openWith(secret, header []byte, h wire.Header, chunks func(i int) ([]byte, error), sink func(plain []byte) error) error {
	item := itemKey((*[keySize]byte)(secret), &h.Salt)
	if subtle.ConstantTimeCompare(item.commitment[:], h.Commitment[:]) != 1 {
		return fmt.Errorf("%w: its header commits to another key", ErrOpen)
	}
	aead, err := chacha20poly1305.New(item.key[:])
	if err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	return openChunks(aead, header, h, chunks, sink)
}

func unwrap(private hpke.PrivateKey, w wire.Wrap) ([]byte, error) {
	return openKey(private, w.KDF, w.AEAD, w.Enc, w.Sealed, w.Info())
}

func openKey(private hpke.PrivateKey, kdfID, aeadID uint16, enc, sealed, info []byte) ([]byte, error) {
	kdf, err := hpke.NewKDF(kdfID)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrOpen, err)
	}
	aead, err := hpke.NewAEAD(aeadID)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrOpen, err)
	}
	recipient, err := hpke.NewRecipient(enc, private, kdf, aead, info)
	if err != nil {
		return nil, fmt.Errorf("%w: data key: %v", ErrOpen, err)
	}
	secret, err := recipient.Open(nil, sealed)
	if err != nil || len(secret) != keySize {
		return nil, fmt.Errorf("%w: its data key does not unwrap", ErrOpen)
	}
	return secret, nil
}

// cipher is what openChunks needs of an AEAD.
type cipher interface {
	Open(dst, nonce, ciphertext, additionalData []byte) ([]byte, error)
}

func openChunks(aead cipher, header []byte, h wire.Header, chunks func(i int) ([]byte, error), sink func([]byte) error) error {
	buf := make([]byte, 0, wire.ChunkSize)
	defer func() { clear(buf[:cap(buf)]) }()
	left := uint64(0) // of the body
	n := h.Chunks()
	for i := range n {
		sealed, err := chunks(i)
		if err != nil && i > 0 && planted.Is(planted.IgnoredFinal) {
			return nil // where the chunks end the item ends: none of them had to be the last
		}
		if err != nil {
			return err
		}
		if len(sealed) != h.SealedSize(i) {
			return fmt.Errorf("%w: chunk %d has %d bytes, not %d", ErrOpen, i, len(sealed), h.SealedSize(i))
		}
		plain, err := aead.Open(buf[:0], nonce(i, i == n-1), sealed, header)
		if err != nil {
			return fmt.Errorf("%w: chunk %d", ErrOpen, i)
		}
		if i == 0 {
			left = binary.BigEndian.Uint64(plain)
			if left > h.Length-lengthSize || wire.PaddedLength(left+lengthSize) != h.Length {
				return fmt.Errorf("%w: its length is not what its padding says", ErrOpen)
			}
			plain = plain[lengthSize:]
		}
		part := plain[:min(left, uint64(len(plain)))]
		left -= uint64(len(part))
		if len(part) > 0 {
			if err := sink(part); err != nil {
				return err
			}
		}
	}
	return nil
}
