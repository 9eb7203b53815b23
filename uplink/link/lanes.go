package link

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"telecart/capture/ledger"
	"telecart/uplink/outbox"
	"telecart/uplink/wire"
)

// smallItem is the padded length up to which an item takes the small lane: one chunk, so that nothing of it is worth resuming.
const smallItem = wire.ChunkSize

const (
	retryMin  = 200 * time.Millisecond
	retryMax  = 5 * time.Second
	yieldMost = 250 * time.Millisecond
	yieldStep = 5 * time.Millisecond
	// hedgeAfter is when an urgent item that has no receipt yet goes out once more on another connection: of a lost packet
	// TCP alone learns after more than a round trip, and the hub answers twice with the same receipt.
	hedgeAfter = 150 * time.Millisecond
)

// worker sends items of one lane, one after the other. Several in a lane hide the round trips behind each other.
type worker struct {
	lane  Lane
	takes func(outbox.Ref) bool // nil: everything
	wake  chan struct{}
	next  *worker // woken when this one found something
}

// delivery is everything under way to one store of the hub.
type delivery struct {
	c       *Client
	store   ledger.ID // the hub's, as it said in its welcome
	workers []*worker // one of the first kind of each lane is enough to be woken

	posting sync.Mutex     // one worker at a time tells of entries
	entries retry          // when the hub did not take them; needs posting
	rest    sync.WaitGroup // hedges that came second
	road    road

	mu     sync.Mutex
	flying map[ledger.Hash]bool
	later  map[ledger.Hash]retry // of the items that failed
	vitals int                   // under way now
	slot   time.Time             // until then the share of the link is used up
}

// retry is when what failed is due again, and how long it was to wait.
type retry struct {
	at   time.Time
	wait time.Duration
}

// after is when it is due once it failed another time.
func (r retry) after(now time.Time, err error) retry {
	wait := min(max(2*r.wait, retryMin), retryMax)
	if permanent(err) {
		wait = retryMax
	}
	return retry{now.Add(wait), wait}
}

func newDelivery(c *Client, store ledger.ID) *delivery {
	return &delivery{c: c, store: store, flying: map[ledger.Hash]bool{}, later: map[ledger.Hash]retry{}, workers: []*worker{
		crew(LaneSmall, 1, func(r outbox.Ref) bool { return r.Urgency == wire.Urgent }), crew(LaneSmall, 3, nil), crew(LaneBulk, 2, nil)}}
}

// crew is n workers, each of which wakes the next.
func crew(lane Lane, n int, takes func(outbox.Ref) bool) *worker {
	w := &worker{lane: lane, takes: takes, wake: make(chan struct{}, 1)}
	if n > 1 {
		w.next = crew(lane, n-1, takes)
	}
	return w
}

// deliver sends what the outboxes hold until ctx ends.
func (c *Client) deliver(ctx context.Context) error {
	c.mu.Lock()
	d := c.out
	c.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer func() {
		cancel(nil)
		wg.Wait()
		d.rest.Wait()
	}()
	wg.Go(func() { d.warm(ctx) })
	for _, first := range d.workers {
		for w := first; w != nil; w = w.next {
			wg.Go(func() {
				if err := d.work(ctx, w); err != nil {
					cancel(err)
				}
			})
		}
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-c.items:
			for _, w := range d.workers {
				nudge(w.wake)
			}
		}
	}
}

// work is one worker's life.
func (d *delivery) work(ctx context.Context, w *worker) error {
	for ctx.Err() == nil {
		worked, wait, err := d.step(ctx, w, d.hedged)
		switch {
		case worked:
			continue
		case err != nil:
			return err
		}
		var after <-chan time.Time
		if wait > 0 {
			after = d.c.opt.Clock.After(wait)
		}
		select {
		case <-ctx.Done():
		case <-w.wake:
		case <-after:
		}
	}
	return ctx.Err()
}

// job is one item to be sent.
type job struct {
	box  *outbox.Outbox
	ref  outbox.Ref
	lane Lane
	lone bool // nothing else of its worker's waits
}

// vital says whether somebody waits for this very item: small, urgent, and not one of a backlog.
func (j job) vital() bool { return j.lane == LaneSmall && j.ref.Urgency == wire.Urgent && j.lone }

// step is Step with a way to send; it says how long to wait for the next try if nothing is due.
func (d *delivery) step(ctx context.Context, w *worker, send func(context.Context, job) error) (worked bool, wait time.Duration, err error) {
	again, err := d.post(ctx)
	if err != nil {
		return false, 0, err
	}
	j, wait := d.pick(w)
	if j.box == nil {
		return d.showGone(ctx, w.lane), sooner(wait, again), nil
	}
	if w.next != nil {
		nudge(w.next.wake)
	}
	err = send(ctx, j)
	d.settle(ctx, j.ref, err)
	return true, 0, err
}

