package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"telecart/device/kit"
	"telecart/provisioning/identity"
)

// goneSuffix names a second link to a file of keys while another takes its place, so that a crash in between does not let
// the old one slip away without being overwritten.
const goneSuffix = ".gone"

// replaceKeys puts a new file of keys in the place of an old one, whose blocks it then overwrites. On flash, and on file
// systems that copy on write, the old blocks may outlive that (KEYS.md says what this is worth).
func replaceKeys(path string, keys hubKeys) error {
	b, err := json.Marshal(keys)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	return replaceSecret(path, b)
}

func replaceSecret(path string, b []byte) error {
	if err := finishReplacing(path); err != nil {
		return err
	}
	if was, err := os.ReadFile(path); err == nil && bytes.Equal(was, b) {
		return nil
	}
	if err := os.Link(path, path+goneSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keys: %w", err)
	}
	if err := kit.WriteFile(path, b, 0o600); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	return finishReplacing(path)
}

// finishReplacing overwrites and removes what was replaced, in this run or in one that was cut short.
func finishReplacing(path string) error {
	gone, err := os.Lstat(path + goneSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	now, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	if !os.SameFile(gone, now) { // else nothing was replaced
		return identity.Shred(path + goneSuffix)
	}
	if err := os.Remove(path + goneSuffix); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	return nil
}

func readPrivate(path string) (keys hubKeys, err error) {
	if err := readJSON(path, &keys); err != nil {
		return keys, fmt.Errorf("keys: %w; run `telecart-hub keys init` first", err)
	}
	return keys, nil
}

// without is the keys but those of an epoch.
func (k hubKeys) without(epoch uint32) hubKeys {
	out := hubKeys{Receipts: slices.Clone(k.Receipts)}
	for _, r := range k.Records {
		if r.Epoch != epoch {
			out.Records = append(out.Records, r)
		}
	}
	return out
}

func (k hubKeys) newest() (epoch uint32) {
	for _, r := range k.Records {
		epoch = max(epoch, r.Epoch)
	}
	return epoch
}

// hasBackup makes sure that dir is where this hub's backups go. In any other folder, or one made for a name with a slip in it, keys
// would lie where nobody looks for them; in another hub's backup they would take the place of that hub's.
func (f *folder) hasBackup(dir string) error {
	const how = "Make one: telecart-hub backup --to DIR"
	here, err1 := os.Stat(f.path)
	there, err2 := os.Stat(dir)
	switch {
	case err2 != nil || !there.IsDir():
		return fmt.Errorf("keys: --backup %s is no folder; nothing changed. Is the disk mounted? It must be the folder of this hub's backup. %s", dir, how)
	case err1 == nil && os.SameFile(here, there):
		return errors.New("keys: --backup and --state must be different places")
	}
	_, keysErr := os.Stat(filepath.Join(dir, keysFile))
	_, list, root, err := readList(dir)
	switch {
	case keysErr != nil || err != nil:
		return fmt.Errorf("keys: --backup %s holds no backup of a hub (%s, %s and %s of it); nothing changed. %s", dir, keysFile, keyListFile, rootPubFile, how)
	case root != f.root || list.Hub != f.list.Hub:
		return fmt.Errorf("keys: --backup %s is the backup of another hub, %s; this is %s. Nothing changed", dir, list.Hub, f.list.Hub)
	}
	return nil
}
