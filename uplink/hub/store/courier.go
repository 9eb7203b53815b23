package store

import (
	"context"

	"telecart/capture/ledger"
)

// Leads gives those of the hashes that a book's ledger here leads to: it has the entry, or one that names it as the one before.
func (s *Store) Leads(ctx context.Context, b ledger.Book, hashes []ledger.Hash) (out []ledger.Hash, err error) {
	asked := make(map[ledger.Hash]bool, len(hashes))
	for _, h := range hashes {
		asked[h] = true
	}
	err = s.each(ctx, func(scan func(...any) error) error {
		var pair [2]ledger.Hash
		if err := scan(asText(&pair[0]), asText(&pair[1])); err != nil {
			return err
		}
		for _, h := range pair {
			if asked[h] {
				asked[h] = false
				out = append(out, h)
			}
		}
		return nil
	}, `SELECT hash, prev FROM entries WHERE tenant = ? AND cart = ? AND practice = ?`, b.Tenant, b.Cart, b.Practice)
	return out, err
}

// DeviceKeys are the SHA-256 of the device keys that a cart was certified with and whose certificate was not taken back by itself,
// in hexadecimal. Void are those that it has no certificate for since it was last revoked: a thief may hold one.
func (s *Store) DeviceKeys(ctx context.Context, tenant, cart string) (good, void []string, err error) {
	err = s.each(ctx, func(scan func(...any) error) error {
		var k string
		var valid bool
		err := scan(&k, &valid)
		if valid {
			good = append(good, k)
		} else {
			void = append(void, k)
		}
		return err
	}, `SELECT x.key, max(x.issued > coalesce(c.revoked, 0)) FROM certificates x LEFT JOIN carts c ON c.tenant = x.tenant AND c.cart = x.cart
		WHERE x.tenant = ? AND x.cart = ? AND x.revoked = 0 GROUP BY x.key ORDER BY x.key`, tenant, cart)
	return good, void, err
}
