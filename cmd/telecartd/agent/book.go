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
	sealer, err := a.newSealer(b, keys)
	if err != nil {
		return nil, err
	}
	box, err := outbox.Open(ctx, outbox.Options{Dir: filepath.Join(a.set.State, bookName(b)), Book: b, Run: a.run, Signer: signer, Clock: a.clock,
		Trusted: a.trusted, Grace: time.Duration(a.set.Delivery.Grace), Check: a.checker, Log: a.log})
	if err != nil {
		return nil, err
	}
	box.Subscribe(func() { a.currentLink().Saved(); a.change() })
	return &book{box: box, sealer: sealer}, nil
}

// bookName is a book's folder in STATE.
func bookName(b ledger.Book) string {
	if b.Practice {
		return "practice"
	}
	return "care"
}

// newSealer seals to the newest record key of a list.
func (a *Agent) newSealer(b ledger.Book, keys wire.KeyList) (*seal.Sealer, error) {
	record, err := keys.Record(b.Practice)
	if err != nil {
		return nil, err
	}
	return seal.NewSealer(b, a.run, record)
}

// renew takes a sealer to a newer record key over. What is being put is put; the open encounter's data key is then
// overwritten, and the next item draws one that is wrapped to the newer key.
func (b *book) renew(s *seal.Sealer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sealer = s
	if b.key != nil {
		b.key.Destroy()
		b.key = nil
	}
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
