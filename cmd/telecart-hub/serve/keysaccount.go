package serve

import (
	"fmt"
	"strings"

	"telecart/uplink/hub/store"
)

// ledgers is everything that says who may still seal, or hold what was sealed, to an epoch.
type ledgers struct {
	lists    []store.KeyList // oldest first
	devices  []store.KeyDevice
	gaps     map[cartID][]store.Gap
	writeOff []store.WriteOff
}

type cartID struct{ tenant, cart string }

// Blocker is why an epoch's key can't be destroyed yet.
type Blocker struct {
	Tenant string `json:"tenant"`
	Cart   string `json:"cart"`
	Device string `json:"device,omitempty"` // SHA-256 of its public key
	Why    string `json:"why"`
}

func (b Blocker) String() string {
	if b.Device == "" {
		return fmt.Sprintf("%s/%s: %s", b.Tenant, b.Cart, b.Why)
	}
	return fmt.Sprintf("%s/%s (device %.16s): %s", b.Tenant, b.Cart, b.Device, b.Why)
}

// after is the first list in which every newest epoch is beyond one; false: there is none, so carts seal to it now.
func (l ledgers) after(epoch uint32) (version uint64, ok bool) {
	for _, k := range l.lists {
		if k.Care > epoch && k.Practice > epoch {
			return k.Version, true
		}
	}
	return 0, false
}

// blockers names who has to be heard of before an epoch may go: see KEYS.md for the argument. It is pure.
func (l ledgers) blockers(epoch uint32) (out []Blocker, err error) {
	after, ok := l.after(epoch)
	if !ok {
		return nil, fmt.Errorf("keys: carts seal to epoch %d now; rotate first", epoch)
	}
	whole := map[cartID]bool{} // of which nobody may have anything under the epoch, or all of it is given up
	for _, d := range l.devices {
		id := cartID{d.Tenant, d.Cart}
		if l.writtenOff(id, "", epoch) {
			whole[id] = true
			continue
		}
		if d.First >= after && d.Back == 0 {
			continue // it never had a list that names the epoch as the newest
		}
		if l.writtenOff(id, d.Device, epoch) {
			continue
		}
		if why := waits(d, after); why != "" {
			out = append(out, Blocker{d.Tenant, d.Cart, d.Device, why})
		}
	}
	for id, gaps := range l.gaps {
		if whole[id] || l.writtenOff(id, "", epoch) {
			continue
		}
		for _, g := range gaps {
			out = append(out, Blocker{Tenant: id.tenant, Cart: id.cart, Why: "its ledger is not all here: " + gapWords(g)})
		}
	}
	return out, nil
}

func waits(d store.KeyDevice, after uint64) string {
	switch {
	case d.Back > 0:
		return "it came back with an older key list than it had: a restored card, or a second one like it. Once all of them have delivered, write it off"
	case d.Held == 0:
		return "it has not said since which list it holds; it has to connect"
	case d.Held < after:
		return fmt.Sprintf("it holds list %d and seals to this epoch; it has to connect and take list %d or a newer one", d.Held, after)
	case d.Cleared < after:
		return fmt.Sprintf("it holds list %d, but has not yet said that everything it saved is here", d.Held)
	}
	return ""
}

func (l ledgers) writtenOff(id cartID, device string, epoch uint32) bool {
	for _, w := range l.writeOff {
		if w.Tenant == id.tenant && w.Cart == id.cart && w.Device == device && w.Epoch >= epoch {
			return true
		}
	}
	return false
}

func gapWords(g store.Gap) string {
	book := "care"
	if g.Book.Practice {
		book = "practice"
	}
	if len(g.Missing) == 0 {
		return fmt.Sprintf("%s %.8s: the cart signed another branch, up to %d", book, g.Incarnation, g.Head)
	}
	var runs []string
	for _, m := range g.Missing {
		runs = append(runs, fmt.Sprintf("%d-%d", m.First, m.Last))
	}
	return fmt.Sprintf("%s %.8s: of 0-%d, numbers %s are missing", book, g.Incarnation, g.Head, strings.Join(runs, ", "))
}
