package drill

import (
	"bytes"
	crand "crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the hub's database is read, not through the hub

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/provisioning/identity"
	"telecart/uplink/outbox"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

func rand() string {
	var b [8]byte
	crand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// check compares both ends, from the files alone.
func (d *drill) check(dir string) error {
	if err := d.checkHub(filepath.Join(dir, "hub")); err != nil {
		return err
	}
	if err := d.checkReceipts(filepath.Join(dir, "cart")); err != nil {
		return err
	}
	return d.checkPlaintext(filepath.Join(dir, "cart"), filepath.Join(dir, "cart.log"), filepath.Join(dir, "hub.log"))
}

// checkHub opens every item that the nurse was told of with the hub's record key, from the sealed file, and compares its
// plaintext with what she was told; counts what is there more than once; and follows the chain.
func (d *drill) checkHub(dir string) error {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "store", "hub.db")+"?mode=ro")
	if err != nil {
		return fmt.Errorf("drill: %w", err)
	}
	defer db.Close()
	records, err := readRecords(filepath.Join(dir, "keys.json"))
	if err != nil {
		return err
	}
	d.report.Captured = len(d.told)
	for _, t := range d.told {
		var n int
		if err := db.QueryRow(`SELECT count(*) FROM items WHERE plain_sha256 = ?`, t.SHA256).Scan(&n); err != nil {
			return fmt.Errorf("drill: %w", err)
		}
		d.report.Duplicated += max(0, n-1)
		sum, err := openSealed(records, filepath.Join(dir, "store", "blobs", d.stage.Tenant, t.ID[:2], t.ID+".item"))
		if err != nil || sum != t.SHA256 {
			d.report.Lost++
			d.note("LOST: %s %s, told at %s: %v", t.Kind, t.ID, t.Told, err)
			continue
		}
		d.report.Delivered++
	}
	return d.checkChain(db)
}

func readRecords(path string) (*seal.Records, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("drill: %w", err)
	}
	var keys struct {
		Records []seal.RecordKey `json:"records"`
	}
	if err := json.Unmarshal(b, &keys); err != nil {
		return nil, fmt.Errorf("drill: %w", err)
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
		return "", errors.New("drill: a sealed file that is too short")
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

// checkChain demands gapless numbers and an unbroken chain for each incarnation of the cart's ledger.
func (d *drill) checkChain(db *sql.DB) error {
	rows, err := db.Query(`SELECT incarnation, number, kind, run, prev, body, hash FROM entries WHERE practice = 0 ORDER BY incarnation, number`)
	if err != nil {
		return fmt.Errorf("drill: %w", err)
	}
	defer rows.Close()
	var chain ledger.Chain
	n := 0
	for rows.Next() {
		var e ledger.Entry
		var inc, run, prev, body, hash string
		if err := rows.Scan(&inc, &e.Number, &e.Kind, &run, &prev, &body, &hash); err != nil {
			return fmt.Errorf("drill: %w", err)
		}
		if err := errors.Join(e.Incarnation.UnmarshalText([]byte(inc)), e.Run.UnmarshalText([]byte(run)), e.Prev.UnmarshalText([]byte(prev)),
			e.Body.UnmarshalText([]byte(body))); err != nil {
			return err
		}
		if n == 0 || e.Incarnation != chain.Incarnation {
			chain = ledger.NewChain(ledger.Book{Tenant: d.stage.Tenant, Cart: d.stage.Cart}, e.Incarnation, e.Run)
		}
		if err := chain.Follows(e); err != nil {
			return fmt.Errorf("%w: the hub's copy of the ledger: %w", ErrBroken, err)
		}
		chain = chain.Advance(e)
		n++
	}
	if n < len(d.told) {
		return fmt.Errorf("%w: %d ledger entries at the hub for %d items", ErrBroken, n, len(d.told))
	}
	return rows.Err()
}

// checkReceipts verifies the receipts on the cart's disk under the key list that its claim's root signed.
func (d *drill) checkReceipts(dir string) error {
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
		return fmt.Errorf("drill: %w", err)
	}
	var signed wire.SignedKeyList
	if err := json.Unmarshal(b, &signed); err != nil {
		return fmt.Errorf("drill: %w", err)
	}
	keys, err := signed.Open(me.KeysRoot[:], 0)
	if err != nil {
		return err
	}
	receipts, err := outbox.ReadReceipts(filepath.Join(dir, "care"))
	if err != nil {
		return err
	}
	segments, err := filepath.Glob(filepath.Join(dir, "care", "*.seg"))
	if err != nil {
		return fmt.Errorf("drill: %w", err)
	}
	entries := map[ledger.Hash]ledger.Entry{}
	for _, s := range segments {
		x, err := outbox.Salvage(s)
		if err != nil {
			return err
		}
		for _, i := range x.Items {
			entries[i.Entry.Body] = i.Entry
		}
	}
	good := map[string]bool{}
	for _, r := range receipts {
		e, ok := entries[r.Item]
		if err := r.Verify(keys, ledger.Book{Tenant: d.stage.Tenant, Cart: d.stage.Cart}, e); err == nil && ok && r.Verdict == wire.Received {
			good[r.Item.String()] = true
		}
	}
	for _, t := range d.told {
		if good[t.ID] {
			d.report.ReceiptsVerified++
		} else {
			d.note("NO RECEIPT: %s %s", t.Kind, t.ID)
		}
	}
	return nil
}

// checkPlaintext searches every byte of the cart's state folder, and of both logs.
func (d *drill) checkPlaintext(places ...string) error {
	searched := int64(0)
	look := func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		searched += int64(len(b))
		for _, p := range d.planted {
			if n := bytes.Count(b, p); n > 0 {
				d.report.PlaintextHits += n
				d.note("READABLE: %q in %s", p, filepath.Base(path))
			}
		}
		return nil
	}
	for _, p := range places {
		before := searched
		if err := filepath.WalkDir(p, look); err != nil {
			return fmt.Errorf("drill: %w", err)
		}
		if searched == before {
			return fmt.Errorf("drill: there is nothing in %s to search", filepath.Base(p))
		}
	}
	d.note("%d bytes of the cart's disk and both logs searched for %d things", searched, len(d.planted))
	return nil
}
