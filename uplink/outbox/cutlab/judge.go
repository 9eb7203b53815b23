package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"telecart/capture/ledger"
	"telecart/uplink/outbox"
)

// held is what an outbox showed after it was opened again.
type held struct {
	items  []heldItem
	plain  []ledger.Entry // entries that are no items, the new run's included
	head   ledger.Head
	stats  outbox.Stats
	opened *openedItem
}

type heldItem struct {
	entry ledger.Entry
	sent  bool  // it has a receipt
	bad   error // it does not read back whole
}

// openedItem is one that was opened with the record key.
type openedItem struct {
	entry ledger.Entry
	n     int
	err   error
}

// verdict is what is wrong. Lost: confirmed, and not there whole.
type verdict struct {
	Lost  int      `json:"lost"`
	Wrong []string `json:"wrong,omitempty"`
}

func (v *verdict) wrong(format string, args ...any) {
	v.Wrong = append(v.Wrong, fmt.Sprintf(format, args...))
}

func (v *verdict) lost(format string, args ...any) {
	v.Lost++
	v.wrong(format, args...)
}

// text is the first of what is wrong, and how much more.
func (v verdict) text() string {
	const shown = 3
	if len(v.Wrong) <= shown {
		return strings.Join(v.Wrong, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(v.Wrong[:shown], "; "), len(v.Wrong)-shown)
}

// judge holds what an outbox showed to what was promised up to an instant. Pure.
func judge(o oracle, at instant, h held) verdict {
	var v verdict
	here := map[int]heldItem{}
	for _, it := range h.items {
		n, ours := o.items[it.entry.Body]
		switch {
		case it.bad != nil && (!ours || !at.saved[n]):
			v.wrong("DAMAGED: number %d, never confirmed, does not read back: %v", it.entry.Number, it.bad)
		case !ours && at.troubled: // a Put that failed may have reached the disk
		case !ours:
			v.wrong("STRANGE: number %d is an item that was never confirmed, before or after", it.entry.Number)
		case !at.begun[n]:
			v.wrong("FUTURE: item %d is here before it was put: the marks are wrong", n)
		case it.entry != o.promises[n].Entry:
			v.wrong("MOVED: item %d was number %d, and is number %d", n, o.promises[n].Entry.Number, it.entry.Number)
		}
		if ours {
			if _, twice := here[n]; twice {
				v.wrong("DOUBLED: item %d", n)
			}
			here[n] = it
		}
	}
	for n := range at.saved {
		it, ok := here[n]
		switch {
		case ok && it.bad != nil:
			v.lost("LOST: item %d (number %d) was confirmed and does not read back: %v", n, it.entry.Number, it.bad)
		case !ok && !at.erasable[n]:
			v.lost("LOST: item %d (number %d) was confirmed and is not here", n, o.promises[n].Entry.Number)
		case ok && at.receipted[n] && !it.sent:
			v.wrong("UNRECEIPTED: item %d has a receipt that is gone", n)
		}
	}
	if s := h.stats; s.Quarantine+s.Damaged+s.Refused > 0 || s.Condemned > 0 && !at.troubled {
		v.wrong("DAMAGE: %d segments in quarantine, %d condemned, %d items damaged, %d refused", s.Quarantine, s.Condemned, s.Damaged, s.Refused)
	}
	h.judgeChain(o, at, &v)
	if p := h.opened; p != nil && (p.err != nil || o.items[p.entry.Body] != p.n) {
		v.wrong("UNOPENED: number %d opens as item %d: %v", p.entry.Number, p.n, p.err)
	}
	return v
}

// judgeChain looks at the ledger: each entry names the one before, a gap is one that Retire may have left, the head is the
// last entry. On a disk that never failed there is one incarnation.
func (h held) judgeChain(o oracle, at instant, v *verdict) {
	chains := map[ledger.ID][]ledger.Entry{}
	for _, e := range h.plain {
		chains[e.Incarnation] = append(chains[e.Incarnation], e)
	}
	for _, it := range h.items {
		chains[it.entry.Incarnation] = append(chains[it.entry.Incarnation], it.entry)
	}
	if len(chains) > 1 && !at.troubled {
		v.wrong("FORK: %d incarnations of the ledger", len(chains))
	}
	next := map[ledger.ID]uint64{}
	for id, entries := range chains {
		last := judgeEntries(id, entries, at, v)
		next[id] = last.Number + 1
		if id == h.head.Incarnation && (h.head.Number != last.Number || h.head.Hash != last.Hash()) {
			v.wrong("HEAD: it says number %d, the last entry is number %d", h.head.Number, last.Number)
		}
	}
	if next[h.head.Incarnation] == 0 {
		v.wrong("HEAD: it names an incarnation without an entry")
	}
	for n := range at.saved {
		if e := o.promises[n].Entry; e.Number >= next[e.Incarnation] {
			v.wrong("CHAIN: item %d is number %d, and the ledger goes on at %d", n, e.Number, next[e.Incarnation])
		}
	}
}

// judgeEntries looks at one incarnation, and gives its last entry.
func judgeEntries(id ledger.ID, entries []ledger.Entry, at instant, v *verdict) (last ledger.Entry) {
	slices.SortFunc(entries, func(a, b ledger.Entry) int { return cmp.Compare(a.Number, b.Number) })
	next, before := uint64(0), book().Genesis(id)
	for _, e := range entries {
		switch {
		case e.Kind == ledger.Fork && !at.troubled:
			v.wrong("FORK: entry %d", e.Number)
		case e.Number < next:
			v.wrong("CHAIN: number %d twice", e.Number)
		case e.Number == next && e.Prev != before:
			v.wrong("CHAIN: number %d does not name the entry before it", e.Number)
		case e.Number > next && len(at.erasable) == 0:
			v.wrong("CHAIN: numbers %d to %d are missing", next, e.Number-1)
		}
		next, before, last = e.Number+1, e.Hash(), e
	}
	return last
}
