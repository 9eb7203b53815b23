package serve

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"telecart/device/kit"
	"telecart/uplink/hub/store"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// RotateRequest asks for new record keys. The offline root signs here, from Offline, or elsewhere: then the list goes to
// Out, and comes back by InstallKeys.
type RotateRequest struct {
	State   string
	Backup  string // folder that gets the new private keys before any cart may seal to them
	Offline string
	Out     string
	Receipt bool // draw a new receipt key too
}

// errRunning: rotating and destroying need the hub to stand still. Carts keep what they capture meanwhile, and take the new
// list as soon as it is back.
var errRunning = errors.New("keys: the hub is running; stop it for this (carts keep what they capture, and get the new list when it is back)")

// stopped opens the folder of a hub that does not run.
func stopped(ctx context.Context, state string) (*folder, error) {
	f, err := openFolder(ctx, state, store.Options{Clock: kit.System{}})
	if errors.Is(err, store.ErrInUse) {
		return nil, errRunning
	}
	return f, err
}

// RotateKeys adds an epoch for care and practice. It says on out what it did.
func RotateKeys(ctx context.Context, r RotateRequest, now time.Time, out io.Writer) (err error) {
	if (r.Offline == "") == (r.Out == "") {
		return errors.New("keys: give either --offline, to sign here, or --out, to sign where the offline root is")
	}
	if same(r.Backup, r.State) {
		return errors.New("keys: --backup and --state must be different places: keys that are in one place alone can be lost with all that carts seal to them")
	}
	f, err := stopped(ctx, r.State)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.store.Close()) }()
	if err := f.hasBackup(r.Backup); err != nil {
		return err
	}
	list, err := f.nextKeys(ctx, r, now)
	if err != nil {
		return err
	}
	if r.Out != "" {
		b, err := json.MarshalIndent(list, "", "  ")
		if err == nil {
			err = kit.WriteFile(r.Out, append(b, '\n'), 0o600)
		}
		if err != nil {
			return fmt.Errorf("keys: %w", err)
		}
		describeList(out, list)
		_, err = fmt.Fprintf(out, "to be signed: %s\nNothing changed yet. Compare the lines above where the offline root is: telecart-hub keys sign\n", r.Out)
		return err
	}
	root, err := readRoot(r.Offline)
	if err != nil {
		return err
	}
	signed, err := wire.SignKeyList(list, root)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	return f.install(ctx, signed, out)
}

// nextKeys draws the keys of the next epoch, or finds those that were drawn and not yet signed, and makes the list.
func (f *folder) nextKeys(ctx context.Context, r RotateRequest, now time.Time) (list wire.KeyList, err error) {
	keys, err := readPrivate(filepath.Join(f.path, keysFile))
	if err != nil {
		return list, err
	}
	epoch, err := f.lastEpoch(ctx, keys)
	if err != nil {
		return list, err
	}
	if listed := newestListed(f.list); keys.newest() > listed {
		epoch = keys.newest() // drawn before
	} else {
		epoch++
		for _, practice := range []bool{false, true} {
			private, _, err := seal.NewRecordKey(epoch, practice, x25519)
			if err != nil {
				return list, fmt.Errorf("keys: %w", err)
			}
			keys.Records = append(keys.Records, private)
		}
	}
	if r.Receipt {
		if keys.Receipts, err = nextReceiptKey(keys.Receipts, f.list); err != nil {
			return list, err
		}
	}
	if err := keepInTwoPlaces(keys, f.path, r.Backup); err != nil {
		return list, err
	}
	return nextList(f.list, keys, epoch, now)
}

// lastEpoch is the highest number that was ever used.
func (f *folder) lastEpoch(ctx context.Context, keys hubKeys) (uint32, error) {
	known, err := f.store.Epochs(ctx)
	last := max(newestListed(f.list), keys.newest())
	for _, e := range known {
		last = max(last, e.Number)
	}
	return last, err
}

func newestListed(l wire.KeyList) (epoch uint32) {
	for _, r := range l.Records {
		epoch = max(epoch, r.Epoch)
	}
	return epoch
}

