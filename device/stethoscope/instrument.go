package stethoscope

import (
	"context"
	"errors"
	"sync"
	"time"

	"telecart/device"
	"telecart/device/kit"
)

// stretches is how many there are in a second.
const stretches = 50

// instrument implements device.Microphone and device.Counted.
type instrument struct {
	id     device.Identity
	clock  kit.Clock
	stamp  *kit.Stamper
	out    device.Outlet
	open   func() (source, error)
	demand chan struct{} // holds one token: an ear came

	// These belong to Run.
	next    uint64 // number of the next value
	offAt   time.Time
	pending []int16 // of the stretch that is being filled
	draw    *drawing
	watch   *watch

	mu    sync.Mutex
	there bool
	ears  map[*ear]struct{}
	counts
}

// counts only grow.
type counts struct{ values, overruns, lost, dropped, clipped uint64 }

// Counters implements device.Counted: values that were heard, times that the kernel could not keep them all, values lost in it,
// stretches that slow ears lost, and values at full scale.
func (s *instrument) Counters() map[string]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return map[string]uint64{"values": s.values, "overruns": s.overruns, "values_lost": s.lost, "stretches_dropped": s.dropped,
		"values_clipped": s.clipped}
}

// Run opens the stethoscope and serves ears until ctx ends or it fails.
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
	about := src.about()
	s.id.Model, s.id.Serial = about.Model, about.Serial
	s.out.Observe(about)
	s.isThere(true)
	defer s.isThere(false)
	s.out.Observe(device.Health{State: device.Live})
	for err == nil && ctx.Err() == nil {
		if s.wanted() {
			err = s.hear(ctx, src)
			continue
		}
		select {
		case <-s.demand:
		case <-s.clock.After(glance):
			err = src.alive()
		case <-ctx.Done():
		}
	}
	return err
}

// hear has the microphone on while there are ears, and a linger longer.
func (s *instrument) hear(ctx context.Context, src source) (err error) {
	in, err := src.listen()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	if err := s.begin(in.rate()); err != nil {
		return err
	}
	defer s.end()
	buf := make([]int16, in.rate()/stretches)
	for last := s.clock.Now(); ; {
		n, lost, err := in.read(ctx, buf)
		if err != nil {
			return err
		}
		if lost > 0 {
			s.gap(lost)
		}
		s.take(buf[:n], in.rate())
		now := s.clock.Now()
		if s.wanted() {
			last = now
		} else if now.Sub(last) >= linger {
			s.out.Observe(device.Health{State: device.Live}) // nobody knows how it would sound now
			return nil
		}
	}
}

// begin counts what would have been heard while the microphone was off: a recording that goes on afterwards shall show it.
func (s *instrument) begin(rate int) (err error) {
	if !s.offAt.IsZero() {
		s.next += max(1, uint64(max(0, s.clock.Now().Sub(s.offAt)).Seconds()*float64(rate)))
	}
	s.pending, s.watch = make([]int16, 0, rate/stretches), newWatch(rate)
	s.draw, err = newDrawing(rate)
	return err
}

func (s *instrument) end() {
	s.flush()
	s.offAt = s.clock.Now()
}

// gap is a place where values were lost: what came before goes out, and the drawing begins anew.
func (s *instrument) gap(lost uint64) {
	s.mu.Lock()
	s.overruns++
	s.lost += lost
	s.mu.Unlock()
	s.flush()
	s.next += lost
	s.draw.restart()
}

// take makes stretches of what came, however it came.
func (s *instrument) take(values []int16, rate int) {
	whole := rate / stretches
	for len(values) > 0 {
		n := min(whole-len(s.pending), len(values))
		s.pending = append(s.pending, values[:n]...)
		values = values[n:]
		if len(s.pending) == whole {
			s.flush()
		}
	}
}

// flush hands the stretch to the ears, to the eye and to the judge.
func (s *instrument) flush() {
	if len(s.pending) == 0 {
		return
	}
	sound := device.Sound{RateHz: s.watch.rate, Values: s.pending, Seq: s.next, At: s.stamp.Now()}
	s.next += uint64(len(s.pending))
	s.pending = make([]int16, 0, cap(s.pending))
	clipped, h, done := s.watch.add(sound.Values)
	s.deliver(sound, clipped)
	if x, ok := s.draw.add(sound.Values); ok {
		s.out.Observe(device.Samples{Quantity: quantity, Unit: "1", RateHz: s.draw.rate(), Values: x, Instrument: s.id, At: sound.At})
	}
	if done {
		s.out.Observe(h) // saying the same again is no news to the supervisor
	}
}

func (s *instrument) deliver(x device.Sound, clipped int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values += uint64(len(x.Values))
	s.clipped += uint64(clipped)
	for e := range s.ears {
		s.dropped += e.put(x)
	}
}
