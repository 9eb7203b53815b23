package wire

import (
	"bytes"
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

// ErrTwoKeyLists: the root signed two lists under one version. Nobody can say which is right, so the one held stays.
var ErrTwoKeyLists = errors.New("wire: another key list of the version held; sign a new list with a higher version")

// Differs says whether this is another list than the one held although both bear one version.
func (s SignedKeyList) Differs(version uint64, held SignedKeyList, heldVersion uint64) bool {
	return version == heldVersion && !bytes.Equal(s.List, held.List)
}

// Bounds of a list: epochs are added once or twice a year, and dropped from it when they are destroyed.
const (
	MaxKeyList     = 64 << 10
	maxListedKeys  = 256
	maxListedBytes = 4 << 10 // of one public key: a post-quantum KEM's has about 1,200
)

// Open checks the signature and that the version has not gone back.
func (s SignedKeyList) Open(root ed25519.PublicKey, held uint64) (l KeyList, err error) {
	if len(root) != ed25519.PublicKeySize || !ed25519.Verify(root, append([]byte(keyListDomain), s.List...), s.Signature) {
		return l, errors.New("wire: the key list is not signed by the offline root that this cart's claim pinned")
	}
	if len(s.List) > MaxKeyList {
		return l, malformed("key list: %d bytes; at most %d", len(s.List), MaxKeyList)
	}
	if err := json.Unmarshal(s.List, &l); err != nil {
		return KeyList{}, malformed("key list: %v", err)
	}
	if err := l.check(); err != nil {
		return KeyList{}, err
	}
	if l.Version < held {
		return KeyList{}, fmt.Errorf("%w: version %d after %d", ErrOldKeyList, l.Version, held)
	}
	return l, nil
}

// check refuses a list that says two things at once: which key an epoch means must never depend on who reads.
func (l KeyList) check() error {
	if l.Version == 0 { // stands for "none yet"
		return malformed("key list: version 0; the first one is 1")
	}
	if len(l.Records) > maxListedKeys || len(l.Receipts) > maxListedKeys {
		return malformed("key list: %d record keys, %d receipt keys; at most %d", len(l.Records), len(l.Receipts), maxListedKeys)
	}
	type name struct {
		practice bool
		number   uint32
	}
	records, receipts := map[name]bool{}, map[uint32]bool{}
	for _, r := range l.Records {
		n := name{r.Practice, r.Epoch}
		if r.Epoch == 0 || records[n] || len(r.Public) == 0 || len(r.Public) > maxListedBytes {
			return malformed("key list: record key of epoch %d (practice: %t) has %d bytes, or is there twice", r.Epoch, r.Practice, len(r.Public))
		}
		records[n] = true
	}
	for _, r := range l.Receipts {
		if receipts[r.ID] || len(r.Public) != ed25519.PublicKeySize {
			return malformed("key list: receipt key %d has %d bytes, or is there twice", r.ID, len(r.Public))
		}
		receipts[r.ID] = true
	}
	return nil
}
