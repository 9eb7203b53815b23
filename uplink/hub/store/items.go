package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device/kit/planted"
	"telecart/uplink/wire"
)

// Arrival is an item that ingest has opened, or found that it doesn't open.
type Arrival struct {
	Manifest wire.Manifest
	Header   wire.Header
	Verdict  wire.Verdict
	Reason   string // of a refusal, as a code

	// Of an item that opened; its file is settled.
	At    time.Time
	Meta  []byte // JSON part of the body
	Plain ledger.Hash
	Size  int64 // of the plaintext
}

// Settled is what became of an arrival.
type Settled struct {
	Receipt  []byte
	Verdict  wire.Verdict
	Sequence uint64
	Known    bool // the receipt was already there
	Stored   bool // the item was not received before
	Fork     bool // the entry's number was used before for something else
	Arrived  time.Time
}

// Sign makes the receipt. It runs inside the transaction.
type Sign func(store ledger.ID, sequence uint64) (receipt []byte, key uint32)

// Commit makes entry, item and receipt durable, all or none. If there is a receipt of this incarnation for the item and
// entry, it gives that one and changes nothing.
func (s *Store) Commit(ctx context.Context, a Arrival, sign Sign) (out Settled, err error) {
	item, entry := a.Manifest.Hash(), a.Manifest.Entry
	tenant := a.Header.Tenant
	err = s.write(ctx, func(tx *sql.Tx) error {
		out, err = s.receipt(ctx, tx, tenant, item, entry.Hash())
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		if err := s.before("insert"); err != nil {
			return err
		}
		now := s.clock.Now()
		out = Settled{Verdict: a.Verdict, Arrived: now}
		if _, out.Fork, err = insertEntry(ctx, tx, a.Header.Book(), entry, now); err != nil {
			return err
		}
		if out.Stored, err = insertItem(ctx, tx, a, item, now); err != nil {
			return err
		}
		if err := tx.QueryRowContext(ctx, `UPDATE meta SET sequence = sequence + 1 RETURNING sequence`).Scan(&out.Sequence); err != nil {
			return err
		}
		var key uint32
		out.Receipt, key = sign(s.incarnation, out.Sequence)
		_, err = tx.ExecContext(ctx, `INSERT INTO receipts (store, sequence, tenant, item, entry, key, verdict, receipt, at) VALUES (?,?,?,?,?,?,?,?,?)`,
			s.incarnation.String(), out.Sequence, tenant, item.String(), entry.Hash().String(), key, a.Verdict, out.Receipt, nanos(now))
		if planted.Is(planted.RememberedReceipt) {
			s.remembered.Store([2]ledger.Hash{item, entry.Hash()}, out)
		}
		return err
	})
	if err != nil {
		return Settled{}, err
	}
	return out, nil
}

