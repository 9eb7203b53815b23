package store

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"time"

	"telecart/capture/ledger"
)

// insertEntry adds an entry if it isn't there. A number that another entry has already used makes it a fork: both stay.
func insertEntry(ctx context.Context, tx *sql.Tx, b ledger.Book, e ledger.Entry, now time.Time) (added, fork bool, err error) {
	args := []any{b.Tenant, b.Cart, b.Practice, e.Incarnation.String(), e.Number}
	hash := e.Hash().String()
	const used = `SELECT 1 FROM entries WHERE tenant = ? AND cart = ? AND practice = ? AND incarnation = ? AND number = ? AND hash <> ?`
	if err := tx.QueryRowContext(ctx, `SELECT EXISTS(`+used+`)`, append(args, hash)...).Scan(&fork); err != nil {
		return false, false, err
	}
	r, err := tx.ExecContext(ctx, `INSERT INTO entries (tenant, cart, practice, incarnation, number, hash, kind, run, prev, body, fork, arrived)
		VALUES (?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING`,
		append(args, hash, e.Kind, e.Run.String(), e.Prev.String(), e.Body.String(), fork, nanos(now))...)
	if err != nil {
		return false, false, err
	}
	n, err := r.RowsAffected()
	return n == 1, fork, err
}

// AddEntries makes entries durable, all or none, and gives those whose number was in use before for something else.
func (s *Store) AddEntries(ctx context.Context, b ledger.Book, entries []ledger.Entry) (forks []ledger.Entry, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		now := s.clock.Now()
		for _, e := range entries {
			added, fork, err := insertEntry(ctx, tx, b, e, now)
			if err != nil {
				return err
			}
			if added && fork {
				forks = append(forks, e)
			}
		}
		return nil
	})
	return forks, err
}

// Line is an entry as it is stored.
type Line struct {
	ledger.Entry
	Hash    ledger.Hash // as stored; the entry's own unless somebody changed the database
	Fork    bool
	Refused bool // the hub refused its item
}

// Lines are a book's entries by incarnation, number and arrival.
func (s *Store) Lines(ctx context.Context, b ledger.Book) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		stop := errors.New("stop")
		err := s.each(ctx, func(scan func(...any) error) error {
			var l Line
			if err := scan(asText(&l.Incarnation), &l.Number, &l.Kind, asText(&l.Run), asText(&l.Prev), asText(&l.Body), asText(&l.Hash), &l.Fork, &l.Refused); err != nil {
				return err
			}
			if !yield(l, nil) {
				return stop
			}
			return nil
		}, `SELECT e.incarnation, e.number, e.kind, e.run, e.prev, e.body, e.hash, e.fork,
				e.kind = 1 AND NOT EXISTS (SELECT 1 FROM items i WHERE i.tenant = e.tenant AND i.item = e.body AND i.verdict = 1)
			FROM entries e WHERE e.tenant = ? AND e.cart = ? AND e.practice = ? ORDER BY e.incarnation, e.number, e.fork, e.hash`, b.Tenant, b.Cart, b.Practice)
		if err != nil && !errors.Is(err, stop) {
			yield(Line{}, err)
		}
	}
}

// maxDisputed bounds the contradicting heads that are kept of one incarnation: a few prove the point.
const maxDisputed = 16

// AddHead keeps a head whose signature the caller has verified. Of heads that follow one another only the newest
// stays. It reports whether the head contradicts what is here: another entry, or another head, at its number.
func (s *Store) AddHead(ctx context.Context, h ledger.Head) (disputed bool, err error) {
	book := []any{h.Tenant, h.Cart, h.Practice, h.Incarnation.String()}
	const where = ` WHERE tenant = ? AND cart = ? AND practice = ? AND incarnation = ?`
	err = s.write(ctx, func(tx *sql.Tx) error {
		at := append(append(append([]any{}, book...), h.Number), h.Hash.String())
		if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM heads`+where+` AND number = ? AND hash <> ?)
			OR NOT EXISTS (SELECT 1 FROM entries`+where+` AND number = ? AND hash = ?)
			AND EXISTS (SELECT 1 FROM entries`+where+` AND number = ?)`, append(append(append([]any{}, at...), at...), at[:5]...)...).Scan(&disputed); err != nil {
			return err
		}
		var newest, kept int64
		if err := tx.QueryRowContext(ctx, `SELECT coalesce(max(number) FILTER (WHERE disputed = 0), -1), count(*) FILTER (WHERE disputed = 1) FROM heads`+where, book...).
			Scan(&newest, &kept); err != nil {
			return err
		}
		if disputed && kept >= maxDisputed || !disputed && int64(h.Number) <= newest {
			return nil
		}
		if !disputed {
			if _, err := tx.ExecContext(ctx, `DELETE FROM heads`+where+` AND disputed = 0`, book...); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO heads (tenant, cart, practice, incarnation, number, hash, signature, disputed, arrived)
			VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING`, append(at, h.Signature, disputed, nanos(s.clock.Now()))...)
		return err
	})
	return disputed, err
}

// Heads are a book's heads by incarnation: the newest and those that contradict it.
func (s *Store) Heads(ctx context.Context, b ledger.Book) (heads []ledger.Head, disputed []ledger.Head, err error) {
	err = s.each(ctx, func(scan func(...any) error) error {
		h := ledger.Head{Book: b}
		var bad bool
		if err := scan(asText(&h.Incarnation), &h.Number, asText(&h.Hash), &h.Signature, &bad); err != nil {
			return err
		}
		if bad {
			disputed = append(disputed, h)
		} else {
			heads = append(heads, h)
		}
		return nil
	}, `SELECT incarnation, number, hash, signature, disputed FROM heads WHERE tenant = ? AND cart = ? AND practice = ? ORDER BY incarnation, number`,
		b.Tenant, b.Cart, b.Practice)
	return heads, disputed, err
}

// End is the highest number that is known of an incarnation, from its entries or its signed head, without signature.
// ErrNotFound if nothing is known.
func (s *Store) End(ctx context.Context, b ledger.Book, incarnation ledger.ID) (ledger.Head, error) {
	h := ledger.Head{Book: b, Incarnation: incarnation}
	book := []any{b.Tenant, b.Cart, b.Practice, incarnation.String()}
	const where = ` WHERE tenant = ? AND cart = ? AND practice = ? AND incarnation = ?`
	err := s.r.QueryRowContext(ctx, `SELECT number, hash FROM (
			SELECT number, hash FROM entries`+where+` AND fork = 0 UNION ALL SELECT number, hash FROM heads`+where+` AND disputed = 0)
		ORDER BY number DESC LIMIT 1`, append(append([]any{}, book...), book...)...).Scan(&h.Number, asText(&h.Hash))
	return h, wrap(err)
}
