package torture

import (
	"time"

	"telecart/capture"
	"telecart/uplink/link"
	"telecart/uplink/wire"
)

// action is something that happens in a run, with how often.
type action struct {
	weight int
	do     func(*world)
}

func (w *world) actions() []action {
	all := []action{
		{22, (*world).puts},
		{20, (*world).delivers},
		{4, (*world).connects},
		{3, (*world).network},
		{6, func(w *world) { w.cart.work(w.rng.IntN(2) == 0) }},
		{2, func(w *world) { w.cart.encounter(w.rng.IntN(w.books)) }},
		{8, (*world).restarts},
		{8, (*world).diskFaults},
		{3, (*world).hubFaults},
		{4, (*world).clocks},
		{4, func(w *world) { w.retires(w.cart) }},
		{2, func(w *world) { w.cart.disk.writeBack(); w.hub.disk.writeBack() }},
		{2, func(w *world) { w.hub.backup() }},
		{1, func(w *world) { w.hub.restore() }},
		{2, (*world).hurries},
		{1, (*world).cards},
		{1, (*world).away},
	}
	if w.lying {
		all = append(all, action{7, (*world).damages})
	}
	return all
}

// play is the time of troubles.
func (w *world) play() {
	all := w.actions()
	sum := 0
	for _, a := range all {
		sum += a.weight
	}
	w.cart.connect()
	for steps := 7 + w.rng.IntN(21); steps > 0 && len(w.found) == 0; steps-- {
		if w.cart.boxes == nil {
			return
		}
		pick := w.rng.IntN(sum)
		for _, a := range all {
			if pick -= a.weight; pick < 0 {
				a.do(w)
				break
			}
		}
		w.afterwards()
	}
}

// afterwards buries who died.
func (w *world) afterwards() {
	if w.cart.disk.isDead() {
		how := powerCut
		if w.cart.disk.syncs == 0 && w.rng.IntN(3) == 0 {
			how = killed
		}
		w.cart.restart(how)
	}
	if w.hub.disk.isDead() {
		w.hub.crash()
	}
	w.pass(time.Duration(w.rng.IntN(4000)) * time.Millisecond)
}

// puts saves one item or several.
func (w *world) puts() {
	n := 1
	if w.rng.IntN(4) == 0 {
		n += 1 + w.rng.IntN(3)
	}
	ps := make([]putting, n)
	book := 0
	if w.books == 2 && w.rng.IntN(4) == 0 {
		book = 1
	}
	for i := range ps {
		p := putting{book: book, kind: capture.Note, urgency: wire.Routine}
		size := 20 + w.rng.IntN(200)
		k := w.rng.IntN(40)
		if n > 1 { // a long one is not written by whoever writes the others
			k = w.rng.IntN(10) + 10*w.rng.IntN(2)*3
		}
		switch {
		case k < 10:
			p.kind, size = capture.Still, 500+w.rng.IntN(12000)
		case k < 14:
			p.kind, size = capture.Clip, 60000+w.rng.IntN(80000)
		case k == 14:
			p.kind, size = capture.Clip, 280000
		}
		if w.rng.IntN(4) == 0 {
			p.urgency = wire.Urgent
		}
		b, err := w.cart.body(book, p.kind, size)
		if err != nil {
			w.fail("harness", err.Error())
			return
		}
		p.body = b
		ps[i] = p
	}
	w.cart.putTogether(ps)
}

func (w *world) delivers() {
	if !w.cart.up {
		w.cart.connect()
	}
	lane := link.LaneSmall
	if w.rng.IntN(3) == 0 {
		lane = link.LaneBulk
	}
	for range 1 + w.rng.IntN(3) {
		if w.cart.disk.isDead() || !w.cart.step(lane) {
			return
		}
	}
	if w.rng.IntN(3) == 0 && !w.cart.disk.isDead() {
		w.cart.heads()
	}
}

func (w *world) connects() {
	w.cart.net.down, w.cart.net.half = false, false
	w.cart.connect()
}

func (w *world) network() {
	n := w.cart.net
	switch w.rng.IntN(4) {
	case 0:
		n.down = true
		w.cart.up = w.cart.up && w.rng.IntN(2) == 0
	case 1:
		n.half = true
	default:
		n.arrive()
	}
}

func (w *world) restarts() {
	w.cart.restart([]end{inOrder, killed, powerCut, powerCut}[w.rng.IntN(4)])
}

// diskFaults lays a trap for one of the next operations of the cart's disk.
func (w *world) diskFaults() {
	d := w.cart.disk
	d.full = false
	switch w.rng.IntN(5) {
	case 0, 1:
		d.killIn = 1 + w.rng.IntN(25)
	case 2:
		d.fail, d.failIn = faultSync, 1+w.rng.IntN(6)
	case 3:
		d.fail, d.failIn = fault(1+w.rng.IntN(int(faults)-1)), 1+w.rng.IntN(12)
	case 4:
		d.full = true
	}
}

