// Package oracle says what became of what the nurse was told is saved, from the files of both ends alone.
//
// Parties: whoever played the nurse wrote down each "saved"; both daemons have ended. Nothing of theirs is used but the format.
//
// Keys: the hub's record keys open its sealed files; receipts are verified under the key list that the claim's root signed.
//
// Invariants: an item counts as delivered only if the hub's sealed file opens to the very bytes that the nurse was told of.
package oracle

import (
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the hub's database is read, not through the hub

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/provisioning/identity"
	"telecart/uplink/outbox"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// Told is one line of captured.jsonl: the nurse was told that this is saved.
type Told struct {
	ID     string    `json:"id"`
	Kind   string    `json:"kind"`
	SHA256 string    `json:"sha256"` // of the plaintext
	Told   time.Time `json:"told"`
}

// Verdict is what became of it all.
type Verdict struct {
	Saved, Delivered, Lost, Duplicated int
	Receipts                           int // verified, on the cart
	Entries                            int // of the ledger, at the hub
}

// ErrChain: the hub's copy of a ledger has a gap or a break, or is shorter than what it should hold.
var ErrChain = errors.New("oracle: the hub's copy of the ledger")

// check is one comparison.
type check struct {
	book ledger.Book
	told []Told
	note func(format string, args ...any)
	// entries are the ledger's at the hub, by what they are about.
	entries map[ledger.Hash][]ledger.Entry
	Verdict
}

// Check compares dir/hub and dir/cart with what was told. Note is told what is wrong with single items.
func Check(dir string, book ledger.Book, told []Told, note func(format string, args ...any)) (Verdict, error) {
	c := &check{book: book, told: told, note: note, entries: map[ledger.Hash][]ledger.Entry{}}
	err := c.hub(filepath.Join(dir, "hub"))
	if err == nil {
		err = c.receipts(filepath.Join(dir, "cart"))
	}
	return c.Verdict, err
}

// hub opens every item that the nurse was told of with the hub's record key, from the sealed file, and compares its
// plaintext with what she was told; counts what is there more than once; and follows the chain.
func (c *check) hub(dir string) error {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "store", "hub.db")+"?mode=ro")
	if err != nil {
		return fmt.Errorf("oracle: %w", err)
	}
	defer db.Close()
	records, err := readRecords(filepath.Join(dir, "keys.json"))
	if err != nil {
		return err
	}
	c.Saved = len(c.told)
	for _, t := range c.told {
		var n int
		if err := db.QueryRow(`SELECT count(*) FROM items WHERE plain_sha256 = ?`, t.SHA256).Scan(&n); err != nil {
			return fmt.Errorf("oracle: %w", err)
		}
		c.Duplicated += max(0, n-1)
		sum, err := openSealed(records, filepath.Join(dir, "store", "blobs", c.book.Tenant, t.ID[:2], t.ID+".item"))
		if err != nil || sum != t.SHA256 {
			c.Lost++
			c.note("LOST: %s %s, told at %s: %v", t.Kind, t.ID, t.Told, err)
			continue
		}
		c.Delivered++
	}
	return c.chain(db)
}

func readRecords(path string) (*seal.Records, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("oracle: %w", err)
	}
	var keys struct {
		Records []seal.RecordKey `json:"records"`
	}
	if err := json.Unmarshal(b, &keys); err != nil {
		return nil, fmt.Errorf("oracle: %w", err)
	}
	return seal.NewRecords(keys.Records)
}

// openSealed opens one sealed file (magic 4, length 4, manifest, chunks) and gives the SHA-256 of its plaintext.
func openSealed(records *seal.Records, path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if len(b) < 8 || 8+int(binary.BigEndian.Uint32(b[4:])) > len(b) {
		return "", errors.New("oracle: a sealed file that is too short")
	}
	n := 8 + int(binary.BigEndian.Uint32(b[4:]))
	m, h, w, err := wire.UnmarshalManifest(b[8:n])
	if err != nil {
		return "", err
	}
	b = b[n:]
	sum := sha256.New()
	err = records.Open(w, m.Header, h, func(i int) ([]byte, error) {
		size := h.SealedSize(i)
		if len(b) < size {
			return nil, io.ErrUnexpectedEOF
		}
		c := b[:size]
		b = b[size:]
		return c, nil
	}, func(p []byte) error { sum.Write(p); return nil })
	return hex.EncodeToString(sum.Sum(nil)), err
}

// chain demands gapless numbers and an unbroken chain for each incarnation of the cart's ledger.
func (c *check) chain(db *sql.DB) error {
	rows, err := db.Query(`SELECT incarnation, number, kind, run, prev, body, hash FROM entries WHERE practice = 0 ORDER BY incarnation, number`)
	if err != nil {
		return fmt.Errorf("oracle: %w", err)
	}
	defer rows.Close()
	var chain ledger.Chain
	n := 0
	for rows.Next() {
		var e ledger.Entry
		var inc, run, prev, body, hash string
		if err := rows.Scan(&inc, &e.Number, &e.Kind, &run, &prev, &body, &hash); err != nil {
			return fmt.Errorf("oracle: %w", err)
		}
		if err := errors.Join(e.Incarnation.UnmarshalText([]byte(inc)), e.Run.UnmarshalText([]byte(run)), e.Prev.UnmarshalText([]byte(prev)),
			e.Body.UnmarshalText([]byte(body))); err != nil {
			return err
		}
		if n == 0 || e.Incarnation != chain.Incarnation {
			chain = ledger.NewChain(c.book, e.Incarnation, e.Run)
		}
		if err := chain.Follows(e); err != nil {
			return fmt.Errorf("%w: %w", ErrChain, err)
		}
		chain = chain.Advance(e)
		c.entries[e.Body] = append(c.entries[e.Body], e)
		n++
	}
	c.Entries = n
	if n < len(c.told) {
		return fmt.Errorf("%w: %d entries for %d items", ErrChain, n, len(c.told))
	}
	return rows.Err()
}

// receipts verifies the receipts on the cart's disk under the key list that its claim's root signec.
func (c *check) receipts(dir string) error {
	id, err := identity.Open(filepath.Join(dir, "identity"), kit.System{})
	if err != nil {
		return err
	}
	me, err := id.Identity()
	if err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(dir, "keys.json"))
	if err != nil {
		return fmt.Errorf("oracle: %w", err)
	}
	var signed wire.SignedKeyList
	if err := json.Unmarshal(b, &signed); err != nil {
		return fmt.Errorf("oracle: %w", err)
	}
	keys, err := signed.Open(me.KeysRoot[:], 0)
	if err != nil {
		return err
	}
	receipts, err := outbox.ReadReceipts(filepath.Join(dir, "care"))
	if err != nil {
		return err
	}
	good := map[string]bool{}
	for _, r := range receipts {
		for _, e := range c.entries[r.Item] {
			if r.Verify(keys, c.book, e) == nil && r.Verdict == wire.Received {
				good[r.Item.String()] = true
			}
		}
	}
	for _, t := range c.told {
		if good[t.ID] {
			c.Receipts++
		} else {
			c.note("NO RECEIPT: %s %s", t.Kind, t.ID)
		}
	}
	return nil
}
