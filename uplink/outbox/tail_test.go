package outbox

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// onlyLog is the one log that a killed run left in segment n, and where its last batch begins.
func (r *rig) onlyLog(n uint32) (path string, b []byte, last int64) {
	r.t.Helper()
	path = logPath(r.dir, n, 0)
	b, err := os.ReadFile(path)
	if err != nil {
		r.t.Fatal(err)
	}
	for at := int64(0); at+int64(headSize) <= int64(len(b)); {
		h, ok := decodeBatchHeader(b[at:])
		if !ok {
			break
		}
		last, at = at, aligned(at+int64(headSize)+int64(h.length))
	}
	return path, b, last
}

// A batch on which a later run built had been confirmed. If sectors of it read as zeros later, it is no batch that a power cut
// tore: what is left of it is kept, and what is not is named.
func TestConfirmedTail(t *testing.T) {
	for name, c := range map[string]struct {
		items int
		spoil func(b []byte, last int64)
		kept  bool // the item of the last batch
	}{
		"a sector of the item":             {3, func(b []byte, last int64) { clear(b[last+512 : last+1024]) }, false},
		"the head":                         {3, func(b []byte, last int64) { clear(b[last : last+int64(headSize)]) }, true},
		"the head's sector":                {3, func(b []byte, last int64) { clear(b[last : last+sectorSize]) }, false},
		"all":                              {3, func(b []byte, last int64) { clear(b[last:]) }, false},
		"the head of the log's only batch": {0, func(b []byte, last int64) { clear(b[last : last+int64(headSize)]) }, true},
		"all of the log's only batch":      {0, func(b []byte, last int64) { clear(b[last:]) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.open()
			var all []Saved
			for range c.items + 1 { // the first entry, of the run, shares a batch with none of them
				all = append(all, r.put(strings.Repeat("confirmed ", 300)))
			}
			if c.items == 0 {
				r.killed()
				r.open() // whose run begins its own segment
			}
			n := r.box.cur.n
			r.killed()
			r.open()
			r.loaded()
			r.put("built on it")
			r.killed()
			path, b, last := r.onlyLog(n)
			c.spoil(b, last)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}

			missing := map[uint64]bool{}
			next := uint64(0)
			for f, err := range Inspect(r.dir) {
				if err != nil {
					t.Fatal(err)
				}
				if f.Entry != nil {
					for ; next < f.Entry.Entry.Number; next++ {
						missing[next] = true
					}
					next = f.Entry.Entry.Number + 1
				}
			}
			r.open()
			r.loaded()
			named := r.box.Damaged()
			if c.kept {
				if len(named) != 0 || len(missing) != 0 {
					t.Errorf("the agent calls lost %+v, the files' reader %v", named, missing)
				}
			} else {
				if len(named) != 1 || !missing[named[0].Number] && named[0].Kind == 0 {
					t.Errorf("the agent calls lost %+v, the files' reader %v", named, missing)
				}
			}
			for i, s := range all {
				lost := slices.ContainsFunc(named, func(d DamagedItem) bool { return d.Number == s.Entry.Number })
				if !lost && !bytes.Contains([]byte(r.opened(s.Hash)), []byte("confirmed")) {
					t.Errorf("item %d is neither here nor named", i)
				}
			}
		})
	}
}

// A batch that failed in part was written again to the next segment: its rest is no damage.
func TestFailedTail(t *testing.T) {
	r := newRig(t)
	r.open()
	r.put("before")
	log := logPath(r.dir, r.box.cur.n, 0)
	r.disk.tear(log)
	again := r.put(strings.Repeat("written twice ", 300))
	r.killed()
	r.open()
	r.loaded()
	if st := r.box.Stats(); st.Quarantine != 0 || len(r.box.Damaged()) != 0 {
		t.Errorf("%+v, %+v", st, r.box.Damaged())
	}
	if _, err := os.Stat(filepath.Join(r.dir, quarantine, filepath.Base(log))); err == nil {
		t.Error("quarantined")
	}
	r.opened(again.Hash)
	r.put("after")
}

// What is no file under a name of ours (a pipe would be waited for without end) stops neither the agent nor who reads the files.
func TestNoFiles(t *testing.T) {
	r := newRig(t)
	r.open()
	first := r.put("first")
	r.killed()
	pipes := []string{segmentPath("", 90), "00000001.0007" + logExt, "00000095.0000" + logExt, "receipts/00000077" + receiptExt, HeadFile, "00000050" + checkpointExt,
		"00000051" + goneExt}
	for _, name := range pipes {
		path := filepath.Join(r.dir, name)
		os.Remove(path)
		if err := unix.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(segmentPath(r.dir, 91), 0o700); err != nil {
		t.Fatal(err)
	}
	told, items := map[string]bool{}, 0
	for f, err := range Inspect(r.dir) {
		switch {
		case err != nil:
			t.Fatal(err)
		case f.Damage != nil:
			told[f.Damage.File] = true
		case f.Item != nil:
			items++
		}
	}
	for _, name := range append(pipes, segmentPath("", 91)) {
		if !told[name] {
			t.Errorf("%s is not told: %v", name, told)
		}
	}
	if items != 1 {
		t.Errorf("%d items", items)
	}
	r.open()
	r.loaded()
	if got := r.opened(first.Hash); got != "first" {
		t.Error(got)
	}
	r.put("second")
}
