package store

import (
	"context"

	"telecart/capture/ledger"
)

// Stretch is a run of numbers, both ends included.
type Stretch struct{ First, Last uint64 }

// Gap is an end of a cart's ledger, signed by the cart, that can't be followed back to its beginning over entries whose items
// are here (received, or refused by the hub's signed word).
type Gap struct {
	Book        ledger.Book
	Incarnation ledger.ID
	Head        uint64
	Missing     []Stretch // at most maxStretches; none: the entries that are here are another branch's
}

const maxStretches = 16

// Gaps are those of all signed ends of a cart, in both books. A fork has several, and each counts.
func (s *Store) Gaps(ctx context.Context, tenant, cart string) (out []Gap, err error) {
	for _, practice := range []bool{false, true} {
		w := walker{book: ledger.Book{Tenant: tenant, Cart: cart, Practice: practice}, heads: map[ledger.ID][]signedEnd{}}
		err := s.each(ctx, func(scan func(...any) error) error {
			var id ledger.ID
			var e signedEnd
			if err := scan(asText(&id), &e.number, asText(&e.hash)); err != nil {
				return err
			}
			w.heads[id] = append(w.heads[id], e)
			return nil
		}, `SELECT incarnation, number, hash FROM heads WHERE tenant = ? AND cart = ? AND practice = ? ORDER BY incarnation, number`, tenant, cart, practice)
		if err != nil {
			return nil, err
		}
		err = s.each(ctx, func(scan func(...any) error) error {
			var e ledger.Entry
			var absent bool
			if err := scan(asText(&e.Incarnation), &e.Number, &e.Kind, asText(&e.Run), asText(&e.Prev), asText(&e.Body), &absent); err != nil {
				return err
			}
			if !absent {
				w.entry(e)
			}
			return nil
		}, `SELECT e.incarnation, e.number, e.kind, e.run, e.prev, e.body,
				e.kind = 1 AND NOT EXISTS (SELECT 1 FROM items i WHERE i.tenant = e.tenant AND i.item = e.body)
			FROM entries e WHERE e.tenant = ? AND e.cart = ? AND e.practice = ? ORDER BY e.incarnation, e.number`, tenant, cart, practice)
		if err != nil {
			return nil, err
		}
		out = append(out, w.finish()...)
	}
	return out, nil
}

type signedEnd struct {
	number uint64
	hash   ledger.Hash
}

// walker goes over a book's entries by incarnation and number. It remembers one number's entries, not all. It is pure.
type walker struct {
	book  ledger.Book
	heads map[ledger.ID][]signedEnd // still to come, by number
	out   []Gap

	at      ledger.ID
	begun   bool
	next    uint64
	before  map[ledger.Hash]bool // entries at next-1 that can be followed back
	here    map[ledger.Hash]bool // the same at the number being read
	missing []Stretch
}

func (w *walker) entry(e ledger.Entry) {
	if !w.begun || w.at != e.Incarnation {
		w.end()
		w.at, w.begun, w.next, w.missing, w.here = e.Incarnation, true, 0, nil, nil
		w.before = map[ledger.Hash]bool{w.book.Genesis(e.Incarnation): true}
	}
	if w.here == nil || e.Number >= w.next {
		w.turn()
		w.skip(e.Number)
		w.next, w.here = e.Number+1, map[ledger.Hash]bool{}
	}
	if w.before[e.Prev] {
		w.here[e.Hash()] = true
	}
}

// turn finishes a number.
func (w *walker) turn() {
	if w.here == nil {
		return
	}
	w.judge(w.next - 1)
	w.before, w.here = w.here, nil
}

// skip notes that nothing is here up to a number.
func (w *walker) skip(to uint64) {
	if to <= w.next {
		return
	}
	if len(w.missing) < maxStretches {
		w.missing = append(w.missing, Stretch{w.next, to - 1})
	}
	w.before = nil
}

// judge looks at the signed ends up to and including a number.
func (w *walker) judge(number uint64) {
	ends := w.heads[w.at]
	for len(ends) > 0 && ends[0].number <= number {
		if ends[0].number < number || !w.here[ends[0].hash] {
			w.out = append(w.out, Gap{w.book, w.at, ends[0].number, clip(w.missing, ends[0].number)})
		}
		ends = ends[1:]
	}
	w.heads[w.at] = ends
}

func (w *walker) end() {
	if !w.begun {
		return
	}
	w.turn()
	for _, e := range w.heads[w.at] {
		w.out = append(w.out, Gap{w.book, w.at, e.number, append(clip(w.missing, e.number), Stretch{w.next, e.number})})
	}
	delete(w.heads, w.at)
}

// finish names the ends of which no entry is here too.
func (w *walker) finish() []Gap {
	w.end()
	for id, ends := range w.heads {
		for _, e := range ends {
			w.out = append(w.out, Gap{w.book, id, e.number, []Stretch{{0, e.number}}})
		}
	}
	return w.out
}

// clip is what is missing up to a number.
func clip(missing []Stretch, number uint64) (out []Stretch) {
	for _, m := range missing {
		if m.First <= number {
			out = append(out, Stretch{m.First, min(m.Last, number)})
		}
	}
	return out
}
