package serve

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A folder that is not this hub's backup is refused before anything changes, and is not made.
func TestKeysWantABackup(t *testing.T) {
	e := newEpochs(t)
	e.stop()
	dir := t.TempDir()
	typo, empty, link, partly := e.backup+"x", filepath.Join(dir, "empty"), filepath.Join(dir, "link"), filepath.Join(dir, "partly")
	other, others := filepath.Join(dir, "other"), filepath.Join(dir, "others")
	if err := errors.Join(os.Mkdir(empty, 0o700), os.Symlink(e.state, link), os.Mkdir(partly, 0o700), os.WriteFile(filepath.Join(partly, keysFile), []byte("{}"), 0o600),
		InitKeys(e.offline, other, "hub2.example", time.Now()), Backup(t.Context(), other, others)); err != nil {
		t.Fatal(err)
	}
	before, theirs := privateOf(t, e.state, 1), privateOf(t, others, 1)
	for path, says := range map[string]string{typo: "is no folder", empty: "holds no backup", partly: "holds no backup", link: "different places", others: "backup of another hub, hub2.example"} {
		for what, err := range map[string]error{
			"rotate":  RotateKeys(t.Context(), RotateRequest{State: e.state, Backup: path, Offline: e.offline}, time.Now(), io.Discard),
			"destroy": DestroyKeys(t.Context(), DestroyRequest{State: e.state, Backup: path, Epoch: 1}, io.Discard),
		} {
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%s with %s: %v, want %q", what, path, err, says)
			}
		}
	}
	if _, err := os.Lstat(typo); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s was made: %v", typo, err)
	}
	if files, err := os.ReadDir(empty); err != nil || len(files) > 0 {
		t.Errorf("%v %v", files, err)
	}
	if len(privateOf(t, e.state, 2)) != 0 || !slices.EqualFunc(before, privateOf(t, e.state, 1), bytes.Equal) || !slices.EqualFunc(theirs, privateOf(t, others, 1), bytes.Equal) {
		t.Error("keys changed")
	}
}
