package agent

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"telecart/capture/ledger"
	"telecart/uplink/outbox"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// book is care or practice: an outbox, and the data key of its open encounter.
type book struct {
	box    *outbox.Outbox
	sealer *seal.Sealer

	mu        sync.RWMutex // held for reading while the key is used
	key       *seal.Key
	encounter ledger.ID
	gone      ledger.ID // the encounter that closed last: what is still under way for it gets no key any more
}

// errNoKeys: the cart has never been told what to seal to.
var errNoKeys = errors.New("agent: this cart has no record key yet: enrol it, and let it reach its hub once")

func (a *Agent) openBook(ctx context.Context, b ledger.Book, keys wire.KeyList, signer crypto.Signer) (*book, error) {
	record, err := keys.Record(b.Practice)
	if err != nil {
		return nil, err
	}
	sealer, err := seal.NewSealer(b, a.run, record)
	if err != nil {
		return nil, err
	}
	name := "care"
	if b.Practice {
		name = "practice"
	}
	box, err := outbox.Open(ctx, outbox.Options{Dir: filepath.Join(a.set.State, name), Book: b, Run: a.run, Signer: signer, Clock: a.clock,
		Trusted: a.trusted, Grace: time.Duration(a.set.Delivery.Grace), Check: a.checker, Log: a.log})
	if err != nil {
		return nil, err
	}
	box.Subscribe(func() { a.currentLink().Saved(); a.change() })
	return &book{box: box, sealer: sealer}, nil
}

// renew takes a newer record key over, for encounters that open from now on.
func (b *book) renew(book ledger.Book, run ledger.ID, keys wire.KeyList) error {
	record, err := keys.Record(book.Practice)
	if err != nil {
		return err
	}
	s, err := seal.NewSealer(book, run, record)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sealer = s
	return nil
}

// put seals and saves one item under the encounter's key.
func (b *book) put(ctx context.Context, encounter ledger.ID, kind uint8, urgency wire.Urgency, plain []byte) (outbox.Saved, error) {
	b.mu.RLock()
	for b.encounter != encounter || b.key == nil {
		b.mu.RUnlock()
		if err := b.draw(encounter); err != nil {
			return outbox.Saved{}, err
		}
		b.mu.RLock()
	}
	defer b.mu.RUnlock()
	return b.box.Put(ctx, b.key, kind, urgency, plain)
}

// draw makes the data key of an encounter; the one before is overwritten.
func (b *book) draw(encounter ledger.ID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case encounter == b.gone:
		return seal.ErrClosed
	case b.encounter == encounter && b.key != nil:
		return nil
	}
	k, err := b.sealer.NewKey(encounter)
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	if b.key != nil {
		b.key.Destroy()
	}
	b.key, b.encounter = k, encounter
	return nil
}

// forget overwrites the encounter's key: nothing can be sealed, or opened, with it any more.
func (b *book) forget(encounter ledger.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone = encounter
	if b.key != nil && b.encounter == encounter {
		b.key.Destroy()
		b.key = nil
	}
}
