package torture

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"

	"telecart/device/kit"
)

// vfs stands between SQLite and the system's VFS and has a disk decide about each write, truncation, sync and name in the
// hub's folder (https://sqlite.org/vfs.html, 2.4: shims). Reading, locks and the memory that connections share stay the
// system's: nobody counts on them after a power cut.
//
// SQLite here is C turned into Go: a pointer to a function is a pointer to a Go func value, and what it takes must lie
// still and be kept. Both hold for what vfs keeps.
type vfs struct {
	name    string
	tls     *libc.TLS
	system  *sqlite3.Tsqlite3_vfs
	own     uintptr             // ours, in memory of C's, like all that SQLite follows pointers into
	methods map[uintptr]uintptr // ours, by the system's

	open     func(tls *libc.TLS, vfs, name, file uintptr, flags int32, out uintptr) int32
	remove   func(tls *libc.TLS, vfs, name uintptr, syncDir int32) int32
	closes   func(tls *libc.TLS, file uintptr) int32
	write    func(tls *libc.TLS, file, data uintptr, n int32, off int64) int32
	truncate func(tls *libc.TLS, file uintptr, size int64) int32
	sync     func(tls *libc.TLS, file uintptr, flags int32) int32

	mu    sync.Mutex
	dir   string // the hub's; what lies elsewhere is on another disk
	disk  *disk
	files map[uintptr]*dbFile // that are open
}

// dbFile is an open file in the hub's folder.
type dbFile struct {
	path   string
	named  bool // its name is durable. The system's VFS syncs the folder with the first sync of a log that it made (os_unix.c)
	system *sqlite3.Tsqlite3_io_methods
}

const sqliteOK = sqlite3.SQLITE_OK

// at makes a pointer of an address that SQLite gave.
func at[T any](address uintptr) *T { return *(**T)(unsafe.Pointer(&address)) }

// function makes one of a pointer to one.
func function[F any](pointer uintptr) F { return *(*F)(unsafe.Pointer(&pointer)) }

// pointer is the way back; f must be kept.
func pointer[F any](f *F) uintptr { return *(*uintptr)(unsafe.Pointer(f)) }

// copied puts a value into memory of C's, to be freed.
func copied[T any](tls *libc.TLS, value T) uintptr {
	p := libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(value)))
	*at[T](p) = value
	return p
}

// newVFS makes SQLite know it by its name.
func newVFS() (*vfs, error) {
	v := &vfs{tls: libc.NewTLS(), methods: map[uintptr]uintptr{}, files: map[uintptr]*dbFile{}}
	v.name = fmt.Sprintf("torture-%p", v)
	found := sqlite3.Xsqlite3_vfs_find(v.tls, 0)
	name, err := libc.CString(v.name)
	if found == 0 || err != nil {
		return nil, errors.Join(errors.New("torture: SQLite has no VFS"), err)
	}
	v.open, v.remove, v.closes, v.write, v.truncate, v.sync = v.doOpen, v.doRemove, v.doClose, v.doWrite, v.doTruncate, v.doSync
	v.system = at[sqlite3.Tsqlite3_vfs](found)
	own := *v.system
	own.FpNext, own.FzName, own.FxOpen, own.FxDelete = 0, name, pointer(&v.open), pointer(&v.remove)
	v.own = copied(v.tls, own)
	if rc := sqlite3.Xsqlite3_vfs_register(v.tls, v.own, 0); rc != sqliteOK {
		return nil, fmt.Errorf("torture: SQLite takes no VFS: %d", rc)
	}
	return v, nil
}

func (v *vfs) close() {
	sqlite3.Xsqlite3_vfs_unregister(v.tls, v.own)
	libc.Xfree(v.tls, at[sqlite3.Tsqlite3_vfs](v.own).FzName)
	libc.Xfree(v.tls, v.own)
	for _, m := range v.methods {
		libc.Xfree(v.tls, m)
	}
	v.tls.Close()
}

// serve says whose folder it is, and on which disk.
func (v *vfs) serve(dir string, d *disk) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.dir, v.disk = dir, d
}

// watched says whether a file lies in the hub's folder; "" is a file without a name, which nobody finds after a power cut.
func (v *vfs) watched(name uintptr) (path string, yes bool) {
	if name == 0 {
		return "", false
	}
	path = filepath.Clean(libc.GoString(name))
	v.mu.Lock()
	defer v.mu.Unlock()
	return path, within(path, v.dir)
}

func (v *vfs) file(file uintptr) *dbFile {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.files[file]
}

