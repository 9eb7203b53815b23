package torture

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"

	"telecart/device/kit"
)

// rig is a disk with a folder and the kit.Disk that writes to it.
type rig struct {
	t   *testing.T
	d   *disk
	dir string
	kit.Disk
}

func newRig(t *testing.T, seed uint64) *rig {
	t.Helper()
	tmp, err := os.MkdirTemp(tempRoot(""), "torture-test-") // in memory: a real sync takes its time
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(tmp) })
	r := &rig{t: t, dir: filepath.Join(tmp, "d")}
	r.d = newDisk(rand.New(rand.NewPCG(seed, seed)), t.Logf)
	r.Disk = kit.Disk{Watch: r.d}
	r.must(r.MkdirAll(r.dir, 0o700))
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

// file makes a durable file.
func (r *rig) file(name, content string) *kit.File {
	r.t.Helper()
	r.must(r.WriteFile(r.path(name), []byte(content), 0o600))
	f, err := r.Open(r.path(name), os.O_RDWR, 0)
	r.must(err)
	r.t.Cleanup(func() { f.Close() })
	return f
}

func (r *rig) write(f *kit.File, s string, off int64) {
	r.t.Helper()
	_, err := f.WriteAt([]byte(s), off)
	r.must(err)
}

// after cuts the power and gives what is left of a file; "-" if it is not there.
func (r *rig) after(name string) string {
	r.t.Helper()
	r.must(r.d.cut())
	b, err := os.ReadFile(r.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return "-"
	}
	r.must(err)
	return string(b)
}

// What a power cut may leave, and what it has to: over many seeds exactly the images that the syncs permit are seen.
func TestPowerCut(t *testing.T) {
	for name, x := range map[string]struct {
		do   func(*rig)
		want []string // of the file "f"
	}{
		"synced":                  {func(r *rig) { f := r.file("f", "old"); r.write(f, "new", 0); r.must(f.Sync()) }, []string{"new"}},
		"not synced":              {func(r *rig) { r.write(r.file("f", "old"), "new", 0) }, []string{"old", "new"}},
		"two writes in any order": {func(r *rig) { f := r.file("f", "--"); r.write(f, "a", 0); r.write(f, "b", 1) }, []string{"--", "a-", "-b", "ab"}},
		"the name not synced": {func(r *rig) {
			f, err := r.Open(r.path("f"), os.O_RDWR|os.O_CREATE, 0o600)
			r.must(err)
			r.write(f, "x", 0)
			r.must(errors.Join(f.Sync(), f.Close()))
		}, []string{"-", "x"}},
		"renamed, not synced":   {func(r *rig) { r.file("f", "old"); r.file("g", "new"); r.must(r.Rename(r.path("g"), r.path("f"))) }, []string{"old", "new"}},
		"renamed":               {func(r *rig) { r.file("f", "old"); r.must(r.WriteFile(r.path("f"), []byte("new"), 0o600)) }, []string{"new"}},
		"removed, not synced":   {func(r *rig) { r.file("f", "old"); r.must(r.Remove(r.path("f"))) }, []string{"old", "-"}},
		"removed":               {func(r *rig) { r.file("f", "old"); r.must(errors.Join(r.Remove(r.path("f")), r.SyncDir(r.dir))) }, []string{"-"}},
		"cut short":             {func(r *rig) { f := r.file("f", "old"); r.must(errors.Join(f.Truncate(1), f.Sync())) }, []string{"o"}},
		"cut short, not synced": {func(r *rig) { r.must(r.file("f", "old").Truncate(1)) }, []string{"old", "o"}},
		"a sync that failed": {func(r *rig) {
			f := r.file("f", "old")
			r.write(f, "new", 0)
			r.d.fail, r.d.failIn = faultSync, 1
			if f.Sync() == nil {
				r.t.Fatal("it did not fail")
			}
			r.must(f.Sync()) // says yes, and does nothing
			if b, _ := os.ReadFile(r.path("f")); string(b) != "new" {
				r.t.Fatal("the page cache must still show it")
			}
		}, []string{"old", "new"}},
		"written again after a sync that failed": {func(r *rig) {
			f := r.file("f", "old")
			r.write(f, "new", 0)
			r.d.fail, r.d.failIn = faultSync, 1
			f.Sync()
			r.write(f, "new", 0)
			r.must(f.Sync())
		}, []string{"new"}},
		"killed before the sync is done, or after": {func(r *rig) {
			f := r.file("f", "old")
			r.write(f, "new", 0)
			r.d.killIn = 1
			for range 2 {
				if !errors.Is(f.Sync(), errDead) {
					r.t.Fatal("the process lives")
				}
			}
		}, []string{"old", "new"}},
	} {
		t.Run(name, func(t *testing.T) {
			seen := map[string]bool{}
			for seed := range uint64(150) {
				r := newRig(t, seed)
				x.do(r)
				seen[r.after("f")] = true
			}
			for _, w := range x.want {
				if !seen[w] {
					t.Errorf("%q was never left", w)
				}
				delete(seen, w)
			}
			for s := range seen {
				t.Errorf("%q was left", s)
			}
		})
	}
}

