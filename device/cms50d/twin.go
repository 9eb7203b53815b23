package cms50d

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"telecart/device"
	"telecart/device/kit"
	"telecart/device/pty"
)

// Fault is something that goes wrong with an oximeter.
type Fault int

const (
	Healthy    Fault = iota
	FingerOut        // no values, flat pleth
	Searching        // the finger is in, no values yet
	ProbeError       //
	NoValues         // zeros, and nothing that says why
	Garbage          // noise instead of packets
	Noise            // bits are flipped on the way, and nothing marks them
	HalfFrames       // bytes are lost on the way
	Silent           // no byte at all
)

const (
	batch     = 4    // packets that are sent together
	noiseRate = 0.01 // of all bytes
)

// Stream makes the bytes of a patient's finger: about 84 beats a minute at 96 %, both wandering a little.
type Stream struct {
	rng        *rand.Rand
	n          int // packets until now
	phase      float64
	rate, spo2 int
}

// NewStream makes a stream that is the same for the same seed.
func NewStream(seed uint64) *Stream {
	return &Stream{rng: rand.New(rand.NewPCG(seed, 0)), rate: 84, spo2: 96}
}

// Packet is the next sixtieth of a second.
func (s *Stream) Packet(f Fault) Packet {
	if s.n++; s.n%perSecond == 0 {
		s.rate = min(max(s.rate+s.rng.IntN(3)-1, 78), 90)
	}
	if s.n%(5*perSecond) == 0 {
		s.spo2 = min(max(s.spo2+s.rng.IntN(3)-1, 95), 98)
	}
	s.phase = math.Mod(s.phase+float64(s.rate)/60/perSecond, 1)
	wave := func(at, width float64) float64 { d := (s.phase - at) / width; return math.Exp(-d * d / 2) }
	p := Packet{Rate: s.rate, Saturation: s.spo2, Strength: 5, Pleth: byte(20 + 80*wave(0.22, 0.08) + 25*wave(0.52, 0.1))}
	switch f {
	case FingerOut:
		p = Packet{Rate: noRate, Saturation: noSaturation, Why: device.NoFinger}
	case Searching:
		p.Rate, p.Saturation, p.Why = noRate, noSaturation, device.NotYet
	case ProbeError:
		p = Packet{Why: device.SensorFault}
	case NoValues:
		p.Rate, p.Saturation = 0, 0
	}
	return p
}

// Bytes is the next fifteenth of a second on the wire.
func (s *Stream) Bytes(f Fault) (b []byte) {
	for range batch {
		b = s.Packet(f).Append(b)
	}
	switch f {
	case Silent:
		return nil
	case Garbage:
		for i := range b {
			b[i] = byte(s.rng.Uint32())
		}
	case Noise:
		for i := range b {
			if s.rng.Float64() < noiseRate {
				b[i] ^= 1 << s.rng.IntN(8)
			}
		}
	case HalfFrames:
		at := s.rng.IntN(len(b) - 3)
		b = slices.Delete(b, at, at+3)
	}
	return b
}

// Twin is an oximeter behind a pseudo-terminal: Port is its serial port, which any program can open. Safe for
// concurrent use.
type Twin struct {
	clock  kit.Clock
	stream *Stream
	line   *pty.Line

	mu    sync.Mutex
	fault Fault
	gone  bool
}

// NewTwin plugs an oximeter in. Unplug must be called in the end.
func NewTwin(clock kit.Clock) (*Twin, error) {
	l, err := pty.Open()
	if err != nil {
		return nil, err
	}
	return &Twin{clock: clock, stream: NewStream(1), line: l}, nil
}

// Port is the serial port's path.
func (t *Twin) Port() string { return t.line.Path() }

// Set makes the fault, from the next packets on.
func (t *Twin) Set(f Fault) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fault = f
}

// Run sends by the twin's clock until ctx ends or the oximeter is unplugged.
func (t *Twin) Run(ctx context.Context) error {
	for {
		if !t.send() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.clock.After(batch * time.Second / perSecond):
		}
	}
}

func (t *Twin) send() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone {
		return false
	}
	_, err := t.line.Write(t.stream.Bytes(t.fault))
	return err == nil
}

// Unplug pulls the cable: the port hangs up. It may be called again.
func (t *Twin) Unplug() error { return t.unplug(nil) }

// Tear pulls the cable in the middle of a packet.
func (t *Twin) Tear() error { return t.unplug([]byte{syncBit | 5, 60, 3}) }

func (t *Twin) unplug(last []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.gone && len(last) > 0 {
		_, _ = t.line.Write(last)
	}
	t.gone = true
	return t.line.Close()
}
