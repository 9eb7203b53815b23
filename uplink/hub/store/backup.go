package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"telecart/capture/ledger"
	"telecart/device/kit"
)

// Watermark is up to which receipt of this incarnation a backup holds everything. 0: there is no backup yet.
func (s *Store) Watermark(ctx context.Context) (sequence uint64, err error) {
	err = s.r.QueryRowContext(ctx, `SELECT watermark FROM meta`).Scan(&sequence)
	return sequence, wrap(err)
}

// Backup copies the store to dir: a folder on another disk, to which earlier backups may have gone. Items that are
// there already are kept, for they never change; the database replaces the one before. Only when all of it is durable
// does the watermark move. To restore, copy dir to where the store was and open it: it takes a new incarnation.
//
// Files are copied, never linked: a link shares the very blocks whose loss the backup is for. Carts erase what the
// watermark covers.
func (s *Store) Backup(ctx context.Context, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	if rel, err := filepath.Rel(s.dir, dir); err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return fmt.Errorf("store: backup: %s lies in the store itself; choose a folder on another disk", dir)
	}
	s.backup.Lock()
	defer s.backup.Unlock()
	if err := s.copyTo(ctx, dir); err != nil {
		return full(fmt.Errorf("store: backup: %w", err))
	}
	return nil
}

func (s *Store) copyTo(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if _, err := os.Lstat(filepath.Join(dir, stampName)); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is a store in use, not a folder for backups", dir)
	}
	if _, err := os.Lstat(filepath.Join(dir, dbName+"-wal")); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is a store in use, not a folder for backups", dir)
	}
	tmp := filepath.Join(dir, "."+dbName+".tmp")
	defer os.Remove(tmp)
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	src, err := connect(filepath.Join(s.dir, dbName), s.vfs)
	if err != nil {
		return err
	}
	defer src.Close()
	if _, err := src.ExecContext(ctx, `VACUUM INTO ?`, tmp); err != nil {
		return err
	}
	sequence, err := s.copyBlobs(ctx, tmp, dir)
	if err != nil {
		return err
	}
	if err := syncFile(tmp); err != nil { // VACUUM INTO leaves that to the caller
		return err
	}
	if err := s.before("backup"); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(dir, dbName)); err != nil {
		return err
	}
	if err := errors.Join(kit.SyncDir(dir), kit.SyncDir(filepath.Dir(dir))); err != nil {
		return err
	}
	_, err = s.exec(ctx, `UPDATE meta SET watermark = max(watermark, ?) WHERE store = ?`, sequence, s.incarnation.String())
	return err
}

// copyBlobs reads from the copied database which items there are, so that both are of one moment, and copies their
// files. It takes the token out of the copy: see incarnation.go.
func (s *Store) copyBlobs(ctx context.Context, db, dir string) (sequence uint64, err error) {
	q, err := connect(db, "", "journal_mode(DELETE)")
	if err != nil {
		return 0, err
	}
	q.SetMaxOpenConns(1)
	defer func() { err = errors.Join(err, q.Close()) }()
	if _, err := q.ExecContext(ctx, `UPDATE meta SET token = ''`); err != nil {
		return 0, err
	}
	var ok string
	if err := q.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&ok); err != nil || ok != "ok" {
		return 0, errors.Join(fmt.Errorf("the copied database is damaged: %s", ok), err)
	}
	if err := q.QueryRowContext(ctx, `SELECT sequence FROM meta`).Scan(&sequence); err != nil {
		return 0, err
	}
	rows, err := q.QueryContext(ctx, `SELECT tenant, item FROM items WHERE blob <> ''`)
	if err != nil {
		return 0, err
	}
	return sequence, errors.Join(s.copyRows(rows, dir), rows.Close())
}

func (s *Store) copyRows(rows *sql.Rows, dir string) error {
	folders := map[string]bool{dir: true, filepath.Join(dir, "blobs"): true}
	for rows.Next() {
		var tenant string
		var item ledger.Hash
		if err := rows.Scan(&tenant, asText(&item)); err != nil {
			return err
		}
		to := filepath.Join(dir, blobPath(tenant, item))
		folders[filepath.Dir(to)], folders[filepath.Join(dir, "blobs", tenant)] = true, true
		if err := s.copyItem(tenant, item, to); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for f := range folders {
		if err := kit.SyncDir(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// copyItem copies an item that is not there yet, checking every chunk: a watermark over a damaged file would make its cart
// erase the good one. One that is there, at its full length, was durable before it got its name.
func (s *Store) copyItem(tenant string, item ledger.Hash, to string) (err error) {
	src, err := s.OpenItem(tenant, item)
	if err != nil {
		return fmt.Errorf("item %s: %w", item, err)
	}
	defer src.Close()
	size := src.base + sealedSize(src.Header)
	if have, err := os.Stat(to); err == nil && have.Size() == size {
		return nil
	}
	if held, err := src.held(); err != nil || !all(held) {
		return errors.Join(fmt.Errorf("%w: item %s; no backup was made", ErrDamaged, item), err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	dst, err := os.OpenFile(to+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err = io.Copy(dst, io.NewSectionReader(src.f, 0, size)); err == nil {
		err = dst.Sync()
	}
	if err = errors.Join(err, dst.Close()); err != nil {
		return errors.Join(err, os.Remove(to+".tmp"))
	}
	return os.Rename(to+".tmp", to)
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
