package identity

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Shred overwrites a file and removes it; nothing there is nothing to do. A file system in place on a magnetic disk then
// holds it no more. Flash, journals and copy-on-write may keep the old blocks until they erase them: who must be sure erases
// the whole medium, or keeps the secret in a TPM. A symbolic link is removed, and not followed.
func Shred(path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("identity: shred: %w", err)
	}
	if fi.Mode().IsRegular() {
		err = overwrite(path, fi.Size())
	}
	if err = errors.Join(err, os.Remove(path)); err != nil { // removed even if it could not be overwritten
		return fmt.Errorf("identity: shred: %w", err)
	}
	return nil
}

func overwrite(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.Reader, size)
	return errors.Join(err, f.Sync(), f.Close())
}
