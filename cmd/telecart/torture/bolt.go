package torture

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"syscall"
	"unsafe"

	"go.etcd.io/bbolt"

	"telecart/device/kit"
)

// boltPage is the page size of the outbox's segments: pages 0 and 1 are the two metas.
const boltPage = 64 << 10

// bolt stands beneath one open bbolt file, which has no seam for it: its writer function is replaced, and so is its file
// while a sync is to fail.
//
// A commit is: data pages, fdatasync, one meta page, fdatasync (bbolt v1.5.0, tx.go, Commit). So a write to a meta page says
// that the first sync was done; and once that write has succeeded the second sync follows at once. It is taken as done,
// unless it is made to fail: then the meta stays what any write is that was not synced.
type bolt struct {
	d     *disk
	n     *node
	name  string
	file  **os.File // bbolt's own
	real  *os.File
	bad   *os.File // in its place, while a sync fails
	write func([]byte, int64) (int, error)
}

// bolted puts the disk beneath a segment that was just opened. It panics if bbolt is not the one that it knows.
func (d *disk) bolted(path string, db *bbolt.DB) {
	if db.NoSync {
		panic("torture: the outbox opened a segment without sync")
	}
	v := reflect.ValueOf(db).Elem()
	file, ops := v.FieldByName("file"), v.FieldByName("ops")
	var writeAt reflect.Value
	if ops.IsValid() && ops.Kind() == reflect.Struct {
		writeAt = ops.FieldByName("writeAt")
	}
	if !file.IsValid() || file.Type() != reflect.TypeFor[*os.File]() || !writeAt.IsValid() ||
		writeAt.Type() != reflect.TypeFor[func([]byte, int64) (int, error)]() {
		panic("torture: this bbolt has no db.file and db.ops.writeAt as v1.5.0 has; bolt.go must follow it")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	hook := (*func([]byte, int64) (int, error))(unsafe.Pointer(writeAt.UnsafeAddr()))
	b := &bolt{d: d, n: d.at(path), name: filepath.Base(path), file: (**os.File)(unsafe.Pointer(file.UnsafeAddr())), write: *hook}
	b.real = *b.file
	*hook = b.writeAt
	d.bolts = append(d.bolts, b)
}

func (b *bolt) writeAt(p []byte, off int64) (int, error) {
	d := b.d
	d.come()
	d.mu.Lock()
	defer d.mu.Unlock()
	meta := off < 2*boltPage
	if meta && b.bad != nil {
		panic("torture: bbolt went on to the meta page after its data could not be synced")
	}
	if b.bad == nil {
		d.settle()
	}
	if meta && !d.dead {
		b.n.sync()
	}
	op := kit.Op{Kind: kit.OpWrite, Path: b.name, Off: off, Data: p}
	if d.failIn == 1 && d.fail == faultSync && !d.dead && b.bad == nil { // this write is done; the sync that follows it is not
		if err := b.spoil(); err != nil {
			return 0, err
		}
		d.failIn, d.failed, d.syncs = 0, d.failed+1, d.syncs+1
		d.say("fault: the sync after bbolt's write at page %d of %s", off/boltPage, b.name)
	}
	killed, err := d.strikeBolt(b, op)
	if err != nil || killed && d.rng.IntN(2) == 0 {
		if err == nil {
			err = errDead
		}
		return 0, err
	}
	n, err := b.write(p, off)
	if err == nil {
		b.n.write(off, p)
	}
	switch {
	case err == nil && killed:
		return 0, errDead
	case err == nil && meta && b.bad == nil:
		b.n.sync()
	}
	return n, err
}

// strikeBolt is strike for a write to an open segment, which may have another name by now.
func (d *disk) strikeBolt(b *bolt, op kit.Op) (bool, error) {
	full := d.full
	d.full = false
	defer func() { d.full = full }()
	if full && !d.dead && op.Off+int64(len(op.Data)) > b.n.cached {
		return false, syscall.ENOSPC
	}
	return d.strike(op)
}

// spoil has the next fdatasync of bbolt fail: on a pipe it gives EINVAL (fdatasync(2)).
func (b *bolt) spoil() error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("torture: %w", err)
	}
	w.Close()
	b.bad = r
	*b.file = r
	return nil
}

// mend gives bbolt its file back after the sync that failed.
func (b *bolt) mend() {
	if b.bad == nil {
		return
	}
	b.n.failSync(b.d.rng)
	if *b.file == b.bad {
		*b.file = b.real
		b.bad.Close()
	} else { // bbolt has closed it meanwhile
		b.real.Close()
	}
	b.bad = nil
}

// settle notes the syncs that have failed by now: whatever comes next comes after them.
func (d *disk) settle() {
	for _, b := range d.bolts {
		b.mend()
	}
}

// let is the end of the process that had the file open.
func (b *bolt) let() { b.mend() }
