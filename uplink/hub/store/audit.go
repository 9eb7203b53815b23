package store

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// AuditEvent is one line of a tenant's audit trail. JSON is the event as its owner writes it.
type AuditEvent struct {
	Number uint64
	At     time.Time
	Who    string
	Action string
	JSON   []byte
}

// AppendAudit adds a line with the next number. make gets that number and the line before (zero at the first), so that
// the trail can be chained; it runs inside the transaction.
func (s *Store) AppendAudit(ctx context.Context, tenant string, make func(number uint64, before AuditEvent) (AuditEvent, error)) (e AuditEvent, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		before, err := scanAudit(tx.QueryRowContext(ctx, auditColumns+`ORDER BY number DESC LIMIT 1`, tenant).Scan)
		next := before.Number + 1
		if errors.Is(err, sql.ErrNoRows) {
			before, next, err = AuditEvent{}, 0, nil
		}
		if err != nil {
			return err
		}
		if e, err = make(next, before); err != nil {
			return err
		}
		e.Number = next
		_, err = tx.ExecContext(ctx, `INSERT INTO audit_events (tenant, number, at, who, action, json) VALUES (?,?,?,?,?,?)`,
			tenant, e.Number, nanos(e.At), e.Who, e.Action, string(e.JSON))
		return err
	})
	return e, err
}

const auditColumns = `SELECT number, at, who, action, json FROM audit_events WHERE tenant = ? `

func scanAudit(scan func(...any) error) (e AuditEvent, err error) {
	err = scan(&e.Number, asTime(&e.At), &e.Who, &e.Action, &e.JSON)
	return e, err
}

// Audit are the tenant's lines from a number on, at most limit.
func (s *Store) Audit(ctx context.Context, tenant string, from uint64, limit int) (out []AuditEvent, err error) {
	err = s.each(ctx, func(scan func(...any) error) error {
		e, err := scanAudit(scan)
		out = append(out, e)
		return err
	}, auditColumns+`AND number >= ? ORDER BY number LIMIT ?`, tenant, from, limit)
	return out, err
}
