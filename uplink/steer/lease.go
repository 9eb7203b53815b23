// Package steer is the cart's half of remote steering: who may turn an instrument now, and what of that still runs.
//
// Parties: the nurse at the bedside, who can take any instrument back at once; one specialist at a time, the holder of
// the instrument's lease; the cart, which alone grants leases. Keys: none; the hub says in Who who sent a message,
// from the session that it authenticated, and overwrites whatever a browser put there.
//
// Machine is pure: events and time in, actions out; one for each instrument. Shell is the thin part around it.
//
//	state      event                                     next       actions
//	free       Request                                   held       Lease (new epoch, 30 s)
//	held       Request by the holder                     held       Lease (renewed)
//	held       Request by another                        held       Refused "held" (by whom, until when)
//	held       Setpoint, Act of this epoch and holder    held       lease renewed; Apply, Run
//	held       Release by the holder                     free       Halt, Lease
//	held       its time is over                          free       Halt, Lease
//	any        TakeBack (the nurse)                      taken      Halt, Lease
//	taken      Request                                   taken      Refused "taken-back"
//	taken      GiveBack (the nurse)                      free       Lease
//	held       holder not heard for 500 ms while moving  held       Halt
//
// Times are compared on the cart's steady clock, so that setting the wall clock moves nothing. A Lease carries that clock
// (NowMS); the sender adds what its own clock says has passed since it came. The sum can only be early, by the way down,
// so an age found from it can only be too great: no message is taken for fresher than it is, and no clocks need to agree.
// Without it (AtMS 0) only the waiting that the hub measured counts (AgeMS), and what sat in a stalled network is missed.
//
// Invariants, for any loss, delay, repetition or reordering of messages (model_test.go checks them exhaustively
// within bounds):
//   - At most one holder. An epoch names one lease and is never used again, not even by the next agent run.
//   - A setpoint runs only if its sender holds the lease now, it is newer than every one before, and it was made at most
//     500 ms ago. It is never queued.
//   - An act runs at most once, never after its expiry, never under a lease that is over. Late ones are refused;
//     repeated ones get the first one's result.
//   - After TakeBack nothing runs until GiveBack and a new lease.
//   - What a setpoint set in motion is halted at the latest 500 ms after the last sign of life of its holder, and at once when the lease ends.
//   - A message holds the lease for 30 s from when it was made, not from when it arrived.
//
// Beyond a 500 ms round trip every setpoint is late: the specialist then steers in acts of kind Step, each confirmed
// by its result.
package steer

import "time"

// Tick is a time: milliseconds of the cart's steady clock since the machine was made.
type Tick = int64

const (
	Term   = 30 * time.Second       // of a lease, from its holder's last sign of life
	Fresh  = 500 * time.Millisecond // a setpoint's life, and the dead man's
	MaxAct = 10 * time.Second       // an act's longest life
	maxAct = 128                    // acts remembered at once
)

// Codes of refusals. Both screens put them in words.
const (
	Held     = "held"       // another holds it: by whom and until when is in the lease
	Taken    = "taken-back" // the nurse took it back
	NoLease  = "no-lease"   // none, another's, or an older one
	Late     = "late"       // too old to be carried out, or repeated out of order
	Busy     = "busy"       // too many acts are under way
	Failed   = "failed"     // the instrument or the act gave an error
	Unusable = "bad-message"
)

// Release gives the lease up.
type Release struct{ Request }

// TakeBack and GiveBack are the nurse's touches.
type (
	TakeBack struct{}
	GiveBack struct{}
	// Wake lets time pass; the shell sends it when NextWake says so.
	Wake struct{}
	// Done is the outcome of an act, from the shell; its ID is the act's.
	Done ActResult
)

// Event is one of Request, Release, Setpoint, Act, TakeBack, GiveBack, Wake, Done.
type Event interface{ event() }

func (Request) event()  {}
func (Setpoint) event() {}
func (Act) event()      {}
func (TakeBack) event() {}
func (GiveBack) event() {}
func (Wake) event()     {}
func (Done) event()     {}

