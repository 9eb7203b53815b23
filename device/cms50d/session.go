package cms50d

import (
	"time"

	"telecart/device"
	"telecart/device/kit"
	"telecart/device/oximeter/line"
)

// Health reasons, besides the absent reasons of package device.
const (
	UnknownFormat device.Reason = "unknown-format" // bytes, but no packets
	Settling      device.Reason = "settling"       // waiting for the first packets
)

const (
	period    = time.Second             // of readings
	overdue   = 3 * period / 2          // then what doesn't agree is told as absent
	agreeing  = perSecond / 4           // packets in a row that must say the same
	fewest    = perSecond * 3 / 4       // whole packets a second: fewer is a bad line
	plethSpan = perSecond / 3           // values in a stretch of pleth
	probe     = 2 * time.Second         // a parity
	stale     = 3 * time.Second         // without a packet
	lookFor   = 2*probe + 2*time.Second // before we say that nothing comes
	manyBytes = 100                     // that are no packets
)

// What the oximeter sends when it has no value, and the ranges that it measures in [M].
const (
	noSaturation                        = 127 // and 0
	noRate                              = 255 // and 0
	lowestRate, highestRate             = 30, 250
	lowestSaturation, highestSaturation = 35, 100
)

// modes: sources disagree about the parity. What comes damaged by the wrong one is left out by package line, so the
// wrong one finds fewer packets, and never wrong ones.
func modes() []line.Mode {
	return []line.Mode{{Baud: 19200, Parity: line.Odd}, {Baud: 19200, Parity: line.None}}
}

// says is what must stay the same to be believed.
type says struct {
	rate, saturation int
	why              device.Reason
}

// Session turns bytes and time into observations. It is a line.Machine: no I/O, no goroutine, no clock of its own.
type Session struct {
	id    device.Identity
	stamp *kit.Stamper
	out   device.Outlet

	scanner scanner
	found   bool
	mode    int
	tried   time.Time // since when this mode is
	last    time.Time // of the last packet, or when the waiting began
	bytes   int       // since then

	said  says
	run   int       // packets in a row that said it
	whole int       // packets since
	since time.Time // the last reading
	pleth []int32   // not yet told; without a hole
}

// NewSession begins to look for packets. What it finds it tells the outlet as of this identity.
func NewSession(id device.Identity, stamp *kit.Stamper, out device.Outlet, now time.Time) *Session {
	return &Session{id: id, stamp: stamp, out: out, tried: now, last: now, since: now}
}

// Found says whether it is one, by what comes now.
func (s *Session) Found() bool { return s.found }

// Mode is a parity to try, or the one that was found.
func (s *Session) Mode() line.Mode { return modes()[s.mode] }

// Take is called with what arrived by now, or with a silence.
func (s *Session) Take(now time.Time, c line.Chunk) (answer []byte, _ error) {
	s.bytes += len(c.Bytes) + c.Damaged
	if c.Damaged > 0 {
		s.torn()
	}
	for _, b := range c.Bytes {
		switch p, did := s.scanner.take(b); did {
		case packet:
			s.take(now, p)
		case lost:
			s.torn()
		}
	}
	if !c.Silent() {
		s.tell(now)
	}
	s.watch(now)
	return nil, nil
}

// torn: what came before and what comes now are not in a row.
func (s *Session) torn() { s.run, s.pleth = 0, s.pleth[:0] }

func (s *Session) take(now time.Time, p Packet) {
	if now.Sub(s.since) > overdue && s.whole == 0 { // it was silent
		s.since = now
	}
	s.whole++
	if s.found {
		s.last, s.bytes = now, 0
	}
	if x := (says{p.Rate, p.Saturation, p.Why}); x != s.said {
		s.said, s.run = x, 0
	}
	s.run++
	if !s.found || p.Why == device.NoFinger || p.Why == device.SensorFault {
		s.pleth = s.pleth[:0]
		return
	}
	if s.pleth = append(s.pleth, int32(p.Pleth)); len(s.pleth) == plethSpan {
		s.out.Observe(device.Samples{Quantity: pleth, Unit: "1", RateHz: perSecond, Values: s.pleth,
			Instrument: s.id, At: s.stamp.Now()})
		s.pleth = nil
	}
}

// tell reports once a second, or a little later if it takes the packets a little longer to agree.
func (s *Session) tell(now time.Time) {
	waited := now.Sub(s.since)
	if waited < period || s.whole == 0 {
		return
	}
	sure := s.run >= agreeing && float64(s.whole) >= fewest*waited.Seconds()
	switch {
	case sure && (s.found || s.said.possible()):
		s.found, s.last, s.bytes = true, now, 0
		s.report(s.said)
	case waited < overdue:
		return
	case s.found:
		s.report(says{why: device.LowSignal})
	}
	s.since, s.whole = now, 0
}

// watch says so when no packet has come for 3 s, and tries the other parity as long as none is found.
func (s *Session) watch(now time.Time) {
	patience := lookFor
	if s.found {
		patience = stale
	}
	if now.Sub(s.last) >= patience {
		h := device.Health{State: device.Absent, Reason: device.NoData}
		if s.bytes >= manyBytes {
			h = device.Health{State: device.Faulty, Reason: UnknownFormat}
		}
		s.out.Observe(h)
		if s.found {
			s.found, s.tried = false, now
		}
		s.last, s.bytes = now, 0
	}
	if !s.found && now.Sub(s.tried) >= probe {
		s.mode, s.tried = (s.mode+1)%len(modes()), now
		s.scanner = scanner{}
		s.since, s.whole = now, 0
		s.torn()
	}
}

// possible says whether an oximeter can say this: that is asked once, before it is one.
func (x says) possible() bool {
	return x.why != "" || x.absentRate() != device.SensorFault && x.absentSaturation() != device.SensorFault
}

func (x says) absentRate() device.Reason {
	return x.absent(x.rate, lowestRate, highestRate, noRate)
}

func (x says) absentSaturation() device.Reason {
	return x.absent(x.saturation, lowestSaturation, highestSaturation, noSaturation)
}

// absent is why a value can't be shown, or "".
func (x says) absent(v, low, high, missing int) device.Reason {
	switch {
	case x.why != "":
		return x.why
	case v == 0 || v == missing:
		return device.LowSignal
	case v < low || v > high:
		return device.SensorFault
	}
	return ""
}

func (s *Session) report(x says) {
	at := s.stamp.Now()
	reading := func(quantity, unit string, v int, absent device.Reason) device.Reading {
		r := device.Reading{Quantity: quantity, Unit: unit, Absent: absent, Instrument: s.id, At: at, Period: device.Duration(period)}
		if absent == "" {
			r.Value = device.Decimal{Coef: int64(v)}
		}
		return r
	}
	spo2 := reading(saturation, "%", x.saturation, x.absentSaturation())
	rate := reading(pulseRate, "/min", x.rate, x.absentRate())
	s.out.Observe(health(spo2.Absent, rate.Absent))
	s.out.Observe(spo2)
	s.out.Observe(rate)
}

func health(absent ...device.Reason) device.Health {
	for _, why := range absent {
		switch why {
		case "":
		case device.SensorFault:
			return device.Health{State: device.Faulty, Reason: why}
		default:
			return device.Health{State: device.Settling, Reason: why}
		}
	}
	return device.Health{State: device.Live}
}
