package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/device/kit/planted"
)

// A restored database has forgotten receipts that carts rely on. How the store notices, without being told:
//
// Beside hub.db lies host.stamp, which Backup does not copy. It holds a random token, which the database holds too, and
// the inode number of hub.db. Every Open draws a new token. So a folder restored from Backup has no stamp and an empty
// token; a database copied back over a newer one has an old token; a folder copied as a whole has another inode. Each
// of these takes a new incarnation. A false alarm (a folder moved to another disk) only makes carts offer again what
// they still hold. A snapshot of a whole disk brings the stamp back as well and can't be told apart: after restoring
// one, call AdoptRestored.
const stampName = "host.stamp"

type stamp struct {
	Tokens []string `json:"tokens"` // the one in use; while it is replaced, both
	Inode  uint64   `json:"inode"`
}

// settleIncarnation keeps the incarnation if the folder is the one that was closed, and else takes a new one.
func (s *Store) settleIncarnation(ctx context.Context) error {
	var known ledger.ID
	var token string
	err := s.w.QueryRowContext(ctx, `SELECT store, token FROM meta`).Scan(asText(&known), &token)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("store: %w", err)
	}
	fresh := err != nil
	inode, err := inodeOf(filepath.Join(s.dir, dbName))
	if err != nil {
		return err
	}
	old, err := s.readStamp()
	if err != nil {
		return err
	}
	next := ledger.NewID().String()
	if err := s.writeStamp(stamp{Tokens: append(old.Tokens, next), Inode: inode}); err != nil {
		return err
	}
	s.incarnation = known
	same := token != "" && old.Inode == inode && slices.Contains(old.Tokens, token)
	if !fresh && (same || planted.Is(planted.RestoredHub)) {
		_, err = s.exec(ctx, `UPDATE meta SET token = ?`, next)
	} else {
		if !fresh {
			s.log.Warn("store: this folder was restored or copied; it takes a new incarnation, and carts will offer again what they hold")
		}
		err = s.newIncarnation(ctx, next)
	}
	if err != nil {
		return err
	}
	return s.writeStamp(stamp{Tokens: []string{next}, Inode: inode})
}

func (s *Store) newIncarnation(ctx context.Context, token string) error {
	id := ledger.NewID()
	err := s.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO stores (store, since) VALUES (?, ?)`, id.String(), nanos(s.clock.Now())); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO meta (id, store, sequence, watermark, token) VALUES (1, ?, 0, 0, ?)
			ON CONFLICT (id) DO UPDATE SET store = excluded.store, sequence = 0, watermark = 0, token = excluded.token`, id.String(), token)
		return err
	})
	if err == nil {
		s.incarnation = id
	}
	return err
}

// AdoptRestored makes the store in dir take a new incarnation at its next Open. For folders that came back by a way
// which the store can't see: a snapshot of a disk or of a virtual machine.
func AdoptRestored(dir string) error {
	if err := os.Remove(filepath.Join(dir, stampName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store: %w", err)
	}
	return kit.SyncDir(dir)
}

// readStamp is the zero stamp when there is none, or one that can't be read.
func (s *Store) readStamp() (st stamp, err error) {
	b, err := os.ReadFile(filepath.Join(s.dir, stampName))
	if errors.Is(err, fs.ErrNotExist) {
		return st, nil
	}
	if err != nil {
		return st, fmt.Errorf("store: %w", err)
	}
	if json.Unmarshal(b, &st) != nil || len(st.Tokens) > 8 {
		return stamp{}, nil
	}
	return st, nil
}

func (s *Store) writeStamp(st stamp) error {
	b, err := json.Marshal(st)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return kit.WriteFile(filepath.Join(s.dir, stampName), b, 0o600)
}

func inodeOf(path string) (uint64, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return 0, fmt.Errorf("store: %w", err)
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, fmt.Errorf("store: %s: no inode number", path)
	}
	return st.Ino, nil
}
