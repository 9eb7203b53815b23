package evdev

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	codes "github.com/holoplot/go-evdev"

	"telecart/device"
	"telecart/device/kit"
)

// Twin is an input device with keys, simulated at the level of its node's bytes. It can be opened once at a time. Safe for
// concurrent use.
type Twin struct {
	clock kit.Clock
	own   string
	start time.Time

	mu      sync.Mutex
	keys    map[uint16]bool // true: down
	out     *os.File        // to whoever has it open
	grabbed bool
	busy    bool
	gone    bool
}

// NewTwin plugs in a device with these keys.
func NewTwin(clock kit.Clock, name string, keys ...uint16) *Twin {
	t := &Twin{clock: clock, own: name, start: clock.Now(), keys: map[uint16]bool{}}
	for _, k := range keys {
		t.keys[k] = false
	}
	return t
}

// Open is what Open does with a path.
func (t *Twin) Open() (*Node, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone {
		return nil, fmt.Errorf("%w: twin", ErrGone)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("evdev: twin: %w", err)
	}
	if t.out != nil {
		t.out.Close()
	}
	t.out = w
	return newNode("twin", r, twinControls{t}), nil
}

// Key moves a key: 1 down, 0 up, 2 it repeats.
func (t *Twin) Key(code uint16, value int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keys[code] = value != 0
	t.send(Event{Type: codes.EV_KEY, Code: code, Value: value}, Event{Type: codes.EV_SYN, Code: codes.SYN_REPORT})
}

// Tap presses a key and lets it go.
func (t *Twin) Tap(code uint16) {
	t.Key(code, 1)
	t.Key(code, 0)
}

// Lose makes the kernel tell that it dropped events.
func (t *Twin) Lose() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.send(Event{Type: codes.EV_SYN, Code: codes.SYN_DROPPED}, Event{Type: codes.EV_SYN, Code: codes.SYN_REPORT})
}

// Write sends bytes as they are: a recording, or nonsense.
func (t *Twin) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(b), t.write(b)
}

// Seize has another program grab it; Yield ends that.
func (t *Twin) Seize() { t.set(&t.busy, true) }
func (t *Twin) Yield() { t.set(&t.busy, false) }

// Grabbed says whether it is grabbed by whoever opened it.
func (t *Twin) Grabbed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.grabbed
}

// Unplug pulls the cable. It may be called again.
func (t *Twin) Unplug() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gone, t.grabbed = true, false
	if t.out != nil {
		t.out.Close()
		t.out = nil
	}
}

func (t *Twin) set(what *bool, v bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*what = v
}

// send is called under the lock, as is write.
func (t *Twin) send(events ...Event) {
	at := t.clock.Now().Sub(t.start)
	var b []byte
	for _, e := range events {
		e.At = at
		b = e.Append(b)
	}
	t.write(b) // that nobody listens is no fault of a key
}

func (t *Twin) write(b []byte) error {
	if t.out == nil {
		return errors.New("evdev: twin: nobody has it open")
	}
	if _, err := t.out.Write(b); err != nil {
		return fmt.Errorf("evdev: twin: %w", err)
	}
	return nil
}

// twinControls is what the node of a twin answers.
type twinControls struct{ t *Twin }

func (c twinControls) name() string { return c.t.own }

func (c twinControls) has(code uint16) bool {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	_, ok := c.t.keys[code]
	return ok
}

func (c twinControls) held() (bool, error) {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	if c.t.gone {
		return false, fmt.Errorf("%w: twin", ErrGone)
	}
	for _, down := range c.t.keys {
		if down {
			return true, nil
		}
	}
	return false, nil
}

func (c twinControls) grab() error {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	if c.t.busy {
		return device.Fault{Health: device.Health{State: device.Faulty, Reason: Busy},
			Err: errors.New("evdev: another program has grabbed the twin")}
	}
	c.t.grabbed = true
	return nil
}

func (c twinControls) release() error {
	c.t.set(&c.t.grabbed, false)
	return nil
}
