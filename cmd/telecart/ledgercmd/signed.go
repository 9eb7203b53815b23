package ledgercmd

import (
	"errors"
	"slices"

	"telecart/capture/ledger"
	"telecart/uplink/wire"
)

// signed finds the highest signed head that is what is here, and what the cart signed beyond.
func (a *auditor) signed(i *Incarnation) {
	for k := range a.e.heads {
		h := &a.e.heads[k]
		if h.Incarnation != i.ID {
			continue
		}
		r := Range{h.Number, h.Number}
		l := i.chosen[h.Number]
		erased := slices.ContainsFunc(i.Erased, func(e Range) bool { return e.First <= h.Number && h.Number <= e.Last })
		switch {
		case errors.Is(h.err, errNoKey):
		case h.err != nil:
			a.say(i, "forged", &r, &h.Hash, "A head that claims number %d with hash %s is not signed by the cart's device key.", h.Number, h.Hash)
		case l != nil && l.hash != h.Hash:
			a.say(i, "altered", &r, &h.Hash, "Number %d was altered, or the card was restored: the cart signed the hash %s for it, and what is here is %s.", h.Number, h.Hash, l.hash)
		case l == nil && i.Entries > 0 && h.Number < i.Last && !erased: // missing, and named already
		case i.Signed == nil || h.Number > i.Signed.Number:
			i.Signed = &h.Head
		}
	}
	switch {
	case i.Signed == nil:
		i.Unsigned = uint64(i.Entries)
	case i.Entries == 0:
		a.gap(i, Range{0, i.Signed.Number}, nil)
	case i.Signed.Number > i.Last:
		a.tail(i)
	default:
		i.Unsigned = i.Last - i.Signed.Number
	}
}

// tail names what the cart signed and is not here any more.
func (a *auditor) tail(i *Incarnation) {
	before := i.problems
	a.gap(i, Range{i.Last + 1, i.Signed.Number}, nil)
	if i.problems > before {
		a.note("The cart signed number %d of incarnation %s: this folder, or a part of it, is an older copy, or its newest files were taken away.", i.Signed.Number, i.ID)
	}
}

// vouch: an incarnation that went over into another is signed by the fork that names its end, if that one is signed.
func (a *auditor) vouch() {
	for _, i := range a.out.Incarnations {
		for _, next := range a.out.Incarnations {
			if next.Forks != nil && next.Signed != nil && i.Entries > 0 && *next.Forks == i.LastHash && next != i {
				i.Vouched = &next.ID
				i.Unsigned = 0
			}
		}
		switch {
		case i.Signed != nil || i.Vouched != nil:
		case slices.ContainsFunc(a.e.heads, func(h headEvidence) bool { return h.Incarnation == i.ID && errors.Is(h.err, errNoKey) }):
			a.say(i, "unsigned", nil, nil, "There is a signed head of incarnation %s, and no key here to check its signature with: give --key. "+
				"The files alone do not show that it is this cart's, or where it ends.", i.ID)
		default:
			a.say(i, "unsigned", nil, nil, "No head of incarnation %s is signed: the files alone do not show that it is this cart's, or where it ends.", i.ID)
		}
	}
}

func (a *auditor) checkReceipts() {
	received, erasedWith := map[ledger.Hash]bool{}, map[ledger.Hash]bool{}
	for _, r := range a.e.receipts {
		a.out.Receipts++
		rng := Range{r.Number, r.Number}
		i := a.inc[r.Incarnation]
		switch {
		case errors.Is(r.err, errNoKey):
			a.out.Unchecked++
			continue
		case r.err != nil:
			a.say(i, "forged", &rng, &r.Item, "A receipt for number %d is not good: %v.", r.Number, r.err)
			continue
		case i == nil:
			a.say(nil, "missing", &rng, &r.Item, "The hub signed for number %d of incarnation %s, item %s; nothing of that ledger is here.", r.Number, r.Incarnation, r.Item)
			continue
		}
		l := i.chosen[r.Number]
		erased := slices.ContainsFunc(i.Erased, func(e Range) bool { return e.First <= r.Number && r.Number <= e.Last })
		switch {
		case l != nil && (l.Body != r.Item || l.Prev != r.Prev):
			if !slices.ContainsFunc(a.at[i.ID][r.Number], func(o *line) bool { return o.Body == r.Item && o.Prev == r.Prev }) {
				a.say(i, "altered", &rng, &r.Item, "The hub signed for number %d as the item %s; what is here under this number is %s.", r.Number, r.Item, l.Body)
			}
		case l != nil && r.Verdict == wire.Received:
			received[l.hash] = true
		case erased && r.Verdict == wire.Received:
			erasedWith[r.Item] = true
		case l == nil && !erased && r.Number > i.Last && (i.Signed == nil || r.Number > i.Signed.Number):
			a.say(i, "missing", &rng, &r.Item, "The hub signed for number %d, item %s, which is not here: this folder, or a part of it, is an older copy.", r.Number, r.Item)
		}
	}
	a.out.Erased = len(erasedWith)
	for hash := range a.e.items {
		if received[hash] {
			a.out.Received++
		} else {
			a.out.Waiting++
		}
	}
}

// checkDamage: what was lost inside the chain shows as missing numbers or chunks. What was lost at its end does not, so damage
// there leaves the end open.
func (a *auditor) checkDamage() {
	for _, d := range a.e.damage {
		inside := false
		for _, i := range a.out.Incarnations {
			first, last := uint32(1<<32-1), uint32(0)
			for s := range i.segs {
				first, last = min(first, s), max(last, s)
			}
			inside = inside || first <= d.segment && d.segment < last
		}
		if d.harm == harmless || inside {
			a.note("Damage in %s: %s.", d.where, d.what)
			continue
		}
		a.say(nil, "damaged", nil, nil, "Damage in %s, where the newest entries lie: %s. Whether something more was saved there can't be said.", d.where, d.what)
	}
}

func (a *auditor) finish() {
	for _, h := range a.e.heads {
		if h.disputed && h.err == nil {
			a.say(a.inc[h.Incarnation], "forked", &Range{h.Number, h.Number}, &h.Hash, "The cart signed two ledgers: for number %d also the hash %s. Its card was restored from a copy, or cloned.", h.Number, h.Hash)
		}
	}
	a.out.Complete = len(a.out.Problems) == 0
	for _, i := range a.out.Incarnations {
		i.Whole = i.problems == 0
	}
}
