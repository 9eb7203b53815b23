package outbox

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"telecart/device/kit"
)

const (
	pageSize   = 64 << 10
	segmentExt = ".seg"
	spareName  = "spare"     // the next segment, made beforehand
	spareLog   = "spare-log" // the next log
)

// bucket is the one bucket of a segment.
var bucket = []byte("r")

func boltOptions(size int64) *bbolt.Options {
	return &bbolt.Options{Timeout: time.Second, PageSize: pageSize, InitialMmapSize: int(size), MaxSize: int(size),
		NoFreelistSync: true, FreelistType: bbolt.FreelistArrayType}
}

// makeSegment gives a segment its blocks beforehand. They are not written: what goes into bbolt is much at once, and pays
// for the journal easily.
func makeSegment(disk kit.Disk, path string, size int64) error {
	begin, err := emptyBolt(size)
	if err != nil {
		return fmt.Errorf("outbox: make segment: %w", err)
	}
	return makeFile(disk, path, begin, size, allocate)
}

// emptyBolt gives the bytes of a bbolt file with the bucket and nothing in it. It is made in memory (memfd_create(2)), so
// that only Disk writes to the folder.
func emptyBolt(size int64) ([]byte, error) {
	fd, err := unix.MemfdCreate("telecart-segment", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "memory")
	defer f.Close()
	small := boltOptions(size)
	small.InitialMmapSize = 0                                           // bbolt would extend the file to it
	small.OpenFile = func(string, int, fs.FileMode) (*os.File, error) { // bbolt closes what it gets
		dup, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		return os.NewFile(uintptr(dup), "memory"), err
	}
	db, err := bbolt.Open("memory", 0o600, small)
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket(bucket); return err })
	if err := errors.Join(err, db.Close()); err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b := make([]byte, st.Size())
	_, err = f.ReadAt(b, 0)
	return b, err
}

// filler makes a file of a size: what it begins with, and zeros.
type filler func(f *kit.File, begin []byte, size int64) error

// makeFile makes a file of a size, because growing it later costs a journal commit each time, and may fail. It appears under
// its name only when it is whole.
func makeFile(disk kit.Disk, path string, begin []byte, size int64, with filler) error {
	tmp := path + ".tmp"
	f, err := disk.Open(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		err = errors.Join(with(f, begin, size), f.Close())
	}
	if err == nil {
		err = disk.Rename(tmp, path)
	}
	if err != nil {
		disk.Remove(tmp)
		return fmt.Errorf("outbox: make %s (%d bytes): %w", filepath.Base(path), size, err)
	}
	return disk.SyncDir(filepath.Dir(path))
}

// syncEvery is how much of a new file is written between two syncs: what is being put meanwhile waits for no more.
const syncEvery = 4 << 20

// fill writes every block, so that writing it again is all that a sync has to do.
func fill(f *kit.File, begin []byte, size int64) error {
	_, err := f.WriteAt(begin, 0)
	zeros := make([]byte, 256<<10)
	for have := int64(len(begin)); err == nil && have < size; {
		n := min(int64(len(zeros)), size-have)
		_, err = f.WriteAt(zeros[:n], have)
		have += n
		if err == nil && (have%syncEvery == 0 || have == size) {
			err = f.Sync()
		}
	}
	return err
}

// allocate has every block kept for the file, or written where the file system can't do that.
func allocate(f *kit.File, begin []byte, size int64) error {
	err := f.Allocate(size)
	if errors.Is(err, errors.ErrUnsupported) {
		return fill(f, begin, size)
	}
	if err == nil {
		_, err = f.WriteAt(begin, 0)
	}
	if err == nil {
		err = f.Sync()
	}
	return err
}

// takeSpare gives a new file its name, made of the spare if there is one of the right size.
func (o *Outbox) takeSpare(spare, path string, size int64, make maker) error {
	spare = filepath.Join(o.opt.Dir, spare)
	if st, err := os.Lstat(spare); err != nil || !st.Mode().IsRegular() || st.Size() != size {
		return make(o.opt.Disk, path, size)
	}
	if err := o.opt.Disk.Rename(spare, path); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	return nil // the caller makes the name durable
}

// makeSpares makes what the next log and the next segment will be made of, one maker at a time: two would write into each
// other's file.
func (o *Outbox) makeSpares() {
	o.sparing.Lock()
	defer o.sparing.Unlock()
	o.makeSpare(spareLog, o.opt.LogSize, o.makeLog)
	o.makeSpare(spareName, o.opt.SegmentSize, makeSegment)
}

func (o *Outbox) makeSpare(name string, size int64, make maker) {
	path := filepath.Join(o.opt.Dir, name)
	if st, err := os.Stat(path); err == nil && st.Size() == size {
		return
	}
	if err := make(o.opt.Disk, path, size); err != nil {
		o.opt.Log.Warn("outbox: no spare", "err", err)
	}
}

// dropSpares gives up what was made beforehand, on a full disk: delivering makes room again.
func (o *Outbox) dropSpares() (some bool) {
	o.sparing.Lock()
	defer o.sparing.Unlock()
	for _, name := range []string{spareName, spareLog} {
		if err := o.opt.Disk.Remove(filepath.Join(o.opt.Dir, name)); err == nil {
			some = true
		}
	}
	return some
}

// sweep removes what a killed agent left half made.
func (o *Outbox) sweep() {
	for _, dir := range []string{o.opt.Dir, filepath.Join(o.opt.Dir, "receipts")} {
		for _, pattern := range []string{"*.tmp", ".*.tmp"} {
			names, _ := filepath.Glob(filepath.Join(dir, pattern)) // the patterns are good
			for _, name := range names {
				if err := o.opt.Disk.Remove(name); err != nil {
					o.opt.Log.Warn("outbox: sweep", "err", err)
				}
			}
		}
	}
}

// sweepSpares removes a spare that is not as it was made: bbolt panics, in goroutines of its own, at pages that make no sense.
func (o *Outbox) sweepSpares() {
	empty, err := emptyBolt(o.opt.SegmentSize)
	if err != nil {
		o.opt.Log.Warn("outbox: spare", "err", err)
	}
	for name, begin := range map[string][]byte{spareName: empty, spareLog: nil} {
		path := filepath.Join(o.opt.Dir, name)
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) || asMade(path, begin) {
			continue
		}
		o.opt.Log.Warn("outbox: a spare is not as it was made", "file", name)
		if err := o.opt.Disk.Remove(path); err != nil {
			o.opt.Log.Error("outbox: spare", "err", err)
		}
	}
}

// asMade says whether a file begins with these bytes, and has zeros behind.
func asMade(path string, begin []byte) bool {
	f, err := kit.OpenRegular(path)
	if err != nil {
		return false
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return false
	}
	b := make([]byte, len(begin))
	_, err = f.ReadAt(b, 0)
	return err == nil && bytes.Equal(b, begin) && blank(f, int64(len(begin)), st.Size())
}

// maker makes a file of a size, durable under its name.
type maker func(disk kit.Disk, path string, size int64) error

// makeLog writes a log's blocks beforehand, unless so many are putting that their batches pay for the journal.
func (o *Outbox) makeLog(disk kit.Disk, path string, size int64) error {
	if o.busy() {
		return makeFile(disk, path, nil, size, allocate)
	}
	return makeFile(disk, path, nil, size, fill)
}
