package voice

import (
	"context"
	"errors"
	"sync"
	"time"

	"telecart/device"
	"telecart/device/kit"
)

// instrument implements device.Microphone, device.Loudspeaker and device.Counted.
type instrument struct {
	clock kit.Clock
	stamp *kit.Stamper
	out   device.Outlet
	open  func() (source, error)

	mu      sync.Mutex
	there   bool
	ears    map[*ear]struct{}
	mouths  map[*mouth]struct{}
	changed chan struct{} // closed and made anew when somebody comes or goes
	next    uint64        // number of the next value heard
	offAt   time.Time
	pending []int16 // of the stretch that is being filled
	counts
}

// counts only grow.
type counts struct{ heard, played, dropped, underruns uint64 }

// Counters implements device.Counted: values heard and played, stretches that slow ears lost, and times that a mouth was late.
func (s *instrument) Counters() map[string]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return map[string]uint64{"values_heard": s.heard, "values_played": s.played, "stretches_dropped": s.dropped, "underruns": s.underruns}
}

// Run opens microphone and loudspeaker and serves ears and mouths until ctx ends or one of them fails.
func (s *instrument) Run(ctx context.Context) error {
	if ctx.Err() != nil {
		return nil
	}
	s.out.Observe(device.Health{State: device.Settling})
	err := s.serve(ctx)
	if ctx.Err() != nil {
		return nil
	}
	return fault(err)
}

func (s *instrument) serve(ctx context.Context) (err error) {
	src, err := s.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	s.out.Observe(src.about())
	s.isThere(true)
	defer s.isThere(false)
	s.out.Observe(device.Health{State: device.Live})
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, half := range []struct {
		wanted func() bool
		on     func(context.Context) error
	}{
		{func() bool { return len(s.ears) > 0 }, func(ctx context.Context) error { s.begin(); defer s.end(); return src.hear(ctx, s.take) }},
		{func() bool { return len(s.mouths) > 0 }, func(ctx context.Context) error { return src.play(ctx, s.fill) }},
	} {
		wg.Go(func() { cancel(s.keep(ctx, half.wanted, half.on)) })
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-s.clock.After(glance):
			if err := src.alive(); err != nil {
				cancel(err)
			}
		}
	}
	wg.Wait()
	return context.Cause(ctx)
}

// keep has one half on while somebody wants it, and a linger longer. It returns when ctx ends, or with the half's failure.
func (s *instrument) keep(ctx context.Context, wanted func() bool, on func(context.Context) error) error {
	for s.until(ctx, wanted) {
		inner, off := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- on(inner) }()
		err := s.while(inner, wanted, ended)
		off()
		if err == nil {
			err = <-ended
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// until waits for wanted; false: ctx ended first.
func (s *instrument) until(ctx context.Context, wanted func() bool) bool {
	for ctx.Err() == nil {
		s.mu.Lock()
		is, news := wanted(), s.changed
		s.mu.Unlock()
		if is {
			return true
		}
		select {
		case <-news:
		case <-ctx.Done():
		}
	}
	return false
}

// while waits until nobody has wanted it for a linger (nil), or until it ended by itself, with its error.
func (s *instrument) while(ctx context.Context, wanted func() bool, ended chan error) error {
	for {
		s.mu.Lock()
		is, news := wanted(), s.changed
		s.mu.Unlock()
		var late <-chan time.Time
		if !is {
			late = s.clock.After(linger)
		}
		select {
		case err := <-ended:
			ended <- nil
			if err == nil && ctx.Err() == nil {
				err = ErrUnplugged
			}
			return err
		case <-late:
			return nil
		case <-news:
		}
	}
}

// tell wakes everyone who waits for a change; called under the lock.
func (s *instrument) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *instrument) isThere(there bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.there = there
	for e := range s.ears {
		e.wake()
	}
	for m := range s.mouths {
		m.queue = m.queue[:0]
		m.wake()
	}
}

// begin counts what would have been heard while the microphone was off, so that it is seen as a gap.
func (s *instrument) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.offAt.IsZero() {
		s.next += max(1, uint64(max(0, s.clock.Now().Sub(s.offAt)).Seconds()*RateHz))
	}
	s.pending = s.pending[:0]
}

func (s *instrument) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offAt = s.clock.Now()
}

// take makes stretches of what came, however it came.
func (s *instrument) take(values []int16) {
	at := s.stamp.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard += uint64(len(values))
	for len(values) > 0 {
		n := min(piece-len(s.pending), len(values))
		s.pending, values = append(s.pending, values[:n]...), values[n:]
		if len(s.pending) < piece {
			return
		}
		x := device.Sound{RateHz: RateHz, Values: s.pending, Seq: s.next, At: at}
		s.pending, s.next = make([]int16, 0, piece), s.next+piece
		for e := range s.ears {
			s.dropped += e.put(x)
		}
	}
}

// fill is what the mouths say next, together.
func (s *instrument) fill(values []int16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.played += uint64(len(values))
	clear(values)
	for m := range s.mouths {
		n := min(len(m.queue), len(values))
		for i, v := range m.queue[:n] {
			values[i] = int16(min(max(int32(values[i])+int32(v), -1<<15), 1<<15-1))
		}
		if n < len(values) && m.saying {
			s.underruns++
		}
		m.saying = n == len(values)
		m.queue = m.queue[:copy(m.queue, m.queue[n:])]
		m.wake()
	}
}
