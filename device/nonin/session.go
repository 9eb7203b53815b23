package nonin

import (
	"time"

	"telecart/device"
	"telecart/device/kit"
	"telecart/device/oximeter/line"
)

const (
	staleAfter = 3 * time.Second // without a packet
	lookFor    = 5 * time.Second // a format, before we say that there is none: formats 1 and 8 take 3 s and a bit to be sure of
)

// Health reasons, besides the absent reasons of package device.
const (
	UnknownFormat device.Reason = "unknown-format" // bytes, but no packet of a format that is looked for
	Settling      device.Reason = "settling"       // waiting for the first packet
	BatteryLow    device.Reason = "battery-low"    // still live
	FromMemory    device.Reason = "from-memory"    // it sends what it measured before: of whom?
)

// Session turns bytes and time into observations. It is a line.Machine: no I/O, no goroutine, no clock of its own.
type Session struct {
	id      device.Identity
	stamp   *kit.Stamper
	out     device.Outlet
	formats []Format // that are looked for

	found  Format     // 0: not yet known
	frames []*Decoder // of formats 2 and 7; once one is found, its alone
	burst  burst
	shorts shorts
	record Record    // the last one
	last   time.Time // of the last packet, or when the waiting began
	bytes  int       // since then
	beats  beats
}

// NewSession begins to look for the formats given. What it finds it tells the outlet as of this identity.
func NewSession(id device.Identity, stamp *kit.Stamper, out device.Outlet, now time.Time, formats ...Format) *Session {
	s := &Session{id: id, stamp: stamp, out: out, formats: formats}
	s.detect(now)
	return s
}

// Found is the format of the packets that come now, or 0.
func (s *Session) Found() Format { return s.found }

// Mode is the same for all formats.
func (s *Session) Mode() line.Mode { return Mode() }

// detect begins to look.
func (s *Session) detect(now time.Time) {
	s.frames = s.frames[:0:0]
	for _, f := range []Format{Format2, Format7} {
		if allows(s.formats, f) {
			s.frames = append(s.frames, NewDecoder(f))
		}
	}
	s.found, s.shorts, s.beats = 0, shorts{}, beats{}
	s.heard(now)
}

func (s *Session) heard(at time.Time) { s.last, s.bytes = at, 0 }

// Take is called with what arrived by now, or with a silence. The answer is for the oximeter.
func (s *Session) Take(now time.Time, c line.Chunk) (answer []byte, _ error) {
	s.bytes += len(c.Bytes) + c.Damaged
	s.takeFrames(now, c.Bytes)
	switch {
	case s.found == Format2 || s.found == Format7:
		s.burst = burst{}
	case !c.Silent():
		s.burst.add(now, s.stamp.Now(), c)
	case s.burst.n > 0:
		answer = s.takeBurst(now, &s.burst)
	}
	s.watch(now)
	return answer, nil
}

func (s *Session) takeFrames(now time.Time, b []byte) {
	for _, d := range s.frames {
		packets := d.Write(b)
		if len(packets) == 0 {
			continue
		}
		s.found, s.frames = d.format, []*Decoder{d}
		s.heard(now)
		for i := range packets {
			s.report(now, s.stamp.Now(), packets[i].measured())
		}
		return
	}
}

// takeBurst looks at what came before a silence: a record, or, when the silence is long enough, a packet of format 1 or 8.
func (s *Session) takeBurst(now time.Time, b *burst) (answer []byte) {
	if !b.read && allows(s.formats, Format13) {
		r, say := findRecord(b.bytes)
		if say == ack {
			s.takeRecord(b, r)
		}
		if say != 0 {
			answer = []byte{say}
		}
	}
	b.read = true
	if now.Sub(b.ended) < shortSilence {
		return answer
	}
	if m, sure := s.shorts.take(b, s.formats); sure {
		s.found = s.shorts.format
		s.heard(b.began)
		s.report(b.began, b.at, m)
	}
	*b = burst{}
	return answer
}

func (s *Session) takeRecord(b *burst, r Record) {
	if s.found != Format13 {
		s.detect(b.began)
	}
	s.found = Format13
	s.heard(b.began)
	fromMemory := r.Status&recordFromMemory != 0
	r.Status &^= recordFromMemory
	again := r == s.record && !r.Measured.IsZero() // our answer was lost
	s.record = r
	switch {
	case again:
	case fromMemory:
		s.out.Observe(device.Health{State: device.Settling, Reason: FromMemory})
	default:
		s.beats = beats{}
		s.report(b.began, b.at, r.measured())
	}
}

// watch says so when nothing that we know has come for 3 s, and looks for all formats again: there may be another
// oximeter on the cable. An oximeter that sends a record for each spot check is silent by nature.
func (s *Session) watch(now time.Time) {
	spot := s.found == Format13 || len(s.formats) == 1 && s.formats[0] == Format13
	patience := staleAfter
	if s.found == 0 {
		patience = lookFor
	}
	switch {
	case now.Sub(s.last) < patience:
		return
	case s.bytes >= packetLen:
		s.out.Observe(device.Health{State: device.Faulty, Reason: UnknownFormat})
	case spot:
		s.heard(now)
		return
	default:
		s.out.Observe(device.Health{State: device.Absent, Reason: device.NoData})
	}
	s.detect(now)
}
