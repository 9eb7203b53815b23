package outbox

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// testdata/bbolt-only was written by the release before logs (two runs, three items each). An agent that was brought up to date
// goes on with it: every item reads back, and the ledger is the same one.
func TestUpgrade(t *testing.T) {
	r := newRig(t)
	const from = "testdata/bbolt-only"
	packed, err := filepath.Glob(filepath.Join(from, "*.gz"))
	if err != nil || len(packed) != 2 {
		t.Fatal(packed, err)
	}
	for _, path := range packed {
		unpack(t, path, filepath.Join(r.dir, filepath.Base(path[:len(path)-len(".gz")])))
	}
	var want []string
	b, err := os.ReadFile(filepath.Join(from, "expected.json"))
	if err == nil {
		err = json.Unmarshal(b, &want)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.open()
	r.loaded()
	got := map[string]bool{}
	var last uint64
	for _, ref := range r.box.Pending(100, none) {
		r.whole(ref.Hash)
		got[ref.Hash.String()] = true
		last = max(last, ref.Entry.Number)
	}
	for _, h := range want {
		if !got[h] {
			t.Errorf("item %s is not there", h)
		}
	}
	if len(got) != len(want) || len(want) != 6 || len(r.box.Damaged()) != 0 {
		t.Errorf("%d items of %d, %+v", len(got), len(want), r.box.Damaged())
	}
	if s := r.put("after"); s.Entry.Number != last+2 { // the run's own entry stands between
		t.Errorf("entry %d after %d", s.Entry.Number, last)
	}
	if err := r.box.Close(); err != nil { // and back: what the older release can read is all in bbolt
		t.Fatal(err)
	}
	r.box = nil
	if logs, _ := filepath.Glob(filepath.Join(r.dir, "*"+logExt)); len(logs) != 0 {
		t.Error(logs)
	}
}

func unpack(t *testing.T, from, to string) {
	t.Helper()
	f, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
