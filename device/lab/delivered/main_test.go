package main

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	const list = `{"item":"i1","kind":"still","sha256":"s1"}` + "\n" + `{"item":"i2","kind":"note","sha256":"s2"}` + "\n"
	for _, c := range []struct{ name, sql, list, want string }{
		{"all there", ``, list, ""},
		{"no list", ``, "", "no list"},
		{"an empty list", ``, "\n", "names no item"},
		{"lost", `DELETE FROM items WHERE item = 'i2'`, list, "note i2: 0 times"},
		{"twice", `INSERT INTO items VALUES ('i3', 's2', 1, 'f')`, list, "note i2: 2 times"},
		{"other bytes", `UPDATE items SET plain_sha256 = CASE item WHEN 'i1' THEN 's2' ELSE 's1' END`, list, "something else"},
		{"refused", `UPDATE items SET verdict = 2 WHERE item = 'i1'`, list, "verdict 2"},
		{"no receipt", `DELETE FROM receipts WHERE item = 'i1'`, list, "0 receipts"},
		{"no file", `UPDATE items SET blob = 'g' WHERE item = 'i1'`, list, "sealed file"},
		{"a gap", `UPDATE entries SET number = 9 WHERE number = 2`, list, "span"},
		{"a number twice", `INSERT INTO entries VALUES ('a', 0, 2); DELETE FROM entries WHERE number = 1`, list, "span"},
		{"no ledger", `DELETE FROM entries`, list, "0 ledger entries"},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := t.TempDir()
			db, err := sql.Open("sqlite", filepath.Join(store, "hub.db"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.Exec(`CREATE TABLE items (item TEXT, plain_sha256 TEXT, verdict INTEGER, blob TEXT);
				CREATE TABLE receipts (item TEXT, verdict INTEGER);
				CREATE TABLE entries (incarnation TEXT, practice INTEGER, number INTEGER);
				INSERT INTO items VALUES ('i1', 's1', 1, 'f'), ('i2', 's2', 1, 'f');
				INSERT INTO receipts VALUES ('i1', 1), ('i2', 1);
				INSERT INTO entries VALUES ('a', 0, 0), ('a', 0, 1), ('a', 0, 2);` + c.sql); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(store, "f"), []byte("sealed"), 0o600); err != nil {
				t.Fatal(err)
			}
			told := filepath.Join(store, "told.jsonl")
			if c.list != "" {
				if err := os.WriteFile(told, []byte(c.list), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			seen, err := check(store, told)
			if c.want == "" && (err != nil || !strings.HasPrefix(seen, "2 of 2 told")) {
				t.Errorf("%q, %v", seen, err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%q, %v, want %q", seen, err, c.want)
			}
		})
	}
}
