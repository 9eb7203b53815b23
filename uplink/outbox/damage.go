package outbox

import (
	"cmp"
	"errors"
	"slices"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/uplink/wire"
)

// DamagedItem is an item that was saved and does not read back, or a number of the ledger whose entry is lost.
type DamagedItem struct {
	Incarnation ledger.ID    `json:"incarnation"`
	Number      uint64       `json:"number"`
	Hash        ledger.Hash  `json:"hash"` // zero: the entry itself is lost
	Kind        capture.Kind `json:"kind"` // 0: the entry itself is lost
	Reason      string       `json:"reason"`
}

// maxMissing bounds how many lost numbers are named one by one.
const maxMissing = 10000

// Damaged names what was lost, so that nurse and hub can be told.
func (o *Outbox) Damaged() (out []DamagedItem) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.x.segments {
		for i := range s.rows {
			if r := &s.rows[i]; r.flags&rowDamaged != 0 {
				out = append(out, DamagedItem{s.incarnation, r.number, r.body, capture.Kind(r.kind), o.reasons[r.body]})
			}
		}
	}
	return append(out, o.missing...)
}

// damage marks an item that can't be read back, so that it is named and not tried for ever.
func (o *Outbox) damage(h ledger.Hash, err error) error {
	if !errors.Is(err, ErrDamaged) && !errors.Is(err, wire.ErrMalformed) {
		return err
	}
	o.mu.Lock()
	s, i, ok := o.x.find(h)
	if ok {
		o.x.change(s, i, func(r *row) { r.flags |= rowDamaged })
		o.reasons[h] = err.Error()
	}
	o.mu.Unlock()
	o.opt.Log.Error("outbox: item damaged", "item", h, "err", err)
	return err
}

// verifyDamaged reads every item of which something may lie in a damaged file, and marks those that are not whole.
func (o *Outbox) verifyDamaged() {
	for _, h := range o.suspects() {
		if o.life.Err() != nil {
			return
		}
		o.verify(h)
	}
}

// suspects are the items without a receipt that touch a damaged segment.
func (o *Outbox) suspects() (out []ledger.Hash) {
	o.mu.Lock()
	defer o.mu.Unlock()
	newestBad := uint32(0) // up to the segment looked at
	for _, s := range o.x.segments {
		if s.quarantined {
			newestBad = s.n
		}
		for i := range s.rows {
			r := &s.rows[i]
			if st := o.x.stateOf(s, i); r.first() <= newestBad && newestBad > 0 && (st == isHeld || st == isRefused) {
				out = append(out, r.body)
			}
		}
	}
	return out
}

// verify reads all of an item.
func (o *Outbox) verify(h ledger.Hash) {
	m, err := o.Manifest(h)
	if err != nil {
		return // it is marked
	}
	hd, err := wire.UnmarshalHeader(m.Header)
	if err != nil {
		o.damage(h, err)
		return
	}
	for i := range m.Chunks {
		if _, err := o.Chunk(m, hd, i); err != nil {
			return
		}
	}
}

// findMissing names the numbers that lie before a segment and nowhere, but for those that were erased after delivery, as
// checkpoints say: each what its segment held, and the last before a segment that nothing is missing before it, unless what is
// beside the gap is damaged (pruneCheckpoints). It needs mu.
func (o *Outbox) findMissing() {
	erased, unread, err := o.readCheckpoints()
	if err != nil {
		o.opt.Log.Error("outbox: checkpoints", "err", err)
		return
	}
	slices.SortFunc(erased, func(a, b checkpoint) int { return cmp.Compare(a.First, b.First) })
	o.missing = slices.DeleteFunc(o.missing, func(d DamagedItem) bool { // erasing may have been cut off within a segment
		return slices.ContainsFunc(erased, func(c checkpoint) bool {
			return c.Head.Incarnation == d.Incarnation && c.First <= d.Number && d.Number <= c.Head.Number
		})
	})
	var before *segment
	bad := false
	for _, s := range o.x.segments {
		bad = bad || s.quarantined
		if s.entries == 0 {
			continue
		}
		g := gap{incarnation: s.incarnation, to: s.first}
		if before != nil {
			g.behind = before.n
		}
		if before != nil && before.incarnation == s.incarnation {
			g.from, g.bad = before.last+1, bad
		}
		if slices.ContainsFunc(unread, func(n uint32) bool { return g.behind < n && n < s.n }) && g.from < g.to {
			o.opt.Log.Error("outbox: whether numbers are missing can't be said: the checkpoint is damaged", "from", g.from, "to", g.to)
		} else {
			o.missIn(g, erased)
		}
		before, bad = s, s.quarantined
	}
}

// gap is where numbers of an incarnation may be missing: from one up to another, not included.
type gap struct {
	incarnation ledger.ID
	from, to    uint64
	behind      uint32 // the segment before
	bad         bool   // the segment before or the one after is damaged, or one between
}

// missIn names what is missing in a gap; checkpoints come sorted by their first numbers. It needs mu.
func (o *Outbox) missIn(g gap, erased []checkpoint) {
	for _, c := range erased { // older ones were pruned
		if n := c.Head.Number; c.Head.Incarnation == g.incarnation && n < g.to && !g.bad && (g.from == 0 || n+1 == g.to) {
			g.from = max(g.from, n+1)
		}
	}
	for _, c := range erased {
		if c.Head.Incarnation == g.incarnation && c.Head.Number >= g.from && c.First < g.to {
			o.miss(g.incarnation, g.from, c.First)
			g.from = c.Head.Number + 1
		}
	}
	o.miss(g.incarnation, g.from, g.to)
}

// miss notes that the entries from one number up to another, not included, are lost. It needs mu.
func (o *Outbox) miss(incarnation ledger.ID, from, to uint64) {
	for ; from < to && len(o.missing) < maxMissing; from++ {
		o.missing = append(o.missing, DamagedItem{Incarnation: incarnation, Number: from, Reason: "its ledger entry lay in a damaged file"})
	}
}
