package scale

import (
	"time"

	"telecart/device"
)

// Reasons why there is no weight, besides those of package device; they are those of the health too.
const (
	Settling         device.Reason = "settling"          // nothing heard yet, or stable for less than a moment
	InMotion         device.Reason = "in-motion"         //
	UnderZero        device.Reason = "under-zero"        //
	OverLimit        device.Reason = "over-limit"        //
	NeedsCalibration device.Reason = "needs-calibration" //
	NeedsZero        device.Reason = "needs-zero"        //
	NotEmpty         device.Reason = "not-empty"         // something was on it before anybody looked
	UnknownFormat    device.Reason = "unknown-format"    // reports, units or numbers that aren't known
)

const (
	quantity = "body-weight"
	unitKg   = "kg"

	steady = 500 * time.Millisecond // for a weight to stay the same, besides the scale's own word that it is stable
	maxBad = 5                      // reports in a row that can't be read; one may be a scale's hiccup
)

// phase is how far a weighing has come.
type phase int

const (
	unseen   phase = iota // what is on the scale was there before we looked
	empty                 //
	weighing              // it moves or moved, and there is no weight yet
	weighed               //
)

// session turns reports and time into observations. It is a step machine: no I/O, no goroutine, no clock of its own.
//
//	unseen --zero--> empty --motion--> weighing --stable, and steady--> weighed --zero--> empty
//	unseen --motion--> weighing;  weighed --motion, then another weight, steady--> weighed
//
// A weight that was told stands until something else is weighed: stepping off, or what an empty scale complains of, takes
// nothing back.
type session struct {
	*scale
	id     device.Identity
	report uint8 // id of the data report

	phase  phase
	moved  bool           // since the weight was told
	value  device.Decimal // that was told
	stands bool           // nothing else has been weighed since
	told   device.Reason  // why there is none
	said   device.Health

	next  device.Decimal // may become the weight,
	since time.Time      // and is there since; zero: there is none
	bad   int
}

func newSession(s *scale, n *node) *session {
	ses := &session{scale: s, id: s.id, report: n.layout.data}
	ses.id.Model, ses.id.Serial, ses.id.Grade = n.model, n.serial, s.grade
	s.out.Observe(device.About{Model: n.model, Serial: n.serial, Grade: s.grade})
	ses.health(device.Settling, Settling)
	return ses
}

func (s *session) health(state device.State, why device.Reason) {
	if h := (device.Health{State: state, Reason: why}); h != s.said {
		s.said = h
		s.out.Observe(h)
	}
}

// take takes a report as it was read.
func (s *session) take(now time.Time, b []byte) {
	r, other, err := parseReport(b, s.report)
	if other {
		return
	}
	if err != nil {
		s.since = time.Time{}
		if s.bad++; s.bad >= maxBad {
			s.health(device.Faulty, UnknownFormat)
			s.absent(UnknownFormat)
		}
		return
	}
	s.bad = 0
	if r.status == stable && r.raw == 0 {
		r.status = stableZero // no load is no weight
	}
	if r.status != stable {
		s.since = time.Time{}
	}
	switch r.status {
	case stableZero:
		s.zero()
	case stable:
		s.stable(now, r)
	case inMotion:
		s.motion()
	default:
		s.trouble(r.status)
	}
}

func (s *session) zero() {
	if s.phase == weighing {
		s.absent(device.NotYet)
	}
	s.phase, s.told = empty, ""
	s.health(device.Live, "")
}

func (s *session) motion() {
	if s.phase == weighed {
		s.moved = true
	} else {
		s.begin(InMotion)
	}
	s.health(device.Settling, InMotion)
}

// begin is the beginning of a weighing. What was weighed before is another's.
func (s *session) begin(why device.Reason) {
	s.phase, s.stands = weighing, false
	s.absent(why)
}

func (s *session) trouble(st status) {
	state, why := device.Settling, NeedsZero
	switch st {
	case fault:
		state, why = device.Faulty, device.SensorFault
	case underZero: // what was on it is off
		why = UnderZero
		defer func() { s.phase = empty }()
	case overLimit:
		why = OverLimit
		s.begin(why)
	case calibrate:
		state, why = device.Faulty, NeedsCalibration
	}
	s.moved = true
	s.absent(why)
	s.health(state, why)
}

func (s *session) stable(now time.Time, r report) {
	kg, ok := r.kilograms()
	switch {
	case !ok:
		s.since = time.Time{}
		s.begin(UnknownFormat)
		s.health(device.Faulty, UnknownFormat)
	case s.phase == unseen:
		s.health(device.Settling, NotEmpty)
	case s.phase == weighed && (kg == s.value || !s.moved && flickers(kg, s.value)):
		s.moved, s.since = false, time.Time{}
		s.health(device.Live, "")
	default:
		if s.phase == empty {
			s.begin(InMotion) // it moved, between two reports
		}
		if s.since.IsZero() || kg != s.next {
			s.next, s.since = kg, now
			s.health(device.Settling, Settling)
		}
		s.tick(now)
	}
}

// flickers says whether two weights are within the scale's last digit.
func flickers(a, b device.Decimal) bool {
	return a.Exp == b.Exp && max(a.Coef-b.Coef, b.Coef-a.Coef) <= 1
}

// tick is called now and then, and after a report: a scale may fall silent once it has said its weight.
func (s *session) tick(now time.Time) {
	if s.since.IsZero() || now.Sub(s.since) < steady {
		return
	}
	s.phase, s.moved, s.value, s.stands, s.told, s.since = weighed, false, s.next, true, "", time.Time{}
	s.health(device.Live, "")
	s.out.Observe(s.reading(device.Reading{Value: s.value}))
}

// absent says once why there is no weight.
func (s *session) absent(why device.Reason) {
	if s.stands || why == s.told {
		return
	}
	s.told = why
	s.out.Observe(s.reading(device.Reading{Absent: why}))
}

func (s *session) reading(r device.Reading) device.Reading {
	r.Quantity, r.Unit, r.Instrument, r.At = quantity, unitKg, s.id, s.stamp.Now()
	return r
}
