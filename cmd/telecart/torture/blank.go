package torture

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver

	"telecart/uplink/hub/store"
)

const database = "hub.db" // the store's, in its folder

// blankDatabase makes the database that each run's hub begins with: the schema, and no life of a store in it yet. Making
// it anew would take as long as all else that a run does at the hub.
func blankDatabase(dir string) ([]byte, error) {
	dir = filepath.Join(dir, "blank")
	defer os.RemoveAll(dir)
	s, err := store.Open(context.Background(), dir, store.Options{})
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("torture: %w", err)
	}
	path := filepath.Join(dir, database)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return nil, fmt.Errorf("torture: %w", err)
	}
	_, err = db.Exec(`DELETE FROM meta; DELETE FROM stores; PRAGMA wal_checkpoint(TRUNCATE)`)
	if err := errors.Join(err, db.Close()); err != nil {
		return nil, fmt.Errorf("torture: %w", err)
	}
	return os.ReadFile(path)
}
