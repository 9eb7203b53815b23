package torture

import (
	"database/sql"
	"testing"
)

// A transaction that returned survives a power cut if SQLite was told to sync, and need not if it was told not to.
func TestDatabaseOnDisk(t *testing.T) {
	v, err := newVFS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.close)
	lost := func(synchronous string) (lost int) {
		for seed := range uint64(40) {
			r := newRig(t, seed)
			v.serve(r.dir, r.d)
			open := func() *sql.DB {
				db, err := sql.Open("sqlite", "file:"+r.path(database)+"?vfs="+v.name+"&_pragma=journal_mode(WAL)&_pragma=synchronous("+synchronous+")")
				r.must(err)
				db.SetMaxOpenConns(1)
				return db
			}
			exec := func(db *sql.DB, query string) {
				t.Helper()
				if _, err := db.Exec(query); err != nil {
					t.Fatal(err)
				}
			}
			db := open()
			exec(db, `CREATE TABLE x (y)`)
			r.must(db.Close())
			r.must(r.SyncDir(r.dir))
			db = open()
			for range 1 + seed%5 {
				exec(db, `INSERT INTO x VALUES (randomblob(9000))`)
			}
			r.d.kill()
			db.Close()
			r.must(r.d.cut())
			db = open()
			var rows uint64
			r.must(db.QueryRow(`SELECT count(*) FROM x`).Scan(&rows))
			r.must(db.Close())
			if rows < 1+seed%5 {
				lost++
			}
		}
		return lost
	}
	if n := lost("FULL"); n > 0 {
		t.Errorf("%d power cuts of 40 took what SQLite had synced", n)
	}
	if lost("NORMAL") == 0 {
		t.Error("no power cut took what SQLite had not synced")
	}
}
