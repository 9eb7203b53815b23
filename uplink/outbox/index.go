package outbox

import (
	"encoding/binary"
	"slices"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/uplink/wire"
)

// The index is what is in memory of the items that are held: 56 bytes and a line of a table each. The rest of an item is read
// when it is asked for. Everything here needs Outbox.mu.

// row is one item.
type row struct {
	body    ledger.Hash
	number  uint64
	attempt uint64
	length  uint32 // padded plaintext
	kind    uint8
	urgency wire.Urgency
	flags   uint8
}

const (
	rowRefused = 1 << iota // the hub could not open it
	rowDamaged             // it does not read back
)

// first is the segment that the attempt began in: its chunks lie there or later.
func (r *row) first() uint32 { return uint32(r.attempt >> 32) }

// receiptRow is what matters of an item's newest receipt.
type receiptRow struct {
	sequence uint64
	arrived  int64  // ms since 1970
	store    uint32 // index into stores, from 1; 0: there is none
	file     uint32 // receipt file and slot
	slot     uint16
	verdict  wire.Verdict
	trusted  bool // was the clock, then?
}

// segment is one segment's part of the index.
type segment struct {
	n           uint32
	live        *live    // it is written to, or what is in its logs is being moved; nil: it is old
	files       []string // of an old one: the bbolt file and what logs are left
	incarnation ledger.ID
	first, last uint64 // numbers of its entries, if it has any
	lastHash    ledger.Hash
	entries     int
	quarantined bool

	rows     []row
	receipts []receiptRow // as long as rows, once there is one
	spans    []int32      // rows that began in an earlier segment
	undone   int          // rows without a receipt that counts
	doubtful int          // receipts that came when nobody vouched for the clock
	open     [2]int       // rows that wait for a receipt, by lane
	head     int          // no open routine row lies before it
	top      int          // no open urgent row lies behind it
}

const (
	laneUrgent = iota
	laneRoutine
)

func lane(u wire.Urgency) int {
	if u == wire.Urgent {
		return laneUrgent
	}
	return laneRoutine
}

// place is a row's: the segment in the upper half.
type place uint64

func at(n uint32, i int) place          { return place(n)<<32 | place(uint32(i)) }
func (p place) segment() uint32         { return uint32(p >> 32) }
func (p place) row() int                { return int(uint32(p)) }
func shortHash(h ledger.Hash) uint64    { return binary.BigEndian.Uint64(h[:]) }
func (s *segment) receipted(i int) bool { return s.receipts != nil && s.receipts[i].store != 0 }

type index struct {
	segments []*segment       // by number
	short    map[uint64]place // by the first eight bytes of the item's hash
	long     map[ledger.Hash]place
	stores   []ledger.ID // of the hub, that signed receipts
	store    ledger.ID   // its present one; zero: it has not said yet

	kinds map[capture.Kind]int // held
	state [4]int
}

// state is where an item stands.
type state int

const (
	isHeld state = iota
	isRefused
	isReceipted
	isDamaged
)

func newIndex() index {
	return index{short: map[uint64]place{}, long: map[ledger.Hash]place{}, kinds: map[capture.Kind]int{}}
}

// segment finds one; nil if it is not here.
func (x *index) segment(n uint32) *segment {
	i, ok := slices.BinarySearchFunc(x.segments, n, func(s *segment, n uint32) int { return int(int64(s.n) - int64(n)) })
	if !ok {
		return nil
	}
	return x.segments[i]
}

// add puts a segment in its place.
func (x *index) add(s *segment) {
	i, _ := slices.BinarySearchFunc(x.segments, s.n, func(s *segment, n uint32) int { return int(int64(s.n) - int64(n)) })
	x.segments = slices.Insert(x.segments, i, s)
}

// find gives an item's segment and row.
func (x *index) find(h ledger.Hash) (*segment, int, bool) {
	p, ok := x.short[shortHash(h)]
	if ok {
		if s := x.segment(p.segment()); s.rows[p.row()].body == h {
			return s, p.row(), true
		}
	}
	if p, ok = x.long[h]; !ok {
		return nil, 0, false
	}
	return x.segment(p.segment()), p.row(), true
}

// insert takes an item in, unless it is here already: a batch that failed may lie in two segments, and is the same in both.
func (x *index) insert(s *segment, r row) (i int, ok bool) {
	if _, _, have := x.find(r.body); have {
		return 0, false
	}
	i = len(s.rows)
	s.rows = append(s.rows, r)
	if s.receipts != nil {
		s.receipts = append(s.receipts, receiptRow{})
	}
	if _, taken := x.short[shortHash(r.body)]; taken {
		x.long[r.body] = at(s.n, i)
	} else {
		x.short[shortHash(r.body)] = at(s.n, i)
	}
	if r.first() != s.n {
		s.spans = append(s.spans, int32(i))
	}
	x.count(s, i, 1)
	return i, true
}

