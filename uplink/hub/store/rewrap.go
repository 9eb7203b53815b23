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

// IndexKeys finds out under which epoch received items came that it did not know of yet. It reads their files.
func (s *Store) IndexKeys(ctx context.Context) error {
	for {
		type found struct {
			tenant string
			item   ledger.Hash
		}
		var next []found
		err := s.each(ctx, func(scan func(...any) error) error {
			var f found
			err := scan(&f.tenant, asText(&f.item))
			next = append(next, f)
			return err
		}, `SELECT i.tenant, i.item FROM items i WHERE i.verdict = 1
			AND NOT EXISTS (SELECT 1 FROM item_keys k WHERE k.tenant = i.tenant AND k.item = i.item) LIMIT ?`, keyBatch)
		if err != nil || len(next) == 0 {
			return err
		}
		wraps := make([]wire.Wrap, len(next))
		for i, f := range next {
			p, err := s.OpenItem(f.tenant, f.item)
			if err != nil {
				return fmt.Errorf("store: item %s of %s: under which key it came can't be read: %w", f.item, f.tenant, err)
			}
			wraps[i] = p.Wrap
			if err := p.Close(); err != nil {
				return wrap(err)
			}
		}
		err = s.write(ctx, func(tx *sql.Tx) error {
			for i, f := range next {
				w := wraps[i]
				if _, err := tx.ExecContext(ctx, `INSERT INTO item_keys (tenant, item, wrap, epoch, practice) VALUES (?,?,?,?,?) ON CONFLICT DO NOTHING`,
					f.tenant, f.item.String(), w.ID().String(), w.Epoch, w.Practice); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
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
func (s *Store) Rewrap(ctx context.Context, epoch uint32, records *seal.Records, to func(practice bool) (wire.RecordKey, error)) (n int, err error) {
	if err := s.IndexKeys(ctx); err != nil {
		return 0, err
	}
	for _, step := range []func() (int, error){
		func() (int, error) { return s.rewrapItems(ctx, epoch, records, to) },
		func() (int, error) { return s.rewrapKept(ctx, epoch, records, to) },
	} {
		for {
			did, err := step()
			if err != nil {
				return n, err
			}
			if n += did; did == 0 {
				break
			}
		}
	}
	return n, nil
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

func (s *Store) rewrapItems(ctx context.Context, epoch uint32, records *seal.Records, to func(bool) (wire.RecordKey, error)) (int, error) {
	type found struct {
		tenant string
		item   ledger.Hash
	}
	var next []found
	err := s.each(ctx, func(scan func(...any) error) error {
		var f found
		err := scan(&f.tenant, asText(&f.item))
		next = append(next, f)
		return err
	}, `SELECT tenant, min(item) FROM item_keys i WHERE epoch = ? AND NOT EXISTS
			(SELECT 1 FROM kept_keys k WHERE k.tenant = i.tenant AND k.wrap = i.wrap) GROUP BY tenant, wrap LIMIT ?`, epoch, keyBatch)
	if err != nil {
		return 0, err
	}
	kept := make([]keptKey, len(next))
	for i, f := range next {
		p, err := s.OpenItem(f.tenant, f.item)
		if err != nil {
			return 0, fmt.Errorf("store: item %s of %s: %w", f.item, f.tenant, err)
		}
		key, err := to(p.Wrap.Practice)
		var k seal.Rewrap
		if err == nil {
			k, err = records.Rewrap(p.Wrap, key)
		}
		if err = errors.Join(err, p.Close()); err != nil {
			return 0, fmt.Errorf("store: item %s of %s: its data key can't be kept: %w", f.item, f.tenant, err)
		}
		kept[i] = keptKey{f.tenant, k}
	}
	return len(kept), s.keep(ctx, kept)
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
