package torture

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"sync"
	"time"

	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// steady is a source of randomness that a seed begins. It takes crypto/rand.Reader's place in the process, so that a run
// can be played again: ids, salts and data keys come out the same.
type steady struct {
	mu sync.Mutex
	r  *mrand.ChaCha8
}

func (s *steady) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.r.Read(b)
}

func newSteady(seed uint64) *steady {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	return &steady{r: mrand.NewChaCha8(key)}
}

// borrowRandom has the process draw from seed until giveBack is called. It doesn't reach what ecdh, ecdsa and hpke draw for
// themselves (Go 1.26 allows that to tests alone): wraps and signatures differ from one playing of a run to the next, and so
// do items' hashes. Nothing that happens may depend on them.
func borrowRandom(seed uint64) (giveBack func()) {
	was := rand.Reader
	rand.Reader = newSteady(seed)
	return func() { rand.Reader = was }
}

// keys are drawn once for a process.
type keys struct {
	device  crypto.Signer
	public  crypto.PublicKey
	root    ed25519.PublicKey
	receipt ed25519.PrivateKey
	records *seal.Records
	list    wire.KeyList
	signed  wire.SignedKeyList
}

const hubName = "hub.example"

func newKeys(issued time.Time) (*keys, error) {
	device, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("torture: %w", err)
	}
	root, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("torture: %w", err)
	}
	receipt, receiptPrivate, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("torture: %w", err)
	}
	k := &keys{device: sameLength{device}, public: device.Public(), root: root, receipt: receiptPrivate}
	k.list = wire.KeyList{Version: 1, Hub: hubName, Issued: issued, Expires: issued.AddDate(1, 0, 0), Receipts: []wire.ReceiptKey{{ID: 7, Public: receipt}}}
	var records []seal.RecordKey
	for _, practice := range []bool{false, true} {
		r, public, err := seal.NewRecordKey(1, practice, 0x0020)
		if err != nil {
			return nil, fmt.Errorf("torture: %w", err)
		}
		records, k.list.Records = append(records, r), append(k.list.Records, public)
	}
	if k.records, err = seal.NewRecords(records); err != nil {
		return nil, fmt.Errorf("torture: %w", err)
	}
	if k.signed, err = wire.SignKeyList(k.list, private); err != nil {
		return nil, fmt.Errorf("torture: %w", err)
	}
	return k, nil
}

// sameLength signs until the signature has 71 bytes, as every second one has: what is written to the disk must not have
// another length when a run is played again.
type sameLength struct{ *ecdsa.PrivateKey }

func (s sameLength) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	for {
		if b, err := s.PrivateKey.Sign(r, digest, opts); err != nil || len(b) == 71 {
			return b, err
		}
	}
}