// post tells the hub of the entries that are no items, by one worker at a time. Items don't wait for that, and a hub that
// refuses entries still gets items, which it takes in any order: again says how long to wait then. An error is the connection's.
func (d *delivery) post(ctx context.Context) (again time.Duration, err error) {
	if !d.c.unposted() {
		return 0, nil
	}
	if !d.posting.TryLock() {
		return retryMin, nil // it may have looked before the newest was saved
	}
	defer d.posting.Unlock()
	now := d.c.opt.Clock.Now()
	if d.entries.at.After(now) {
		return d.entries.at.Sub(now), nil
	}
	err = d.c.postEntries(ctx)
	var p *wire.Problem
	if !errors.As(err, &p) {
		d.entries = retry{}
		return 0, err
	}
	now = d.c.opt.Clock.Now()
	d.entries = d.entries.after(now, err)
	d.c.opt.Log.Warn("link: ledger entries not taken", "err", err)
	return d.entries.wait, nil
}

// sooner is the shorter of two waits, of which 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// pick finds the item that is due, or says how long to wait for the next try.
func (d *delivery) pick(w *worker) (job, time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now, wait := d.c.opt.Clock.Now(), time.Duration(0)
	for _, box := range d.c.opt.Books() {
		due := false
		refs := box.Pending(2, func(r outbox.Ref) bool {
			if bulk := r.Length > smallItem; bulk != (w.lane == LaneBulk) || d.flying[r.Hash] || w.takes != nil && !w.takes(r) {
				return true
			}
			if t := d.later[r.Hash].at; t.After(now) {
				wait = sooner(wait, t.Sub(now))
				return true
			}
			due = true
			return false
		})
		if len(refs) > 0 {
			d.flying[refs[0].Hash] = true
			return job{box, refs[0], w.lane, len(refs) == 1 || refs[1].Urgency != wire.Urgent}, 0
		}
		if due { // it can't be read at the moment
			wait = sooner(wait, retryMax)
		}
	}
	return job{}, wait
}

// settle remembers what became of a try.
func (d *delivery) settle(ctx context.Context, ref outbox.Ref, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.flying, ref.Hash)
	if err == nil || ctx.Err() != nil {
		delete(d.later, ref.Hash)
		return
	}
	d.later[ref.Hash] = d.later[ref.Hash].after(d.c.opt.Clock.Now(), err)
	d.c.opt.Log.Warn("link: item not delivered", "item", ref.Hash, "err", err)
}

// permanent says whether trying again soon is pointless: the one place that decides it. Too many requests (429) soon are fewer.
func permanent(err error) bool {
	var p *wire.Problem
	if errors.As(err, &p) && p.Status >= 400 && p.Status < 500 {
		return p.Status != http.StatusTooManyRequests && p.Code != "chunk-damaged"
	}
	return errors.Is(err, outbox.ErrDamaged)
}

// plain sends an item once.
func (d *delivery) plain(ctx context.Context, j job) error {
	b, err := d.fetch(ctx, j)
	if err != nil {
		return err
	}
	return d.keep(j.box, j.ref, b)
}

// hedged sends an item, and an urgent one that waits alone once more if its receipt is slow. The first receipt counts; the
// other request is left to end by itself, since cutting it off would cost its connection.
func (d *delivery) hedged(ctx context.Context, j job) error {
	if !j.vital() {
		return d.plain(ctx, j)
	}
	type answer struct {
		receipt []byte
		err     error
	}
	answers := make(chan answer, 2)
	try := func() {
		b, err := d.fetch(ctx, j)
		answers <- answer{b, err}
	}
	d.rest.Go(try)
	running, again := 1, d.c.opt.Clock.After(hedgeAfter)
	var last error
	for running > 0 {
		select {
		case <-again:
			again = nil
			running++
			d.rest.Go(try)
		case a := <-answers:
			if a.err == nil {
				return d.keep(j.box, j.ref, a.receipt)
			}
			running--
			last = a.err
		}
	}
	return last
}

func (d *delivery) busy(n int) {
	d.mu.Lock()
	d.vitals += n
	d.mu.Unlock()
}

// yield lets vital signs go first, but not for ever.
func (d *delivery) yield(ctx context.Context) {
	for waited := time.Duration(0); waited < yieldMost; waited += yieldStep {
		d.mu.Lock()
		busy := d.vitals > 0
		d.mu.Unlock()
		if !busy {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-d.c.opt.Clock.After(yieldStep):
		}
	}
}
