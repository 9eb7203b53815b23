package ingest

import (
	"context"
	"slices"

	"telecart/capture/ledger"
	"telecart/uplink/hub/store"
)

// Range is a stretch of numbers, both ends included.
type Range struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// Completeness says of one incarnation of a ledger whether all of it is here.
type Completeness struct {
	Incarnation ledger.ID    `json:"incarnation"`
	Head        *ledger.Head `json:"head,omitempty"` // signed by the cart, newest
	Disputed    bool         `json:"disputed"`       // the cart has also signed another head
	Entries     int          `json:"entries"`
	Missing     []Range      `json:"missing,omitempty"`
	Doubled     []uint64     `json:"doubled,omitempty"` // used more than once
	Altered     []uint64     `json:"altered,omitempty"` // not what the next entry, or the head, says it is
	Refused     []uint64     `json:"refused,omitempty"` // the item did not open, and is at the cart
	Unsigned    int          `json:"unsigned"`          // entries above the head: the next head will cover them
}

// Whole says that there are no gaps and that the chain is unbroken up to a signed head.
func (c Completeness) Whole() bool {
	return c.Head != nil && !c.Disputed && len(c.Missing)+len(c.Doubled)+len(c.Altered)+len(c.Refused) == 0
}

// maxNamed bounds each list of numbers. A list that long says enough.
const maxNamed = 1000

// Completeness checks a book: every incarnation of which anything is here, by name.
func (in *Ingest) Completeness(ctx context.Context, b ledger.Book) ([]Completeness, error) {
	heads, disputed, err := in.store.Heads(ctx, b)
	if err != nil {
		return nil, err
	}
	a := auditor{book: b, heads: map[ledger.ID]ledger.Head{}, disputed: map[ledger.ID]bool{}}
	for _, h := range heads {
		a.heads[h.Incarnation] = h
	}
	for _, h := range disputed {
		a.disputed[h.Incarnation] = true
	}
	for l, err := range in.store.Lines(ctx, b) {
		if err != nil {
			return nil, err
		}
		a.line(l)
	}
	a.end()
	for _, h := range heads { // of which no entry is here
		if _, left := a.heads[h.Incarnation]; left {
			a.begin(h.Incarnation)
			a.end()
		}
	}
	return a.out, nil
}

// auditor walks the lines of a book in order. It is pure.
type auditor struct {
	book     ledger.Book
	heads    map[ledger.ID]ledger.Head // of incarnations that are still to come
	disputed map[ledger.ID]bool
	out      []Completeness

	at   *Completeness
	head *ledger.Head
	next uint64               // the number after the newest line's
	last map[ledger.Hash]bool // hashes of the entries at next-1; nil: not known
	here map[ledger.Hash]bool // hashes at the number being read
	prev map[ledger.Hash]bool // what the entries at that number say came before
}

func (a *auditor) begin(id ledger.ID) {
	a.out = append(a.out, Completeness{Incarnation: id, Disputed: a.disputed[id]})
	a.at = &a.out[len(a.out)-1]
	a.head = nil
	if h, ok := a.heads[id]; ok {
		a.head = &h
		a.at.Head = &h
		delete(a.heads, id)
	}
	a.next, a.here, a.prev = 0, nil, nil
	a.last = map[ledger.Hash]bool{a.book.Genesis(id): true}
}

func (a *auditor) line(l store.Line) {
	if a.at == nil || a.at.Incarnation != l.Incarnation {
		a.end()
		a.begin(l.Incarnation)
	}
	c := a.at
	c.Entries++
	if a.here != nil && l.Number+1 == a.next {
		c.Doubled = name(c.Doubled, l.Number)
	} else {
		a.turn()
		if l.Number > a.next {
			c.Missing = missing(c.Missing, a.next, l.Number-1)
			a.last = nil
		}
		a.next = l.Number + 1
		a.here, a.prev = map[ledger.Hash]bool{}, map[ledger.Hash]bool{}
	}
	hash := l.Entry.Hash()
	if hash != l.Hash {
		c.Altered = name(c.Altered, l.Number)
	}
	if l.Refused {
		c.Refused = name(c.Refused, l.Number)
	}
	a.here[hash], a.prev[l.Prev] = true, true
	if a.head == nil || l.Number > a.head.Number {
		c.Unsigned++
	}
}

// turn finishes a number: do its entries follow from those before, and is one of them what the head signs?
func (a *auditor) turn() {
	if a.here == nil {
		return
	}
	number := a.next - 1
	if a.last != nil {
		for p := range a.prev {
			if a.last[p] {
				continue
			}
			// The later entry is chained to by what follows, and so to the head: it is the earlier one that is not what it was.
			if number > 0 {
				a.at.Altered = name(a.at.Altered, number-1)
			} else {
				a.at.Altered = name(a.at.Altered, number)
			}
		}
	}
	if a.head != nil && a.head.Number == number && !a.here[a.head.Hash] {
		a.at.Altered = name(a.at.Altered, number)
	}
	a.last, a.here, a.prev = a.here, nil, nil
}

func (a *auditor) end() {
	if a.at == nil {
		return
	}
	a.turn()
	if a.head != nil && a.head.Number >= a.next {
		a.at.Missing = missing(a.at.Missing, a.next, a.head.Number)
	}
	a.at = nil
}

func missing(in []Range, first, last uint64) []Range {
	if len(in) < maxNamed {
		in = append(in, Range{first, last})
	}
	return in
}

// name adds a number to a list, in order and once.
func name(in []uint64, n uint64) []uint64 {
	i, found := slices.BinarySearch(in, n)
	if found || len(in) >= maxNamed {
		return in
	}
	return slices.Insert(in, i, n)
}
