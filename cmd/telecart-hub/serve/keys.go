package serve

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/hub/ingest"
	"telecart/uplink/hub/store"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// Files of the keys. root.key never comes near the hub: it is what every cart trusts the key list by.
const (
	rootKeyFile = "root.key"     // offline: the root's Ed25519 seed
	rootPubFile = "root.pub"     // state: its public half
	keyListFile = "keylist.json" // state: signed by the root
	keysFile    = "keys.json"    // state: the hub's private record and receipt keys
	listLife    = 365 * 24 * time.Hour
	x25519      = 0x0020 // RFC 9180 section 7.1
)

// hubKeys are the private keys that the hub works with.
type hubKeys struct {
	Records  []seal.RecordKey `json:"records"`
	Receipts []receiptKey     `json:"receipts"`
}

type receiptKey struct {
	ID   uint32 `json:"id"`
	Seed []byte `json:"seed"`
}

// InitKeys makes the hub's record keys (care and practice) and receipt key in state, and the list of their public halves
// there, signed by the root in offline, which is made if there is none. Keys that are there are never replaced.
func InitKeys(offline, state, hub string, now time.Time) error {
	if !wire.ValidName(hub) {
		return fmt.Errorf("keys: hub %q: want its DNS name in lower case, at most 64 characters", hub)
	}
	if same(offline, state) {
		return errors.New("keys: --offline and --state must be different places: the hub must never hold the offline root")
	}
	path := filepath.Join(state, keysFile)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keys: %s is there already; carts seal to these keys, so they are never replaced here", path)
	}
	root, err := offlineRoot(offline)
	if err != nil {
		return err
	}
	var keys hubKeys
	list := wire.KeyList{Version: 1, Hub: hub, Issued: now.UTC().Truncate(time.Second)}
	list.Expires = list.Issued.Add(listLife)
	for _, practice := range []bool{false, true} {
		private, public, err := seal.NewRecordKey(1, practice, x25519)
		if err != nil {
			return fmt.Errorf("keys: %w", err)
		}
		keys.Records, list.Records = append(keys.Records, private), append(list.Records, public)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	keys.Receipts = []receiptKey{{1, private.Seed()}}
	list.Receipts = []wire.ReceiptKey{{ID: 1, Public: public}}
	if err := os.MkdirAll(state, 0o700); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	// The private keys come last: they are what says that the folder is ready.
	if err := writeList(state, list, root); err != nil {
		return err
	}
	return writeJSON(path, keys)
}

// RenewKeys signs the list anew, for another year.
func RenewKeys(offline, state string, now time.Time) error {
	root, err := readRoot(offline)
	if err != nil {
		return err
	}
	_, list, _, err := readList(state)
	if err != nil {
		return err
	}
	list.Version++
	list.Issued = now.UTC().Truncate(time.Second)
	list.Expires = list.Issued.Add(listLife)
	return writeList(state, list, root)
}

func writeList(state string, list wire.KeyList, root ed25519.PrivateKey) error {
	signed, err := wire.SignKeyList(list, root)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	if err := kit.WriteFile(filepath.Join(state, rootPubFile), root.Public().(ed25519.PublicKey), 0o600); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	return writeJSON(filepath.Join(state, keyListFile), signed)
}

func same(a, b string) bool {
	x, err1 := filepath.Abs(a)
	y, err2 := filepath.Abs(b)
	return err1 != nil || err2 != nil || x == y
}

func offlineRoot(dir string) (ed25519.PrivateKey, error) {
	path := filepath.Join(dir, rootKeyFile)
	b, err := os.ReadFile(path)
	if err == nil {
		return rootOf(b)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("keys: %w", err)
	}
	_, root, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	return root, kit.WriteFile(path, root.Seed(), 0o600)
}

// readRoot is the offline root, which must be there.
func readRoot(dir string) (ed25519.PrivateKey, error) {
	b, err := os.ReadFile(filepath.Join(dir, rootKeyFile))
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	return rootOf(b)
}

func rootOf(seed []byte) (ed25519.PrivateKey, error) {
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("keys: %s has %d bytes, not %d; restore it from its copy", rootKeyFile, len(seed), ed25519.SeedSize)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	return kit.WriteFile(path, b, 0o600)
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// readList is the key list in state, checked against the root's public key beside it.
func readList(state string) (signed wire.SignedKeyList, list wire.KeyList, root [32]byte, err error) {
	pub, err := os.ReadFile(filepath.Join(state, rootPubFile))
	if err == nil && len(pub) != len(root) {
		err = fmt.Errorf("%s has %d bytes", rootPubFile, len(pub))
	}
	if err == nil {
		err = readJSON(filepath.Join(state, keyListFile), &signed)
	}
	if err == nil {
		list, err = signed.Open(pub, 0)
	}
	if err != nil {
		return signed, list, root, fmt.Errorf("keys: %w; run `telecart-hub keys init` first", err)
	}
	return signed, list, [32]byte(pub), nil
}

// readKeys are the private keys in state. The receipt key must be in the list: what isn't there, no cart believes.
func readKeys(state string, list wire.KeyList) (records *seal.Records, sign ingest.ReceiptKey, err error) {
	keys, err := readPrivate(filepath.Join(state, keysFile))
	if err != nil {
		return nil, sign, err
	}
	if records, err = seal.NewRecords(keys.Records); err != nil {
		return nil, sign, fmt.Errorf("keys: %w", err)
	}
	for _, k := range keys.Receipts {
		if len(k.Seed) != ed25519.SeedSize {
			return nil, sign, fmt.Errorf("keys: receipt key %d is damaged", k.ID)
		}
		private := ed25519.NewKeyFromSeed(k.Seed)
		for _, p := range list.Receipts {
			if p.ID == k.ID && p.Public.Equal(private.Public()) && (sign.Private == nil || k.ID > sign.ID) {
				sign = ingest.ReceiptKey{ID: k.ID, Private: private}
			}
		}
	}
	if sign.Private == nil {
		return nil, sign, errors.New("keys: no receipt key here is in the key list; it belongs to another hub's state")
	}
	return records, sign, nil
}

// opener opens items by the record keys, and by the data keys that the hub kept when it destroyed one. Looking one up is
// one row.
func (f *folder) opener(ctx context.Context, records *seal.Records) seal.Opener {
	return seal.Opener{Records: records, Kept: func(tenant string, wrap ledger.ID) (seal.Rewrap, bool, error) {
		k, err := f.store.KeptKey(ctx, tenant, wrap)
		if errors.Is(err, store.ErrNotFound) {
			return k, false, nil
		}
		return k, err == nil, err
	}}
}
