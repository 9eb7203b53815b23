package link

import (
	"context"
	"errors"
	"fmt"

	"telecart/capture/ledger"
	"telecart/uplink/outbox"
	"telecart/uplink/wire"
)

// Lane is one of the two ways out, by the size of an item: what is small never waits behind what is long.
type Lane int

// The lanes.
const (
	LaneSmall Lane = iota
	LaneBulk
)

// Greeting is what the cart says first on a connection: whoever gets its answer hands both to Welcome, then delivers by
// Step. These three are the link without sockets and goroutines; Run does nothing else with an outbox.
func (c *Client) Greeting() (Hello, error) {
	h := Hello{Protocol: [2]int{MinProtocol, MaxProtocol}, Version: c.opt.Version, Run: c.opt.Run, Keys: c.opt.Held()}
	h.Empty, h.Store = empty(c.opt.Books()) // after Keys, before the heads: see Hello
	for _, b := range c.opt.Books() {
		head, err := b.Head()
		if err != nil {
			return Hello{}, err
		}
		h.Heads = append(h.Heads, head)
	}
	return h, nil
}

// empty says whether everything in both books has the word of the hub's store, be it a refusal. Of one that is not open nobody
// knows.
func empty(books []*outbox.Outbox) (all bool, store ledger.ID) {
	open := map[bool]bool{}
	for i, b := range books {
		open[b.Book().Practice] = true
		if i == 0 {
			store = b.HubStore()
		}
		if s := b.Stats(); s.Held > s.Refused || s.Loading > 0 || b.HubStore() != store {
			return false, store
		}
	}
	return len(open) == 2 && store != ledger.ID{}, store
}

// Welcome takes the hub's answer to a greeting: the keys, if the offline root signed them; its store; its heads, which may
// show that this ledger forked; its watermark.
func (c *Client) Welcome(ctx context.Context, h Hello, w Welcome) error {
	if w.Protocol < MinProtocol || w.Protocol > MaxProtocol {
		return fmt.Errorf("link: the hub chose protocol %d; spoken here: %d to %d", w.Protocol, MinProtocol, MaxProtocol)
	}
	keys, err := w.Keys.Open(c.opt.Root, c.opt.Held())
	if errors.Is(err, wire.ErrOldKeyList) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %v", errKeys, err)
	}
	if err := c.opt.Welcomed(w, keys); err != nil {
		return err
	}
	c.mu.Lock()
	c.keys, c.out = keys, newDelivery(c, w.Store)
	c.mu.Unlock()
	for i, b := range c.opt.Books() {
		b.Store(w.Store)
		for _, head := range w.Heads {
			if i < len(h.Heads) && head.Book == h.Heads[i].Book {
				if _, err := b.Reconcile(ctx, head); err != nil {
					return err
				}
			}
		}
		c.water(b, w.Watermark)
	}
	return nil
}

// ErrStore: Step was asked to deliver to another store than the one of the last welcome.
var ErrStore = errors.New("link: not the store that said welcome; greet again")

// Step tells the hub of ledger entries that it does not have yet, unless it has just refused them, then sends the item of a lane that is due first, and
// keeps its receipt. Worked says that there was one; its failure is remembered, and it is due again later. An error without
// work is the connection's.
func (c *Client) Step(ctx context.Context, store ledger.ID, lane Lane) (worked bool, err error) {
	c.mu.Lock()
	d := c.out
	c.mu.Unlock()
	if d == nil || d.store != store {
		return false, ErrStore
	}
	worked, _, err = d.step(ctx, &worker{lane: lane}, d.plain)
	return worked, err
}
