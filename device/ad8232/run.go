package ad8232

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"telecart/device"
)

// run is one run of the instrument: how samples are fetched. What they mean is session's.
type run struct {
	*electrocardiograph
	chip     *chip
	leadsOff []level
	checked  time.Time // when the configuration was last read back
	misses   int
}

func (r *run) start(code uint16, s signalling) error {
	if err := r.chip.start(code, s); err != nil {
		return err
	}
	r.out.Observe(device.Health{State: device.Settling, Reason: Settling})
	return nil
}

// fetch reads the last conversion and the lead-off lines; ok is false for a miss that may be forgiven.
func (r *run) fetch(now time.Time) (value float64, off, ok bool, err error) {
	if now.Sub(r.checked) >= checkEvery {
		r.checked = now
		if lost, err := r.chip.lost(); err == nil && lost {
			return 0, false, false, ErrRestarted
		}
	}
	for _, l := range r.leadsOff {
		high, err := l.High()
		if err != nil {
			return 0, false, false, err
		}
		off = off || high
	}
	raw, err := r.chip.conversion()
	if err != nil {
		r.lost.Add(1)
		if r.misses++; r.misses == maxMisses {
			return 0, off, false, err
		}
		return 0, off, false, nil
	}
	r.misses = 0
	return float64(raw), off, true, nil
}

// poll looks at a converter that runs at its fastest, by our clock.
func (r *run) poll(ctx context.Context) error {
	code, _ := rateCode(fastestRate)
	if err := r.start(code, silent); err != nil {
		return err
	}
	s, err := newSession(r.electrocardiograph, float64(r.rate), r.clock.Now())
	if err != nil {
		return err
	}
	step := time.Second / time.Duration(r.rate)
	even := resampler{step: step, widest: widestGap}
	for due := r.clock.Now().Add(step); ; due = due.Add(step) {
		now := r.clock.Now()
		if now.Sub(due) > widestGap { // the machine was busy elsewhere: don't hurry after what is lost
			due = now
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.clock.After(due.Sub(now)):
		}
		now = r.clock.Now()
		value, off, ok, err := r.fetch(now)
		if err != nil {
			return err
		}
		if err := s.contactIs(now, len(r.leadsOff) > 0, off); err != nil {
			return err
		}
		if ok {
			made, gap := even.add(now, value)
			if gap {
				r.gaps.Add(1)
				if err := s.begin(); err != nil {
					return err
				}
			}
			for _, v := range made {
				s.sample(now, v)
			}
		}
		s.tick(now)
	}
}

// follow reads each conversion when the ready line says that it is complete.
func (r *run) follow(ctx context.Context, line pulses) error {
	code, _ := rateCode(r.rate)
	if err := r.start(code, onReady); err != nil {
		return err
	}
	var (
		meter rateMeter
		count counter
		s     *session
	)
	for {
		e, err := line.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errQuiet):
			return r.silenced()
		case err != nil:
			return err
		}
		now := r.clock.Now()
		value, off, ok, err := r.fetch(now)
		if err != nil {
			return err
		}
		if !ok {
			continue // the next edge shows that one is missing
		}
		n, missed := count.add(e.n)
		meter.add(n, e.at)
		hz := meter.hz()
		if hz == 0 {
			continue
		}
		if math.Abs(hz/float64(r.rate)-1) > tolerance {
			return fmt.Errorf("%w: %.0f samples a second, not %d", ErrRate, hz, r.rate)
		}
		if s == nil {
			if s, err = newSession(r.electrocardiograph, hz, now); err != nil {
				return err
			}
		}
		s.retime(hz)
		if err := s.contactIs(now, len(r.leadsOff) > 0, off); err != nil {
			return err
		}
		if err := r.bridge(s, now, value, missed); err != nil {
			return err
		}
		s.tick(now)
	}
}

// silenced says why no edges come: perhaps the chip isn't there any more.
func (r *run) silenced() error {
	lost, err := r.chip.lost()
	switch {
	case err != nil:
		return err
	case lost:
		return ErrRestarted
	}
	return ErrQuiet
}

// bridge gives a session the sample, and before it a straight line over the few that were missed.
func (r *run) bridge(s *session, now time.Time, value float64, missed int64) error {
	r.lost.Add(uint64(missed))
	if float64(missed) > widestGap.Seconds()*s.rate {
		r.gaps.Add(1)
		if err := s.begin(); err != nil {
			return err
		}
	} else {
		for k := range missed {
			s.sample(now, s.last+(value-s.last)*float64(k+1)/float64(missed+1))
		}
	}
	s.sample(now, value)
	return nil
}

// counter makes a number that only grows of the kernel's, which has 32 bits and begins anywhere.
type counter struct {
	begun bool
	last  uint32
	n     int64
}

func (c *counter) add(n uint32) (total, missed int64) {
	if c.begun {
		apart := int64(n - c.last)
		c.n += apart
		missed = max(0, apart-1)
	}
	c.begun, c.last = true, n
	return c.n, missed
}
