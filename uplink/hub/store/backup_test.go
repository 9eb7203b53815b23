package store

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/wire"
)

func TestBackup(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	to := filepath.Join(t.TempDir(), "backup")
	m, h, bs := sealed(t, 2)
	add(t, s, m, h, bs)
	for _, wrong := range []string{dir, filepath.Join(dir, "blobs", "x")} {
		if err := s.Backup(ctx, wrong); err == nil {
			t.Errorf("a backup into %s", wrong)
		}
	}
	if err := s.Backup(ctx, to); err != nil {
		t.Fatal(err)
	}
	first := blobPath("north", m.Hash())
	before, err := os.Stat(filepath.Join(to, first))
	if err != nil {
		t.Fatal(err)
	}
	live, err := os.Stat(filepath.Join(dir, first))
	if err != nil || os.SameFile(before, live) {
		t.Fatal("the backup shares the item's blocks", err)
	}
	m2, h2, bs2 := sealed(t, 1)
	add(t, s, m2, h2, bs2)
	if n, err := s.Watermark(ctx); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if err := s.Backup(ctx, to); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Watermark(ctx); err != nil || n != 2 {
		t.Fatal(n, err)
	}
	after, err := os.Stat(filepath.Join(to, first))
	if err != nil || !os.SameFile(before, after) {
		t.Fatal("an item was copied twice", err)
	}
	r := open(t, to)
	if r.Incarnation() == s.Incarnation() {
		t.Fatal("the restored store is the old one")
	}
	for _, x := range []wire.Manifest{m, m2} {
		if it, err := r.Item(ctx, "north", x.Hash()); err != nil || it.Entry != x.Entry {
			t.Fatal(err)
		}
		if held, err := r.Held("north", "cart-1", x.Hash()); err != nil || !all(held) {
			t.Fatal(held, err)
		}
	}
	if err := s.Backup(ctx, to); err == nil {
		t.Fatal("a backup over a store in use")
	}
}

// A backup that breaks off moves no watermark and leaves the one before as it was.
func TestBackupBreaks(t *testing.T) {
	cut := errors.New("power cut")
	var fail error
	s, err := Open(ctx, t.TempDir(), Options{Clock: kit.NewManual(start), Before: func(step string) error {
		if step == "backup" {
			return fail
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	to := filepath.Join(t.TempDir(), "backup")
	if err := s.Backup(ctx, to); err != nil {
		t.Fatal(err)
	}
	m, h, bs := sealed(t, 1)
	add(t, s, m, h, bs)
	fail = cut
	if err := s.Backup(ctx, to); !errors.Is(err, cut) {
		t.Fatal(err)
	}
	if n, err := s.Watermark(ctx); err != nil || n != 0 {
		t.Fatal(n, err)
	}
	if _, err := open(t, to).Item(ctx, "north", m.Hash()); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
}

func TestIncarnation(t *testing.T) {
	dir := t.TempDir()
	id := func(dir string) ledger.ID {
		t.Helper()
		s, err := Open(ctx, dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		return s.Incarnation()
	}
	copyTo := func(from, to string) {
		t.Helper()
		if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	first := id(dir)
	if first == (ledger.ID{}) || id(dir) != first || id(dir) != first {
		t.Fatal("opening it again changes it")
	}

	whole := filepath.Join(t.TempDir(), "copy")
	copyTo(dir, whole)
	if id(whole) == first {
		t.Error("a copied folder is taken for the original")
	}

	old := filepath.Join(t.TempDir(), "hub.db")
	copyTo(filepath.Join(dir, dbName), old)
	id(dir)
	if err := os.Truncate(filepath.Join(dir, dbName), 0); err != nil {
		t.Fatal(err)
	}
	in, err := os.ReadFile(old)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, dbName), in, 0o600); err != nil { // same inode
		t.Fatal(err)
	}
	second := id(dir)
	if second == first {
		t.Error("an old database is taken for the newest")
	}

	if err := AdoptRestored(dir); err != nil {
		t.Fatal(err)
	}
	third := id(dir)
	if third == second {
		t.Error("AdoptRestored changed nothing")
	}
	if err := os.WriteFile(filepath.Join(dir, stampName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if id(dir) == third {
		t.Error("a broken stamp is believed")
	}
}

// A crash between the writes that renew the token is no restore.
func TestIncarnationCrash(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(ctx, dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	first := s.Incarnation()
	s.Close()
	cut := errors.New("power cut")
	if _, err := Open(ctx, dir, Options{Before: func(string) error { return cut }}); !errors.Is(err, cut) {
		t.Fatal(err)
	}
	if s := open(t, dir); s.Incarnation() != first {
		t.Fatal("a new incarnation")
	}
}
