package link

import (
	"context"
	"sync"
	"time"

	"telecart/uplink/outbox"
)

const (
	// warmFirst lets the long item have the connection that was made for it, and the link for its first bytes.
	warmFirst = 2 * time.Second
	// warmEvery is less than what ends an idle connection: 90 s here (identity, IdleConnTimeout), two minutes at the hub.
	warmEvery = 30 * time.Second
	warmed    = 2 // for a vital sign, and for its hedge
)

// warm keeps connections open that a vital sign finds free: to make one takes two round trips, and half a dozen packets that may
// be lost.
func (d *delivery) warm(ctx context.Context) {
	for wait := warmFirst; ; wait = warmEvery {
		select {
		case <-ctx.Done():
			return
		case <-d.c.opt.Clock.After(wait):
		}
		if !d.c.anySmall() { // else those that carry them do
			d.touch(ctx)
		}
	}
}

// touch uses as many connections at the same time.
func (d *delivery) touch(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, dialWait)
	defer cancel()
	var wg sync.WaitGroup
	for range warmed {
		wg.Go(func() { d.c.touchHub(ctx) })
	}
	wg.Wait()
}

// anySmall says whether items of the small lane wait.
func (c *Client) anySmall() bool {
	for _, b := range c.opt.Books() {
		if len(b.Pending(1, func(r outbox.Ref) bool { return r.Length > smallItem })) > 0 {
			return true
		}
	}
	return false
}
