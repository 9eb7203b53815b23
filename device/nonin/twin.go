package nonin

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"

	"golang.org/x/sys/unix"

	"telecart/device/kit"
)

// Fault is something that goes wrong with an oximeter.
type Fault int

const (
	Healthy    Fault = iota
	FingerOut        // SNSA, no values, flat pleth
	SensorOff        // SNSD: the probe's cable is out
	Motion           // ARTF and OOT while a hand moves
	Garbage          // noise instead of frames
	HalfFrames       // bytes are lost on the way
	Silent           // no byte at all
	Discharged       // STAT2 low battery; values as ever
)

// Stream makes the bytes of a patient's finger: about 112 beats a minute at 97 %, both wandering a little.
type Stream struct {
	format Format
	rng    *rand.Rand
	phase  float64 // of the heart beat, 0 to 1
	breath float64 // of respiration
	rate   float64 // beats a minute
	spo2   float64
}

// NewStream makes a stream that is the same for the same seed.
func NewStream(f Format, seed uint64) *Stream {
	return &Stream{format: f, rng: rand.New(rand.NewPCG(seed, 0)), rate: 112, spo2: 97}
}

// Packet is the next third of a second.
func (s *Stream) Packet(f Fault) Packet {
	s.rate = wander(s.rng, s.rate, 112, 3, 0.5)
	s.spo2 = wander(s.rng, s.spo2, 97, 1, 0.1)
	p := Packet{Format: s.format}
	var also byte
	rate, spo2 := int(math.Round(s.rate)), int(math.Round(s.spo2))
	switch f {
	case FingerOut:
		also, rate, spo2 = statusAlarm|statusOutOfTrack, missingRate, missingSaturation
	case SensorOff:
		also, rate, spo2 = statusNoSensor, missingRate, missingSaturation
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

// Bytes is the next third of a second on the wire.
func (s *Stream) Bytes(f Fault) []byte {
	if f == Silent {
		return nil
	}
	p := s.Packet(f)
	b := p.Append(make([]byte, 0, packetLen))
	switch f {
	case Garbage:
		for i := range b {
			b[i] = byte(s.rng.Uint32())
		}
	case HalfFrames:
		at := s.rng.IntN(packetLen - 3)
		b = append(b[:at], b[at+3:]...)
	}
	return b
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

// Twin is an oximeter behind a pseudo-terminal: Port is its serial port, which any program can open. Safe for
// concurrent use.
type Twin struct {
	clock  kit.Clock
	stream *Stream
	port   string

	mu     sync.Mutex
	fault  Fault
	master int // file descriptor; -1 once unplugged
}

// NewTwin plugs an oximeter in. Unplug must be called in the end.
func NewTwin(clock kit.Clock, f Format) (*Twin, error) {
	if f != Format2 && f != Format7 {
		return nil, fmt.Errorf("nonin: twin: data format %d: only 2 and 7 are known", f)
	}
	master, port, err := openPTY()
	if err != nil {
		return nil, err
	}
	return &Twin{clock: clock, stream: NewStream(f, 1), port: port, master: master}, nil
}

// Port is the serial port's path.
func (t *Twin) Port() string { return t.port }

// Set makes the fault, from the next packet on.
func (t *Twin) Set(f Fault) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fault = f
}

// Run sends three packets a second by the twin's clock until ctx ends or the oximeter is unplugged.
func (t *Twin) Run(ctx context.Context) error {
	for {
		if !t.send() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.clock.After(packetPeriod):
		}
	}
}

func (t *Twin) send() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.master < 0 {
		return false
	}
	// Nobody may be reading: as on a real line, what the receiver has no room for is lost.
	_, err := unix.Write(t.master, t.stream.Bytes(t.fault))
	return err == nil || err == unix.EAGAIN || err == unix.EINTR
}

// Unplug pulls the cable: the port hangs up. It may be called again.
func (t *Twin) Unplug() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.master < 0 {
		return nil
	}
	err := unix.Close(t.master)
	t.master = -1
	if err != nil {
		return fmt.Errorf("nonin: twin: %w", err)
	}
	return nil
}

// openPTY makes a pseudo-terminal, raw from the beginning so that nothing sent before it is opened is echoed back.
func openPTY() (master int, port string, err error) {
	master, err = unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, "", fmt.Errorf("nonin: twin: open /dev/ptmx: %w", err)
	}
	defer func() {
		if err != nil {
			unix.Close(master)
			master, err = -1, fmt.Errorf("nonin: twin: pseudo-terminal: %w", err)
		}
	}()
	if err = unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return
	}
	n, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err != nil {
		return
	}
	raw, err := unix.IoctlGetTermios(master, unix.TCGETS)
	if err != nil {
		return
	}
	raw.Iflag, raw.Oflag, raw.Lflag = 0, 0, 0
	raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8 | unix.CREAD | unix.CLOCAL
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err = unix.IoctlSetTermios(master, unix.TCSETS, raw); err != nil {
		return
	}
	return master, fmt.Sprintf("/dev/pts/%d", n), nil
}
