package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"telecart/capture/ledger"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// keyBatch is how many items, or data keys, go into one transaction.
const keyBatch = 500

// EpochUse is what of an epoch is at the hub.
type EpochUse struct {
	Epoch    uint32
	Practice bool
	Items    int // that came under it
	Wraps    int // data keys that they came with
	Kept     int // data keys sealed to it by the hub itself
}

// ErrUnreadable: the files of some received items are missing or damaged, so nobody can say what opens them.
var ErrUnreadable = errors.New("store: the files of these items can't be read: mend the disk, or let their carts or a backup bring them again")

// Unreadable is a received item whose file can't be read.
type Unreadable struct {
	Tenant string
	Item   ledger.Hash
	Err    error
}

func (u Unreadable) Error() string { return fmt.Sprintf("item %s of %s: %v", u.Item, u.Tenant, u.Err) }

func (u Unreadable) Unwrap() error { return u.Err }

// refuse names them all; nil if there are none.
func refuse(bad []Unreadable) error {
	if len(bad) == 0 {
		return nil
	}
	errs := []error{ErrUnreadable}
	for _, u := range bad {
		errs = append(errs, u)
	}
	return errors.Join(errs...)
}

// IndexKeys finds out under which epoch received items came that it did not know of yet. It reads their files. Bad are those
// that can't be read: they are tried again the next time.
func (s *Store) IndexKeys(ctx context.Context) (bad []Unreadable, err error) {
	type found struct {
		tenant string
		item   ledger.Hash
	}
	var last found
	for {
		var next []found
		err := s.each(ctx, func(scan func(...any) error) error {
			var f found
			err := scan(&f.tenant, asText(&f.item))
			next = append(next, f)
			return err
		}, `SELECT i.tenant, i.item FROM items i WHERE i.verdict = 1 AND (i.tenant, i.item) > (?, ?)
			AND NOT EXISTS (SELECT 1 FROM item_keys k WHERE k.tenant = i.tenant AND k.item = i.item) ORDER BY i.tenant, i.item LIMIT ?`,
			last.tenant, orEmpty(last.item), keyBatch)
		if err != nil || len(next) == 0 {
			return bad, err
		}
		last = next[len(next)-1]
		wraps := make(map[found]wire.Wrap, len(next))
		for _, f := range next {
			p, err := s.OpenItem(f.tenant, f.item)
			if err != nil {
				bad = append(bad, Unreadable{f.tenant, f.item, err})
				continue
			}
			wraps[f] = p.Wrap
			if err := p.Close(); err != nil {
				return bad, wrap(err)
			}
		}
		err = s.write(ctx, func(tx *sql.Tx) error {
			for f, w := range wraps {
				if _, err := tx.ExecContext(ctx, `INSERT INTO item_keys (tenant, item, wrap, epoch, practice) VALUES (?,?,?,?,?) ON CONFLICT DO NOTHING`,
					f.tenant, f.item.String(), w.ID().String(), w.Epoch, w.Practice); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return bad, err
		}
	}
}

// EpochUse counts by epoch what IndexKeys has found.
func (s *Store) EpochUse(ctx context.Context) (out []EpochUse, err error) {
	err = s.each(ctx, func(scan func(...any) error) error {
		var u EpochUse
		err := scan(&u.Epoch, &u.Practice, &u.Items, &u.Wraps, &u.Kept)
		out = append(out, u)
		return err
	}, `SELECT epoch, practice, sum(items), sum(wraps), sum(kept) FROM (
			SELECT epoch, practice, count(*) AS items, count(DISTINCT tenant || ' ' || wrap) AS wraps, 0 AS kept FROM item_keys GROUP BY epoch, practice
			UNION ALL SELECT epoch, practice, 0, 0, count(*) FROM kept_keys GROUP BY epoch, practice)
		GROUP BY epoch, practice ORDER BY epoch, practice`)
	return out, err
}

// Rewrap keeps every data key that the hub can open by an epoch's private key alone, sealed to newer ones: those of items
// that came under it, and those that were kept under it. It may be cut short and called again. n is how many it kept.
// ErrUnreadable, with every item, if some files can't be read: it kept the others'.
func (s *Store) Rewrap(ctx context.Context, epoch uint32, records *seal.Records, to func(practice bool) (wire.RecordKey, error)) (n int, err error) {
	bad, err := s.IndexKeys(ctx)
	if err != nil {
		return 0, err
	}
	n, lost, err := s.rewrapItems(ctx, epoch, records, to)
	if err != nil {
		return n, err
	}
	for {
		did, err := s.rewrapKept(ctx, epoch, records, to)
		if err != nil {
			return n, err
		}
		if n += did; did == 0 {
			return n, refuse(append(bad, lost...))
		}
	}
}

// OnlyUnder counts the data keys that only an epoch's private key opens, of what IndexKeys has found.
func (s *Store) OnlyUnder(ctx context.Context, epoch uint32) (n int, err error) {
	err = s.r.QueryRowContext(ctx, `SELECT (SELECT count(DISTINCT i.tenant || ' ' || i.wrap) FROM item_keys i WHERE i.epoch = ? AND NOT EXISTS
			(SELECT 1 FROM kept_keys k WHERE k.tenant = i.tenant AND k.wrap = i.wrap)) + (SELECT count(*) FROM kept_keys WHERE epoch = ?)`, epoch, epoch).Scan(&n)
	return n, wrap(err)
}

type keptKey struct {
	tenant string
	seal.Rewrap
}

// rewrapItems keeps the data keys that items came with. Bad are items whose file can't be read, one for each data key.
func (s *Store) rewrapItems(ctx context.Context, epoch uint32, records *seal.Records, to func(bool) (wire.RecordKey, error)) (n int, bad []Unreadable, err error) {
	type found struct {
		tenant, wrap string
		item         ledger.Hash
	}
	var last found
	for {
		var next []found
		err := s.each(ctx, func(scan func(...any) error) error {
			var f found
			err := scan(&f.tenant, &f.wrap, asText(&f.item))
			next = append(next, f)
			return err
		}, `SELECT tenant, wrap, min(item) FROM item_keys i WHERE epoch = ? AND (tenant, wrap) > (?, ?) AND NOT EXISTS
				(SELECT 1 FROM kept_keys k WHERE k.tenant = i.tenant AND k.wrap = i.wrap) GROUP BY tenant, wrap ORDER BY tenant, wrap LIMIT ?`,
			epoch, last.tenant, last.wrap, keyBatch)
		if err != nil || len(next) == 0 {
			return n, bad, err
		}
		last = next[len(next)-1]
		var kept []keptKey
		for _, f := range next {
			p, err := s.OpenItem(f.tenant, f.item)
			if err != nil {
				bad = append(bad, Unreadable{f.tenant, f.item, err})
				continue
			}
			key, err := to(p.Wrap.Practice)
			var k seal.Rewrap
			if err == nil {
				k, err = records.Rewrap(p.Wrap, key)
			}
			if err = errors.Join(err, p.Close()); err != nil {
				return n, bad, fmt.Errorf("store: item %s of %s: its data key can't be kept: %w", f.item, f.tenant, err)
			}
			kept = append(kept, keptKey{f.tenant, k})
		}
		if err := s.keep(ctx, kept); err != nil {
			return n, bad, err
		}
		n += len(kept)
	}
}

func (s *Store) rewrapKept(ctx context.Context, epoch uint32, records *seal.Records, to func(bool) (wire.RecordKey, error)) (int, error) {
	var kept []keptKey
	err := s.each(ctx, func(scan func(...any) error) (err error) {
		var k keptKey
		k.Rewrap, err = scanKept(func(dest ...any) error { return scan(append([]any{&k.tenant}, dest...)...) })
		kept = append(kept, k)
		return err
	}, `SELECT tenant, `+keptColumns+` FROM kept_keys WHERE epoch = ? LIMIT ?`, epoch, keyBatch)
	if err != nil {
		return 0, err
	}
	for i, k := range kept {
		key, err := to(k.Practice)
		if err == nil {
			kept[i].Rewrap, err = records.Again(k.Rewrap, key)
		}
		if err != nil {
			return 0, fmt.Errorf("store: kept data key of wrap %s of %s: %w", k.Wrap, k.tenant, err)
		}
	}
	return len(kept), s.keep(ctx, kept)
}

func (s *Store) keep(ctx context.Context, keys []keptKey) error {
	if len(keys) == 0 {
		return nil
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		for _, k := range keys {
			_, err := tx.ExecContext(ctx, `INSERT INTO kept_keys (tenant, `+keptColumns+`) VALUES (?,?,?,?,?,?,?,?,?)
				ON CONFLICT DO UPDATE SET epoch = excluded.epoch, kem = excluded.kem, kdf = excluded.kdf, aead = excluded.aead, enc = excluded.enc, sealed = excluded.sealed`,
				k.tenant, k.Wrap.String(), k.Practice, k.Epoch, k.KEM, k.KDF, k.AEAD, k.Enc, k.Sealed)
			if err != nil {
				return err
			}
		}
		return nil
	})
}