// remove forgets a segment with all that is in it.
func (x *index) remove(s *segment) {
	for i := range s.rows {
		x.count(s, i, -1)
		h := s.rows[i].body
		if p, ok := x.short[shortHash(h)]; ok && p == at(s.n, i) {
			delete(x.short, shortHash(h))
		}
		delete(x.long, h)
	}
	x.segments = slices.DeleteFunc(x.segments, func(t *segment) bool { return t == s })
}

func (x *index) stateOf(s *segment, i int) state {
	r := &s.rows[i]
	switch {
	case r.flags&rowDamaged != 0:
		return isDamaged
	case x.signed(s, i):
		return isReceipted
	case r.flags&rowRefused != 0 && (x.store == ledger.ID{} || s.receipted(i) && x.stores[s.receipts[i].store-1] == x.store):
		return isRefused // by the hub's present store: another one is asked anew
	}
	return isHeld
}

// signed says whether the hub's present store signed for the item.
func (x *index) signed(s *segment, i int) bool {
	if !s.receipted(i) || s.receipts[i].verdict != wire.Received {
		return false
	}
	return x.store == ledger.ID{} || x.stores[s.receipts[i].store-1] == x.store
}

// count adds an item to the sums, or takes it out (by = -1): out before a change, in after it.
func (x *index) count(s *segment, i, by int) {
	st, r := x.stateOf(s, i), &s.rows[i]
	x.state[st] += by
	if st == isHeld || st == isRefused {
		x.kinds[capture.Kind(r.kind)] += by
		if x.kinds[capture.Kind(r.kind)] == 0 {
			delete(x.kinds, capture.Kind(r.kind))
		}
	}
	if st != isReceipted {
		s.undone += by
	}
	if s.receipted(i) && !s.receipts[i].trusted {
		s.doubtful += by
	}
	if st != isHeld {
		return
	}
	l := lane(r.urgency)
	s.open[l] += by
	if by > 0 && l == laneRoutine {
		s.head = min(s.head, i)
	} else if by > 0 {
		s.top = max(s.top, i)
	}
}

// change does something to an item that may move it from one sum to another.
func (x *index) change(s *segment, i int, do func(*row)) {
	x.count(s, i, -1)
	do(&s.rows[i])
	x.count(s, i, 1)
}

// receipt notes an item's newest receipt.
func (x *index) receipt(s *segment, i int, r receiptRow) {
	x.count(s, i, -1)
	if s.receipts == nil {
		s.receipts = make([]receiptRow, len(s.rows), max(cap(s.rows), len(s.rows)))
	}
	s.receipts[i] = r
	s.rows[i].flags &^= rowRefused
	if r.verdict == wire.Refused {
		s.rows[i].flags |= rowRefused
	}
	x.count(s, i, 1)
}

// storeNumber gives a hub store's short name.
func (x *index) storeNumber(id ledger.ID) uint32 {
	i := slices.Index(x.stores, id)
	if i < 0 {
		i = len(x.stores)
		x.stores = append(x.stores, id)
	}
	return uint32(i + 1)
}

// setStore takes over which store the hub has now: receipts of another one don't count any more.
func (x *index) setStore(id ledger.ID) {
	if x.store == id {
		return
	}
	for _, s := range x.segments {
		for i := range s.rows {
			x.count(s, i, -1)
		}
	}
	x.store = id
	for _, s := range x.segments {
		for i := range s.rows {
			x.count(s, i, 1)
		}
	}
}

// waiting walks the items that wait for a receipt in the order in which they are to be sent, until take says no.
func (x *index) waiting(take func(*segment, int) bool) {
	for k := len(x.segments) - 1; k >= 0; k-- {
		s, left := x.segments[k], x.segments[k].open[laneUrgent]
		for i := min(s.top, len(s.rows)-1); left > 0 && i >= 0; i-- {
			if !x.waits(s, i, laneUrgent) {
				continue
			}
			if left == s.open[laneUrgent] {
				s.top = i
			}
			left--
			if !take(s, i) {
				return
			}
		}
	}
	for _, s := range x.segments {
		left := s.open[laneRoutine]
		for i := s.head; left > 0 && i < len(s.rows); i++ {
			if !x.waits(s, i, laneRoutine) {
				continue
			}
			if left == s.open[laneRoutine] {
				s.head = i
			}
			left--
			if !take(s, i) {
				return
			}
		}
	}
}

func (x *index) waits(s *segment, i, l int) bool {
	return lane(s.rows[i].urgency) == l && x.stateOf(s, i) == isHeld
}