func (w *world) hubFaults() {
	d := w.hub.disk
	d.full = false
	switch w.rng.IntN(6) {
	case 0, 1:
		d.killIn = 1 + w.rng.IntN(12)
	case 2:
		d.fail, d.failIn = fault(1+w.rng.IntN(int(faults)-1)), 1+w.rng.IntN(6)
	case 3:
		w.hub.failTx = 1 + w.rng.IntN(4)
	case 4:
		d.full = w.rng.IntN(2) == 0
	case 5:
		w.hub.crash()
	}
}

// clocks lets days pass, or has the cart's clock jump. Whoever vouches for a clock tells the truth.
func (w *world) clocks() {
	switch w.rng.IntN(8) {
	case 0:
		w.setClock(w.clock.Now().AddDate(12, 0, 0), false)
	case 1:
		w.setClock(time.Unix(0, 0), false)
	case 2:
		w.trusted = false
	case 3:
		w.setClock(w.truth.Now(), true)
	case 4:
		w.pass(w.long())
	default:
		w.pass(time.Duration(w.rng.IntN(60)) * time.Hour)
	}
}

func (w *world) retires(c *cart) {
	for i, b := range c.boxes {
		n, err := b.Retire()
		if err != nil {
			w.say("retire: %v", err)
		}
		if n > 0 {
			w.say("retired %d segments", n)
			w.oracle.erased(c, i)
		}
	}
}

// hurries is a cart in a hurry to erase: all is delivered and backed up, and its clock, for which nobody vouches, is far ahead.
func (w *world) hurries() {
	w.trusted = false
	w.cart.restart(inOrder)
	if w.cart.boxes == nil {
		return
	}
	w.cart.net.calm = true
	w.settle(w.cart)
	w.hub.backup()
	w.cart.connect()
	w.cart.net.calm = false
	w.setClock(w.clock.Now().AddDate(12, 0, 0), false)
	w.retires(w.cart)
}

// cards restores the card from an image of itself, or has a clone of it live for a while.
func (w *world) cards() {
	switch {
	case w.oracle.image == nil:
		w.oracle.takeImage()
	case w.rng.IntN(2) == 0:
		w.oracle.restoreCard()
	default:
		w.oracle.clone()
	}
}

// away is a cart that nobody connects for months. It is used now and then. The key list runs out after a year (newKeys): that
// stops nothing.
func (w *world) away() {
	for range 1 + w.rng.IntN(3) {
		w.cart.net.down, w.cart.up = true, false
		w.puts()
		w.pass(w.long())
		w.afterwards()
		if w.cart.boxes == nil {
			return
		}
		if w.rng.IntN(2) == 0 {
			w.restarts()
		}
	}
}

// long is up to 200 days.
func (w *world) long() time.Duration { return time.Duration(w.rng.IntN(200*24)) * time.Hour }

// finish ends the troubles: everything that was saved must arrive.
func (w *world) finish() {
	if w.cart.boxes == nil {
		return
	}
	d, n := w.cart.disk, w.cart.net
	if w.rng.IntN(2) == 0 {
		w.afterwards()
		w.cart.restart(powerCut)
	}
	d.full, d.failIn, d.killIn = false, 0, 0
	w.hub.disk.full, w.hub.disk.failIn, w.hub.disk.killIn, w.hub.failTx = false, 0, 0, 0
	w.afterwards()
	if w.lying && w.rng.IntN(2) == 0 && w.cart.boxes != nil {
		w.damages()
		if w.cart.boxes == nil {
			return
		}
	}
	w.say("the troubles end")
	n.arrive()
	n.down, n.half, n.calm = false, false, true
	w.setClock(w.truth.Now(), true)
	w.settle(w.cart)
	if w.rng.IntN(3) == 0 {
		w.hub.backup()
		w.cart.connect()
		w.pass(grace + time.Hour)
		w.cart.restart(inOrder) // what was written last is an old segment now
		w.settle(w.cart)
		w.retires(w.cart)
		w.pass(grace + time.Hour)
		w.retires(w.cart)
	}
	w.oracle.judge()
}

// settle delivers all that a cart holds.
func (w *world) settle(c *cart) {
	c.work(true)
	c.connect()
	for idle, tries := 0, 0; idle < 3 && tries < 400; tries++ {
		if !c.up {
			c.connect()
		}
		small, bulk := c.step(link.LaneSmall), c.step(link.LaneBulk)
		if small || bulk {
			idle = 0
		} else {
			idle++
		}
		c.work(true)
		w.pass(6 * time.Second) // longer than the link waits
	}
	c.heads()
}
