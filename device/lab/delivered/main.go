// Command delivered is the lab's last check, outside of the virtual machine: everything of which the nurse was told in the
// guest that it is saved is at the hub, once, opened, and signed for.
//
//	delivered STORE TOLD    STORE is the hub's store folder, TOLD the guest's told.jsonl; prints one JSON line
//
// It reads the hub's files when the hub has ended, not through the hub. What the hub found when it opened an item (the
// SHA-256 of the plaintext) must be what the agent found before it sealed it.
package main

import (
	"bufio"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: delivered STORE TOLD")
		os.Exit(2)
	}
	start := time.Now()
	seen, err := check(os.Args[1], os.Args[2])
	r := struct {
		Check   string  `json:"check"`
		Seconds float64 `json:"seconds"`
		Seen    string  `json:"seen"`
		Failed  string  `json:"failed,omitempty"`
	}{Check: "delivered", Seconds: float64(time.Since(start).Milliseconds()) / 1000, Seen: seen}
	if err != nil {
		r.Failed = err.Error()
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil || r.Failed != "" {
		os.Exit(1)
	}
}

// told is one item of which the nurse was told that it is saved.
type told struct {
	ID     string `json:"item"`
	Kind   string `json:"kind"`
	SHA256 string `json:"sha256"` // of the plaintext
}

func check(store, list string) (seen string, err error) {
	all, err := read(list)
	if err != nil {
		return "", err
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(store, "hub.db")+"?mode=ro")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	kinds := map[string]int{}
	for _, t := range all {
		if err := there(db, store, t); err != nil {
			return "", fmt.Errorf("%s %s: %w", t.Kind, t.ID, err)
		}
		kinds[t.Kind]++
	}
	items, err := gapless(db)
	if err != nil {
		return "", err
	}
	if items < len(all) {
		return "", fmt.Errorf("%d ledger entries at the hub for %d items", items, len(all))
	}
	b, err := json.Marshal(kinds) // sorted
	return fmt.Sprintf("%d of %d told are at the hub with receipts, none lost, none twice: %s; ledger of %d without a gap", len(all), len(all), b, items), err
}

func read(list string) (all []told, err error) {
	f, err := os.Open(list)
	if err != nil {
		return nil, fmt.Errorf("the guest left no list of what it was told: %w", err)
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		var t told
		if err := json.Unmarshal(in.Bytes(), &t); err != nil || t.ID == "" || t.SHA256 == "" {
			return nil, fmt.Errorf("%s: line %d names no item", list, len(all)+1)
		}
		all = append(all, t)
	}
	if len(all) == 0 {
		return nil, errors.New("the guest was told of no item")
	}
	return all, nil
}

// received is the verdict of a receipt that says: opened and durable.
const received = 1

func there(db *sql.DB, store string, t told) error {
	var n int
	if err := db.QueryRow(`SELECT count(*) FROM items WHERE plain_sha256 = ?`, t.SHA256).Scan(&n); err != nil {
		return err
	}
	if n != 1 {
		return fmt.Errorf("%d times at the hub", n)
	}
	var sum, blob string
	var verdict, receipts int
	err := db.QueryRow(`SELECT plain_sha256, blob, verdict, (SELECT count(*) FROM receipts r WHERE r.item = items.item AND r.verdict = ?)
		FROM items WHERE item = ?`, received, t.ID).Scan(&sum, &blob, &verdict, &receipts)
	switch {
	case err != nil:
		return err
	case sum != t.SHA256:
		return fmt.Errorf("the hub opened something else: SHA-256 %s, told %s", sum, t.SHA256)
	case verdict != received || receipts == 0:
		return fmt.Errorf("verdict %d, %d receipts", verdict, receipts)
	}
	if f, err := os.Stat(filepath.Join(store, blob)); err != nil || f.Size() == 0 {
		return fmt.Errorf("its sealed file: %v", err)
	}
	return nil
}

// gapless counts the ledger's entries and demands every number.
func gapless(db *sql.DB) (total int, err error) {
	rows, err := db.Query(`SELECT incarnation, count(*), count(DISTINCT number), max(number) - min(number) + 1 FROM entries WHERE practice = 0 GROUP BY incarnation`)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var incarnation string
		var n, numbers, span int
		if err := rows.Scan(&incarnation, &n, &numbers, &span); err != nil {
			return 0, err
		}
		if n != span || numbers != span {
			return 0, fmt.Errorf("the hub's copy of ledger %s has %d entries and %d numbers for a span of %d", incarnation, n, numbers, span)
		}
		total += n
	}
	return total, rows.Err()
}
