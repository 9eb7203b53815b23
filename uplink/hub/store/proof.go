package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"telecart/capture/ledger"
	"telecart/uplink/wire"
)

// Life is one incarnation of the store.
type Life struct {
	Store ledger.ID
	Since time.Time // zero: before it was written down
}

// Lives are the incarnations that this folder went through, oldest first; the last one is the present one.
func (s *Store) Lives(ctx context.Context) (out []Life, err error) {
	err = s.each(ctx, func(scan func(...any) error) error {
		var l Life
		err := scan(asText(&l.Store), asTime(&l.Since))
		out = append(out, l)
		return err
	}, `SELECT store, since FROM stores ORDER BY since, rowid`)
	return out, err
}

// Proof is a receipt that a cart showed, of an item that is not here.
type Proof struct {
	wire.Receipt
	Shown time.Time
}

// KeepProofs keeps receipts that this hub signed (the caller verified them) of items that it doesn't have. Those whose item
// is here are left out; gone counts the others.
func (s *Store) KeepProofs(ctx context.Context, rs []wire.Receipt) (gone int, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		gone = 0
		for _, r := range rs {
			var here bool
			if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM items WHERE tenant = ? AND item = ? AND cart = ? AND verdict = 1)`,
				r.Book.Tenant, r.Item.String(), r.Book.Cart).Scan(&here); err != nil {
				return err
			}
			if here {
				continue
			}
			gone++
			if _, err := tx.ExecContext(ctx, `INSERT INTO proofs (tenant, cart, practice, incarnation, number, item, receipt, shown) VALUES (?,?,?,?,?,?,?,?)
				ON CONFLICT DO NOTHING`, r.Book.Tenant, r.Book.Cart, r.Book.Practice, r.Incarnation.String(), r.Number, r.Item.String(), r.Marshal(),
				nanos(s.clock.Now())); err != nil {
				return err
			}
		}
		return nil
	})
	return gone, err
}

// Proofs are a book's, by incarnation and number, of items that are still not here.
func (s *Store) Proofs(ctx context.Context, b ledger.Book) (out []Proof, err error) {
	err = s.each(ctx, func(scan func(...any) error) error {
		var raw []byte
		var p Proof
		if err := scan(&raw, asTime(&p.Shown)); err != nil {
			return err
		}
		r, err := wire.UnmarshalReceipt(raw)
		if err != nil || r.Book != b {
			return errors.New("a receipt that a cart showed can't be read any more")
		}
		p.Receipt = r
		out = append(out, p)
		return nil
	}, `SELECT receipt, shown FROM proofs p WHERE tenant = ? AND cart = ? AND practice = ?
		AND NOT EXISTS (SELECT 1 FROM items i WHERE i.tenant = p.tenant AND i.item = p.item AND i.verdict = 1) ORDER BY incarnation, number, item`,
		b.Tenant, b.Cart, b.Practice)
	return out, err
}

// Intact says whether a received item's file is here: the item's own manifest, and the length that goes with it. That costs
// one read; its chunks are not hashed. ErrNotFound or ErrDamaged if it is not.
func (s *Store) Intact(tenant string, item ledger.Hash) error {
	p, err := s.OpenItem(tenant, item)
	if err != nil {
		return err
	}
	defer p.Close()
	fi, err := p.f.Stat()
	if err != nil {
		return wrap(err)
	}
	if fi.Size() != p.base+sealedSize(p.Header) {
		return fmt.Errorf("%w: item %s has %d bytes", ErrDamaged, item, fi.Size())
	}
	return nil
}

// Described is what the database says of a received item: what opening its file must give again.
func (s *Store) Described(ctx context.Context, tenant string, item ledger.Hash) (plain ledger.Hash, meta []byte, err error) {
	err = s.r.QueryRowContext(ctx, `SELECT plain_sha256, meta FROM items WHERE tenant = ? AND item = ? AND verdict = 1`, tenant, item.String()).
		Scan(asText(&plain), &meta)
	return plain, meta, wrap(err)
}

// Place finds the entry, or the signed head, of that hash in a book. ErrNotFound if there is none.
func (s *Store) Place(ctx context.Context, b ledger.Book, hash ledger.Hash) (incarnation ledger.ID, number uint64, err error) {
	book := []any{b.Tenant, b.Cart, b.Practice, hash.String()}
	const where = ` WHERE tenant = ? AND cart = ? AND practice = ? AND hash = ?`
	err = s.r.QueryRowContext(ctx, `SELECT incarnation, number FROM entries`+where+` UNION ALL SELECT incarnation, number FROM heads`+where+` LIMIT 1`,
		append(append([]any{}, book...), book...)...).Scan(asText(&incarnation), &number)
	return incarnation, number, wrap(err)
}

// Reach is the number of this incarnation's last receipt, and of the last one that a backup holds.
func (s *Store) Reach(ctx context.Context) (sequence, watermark uint64, err error) {
	err = s.r.QueryRowContext(ctx, `SELECT sequence, watermark FROM meta`).Scan(&sequence, &watermark)
	return sequence, watermark, wrap(err)
}

// Distrust takes away a file that could not be made durable: after a failed sync nobody knows what is on the disk, and a
// second one may say yes to what the first one lost. One that was received in an earlier life was durable then, and stays.
func (s *Store) Distrust(ctx context.Context, p *Sealed) error {
	if !p.partial {
		_, err := s.Item(ctx, p.Header.Tenant, p.Manifest.Hash())
		if !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	if err := s.disk.Remove(p.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return wrap(err)
	}
	return nil
}

// Trouble is something about a cart's ledger that IT has to see: a fork, or an item that was lost.
type Trouble struct {
	Book        ledger.Book
	Lost        bool // an item, by a receipt that the cart kept; else a fork
	Incarnation ledger.ID
	Number      uint64
	At          time.Time
}

// Where names the place in the ledger.
func (t Trouble) Where() string { return fmt.Sprintf("%s/%d", t.Incarnation, t.Number) }

// Troubles are those of a tenant that IT has not seen yet, oldest first, at most limit.
func (s *Store) Troubles(ctx context.Context, tenant string, limit int) (out []Trouble, err error) {
	err = s.each(ctx, func(scan func(...any) error) error {
		t := Trouble{Book: ledger.Book{Tenant: tenant}}
		err := scan(&t.Book.Cart, &t.Book.Practice, asText(&t.Incarnation), &t.Number, &t.Lost, asTime(&t.At))
		out = append(out, t)
		return err
	}, `SELECT x.cart, x.practice, x.incarnation, x.number, x.lost, x.at FROM (
			SELECT cart, practice, incarnation, number, 0 AS lost, arrived AS at FROM entries WHERE tenant = ?1 AND (fork = 1 OR kind = 3)
			UNION SELECT cart, practice, incarnation, number, 0, arrived FROM heads WHERE tenant = ?1 AND disputed = 1
			UNION SELECT cart, practice, incarnation, number, 1, shown FROM proofs p WHERE tenant = ?1
				AND NOT EXISTS (SELECT 1 FROM items i WHERE i.tenant = p.tenant AND i.item = p.item AND i.verdict = 1)) x
		WHERE x.at > coalesce((SELECT ledger_seen FROM carts c WHERE c.tenant = ?1 AND c.cart = x.cart), 0)
		ORDER BY x.at, x.cart, x.number LIMIT ?2`, tenant, limit)
	return out, err
}

// LedgerSeen notes that IT has seen all that there is now. ErrNotFound if there is no such cart.
func (s *Store) LedgerSeen(ctx context.Context, tenant, cart string) error {
	return one(s.exec(ctx, `UPDATE carts SET ledger_seen = ? WHERE tenant = ? AND cart = ?`, nanos(s.clock.Now()), tenant, cart))
}

// Cursor is how far name has followed this incarnation's receipts; ok is false if it never did.
func (s *Store) Cursor(ctx context.Context, name string) (sequence uint64, ok bool, err error) {
	err = s.r.QueryRowContext(ctx, `SELECT sequence FROM cursors WHERE name = ? AND store = ?`, name, s.incarnation.String()).Scan(&sequence)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return sequence, err == nil, wrap(err)
}

// SetCursor notes how far name has followed this incarnation's receipts.
func (s *Store) SetCursor(ctx context.Context, name string, sequence uint64) error {
	_, err := s.exec(ctx, `INSERT INTO cursors (name, store, sequence) VALUES (?,?,?)
		ON CONFLICT DO UPDATE SET store = excluded.store, sequence = excluded.sequence`, name, s.incarnation.String(), sequence)
	return err
}

// Fresh is an item that was received first with a receipt of this incarnation.
type Fresh struct {
	Tenant   string
	Item     ledger.Hash
	Sequence uint64 // of that receipt
}

// FreshSince are the items of all tenants that were received first with a receipt of this incarnation after sequence, oldest
// first, at most limit.
func (s *Store) FreshSince(ctx context.Context, sequence uint64, limit int) (out []Fresh, err error) {
	err = s.each(ctx, func(scan func(...any) error) error {
		var f Fresh
		err := scan(&f.Tenant, asText(&f.Item), &f.Sequence)
		out = append(out, f)
		return err
	}, `SELECT tenant, item, sequence FROM receipts r WHERE store = ? AND sequence > ? AND verdict = 1
		AND NOT EXISTS (SELECT 1 FROM receipts x WHERE x.tenant = r.tenant AND x.item = r.item AND x.verdict = 1 AND x.rowid < r.rowid)
		ORDER BY sequence LIMIT ?`, s.incarnation.String(), sequence, limit)
	return out, err
}

// Since are what FreshSince gives, whole.
func (s *Store) Since(ctx context.Context, sequence uint64, limit int) (out []Item, err error) {
	fresh, err := s.FreshSince(ctx, sequence, limit)
	for _, f := range fresh {
		if err != nil {
			break
		}
		var it Item
		it, err = s.Item(ctx, f.Tenant, f.Item)
		out = append(out, it)
	}
	return out, err
}
