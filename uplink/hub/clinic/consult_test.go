package clinic

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"telecart/capture/ledger"
)

var (
	start = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	ada   = Person{"ada", "Dr. A. Example"}
	ben   = Person{"ben", "Dr. B. Example"}
)

func TestConsult(t *testing.T) {
	offer := NewOffer("c", "north", "cart-1", ledger.ID{1}, ada, start)
	call := NewCall("c", "north", "cart-1", ledger.ID{1}, "rash", start)
	type at struct {
		after time.Duration
		e     Event
		want  Phase
		err   error
	}
	nurse := func(after time.Duration, v Verb, want Phase) at { return at{after, Event{Verb: v}, want, nil} }
	for name, c := range map[string]struct {
		from  Consult
		steps []at
	}{
		"offer accepted, paused, resumed, ended by the nurse": {offer, []at{
			nurse(0, Accept, Live), nurse(0, Pause, Paused), nurse(0, Resume, Live), nurse(0, End, Ended)}},
		"offer refused":             {offer, []at{nurse(0, Refuse, Refused), {0, Event{Join, ben}, Refused, ErrOver}}},
		"the call was the touch":    {call, []at{{0, Event{Offer, ada}, Live, nil}}},
		"call cancelled":            {call, []at{nurse(0, CancelCall, Ended), {0, Event{Offer, ada}, Ended, ErrOver}}},
		"resume is no accept":       {offer, []at{{0, Event{Verb: Resume}, Offered, ErrNotNow}}},
		"accept twice":              {offer, []at{nurse(0, Accept, Live), nurse(0, Accept, Live)}},
		"accept does not unpause":   {offer, []at{nurse(0, Accept, Live), nurse(0, Pause, Paused), nurse(0, Accept, Paused)}},
		"a second offer":            {offer, []at{{0, Event{Offer, ben}, Offered, ErrTaken}}},
		"withdrawn":                 {offer, []at{{0, Event{Leave, ada}, Ended, nil}}},
		"left by all, kept":         {offer, []at{nurse(0, Accept, Live), {0, Event{Leave, ada}, Live, nil}}},
		"ended by a stranger":       {offer, []at{{0, Event{Close, ben}, Offered, ErrMember}}},
		"ended by a member":         {offer, []at{nurse(0, Accept, Live), {0, Event{Join, ben}, Live, nil}, {0, Event{Close, ben}, Ended, nil}}},
		"the encounter is over":     {offer, []at{nurse(0, Accept, Live), nurse(0, EncounterOver, Ended)}},
		"a short outage":            {offer, []at{nurse(0, Accept, Live), nurse(0, LinkDown, LinkLost), nurse(LongOutage-1, LinkUp, Live)}},
		"a long outage":             {offer, []at{nurse(0, Accept, Live), nurse(0, LinkDown, LinkLost), nurse(LongOutage, LinkUp, Waiting), nurse(0, Resume, Live)}},
		"a long outage of an offer": {offer, []at{nurse(0, LinkDown, LinkLost), nurse(LongOutage, LinkUp, Offered)}},
		"a long outage of a pause":  {offer, []at{nurse(0, Accept, Live), nurse(0, Pause, Paused), nurse(0, LinkDown, LinkLost), nurse(LongOutage, LinkUp, Paused)}},
		"two losses count from the first": {offer, []at{nurse(0, Accept, Live), nurse(0, LinkDown, LinkLost), nurse(LongOutage-1, LinkDown, LinkLost),
			nurse(1, LinkUp, Waiting)}},
		"ended while the link is away": {offer, []at{nurse(0, Accept, Live), nurse(0, LinkDown, LinkLost), {0, Event{Close, ada}, Ended, nil}, nurse(0, LinkUp, Ended)}},
		"the cart knows the outage":    {offer, []at{nurse(0, Accept, Live), nurse(0, Wait, Waiting), nurse(0, Resume, Live)}},
	} {
		t.Run(name, func(t *testing.T) {
			now, k := start, c.from
			for i, s := range c.steps {
				now = now.Add(s.after)
				next, err := k.Step(s.e, now)
				if !errors.Is(err, s.err) || next.Phase() != s.want {
					t.Fatalf("step %d, %s: %s, %v; want %s, %v", i, s.e.Verb, next.Phase(), err, s.want, s.err)
				}
				k = next
			}
		})
	}
}

// Whatever happens, in whatever order: live needs a touch, over is over, and Since is when the phase last changed.
func TestConsultInvariants(t *testing.T) {
	verbs := []Verb{Offer, Join, Leave, Close, Accept, Refuse, Pause, Resume, End, CancelCall, LinkDown, LinkUp, Wait, EncounterOver, "nonsense"}
	rapid.Check(t, func(t *rapid.T) {
		c, touched := NewOffer("c", "north", "cart-1", ledger.ID{1}, ada, start), false
		if rapid.Bool().Draw(t, "called") {
			c, touched = NewCall("c", "north", "cart-1", ledger.ID{1}, "", start), true
		}
		now := start
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(15*time.Minute)).Draw(t, "pause")))
			e := Event{rapid.SampledFrom(verbs).Draw(t, "verb"), rapid.SampledFrom([]Person{ada, ben}).Draw(t, "who")}
			was := c
			next, err := c.Step(e, now)
			if err != nil && (next.Phase() != was.Phase() || len(next.Members) != len(was.Members)) {
				t.Fatalf("%s failed (%v) and changed %v to %v", e.Verb, err, was, next)
			}
			touched = touched || e.Verb == Accept && err == nil && !was.Over()
			switch {
			case was.Over() && next.Phase() != was.Phase():
				t.Fatalf("%s after the end led to %s", e.Verb, next.Phase())
			case next.Base == Live && !touched:
				t.Fatal("live without a touch")
			case was.Base == Waiting && next.Base == Live && e.Verb != Resume:
				t.Fatalf("%s went on without the nurse", e.Verb)
			case was.Base == Paused && next.Base == Live && e.Verb != Resume:
				t.Fatalf("%s ended the nurse's pause", e.Verb)
			case next.Phase() != was.Phase() && !next.Since.Equal(now):
				t.Fatalf("since %v, want %v", next.Since, now)
			}
			c = next
		}
	})
}
