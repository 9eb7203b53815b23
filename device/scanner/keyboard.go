package scanner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"telecart/device"
	"telecart/device/evdev"
)

const (
	maxTyped     = 128 // characters
	keyboardIdle = 100 * time.Millisecond
	keyboardRest = time.Second
)

func (s *scanner) runKeyboard(ctx context.Context) error {
	n, found, err := evdev.OpenPort(s.id.Port, needed()...)
	if err != nil {
		return fmt.Errorf("scanner: %w", err)
	}
	return s.watch(ctx, n, found.Serial)
}

// watch reads the node, and closes it in the end.
func (s *scanner) watch(ctx context.Context, n *evdev.Node, serial string) (err error) {
	defer func() { err = errors.Join(err, n.Close()) }()
	t := &typist{reporter: s.report(n.Name(), serial, line{limit: maxTyped, idle: keyboardIdle, rest: keyboardRest})}
	err = n.Grab(ctx, s.clock, func() { t.health(device.Health{State: device.Settling, Reason: evdev.KeyHeld}) })
	if err != nil {
		return fmt.Errorf("scanner: %w", err)
	}
	pause := s.clock.After(quiet)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-n.Events():
			if !ok {
				return fmt.Errorf("scanner: %w", n.Err())
			}
			pause = s.clock.After(t.take(e))
		case <-pause:
			pause = nil
			if len(n.Events()) == 0 { // we may have been held up, not the scanner
				t.silence()
			}
		}
	}
}

// typist turns key events into observations. It is a step machine: no I/O, no goroutine; time is the kernel's, in the
// events.
type typist struct {
	*reporter
	keys keyboard
	live bool
}

// take takes the next event, and says how long a silence is to be told.
func (t *typist) take(e evdev.Event) time.Duration {
	what, char := t.keys.take(e)
	if !t.live {
		return quiet // the end of a code whose beginning went elsewhere
	}
	switch what {
	case typed:
		t.line.add(e.At, string(rune(char)))
	case unknown:
		t.line.spoil(e.At)
	case ended:
		t.heard(t.line.end(e.At))
	}
	t.heard("", false)
	return keyboardRest
}

// silence is called when nothing has happened for as long as take said.
func (t *typist) silence() {
	if !t.live {
		t.live = true
		t.health(device.Health{State: device.Live})
		return
	}
	t.line.forget(false)
	t.heard("", false)
}
