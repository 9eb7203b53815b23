package supervisor

import (
	"sync"
	"sync/atomic"

	"telecart/device"
)

// Event is one thing that happened: exactly one field is set. What it points to is shared, and not to be written to.
type Event struct {
	Reading *device.Reading `json:"reading,omitempty"`
	Samples *device.Samples `json:"samples,omitempty"`
	Health  *HealthChange   `json:"health,omitempty"`
	Input   *device.Input   `json:"input,omitempty"`
}

// HealthChange says that an instrument's condition is another now.
type HealthChange struct {
	Name   string        `json:"name"`
	Kind   device.Kind   `json:"kind"`
	Health device.Health `json:"health"`
}

// Subscription is one listener's place. The latest wins: when its buffer is full the oldest event makes room, and is
// counted. A listener that sees Dropped grow takes a Snapshot, for it may have missed a withdrawal.
type Subscription struct {
	C <-chan Event // closed by Close and when Run ends

	c       chan Event
	hub     *hub
	dropped atomic.Uint64
}

// Dropped is how many events were lost so far.
func (s *Subscription) Dropped() uint64 { return s.dropped.Load() }

// Close ends the subscription. It may be called again.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if s.hub.subs[s] {
		delete(s.hub.subs, s)
		close(s.c)
	}
}

// hub hands events to subscriptions.
type hub struct {
	mu    sync.Mutex
	subs  map[*Subscription]bool
	ended bool
}

func (h *hub) subscribe(buffer int) *Subscription {
	c := make(chan Event, max(1, buffer))
	s := &Subscription{C: c, c: c, hub: h}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		close(c)
		return s
	}
	if h.subs == nil {
		h.subs = map[*Subscription]bool{}
	}
	h.subs[s] = true
	return s
}

func (h *hub) publish(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		s.offer(e)
	}
}

// offer is called under the hub's lock, so that nobody else fills the place it makes.
func (s *Subscription) offer(e Event) {
	for {
		select {
		case s.c <- e:
			return
		default:
		}
		select {
		case <-s.c:
			s.dropped.Add(1)
		default:
		}
	}
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	for s := range h.subs {
		close(s.c)
	}
	h.subs = nil
}
