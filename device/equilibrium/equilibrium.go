// Package equilibrium decides when a contact thermometer has taken on the temperature of the skin it touches.
//
// Parties: a driver gives every conversion to its Contact and reports a number only while that says Live; twins are warmed by a
// Warmth.
//
// Invariants: there is equilibrium only after the slope, fitted by least squares over the last 10 s so that a bit of noise doesn't
// upset it, has stayed under 0.02 Cel per 10 s for as long as was asked. What is colder or hotter than skin starts it all
// over. Temperatures are thousandths of a degree Celsius. Memory is bounded whatever comes.
package equilibrium

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"telecart/device"
)

// Health reasons.
const (
	Settling     device.Reason = "settling"       // on the way to equilibrium
	NotOnPatient device.Reason = "not-on-patient" // outside the range of skin
)

const (
	coldest = 30_000 // skin under a probe is not colder,
	hottest = 45_000 // and not hotter

	slopeSpan  = 10 * time.Second
	maxSlope   = 20.0 / 10 // mCel per second
	minSamples = 5
	maxSamples = 64
)

// Option is the name of the drivers' option for how long the temperature must have been steady, in seconds.
const Option = "settle_s"

// DefaultHold is for who doesn't set the option.
const DefaultHold = 30 * time.Second

// ErrHold is what is wrong with a value of the option.
var ErrHold = errors.New("equilibrium: " + Option + ": give whole seconds from 3 to 120")

// ParseHold reads the option's value.
func ParseHold(value string) (time.Duration, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 3 || n > 120 {
		return 0, fmt.Errorf("%w, not %q", ErrHold, value)
	}
	return time.Duration(n) * time.Second, nil
}

// Contact judges one probe from its start on.
type Contact struct {
	hold    time.Duration
	first   time.Time // of the samples since the last reset
	flat    time.Time // since when it is flat; zero if it isn't
	samples []sample
}

type sample struct {
	at    time.Time
	milli int
}

// New makes a judge that wants the temperature to be steady for hold.
func New(hold time.Duration) *Contact { return &Contact{hold: hold} }

// Judge takes one conversion and says how far it is to be believed.
func (c *Contact) Judge(at time.Time, milliCel int) device.Health {
	switch {
	case milliCel < coldest || milliCel > hottest:
		*c = Contact{hold: c.hold, samples: c.samples[:0]}
		return device.Health{State: device.Settling, Reason: NotOnPatient}
	case !c.steady(at, milliCel):
		return device.Health{State: device.Settling, Reason: Settling}
	}
	return device.Health{State: device.Live}
}

func (c *Contact) steady(at time.Time, milliCel int) bool {
	if len(c.samples) == 0 {
		c.first = at
	}
	old := 0
	for old < len(c.samples) && (at.Sub(c.samples[old].at) > slopeSpan || len(c.samples)-old >= maxSamples) {
		old++
	}
	c.samples = append(c.samples[:0], c.samples[old:]...)
	c.samples = append(c.samples, sample{at, milliCel})

	if at.Sub(c.first) < slopeSpan || len(c.samples) < minSamples || math.Abs(c.slope()) >= maxSlope {
		c.flat = time.Time{}
		return false
	}
	if c.flat.IsZero() {
		c.flat = at
	}
	return at.Sub(c.flat) >= c.hold
}

// slope in mCel per second.
func (c *Contact) slope() float64 {
	var st, sv, stt, stv float64
	n := float64(len(c.samples))
	for _, s := range c.samples {
		t, v := s.at.Sub(c.samples[0].at).Seconds(), float64(s.milli-c.samples[0].milli)
		st, sv, stt, stv = st+t, sv+v, stt+t*t, stv+t*v
	}
	d := n*stt - st*st
	if d == 0 {
		return math.Inf(1)
	}
	return (n*stv - st*sv) / d
}
