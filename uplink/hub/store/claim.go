package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"telecart/provisioning/claim"
)

// Claims is claim's store, kept here.
func (s *Store) Claims() claim.Store { return claims{s} }

type claims struct{ s *Store }

func hexOf(b [32]byte) string { return hex.EncodeToString(b[:]) }

type hexColumn struct{ b *[32]byte }

func (c hexColumn) Scan(v any) error {
	t, ok := v.(string)
	if b, err := hex.DecodeString(t); ok && err == nil && len(b) == len(c.b) {
		copy(c.b[:], b)
		return nil
	}
	return fmt.Errorf("a hash is stored as %T of another form", v)
}

func (c claims) PutClaim(ctx context.Context, r claim.Record) error {
	return c.s.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM claims WHERE tenant = ? AND cart = ?`, r.Tenant, r.Cart); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO claims (secret_hash, tenant, cart, issued, expires, key, redeemed) VALUES (?,?,?,?,?,?,?)`,
			hexOf(r.SecretHash), r.Tenant, r.Cart, nanos(r.Issued), nanos(r.Expires), hexOf(r.Key), nanos(r.Redeemed))
		return err
	})
}

func (c claims) Claim(ctx context.Context, secretHash [32]byte) (claim.Record, error) {
	return oneClaim(ctx, c.s.r, secretHash)
}

func (c claims) BindClaim(ctx context.Context, secretHash, key [32]byte, at time.Time) (r claim.Record, err error) {
	err = c.s.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE claims SET key = ?, redeemed = ? WHERE secret_hash = ? AND key = ?`,
			hexOf(key), nanos(at), hexOf(secretHash), hexOf([32]byte{})); err != nil {
			return err
		}
		r, err = oneClaim(ctx, tx, secretHash)
		return err
	})
	return r, err
}

func oneClaim(ctx context.Context, q querier, secretHash [32]byte) (r claim.Record, err error) {
	err = q.QueryRowContext(ctx, `SELECT secret_hash, tenant, cart, issued, expires, key, redeemed FROM claims WHERE secret_hash = ?`, hexOf(secretHash)).
		Scan(hexColumn{&r.SecretHash}, &r.Tenant, &r.Cart, asTime(&r.Issued), asTime(&r.Expires), hexColumn{&r.Key}, asTime(&r.Redeemed))
	if errors.Is(err, sql.ErrNoRows) {
		return claim.Record{}, claim.ErrUnknown
	}
	return r, wrap(err)
}
