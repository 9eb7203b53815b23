package kit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Disk does to files what must survive a power cut. The zero Disk is the kernel's. A Watcher sees every operation before
// it is done: that is how a simulated disk learns what was made durable and what was not, and how it fails.
type Disk struct{ Watch Watcher }

// Watcher decides about one operation: it calls do, or returns an error as the disk would. It may do part of a write itself.
type Watcher interface {
	Do(op Op, do func() error) error
}

// OpKind is what is done.
type OpKind uint8

// The operations. What a file holds is durable after OpSync of it; that it exists under its name, after OpSyncDir.
const (
	OpCreate   OpKind = iota + 1 // Path, empty or emptied
	OpWrite                      // Path, Off, Data
	OpTruncate                   // Path, Off: the new size
	OpSync                       // Path: fdatasync
	OpRename                     // Path to To
	OpRemove                     // Path
	OpMkdir                      // Path
	OpSyncDir                    // Path
)

// Op is one operation. Data is the caller's and good only during Do.
type Op struct {
	Kind     OpKind
	Path, To string
	Off      int64
	Data     []byte
}

func (d Disk) do(op Op, do func() error) error {
	if d.Watch == nil {
		return do()
	}
	return d.Watch.Do(op, do)
}

// File is an open file of a Disk. Reading is the kernel's own.
type File struct {
	*os.File
	disk Disk
}

// Open opens a file; flags are those of os.OpenFile.
func (d Disk) Open(path string, flag int, perm fs.FileMode) (*File, error) {
	var f *os.File
	open := func() (err error) { f, err = os.OpenFile(path, flag, perm); return err }
	_, err := os.Lstat(path)
	if flag&os.O_TRUNC != 0 || flag&os.O_CREATE != 0 && errors.Is(err, fs.ErrNotExist) {
		err = d.do(Op{Kind: OpCreate, Path: path}, open)
	} else {
		err = open()
	}
	if err != nil {
		return nil, err
	}
	return &File{f, d}, nil
}

// WriteAt is the one way to write.
func (f *File) WriteAt(b []byte, off int64) (n int, err error) {
	err = f.disk.do(Op{Kind: OpWrite, Path: f.Name(), Off: off, Data: b}, func() (err error) { n, err = f.File.WriteAt(b, off); return err })
	return n, err
}

// Sync makes what the file holds durable (fdatasync). After an error nobody knows what is on the disk, and a second try
// may say yes to what the first one lost: let go of the file.
func (f *File) Sync() error {
	return f.disk.do(Op{Kind: OpSync, Path: f.Name()}, func() error {
		for {
			if err := unix.Fdatasync(int(f.Fd())); err == unix.EINTR {
				continue
			} else if err != nil {
				return err
			}
			var st unix.Statfs_t
			if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
				return err
			}
			return writable(st)
		}
	})
}

// Writable gives an error if what lies at the path is on a file system that takes no writes: to be asked after a sync that
// is not File's.
func Writable(path string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return err
	}
	return writable(st)
}

// Once the file system was made read-only ext4's fdatasync says yes and writes nothing (fs/ext4/fsync.c).
func writable(st unix.Statfs_t) error {
	if st.Flags&unix.ST_RDONLY != 0 {
		return unix.EROFS
	}
	return nil
}

// Truncate cuts or extends.
func (f *File) Truncate(size int64) error {
	return f.disk.do(Op{Kind: OpTruncate, Path: f.Name(), Off: size}, func() error { return f.File.Truncate(size) })
}

// Truncate cuts or extends.
func (d Disk) Truncate(path string, size int64) error {
	return d.do(Op{Kind: OpTruncate, Path: path, Off: size}, func() error { return os.Truncate(path, size) })
}

// Allocate extends a file by blocks that are the file's own and read as zeros, without writing them: what is written there
// later needs no more room, but a journal's commit. File systems that can't do it say errors.ErrUnsupported (fallocate(2)).
func (f *File) Allocate(size int64) error {
	return f.disk.do(Op{Kind: OpTruncate, Path: f.Name(), Off: size}, func() error {
		for {
			if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err != unix.EINTR {
				return err
			}
		}
	})
}

// Rename is durable after SyncDir of both folders.
func (d Disk) Rename(from, to string) error {
	return d.do(Op{Kind: OpRename, Path: from, To: to}, func() error { return os.Rename(from, to) })
}

// Remove is durable after SyncDir.
func (d Disk) Remove(path string) error {
	return d.do(Op{Kind: OpRemove, Path: path}, func() error { return os.Remove(path) })
}

// MkdirAll makes a folder, and those above it, durable as they come into being.
func (d Disk) MkdirAll(path string, perm fs.FileMode) error {
	if _, err := os.Stat(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	above := filepath.Dir(path)
	if err := d.MkdirAll(above, perm); err != nil {
		return err
	}
	if err := d.do(Op{Kind: OpMkdir, Path: path}, func() error { return os.Mkdir(path, perm) }); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return d.SyncDir(above)
}

// SyncDir makes a folder's entries durable: a created, renamed or removed file is not, until then.
func (d Disk) SyncDir(dir string) error {
	return d.do(Op{Kind: OpSyncDir, Path: dir}, func() error {
		f, err := os.Open(dir)
		if err != nil {
			return fmt.Errorf("kit: %w", err)
		}
		return errors.Join(f.Sync(), f.Close())
	})
}

// WriteFile replaces a file so that after a power cut either the old or the new content is there, whole: temporary
// file, fsync, rename, fsync of the folder. One writer at a time for each path.
func (d Disk) WriteFile(path string, data []byte, perm fs.FileMode) (err error) {
	dir := filepath.Dir(path)
	tmp := filepath.Join(dir, "."+filepath.Base(path)+".tmp")
	f, err := d.Open(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return fmt.Errorf("kit: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			d.Remove(tmp)
			err = fmt.Errorf("kit: write %s: %w", path, err)
		}
	}()
	if _, err = f.WriteAt(data, 0); err != nil {
		return err
	}
	if err = f.Chmod(perm); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = d.Rename(tmp, path); err != nil {
		return err
	}
	return d.SyncDir(dir)
}