// nextReceiptKey adds a receipt key, or leaves the one that was drawn before and is in no list yet.
func nextReceiptKey(have []receiptKey, list wire.KeyList) ([]receiptKey, error) {
	var last, listed uint32
	for _, k := range have {
		last = max(last, k.ID)
	}
	for _, k := range list.Receipts {
		listed = max(listed, k.ID)
	}
	if last > listed {
		return have, nil
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	return append(slices.Clone(have), receiptKey{listed + 1, private.Seed()}), nil
}

// keepInTwoPlaces makes the private keys durable in the backup and here. The state folder is last: it says how far this came.
func keepInTwoPlaces(keys hubKeys, state, backup string) error {
	for _, dir := range []string{backup, state} {
		if err := replaceKeys(filepath.Join(dir, keysFile), keys); err != nil {
			return err
		}
	}
	return nil
}

// nextList is the list before with all keys that the hub holds, and without those that it holds no more.
func nextList(before wire.KeyList, keys hubKeys, epoch uint32, now time.Time) (wire.KeyList, error) {
	records, err := seal.NewRecords(keys.Records)
	if err != nil {
		return wire.KeyList{}, fmt.Errorf("keys: %w", err)
	}
	list := wire.KeyList{Version: before.Version + 1, Hub: before.Hub, Issued: now.UTC().Truncate(time.Second), Receipts: slices.Clone(before.Receipts)}
	list.Expires = list.Issued.Add(listLife)
	for _, r := range before.Records {
		if records.Holds(r) {
			list.Records = append(list.Records, r)
		}
	}
	for _, k := range keys.Records {
		if k.Epoch != epoch {
			continue
		}
		public, err := k.Public()
		if err != nil {
			return list, fmt.Errorf("keys: %w", err)
		}
		list.Records = append(list.Records, public)
	}
	for _, k := range keys.Receipts {
		if !slices.ContainsFunc(list.Receipts, func(r wire.ReceiptKey) bool { return r.ID == k.ID }) {
			list.Receipts = append(list.Receipts, wire.ReceiptKey{ID: k.ID, Public: ed25519.NewKeyFromSeed(k.Seed).Public().(ed25519.PublicKey)})
		}
	}
	return list, nil
}

// SignKeys signs a list where the offline root is. It says on out what it signed, to be compared with what the hub said.
func SignKeys(offline, in, to string, out io.Writer) error {
	root, err := readRoot(offline)
	if err != nil {
		return err
	}
	var list wire.KeyList
	if err := readJSON(in, &list); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	signed, err := wire.SignKeyList(list, root)
	if err == nil {
		_, err = signed.Open(root.Public().(ed25519.PublicKey), 1)
	}
	if err != nil {
		return fmt.Errorf("keys: %s: %w", in, err)
	}
	describeList(out, list)
	return writeJSON(to, signed)
}

// InstallKeys takes a list that the offline root has signed into use.
func InstallKeys(ctx context.Context, state, in string, out io.Writer) (err error) {
	f, err := stopped(ctx, state)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.store.Close()) }()
	var signed wire.SignedKeyList
	if err := readJSON(in, &signed); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	return f.install(ctx, signed, out)
}

// install checks that carts may trust a list and that this hub can live by it, and takes it into use.
func (f *folder) install(ctx context.Context, signed wire.SignedKeyList, out io.Writer) error {
	list, err := signed.Open(f.root[:], f.list.Version)
	switch {
	case err != nil:
		return fmt.Errorf("keys: %w", err)
	case signed.Differs(list.Version, f.signed, f.list.Version):
		return fmt.Errorf("keys: version %d: %w", list.Version, wire.ErrTwoKeyLists)
	case list.Hub != f.list.Hub:
		return fmt.Errorf("keys: the list is of hub %q, not %q", list.Hub, f.list.Hub)
	case newestListed(list) < newestListed(f.list):
		return fmt.Errorf("keys: the list goes back to epoch %d; carts seal to epoch %d", newestListed(list), newestListed(f.list))
	}
	records, _, err := readKeys(f.path, list)
	if err != nil {
		return err
	}
	for _, practice := range []bool{false, true} {
		k, err := list.Record(practice)
		if err != nil {
			return fmt.Errorf("keys: %w", err)
		}
		if !records.Holds(k) {
			return fmt.Errorf("keys: the private key of epoch %d (practice: %t) is not here: nobody could open what carts seal to it", k.Epoch, practice)
		}
	}
	if err := f.store.NoteKeyList(ctx, list); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(f.path, keyListFile), signed); err != nil {
		return err
	}
	if err := f.auditKeys(ctx, "keys-installed", map[string]string{"version": fmt.Sprint(list.Version), "epoch": fmt.Sprint(newestListed(list))}); err != nil {
		return err
	}
	describeList(out, list)
	_, err = fmt.Fprintf(out, "in use: carts get it when they connect. Old epochs stay: telecart-hub keys status\n")
	return err
}

// operator is who acts at the hub's own command line, in audit trails.
const operator = "telecart-hub keys"

// auditKeys tells every tenant: the keys are everybody's.
func (f *folder) auditKeys(ctx context.Context, action string, with map[string]string) error {
	for _, tenant := range f.dir.tenants() {
		if err := (trail{f.store, f.clock}).Record(ctx, tenant, operator, action, with); err != nil {
			return err
		}
	}
	return nil
}

// describeList is a list in words, with a fingerprint of each key, so that two people can compare it by eye.
func describeList(out io.Writer, l wire.KeyList) {
	fmt.Fprintf(out, "list %d of hub %s, until %s\n", l.Version, l.Hub, l.Expires.Format(time.DateOnly))
	for _, r := range l.Records {
		what := "care"
		if r.Practice {
			what = "practice"
		}
		fmt.Fprintf(out, "  record key   epoch %-4d %-8s %s\n", r.Epoch, what, fingerprint(r.Public))
	}
	for _, r := range l.Receipts {
		fmt.Fprintf(out, "  receipt key  %-4d                %s\n", r.ID, fingerprint(r.Public))
	}
}

func fingerprint(public []byte) string {
	d := sha256.Sum256(public)
	return hex.EncodeToString(d[:8])
}