// insertItem adds the item. One that had been refused may be received later (a restored hub has its keys again); one
// that was received stays as it came first.
func insertItem(ctx context.Context, tx *sql.Tx, a Arrival, item ledger.Hash, now time.Time) (added bool, err error) {
	h, e := a.Header, a.Manifest.Entry
	blob := ""
	if a.Verdict == wire.Received {
		blob = blobPath(h.Tenant, item)
	}
	r, err := tx.ExecContext(ctx, `INSERT INTO items (tenant, item, cart, practice, incarnation, number, entry, encounter, run, kind, urgent, at, arrived,
			verdict, reason, plain_sha256, size, blob, meta) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
		ON CONFLICT (tenant, item) DO UPDATE SET verdict = excluded.verdict, reason = excluded.reason, at = excluded.at,
			plain_sha256 = excluded.plain_sha256, size = excluded.size, blob = excluded.blob, meta = excluded.meta WHERE items.verdict <> ?`,
		h.Tenant, item.String(), h.Cart, h.Practice, e.Incarnation.String(), e.Number, e.Hash().String(), h.Encounter.String(), e.Run.String(), h.Kind,
		h.Urgency == wire.Urgent, nanos(a.At), nanos(now), a.Verdict, a.Reason, a.Plain.String(), a.Size, blob, string(a.Meta), wire.Received)
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n == 1, err
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func (s *Store) receipt(ctx context.Context, q querier, tenant string, item, entry ledger.Hash) (out Settled, err error) {
	if m, ok := s.remembered.Load([2]ledger.Hash{item, entry}); ok {
		return m.(Settled), nil
	}
	err = q.QueryRowContext(ctx, `SELECT receipt, verdict, sequence, at FROM receipts
		WHERE +store = ? AND tenant = ? AND item = ? AND (entry = ? OR ? = '') ORDER BY +sequence DESC LIMIT 1`, // + keeps SQLite from walking the whole store
		s.incarnation.String(), tenant, item.String(), entry.String(), orEmpty(entry)).Scan(&out.Receipt, &out.Verdict, &out.Sequence, asTime(&out.Arrived))
	out.Known = err == nil
	return out, wrap(err)
}

func orEmpty(h ledger.Hash) string {
	if h == (ledger.Hash{}) {
		return ""
	}
	return h.String()
}

// Receipt finds the receipt of this incarnation for an item that came with the entry of that hash; the zero hash means
// whichever entry came last. ErrNotFound if there is none.
func (s *Store) Receipt(ctx context.Context, tenant string, item, entry ledger.Hash) (Settled, error) {
	return s.receipt(ctx, s.r, tenant, item, entry)
}

// Item is an item that the hub received.
type Item struct {
	Book     ledger.Book
	Entry    ledger.Entry // the one it first came with
	Item     ledger.Hash
	Urgent   bool
	Sequence uint64 // of its newest receipt
	Key      uint32 // that signed it
	At       time.Time
	Arrived  time.Time
	Plain    ledger.Hash  // SHA-256 of the plaintext
	Size     int64        // of the plaintext
	Body     capture.Body // without blob
}

const itemColumns = `SELECT i.tenant, i.cart, i.practice, i.item, i.urgent, i.at, i.arrived, i.plain_sha256, i.size, i.meta,
	e.incarnation, e.number, e.kind, e.run, e.prev, e.body, r.key, r.sequence, r.store
	FROM items i
	JOIN entries e ON e.tenant = i.tenant AND e.cart = i.cart AND e.practice = i.practice AND e.incarnation = i.incarnation AND e.number = i.number AND e.hash = i.entry
	JOIN receipts r ON r.rowid = (SELECT max(x.rowid) FROM receipts x WHERE x.tenant = i.tenant AND x.item = i.item)
	WHERE i.verdict = 1 AND i.tenant = ? `

func scanItem(scan func(...any) error) (it Item, err error) {
	var meta string
	var store ledger.ID
	e := &it.Entry
	err = scan(&it.Book.Tenant, &it.Book.Cart, &it.Book.Practice, asText(&it.Item), &it.Urgent, asTime(&it.At), asTime(&it.Arrived), asText(&it.Plain),
		&it.Size, &meta, asText(&e.Incarnation), &e.Number, &e.Kind, asText(&e.Run), asText(&e.Prev), asText(&e.Body), &it.Key, &it.Sequence, asText(&store))
	if err != nil {
		return it, err
	}
	if err := json.Unmarshal([]byte(meta), &it.Body); err != nil {
		return it, fmt.Errorf("item %s: its stored description can't be read", it.Item)
	}
	return it, nil
}

func (s *Store) items(ctx context.Context, where string, args ...any) (out []Item, err error) {
	err = s.each(ctx, func(scan func(...any) error) error {
		it, err := scanItem(scan)
		out = append(out, it)
		return err
	}, itemColumns+where, args...)
	return out, err
}

// Item finds one received item.
func (s *Store) Item(ctx context.Context, tenant string, item ledger.Hash) (Item, error) {
	found, err := s.items(ctx, `AND i.item = ?`, tenant, item.String())
	if err == nil && len(found) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return Item{}, err
	}
	return found[0], nil
}

// Items are the received items of an encounter in the order of their numbers, at most limit.
func (s *Store) Items(ctx context.Context, tenant string, encounter ledger.ID, limit int) ([]Item, error) {
	return s.items(ctx, `AND i.encounter = ? ORDER BY i.number, i.item LIMIT ?`, tenant, encounter.String(), limit)
}

// ItemsSince are the tenant's items that arrived after t, oldest first, at most limit. To page, pass the last one's
// arrival and hash; the zero hash begins.
func (s *Store) ItemsSince(ctx context.Context, tenant string, t time.Time, after ledger.Hash, limit int) ([]Item, error) {
	return s.items(ctx, `AND (i.arrived, i.item) > (?, ?) ORDER BY i.arrived, i.item LIMIT ?`, tenant, nanos(t), orEmpty(after), limit)
}

// EncounterRow is an encounter of which at least one item is here.
type EncounterRow struct {
	Book      ledger.Book
	Encounter ledger.ID
	Items     int
	First     time.Time // when its first item arrived
	Last      time.Time
}

// Encounters are the tenant's encounters of which something arrived at or after since, newest first, at most limit.
func (s *Store) Encounters(ctx context.Context, tenant string, since time.Time, limit int) (out []EncounterRow, err error) {
	err = s.each(ctx, func(scan func(...any) error) error {
		r := EncounterRow{Book: ledger.Book{Tenant: tenant}}
		err := scan(&r.Book.Cart, &r.Book.Practice, asText(&r.Encounter), &r.Items, asTime(&r.First), asTime(&r.Last))
		out = append(out, r)
		return err
	}, `SELECT cart, practice, encounter, count(*), min(arrived), max(arrived) AS last FROM items WHERE tenant = ? AND verdict = 1
		GROUP BY cart, practice, encounter HAVING last >= ? ORDER BY last DESC LIMIT ?`, tenant, nanos(since), limit)
	return out, err
}
