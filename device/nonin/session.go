package nonin

import (
	"time"

	"telecart/device"
)

const (
	staleAfter     = 3 * time.Second // without a packet
	perfusionHolds = 3 * time.Second // a pulse's colour; slow hearts beat less than once a packet
)

// Health reasons, besides the absent reasons of package device.
const (
	UnknownFormat device.Reason = "unknown-format" // bytes, but no packet of format 2 or 7
	Settling      device.Reason = "settling"       // waiting for the first packet
	BatteryLow    device.Reason = "battery-low"    // still live
)

// session turns bytes and time into observations. It is a step machine: no I/O, no goroutine, no clock of its own.
type session struct {
	*oximeter
	decoders []*Decoder // both until a packet says which
	last     time.Time  // of the last packet, or when the waiting began
	bytes    int        // since then

	perfusion   string
	perfusionAt time.Time
}

func newSession(o *oximeter, now time.Time) *session {
	s := &session{oximeter: o}
	s.detect(now)
	o.out.Observe(device.Health{State: device.Settling, Reason: Settling})
	return s
}

// detect begins to look for either format.
func (s *session) detect(now time.Time) {
	s.decoders = []*Decoder{NewDecoder(Format2), NewDecoder(Format7)}
	s.last, s.bytes = now, 0
}

// take is called with what arrived by now, or with nothing.
func (s *session) take(now time.Time, b []byte) {
	s.bytes += len(b)
	for _, d := range s.decoders {
		packets := d.Write(b)
		for i := range packets {
			s.report(now, &packets[i])
		}
		if len(packets) > 0 {
			s.decoders, s.last, s.bytes = []*Decoder{d}, now, 0
			break
		}
	}
	if now.Sub(s.last) < staleAfter {
		return
	}
	// Nothing we know for 3 s. It may come back in another format: another oximeter on the same cable.
	h := device.Health{State: device.Absent, Reason: device.NoData}
	if s.bytes >= packetLen {
		h = device.Health{State: device.Faulty, Reason: UnknownFormat}
	}
	s.out.Observe(h)
	s.detect(now)
}

func (s *session) report(now time.Time, p *Packet) {
	if q := p.perfusion(); q != "" {
		s.perfusion, s.perfusionAt = q, now
	} else if now.Sub(s.perfusionAt) > perfusionHolds {
		s.perfusion = ""
	}
	at := s.stamp.Now()
	spo2 := device.Reading{Quantity: saturation, Unit: "%"}
	rate := device.Reading{Quantity: pulseRate, Unit: "/min"}
	absent := p.absent()
	for _, x := range []struct {
		r                       *device.Reading
		value, low, high, blank int
	}{
		{&spo2, p.Saturation(), 1, 100, missingSaturation},
		{&rate, p.Rate(), 18, 321, missingRate}, // the range that the maker specifies
	} {
		x.r.Instrument, x.r.At, x.r.Period, x.r.Absent = s.id, at, device.Duration(packetPeriod), absent
		switch {
		case absent != "":
		case x.value == x.blank:
			x.r.Absent = device.LowSignal
		case x.value < x.low || x.value > x.high:
			x.r.Absent = device.SensorFault
		default:
			x.r.Value, x.r.Quality = device.Decimal{Coef: int64(x.value)}, s.perfusion
		}
	}
	s.out.Observe(health(p, spo2.Absent, rate.Absent))
	if absent != device.NoSensor && absent != device.NoFinger {
		values := make([]int32, framesPerPacket)
		for i, v := range p.Pleth {
			values[i] = int32(v)
		}
		s.out.Observe(device.Samples{Quantity: pleth, Unit: "1", RateHz: frameRate, Values: values, Instrument: s.id, At: at})
	}
	s.out.Observe(spo2)
	s.out.Observe(rate)
}

// absent is why nothing in the packet is to be believed, or "".
func (p *Packet) absent() device.Reason {
	switch {
	case p.any(statusNoSensor):
		return device.NoSensor
	case p.any(statusAlarm):
		return device.NoFinger
	case p.any(statusOutOfTrack | statusArtifact):
		return device.LowSignal
	}
	return ""
}

// health tells of a packet. An oximeter that has no value is not live, however well it talks.
func health(p *Packet, absent ...device.Reason) device.Health {
	for _, why := range absent {
		switch why {
		case "":
		case device.NoSensor, device.SensorFault:
			return device.Health{State: device.Faulty, Reason: why}
		default:
			return device.Health{State: device.Settling, Reason: why}
		}
	}
	if p.LowBattery() {
		return device.Health{State: device.Live, Reason: BatteryLow}
	}
	return device.Health{State: device.Live}
}
