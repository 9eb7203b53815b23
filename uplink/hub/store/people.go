package store

import (
	"context"
	"database/sql"
	"errors"

	"telecart/provisioning/people"
)

// maxSessions bounds the sessions of all tenants together.
const maxSessions = 100_000

// People keeps accounts and sessions for package people.
type People struct{ s *Store }

// People is people.Accounts and people.SessionStore, kept here.
func (s *Store) People() People { return People{s} }

const accountColumns = `SELECT tenant, name, display, role, hash, state, epoch, tries, locked_until FROM accounts WHERE tenant = ? `

func scanAccount(scan func(...any) error) (a people.Account, err error) {
	err = scan(&a.Tenant, &a.Name, &a.Display, &a.Role, &a.Hash, &a.State, &a.Epoch, &a.Tries, asTime(&a.LockedUntil))
	if errors.Is(err, sql.ErrNoRows) {
		return people.Account{}, people.ErrUnknown
	}
	return a, err
}

// Account implements people.Accounts.
func (p People) Account(ctx context.Context, tenant, name string) (people.Account, error) {
	return keep(scanAccount(p.s.r.QueryRowContext(ctx, accountColumns+`AND name = ?`, tenant, name).Scan))
}

// keep leaves the words of people's own errors alone.
func keep(a people.Account, err error) (people.Account, error) {
	if errors.Is(err, people.ErrUnknown) {
		return a, err
	}
	return a, wrap(err)
}

// AddAccount implements people.Accounts.
func (p People) AddAccount(ctx context.Context, a people.Account) error {
	n, err := p.s.exec(ctx, `INSERT INTO accounts (tenant, name, display, role, hash, state, epoch, tries, locked_until) VALUES (?,?,?,?,?,?,?,?,?)
		ON CONFLICT DO NOTHING`, a.Tenant, a.Name, a.Display, a.Role, a.Hash, a.State, a.Epoch, a.Tries, nanos(a.LockedUntil))
	if err == nil && n == 0 {
		return people.ErrExists
	}
	return err
}

// ChangeAccount implements people.Accounts.
func (p People) ChangeAccount(ctx context.Context, tenant, name string, change func(*people.Account) error) error {
	var refused error
	err := p.s.write(ctx, func(tx *sql.Tx) error {
		a, err := scanAccount(tx.QueryRowContext(ctx, accountColumns+`AND name = ?`, tenant, name).Scan)
		if errors.Is(err, people.ErrUnknown) {
			refused = err
		} else if err == nil {
			refused = change(&a)
		}
		if err = errors.Join(err, refused); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE accounts SET display = ?, role = ?, hash = ?, state = ?, epoch = ?, tries = ?, locked_until = ? WHERE tenant = ? AND name = ?`,
			a.Display, a.Role, a.Hash, a.State, a.Epoch, a.Tries, nanos(a.LockedUntil), tenant, name)
		return err
	})
	if refused != nil {
		return refused
	}
	return err
}

// List is the tenant's accounts by name.
func (p People) List(ctx context.Context, tenant string) (out []people.Account, err error) {
	err = p.s.each(ctx, func(scan func(...any) error) error {
		a, err := scanAccount(scan)
		out = append(out, a)
		return err
	}, accountColumns+`ORDER BY name`, tenant)
	return out, err
}

// AddSession implements people.SessionStore. Sessions that are over make room first.
func (p People) AddSession(ctx context.Context, x people.Session) error {
	noRoom := false
	err := p.s.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE expires <= ?`, nanos(x.Started)); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM sessions`).Scan(&n); err != nil {
			return err
		}
		if noRoom = n >= maxSessions; noRoom {
			return people.ErrFull
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO sessions (hash, tenant, name, epoch, started, seen, expires) VALUES (?,?,?,?,?,?,?)`,
			hexOf(x.Hash), x.Tenant, x.Name, x.Epoch, nanos(x.Started), nanos(x.Seen), nanos(x.Expires))
		return err
	})
	if noRoom {
		return people.ErrFull
	}
	return err
}

// ChangeSession implements people.SessionStore. It is called at every request, so it looks first, outside the writer's
// transaction, whether there is anything to write.
func (p People) ChangeSession(ctx context.Context, hash [32]byte, change func(*people.Session) error) error {
	before, err := oneSession(ctx, p.s.r, hash)
	if err != nil {
		return err
	}
	after := before
	if err := change(&after); err != nil || after == before {
		return err
	}
	var refused error
	err = p.s.write(ctx, func(tx *sql.Tx) error {
		x, err := oneSession(ctx, tx, hash)
		if err == nil {
			err = change(&x)
		}
		if refused = err; err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE sessions SET epoch = ?, started = ?, seen = ?, expires = ? WHERE hash = ?`,
			x.Epoch, nanos(x.Started), nanos(x.Seen), nanos(x.Expires), hexOf(hash))
		return err
	})
	if refused != nil {
		return refused
	}
	return err
}

func oneSession(ctx context.Context, q querier, hash [32]byte) (x people.Session, err error) {
	err = q.QueryRowContext(ctx, `SELECT hash, tenant, name, epoch, started, seen, expires FROM sessions WHERE hash = ?`, hexOf(hash)).
		Scan(hexColumn{&x.Hash}, &x.Tenant, &x.Name, &x.Epoch, asTime(&x.Started), asTime(&x.Seen), asTime(&x.Expires))
	if errors.Is(err, sql.ErrNoRows) {
		return people.Session{}, people.ErrNoSession
	}
	return x, wrap(err)
}

// DropSession implements people.SessionStore.
func (p People) DropSession(ctx context.Context, hash [32]byte) error {
	_, err := p.s.exec(ctx, `DELETE FROM sessions WHERE hash = ?`, hexOf(hash))
	return err
}
