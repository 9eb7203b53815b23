package serve

import (
	"context"
	"errors"
	"fmt"
	"time"

	"telecart/capture/ledger"
	"telecart/cmd/telecart-hub/console"
	"telecart/uplink/hub/clinic"
	"telecart/uplink/hub/ingest"
	"telecart/uplink/hub/store"
)

// books shows IT whether all of a cart's ledgers is here.
type books struct {
	f      *folder
	ingest *ingest.Ingest
}

// auditTime bounds one look.
const auditTime = 2 * time.Minute

// Ledger implements console.Fleet.
func (b books) Ledger(ctx context.Context, tenant, cart string, d ingest.Depth) (out console.Ledger, err error) {
	ctx, cancel := context.WithTimeout(ctx, auditTime)
	defer cancel()
	if _, err := b.f.store.Cart(ctx, tenant, cart); errors.Is(err, store.ErrNotFound) {
		return out, fmt.Errorf("%w: cart %q", clinic.ErrUnknown, cart)
	}
	out = console.Ledger{Cart: cart, At: b.f.clock.Now(), Every: d == ingest.Bytes, Stores: []console.LedgerStore{}, Parts: []console.LedgerPart{}}
	lives, err := b.f.store.Lives(ctx)
	if err != nil {
		return out, err
	}
	for _, l := range lives {
		s := console.LedgerStore{Store: l.Store}
		if !l.Since.IsZero() {
			s.Since = &l.Since
		}
		out.Stores = append(out.Stores, s)
	}
	if out.Receipts, out.Backup, err = b.f.store.Reach(ctx); err != nil {
		return out, err
	}
	for _, practice := range []bool{false, true} {
		book := ledger.Book{Tenant: tenant, Cart: cart, Practice: practice}
		parts, err := b.ingest.Completeness(ctx, book, d)
		if err != nil {
			return out, err
		}
		for _, p := range parts {
			out.Parts = append(out.Parts, console.ShowLedger(book, p))
		}
	}
	all, err := b.f.store.Troubles(ctx, tenant, maxTroubles)
	for _, t := range all {
		out.Unseen = out.Unseen || t.Book.Cart == cart
	}
	return out, err
}

// LedgerSeen implements console.Fleet.
func (l fleet) LedgerSeen(ctx context.Context, tenant, cart string) error {
	err := l.o.f.store.LedgerSeen(ctx, tenant, cart)
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: cart %q", clinic.ErrUnknown, cart)
	}
	if err == nil {
		l.clinic.Settled(clinic.Cart{Tenant: tenant, Name: cart})
	}
	return err
}
