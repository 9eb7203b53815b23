package ad8232

import (
	"math"
	"time"

	"telecart/device"
	"telecart/device/ecg"
)

const (
	batchOf     = 100 * time.Millisecond // of waveform
	reportEvery = time.Second
	retimeBy    = 0.001 // of the rate: less is not worth telling
)

// railSteps is how near to its ends the AD8232's output counts as saturated: 50 mV.
const railSteps = 50_000 / microvoltPerStep

// session turns samples at equal distances into observations. It is a step machine: no I/O, no clock of its own.
type session struct {
	*electrocardiograph
	rate     float64 // samples a second
	toMicro  float64 // steps of the converter to uV at the electrodes
	analyzer *ecg.Analyzer
	display  *ecg.Display
	one      [1]float64
	last     float64

	watched  bool // lead-off is wired
	contact  contact
	blank    time.Time // nothing is believed before
	batch    []int32
	batched  time.Time
	reported time.Time
}

func newSession(e *electrocardiograph, rate float64, now time.Time) (*session, error) {
	s := &session{electrocardiograph: e, rate: rate, batched: now, reported: now}
	s.toMicro = microvoltPerStep / e.gain
	return s, s.begin()
}

// begin forgets what was learnt: after a gap, or when the electrodes are on again.
func (s *session) begin() (err error) {
	config := ecg.Config{RateHz: s.rate, PerMillivolt: 1000 / s.toMicro, Low: railSteps, High: supplySteps - railSteps}
	s.analyzer, err = ecg.New(config)
	if err != nil {
		return err
	}
	s.display, err = ecg.NewDisplay(s.rate, float64(s.mains))
	return err
}

// retime says what the rate is found to be now.
func (s *session) retime(hz float64) {
	if math.Abs(hz/s.rate-1) > retimeBy {
		s.rate = hz
		s.analyzer.Retime(hz)
	}
}

// contactIs takes what the lead-off lines say, if there are any.
func (s *session) contactIs(now time.Time, watched, off bool) error {
	s.watched = watched
	if !watched || !s.contact.see(now, off) {
		return nil
	}
	s.batch = nil
	s.blank = now.Add(blanking)
	reason := Settling
	if !s.contact.on {
		reason = LeadsOff
	}
	s.out.Observe(device.Health{State: device.Settling, Reason: reason})
	return s.begin()
}

// deaf: what comes now is not the heart.
func (s *session) deaf(now time.Time) bool {
	return s.watched && (!s.contact.on || now.Before(s.blank))
}

func (s *session) sample(now time.Time, v float64) {
	s.last = v
	if s.deaf(now) {
		return
	}
	s.one[0] = v
	s.analyzer.Write(s.one[:])
	y := math.Round(s.display.Step(v) * s.toMicro)
	s.batch = append(s.batch, int32(min(max(y, math.MinInt32), math.MaxInt32)))
}

// tick sends what is due.
func (s *session) tick(now time.Time) {
	if now.Sub(s.batched) >= batchOf {
		s.batched = now
		if len(s.batch) > 0 {
			s.out.Observe(device.Samples{Quantity: waveform, Unit: "uV", RateHz: s.rate, Values: s.batch,
				Instrument: s.id, At: s.stamp.Now()})
			s.batch = nil
		}
	}
	if now.Sub(s.reported) < reportEvery {
		return
	}
	s.reported = now
	if s.deaf(now) {
		s.report(0, s.deafness())
		return
	}
	s.report(s.analyzer.Rate())
}

func (s *session) deafness() device.Reason {
	if s.contact.known && !s.contact.on {
		return LeadsOff
	}
	return device.NotYet
}

func (s *session) report(perMinute float64, absent device.Reason) {
	r := device.Reading{Quantity: heartRate, Unit: "/min", Instrument: s.id, At: s.stamp.Now(),
		Period: device.Duration(reportEvery), Absent: absent}
	h := device.Health{State: device.Live}
	switch absent {
	case "":
		r.Value = device.Decimal{Coef: int64(math.Round(perMinute))}
	case device.NotYet:
		h = device.Health{State: device.Settling, Reason: Settling}
	default:
		h = device.Health{State: device.Settling, Reason: absent}
	}
	s.out.Observe(h)
	s.out.Observe(r)
}
