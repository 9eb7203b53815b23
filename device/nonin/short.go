package nonin

import (
	"time"

	"telecart/device"
)

// Formats 1 and 8 send 3 or 4 bytes a second, without a checksum (pastebin.com/7WvErGqY, mattjlewis' DataFormat8Serialiser):
//
//	1  SNSD OOT LPRF MPRF ARTF HR8 HR7
//	0  HR6..HR0
//	0  SpO2
//	0  STATUS2 (format 8 alone): b5 SmartPoint, b2 spot-check mode, b1 battery critical, b0 battery low
//
// STATUS2 b3: "sensor fault" in one source, the sensor alarm SNSA of the other formats in two, which is set when the
// finger is out. It is taken for the alarm: whoever looks at the finger sees a bad sensor too, and not the other way
// round.
const (
	shortNoSensor   = 1 << 6
	shortOutOfTrack = 1 << 5
	shortLow        = 1 << 4 // LPRF: low or no signal
	shortMarginal   = 1 << 3 // MPRF
	shortArtifact   = 1 << 2
	shortAlarm      = 1 << 3 // of STATUS2
	shortBattery    = 3 << 0 // of STATUS2: low or critical

	shortPeriod = time.Second
)

// Short is a packet of format 1 or 8.
type Short struct {
	Format           Format
	Status, Status2  byte
	Rate, Saturation int
}

// parseShort reads bytes that are one packet and nothing else, with values that an oximeter can send.
func parseShort(b []byte) (s Short, ok bool) {
	switch len(b) {
	case 3:
		s.Format = Format1
	case 4:
		s.Format, s.Status2 = Format8, b[3]
	default:
		return s, false
	}
	for i, x := range b {
		if x&0x80 != 0 != (i == 0) {
			return s, false
		}
	}
	s.Status, s.Rate, s.Saturation = b[0], int(b[0]&0x03)<<7|int(b[1]), int(b[2])
	return s, (s.Rate == missingRate || s.Rate >= lowestRate && s.Rate <= highestRate) &&
		(s.Saturation == missingSaturation || s.Saturation >= lowestSaturation && s.Saturation <= highestSaturation)
}

// Append writes the packet's bytes, as the oximeter would.
func (s Short) Append(b []byte) []byte {
	b = append(b, 0x80|s.Status|byte(s.Rate>>7)&0x03, byte(s.Rate)&0x7F, byte(s.Saturation)&0x7F)
	if s.Format == Format8 {
		b = append(b, s.Status2)
	}
	return b
}

func (s Short) measured() measured {
	m := measured{period: shortPeriod, rate: value{n: s.Rate}, saturation: value{n: s.Saturation}}
	m.batteryLow = s.Status2&shortBattery != 0
	switch {
	case s.Status&shortNoSensor != 0:
		m.absent = device.NoSensor
	case s.Status2&shortAlarm != 0:
		m.absent = device.NoFinger
	case s.Status&shortOutOfTrack != 0:
		m.absent = device.LowSignal
	}
	switch {
	case s.Status&shortArtifact != 0:
		m.pulse = m.pulse.and(artifact)
	case s.Status&shortLow != 0:
		m.pulse = m.pulse.and(red)
	case s.Status&shortMarginal != 0:
		m.pulse = m.pulse.and(yellow)
	case s.Rate != missingRate:
		m.pulse = m.pulse.and(green)
	}
	return m
}

// How far the values of two packets, a second apart, may differ and still speak for each other. They are averages of
// four beats.
const (
	rateStep       = 20
	saturationStep = 5

	shortsToLock = 3
	shortTooSoon = 750 * time.Millisecond // between two packets
	shortTooLate = 1250 * time.Millisecond
	shortSilence = 500 * time.Millisecond // before and after a packet
	shortLasts   = 50 * time.Millisecond  // four bytes take 4; an adapter hands them on within 16
)

// shorts tells packets of format 1 or 8 from bytes that look like them.
//
// A packet stands alone: half a second of silence before it, half a second after it, and silence is what was seen
// (package line), so that bytes which wait unread can't make one. Formats 2 and 7 send a frame every 13 ms: as long as
// no cable takes half a second out of such a stream, before and after just the right four bytes, nothing in it is ever a
// packet of format 1 or 8; and while the format isn't known yet, three of them in a row, one a second, must go together.
// Once it is, anything else that comes is dropped. Two of the three last packets must agree about a value: one bit that
// was flipped on the way is absent for a second, not a number.
type shorts struct {
	format Format // the one found; 0: none yet
	run    int    // packets in a row
	last   [2]Short
	at     time.Time // when the last one began
}

// take judges a burst. It returns what a packet says, once the format is sure.
func (s *shorts) take(b *burst, formats []Format) (m measured, sure bool) {
	p, ok := parseShort(b.bytes)
	ok = ok && b.n == len(b.bytes) && b.ended.Sub(b.began) <= shortLasts
	if !ok || !allows(formats, p.Format) || s.format != 0 && p.Format != s.format {
		if s.format == 0 {
			*s = shorts{}
		}
		return m, false
	}
	gap := b.began.Sub(s.at)
	inStep := gap >= shortTooSoon && gap <= shortTooLate && p.Format == s.last[0].Format && speaksFor(p, s.last[0])
	before := s.last
	s.last, s.at = [2]Short{p, s.last[0]}, b.began
	if s.format == 0 {
		if s.run++; !inStep {
			s.run = 1
		}
		if s.run < shortsToLock {
			return m, false
		}
		s.format = p.Format
	}
	m = p.measured()
	for _, x := range []struct {
		v       *value
		of      func(Short) int
		step    int
		missing int
	}{
		{&m.rate, func(p Short) int { return p.Rate }, rateStep, missingRate},
		{&m.saturation, func(p Short) int { return p.Saturation }, saturationStep, missingSaturation},
	} {
		if x.v.n != x.missing && !near(x.v.n, x.of(before[0]), x.step) && !near(x.v.n, x.of(before[1]), x.step) {
			x.v.held = device.NotYet
		}
	}
	return m, true
}

// speaksFor says whether two packets can follow each other while the format isn't sure.
func speaksFor(p, q Short) bool {
	return (near(p.Rate, q.Rate, rateStep) || p.Rate == missingRate || q.Rate == missingRate) &&
		(near(p.Saturation, q.Saturation, saturationStep) || p.Saturation == missingSaturation || q.Saturation == missingSaturation)
}

func near(a, b, step int) bool { return max(a-b, b-a) <= step }
