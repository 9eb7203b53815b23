package ingest

import (
	"slices"
	"time"

	"telecart/capture/ledger"
	"telecart/uplink/hub/store"
	"telecart/uplink/wire"
)

// Range is a stretch of numbers, both ends included.
type Range struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// Lost is an item that this hub once had: its own receipt says so, which the cart kept.
type Lost struct {
	Number   uint64      `json:"number"`
	Item     ledger.Hash `json:"item"`
	Store    ledger.ID   `json:"store"`    // the incarnation that signed
	Sequence uint64      `json:"sequence"` // in it
}

// Origin is what an incarnation says that it took over from.
type Origin struct {
	Head        ledger.Hash `json:"head"`
	Known       bool        `json:"known"` // that entry is here; where follows
	Incarnation ledger.ID   `json:"incarnation"`
	Number      uint64      `json:"number"`
}

// Completeness says of one incarnation of a ledger whether all of it is here.
type Completeness struct {
	Incarnation ledger.ID    `json:"incarnation"`
	Head        *ledger.Head `json:"head,omitempty"` // signed by the cart, newest
	HeadAt      time.Time    `json:"head_at"`        // when the cart last showed it
	Forged      bool         `json:"forged"`         // the head's signature does not check
	Disputed    bool         `json:"disputed"`       // the cart has also signed another head
	After       *Origin      `json:"after,omitempty"`
	First       time.Time    `json:"first"` // arrival of its first entry, and of its last
	Last        time.Time    `json:"last"`
	Entries     int          `json:"entries"`
	Items       int          `json:"items"` // received and here
	Missing     []Range      `json:"missing,omitempty"`
	Doubled     []uint64     `json:"doubled,omitempty"` // used more than once
	Altered     []uint64     `json:"altered,omitempty"` // not what the next entry, or the head, says it is
	Refused     []uint64     `json:"refused,omitempty"` // the item did not open, and is at the cart
	Absent      []uint64     `json:"absent,omitempty"`  // the entry is here, its item is not
	Damaged     []uint64     `json:"damaged,omitempty"` // received, but its file is not what was received
	Gone        []Lost       `json:"gone,omitempty"`    // received in an earlier life of the store, and not here
	Unsigned    int          `json:"unsigned"`          // entries above the head: the next head will cover them
}

// Whole says that there are no gaps, that the chain is unbroken up to a signed head, and that every item is here.
func (c Completeness) Whole() bool {
	return c.Head != nil && !c.Forged && !c.Disputed && (c.After == nil || c.After.Known || c.After.Head == ledger.Hash{}) &&
		len(c.Missing)+len(c.Doubled)+len(c.Altered)+len(c.Refused)+len(c.Absent)+len(c.Damaged)+len(c.Gone) == 0
}

// maxNamed bounds each list of numbers. A list that long says enough.
const maxNamed = 1000

// auditor walks the lines of a book in order. It is pure.
type auditor struct {
	book     ledger.Book
	heads    map[ledger.ID]store.KeptHead // of incarnations that are still to come
	disputed map[ledger.ID]bool
	proofs   map[ledger.ID][]store.Proof // in order of their numbers
	out      []Completeness

	at    *Completeness
	head  *ledger.Head
	shown []store.Proof        // of this incarnation, still to come
	next  uint64               // the number after the newest line's
	last  map[ledger.Hash]bool // hashes of the entries at next-1; nil: not known
	here  map[ledger.Hash]bool // hashes at the number being read
	prev  map[ledger.Hash]bool // what the entries at that number say came before
	items map[ledger.Hash]bool // items at that number, and whether they are here
}

func newAuditor(b ledger.Book, heads []store.KeptHead, proofs []store.Proof) *auditor {
	a := &auditor{book: b, heads: map[ledger.ID]store.KeptHead{}, disputed: map[ledger.ID]bool{}, proofs: map[ledger.ID][]store.Proof{}}
	for _, h := range heads {
		if h.Disputed {
			a.disputed[h.Incarnation] = true
		} else {
			a.heads[h.Incarnation] = h
		}
	}
	for _, p := range proofs {
		a.proofs[p.Incarnation] = append(a.proofs[p.Incarnation], p)
	}
	return a
}

func (a *auditor) begin(id ledger.ID) {
	a.out = append(a.out, Completeness{Incarnation: id, Disputed: a.disputed[id]})
	a.at = &a.out[len(a.out)-1]
	a.head, a.shown = nil, a.proofs[id]
	if h, ok := a.heads[id]; ok {
		a.head = &h.Head
		a.at.Head, a.at.HeadAt, a.at.Forged = &h.Head, h.Arrived, !signed(h)
		delete(a.heads, id)
	}
	delete(a.proofs, id)
	a.next, a.here, a.prev, a.items = 0, nil, nil, nil
	a.last = map[ledger.Hash]bool{a.book.Genesis(id): true}
}

