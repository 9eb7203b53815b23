package serve

import (
	"context"
	"log/slog"
	"maps"
	"time"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/hub/clinic"
	"telecart/uplink/hub/ingest"
	"telecart/uplink/hub/store"
)

// The clinic is told of what arrived after it is durable, so a hub that dies in between has told nobody. Which receipts the
// clinic was told of is written down now and then (a cursor); what came after it is told again at the next start, as news.
// Many requests report receipts at once, so a later one may be told first: the cursor stays below whatever was not told.
// Telling twice does no harm: a notice has the name of what caused it.
const (
	observerPatience = 1024
	cursorName       = "clinic"
	cursorEvery      = 2 * time.Second
	maxRecalled      = 10_000 // in one start; more than that is history
)

// observer hands what ingest reports to the clinic, in order, without delaying a receipt.
type observer struct {
	store   *store.Store
	clock   kit.Clock
	log     *slog.Logger
	metrics *metrics
	events  chan any
	ended   chan struct{}
	recent  []store.Item // that nobody was told of before the last end
	missed  map[missedItem]bool
	from    uint64                // the cursor: everything up to it was told, or is nothing to tell
	reach   uint64                // of the receipts when recent was read: older ones are told with it, or are history
	told    map[missedItem]uint64 // what was told of the receipts after from, by their sequence
}

type missedItem struct {
	tenant string
	item   ledger.Hash
}

type lostItems struct {
	book  ledger.Book
	items int
}

func newObserver(s *store.Store, m *metrics, clock kit.Clock, log *slog.Logger) *observer {
	return &observer{store: s, clock: clock, log: log, metrics: m, events: make(chan any, observerPatience), ended: make(chan struct{}),
		missed: map[missedItem]bool{}, told: map[missedItem]uint64{}}
}

// recall reads what arrived and was not told. A hub without a cursor (new, restored, or of an earlier release) begins with one.
func (o *observer) recall(ctx context.Context) error {
	from, ok, err := o.store.Cursor(ctx, cursorName)
	if err != nil {
		return err
	}
	if o.reach, _, err = o.store.Reach(ctx); err != nil {
		return err
	}
	if !ok {
		o.from = o.reach
		return o.store.SetCursor(ctx, cursorName, o.from)
	}
	o.from = from
	o.recent, err = o.store.Since(ctx, from, maxRecalled)
	for _, i := range o.recent {
		o.missed[missedItem{i.Book.Tenant, i.Item}] = true
	}
	return err
}

func (o *observer) untold(tenant string, item ledger.Hash) bool {
	return o.missed[missedItem{tenant, item}]
}

// ItemStored implements ingest.Observer.
func (o *observer) ItemStored(e ingest.ItemEvent) {
	if e.Body.Kind == 0 {
		return // refused: there is nothing to show
	}
	o.metrics.received.WithLabelValues(e.Body.Kind.String()).Inc()
	o.send(e)
}

// Forked implements ingest.Observer.
func (o *observer) Forked(f ingest.Fork) {
	o.metrics.forks.Inc()
	o.send(f)
}

// Lost implements ingest.Observer.
func (o *observer) Lost(b ledger.Book, items int) { o.send(lostItems{b, items}) }

func (o *observer) send(e any) {
	select {
	case o.events <- e:
	case <-o.ended: // it is told at the next start
	}
}

// run tells the clinic until ctx ends.
func (o *observer) run(ctx context.Context, s *clinic.Service) {
	defer close(o.ended)
	whole := context.WithoutCancel(ctx) // what was begun to be told is told, or the cursor would skip it
	for _, i := range o.recent {
		o.tell(whole, s, i)
	}
	o.recent = nil
	kept := o.from
	o.move(o.reach)
	keep := func(ctx context.Context) {
		err := o.advance(ctx, s)
		if err == nil && o.from != kept {
			err = o.store.SetCursor(ctx, cursorName, o.from)
		}
		if err != nil {
			o.log.Warn("hub: what was told is not written down; it may be told again", "err", err)
			return
		}
		kept = o.from
	}
	defer func() { keep(whole) }()
	due := o.clock.After(cursorEvery)
	for {
		select {
		case <-ctx.Done():
			return
		case <-due:
			keep(ctx)
			due = o.clock.After(cursorEvery)
		case e := <-o.events:
			switch e := e.(type) {
			case ingest.ItemEvent:
				o.tell(whole, s, e.Item)
			case ingest.Fork:
				s.Fork(whole, cartOf(e.Book), store.Trouble{Incarnation: e.Incarnation, Number: e.Number}.Where())
			case lostItems:
				s.Lost(cartOf(e.book), o.clock.Now().UTC().Format(time.DateOnly))
			}
		}
	}
}

func (o *observer) tell(ctx context.Context, s *clinic.Service, i store.Item) {
	s.Observe(ctx, i.Arrival())
	o.told[missedItem{i.Book.Tenant, i.Item}] = i.Sequence
}

// advance moves the cursor up to the first receipt that was not told. Ledger entries and refusals have a place in the sequence,
// too; they are nothing to tell, and don't hold it up.
func (o *observer) advance(ctx context.Context, s *clinic.Service) error {
	if len(o.told) == 0 {
		return nil
	}
	reach, _, err := o.store.Reach(ctx) // before the list: what is committed in between is in the list
	if err != nil {
		return err
	}
	fresh, err := o.store.FreshSince(ctx, o.from, maxRecalled)
	if err != nil {
		return err
	}
	to := reach
	if len(fresh) == maxRecalled {
		to = fresh[len(fresh)-1].Sequence
	}
	for _, f := range fresh {
		if _, told := o.told[missedItem{f.Tenant, f.Item}]; told {
			to = max(to, f.Sequence)
			continue
		}
		if len(o.told) < maxRecalled { // it is on its way
			to = f.Sequence - 1
			break
		}
		it, err := o.store.Item(ctx, f.Tenant, f.Item) // it was lost on its way: what waits for it must not grow for ever
		if err != nil {
			return err
		}
		o.tell(ctx, s, it)
	}
	o.move(to)
	return nil
}

func (o *observer) move(to uint64) {
	o.from = max(o.from, to)
	maps.DeleteFunc(o.told, func(_ missedItem, sequence uint64) bool { return sequence <= o.from })
}

func cartOf(b ledger.Book) clinic.Cart { return clinic.Cart{Tenant: b.Tenant, Name: b.Cart} }

// maxTroubles bounds what is told anew at a start.
const maxTroubles = 1000

// troubles tells the clinic anew of what IT has not seen yet.
func (h *hub) troubles(ctx context.Context, tenant string) error {
	all, err := h.f.store.Troubles(ctx, tenant, maxTroubles)
	for _, t := range all {
		if t.Lost {
			h.clinic.Lost(cartOf(t.Book), t.At.UTC().Format(time.DateOnly))
		} else {
			h.clinic.Fork(ctx, cartOf(t.Book), t.Where())
		}
	}
	return err
}