func (v *vfs) doOpen(tls *libc.TLS, vfs, name, file uintptr, flags int32, out uintptr) int32 {
	open := function[func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32](v.system.FxOpen)
	path, yes := v.watched(name)
	if !yes {
		return open(tls, vfs, name, file, flags, out)
	}
	do := func() int32 { return open(tls, vfs, name, file, flags, out) }
	_, err := os.Lstat(path)
	made := errors.Is(err, fs.ErrNotExist) && flags&sqlite3.SQLITE_OPEN_CREATE != 0
	var rc int32
	if made {
		rc = v.do(kit.Op{Kind: kit.OpCreate, Path: path}, sqlite3.SQLITE_CANTOPEN, do)
	} else {
		rc = do()
	}
	f := at[sqlite3.Tsqlite3_file](file)
	if f.FpMethods == 0 {
		return rc
	}
	if rc != sqliteOK { // killed when it was open: it is not, for SQLite
		function[func(*libc.TLS, uintptr) int32](at[sqlite3.Tsqlite3_io_methods](f.FpMethods).FxClose)(tls, file)
		f.FpMethods = 0
		return rc
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.files[file] = &dbFile{path, !made, at[sqlite3.Tsqlite3_io_methods](f.FpMethods)}
	f.FpMethods = v.ours(f.FpMethods)
	return rc
}

// ours are the system's methods with those of vfs among them. It needs mu.
func (v *vfs) ours(system uintptr) uintptr {
	m := v.methods[system]
	if m == 0 {
		own := *at[sqlite3.Tsqlite3_io_methods](system)
		own.FxClose, own.FxWrite, own.FxTruncate, own.FxSync = pointer(&v.closes), pointer(&v.write), pointer(&v.truncate), pointer(&v.sync)
		m = copied(v.tls, own)
		v.methods[system] = m
	}
	return m
}

func (v *vfs) doClose(tls *libc.TLS, file uintptr) int32 {
	v.mu.Lock()
	f := v.files[file]
	delete(v.files, file)
	v.mu.Unlock()
	return function[func(*libc.TLS, uintptr) int32](f.system.FxClose)(tls, file)
}

func (v *vfs) doWrite(tls *libc.TLS, file, data uintptr, n int32, off int64) int32 {
	f := v.file(file)
	op := kit.Op{Kind: kit.OpWrite, Path: f.path, Off: off, Data: unsafe.Slice(at[byte](data), n)}
	return v.do(op, sqlite3.SQLITE_IOERR_WRITE, func() int32 {
		return function[func(*libc.TLS, uintptr, uintptr, int32, int64) int32](f.system.FxWrite)(tls, file, data, n, off)
	})
}

func (v *vfs) doTruncate(tls *libc.TLS, file uintptr, size int64) int32 {
	f := v.file(file)
	return v.do(kit.Op{Kind: kit.OpTruncate, Path: f.path, Off: size}, sqlite3.SQLITE_IOERR_TRUNCATE, func() int32 {
		return function[func(*libc.TLS, uintptr, int64) int32](f.system.FxTruncate)(tls, file, size)
	})
}

func (v *vfs) doSync(tls *libc.TLS, file uintptr, flags int32) int32 {
	f := v.file(file)
	rc := v.do(kit.Op{Kind: kit.OpSync, Path: f.path}, sqlite3.SQLITE_IOERR_FSYNC, func() int32 {
		return function[func(*libc.TLS, uintptr, int32) int32](f.system.FxSync)(tls, file, flags)
	})
	if rc == sqliteOK && !f.named {
		f.named = true
		rc = v.syncDir(f.path)
	}
	return rc
}

func (v *vfs) doRemove(tls *libc.TLS, vfs, name uintptr, syncDir int32) int32 {
	remove := function[func(*libc.TLS, uintptr, uintptr, int32) int32](v.system.FxDelete)
	path, yes := v.watched(name)
	if _, err := os.Lstat(path); !yes || err != nil {
		return remove(tls, vfs, name, syncDir)
	}
	rc := v.do(kit.Op{Kind: kit.OpRemove, Path: path}, sqlite3.SQLITE_IOERR_DELETE, func() int32 { return remove(tls, vfs, name, syncDir) })
	if rc == sqliteOK && syncDir != 0 {
		rc = v.syncDir(path)
	}
	return rc
}

func (v *vfs) syncDir(path string) int32 {
	return v.do(kit.Op{Kind: kit.OpSyncDir, Path: filepath.Dir(path)}, sqlite3.SQLITE_IOERR_DIR_FSYNC, func() int32 { return sqliteOK })
}

// errSQLite is an error that SQLite has a code for.
var errSQLite = errors.New("torture: SQLite could not")

// do has the disk decide, and gives what came of it as SQLite says it.
func (v *vfs) do(op kit.Op, fails int32, do func() int32) (rc int32) {
	v.mu.Lock()
	d := v.disk
	v.mu.Unlock()
	err := d.Do(op, func() error {
		if rc = do(); rc != sqliteOK {
			return errSQLite
		}
		return nil
	})
	switch {
	case err == nil || rc != sqliteOK:
		return rc
	case errors.Is(err, syscall.ENOSPC):
		return sqlite3.SQLITE_FULL
	}
	return fails
}

// ofSQLite says whether a file is the hub's database, or belongs to it.
func ofSQLite(path string) bool { return strings.HasPrefix(filepath.Base(path), database) }

// choices decides about what is pending of a file. SQLite's have a source of their own: more or less of it is used up when a
// run is played again.
func (d *disk) choices(path string) *rand.Rand {
	if ofSQLite(path) {
		return rand.New(rand.NewPCG(d.rng.Uint64(), 0))
	}
	return d.rng
}