// condition is how an item's file was found.
type condition uint8

const (
	notLooked condition = iota // there is none to look at
	intact
	damaged
)

func (a *auditor) line(l store.Line, found condition) {
	if a.at == nil || a.at.Incarnation != l.Incarnation {
		a.end()
		a.begin(l.Incarnation)
	}
	c := a.at
	c.Entries++
	if c.First.IsZero() || l.Arrived.Before(c.First) {
		c.First = l.Arrived
	}
	if l.Arrived.After(c.Last) {
		c.Last = l.Arrived
	}
	if a.here != nil && l.Number+1 == a.next {
		c.Doubled = name(c.Doubled, l.Number)
	} else {
		a.turn()
		if l.Number > a.next {
			a.gap(l.Number - 1)
		}
		a.next = l.Number + 1
		a.here, a.prev, a.items = map[ledger.Hash]bool{}, map[ledger.Hash]bool{}, map[ledger.Hash]bool{}
	}
	hash := l.Entry.Hash()
	if hash != l.Hash {
		c.Altered = name(c.Altered, l.Number)
	}
	switch {
	case l.Kind == ledger.Fork:
		c.After = &Origin{Head: l.Body}
	case l.Kind != ledger.Item:
	case l.Verdict == wire.Refused:
		c.Refused = name(c.Refused, l.Number)
		a.items[l.Body] = true // the cart has it
	case l.Verdict != wire.Received:
		a.items[l.Body] = false
	case found == damaged:
		c.Damaged = name(c.Damaged, l.Number)
		a.items[l.Body] = true
	default:
		c.Items++
		a.items[l.Body] = true
	}
	a.here[hash], a.prev[l.Prev] = true, true
	if a.head == nil || l.Number > a.head.Number {
		c.Unsigned++
	}
}

// turn finishes a number: do its entries follow from those before, is one of them what the head signs, is its item here?
func (a *auditor) turn() {
	if a.here == nil {
		return
	}
	number := a.next - 1
	for p := range a.prev {
		a.follows(number, p)
	}
	if a.head != nil && a.head.Number == number && !a.here[a.head.Hash] {
		a.at.Altered = name(a.at.Altered, number)
	}
	for len(a.shown) > 0 && a.shown[0].Number <= number {
		p := a.shown[0]
		a.shown = a.shown[1:]
		if _, entered := a.items[p.Item]; !entered {
			a.at.Doubled = name(a.at.Doubled, number)
		}
		a.items[p.Item] = true
		a.gone(p)
	}
	for _, here := range a.items {
		if !here {
			a.at.Absent = name(a.at.Absent, number)
		}
	}
	a.last, a.here, a.prev, a.items = a.here, nil, nil, nil
}

// follows checks what the entry at number says came before it.
func (a *auditor) follows(number uint64, prev ledger.Hash) {
	switch {
	case a.last == nil || a.last[prev]:
	case number > 0: // the later one is chained to by what follows, and so to the head: the earlier one is not what it was
		a.at.Altered = name(a.at.Altered, number-1)
	default:
		a.at.Altered = name(a.at.Altered, number)
	}
}

// gap accounts for the numbers from next up to and including last, of which no entry is here: some are known to have been.
func (a *auditor) gap(last uint64) {
	for len(a.shown) > 0 && a.shown[0].Number <= last {
		p := a.shown[0]
		a.shown = a.shown[1:]
		if p.Number >= a.next {
			if p.Number > a.next {
				a.at.Missing = missing(a.at.Missing, a.next, p.Number-1)
				a.last = nil
			}
			a.follows(p.Number, p.Prev)
			a.next = p.Number + 1
		}
		a.gone(p)
		a.last = nil // its hash is not known: the receipt doesn't say of which run it was
	}
	if a.next <= last {
		a.at.Missing = missing(a.at.Missing, a.next, last)
		a.next, a.last = last+1, nil
	}
}

func (a *auditor) gone(p store.Proof) {
	if len(a.at.Gone) < maxNamed {
		a.at.Gone = append(a.at.Gone, Lost{p.Number, p.Item, p.Store, p.Sequence})
	}
}

func (a *auditor) end() {
	if a.at == nil {
		return
	}
	a.turn()
	if a.head != nil && a.head.Number >= a.next {
		a.gap(a.head.Number)
	}
	if n := len(a.shown); n > 0 { // received above the newest head that is here
		a.gap(a.shown[n-1].Number)
	}
	a.at = nil
}

// rest are the incarnations of which no entry is here.
func (a *auditor) rest() {
	for id := range a.heads {
		a.begin(id)
		a.end()
	}
	for id := range a.proofs {
		a.begin(id)
		a.end()
	}
	slices.SortFunc(a.out, func(x, y Completeness) int {
		if d := x.First.Compare(y.First); d != 0 {
			return d
		}
		return slices.Compare(x.Incarnation[:], y.Incarnation[:])
	})
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
