package cms50d

import "telecart/device"

// A packet has 5 bytes; bit 7 is set in the first alone:
//
//	1  beep  dropping  finger-out  strength(4)
//	0  pleth(7)
//	0  PR7   searching probe-error bar(4)
//	0  PR6..PR0
//	0  SpO2(7)
//
// Finger-out is "seek" in another source: in either case there is no value.
const (
	packetLen = 5
	perSecond = 60

	syncBit    = 0x80
	fingerOut  = 0x10 // of byte 0
	rateBit7   = 0x40 // of byte 2
	searching  = 0x20
	probeError = 0x10
)

// Packet is a sixtieth of a second.
type Packet struct {
	Rate, Saturation int
	Pleth            byte
	Strength         byte
	Why              device.Reason // it has no values, or ""
}

// parse reads 5 bytes.
func parse(b [packetLen]byte) Packet {
	p := Packet{
		Rate:       int(b[2]&rateBit7)<<1 | int(b[3]&0x7F),
		Saturation: int(b[4] & 0x7F),
		Pleth:      b[1] & 0x7F,
		Strength:   b[0] & 0x0F,
	}
	switch {
	case b[2]&probeError != 0:
		p.Why = device.SensorFault
	case b[0]&fingerOut != 0:
		p.Why = device.NoFinger
	case b[2]&searching != 0:
		p.Why = device.NotYet
	}
	return p
}

// Append writes the packet's bytes, as the oximeter would.
func (p Packet) Append(b []byte) []byte {
	x := [packetLen]byte{syncBit | p.Strength&0x0F, p.Pleth & 0x7F, 0, byte(p.Rate & 0x7F), byte(p.Saturation & 0x7F)}
	x[2] = byte(p.Rate>>1)&rateBit7 | p.Pleth>>3 // and the bar beside the wave
	switch p.Why {
	case device.SensorFault:
		x[2] |= probeError
	case device.NoFinger:
		x[0] |= fingerOut
	case device.NotYet:
		x[2] |= searching
	}
	return append(b, x[:]...)
}

// scanner finds packets in a stream of bytes: five from one with bit 7 to the next, no more, no less.
type scanner struct {
	b [packetLen]byte
	n int // since the last bit 7; packetLen+1 is too many
}

type step int

const (
	more step = iota
	packet
	lost // bytes that are no packet
)

func (s *scanner) take(x byte) (p Packet, did step) {
	if x&syncBit != 0 {
		switch {
		case s.n == packetLen:
			p, did = parse(s.b), packet
		case s.n > 0:
			did = lost
		}
		s.b[0], s.n = x, 1
		return p, did
	}
	switch {
	case s.n == 0:
		return p, lost
	case s.n < packetLen:
		s.b[s.n] = x
	}
	s.n = min(s.n+1, packetLen+1)
	return p, more
}
