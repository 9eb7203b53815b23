package wire

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// KeyList is the one list that record and receipt keys come from. The offline root signs it; the claim pins that root;
// the hub never holds it. Its version never goes back; expiry warns and never stops capture.
type KeyList struct {
	Version  uint64       `json:"version"`
	Hub      string       `json:"hub"`
	Issued   time.Time    `json:"issued"`
	Expires  time.Time    `json:"expires"`
	Records  []RecordKey  `json:"records"`
	Receipts []ReceiptKey `json:"receipts"`
}

// RecordKey is what carts seal data keys to.
type RecordKey struct {
	Epoch    uint32 `json:"epoch"`
	Practice bool   `json:"practice"`
	KEM      uint16 `json:"kem"` // RFC 9180 section 7.1: 0x0020 is X25519
	Public   []byte `json:"public"`
}

// ReceiptKey is what receipts and watermarks are signed with.
type ReceiptKey struct {
	ID     uint32            `json:"id"`
	Public ed25519.PublicKey `json:"public"`
}

// Record is the newest record key for care or for practice.
func (l KeyList) Record(practice bool) (k RecordKey, err error) {
	found := false
	for _, r := range l.Records {
		if r.Practice == practice && (!found || r.Epoch > k.Epoch) {
			k, found = r, true
		}
	}
	if !found {
		return k, fmt.Errorf("wire: key list %d has no record key (practice: %t)", l.Version, practice)
	}
	return k, nil
}

// SignedKeyList is the list as it travels: the very bytes that were signed.
type SignedKeyList struct {
	List      json.RawMessage `json:"list"`
	Signature []byte          `json:"signature"`
}

const keyListDomain = "telecart key list v1\x00"

// SignKeyList is done where the offline root is, never on the hub.
func SignKeyList(l KeyList, root ed25519.PrivateKey) (SignedKeyList, error) {
	b, err := json.Marshal(l)
	if err != nil {
		return SignedKeyList{}, fmt.Errorf("wire: %w", err)
	}
	return SignedKeyList{List: b, Signature: ed25519.Sign(root, append([]byte(keyListDomain), b...))}, nil
}

// ErrOldKeyList: the version went back.
var ErrOldKeyList = errors.New("wire: the key list is older than the one held")

// Open checks the signature and that the version has not gone back.
func (s SignedKeyList) Open(root ed25519.PublicKey, held uint64) (l KeyList, err error) {
	if len(root) != ed25519.PublicKeySize || !ed25519.Verify(root, append([]byte(keyListDomain), s.List...), s.Signature) {
		return l, errors.New("wire: the key list is not signed by the offline root that this cart's claim pinned")
	}
	if err := json.Unmarshal(s.List, &l); err != nil {
		return l, malformed("key list: %v", err)
	}
	if l.Version == 0 { // stands for "none yet"
		return l, malformed("key list: version 0; the first one is 1")
	}
	if l.Version < held {
		return l, fmt.Errorf("%w: version %d after %d", ErrOldKeyList, l.Version, held)
	}
	for _, r := range l.Receipts {
		if len(r.Public) != ed25519.PublicKeySize {
			return l, malformed("key list: receipt key %d has %d bytes", r.ID, len(r.Public))
		}
	}
	return l, nil
}
