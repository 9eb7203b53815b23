package nonin

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Fault is something that goes wrong with an oximeter.
type Fault int

const (
	Healthy    Fault = iota
	FingerOut        // SNSA, no values, flat pleth
	SensorOff        // SNSD: the probe's cable is out
	Motion           // ARTF and OOT while a hand moves
	Garbage          // noise instead of packets
	HalfFrames       // bytes are lost on the way
	Silent           // no byte at all
	Discharged       // low battery; values as ever
	Noise            // bits are flipped on the way, and nothing marks them
	Chatter          // acknowledgements and replies between the frames, as if somebody else gave commands
)

const (
	spotPeriod = 5 * time.Second // between a simulated patient's spot checks
	noiseRate  = 0.01            // of all bytes
)

// Stream makes the bytes of a patient's finger: about 112 beats a minute at 97 %, both wandering a little.
type Stream struct {
	format Format
	rng    *rand.Rand
	clock  time.Time // the oximeter's own, for its records
	phase  float64   // of the heart beat, 0 to 1
	breath float64   // of respiration
	rate   float64   // beats a minute
	spo2   float64
}

// NewStream makes a stream that is the same for the same seed.
func NewStream(f Format, seed uint64) *Stream {
	clock := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	return &Stream{format: f, rng: rand.New(rand.NewPCG(seed, 0)), clock: clock, rate: 112, spo2: 97}
}

// Period is how often Bytes has something to send.
func (s *Stream) Period() time.Duration {
	switch s.format {
	case Format1, Format8:
		return shortPeriod
	case Format13:
		return spotPeriod
	}
	return packetPeriod
}

// Packet is the next third of a second, in format 2 or 7.
func (s *Stream) Packet(f Fault) Packet {
	p := Packet{Format: s.format}
	rate, spo2 := s.values(f)
	var also byte
	switch f {
	case FingerOut:
		also = statusAlarm | statusOutOfTrack
	case SensorOff:
		also = statusNoSensor
	case Motion:
		also = statusArtifact | statusOutOfTrack
	case Discharged:
		p.Data[atStatus2] |= lowBattery
	}
	for i := range framesPerPacket {
		p.Status[i] = statusMark | also
		beat, pulse := s.step()
		if f == FingerOut || f == SensorOff {
			continue
		}
		if pulse {
			p.Status[i] |= 1 << 1 // green for 12 frames, 160 ms
		}
		if p.Pleth[i] = uint16(beat * 0xFFFF); s.format == Format2 {
			p.Pleth[i] >>= 8
		}
	}
	p.Status[0] |= statusSync
	for _, at := range []int{atRate, 13, atRateDisp, 21} { // HR, E-HR, HR-D, E-HR-D
		p.Data[at], p.Data[at+1] = byte(rate>>7), byte(rate&0x7F)
	}
	for _, at := range []int{atSaturation, atSaturationDisp, 9, 10, 15, 16} { // SpO2, -D, Fast, B-B, E-, E-D
		p.Data[at] = byte(spo2)
	}
	p.Data[3] = 0x30 // SREV, the firmware's revision
	return p
}

// Short is the next second, in format 1 or 8.
func (s *Stream) Short(f Fault) Short {
	p := Short{Format: s.format}
	p.Rate, p.Saturation = s.values(f)
	switch f {
	case FingerOut:
		if p.Status = shortOutOfTrack; p.Format == Format8 {
			p.Status2 = shortAlarm
		}
	case SensorOff:
		p.Status = shortNoSensor
	case Motion:
		p.Status = shortArtifact | shortOutOfTrack
	case Discharged:
		if p.Format == Format8 {
			p.Status2 = 1
		}
	}
	return p
}

// Record is the next spot check, in format 13.
func (s *Stream) Record(f Fault) Record {
	s.clock = s.clock.Add(spotPeriod)
	r := Record{Type: 2, Measured: s.clock, Status: recordSmartPoint}
	r.Rate, r.Saturation = s.values(f)
	switch f {
	case FingerOut, SensorOff, Motion:
		r.Status = recordNoMeasurement
	case Discharged:
		r.Status |= recordLowBattery
	}
	return r
}

// Bytes is what is sent in the next Period.
func (s *Stream) Bytes(f Fault) []byte {
	switch {
	case f == Silent:
		return nil
	case s.format == Format13:
		return s.wire(s.Record(f).Append(nil), f)
	case s.format == Format1, s.format == Format8:
		return s.wire(s.Short(f).Append(nil), f)
	}
	p := s.Packet(f)
	return s.wire(p.Append(make([]byte, 0, packetLen)), f)
}

// wire is what a bad cable does to bytes.
func (s *Stream) wire(b []byte, f Fault) []byte {
	switch f {
	case Garbage:
		for i := range b {
			b[i] = byte(s.rng.Uint32())
		}
	case HalfFrames:
		lost := min(3, len(b)/2)
		at := s.rng.IntN(len(b) - lost)
		b = slices.Delete(b, at, at+lost)
	case Noise:
		for i := range b {
			if s.rng.Float64() < noiseRate {
				b[i] ^= 1 << s.rng.IntN(8)
			}
		}
	case Chatter:
		b = s.chatter(b)
	}
	return b
}

// chatter puts something between every two frames or so.
func (s *Stream) chatter(b []byte) (out []byte) {
	words := []string{"", "\x06", "\x15", "\x02", "\x02\xF4\x02\x33\x37\x03"}
	for frame := range slices.Chunk(b, frameLen) {
		out = append(append(out, frame...), words[s.rng.IntN(len(words))]...)
	}
	return out
}

func (s *Stream) values(f Fault) (rate, spo2 int) {
	s.rate = wander(s.rng, s.rate, 112, 3, 0.5)
	s.spo2 = wander(s.rng, s.spo2, 97, 1, 0.1)
	if f == FingerOut || f == SensorOff {
		return missingRate, missingSaturation
	}
	return int(math.Round(s.rate)), int(math.Round(s.spo2))
}

// step moves on by one frame: the pleth, 0 to 1, and whether the oximeter marks a pulse now. The shape is a systolic
// wave and the smaller, later one that the closing aortic valve leaves, on a baseline that breathes.
func (s *Stream) step() (beat float64, pulse bool) {
	s.phase = math.Mod(s.phase+s.rate/60/frameRate, 1)
	s.breath = math.Mod(s.breath+0.25/frameRate, 1)
	wave := func(at, width float64) float64 { d := (s.phase - at) / width; return math.Exp(-d * d / 2) }
	beat = 0.2 + 0.5*wave(0.22, 0.08) + 0.2*wave(0.52, 0.10) + 0.04*math.Sin(2*math.Pi*s.breath) + 0.005*s.rng.Float64()
	return beat, s.phase < 0.16*s.rate/60
}

func wander(rng *rand.Rand, v, home, room, step float64) float64 {
	v += (rng.Float64()*2-1)*step + (home-v)*0.02
	return min(max(v, home-room), home+room)
}
