package torture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"telecart/capture/ledger"
	"telecart/uplink/hub/ingest"
	"telecart/uplink/outbox"
	"telecart/uplink/wire"
)

// oracle stands outside: it knows what was said to be saved, and holds both ends to it.
type oracle struct {
	w       *world
	saved   []*save
	saves   int
	salts   map[salted]ledger.Hash
	image   snapshot           // of the cart's card
	onImage []ledger.ID        // incarnations that go on on it
	imaged  int                // saved had this many then
	cards   int                // restored or cloned
	met     int                // greetings
	maybe   map[ledger.ID]bool // incarnations that two cards may both have gone on in
	harm    *harm              // done to the cart's disk
}

// save is an item of which the cart said that it is saved.
type save struct {
	putting
	entry  ledger.Entry
	cart   *cart
	cards  int           // how many cards had been restored or cloned by then
	at     int           // how many greetings there had been
	known  map[*cart]int // since which of them a cart could know that the hub has this number
	sent   bool
	sentAt time.Time
	off    bool // its card is no longer there: only the hub has it
	gone   bool // it was on a card that was replaced by an older one, and nowhere else
}

// salted is what no two items may share: the key that a nonce is used with.
type salted struct {
	wrap ledger.ID
	salt [32]byte
}

func newOracle(w *world) *oracle {
	return &oracle{w: w, salts: map[salted]ledger.Hash{}, maybe: map[ledger.ID]bool{}, harm: newHarm()}
}

// put notes what the cart said about an item.
func (o *oracle) put(c *cart, p putting, s outbox.Saved, err error) {
	if err != nil {
		o.w.say("put %s of %d bytes: %v", p.kind, len(p.body), err)
		if d := c.disk; !d.isDead() && d.failed == 0 && !d.full {
			o.w.fail("put", "an item was refused though the disk was well: "+err.Error())
		}
		return
	}
	o.w.say("saved %s of %d bytes as %d", p.kind, len(p.body), s.Entry.Number)
	o.saves++
	o.saved = append(o.saved, &save{putting: p, entry: s.Entry, cart: c, cards: o.cards, at: o.met, known: map[*cart]int{}})
}

// greeted notes that a cart and the hub have compared their heads.
func (o *oracle) greeted(c *cart) {
	o.met++
	for _, s := range o.saved {
		if s.known[c] == 0 && o.w.hub.stored[s.entry.Body] {
			s.known[c] = o.met
		}
	}
}

// look notes which items have a receipt by now.
func (o *oracle) look(c *cart) {
	if c.boxes == nil {
		return
	}
	for _, s := range o.saved {
		if s.sent || s.cart != c {
			continue
		}
		if sent, _ := c.boxes[s.book].Sent(s.entry.Body); sent {
			s.sent, s.sentAt = true, o.w.truth.Now()
		}
	}
}

// erased checks what was erased: only what has a receipt, past grace by true time, and is in the hub's backup.
func (o *oracle) erased(c *cart, book int) {
	for _, s := range o.saved {
		if s.cart != c || s.book != book || s.off || o.harm.items[s.entry.Body] { // what can't be read may look erased: judge sees to it
			continue
		}
		if _, held := c.boxes[book].Entry(s.entry.Body); held {
			continue
		}
		why := ""
		switch {
		case !s.sent:
			why = "it has no receipt"
		case o.w.truth.Now().Sub(s.sentAt) < grace-time.Minute:
			why = fmt.Sprintf("%s after its receipt", o.w.truth.Now().Sub(s.sentAt))
		case !o.w.hub.backedUp[s.entry.Body]:
			why = "no backup holds it"
		default:
			continue
		}
		o.w.fail("erased-early", fmt.Sprintf("item %d was erased: %s", s.entry.Number, why))
	}
}

// takeImage copies the card.
func (o *oracle) takeImage() {
	o.w.cart.restart(inOrder)
	c := o.w.cart
	heads := c.incarnations()
	c.count()
	c.close()
	o.image, o.imaged = c.disk.snapshot(c.dir), len(o.saved)
	o.onImage = heads
	o.w.say("the card was copied")
	c.disk.revive()
	c.begin()
}