// Refused answers a Request that got no lease.
type Refused struct {
	Who   string `json:"who"`
	Code  string `json:"code"`
	Lease Lease  `json:"lease"`
}

// What the shell is to do besides sending Lease, Refused and ActResult.
type (
	Apply struct { // steer there, unless it is too old by then
		Set map[string]int
		At  Tick
	}
	Run struct { // do it and report Done
		Act     Act
		Expires Tick
	}
	Halt    struct{}              // stop all motion, forget what is waiting
	Dropped struct{ Code string } // a message that came to nothing, for the counters
)

// Action is one of Lease, Refused, ActResult, Apply, Run, Halt, Dropped.
type Action interface{ action() }

func (Lease) action()     {}
func (Refused) action()   {}
func (ActResult) action() {}
func (Apply) action()     {}
func (Run) action()       {}
func (Halt) action()      {}
func (Dropped) action()   {}

// Machine is one instrument's lease. It is not safe for concurrent use.
type Machine struct {
	start  time.Time
	name   string // of the instrument
	who    string // the holder; "" is nobody
	whoAs  string // the holder's name
	epoch  uint64
	until  Tick
	taken  bool
	seq    uint64 // of the last setpoint applied under this lease
	moving bool   // set by Apply, cleared by Halt: whether a motor has come to rest by itself is not known here
	heard  Tick   // when the holder's latest message was made
	acts   map[string]seen
	order  []string // of acts, oldest first
	term   Tick
	fresh  Tick
	life   Tick // of an act, at most
}

type seen struct {
	expires Tick
	done    bool
	result  ActResult
}

// New starts with nobody holding. No two runs of the agent may share epochs, or a message of the last run could be taken
// for one of this: draw the first one at random (Shell does).
func New(instrument string, epoch uint64, start time.Time) *Machine {
	return &Machine{
		start: start, name: instrument, epoch: epoch, acts: map[string]seen{},
		term: Term.Milliseconds(), fresh: Fresh.Milliseconds(), life: MaxAct.Milliseconds(),
	}
}

// Tick is a time on the machine's clock.
func (m *Machine) Tick(now time.Time) Tick { return now.Sub(m.start).Milliseconds() }

// Lease is the present state.
func (m *Machine) Lease(now time.Time) Lease {
	l := Lease{Instrument: m.name, Holder: m.who, HolderName: m.whoAs, Epoch: m.epoch, TakenBack: m.taken, NowMS: m.Tick(now)}
	if m.who != "" {
		l.Until = now.Add(time.Duration(m.until-l.NowMS) * time.Millisecond)
	}
	return l
}

// NextWake is when time alone changes something; ok is false when it never does.
func (m *Machine) NextWake() (at Tick, ok bool) {
	if m.who == "" {
		return 0, false
	}
	at = m.until
	if m.moving {
		at = min(at, m.heard+m.fresh+1)
	}
	return at, true
}

// Step takes one event. Time must not go back.
func (m *Machine) Step(now time.Time, ev Event) []Action {
	out := m.elapse(now)
	t := m.Tick(now)
	switch e := ev.(type) {
	case Request:
		return append(out, m.request(now, e))
	case Release:
		if m.who == "" || m.who != e.Who || m.name != e.Instrument {
			return append(out, Dropped{NoLease})
		}
		return append(out, m.end(now)...)
	case Setpoint:
		return append(out, m.setpoint(t, e)...)
	case Act:
		return append(out, m.act(t, e)...)
	case Done:
		return append(out, m.done(ActResult(e))...)
	case TakeBack:
		m.taken = true
		return append(out, m.end(now)...)
	case GiveBack:
		if !m.taken {
			return out
		}
		m.taken = false
		return append(out, m.Lease(now))
	}
	return out
}

// elapse does what time alone asks for.
func (m *Machine) elapse(now time.Time) []Action {
	t := m.Tick(now)
	if m.who == "" {
		return nil
	}
	if t >= m.until {
		return m.end(now)
	}
	if m.moving && t-m.heard > m.fresh {
		m.moving = false
		return []Action{Halt{}}
	}
	return nil
}

