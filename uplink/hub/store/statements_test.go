package store

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
)

func openKept(t *testing.T) *sql.DB {
	t.Helper()
	db, err := connect(filepath.Join(t.TempDir(), dbName), "", "journal_mode(WAL)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(`CREATE TABLE x (n INTEGER PRIMARY KEY); INSERT INTO x VALUES (1), (2), (3)`); err != nil {
		t.Fatal(err)
	}
	return db
}

// A statement that is in use is not given out again: two who read the same on one connection each read all of it.
func TestStatementInUse(t *testing.T) {
	tx, err := openKept(t).BeginTx(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	count := func(each func()) (n int) {
		rows, err := tx.Query(`SELECT n FROM x WHERE n > ? ORDER BY n`, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for n < 10 && rows.Next() {
			n++
			each()
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for range 2 { // the second time with statements that were kept
		outer := count(func() {
			if inner := count(func() {}); inner != 3 {
				t.Errorf("inner: %d rows", inner)
			}
		})
		if outer != 3 {
			t.Errorf("outer: %d rows", outer)
		}
	}
}

// A statement that is kept forgets what it was called with, outlives an error, and sees a schema that changed.
func TestStatementAgain(t *testing.T) {
	db := openKept(t)
	insert := func(args ...any) error { _, err := db.Exec(`INSERT INTO x VALUES (?)`, args...); return err }
	if err := insert(4); err != nil {
		t.Fatal(err)
	}
	if insert(4) == nil {
		t.Error("a number was taken twice")
	}
	if insert() == nil {
		t.Error("it still has its argument")
	}
	if err := insert(5); err != nil {
		t.Error(err)
	}
	columns := func() int {
		rows, err := db.Query(`SELECT * FROM x`)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		names, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	if n := columns(); n != 1 {
		t.Errorf("%d columns", n)
	}
	if _, err := db.Exec(`ALTER TABLE x ADD COLUMN m TEXT NOT NULL DEFAULT ''`); err != nil {
		t.Fatal(err)
	}
	if n := columns(); n != 2 {
		t.Errorf("%d columns", n)
	}
}