// part notes that the ledgers of which the cart is writing may go on elsewhere as well, or not at all.
func (o *oracle) part() {
	for _, s := range o.saved {
		o.maybe[s.entry.Incarnation] = true
	}
	// Also when no item of them was ever confirmed: an agent's run is an entry too.
	for _, id := range append(o.w.cart.incarnations(), o.onImage...) {
		o.maybe[id] = true
	}
}

// restoreCard puts the image in the card's place. What was saved since and did not arrive is gone with the card, by hand.
func (o *oracle) restoreCard() {
	c := o.w.cart
	o.w.say("the card was restored from its image")
	o.part()
	c.count()
	c.disk.kill()
	c.close()
	for _, s := range o.saved[o.imaged:] {
		o.leave(s, c)
	}
	for _, s := range o.saved {
		s.sent = false // the card may not know
		delete(s.known, c)
	}
	if err := c.disk.restore(o.image, c.dir, c.dir); err != nil {
		o.w.fail("harness", err.Error())
	}
	c.disk.revive()
	o.cards++
	c.begin()
}

// leave notes that an item's card is not there any more.
func (o *oracle) leave(s *save, c *cart) {
	if s.cart == c && !s.off {
		s.off, s.gone = true, !o.w.hub.stored[s.entry.Body]
	}
}

// forgot notes that the hub was restored: what only it had, and its backup has not, is gone by hand.
func (o *oracle) forgot() {
	for _, s := range o.saved {
		s.gone = s.gone || s.off && !o.w.hub.stored[s.entry.Body]
	}
}

// clone has a copy of the card live for a while, with the same identity.
func (o *oracle) clone() {
	c := newCart(o.w, "clone")
	o.w.say("a clone of the card comes to life")
	if err := c.disk.restore(o.image, o.w.cart.dir, c.dir); err != nil {
		o.w.fail("harness", err.Error())
		return
	}
	o.part()
	o.cards++
	first := o.w.cart
	o.w.cart = c
	c.begin()
	for range 1 + o.w.rng.IntN(4) {
		if c.boxes == nil {
			break
		}
		o.w.puts()
		o.w.delivers()
	}
	c.net.calm = true
	if c.boxes != nil {
		o.w.settle(c)
	}
	o.part()
	c.close()
	c.disk.revive()
	for _, s := range o.saved {
		o.leave(s, c)
	}
	os.RemoveAll(c.dir)
	o.w.cart = first
	o.cards++
	first.up = false // the hub speaks with one of them at a time
	o.image = nil
}

// judge is the end: each saved item is opened at the hub, or held intact on the cart, or was damaged and is named (harm).
func (o *oracle) judge() {
	w := o.w
	w.cart.count()
	o.complete()
	rows, err := w.hub.rows()
	if err != nil {
		w.fail("harness", err.Error())
		return
	}
	for _, s := range o.saved {
		if s.gone {
			continue
		}
		if why := o.lost(s, rows[s.entry.Body]); why != "" {
			w.result.Lost++
			w.fail("lost", fmt.Sprintf("item %d (%s): %s", s.entry.Number, s.kind, why))
		}
	}
	o.numbers()
	o.receipts()
	if stray := o.harm.stray(w.cart.quarantine); len(stray) > 0 {
		w.fail("quarantine", fmt.Sprint("set aside as damaged though the disk kept its promises: ", strings.Join(stray, ", ")))
	}
}

// lost says why an item counts as lost; "" if it does not.
func (o *oracle) lost(s *save, row bool) string {
	w := o.w
	body, head, err := w.hub.plain(s.entry.Body)
	if err == nil && row && bytes.Equal(body, s.body) {
		o.salt(s, head)
		if w.rng.IntN(4) == 0 && w.hub.short(s.entry.Body) {
			w.fail("truncated", fmt.Sprintf("item %d opens without its end", s.entry.Number))
		}
		return ""
	}
	why := "the hub opens it as something else"
	if err == nil && !row {
		err = errors.New("the database does not know it")
	}
	if err != nil {
		why = fmt.Sprint("not at the hub (", err, ")")
	}
	sent := false
	if s.cart == w.cart && !s.off && w.cart.boxes != nil {
		sent, _ = w.cart.boxes[s.book].Sent(s.entry.Body)
		body, err = w.cart.plain(s.book, s.entry.Body)
		switch {
		case err == nil && bytes.Equal(body, s.body) && sent:
			return why + "; the cart holds it and believes that it is sent"
		case err == nil && bytes.Equal(body, s.body):
			w.fail("undelivered", fmt.Sprintf("item %d is held, but was not delivered: %s", s.entry.Number, why))
			return ""
		}
		why += fmt.Sprint("; on the cart: ", err)
	}
	if !w.lying {
		return why
	}
	more := o.harm.costs(w.cart, s.entry)
	if more == "" {
		return ""
	}
	return why + "; " + more
}

