package link

import (
	"context"
	"net/http"
	"sync"
	"time"

	"telecart/capture/ledger"
	"telecart/uplink/outbox"
)

// early is a question about the long item that goes first, asked while the connection is still being greeted: the first byte
// after an outage comes three round trips sooner, two of which make the connection that it goes over. It is asked one round trip
// after the greeting's dial, so that it does not stand in its way on a slow link; both have their answers at the same time.
type early struct {
	item    ledger.Hash
	done    chan struct{}
	receipt []byte
	have    []int
	err     error

	once sync.Once // it counts once
}

// earlyWait is how long the early answer is waited for once the hub said welcome.
const earlyWait = 250 * time.Millisecond

// askEarly asks once the hub is there, if there is a long item, and else makes a connection alone. The function that it gives
// ends that.
func (c *Client) askEarly(ctx context.Context, there <-chan struct{}) (end func()) {
	ctx, cancel := context.WithTimeout(ctx, dialWait)
	e := &early{done: make(chan struct{})}
	ask := func() { c.touchHub(ctx) }
	for _, b := range c.opt.Books() {
		if refs := b.Pending(1, func(r outbox.Ref) bool { return r.Length <= smallItem }); len(refs) > 0 {
			e.item = refs[0].Hash
			ask = func() { e.receipt, e.have, e.err = c.ask(ctx, refs[0]) }
			break
		}
	}
	c.mu.Lock()
	c.early = e
	c.mu.Unlock()
	go func() {
		defer close(e.done)
		select {
		case <-there:
			ask()
		case <-ctx.Done():
			e.err = ctx.Err()
		}
	}()
	return func() {
		cancel()
		<-e.done
	}
}

// touchHub opens a connection for items.
func (c *Client) touchHub(ctx context.Context) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, c.opt.Base+ItemPath, nil)
	if err != nil {
		return
	}
	if resp, err := c.opt.Bulk.Do(req); err == nil { // whatever it says
		resp.Body.Close()
	}
}

// asked gives the early answer about an item, once; ok is false if there is none.
func (c *Client) asked(ctx context.Context, item ledger.Hash) (e *early, ok bool) {
	c.mu.Lock()
	e = c.early
	c.mu.Unlock()
	if e == nil || e.item != item {
		return nil, false
	}
	select {
	case <-e.done:
	case <-c.opt.Clock.After(earlyWait): // its connection lost a packet: there may be a better one by now
		return nil, false
	case <-ctx.Done():
		return nil, false
	}
	e.once.Do(func() { ok = e.err == nil })
	return e, ok
}
