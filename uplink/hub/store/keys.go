package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"telecart/capture/ledger"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// KeyList is a key list that was in use here: the newest epochs in it are what carts that hold it seal to.
type KeyList struct {
	Version        uint64
	Care, Practice uint32
	Installed      time.Time
}

// NoteKeyList writes down that a list is in use. It comes before the list leaves the hub.
func (s *Store) NoteKeyList(ctx context.Context, list wire.KeyList) error {
	care, err := list.Record(false)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	practice, err := list.Record(true)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	now := nanos(s.clock.Now())
	return s.write(ctx, func(tx *sql.Tx) error {
		for _, r := range list.Records {
			if _, err := tx.ExecContext(ctx, `INSERT INTO record_epochs (epoch, created) VALUES (?,?) ON CONFLICT DO NOTHING`, r.Epoch, now); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO key_lists (version, care, practice, installed) VALUES (?,?,?,?)
			ON CONFLICT DO UPDATE SET care = min(care, excluded.care), practice = min(practice, excluded.practice)`,
			int64(list.Version), care.Epoch, practice.Epoch, now)
		return err
	})
}

// KeyLists are the lists that were in use, oldest first.
func (s *Store) KeyLists(ctx context.Context) (out []KeyList, err error) {
	err = s.each(ctx, func(scan func(...any) error) error {
		var l KeyList
		err := scan(&l.Version, &l.Care, &l.Practice, asTime(&l.Installed))
		out = append(out, l)
		return err
	}, `SELECT version, care, practice, installed FROM key_lists ORDER BY version`)
	return out, err
}

// Epoch is a record key's life.
type Epoch struct {
	Number    uint32
	Created   time.Time
	Destroyed time.Time
}

// Epochs are all that there ever were, oldest first.
func (s *Store) Epochs(ctx context.Context) (out []Epoch, err error) {
	err = s.each(ctx, func(scan func(...any) error) error {
		var e Epoch
		err := scan(&e.Number, asTime(&e.Created), asTime(&e.Destroyed))
		out = append(out, e)
		return err
	}, `SELECT epoch, created, destroyed FROM record_epochs ORDER BY epoch`)
	return out, err
}

// EpochDestroyed notes that the private keys of an epoch are gone.
func (s *Store) EpochDestroyed(ctx context.Context, epoch uint32) error {
	now := nanos(s.clock.Now())
	_, err := s.exec(ctx, `INSERT INTO record_epochs (epoch, created, destroyed) VALUES (?,?,?)
		ON CONFLICT DO UPDATE SET destroyed = CASE destroyed WHEN 0 THEN excluded.destroyed ELSE destroyed END`, epoch, now, now)
	return err
}

// KeyHello is what a hello says of a cart's keys.
type KeyHello struct {
	Tenant, Cart string
	Device       [32]byte // SHA-256 of its public key
	Held         uint64   // version of the list it seals by
	Empty        bool     // nothing waits for a receipt
	Offered      uint64   // version of the list that the welcome brings
}

// KeysHeard writes down what a hello said, before the welcome offers a list. It reports whether the cart's list went back:
// then the cart was restored from an older card, or there are two of it.
func (s *Store) KeysHeard(ctx context.Context, h KeyHello) (back bool, err error) {
	at := []any{h.Tenant, h.Cart, hexOf(h.Device)}
	err = s.write(ctx, func(tx *sql.Tx) error {
		var before, cleared int64
		err := tx.QueryRowContext(ctx, `SELECT held, cleared FROM key_devices WHERE tenant = ? AND cart = ? AND device = ?`, at...).Scan(&before, &cleared)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		held, first := int64(h.Held), int64(h.Offered)
		if held > 0 { // it may have been offered by this hub before that was restored
			first = min(first, held)
		}
		if back = held < before; back {
			cleared = 0
		}
		if h.Empty {
			cleared = held
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO key_devices (tenant, cart, device, first, held, held_at, cleared) VALUES (?,?,?,?,?,?,?)
			ON CONFLICT DO UPDATE SET held = excluded.held, held_at = excluded.held_at, cleared = excluded.cleared, back = back + ?,
			first = CASE WHEN excluded.held > 0 THEN min(first, excluded.held) ELSE first END`,
			append(at, first, held, nanos(s.clock.Now()), cleared, back)...)
		return err
	})
	return back, err
}

