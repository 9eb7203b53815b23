package oximeter

import (
	"errors"
	"fmt"
	"time"

	"telecart/device"
	"telecart/device/cms50d"
	"telecart/device/kit"
	"telecart/device/nonin"
	"telecart/device/oximeter/line"
)

// ErrLost: the oximeter that was found has fallen silent.
var ErrLost = errors.New("the oximeter has fallen silent: listening for any from the beginning")

const (
	lostAfter = 7 * time.Second // after its own 3 s without a packet
	manyBytes = 100             // in a round of all candidates: something talks
)

// candidate is an oximeter that may be there.
type candidate struct {
	grade device.Grade
	dwell time.Duration // how long it takes to be sure that it is not there
	begin func(device.Identity, *kit.Stamper, device.Outlet, time.Time) session
}

// session listens for one, and then is it.
type session struct {
	line.Machine
	model func() string // "" as long as it is not found
}

func candidates() []candidate {
	return []candidate{
		{"", 5 * time.Second, beginNonin},
		{device.Consumer, 4200 * time.Millisecond, beginContec}, // long enough for both parities
	}
}

func beginNonin(id device.Identity, stamp *kit.Stamper, out device.Outlet, now time.Time) session {
	s := nonin.NewSession(id, stamp, out, now, nonin.Format1, nonin.Format2, nonin.Format7, nonin.Format8)
	return session{s, func() string {
		if f := s.Found(); f != 0 {
			return fmt.Sprintf("Nonin, data format %d", f)
		}
		return ""
	}}
}

func beginContec(id device.Identity, stamp *kit.Stamper, out device.Outlet, now time.Time) session {
	s := cms50d.NewSession(id, stamp, out, now)
	return session{s, func() string {
		if s.Found() {
			return "Contec CMS50D+"
		}
		return ""
	}}
}

// search tries the candidates in turn. It is a line.Machine: no I/O, no goroutine, no clock of its own.
type search struct {
	id    device.Identity
	stamp *kit.Stamper
	out   device.Outlet

	at    int // the candidate
	since time.Time
	bytes int // in this round
	kept  kept
	session
	found bool
	named string    // the model that was told
	lost  time.Time // since when it isn't found any more; zero if it is
}

// kept is what a candidate says before it is known whether it is true.
type kept []device.Observation

func (k *kept) Observe(o device.Observation) { *k = append(*k, o) }

func newSearch(id device.Identity, stamp *kit.Stamper, out device.Outlet, now time.Time) *search {
	s := &search{id: id, stamp: stamp, out: out}
	s.try(0, now)
	return s
}

func (s *search) try(at int, now time.Time) {
	c := candidates()[at]
	id := s.id
	id.Grade = c.grade
	s.at, s.since = at, now
	s.session = c.begin(id, s.stamp, &s.kept, now)
}

// Take is called with what arrived by now, or with a silence. There never is an answer.
func (s *search) Take(now time.Time, c line.Chunk) (answer []byte, _ error) {
	s.bytes += len(c.Bytes) + c.Damaged
	if _, err := s.session.Take(now, c); err != nil {
		return nil, err
	}
	model := s.model()
	if model != "" && model != s.named {
		s.found, s.named = true, model
		s.out.Observe(device.About{Model: model, Grade: candidates()[s.at].grade})
	}
	if s.found {
		for _, o := range s.kept {
			s.out.Observe(o)
		}
	}
	s.kept = s.kept[:0]
	if s.found {
		return nil, s.mind(now, model)
	}
	if now.Sub(s.since) >= candidates()[s.at].dwell {
		s.next(now)
	}
	return nil, nil
}

// mind ends it when the oximeter is gone for good: another kind may be next, and it must not inherit a name or a grade.
func (s *search) mind(now time.Time, model string) error {
	switch {
	case model != "":
		s.lost = time.Time{}
	case s.lost.IsZero():
		s.lost = now
	case now.Sub(s.lost) >= lostAfter:
		return device.Fault{Health: device.Health{State: device.Absent, Reason: device.NoData}, Err: ErrLost}
	}
	return nil
}

// next tries the next candidate. After the last one it is time to say that there is none.
func (s *search) next(now time.Time) {
	at := (s.at + 1) % len(candidates())
	if at == 0 {
		h := device.Health{State: device.Absent, Reason: device.NoData}
		if s.bytes >= manyBytes {
			h = device.Health{State: device.Faulty, Reason: nonin.UnknownFormat}
		}
		s.out.Observe(h)
		s.bytes = 0
	}
	s.try(at, now)
}
