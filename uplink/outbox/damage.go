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

// findMissing names the numbers between two segments, but for those that were erased after delivery: beside a damaged one
// what a checkpoint names, elsewhere whatever lies before one that the next segment follows on (pruneCheckpoints). It needs mu.
func (o *Outbox) findMissing() {
	erased, err := o.checkpoints()
	if err != nil {
		o.opt.Log.Error("outbox: checkpoints", "err", err)
	}
	slices.SortFunc(erased, func(a, b checkpoint) int { return cmp.Compare(a.First, b.First) })
	ends := map[ledger.ID]map[uint64]bool{}
	for _, c := range erased {
		if ends[c.Head.Incarnation] == nil {
			ends[c.Head.Incarnation] = map[uint64]bool{}
		}
		ends[c.Head.Incarnation][c.Head.Number+1] = true
	}
	var before *segment
	bad := false
	for _, s := range o.x.segments {
		bad = bad || s.quarantined
		if s.entries == 0 {
			continue
		}
		if (before == nil || before.incarnation != s.incarnation) && !ends[s.incarnation][s.first] {
			from := uint64(0)
			for _, c := range erased {
				if c.Head.Incarnation == s.incarnation && c.Head.Number < s.first {
					from = max(from, c.Head.Number+1)
				}
			}
			o.miss(s.incarnation, from, s.first)
		}
		if before != nil && before.incarnation == s.incarnation && (bad || !ends[s.incarnation][s.first]) {
			from := before.last + 1
			for _, c := range erased {
				if c.Head.Incarnation == s.incarnation && c.First >= from && c.Head.Number < s.first {
					o.miss(s.incarnation, from, c.First)
					from = c.Head.Number + 1
				}
			}
			o.miss(s.incarnation, from, s.first)
		}
		before, bad = s, s.quarantined
	}
}

// miss notes that the entries from one number up to another, not included, are lost. It needs mu.
func (o *Outbox) miss(incarnation ledger.ID, from, to uint64) {
	for ; from < to && len(o.missing) < maxMissing; from++ {
		o.missing = append(o.missing, DamagedItem{Incarnation: incarnation, Number: from, Reason: "its ledger entry lay in a damaged file"})
	}
}
