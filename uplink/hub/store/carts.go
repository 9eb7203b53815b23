package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"telecart/provisioning/identity"
)

// Cart is a cart as the hub knows it.
type Cart struct {
	Tenant   string
	Cart     string
	Site     string
	Serial   string    // of its newest certificate
	Revoked  time.Time // what was issued up to then is void; zero: nothing
	Enrolled time.Time
	LastSeen time.Time
}

const cartColumns = `SELECT tenant, cart, site, serial, revoked, enrolled_at, last_seen FROM carts WHERE tenant = ? `

func scanCart(scan func(...any) error) (c Cart, err error) {
	err = scan(&c.Tenant, &c.Cart, &c.Site, &c.Serial, asTime(&c.Revoked), asTime(&c.Enrolled), asTime(&c.LastSeen))
	return c, err
}

// Cart finds one cart.
func (s *Store) Cart(ctx context.Context, tenant, cart string) (Cart, error) {
	c, err := scanCart(s.r.QueryRowContext(ctx, cartColumns+`AND cart = ?`, tenant, cart).Scan)
	return c, wrap(err)
}

// Carts are the tenant's carts by name.
func (s *Store) Carts(ctx context.Context, tenant string) (out []Cart, err error) {
	err = s.each(ctx, func(scan func(...any) error) error {
		c, err := scanCart(scan)
		out = append(out, c)
		return err
	}, cartColumns+`ORDER BY cart`, tenant)
	return out, err
}

// SetSite says in which clinic the cart stands. ErrNotFound if there is no such cart.
func (s *Store) SetSite(ctx context.Context, tenant, cart, site string) error {
	return one(s.exec(ctx, `UPDATE carts SET site = ? WHERE tenant = ? AND cart = ?`, site, tenant, cart))
}

// Seen notes that the cart was there at t. ErrNotFound if there is no such cart.
func (s *Store) Seen(ctx context.Context, tenant, cart string, t time.Time) error {
	return one(s.exec(ctx, `UPDATE carts SET last_seen = max(last_seen, ?) WHERE tenant = ? AND cart = ?`, nanos(t), tenant, cart))
}

// one turns "no row was changed" into ErrNotFound.
func one(n int64, err error) error {
	if err == nil && n == 0 {
		return ErrNotFound
	}
	return err
}

// Register is identity's list of certificates, kept here.
func (s *Store) Register() identity.Register { return register{s} }

type register struct{ s *Store }

func (r register) Issued(ctx context.Context, c identity.Certificate) error {
	return r.s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO certificates (tenant, cart, serial, key, issued, expires) VALUES (?,?,?,?,?,?) ON CONFLICT DO NOTHING`,
			c.Tenant, c.Cart, c.Serial, hexOf(c.Key), nanos(c.Issued), nanos(c.Expires))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO carts (tenant, cart, key, serial, enrolled_at) VALUES (?,?,?,?,?)
			ON CONFLICT DO UPDATE SET key = excluded.key, serial = excluded.serial`, c.Tenant, c.Cart, hexOf(c.Key), c.Serial, nanos(c.Issued))
		return err
	})
}

func (r register) Revoked(ctx context.Context, c identity.Certificate) (revoked bool, err error) {
	err = r.s.r.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM carts WHERE tenant = ? AND cart = ? AND revoked >= ? AND revoked <> 0)
		OR EXISTS (SELECT 1 FROM certificates WHERE tenant = ? AND cart = ? AND serial = ? AND revoked <> 0)`,
		c.Tenant, c.Cart, nanos(c.Issued), c.Tenant, c.Cart, c.Serial).Scan(&revoked)
	return revoked, wrap(err)
}

// Revoke takes back one certificate. ErrNotFound if it was never issued.
func (s *Store) Revoke(ctx context.Context, tenant, cart, serial string, at time.Time) error {
	return one(s.exec(ctx, `UPDATE certificates SET revoked = ? WHERE tenant = ? AND cart = ? AND serial = ?`, nanos(at), tenant, cart, serial))
}

// RevokeCart takes back all that the cart got up to and including at, an unused claim too. A cart that isn't known yet
// can be revoked as well: its claim may be on its way.
func (s *Store) RevokeCart(ctx context.Context, tenant, cart string, at time.Time) error {
	if err := safe(tenant, cart); err != nil {
		return err
	}
	if at.IsZero() {
		return errors.New("store: revoke: no time")
	}
	_, err := s.exec(ctx, `INSERT INTO carts (tenant, cart, revoked) VALUES (?,?,?) ON CONFLICT DO UPDATE SET revoked = max(revoked, excluded.revoked)`,
		tenant, cart, nanos(at))
	return err
}