// A long write tears between blocks, never within a sector.
func TestTorn(t *testing.T) {
	seen := map[int]bool{}
	for seed := range uint64(60) {
		r := newRig(t, seed)
		r.write(r.file("f", string(make([]byte, 16384))), string(bytes.Repeat([]byte{1}, 16384)), 0)
		got, sectors := r.after("f"), 0
		for at := 0; at < len(got); at += 512 {
			switch n := bytes.Count([]byte(got[at:at+512]), []byte{1}); n {
			case 512:
				sectors++
			case 0:
			default:
				t.Fatalf("a sector with %d new bytes", n)
			}
		}
		seen[sectors] = true
	}
	if !seen[0] || !seen[32] || len(seen) < 5 {
		t.Fatalf("%v", seen)
	}
}

// A full disk takes what needs no room.
func TestFull(t *testing.T) {
	r := newRig(t, 1)
	f := r.file("f", "old")
	r.d.full = true
	r.write(f, "new", 0)
	if _, err := f.WriteAt([]byte("longer"), 0); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := r.WriteFile(r.path("g"), nil, 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// What changes beneath everybody is in the page cache and on the disk.
func TestChange(t *testing.T) {
	r := newRig(t, 1)
	r.file("f", "old")
	r.d.change(r.path("f"), 1, []byte("x"))
	b, _ := os.ReadFile(r.path("f"))
	if string(b) != "oxd" || r.after("f") != string(b) {
		t.Fatalf("%q", b)
	}
}

// A card comes back from its image.
func TestRestore(t *testing.T) {
	r := newRig(t, 1)
	f := r.file("f", "old")
	image := r.d.snapshot(r.dir)
	r.write(f, "new", 0)
	r.file("g", "more")
	r.must(r.d.restore(image, r.dir, r.dir))
	if got := r.after("f"); got != "old" {
		t.Fatal(got)
	}
	if _, err := os.Stat(r.path("g")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

// Beneath bbolt: a transaction that returned is there after a power cut, one that failed is there whole or not at all, and
// the file is always one that bbolt can read.
func TestBolt(t *testing.T) {
	failed, stayed := 0, 0
	for seed := range uint64(120) {
		r := newRig(t, seed)
		db, err := bbolt.Open(r.path("x.tmp"), 0o600, &bbolt.Options{PageSize: boltPage, NoFreelistSync: true})
		r.must(err)
		r.must(db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("r")); return err }))
		r.must(db.Close())
		b, err := os.ReadFile(r.path("x.tmp"))
		r.must(errors.Join(err, os.Remove(r.path("x.tmp"))))
		b = append(b, make([]byte, 1<<20-len(b))...)
		r.must(r.WriteFile(r.path("x"), b, 0o600))
		db, err = bbolt.Open(r.path("x"), 0o600, &bbolt.Options{PageSize: boltPage, NoFreelistSync: true})
		r.must(err)
		r.d.bolted(r.path("x"), db)
		put := func(k string) error {
			return db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte("r")).Put([]byte(k), bytes.Repeat([]byte(k), 30000)) })
		}
		r.must(put("a"))
		switch seed % 3 {
		case 0:
			r.d.fail, r.d.failIn = faultSync, 1+int(seed/3)%3
		case 1:
			r.d.killIn = 1 + int(seed/3)%3
		default:
			r.d.fail, r.d.failIn = faultIO, 1+int(seed/3)%3
		}
		second := put("b")
		r.d.kill()
		db.Close()
		r.must(r.d.cut())
		db, err = bbolt.Open(r.path("x"), 0o600, &bbolt.Options{PageSize: boltPage, ReadOnly: true})
		r.must(err)
		r.must(db.View(func(tx *bbolt.Tx) error {
			for err := range tx.Check() {
				return err
			}
			if len(tx.Bucket([]byte("r")).Get([]byte("a"))) != 30000 {
				t.Fatalf("seed %d: a transaction that returned is gone", seed)
			}
			n := len(tx.Bucket([]byte("r")).Get([]byte("b")))
			if second != nil {
				failed++
				if n == 30000 {
					stayed++
				}
			}
			if n != 0 && n != 30000 || n == 0 && second == nil {
				t.Fatalf("seed %d: %d bytes of the second, %v", seed, n, second)
			}
			return nil
		}))
		r.must(db.Close())
	}
	if failed < 40 || stayed == 0 || stayed == failed {
		t.Fatalf("%d transactions failed, %d of them stayed", failed, stayed)
	}
}
