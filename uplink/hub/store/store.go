// Package store is what the hub keeps: one SQLite database (hub.db) and a folder of sealed items (blobs).
//
// Parties: ingest writes items, entries, heads and receipts; clinic, audit, claim, identity and people keep their rows
// here through interfaces of their own; the operator makes backups. One process holds a folder at a time.
//
// Keys: none. Items stay sealed in blobs/TENANT/ab/HASH.item; whoever holds the record keys opens them again to look. The
// JSON part of an item's body is in the database, readable: the folder belongs on an encrypted disk.
//
// Invariants: the tenant is in every row, path and key. A transaction that returned is on the disk (WAL,
// synchronous=FULL). An item's row is never there without its file; a file without its row is an upload that was cut
// off, and is used when the cart comes again. A receipt belongs to one incarnation of the store; a folder that was
// restored from a backup takes a new one (incarnation.go). Migrations only go forward.
package store

import (
	"context"
	"database/sql"
	"embed"
	"encoding"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/pressly/goose/v3"
	"golang.org/x/sys/unix"
	"modernc.org/sqlite"

	"telecart/capture/ledger"
	"telecart/device/kit"
)

//go:embed migrations/*.sql
var migrations embed.FS

const dbName = "hub.db"

// Errors that say what state the store is in.
var (
	ErrNotFound = errors.New("store: not found")
	ErrFull     = errors.New("store: the disk is full")
	ErrInUse    = errors.New("store: another process holds this folder")
	ErrNewer    = errors.New("store: the database was written by a newer release; run that release, or restore a backup of this one")
)

// Options are what a store needs from outside.
type Options struct {
	Clock kit.Clock
	Log   *slog.Logger
	Disk  kit.Disk // of the sealed items; SQLite writes its files itself
	VFS   string   // through which it does, by its name (https://sqlite.org/vfs.html); "": the system's
	// Before is asked before each step that makes something durable ("chunk", "sync", "rename", "syncdir", "insert",
	// "commit"); an error stops there. Tests use it to cut the power. nil: never.
	Before func(step string) error
}

// Store is an open folder. It is safe for concurrent use.
type Store struct {
	dir         string
	w, r        *sql.DB // one writer; several readers
	lock        *os.File
	clock       kit.Clock
	log         *slog.Logger
	before      func(string) error
	disk        kit.Disk
	vfs         string
	incarnation ledger.ID
	synced      sync.Map // folders whose entry in the one above is known to be durable
	backup      sync.Mutex
	remembered  sync.Map // empty, but in a build with the planted bug
}

