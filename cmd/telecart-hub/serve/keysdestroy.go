package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"telecart/uplink/hub/store"
	"telecart/uplink/seal"
)

// ErrNotAccounted: carts may still hold what only this epoch's key opens.
var ErrNotAccounted = errors.New("keys: not all carts are accounted for")

// DestroyRequest asks for the end of an epoch.
type DestroyRequest struct {
	State  string
	Backup string // the folder of `backup`, which then has the items' data keys, and the epoch's key no more
	Epoch  uint32
}

// DestroyKeys destroys the private keys of an epoch, for care and practice, once every cart is accounted for. What came
// under it stays open to view: its data keys are kept under the newest epoch, and are in the backup before anything goes.
// It may be cut short anywhere and called again.
func DestroyKeys(ctx context.Context, r DestroyRequest, out io.Writer) (err error) {
	if same(r.Backup, r.State) {
		return errors.New("keys: --backup and --state must be different places")
	}
	if r.Backup, err = filepath.Abs(r.Backup); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	f, err := stopped(ctx, r.State)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.store.Close()) }()
	if err := f.hasBackup(r.Backup); err != nil {
		return err
	}
	keys, err := readPrivate(filepath.Join(f.path, keysFile))
	if err != nil {
		return err
	}
	if err := f.mayDestroy(ctx, r.Epoch, keys); err != nil {
		return err
	}
	n, err := f.keepDataKeys(ctx, r.Epoch, keys)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d data keys kept under epoch %d\n", n, newestListed(f.list))
	if _, err := (office{f: f}).Backup(ctx, BackupRequest{r.Backup}); err != nil {
		return err
	}
	if err := keepInTwoPlaces(keys.without(r.Epoch), f.path, r.Backup); err != nil {
		return err
	}
	if err := f.store.EpochDestroyed(ctx, r.Epoch); err != nil {
		return err
	}
	if err := f.auditKeys(ctx, "keys-destroyed", map[string]string{"epoch": fmt.Sprint(r.Epoch), "kept": fmt.Sprint(n)}); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "the keys of epoch %d are gone from %s and %s. Other copies are not: destroy older backups and snapshots of both;\n"+
		"on flash the old blocks may live on until the disk has erased them (fstrim; see uplink/wire/KEYS.md)\n", r.Epoch, f.path, r.Backup)
	return err
}

// mayDestroy says whether an epoch's key opens nothing any more that is not at the hub already.
func (f *folder) mayDestroy(ctx context.Context, epoch uint32, keys hubKeys) error {
	if len(keys.without(epoch).Records) == len(keys.Records) {
		known, err := f.store.Epochs(ctx)
		if err != nil {
			return err
		}
		cutShort := func(e store.Epoch) bool { return e.Number == epoch && e.Destroyed.IsZero() }
		if !slices.ContainsFunc(known, cutShort) {
			return fmt.Errorf("keys: no private key of epoch %d is here", epoch)
		}
	}
	l, err := gather(ctx, f.store)
	if err != nil {
		return err
	}
	blocked, err := l.blockers(epoch)
	if err != nil {
		return err
	}
	if len(blocked) == 0 {
		return nil
	}
	words := make([]string, len(blocked))
	for i, b := range blocked {
		words[i] = "\n  " + b.String()
	}
	return fmt.Errorf("%w for epoch %d:%s\nWrite off what can't come any more: telecart-hub keys write-off", ErrNotAccounted, epoch, strings.Join(words, ""))
}

// keepDataKeys keeps what only the epoch opens under the newest, and makes sure that nothing was left out.
func (f *folder) keepDataKeys(ctx context.Context, epoch uint32, keys hubKeys) (int, error) {
	records, err := seal.NewRecords(keys.Records)
	if err != nil {
		return 0, fmt.Errorf("keys: %w", err)
	}
	n, err := f.store.Rewrap(ctx, epoch, records, f.list.Record)
	if err != nil {
		return n, err
	}
	left, err := f.store.OnlyUnder(ctx, epoch)
	if err == nil && left > 0 {
		err = fmt.Errorf("keys: %d data keys are under epoch %d alone still; nothing was destroyed", left, epoch)
	}
	return n, err
}
