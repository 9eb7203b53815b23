// Package ppg finds the pulse in photoplethysmograms, the light that a beating finger lets through: its rate, how strong it is,
// and with red and infrared together the oxygen saturation.
//
// Parties: drivers of bare optical sensors, and the analyze command, push samples and get a Result each second of signal
// time. A Chain has one channel, an Oximeter two. Both are step machines: no I/O, no clock, no goroutine.
//
// Invariants:
//   - A number passes every gate (beats.go, saturation.go) or it isn't there, with the reason why. Nothing is held, guessed or
//     repeated: each Result rests on the last 12 s of signal at most, without the time before a movement or a gap.
//   - Only samples that have come are used, and a bounded number of them is kept.
//   - Scale, offset and polarity of a Chain's samples don't matter. NaN and infinities are missing samples.
//
// What can't be told from one finger alone: a movement that is as regular as a pulse and lasts is one.
package ppg

import (
	"errors"

	"telecart/device"
)

// Limits of what the package takes and gives.
const (
	MinRateHz, MaxRateHz = 25, 1000 // samples a second
	MinPulse, MaxPulse   = 30, 250  // beats a minute
)

// Reasons for no number, besides device.NotYet (too little signal so far), device.LowSignal and device.NoFinger.
const (
	NoPulse    device.Reason = "no-pulse"     // the line is flat
	Moving     device.Reason = "moving"       // a jump, a shake, a gap
	Unlike     device.Reason = "unlike-beats" // pulses that are not alike or not evenly spaced
	StrayLight device.Reason = "stray-light"  // it may be the flicker of a lamp
	TooBright  device.Reason = "too-bright"   // the converter is near its end
	TooDark    device.Reason = "too-dark"     //
	Unlikely   device.Reason = "unlikely"     // a ratio that no finger has
)

// ErrRate: a sampling rate that can't be used.
var ErrRate = errors.New("ppg: give a sampling rate from 25 to 1000 Hz")

// Result is what is known after one more second.
type Result struct {
	Seconds int           // of signal since the first sample
	Rate    float64       // pulse, a minute; 0 if absent
	Absent  device.Reason // why there is no rate, or ""
	Match   float64       // how alike the pulses are, 0.86 to 1; 0 if absent
}

// Chain finds the pulse in one channel.
type Chain struct {
	in    intake
	watch watch
}

// New makes a chain for samples at a steady rate.
func New(rateHz float64) (*Chain, error) {
	in, err := newIntake(rateHz, 1)
	if err != nil {
		return nil, err
	}
	return &Chain{in: in}, nil
}

// Push takes one sample. Once in every second of signal it has a result.
func (c *Chain) Push(x float64) (r Result, ok bool) {
	if !c.in.take(x) {
		return Result{}, false
	}
	p := c.watch.judge(c.in.look(c.in.last(0, window)))
	return Result{Seconds: c.in.seconds, Rate: p.rate, Absent: p.absent, Match: p.match}, true
}

// Gap says that samples are missing here: what was before is forgotten.
func (c *Chain) Gap() {
	c.in.reset()
	c.watch = watch{}
}