// end ends whatever lease there is. It halts always: a halt too many does no harm.
func (m *Machine) end(now time.Time) []Action {
	m.who, m.whoAs, m.until = "", "", 0
	m.moving, m.seq = false, 0
	return []Action{Halt{}, m.Lease(now)}
}

func (m *Machine) request(now time.Time, r Request) Action {
	t := m.Tick(now)
	switch {
	case r.Who == "" || r.Instrument != m.name:
		return Refused{r.Who, Unusable, m.Lease(now)}
	case m.taken:
		return Refused{r.Who, Taken, m.Lease(now)}
	case m.who == r.Who:
		m.until = t + m.term
	case m.who != "":
		return Refused{r.Who, Held, m.Lease(now)}
	default:
		m.who, m.whoAs = r.Who, r.WhoName
		m.epoch++
		m.until, m.heard = t+m.term, t
	}
	return m.Lease(now)
}

func (m *Machine) holds(who string, epoch uint64) bool {
	return m.who != "" && m.who == who && m.epoch == epoch
}

// made is when a message was made, by the worse of what the hub and its sender say. A time still to come is the sender's
// mistake: it counts as the oldest there is.
func (m *Machine) made(now Tick, age, at int64) Tick {
	made := now - max(age, 0)
	if at > now || age < 0 {
		return now - m.term
	}
	if at > 0 {
		made = min(made, at)
	}
	return made
}

// alive renews the lease by its holder's message.
func (m *Machine) alive(made Tick) {
	m.until = max(m.until, made+m.term)
	m.heard = max(m.heard, made)
}

func (m *Machine) setpoint(now Tick, s Setpoint) []Action {
	if s.Instrument != m.name {
		return []Action{Dropped{Unusable}}
	}
	if !m.holds(s.Who, s.Epoch) {
		return []Action{Dropped{NoLease}}
	}
	made := m.made(now, s.AgeMS, s.AtMS)
	if s.Seq <= m.seq { // repeated or overtaken: no sign of life either
		return []Action{Dropped{Late}}
	}
	m.alive(made)
	m.seq = s.Seq
	switch {
	case len(s.Set) == 0:
		return nil
	case now-made > m.fresh:
		return []Action{Dropped{Late}}
	}
	m.moving = true
	return []Action{Apply{s.Set, made}}
}

func (m *Machine) act(now Tick, a Act) []Action {
	if old, ok := m.acts[a.ID]; ok {
		if !old.done {
			return []Action{Dropped{Late}} // its result follows
		}
		return []Action{old.result}
	}
	made := m.made(now, 0, a.AtMS)
	expires := min(now+min(a.TTLMS, m.life), made+m.life)
	code := ""
	switch {
	case a.ID == "" || a.Kind == "" || a.Instrument != m.name:
		code = Unusable
	case !m.holds(a.Who, a.Epoch):
		code = NoLease
	case now >= expires:
		code = Late
	case !m.room(now):
		code = Busy
	}
	if code != "" {
		return []Action{ActResult{ID: a.ID, Error: code}}
	}
	m.alive(made)
	m.acts[a.ID] = seen{expires: made + m.life, result: ActResult{ID: a.ID}}
	m.order = append(m.order, a.ID)
	return []Action{Run{a, expires}}
}

// Step is the kind of act that moves; the shell does it itself. It is one motion to a stated place that ends by itself:
// the end of the lease halts it, silence does not, or it could not be used on a slow link.
const Step = "step"

// room makes a place for one more act, by forgetting the oldest that is over. A repetition of it that came after all is
// refused for its age, if it carries AtMS.
func (m *Machine) room(now Tick) bool {
	if len(m.order) < maxAct {
		return true
	}
	for i, id := range m.order {
		if s := m.acts[id]; s.done && now >= s.expires {
			delete(m.acts, id)
			m.order = append(m.order[:i:i], m.order[i+1:]...)
			return true
		}
	}
	return false
}

func (m *Machine) done(r ActResult) []Action {
	s, ok := m.acts[r.ID]
	if !ok || s.done {
		return nil
	}
	s.done, s.result = true, r
	m.acts[r.ID] = s
	return []Action{r}
}
