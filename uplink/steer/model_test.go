package steer

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

// The model: one instrument, two specialists, a nurse, and a network that may at any moment deliver any message that
// could ever have been made: of either specialist, of this lease or an older one, fresh or delayed, once, again or in any
// order. That covers every loss, delay, repetition and reordering. Times are small (a lease of 4, a setpoint's life of 2)
// so that every state within the bounds is visited.
const (
	mTerm, mFresh, mLife = 4, 2, 3
	mEpochs              = 2
	mSeqs                = 2
)

var epoch0 = time.Unix(1000, 0)

func at(t Tick) time.Time { return epoch0.Add(time.Duration(t) * time.Millisecond) }

// world is the machine and what an outside observer has seen of it.
type world struct {
	m      *Machine
	now    Tick
	holder string
	epoch  uint64
	taken  bool
	moving bool
	seq    uint64
	sign   Tick // the holder's last sign of life, at the most generous
	runs   map[string]int
}

func (w *world) clone() *world {
	c, m := *w, *w.m
	m.acts, m.order, c.runs = maps.Clone(w.m.acts), slices.Clone(w.m.order), maps.Clone(w.runs)
	c.m = &m
	return &c
}

// key is the state with times relative to now: two worlds with one key behave alike.
func (w *world) key() string {
	m := w.m
	rel := func(t Tick) Tick { return max(t-w.now, -mTerm-1) }
	s := fmt.Sprint(m.who, m.epoch, rel(m.until), m.taken, m.seq, m.moving, rel(m.heard), rel(w.sign), w.moving, w.seq, w.runs)
	for _, id := range []string{"x"} {
		if a, ok := m.acts[id]; ok {
			s += fmt.Sprint(id, rel(a.expires), a.done)
		}
	}
	return s
}

// step does one event and checks all that comes of it.
func (w *world) step(ev Event) error {
	made := w.now
	switch e := ev.(type) {
	case Setpoint:
		made = min(w.now-e.AgeMS, e.AtMS)
		if e.Who == w.holder && e.Epoch == w.epoch {
			w.sign = max(w.sign, made)
		}
	case Act:
		made = e.AtMS
		if e.Who == w.holder && e.Epoch == w.epoch {
			w.sign = max(w.sign, made)
		}
	case Request:
		if e.Who == w.holder {
			w.sign = w.now
		}
	}
	for _, a := range w.m.Step(at(w.now), ev) {
		switch a := a.(type) {
		case Lease:
			switch {
			case a.Holder != "" && a.Holder != w.holder && w.holder != "":
				return fmt.Errorf("%s got it while %s held it", a.Holder, w.holder)
			case a.Holder != "" && w.holder == "" && a.Epoch <= w.epoch:
				return fmt.Errorf("epoch %d was used before", a.Epoch)
			case a.Holder != "" && a.TakenBack:
				return fmt.Errorf("granted although taken back")
			case a.Holder == "" && w.moving:
				return fmt.Errorf("the lease ended and it still moves")
			}
			if a.Holder != w.holder {
				w.seq, w.sign = 0, w.now
			}
			w.holder, w.epoch, w.taken = a.Holder, a.Epoch, a.TakenBack
		case Apply:
			e := ev.(Setpoint)
			switch {
			case w.holder == "" || e.Who != w.holder || e.Epoch != w.epoch || w.taken:
				return fmt.Errorf("steered by %s under %d, while %q holds %d", e.Who, e.Epoch, w.holder, w.epoch)
			case w.now-made > mFresh:
				return fmt.Errorf("steered by a setpoint %d old", w.now-made)
			case e.Seq <= w.seq:
				return fmt.Errorf("setpoint %d after %d", e.Seq, w.seq)
			}
			w.seq, w.moving = e.Seq, true
		case Run:
			e := ev.(Act)
			w.runs[e.ID]++
			switch {
			case w.runs[e.ID] > 1:
				return fmt.Errorf("act %s ran twice", e.ID)
			case w.holder == "" || e.Who != w.holder || e.Epoch != w.epoch || w.taken:
				return fmt.Errorf("act by %s under %d, while %q holds %d", e.Who, e.Epoch, w.holder, w.epoch)
			case w.now-made >= mLife || a.Expires > made+mLife:
				return fmt.Errorf("an act %d old ran", w.now-made)
			}
		case Halt:
			w.moving = false
		}
	}
	switch {
	case w.m.who != w.holder || w.m.epoch != w.epoch || w.m.taken != w.taken:
		return fmt.Errorf("the state changed and nobody was told")
	case w.moving && w.now-w.sign > mFresh:
		return fmt.Errorf("it moves, %d after the last sign of life", w.now-w.sign)
	case w.moving && w.holder == "":
		return fmt.Errorf("it moves and nobody holds it")
	case w.holder != "" && (w.m.until > w.sign+mTerm || w.now >= w.m.until):
		return fmt.Errorf("the lease lasts %d after the last sign of life", w.now-w.sign)
	}
	return nil
}

// events are all that can happen now.
func (w *world) events() []Event {
	out := []Event{TakeBack{}, GiveBack{}}
	for id, a := range w.m.acts {
		if !a.done {
			out = append(out, Done{ID: id, OK: true})
		}
	}
	for _, who := range []string{"ada", "bob"} {
		r := Request{Instrument: "scope", Who: who}
		out = append(out, r, Release{r})
		for _, ep := range []uint64{w.m.epoch, w.m.epoch - 1} {
			for _, age := range []Tick{0, mFresh, mFresh + 1, mTerm} {
				for seq := uint64(1); seq <= mSeqs; seq++ {
					s := Setpoint{Instrument: "scope", Who: who, Epoch: ep, Seq: seq, AtMS: w.now - age, Set: map[string]int{"pan": 1}}
					out = append(out, s)
				}
			}
			for _, id := range []string{"x"} {
				for _, age := range []Tick{0, mLife} {
					out = append(out, Act{ID: id, Instrument: "scope", Who: who, Epoch: ep, Kind: "still", TTLMS: 9, AtMS: w.now - age})
				}
			}
		}
		out = append(out, Setpoint{Instrument: "scope", Who: who, Epoch: w.m.epoch, Seq: mSeqs, AtMS: w.now + 1, Set: map[string]int{"pan": 1}})
	}
	return out
}

func TestModel(t *testing.T) {
	m := New("scope", 100, epoch0)
	m.term, m.fresh, m.life = mTerm, mFresh, mLife
	first := &world{m: m, now: 1000, epoch: 100, runs: map[string]int{}}
	seenKeys := map[string]bool{first.key(): true}
	queue := []*world{first}
	states, steps := 0, 0
	for len(queue) > 0 {
		w := queue[0]
		queue = queue[1:]
		states++
		visit := func(ev Event, dt Tick) {
			c := w.clone()
			c.now += dt
			steps++
			if err := c.step(ev); err != nil {
				t.Fatalf("%#v at %+v (machine %+v): %v", ev, *w, *w.m, err)
			}
			if k := c.key(); c.m.epoch <= 100+mEpochs && !seenKeys[k] {
				seenKeys[k] = true
				queue = append(queue, c)
			}
		}
		visit(Wake{}, 1)
		for _, ev := range w.events() {
			visit(ev, 0)
		}
	}
	t.Logf("%d states, %d steps", states, steps)
	if states < 1000 {
		t.Errorf("only %d states: the model does not reach what it should", states)
	}
}
