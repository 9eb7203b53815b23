package ingest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"

	"telecart/capture/ledger"
	"telecart/uplink/hub/store"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// Depth is how closely an audit looks at the items' files.
type Depth uint8

// Each looks at all that the one before does.
const (
	Entries Depth = iota // at the ledger alone
	Files                // is each file here, with the item's own manifest, at its length?
	Bytes                // every chunk is hashed and, with its record key here, opened and compared with the database
)

// Completeness checks a book, by name: every incarnation of which anything is here, in the order in which they began.
func (in *Ingest) Completeness(ctx context.Context, b ledger.Book, d Depth) ([]Completeness, error) {
	heads, err := in.store.Heads(ctx, b)
	if err != nil {
		return nil, err
	}
	proofs, err := in.store.Proofs(ctx, b)
	if err != nil {
		return nil, err
	}
	a := newAuditor(b, heads, proofs)
	for l, err := range in.store.Lines(ctx, b) {
		if err != nil {
			return nil, err
		}
		found := notLooked
		if l.Kind == ledger.Item && l.Verdict == wire.Received && d > Entries {
			if found, err = in.look(ctx, b.Tenant, l.Body, d); err != nil {
				return nil, err
			}
		}
		a.line(l, found)
	}
	a.end()
	a.rest()
	for i := range a.out {
		if o := a.out[i].After; o != nil {
			o.Incarnation, o.Number, err = in.store.Place(ctx, b, o.Head)
			if o.Known = err == nil; err != nil && !errors.Is(err, store.ErrNotFound) {
				return nil, err
			}
		}
	}
	return a.out, nil
}

// look is what became of a received item's file. An error says nothing about the item.
func (in *Ingest) look(ctx context.Context, tenant string, item ledger.Hash, d Depth) (condition, error) {
	err := in.store.Intact(tenant, item)
	if err == nil && d == Bytes {
		err = in.reread(ctx, tenant, item)
	}
	switch {
	case errors.Is(err, store.ErrDamaged) || errors.Is(err, store.ErrNotFound):
		return damaged, nil
	case err != nil:
		return notLooked, err
	}
	return intact, nil
}

// reread hashes every chunk and opens the item: it must give what the database says.
func (in *Ingest) reread(ctx context.Context, tenant string, item ledger.Hash) error {
	p, err := in.store.OpenItem(tenant, item)
	if err != nil {
		return err
	}
	defer p.Close()
	for i := range p.Manifest.Chunks {
		if _, err := p.Chunk(i); err != nil {
			return err
		}
	}
	plain, meta, err := in.store.Described(ctx, tenant, item)
	if err != nil {
		return err
	}
	b, refusal, err := in.open(p)
	switch {
	case errors.Is(err, seal.ErrNoKey): // an old epoch's key may be gone; the chunks are what they were
		return nil
	case err != nil:
		return err
	case refusal != "" || ledger.Hash(b.sum.Sum(nil)) != plain || !bytes.Equal(b.meta[4:], meta):
		return store.ErrDamaged
	}
	return nil
}

// signed verifies a stored head again. One that came before keys were stored with heads was verified when it came, and the
// cart's next hello brings it anew.
func signed(h store.KeptHead) bool {
	if len(h.Key) == 0 {
		return true
	}
	pub, err := x509.ParsePKIXPublicKey(h.Key)
	if err != nil {
		return false
	}
	_, ok := pub.(*ecdsa.PublicKey)
	return ok && h.Verify(pub) == nil
}
