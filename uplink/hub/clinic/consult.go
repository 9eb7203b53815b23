package clinic

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"telecart/capture/ledger"
)

// Phase is where a consult stands.
type Phase string

const (
	Calling  Phase = "calling"          // the nurse asks for a specialist
	Offered  Phase = "offered"          // a specialist asks; the nurse has not touched yet
	Live     Phase = "live"             //
	Paused   Phase = "paused"           // by the nurse
	Waiting  Phase = "waiting-continue" // the link was away for long: the nurse has to touch resume
	LinkLost Phase = "link-lost"        // the link is away; the consult is kept
	Refused  Phase = "refused"
	Ended    Phase = "ended"
)

// LongOutage is how long the link may be away before a live consult needs the nurse's touch to go on.
const LongOutage = 10 * time.Minute

// Why a consult refuses an event.
var (
	ErrOver    = errors.New("clinic: the consult is over")
	ErrTaken   = errors.New("clinic: there is already a consult at this cart; join it")
	ErrNoTouch = errors.New("clinic: only the nurse can do that")
	ErrNotNow  = errors.New("clinic: the consult is not in a phase for that")
	ErrMember  = errors.New("clinic: you take no part in this consult")
)

// Person is somebody at the far end.
type Person struct {
	ID   string `json:"id"` // account
	Name string `json:"name"`
}

// maxMembers bounds who takes part in one consult.
const maxMembers = 32

// Consult is a live session on one open encounter. The zero time in Lost means that the link is up.
type Consult struct {
	ID        string    `json:"id"`
	Tenant    string    `json:"tenant"`
	Cart      string    `json:"cart"`
	Practice  bool      `json:"practice"`
	Encounter ledger.ID `json:"encounter"`
	Reason    string    `json:"reason,omitempty"` // why the nurse called
	By        Person    `json:"by"`
	Members   []Person  `json:"members"`
	Touched   bool      `json:"touched"` // the nurse called or accepted
	Base      Phase     `json:"base"`    // the phase but for the link
	Since     time.Time `json:"since"`   // of Phase()
	Lost      time.Time `json:"lost"`
	Heard     time.Time `json:"heard"` // when the cart was last known to be there, to the minute
	Why       string    `json:"why,omitempty"`
}

// Over says that nothing happens to this consult any more.
func (c Consult) Over() bool { return c.Base == Ended || c.Base == Refused }

// Phase is the phase as people see it.
func (c Consult) Phase() Phase {
	if !c.Over() && !c.Lost.IsZero() {
		return LinkLost
	}
	return c.Base
}

// Member says whether the account takes part.
func (c Consult) Member(account string) bool {
	return slices.ContainsFunc(c.Members, func(p Person) bool { return p.ID == account })
}

// Verb is what happens to a consult.
type Verb string

const (
	Offer         Verb = "offer" // a specialist answers the nurse's call
	Join          Verb = "join"
	Leave         Verb = "leave"
	Close         Verb = "close"  // a specialist ends it
	Accept        Verb = "accept" // these five are the nurse's: link.Answer
	Refuse        Verb = "refuse"
	Pause         Verb = "pause"
	Resume        Verb = "resume"
	End           Verb = "end"
	CancelCall    Verb = "cancel-call"
	LinkDown      Verb = "link-down"
	LinkUp        Verb = "link-up"
	Wait          Verb = "wait"           // the cart says that the outage was long
	EncounterOver Verb = "encounter-over" // it closed, or was bound to another patient
)

// Event is one thing that happens. Who is set for what specialists do.
type Event struct {
	Verb Verb
	Who  Person
}

// NewCall is the nurse asking for a specialist. Her touch was the call.
func NewCall(id, tenant, cart string, encounter ledger.ID, reason string, now time.Time) Consult {
	return Consult{ID: id, Tenant: tenant, Cart: cart, Encounter: encounter, Reason: reason, Touched: true, Base: Calling, Since: now, Heard: now}
}

// NewOffer is a specialist asking the nurse.
func NewOffer(id, tenant, cart string, encounter ledger.ID, by Person, now time.Time) Consult {
	return Consult{ID: id, Tenant: tenant, Cart: cart, Encounter: encounter, By: by, Members: []Person{by}, Base: Offered, Since: now, Heard: now}
}

// Step is the consult after the event. It never becomes live without the nurse's touch, and nothing follows its end.
// What happens again (a message sent twice) changes nothing and is no error.
func (c Consult) Step(e Event, now time.Time) (Consult, error) {
	before := c.Phase()
	c.Members = slices.Clone(c.Members)
	if c.Over() {
		switch e.Verb {
		case LinkDown, LinkUp, Wait, EncounterOver, End, Close, Leave, CancelCall:
			return c, nil
		}
		return c, ErrOver
	}
	next, err := c.step(e, now)
	if err != nil {
		return c, err
	}
	if next.Phase() != before {
		next.Since = now
	}
	return next, nil
}

func (c Consult) step(e Event, now time.Time) (Consult, error) {
	notNow := fmt.Errorf("%w: %s while %s", ErrNotNow, e.Verb, c.Base)
	switch e.Verb {
	case Offer:
		switch {
		case c.Base == Calling:
			c.By, c.Base = e.Who, Live
			return c.join(e.Who)
		case c.By.ID != e.Who.ID:
			return c, ErrTaken
		}
	case Join:
		if c.Base == Calling {
			return c, notNow
		}
		return c.join(e.Who)
	case Leave:
		c.Members = slices.DeleteFunc(c.Members, func(p Person) bool { return p.ID == e.Who.ID })
		if c.Base == Offered && len(c.Members) == 0 {
			return c.end("withdrawn"), nil
		}
	case Accept:
		switch c.Base {
		case Offered:
			c.Touched, c.Base = true, Live
		case Calling:
			return c, notNow
		}
	case Refuse:
		if c.Base != Offered {
			return c, notNow
		}
		c.Base = Refused
	case Pause:
		switch c.Base {
		case Live, Waiting:
			c.Base = Paused
		case Calling, Offered:
			return c, notNow
		}
	case Resume:
		switch c.Base {
		case Paused, Waiting:
			c.Base = Live
		case Calling, Offered:
			return c, notNow
		}
	case End:
		return c.end("nurse"), nil
	case Close:
		if c.Base != Calling && !c.Member(e.Who.ID) {
			return c, ErrMember
		}
		if c.Base == Calling {
			return c, notNow
		}
		return c.end("specialist"), nil
	case CancelCall:
		if c.Base == Calling {
			return c.end("cancelled"), nil
		}
	case EncounterOver:
		return c.end("encounter"), nil
	case Wait:
		if c.Base == Live {
			c.Base = Waiting
		}
	case LinkDown:
		if c.Lost.IsZero() {
			c.Lost = now
		}
	case LinkUp:
		if c.Base == Live && !c.Lost.IsZero() && now.Sub(c.Lost) >= LongOutage {
			c.Base = Waiting
		}
		c.Lost, c.Heard = time.Time{}, now
	default:
		return c, fmt.Errorf("clinic: a consult knows no %q", e.Verb)
	}
	return c, nil
}

func (c Consult) join(p Person) (Consult, error) {
	switch {
	case c.Member(p.ID):
	case len(c.Members) >= maxMembers:
		return c, fmt.Errorf("clinic: %d people take part already; somebody has to leave first", maxMembers)
	default:
		c.Members = append(c.Members, p)
	}
	return c, nil
}

func (c Consult) end(why string) Consult {
	c.Base, c.Why, c.Lost = Ended, why, time.Time{}
	return c
}
