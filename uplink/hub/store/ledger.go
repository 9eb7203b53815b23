package store

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"time"

	"telecart/capture/ledger"
	"telecart/uplink/wire"
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

// AddEntries makes entries durable, all or none, and gives those that tell of a fork: their number was in use before for
// something else, or they begin an incarnation that took over from a disputed one.
// What is new takes a place in the sequence of receipts: a backup whose watermark is at sequence holds the entries.
func (s *Store) AddEntries(ctx context.Context, b ledger.Book, entries []ledger.Entry) (forks []ledger.Entry, sequence uint64, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		now, news := s.clock.Now(), 0
		for _, e := range entries {
			added, fork, err := insertEntry(ctx, tx, b, e, now)
			if err != nil {
				return err
			}
			if added {
				news = 1
			}
			if added && (fork || e.Kind == ledger.Fork) {
				forks = append(forks, e)
			}
		}
		return tx.QueryRowContext(ctx, `UPDATE meta SET sequence = sequence + ? RETURNING sequence`, news).Scan(&sequence)
	})
	return forks, sequence, err
}

// Line is an entry as it is stored.
type Line struct {
	ledger.Entry
	Hash    ledger.Hash  // as stored; the entry's own unless somebody changed the database
	Fork    bool         // its number was in use before
	Verdict wire.Verdict // about its item; 0: there is none, or it is no item's entry
	Arrived time.Time
}

// Lines are a book's entries by incarnation, number and arrival.
func (s *Store) Lines(ctx context.Context, b ledger.Book) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		stop := errors.New("stop")
		err := s.each(ctx, func(scan func(...any) error) error {
			var l Line
			if err := scan(asText(&l.Incarnation), &l.Number, &l.Kind, asText(&l.Run), asText(&l.Prev), asText(&l.Body), asText(&l.Hash), &l.Fork,
				&l.Verdict, asTime(&l.Arrived)); err != nil {
				return err
			}
			if !yield(l, nil) {
				return stop
			}
			return nil
		}, `SELECT e.incarnation, e.number, e.kind, e.run, e.prev, e.body, e.hash, e.fork, coalesce(i.verdict, 0), e.arrived
			FROM entries e LEFT JOIN items i ON e.kind = 1 AND i.tenant = e.tenant AND i.item = e.body AND i.cart = e.cart AND i.practice = e.practice
			WHERE e.tenant = ? AND e.cart = ? AND e.practice = ? ORDER BY e.incarnation, e.number, e.fork, e.hash`, b.Tenant, b.Cart, b.Practice)
		if err != nil && !errors.Is(err, stop) {
			yield(Line{}, err)
		}
	}
}

// maxDisputed bounds the contradicting heads that are kept of one incarnation: a few prove the point.
const maxDisputed = 16

// AddHead keeps a head whose signature the caller has verified. Of heads that follow one another only the newest
// stays. It reports whether the head contradicts what is here: another entry, or another head, at its number. key is the
// device key (PKIX DER).
func (s *Store) AddHead(ctx context.Context, h ledger.Head, key []byte) (disputed bool, err error) {
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
		if disputed && kept >= maxDisputed || !disputed && int64(h.Number) < newest {
			return nil
		}
		if !disputed {
			if _, err := tx.ExecContext(ctx, `DELETE FROM heads`+where+` AND disputed = 0`, book...); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO heads (tenant, cart, practice, incarnation, number, hash, signature, disputed, arrived, key)
			VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING`, append(at, h.Signature, disputed, nanos(s.clock.Now()), key)...)
		return err
	})
	return disputed, err
}

// KeptHead is a head as it is stored.
type KeptHead struct {
	ledger.Head
	Key      []byte    // that verified it, PKIX DER; empty if an earlier release took it
	Disputed bool      // it contradicts what was here before
	Arrived  time.Time // last
}

// Heads are a book's heads by incarnation: the newest and those that contradict it.
func (s *Store) Heads(ctx context.Context, b ledger.Book) (out []KeptHead, err error) {
	err = s.each(ctx, func(scan func(...any) error) error {
		h := KeptHead{Head: ledger.Head{Book: b}}
		err := scan(asText(&h.Incarnation), &h.Number, asText(&h.Hash), &h.Signature, &h.Disputed, &h.Key, asTime(&h.Arrived))
		out = append(out, h)
		return err
	}, `SELECT incarnation, number, hash, signature, disputed, key, arrived FROM heads WHERE tenant = ? AND cart = ? AND practice = ?
		ORDER BY incarnation, disputed, number`, b.Tenant, b.Cart, b.Practice)
	return out, err
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
