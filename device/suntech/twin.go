package suntech

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"sync"
	"time"

	"telecart/device/kit"
	"telecart/device/pty"
)

// Arm is whom the twin measures, in mmHg and beats a minute, and how fast it does.
type Arm struct {
	Systolic, Diastolic, Mean, Rate int
	// Faster divides all times; 0 is 1. A measurement takes about half a minute.
	Faster float64
}

// Fault is something that goes wrong with a module.
type Fault int

const (
	Healthy    Fault = iota
	Mute             // it hears and does, and says nothing
	Stubborn         // its valve is stuck: the pressure rises and rises, and abort does nothing
	Leaking          // no pressure builds up: an error code in the result
	Garbled          // noise before every packet
	NeverReady       // it measures without end
)

const (
	inflateTo   = 180.0 // mmHg
	inflateRate = 45.0  // mmHg a second
	deflateRate = 6.0   //
	ventRate    = 100.0 // after an abort
)

// Twin is a module behind a pseudo-terminal: Port is its serial port, which any program can open. Its pressure follows the
// clock. Safe for concurrent use.
type Twin struct {
	clock kit.Clock
	line  *pty.Line
	arm   Arm
	ended chan struct{}

	mu       sync.Mutex
	fault    Fault
	pressure float64
	at       time.Time // of pressure
	rate     float64   // mmHg a second
	works    bool
	said     bool // K
	in       []byte
	Starts   int // measurements begun
}

// NewTwin plugs a module in; the zero Arm is 115 over 74. Unplug must be called in the end.
func NewTwin(clock kit.Clock, arm Arm) (*Twin, error) {
	line, err := pty.Open()
	if err != nil {
		return nil, err
	}
	if arm.Systolic == 0 {
		arm.Systolic, arm.Diastolic, arm.Mean, arm.Rate = 115, 74, 88, 85
	}
	if arm.Faster == 0 {
		arm.Faster = 1
	}
	t := &Twin{clock: clock, line: line, arm: arm, at: clock.Now(), ended: make(chan struct{})}
	go t.serve()
	return t, nil
}

// Port is the serial port's path.
func (t *Twin) Port() string { return t.line.Path() }

// Set makes the fault.
func (t *Twin) Set(f Fault) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fault = f
}

// Pressure is the cuff's, in mmHg.
func (t *Twin) Pressure() float64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance()
	return t.pressure
}

// Unplug pulls the cable and waits until the twin has noticed. The air goes out, as it does without power.
func (t *Twin) Unplug() error {
	err := t.line.Close()
	<-t.ended
	return err
}

func (t *Twin) serve() {
	defer close(t.ended)
	var buf [64]byte
	for {
		n, err := t.line.Read(buf[:])
		switch {
		case errors.Is(err, fs.ErrClosed):
			return
		case err != nil: // nobody has the port open yet, or any more
			<-time.After(5 * time.Millisecond) // real time: it is the kernel we wait for
			continue
		}
		t.hear(buf[:n])
	}
}

// hear takes requests. A request has no length: what it is follows from its first byte.
func (t *Twin) hear(b []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance()
	t.in = append(t.in, b...)
	for len(t.in) >= 3 {
		n := 3
		if t.in[1] == 0x79 {
			n = 5
		}
		switch {
		case t.in[0] != fromHost:
			t.in = t.in[1:]
			continue
		case len(t.in) < n:
			return
		case checksum(t.in[:n]) != 0:
			t.in = t.in[1:]
			continue
		}
		t.answer(t.in[1 : n-1])
		t.in = t.in[n:]
	}
}

func (t *Twin) answer(cmd []byte) {
	switch {
	case cmd[0] == 0x20:
		t.Starts++
		t.works, t.said, t.rate = true, false, inflateRate
		t.say([]byte{'O'})
	case len(cmd) == 3 && cmd[1] == askPressure[1]:
		t.say(binary.LittleEndian.AppendUint16(nil, uint16(math.Round(t.pressure))))
		if t.said { // it is done, and says so once it is asked for anything
			t.said = false
			t.say([]byte{statusDone})
		}
	case len(cmd) == 3 && cmd[1] == abort[1]:
		if t.fault != Stubborn {
			if t.works {
				t.say([]byte{statusAborted})
			}
			t.works, t.rate = false, -ventRate
		}
	case len(cmd) == 3 && cmd[1] == askResult[1]:
		t.say(t.result())
	}
}

func (t *Twin) result() []byte {
	d := make([]byte, resultLen)
	binary.LittleEndian.PutUint16(d[0:], uint16(t.arm.Systolic))
	binary.LittleEndian.PutUint16(d[2:], uint16(t.arm.Diastolic))
	d[4] = 30
	d[14] = byte(t.arm.Rate)
	binary.LittleEndian.PutUint16(d[16:], uint16(t.arm.Mean))
	if t.fault == Leaking {
		d[18] = 2
	}
	return d
}

// packet wraps the module's data.
func packet(data []byte) []byte {
	b := append([]byte{fromModule, byte(len(data) + 3)}, data...)
	return append(b, checksum(b))
}

func (t *Twin) say(data []byte) {
	if t.fault == Mute {
		return
	}
	b := packet(data)
	if t.fault == Garbled {
		b = append([]byte{0xFF, fromModule, 0x18, 0x00, fromModule}, b...)
	}
	_, _ = t.line.Write(b) // who listens no more misses it
}

// advance lets the air flow until now.
func (t *Twin) advance() {
	now := t.clock.Now()
	dt := now.Sub(t.at).Seconds() * t.arm.Faster
	t.at = now
	for dt > 0 && t.rate != 0 {
		goal := 0.0
		if t.rate > 0 {
			goal = inflateTo
			if t.fault == Stubborn {
				goal = 500
			}
		} else if t.works {
			goal = float64(t.arm.Diastolic) - 15
		}
		need := (goal - t.pressure) / t.rate
		if need > dt {
			t.pressure += t.rate * dt
			return
		}
		t.pressure, dt = goal, dt-max(need, 0)
		switch {
		case t.works && t.rate > 0:
			t.rate = -deflateRate
			if t.fault == Stubborn {
				t.rate = 0
			}
		case t.works && t.fault != NeverReady:
			t.works, t.said, t.rate = false, true, -ventRate
		default:
			t.rate = 0
		}
	}
}
