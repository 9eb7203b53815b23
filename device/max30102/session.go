package max30102

import (
	"context"
	"math"
	"time"

	"telecart/device"
	"telecart/device/ppg"
)

// quiet is how long there may be no reading while a finger is there: the chain gives one each second of signal.
const quiet = 3 * period / 2

// chain finds pulse and saturation in light; ppg.Oximeter is one.
type chain interface {
	Push(red, ir float64) (ppg.Vitals, bool)
	Gap()
	Retime(hz float64)
}

// session is one Run's way from polls to observations.
type session struct {
	o    *oximeter
	chip chip

	chain   chain
	pace    pace
	red, ir lamp
	finger  finger
	blind   bool // the next poll has light of two currents, and is not looked at
	dirty   bool // the FIFO is to be flushed: nobody knows where in a sample it stands
	unsure  bool // the lamps are to be set again: nobody knows whether they heard us
	told    time.Time
}

func newSession(o *oximeter, c chip) *session {
	s := &session{o: o, chip: c, pace: newPace(), told: o.clock.Now()}
	s.restart()
	return s
}

// restart is after the chip was configured: lamps and everything before are as new.
func (s *session) restart() {
	s.red, s.ir, s.finger, s.blind, s.dirty, s.unsure = newLamp(), newLamp(), finger{}, false, false, false
	s.pace.cut()
	s.renew()
}

// renew takes a new chain: what was before wasn't this light.
func (s *session) renew() {
	c, err := ppg.NewOximeter(s.pace.hz, fullScale)
	if err != nil {
		panic(err) // pace.hz is always near nominalHz, which it takes
	}
	s.chain = c
}

// poll reads what has come, and says how many samples that were. A poll whose first message fails loses nothing: the
// samples wait.
func (s *session) poll(ctx context.Context) (n int, err error) {
	b, err := s.chip.backlog()
	if err != nil {
		return 0, err
	}
	now := s.o.clock.Now()
	switch {
	case b.restarted:
		s.lose()
		s.absent(device.NotYet)
		if err := s.o.start(ctx, s.chip); err != nil {
			return 0, err
		}
		s.restart()
		return 0, ErrRestart
	case b.lost:
		s.o.overflows.Add(1)
		s.lose()
		if err := s.chip.flush(); err != nil {
			return 0, err
		}
		s.dirty = false
		return 0, ErrOverflow
	case s.dirty:
		if err := s.chip.flush(); err != nil {
			return 0, err
		}
		s.dirty = false
		return 0, nil
	case b.unread == 0:
		return 0, ErrStalled
	}
	samples, err := s.chip.samples(b.unread)
	if err != nil {
		s.lose()
		return 0, err
	}
	changed, err := s.pace.take(now, len(samples))
	if err != nil {
		return 0, err
	}
	if changed {
		s.chain.Retime(s.pace.hz)
	}
	return len(samples), s.look(samples)
}

// lose says that samples are lost.
func (s *session) lose() {
	s.dirty = true
	s.pace.cut()
	s.chain.Gap()
}

// look judges the light of one poll: is there a finger, are the lamps right, what does it tell.
func (s *session) look(samples []sample) error {
	if s.unsure {
		return s.light(s.red, s.ir)
	}
	if s.blind {
		s.blind = false
		return nil
	}
	red, ir := means(samples)
	was := s.finger.on
	s.finger.judge(ir, s.ir.code)
	switch {
	case was && !s.finger.on:
		s.absent(device.NoFinger)
		return s.light(newLamp(), newLamp())
	case !s.finger.on:
		return s.light(newLamp(), newLamp())
	case !was:
		s.red.held, s.ir.held = false, false
		s.renew()
	}
	r, i := s.red, s.ir
	rc, ic := r.adjust(red), i.adjust(ir)
	if rc || ic {
		return s.light(r, i)
	}
	s.red, s.ir = r, i
	s.push(samples)
	return nil
}

// light gives the lamps other currents, if they are others.
func (s *session) light(red, ir lamp) error {
	if !s.unsure && red.code == s.red.code && ir.code == s.ir.code {
		return nil
	}
	s.unsure = true
	if err := s.chip.light(red.code, ir.code); err != nil {
		return err
	}
	s.red, s.ir, s.blind, s.unsure = red, ir, true, false
	s.o.lampSteps.Add(1)
	s.renew()
	return nil
}

func means(samples []sample) (red, ir float64) {
	for _, x := range samples {
		red, ir = red+float64(x.red), ir+float64(x.ir)
	}
	n := float64(len(samples))
	return red / n, ir / n
}

func (s *session) push(samples []sample) {
	wave := make([]int32, len(samples))
	for i, x := range samples {
		wave[i] = fullScale - x.ir // blood absorbs: a pulse is less light, and is to go up
		if v, ok := s.chain.Push(float64(x.red), float64(x.ir)); ok {
			s.vitals(v)
		}
	}
	s.o.out.Observe(device.Samples{Quantity: pleth, Unit: "1", RateHz: nominalHz, Values: wave, Instrument: s.o.id, At: s.o.stamp.Now()})
}

// remind sends an absent reading when nothing else was sent for a period.
func (s *session) remind() {
	since := s.o.clock.Now().Sub(s.told)
	switch {
	case !s.finger.on && since >= period:
		s.absent(device.NoFinger)
	case s.finger.on && since >= quiet:
		s.absent(device.NotYet)
	}
}

// vitals reports what the chain found. Until the rate of the samples was measured it is not believed.
func (s *session) vitals(v ppg.Vitals) {
	if !s.pace.known && v.Absent == "" {
		s.absent(device.NotYet)
		return
	}
	health := device.Health{State: device.Live}
	if v.Absent != "" {
		health = device.Health{State: device.Settling, Reason: v.Absent}
		if v.Absent == device.NotYet {
			health.Reason = Settling
		}
	}
	s.tell(health,
		s.reading(saturation, "%", v.Saturation, 0, v.NoSaturation),
		s.reading(rate, "/min", v.Rate, 0, v.Absent),
		s.reading(perfusion, "%", v.Perfusion, -2, v.NoPerfusion))
}

func (s *session) absent(why device.Reason) {
	health := device.Health{State: device.Settling, Reason: why}
	if why == device.NotYet {
		health.Reason = Settling
	}
	s.tell(health, s.reading(saturation, "%", 0, 0, why), s.reading(rate, "/min", 0, 0, why), s.reading(perfusion, "%", 0, -2, why))
}

// reading is rounded to a decimal place that is finer than it is accurate.
func (s *session) reading(quantity, unit string, value float64, exp int8, why device.Reason) device.Reading {
	r := device.Reading{Quantity: quantity, Unit: unit, Absent: why, Instrument: s.o.id, Period: device.Duration(period)}
	if why == "" {
		r.Value = device.Decimal{Coef: int64(math.Round(value * math.Pow10(-int(exp)))), Exp: exp}
	}
	return r
}

func (s *session) tell(h device.Health, readings ...device.Reading) {
	s.told = s.o.clock.Now()
	at := s.o.stamp.Now()
	s.o.out.Observe(h)
	for _, r := range readings {
		r.At = at
		s.o.out.Observe(r)
	}
}