// salt checks that no key is used for two items.
func (o *oracle) salt(s *save, h wire.Header) {
	k := salted{h.Wrap, h.Salt}
	if other, ok := o.salts[k]; ok && other != s.entry.Body {
		o.w.fail("nonce", fmt.Sprintf("item %d was sealed with a salt that another item has", s.entry.Number))
	}
	o.salts[k] = s.entry.Body
}

// complete has the hub prove that nothing is missing.
func (o *oracle) complete() {
	for book := range o.w.books {
		cs, err := o.w.hub.in.Completeness(context.Background(), o.w.cart.book(book), ingest.Files)
		if err != nil {
			o.w.fail("harness", err.Error())
		}
		for _, c := range cs {
			if !c.Whole() && !o.excused(c) {
				o.w.result.Unverifiable++
				o.w.fail("unverifiable", "an incarnation is not whole: "+blame(c))
			}
		}
	}
}

// excused says whether it is known why an incarnation is not whole. One that took over from a card that was replaced may
// name a head of which the hub has seen nothing but the signature.
func (o *oracle) excused(c ingest.Completeness) bool {
	if c.After != nil && !c.After.Known && o.cards > 0 {
		c.After = nil
	}
	return o.maybe[c.Incarnation] || o.w.lying && o.harm.without(o.w.cart, c).Whole() || c.Whole()
}

func blame(c ingest.Completeness) string {
	var out []string
	add := func(what string, n int) {
		if n > 0 {
			out = append(out, fmt.Sprint(n, " ", what))
		}
	}
	if c.Head == nil {
		out = append(out, "no signed head")
	}
	if c.Disputed {
		out = append(out, "disputed")
	}
	if c.Forged {
		out = append(out, "forged head")
	}
	if c.After != nil && !c.After.Known {
		out = append(out, "its origin is not known")
	}
	if len(c.Missing) > 0 {
		out = append(out, fmt.Sprint("missing ", c.Missing))
	}
	add("doubled", len(c.Doubled))
	add("altered", len(c.Altered))
	add("refused", len(c.Refused))
	add("absent", len(c.Absent))
	add("damaged", len(c.Damaged))
	add("gone", len(c.Gone))
	return fmt.Sprintf("%d entries: %s", c.Entries, strings.Join(out, ", "))
}

// numbers checks that no number of an incarnation went to two items, but by a card's fault before the hub could say so.
func (o *oracle) numbers() {
	type at struct {
		practice    bool
		incarnation ledger.ID
		number      uint64
	}
	used := map[at]*save{}
	for _, s := range o.saved {
		k := at{s.book == 1, s.entry.Incarnation, s.entry.Number}
		first := used[k]
		if first == nil {
			used[k] = s
			continue
		}
		if since := first.known[s.cart]; s.cards == first.cards || since > 0 && s.at >= since {
			o.w.fail("number", fmt.Sprintf("number %d went to two items", s.entry.Number))
		}
	}
}

// receipts checks what the cart kept: each is the hub's word.
func (o *oracle) receipts() {
	for book := range o.w.books {
		rs, err := outbox.ReadReceipts(o.w.cart.boxDir(book))
		if err != nil {
			o.w.fail("harness", err.Error())
			continue
		}
		for _, r := range rs {
			e := ledger.Entry{Incarnation: r.Incarnation, Number: r.Number, Prev: r.Prev, Body: r.Item}
			if err := r.Verify(o.w.keys.list, o.w.cart.book(book), e); err != nil {
				o.w.result.Unverifiable++
				o.w.fail("unverifiable", fmt.Sprintf("the cart kept a receipt for entry %d that is not the hub's: %v", r.Number, err))
			}
		}
	}
}
