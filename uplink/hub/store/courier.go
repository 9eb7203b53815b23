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
// in hexadecimal.
func (s *Store) DeviceKeys(ctx context.Context, tenant, cart string) (out []string, err error) {
	err = s.each(ctx, func(scan func(...any) error) error {
		var k string
		err := scan(&k)
		out = append(out, k)
		return err
	}, `SELECT DISTINCT key FROM certificates WHERE tenant = ? AND cart = ? AND revoked = 0`, tenant, cart)
	return out, err
}
