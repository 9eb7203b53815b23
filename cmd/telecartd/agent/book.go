package agent

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"telecart/capture"
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

// bookOf is the care or the practice book. It needs mu.
func (a *Agent) bookOf(b ledger.Book) (*book, error) {
	switch {
	case len(a.books) == 0:
		return nil, errNoKeys
	case !b.Practice:
		return a.books[0], nil
	case len(a.books) == 1:
		return nil, fmt.Errorf("agent: practice is closed until its book can be opened, which is tried every minute; patients can be cared for: %w", a.noPractice)
	}
	return a.books[1], nil
}

// openBooks makes capture ready. Where practice can't be opened, care goes on alone: a full disk must not stop it.
func (a *Agent) openBooks(ctx context.Context) error {
	if gave, err := a.spare.give(roomBooks); err != nil {
		a.log.Error("agent: the reserve can't be given back", "err", err)
	} else if gave {
		a.log.Warn("agent: the disk is full; a piece of the reserve goes to the books")
	}
	a.mu.Lock()
	keys := a.keys
	a.mu.Unlock()
	care, err := a.openBookOf(ctx, ledger.Book{}, keys)
	if err != nil {
		return err
	}
	books := []*book{care}
	practice, err := a.openPractice(ctx, keys)
	if err == nil {
		books = append(books, practice)
	} else if ctx.Err() != nil {
		return errors.Join(err, care.box.Close()) // the next try opens both
	}
	a.mu.Lock()
	a.books, a.noPractice = books, err
	a.ready = a.clock.Now().Sub(a.started)
	stuck := err != nil && a.enc.State().Practice
	if stuck { // it could not be closed, and no patient seen before it is
		a.enc = &capture.Encounter{}
	}
	a.mu.Unlock()
	if err != nil {
		a.log.Error("agent: the practice book can't be opened; care goes on without it", "err", err)
	}
	if stuck {
		if err := a.keep(capture.Kept{}); err != nil {
			a.log.Error("agent: the practice encounter was dropped, and its file is still there", "err", err)
		}
	}
	a.log.Info("agent: ready to capture", "ms", a.ready.Milliseconds())
	a.change()
	return nil
}

// reopenPractice tries again what openBooks could not.
func (a *Agent) reopenPractice(ctx context.Context) {
	a.keying.Lock()
	defer a.keying.Unlock()
	a.mu.Lock()
	books, keys := a.books, a.keys
	a.mu.Unlock()
	if len(books) != 1 {
		return
	}
	b, err := a.openPractice(ctx, keys)
	if err == nil {
		b.box.Store(books[0].box.HubStore()) // what that store has is not delivered again
	}
	a.mu.Lock()
	if a.noPractice = err; err == nil {
		a.books = []*book{books[0], b}
	}
	a.mu.Unlock()
	if err != nil {
		a.log.Warn("agent: the practice book still can't be opened", "err", err)
		return
	}
	a.log.Info("agent: practice is open again")
	a.currentLink().Redial() // to say hello with both ledgers' heads
	a.change()
}

// openPractice takes no room that care may need: a try that fails halfway would leave a segment behind.
func (a *Agent) openPractice(ctx context.Context, keys wire.KeyList) (*book, error) {
	if s, err := a.spare.ask(a.set.State); err != nil {
		return nil, err
	} else if s.free < roomBook {
		return nil, fmt.Errorf("agent: %d MiB are free, and the practice book takes %d: %w", s.free>>20, roomBook>>20, unix.ENOSPC)
	}
	return a.openBookOf(ctx, ledger.Book{Practice: true}, keys)
}

// openBookOf opens a book of this cart.
func (a *Agent) openBookOf(ctx context.Context, b ledger.Book, keys wire.KeyList) (*book, error) {
	me, err := a.id.Identity()
	if err != nil {
		return nil, err
	}
	b.Tenant, b.Cart = me.Tenant, me.Cart
	return a.openBook(ctx, b, keys, a.id.Signer())
}

func (a *Agent) openBook(ctx context.Context, b ledger.Book, keys wire.KeyList, signer crypto.Signer) (*book, error) {
	sealer, err := a.newSealer(b, keys)
	if err != nil {
		return nil, err
	}
	box, err := outbox.Open(ctx, outbox.Options{Dir: filepath.Join(a.set.State, bookName(b)), Disk: a.booksDisk, Book: b, Run: a.run, Signer: signer, Clock: a.clock,
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
