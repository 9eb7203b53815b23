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
	cuts     map[recordedAs]cut        // encounters that a cart split itself
	origin   map[recordedAs]recordedAs // and what each was split off
}

// cut says that everything of an encounter from the start of a run on belongs to another one.
type cut struct {
	since ledger.ID
	to    recordedAs
}

func newProjection() *projection {
	return &projection{recorded: map[recordedAs]*recorded{}, parts: map[tenantID[ledger.ID]]recordedAs{}, items: map[tenantID[ledger.Hash]]recordedAs{},
		fixes: map[ledger.Book]map[ledger.Hash][]fix{}, rank: map[ledger.ID]int64{},
		cuts: map[recordedAs]cut{}, origin: map[recordedAs]recordedAs{}}
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
	first, ranked := p.rank[a.Entry.Incarnation]
	moves := ranked && a.Arrived.UnixNano() < first // everything of this incarnation
	if !ranked || moves {
		p.rank[a.Entry.Incarnation] = a.Arrived.UnixNano()
	}
	a.Body.Blob = nil
	if a.Arrived.After(r.last) {
		r.last = a.Arrived
	}
	if !moves && p.appends(where, r, a) {
		r.arrivals = append(r.arrivals, a)
		r.parts[len(r.parts)-1].add(a, p.fixes[a.Book])
		return c
	}
	r.arrivals = append(r.arrivals, a)
	before := r.parts
	target, other := p.correct(a)
	p.inherit(a)
	p.compute(where, maxSplits)
	if from, ok := p.origin[where]; ok {
		p.compute(from, maxSplits)
	}
	if other {
		p.compute(target, maxSplits)
	}
	if fixed := a.Body.Correction; fixed != nil {
		if i, of := p.find(a.Book.Tenant, fixed.Item); i != nil && i.Book == a.Book && i.Corrected != nil {
			c.corrected, c.of = i, of
		}
	}
	c.compare(before, r.parts)
	return c
}

// appends says that an item only makes its encounter longer: it stands after all others and changes nothing that was before. So
// it is with nearly all, and an encounter of thousands of items does not have to be put together anew for each.
func (p *projection) appends(where recordedAs, r *recorded, a Arrival) bool {
	if a.Body.Binding != nil || a.Body.Correction != nil || a.Body.Event != nil || len(r.parts) == 0 {
		return false
	}
	if _, cut := p.cuts[where]; cut {
		return false
	}
	if _, split := p.origin[where]; split {
		return false
	}
	return p.place(r.arrivals[len(r.arrivals)-1]).compare(p.place(a)) < 0
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

// maxSplits bounds how far splits of splits are followed.
const maxSplits = 16

// inherit follows a cart that split an encounter itself: what it captured since its restart goes to the new one.
func (p *projection) inherit(a Arrival) {
	ev := a.Body.Event
	if ev == nil || ev.What != "split" || ev.From == nil || ev.Since == nil || *ev.From == a.Body.Encounter {
		return
	}
	from, to := recordedAs{a.Book, *ev.From}, recordedAs{a.Book, a.Body.Encounter}
	if _, taken := p.cuts[from]; taken {
		return
	}
	if _, taken := p.origin[to]; taken {
		return
	}
	p.cuts[from], p.origin[to] = cut{*ev.Since, to}, from
}

// held is what of the recorded items shows in an encounter, and what went to the one that was split off.
func (p *projection) held(where recordedAs, depth int) (own, passed []Arrival) {
	if r := p.recorded[where]; r != nil {
		own = r.arrivals
	}
	if from, ok := p.origin[where]; ok && depth > 0 {
		_, inherited := p.held(from, depth-1)
		own = slices.Concat(inherited, own)
	}
	if c, ok := p.cuts[where]; ok {
		if i := slices.IndexFunc(own, func(a Arrival) bool { return a.Entry.Run == c.since }); i >= 0 {
			own, passed = own[:i], own[i:]
		}
	}
	return own, passed
}

func (p *projection) compute(where recordedAs, depth int) {
	r := p.recorded[where]
	if r == nil || depth == 0 {
		return
	}
	slices.SortFunc(r.arrivals, func(a, b Arrival) int { return p.place(a).compare(p.place(b)) })
	for _, e := range r.parts {
		delete(p.parts, tenantID[ledger.ID]{where.book.Tenant, e.ID})
	}
	own, _ := p.held(where, maxSplits)
	r.parts = chapters(where.id, own, p.fixes[where.book])
	if from, ok := p.origin[where]; ok && len(r.parts) > 0 {
		r.parts[0].SplitFrom = &from.id
	}
	for _, e := range r.parts {
		p.parts[tenantID[ledger.ID]{where.book.Tenant, e.ID}] = where
	}
	if c, ok := p.cuts[where]; ok {
		p.compute(c.to, depth-1)
	}
}

func (c *change) compare(before, now []Encounter) {
	known := map[ledger.ID]bool{}
	for _, e := range before {
		known[e.ID] = true
	}
	if len(now) == 0 {
		return
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
		c.rebound = was != nil && !capture.Same(*was, *last.Patient)
	}
}

// find is an item with the id of the encounter it shows in.
func (p *projection) find(tenant string, item ledger.Hash) (*Item, ledger.ID) {
	where, ok := p.items[tenantID[ledger.Hash]{tenant, item}]
	if !ok {
		return nil, ledger.ID{}
	}
	for range maxSplits {
		for _, e := range p.recorded[where].parts {
			for i := range e.Items {
				if e.Items[i].Item == item {
					return &e.Items[i], e.ID
				}
			}
		}
		c, ok := p.cuts[where]
		if !ok || p.recorded[c.to] == nil {
			break
		}
		where = c.to
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
				seen[e.Patient.Key()] = *e.Patient
			}
		}
	}
	return slices.SortedFunc(maps.Values(seen), func(a, b capture.Patient) int { return cmp.Compare(a.ID, b.ID) })
}

// Practice says that something is exercise, not care.
type Practice bool
