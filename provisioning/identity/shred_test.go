package identity

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"telecart/device/kit"
)

// What a wipe takes away is overwritten where it lay, whether a new key could be made or not.
func TestWipeOverwrites(t *testing.T) {
	full := errors.New("no space left")
	for name, write := range map[string]func(string, []byte, fs.FileMode) error{"ordinary": kit.WriteFile,
		"full disk": func(string, []byte, fs.FileMode) error { return full }} {
		h := newHub(t, kit.NewManual(start))
		c := h.enrolled()
		c.write = write
		inode, err := os.Open(c.path(keyFile)) // the blocks, whatever their name
		if err != nil {
			t.Fatal(err)
		}
		defer inode.Close()
		was, err := io.ReadAll(inode)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Wipe(); err != nil && !errors.Is(err, full) {
			t.Fatalf("%s: %v", name, err)
		}
		now := make([]byte, len(was))
		if _, err := inode.ReadAt(now, 0); err != nil || bytes.Contains(now, was[30:60]) {
			t.Errorf("%s: the old blocks hold the key: %q %v", name, now, err)
		}
		again := openCart(t, c.dir, h.clock)
		if _, err := again.Identity(); !errors.Is(err, ErrNotEnrolled) {
			t.Errorf("%s: %v", name, err)
		}
		if text, err := os.ReadFile(again.path(keyFile)); err != nil || bytes.Equal(text, was) {
			t.Errorf("%s: no new key: %v", name, err)
		}
	}
}

func TestShred(t *testing.T) {
	dir := t.TempDir()
	if err := Shred(filepath.Join(dir, "none")); err != nil {
		t.Error(err)
	}
	kept := filepath.Join(dir, "kept")
	link := filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(kept, []byte("kept"), 0o600), os.Symlink(kept, link), Shred(link)); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(kept); err != nil || string(b) != "kept" {
		t.Errorf("it followed a link: %q %v", b, err)
	}
	if _, err := os.Lstat(link); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link is there: %v", err)
	}
}
