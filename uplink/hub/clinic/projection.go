package clinic

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"time"

	"telecart/capture"
	"telecart/capture/ledger"
)

// place is where an item stands in a cart's history.
type place struct {
	rank   int64 // of the incarnation: when its first item arrived
	number uint64
	item   ledger.Hash
}

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.rank, q.rank), cmp.Compare(p.number, q.number), bytes.Compare(p.item[:], q.item[:]))
}

// recordedAs names an encounter as a cart recorded it.
type recordedAs struct {
	book ledger.Book
	id   ledger.ID
}

// tenantID names something within a tenant.
type tenantID[T comparable] struct {
	tenant string
	id     T
}

type recorded struct {
	arrivals []Arrival
	parts    []Encounter
	last     time.Time // when its latest item arrived
}

// projection is every encounter, as the items that have arrived say. Pure: items in, what they change out.
type projection struct {
	recorded map[recordedAs]*recorded
	parts    map[tenantID[ledger.ID]]recordedAs
	items    map[tenantID[ledger.Hash]]recordedAs
	fixes    map[ledger.Book]map[ledger.Hash][]fix
	rank     map[ledger.ID]int64
}

func newProjection() *projection {
	return &projection{recorded: map[recordedAs]*recorded{}, parts: map[tenantID[ledger.ID]]recordedAs{}, items: map[tenantID[ledger.Hash]]recordedAs{},
		fixes: map[ledger.Book]map[ledger.Hash][]fix{}, rank: map[ledger.ID]int64{}}
}

// change is what one more item made different.
type change struct {
	where     recordedAs
	fresh     bool             // the item was not known before
	corrected *Item            // this earlier item is now corrected
	of        ledger.ID        // the encounter that it is in
	split     *Encounter       // this part is new
	rebound   bool             // the open encounter has another patient than before
	patient   *capture.Patient // newly bound
}

func (p *projection) place(a Arrival) place {
	return place{p.rank[a.Entry.Incarnation], a.Entry.Number, a.Item}
}

// maxItems bounds what is remembered of one encounter; the rest stays in the store.
const maxItems = 20_000

func (p *projection) add(a Arrival) change {
	where := recordedAs{a.Book, a.Body.Encounter}
	c := change{where: where}
	id := tenantID[ledger.Hash]{a.Book.Tenant, a.Item}
	r := p.recorded[where]
	if r == nil {
		r = &recorded{}
		p.recorded[where] = r
	}
	if _, known := p.items[id]; known || len(r.arrivals) >= maxItems {
		return c
	}
	c.fresh = true
	p.items[id] = where
	if first, ok := p.rank[a.Entry.Incarnation]; !ok || a.Arrived.UnixNano() < first {
		p.rank[a.Entry.Incarnation] = a.Arrived.UnixNano()
	}
	a.Body.Blob = nil
	r.arrivals = append(r.arrivals, a)
	if a.Arrived.After(r.last) {
		r.last = a.Arrived
	}
	before := r.parts
	target, other := p.correct(a)
	p.compute(where)
	if other {
		p.compute(target)
	}
	if fixed := a.Body.Correction; fixed != nil {
		if i, of := p.find(a.Book.Tenant, fixed.Item); i != nil && i.Book == a.Book && i.Corrected != nil {
			c.corrected, c.of = i, of
		}
	}
	c.compare(before, r.parts)
	return c
}

// correct files a correction under what it corrects; other says that this is in an encounter of its own.
func (p *projection) correct(a Arrival) (target recordedAs, other bool) {
	info := a.Body.Correction
	if info == nil {
		return target, false
	}
	of := p.fixes[a.Book]
	if of == nil {
		of = map[ledger.Hash][]fix{}
		p.fixes[a.Book] = of
	}
	of[info.Item] = append(of[info.Item], fix{p.place(a), a.Item, *info})
	slices.SortFunc(of[info.Item], func(x, y fix) int { return x.at.compare(y.at) })
	target, known := p.items[tenantID[ledger.Hash]{a.Book.Tenant, info.Item}]
	// Care never follows practice, nor one cart another.
	return target, known && target.book == a.Book && target.id != a.Body.Encounter
}

func (p *projection) compute(where recordedAs) {
	r := p.recorded[where]
	slices.SortFunc(r.arrivals, func(a, b Arrival) int { return p.place(a).compare(p.place(b)) })
	for _, e := range r.parts {
		delete(p.parts, tenantID[ledger.ID]{where.book.Tenant, e.ID})
	}
	r.parts = chapters(r.arrivals, p.fixes[where.book])
	for _, e := range r.parts {
		p.parts[tenantID[ledger.ID]{where.book.Tenant, e.ID}] = where
	}
}

func (c *change) compare(before, now []Encounter) {
	known := map[ledger.ID]bool{}
	for _, e := range before {
		known[e.ID] = true
	}
	last := now[len(now)-1]
	for i := range now {
		if !known[now[i].ID] && i > 0 {
			c.split = &now[i]
		}
	}
	var was *capture.Patient
	if len(before) > 0 {
		was = before[len(before)-1].Patient
	}
	if last.Patient != nil && (was == nil || *was != *last.Patient) {
		c.patient = last.Patient
		c.rebound = was != nil && was.ID != last.Patient.ID
	}
}

// find is an item with the id of the encounter it shows in.
func (p *projection) find(tenant string, item ledger.Hash) (*Item, ledger.ID) {
	where, ok := p.items[tenantID[ledger.Hash]{tenant, item}]
	if !ok {
		return nil, ledger.ID{}
	}
	for _, e := range p.recorded[where].parts {
		for i := range e.Items {
			if e.Items[i].Item == item {
				return &e.Items[i], e.ID
			}
		}
	}
	return nil, ledger.ID{}
}

// encounter is one part, by its id.
func (p *projection) encounter(tenant string, id ledger.ID) (Encounter, bool) {
	where, ok := p.parts[tenantID[ledger.ID]{tenant, id}]
	if !ok {
		return Encounter{}, false
	}
	for _, e := range p.recorded[where].parts {
		if e.ID == id {
			return e, true
		}
	}
	return Encounter{}, false
}

// latest is the last part of an encounter as the cart recorded it.
func (p *projection) latest(where recordedAs) (Encounter, bool) {
	r := p.recorded[where]
	if r == nil || len(r.parts) == 0 {
		return Encounter{}, false
	}
	return r.parts[len(r.parts)-1], true
}

// seenSince are the patients of a tenant's encounters in which something arrived since then, of care or of practice but
// never both. carts nil is all carts.
func (p *projection) seenSince(tenant string, practice Practice, carts map[string]bool, since time.Time) []capture.Patient {
	seen := map[string]capture.Patient{}
	for where, r := range p.recorded {
		if where.book.Tenant != tenant || where.book.Practice != bool(practice) || r.last.Before(since) || carts != nil && !carts[where.book.Cart] {
			continue
		}
		for _, e := range r.parts {
			if e.Patient != nil {
				seen[e.Patient.ID] = *e.Patient
			}
		}
	}
	return slices.SortedFunc(maps.Values(seen), func(a, b capture.Patient) int { return cmp.Compare(a.ID, b.ID) })
}

// Practice says that something is exercise, not care.
type Practice bool
