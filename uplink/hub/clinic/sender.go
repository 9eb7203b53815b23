package clinic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/coder/websocket"

	"telecart/device/kit"
	"telecart/uplink/link"
	"telecart/uplink/steer"
)

// Conn is what a link needs of a WebSocket. *websocket.Conn is one.
type Conn interface {
	Read(ctx context.Context) (websocket.MessageType, []byte, error)
	Write(ctx context.Context, t websocket.MessageType, p []byte) error
	Ping(ctx context.Context) error
}

const (
	// SetpointLife is how long a setpoint may still be passed on.
	SetpointLife = 500 * time.Millisecond
	maxQueue     = 64
	maxSetpoints = 16 // instruments steered at once
	writeTime    = 10 * time.Second
)

// ErrBusy: the link can't keep up. What was asked did not happen.
var ErrBusy = errors.New("clinic: the cart's link can't keep up; try again")

// sender is the bounded way out to one cart. Setpoints: the latest of each instrument wins and an old one is dropped.
// Desired state: one flag, made when it is its turn. The rest waits in order, up to maxQueue.
type sender struct {
	clock kit.Clock

	mu        sync.Mutex
	queue     []timed
	setpoints map[string]timedSetpoint
	desired   bool
	wake      chan struct{}
}

type timed struct {
	link.Message
	at   time.Time
	sent func() // called after the message was written; may be nil
}

type timedSetpoint struct {
	s  steer.Setpoint
	at time.Time
}

func newSender(clock kit.Clock) *sender {
	return &sender{clock: clock, setpoints: map[string]timedSetpoint{}, wake: make(chan struct{}, 1)}
}

func (s *sender) ring() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *sender) push(m link.Message) error { return s.pushThen(m, nil) }

// pushThen calls sent once the message was written to the connection, and never if it was not.
func (s *sender) pushThen(m link.Message, sent func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) >= maxQueue {
		return ErrBusy
	}
	s.queue = append(s.queue, timed{m, s.clock.Now(), sent})
	s.ring()
	return nil
}

// steer leaves a setpoint, unless a later one of the same lease is already there.
func (s *sender) steer(p steer.Setpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, waiting := s.setpoints[p.Instrument]
	if waiting && old.s.Epoch == p.Epoch && old.s.Seq >= p.Seq {
		return nil
	}
	if !waiting && len(s.setpoints) >= maxSetpoints {
		return ErrBusy
	}
	s.setpoints[p.Instrument] = timedSetpoint{p, s.clock.Now()}
	s.ring()
	return nil
}

func (s *sender) want() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.desired = true
	s.ring()
}

// next takes what goes out next: setpoints before all else, for they are worth nothing late. desired asks the caller to
// make the desired state. ok is false when there is nothing.
func (s *sender) next() (m timed, desired, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	for name, p := range s.setpoints {
		delete(s.setpoints, name)
		p.s.AgeMS += now.Sub(p.at).Milliseconds()
		if p.s.AgeMS < SetpointLife.Milliseconds() {
			return timed{Message: link.Message{Setpoint: &p.s}}, false, true
		}
	}
	for len(s.queue) > 0 {
		t := s.queue[0]
		s.queue = s.queue[1:]
		if t.Act != nil {
			act := *t.Act
			act.TTLMS -= now.Sub(t.at).Milliseconds()
			if act.TTLMS <= 0 {
				continue // whoever asked hears "late" from their own timer
			}
			t.Act = &act
		}
		return t, false, true
	}
	if s.desired {
		s.desired = false
		return m, true, true
	}
	return m, false, false
}

// run writes until ctx ends or a write fails.
func (s *sender) run(ctx context.Context, c Conn, desired func() *link.Desired) error {
	for {
		m, want, ok := s.next()
		if !ok {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-s.wake:
			}
			continue
		}
		if want {
			if m.Desired = desired(); m.Desired == nil {
				continue
			}
		}
		if err := write(ctx, s.clock, c, m.Message); err != nil {
			return err
		}
		if m.sent != nil {
			m.sent()
		}
	}
}

func write(ctx context.Context, clock kit.Clock, c Conn, m link.Message) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("clinic: %w", err)
	}
	if len(b) > link.MaxMessage {
		return fmt.Errorf("clinic: a message of %d bytes; the link takes %d", len(b), link.MaxMessage)
	}
	ctx, cancel := within(ctx, clock, writeTime)
	defer cancel()
	if err := c.Write(ctx, websocket.MessageText, b); err != nil {
		return fmt.Errorf("clinic: write: %w", err)
	}
	return nil
}

// within is context.WithTimeout by the given clock.
func within(ctx context.Context, clock kit.Clock, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-clock.After(d):
			cancel(context.DeadlineExceeded)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}