// KeyDevice is a device that may hold items sealed to some epoch.
type KeyDevice struct {
	Tenant, Cart         string
	Device               string // SHA-256 of its public key, hexadecimal
	First, Held, Cleared uint64
	HeldAt               time.Time
	Back                 int
}

// KeyDevices are all that were ever offered a key list.
func (s *Store) KeyDevices(ctx context.Context) (out []KeyDevice, err error) {
	err = s.each(ctx, func(scan func(...any) error) error {
		var d KeyDevice
		err := scan(&d.Tenant, &d.Cart, &d.Device, &d.First, &d.Held, &d.Cleared, asTime(&d.HeldAt), &d.Back)
		out = append(out, d)
		return err
	}, `SELECT tenant, cart, device, first, held, cleared, held_at, back FROM key_devices ORDER BY tenant, cart, device`)
	return out, err
}

// WriteOff is an operator's word that what a cart may still hold under an epoch, or one before it, is given up.
type WriteOff struct {
	Tenant, Cart string
	Device       string // "": the whole cart
	Epoch        uint32
	Reason       string
	At           time.Time
}

// WriteOff keeps the operator's word.
func (s *Store) WriteOff(ctx context.Context, w WriteOff) error {
	_, err := s.exec(ctx, `INSERT INTO key_writeoffs (tenant, cart, device, epoch, reason, at) VALUES (?,?,?,?,?,?) ON CONFLICT DO NOTHING`,
		w.Tenant, w.Cart, w.Device, w.Epoch, w.Reason, nanos(s.clock.Now()))
	return err
}

// WriteOffs are all that were given.
func (s *Store) WriteOffs(ctx context.Context) (out []WriteOff, err error) {
	err = s.each(ctx, func(scan func(...any) error) error {
		var w WriteOff
		err := scan(&w.Tenant, &w.Cart, &w.Device, &w.Epoch, &w.Reason, asTime(&w.At))
		out = append(out, w)
		return err
	}, `SELECT tenant, cart, device, epoch, reason, at FROM key_writeoffs ORDER BY tenant, cart, device, epoch`)
	return out, err
}

// KeptKey is the data key that the hub keeps for a wrap. ErrNotFound if there is none.
func (s *Store) KeptKey(ctx context.Context, tenant string, id ledger.ID) (seal.Rewrap, error) {
	k, err := scanKept(s.r.QueryRowContext(ctx, `SELECT `+keptColumns+` FROM kept_keys WHERE tenant = ? AND wrap = ?`, tenant, id.String()).Scan)
	return k, wrap(err)
}

const keptColumns = `wrap, practice, epoch, kem, kdf, aead, enc, sealed`

func scanKept(scan func(...any) error) (k seal.Rewrap, err error) {
	err = scan(asText(&k.Wrap), &k.Practice, &k.Epoch, &k.KEM, &k.KDF, &k.AEAD, &k.Enc, &k.Sealed)
	return k, err
}

// NewestHead is the newest signed end of a cart's care ledger, as INCARNATION:NUMBER.
func (s *Store) NewestHead(ctx context.Context, tenant, cart string) (head string, err error) {
	err = s.r.QueryRowContext(ctx, `SELECT incarnation || ':' || number FROM heads WHERE tenant = ? AND cart = ? AND practice = 0 ORDER BY arrived DESC, number DESC LIMIT 1`,
		tenant, cart).Scan(&head)
	return head, wrap(err)
}

// LedgerCarts are the tenant's carts of whose ledgers anything is here.
func (s *Store) LedgerCarts(ctx context.Context, tenant string) (out []string, err error) {
	err = s.each(ctx, func(scan func(...any) error) error {
		var c string
		err := scan(&c)
		out = append(out, c)
		return err
	}, `SELECT cart FROM heads WHERE tenant = ? UNION SELECT cart FROM entries WHERE tenant = ? ORDER BY cart`, tenant, tenant)
	return out, err
}
