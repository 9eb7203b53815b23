package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"telecart/capture/ledger"
	"telecart/uplink/hub/clinic"
)

// Clinic keeps consults, views and notices for package clinic.
type Clinic struct{ s *Store }

// Clinic is clinic.Store and clinic.Cabinet, kept here.
func (s *Store) Clinic() Clinic { return Clinic{s} }

// maxUnseen bounds the notices that are given at once; the rest follows once these are seen.
const maxUnseen = 200

// SaveConsult implements clinic.Store.
func (c Clinic) SaveConsult(ctx context.Context, x clinic.Consult) error {
	b, err := json.Marshal(x)
	if err != nil {
		return wrap(err)
	}
	_, err = c.s.exec(ctx, `INSERT INTO consults (tenant, id, cart, encounter, by, phase, since, open, json) VALUES (?,?,?,?,?,?,?,?,?)
		ON CONFLICT DO UPDATE SET by = excluded.by, phase = excluded.phase, since = excluded.since, open = excluded.open, json = excluded.json`,
		x.Tenant, x.ID, x.Cart, x.Encounter.String(), x.By.ID, x.Phase(), nanos(x.Since), !x.Over(), string(b))
	return err
}

// OpenConsults implements clinic.Store: the consults of all tenants to which something can still happen, oldest first.
func (c Clinic) OpenConsults(ctx context.Context) (out []clinic.Consult, err error) {
	err = c.s.each(ctx, func(scan func(...any) error) error {
		var b []byte
		if err := scan(&b); err != nil {
			return err
		}
		var x clinic.Consult
		if json.Unmarshal(b, &x) != nil {
			return errors.New("a stored consult can't be read")
		}
		out = append(out, x)
		return nil
	}, `SELECT json FROM consults WHERE open = 1 ORDER BY since, tenant, id`)
	return out, err
}

// Viewed implements clinic.Cabinet.
func (c Clinic) Viewed(ctx context.Context, tenant, account string, at time.Time, items []ledger.Hash) error {
	return c.s.write(ctx, func(tx *sql.Tx) error {
		for _, i := range items {
			if _, err := tx.ExecContext(ctx, `INSERT INTO views (tenant, item, account, at) VALUES (?,?,?,?) ON CONFLICT DO NOTHING`,
				tenant, i.String(), account, nanos(at)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Viewers implements clinic.Cabinet: the accounts that were shown the item, by name.
func (c Clinic) Viewers(ctx context.Context, tenant string, item ledger.Hash) (out []string, err error) {
	err = c.s.each(ctx, func(scan func(...any) error) error {
		var account string
		err := scan(&account)
		out = append(out, account)
		return err
	}, `SELECT DISTINCT account FROM views WHERE tenant = ? AND item = ? ORDER BY account`, tenant, item.String())
	return out, err
}

// Notify implements clinic.Cabinet. A notice whose recipient has one of that id stays as it is.
func (c Clinic) Notify(ctx context.Context, n clinic.Note) error {
	if (n.To.Account == "") == (n.To.Cart == "") {
		return errors.New("store: a notice is for an account or for a cart")
	}
	with, err := json.Marshal(n.With)
	if err != nil {
		return wrap(err)
	}
	_, err = c.s.exec(ctx, `INSERT INTO notices (tenant, account, cart, id, code, with_, at, seen) VALUES (?,?,?,?,?,?,?,0) ON CONFLICT DO NOTHING`,
		n.To.Tenant, n.To.Account, n.To.Cart, n.ID, n.Code, string(with), nanos(n.At))
	return err
}

// Unseen implements clinic.Cabinet: oldest first.
func (c Clinic) Unseen(ctx context.Context, to clinic.Recipient) (out []clinic.Note, err error) {
	err = c.s.each(ctx, func(scan func(...any) error) error {
		n := clinic.Note{To: to}
		var with string
		if err := scan(&n.ID, &n.Code, &with, asTime(&n.At)); err != nil {
			return err
		}
		if json.Unmarshal([]byte(with), &n.With) != nil {
			return errors.New("a stored notice can't be read")
		}
		out = append(out, n)
		return nil
	}, `SELECT id, code, with_, at FROM notices WHERE tenant = ? AND account = ? AND cart = ? AND seen = 0 ORDER BY at, id LIMIT ?`,
		to.Tenant, to.Account, to.Cart, maxUnseen)
	return out, err
}

// Seen implements clinic.Cabinet. ErrNotFound if the recipient has no such notice.
func (c Clinic) Seen(ctx context.Context, to clinic.Recipient, id string) error {
	return one(c.s.exec(ctx, `UPDATE notices SET seen = CASE seen WHEN 0 THEN ? ELSE seen END WHERE tenant = ? AND account = ? AND cart = ? AND id = ?`,
		nanos(c.s.clock.Now()), to.Tenant, to.Account, to.Cart, id))
}

// Arrival is the item as clinic takes it.
func (i Item) Arrival() clinic.Arrival {
	return clinic.Arrival{Book: i.Book, Entry: i.Entry, Item: i.Item, Urgent: i.Urgent, Sequence: i.Sequence, Key: i.Key, Arrived: i.Arrived, Body: i.Body}
}

// Tenants are those of whom any cart or item is here, by name.
func (s *Store) Tenants(ctx context.Context) (out []string, err error) {
	err = s.each(ctx, func(scan func(...any) error) error {
		var t string
		err := scan(&t)
		out = append(out, t)
		return err
	}, `SELECT tenant FROM carts UNION SELECT tenant FROM items ORDER BY tenant`)
	return out, err
}