// Open opens or makes the store in dir. It brings the schema up to date and finds out whether the folder was restored.
func Open(ctx context.Context, dir string, o Options) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if o.Clock == nil {
		o.Clock = kit.System{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Before == nil {
		o.Before = func(string) error { return nil }
	}
	s := &Store{dir: dir, clock: o.Clock, log: o.Log, before: o.Before, disk: o.Disk, vfs: o.VFS}
	for _, d := range []string{dir, filepath.Join(dir, "blobs"), filepath.Join(dir, "partial")} {
		if err := o.Disk.MkdirAll(d, 0o700); err != nil {
			return nil, full(fmt.Errorf("store: %w", err))
		}
	}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(full(err), s.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) (err error) {
	if s.lock, err = os.OpenFile(filepath.Join(s.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := unix.Flock(int(s.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("%w: %s", ErrInUse, s.dir)
	}
	path := filepath.Join(s.dir, dbName)
	if s.w, err = connect(path, s.vfs, "journal_mode(WAL)"); err != nil {
		return err
	}
	s.w.SetMaxOpenConns(1)
	// After a sync of the WAL that failed, and a kill, its pages may be in the kernel's memory alone, and the next sync of it says
	// yes (fsync(2)). What is found there is built upon: it is written into the database first.
	if _, err := s.w.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		return full(fmt.Errorf("store: %w", err))
	}
	if err := migrate(ctx, s.w); err != nil {
		return err
	}
	if s.r, err = connect(path, s.vfs, "query_only(1)"); err != nil {
		return err
	}
	s.r.SetMaxOpenConns(4)
	if err := kit.SyncDir(s.dir); err != nil {
		return err
	}
	return s.settleIncarnation(ctx)
}

// connect opens a pool. The order of the pragmas counts: busy_timeout first, for journal_mode may have to wait.
func connect(path, vfs string, pragmas ...string) (*sql.DB, error) {
	q := url.Values{"_txlock": {"immediate"}, "_pragma": append([]string{"busy_timeout(10000)", "foreign_keys(1)", "synchronous(FULL)"}, pragmas...)}
	if vfs != "" {
		q.Set("vfs", vfs)
	}
	return openPool((&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String())
}

func migrate(ctx context.Context, db *sql.DB) error {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, sub, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("store: migrations: %w", err)
	}
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("store: migrations: %w", err)
	}
	if current > target {
		return fmt.Errorf("%w (schema %d; %d is known here)", ErrNewer, current, target)
	}
	if current == target {
		return nil // as at nearly every start: Up would look at it all once more
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("store: migrations: %w", err)
	}
	return nil
}

// Close lets go of the folder.
func (s *Store) Close() error {
	var errs []error
	for _, db := range []*sql.DB{s.r, s.w} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// Incarnation names this life of the store.
func (s *Store) Incarnation() ledger.ID { return s.incarnation }

// write runs f in the one writing transaction. It is durable when write returns nil.
func (s *Store) write(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := s.w.BeginTx(ctx, nil)
	if err != nil {
		return wrap(err)
	}
	defer tx.Rollback()
	if err := f(tx); err != nil {
		return wrap(err)
	}
	if err := s.before("commit"); err != nil {
		return wrap(err)
	}
	return wrap(tx.Commit())
}

// exec runs one statement in a transaction of its own and says how many rows it changed.
func (s *Store) exec(ctx context.Context, query string, args ...any) (n int64, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, query, args...)
		if err != nil {
			return err
		}
		n, err = r.RowsAffected()
		return err
	})
	return n, err
}

// each runs a query and calls row for every row of the answer.
func (s *Store) each(ctx context.Context, row func(scan func(...any) error) error, query string, args ...any) error {
	rows, err := s.r.QueryContext(ctx, query, args...)
	if err != nil {
		return wrap(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return wrap(err)
		}
	}
	return wrap(rows.Err())
}

func wrap(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		return ErrNotFound
	}
	return full(fmt.Errorf("store: %w", err))
}

// sqliteFull is SQLITE_FULL (https://sqlite.org/rescode.html#full).
const sqliteFull = 13

// full marks an error that means a full disk or an exhausted quota.
func full(err error) error {
	var e *sqlite.Error
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.As(err, &e) && e.Code()&0xff == sqliteFull {
		return errors.Join(ErrFull, err)
	}
	return err
}

// nanos is how a time stands in a column. Times that don't fit (a cart's clock may say anything) go to the nearest end.
func nanos(t time.Time) int64 {
	switch {
	case t.IsZero():
		return 0
	case t.Before(time.Unix(0, math.MinInt64)):
		return math.MinInt64
	case t.After(time.Unix(0, math.MaxInt64)):
		return math.MaxInt64
	}
	return t.UnixNano()
}

type timeColumn struct{ t *time.Time }

// asTime reads what nanos wrote.
func asTime(t *time.Time) any { return timeColumn{t} }

func (c timeColumn) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("a time is stored as %T", v)
	}
	*c.t = time.Time{}
	if n != 0 {
		*c.t = time.Unix(0, n).UTC()
	}
	return nil
}

type textColumn struct{ encoding.TextUnmarshaler }

// asText reads a column that holds a hash or an id.
func asText(t encoding.TextUnmarshaler) any { return textColumn{t} }

func (c textColumn) Scan(v any) error {
	s, ok := v.(string)
	if !ok {
		return fmt.Errorf("a name is stored as %T", v)
	}
	return c.UnmarshalText([]byte(s))
}
