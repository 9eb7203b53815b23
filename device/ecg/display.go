package ecg

import "fmt"

const (
	displayLow  = 0.5  // Hz: no baseline
	displayHigh = 40.0 // Hz: no muscle; "monitoring quality", not for diagnosis (which takes 0.05 to 150 Hz)
	notchQ      = 30
)

// Display makes samples fit to be looked at: the monitor band of 0.5 to 40 Hz, without the mains. It is for eyes alone:
// beats are found in the signal as it came.
type Display struct {
	mains *biquad
	low   [2]biquad
	high  biquad
	begun bool
}

// NewDisplay makes filters for a rate; mainsHz is 50, 60, or 0 for none.
func NewDisplay(rateHz, mainsHz float64) (*Display, error) {
	if !(rateHz >= MinRateHz && rateHz <= MaxRateHz) {
		return nil, fmt.Errorf("ecg: %g samples a second: give %d to %d", rateHz, MinRateHz, MaxRateHz)
	}
	if mainsHz != 0 && mainsHz != 50 && mainsHz != 60 {
		return nil, fmt.Errorf("ecg: mains of %g Hz: give 50, 60, or 0 for no filter", mainsHz)
	}
	d := &Display{high: highPass(displayLow, rateHz)}
	d.low = [2]biquad{lowPassQ(displayHigh, 0.5412, rateHz), lowPassQ(displayHigh, 1.3066, rateHz)}
	// At 100 samples a second 50 Hz is half of the rate, and 60 Hz comes as 40.
	if at := mainsHz; at > 0 && at < 0.49*rateHz {
		n := notch(at, notchQ, rateHz)
		d.mains = &n
	}
	return d, nil
}

// Step takes a finite sample and returns what is shown for it. What is shown is late by some 15 ms.
func (d *Display) Step(x float64) float64 {
	if !d.begun {
		d.begun = true
		d.high.rest(x)
		if d.mains != nil {
			d.mains.rest(0)
		}
	}
	y := d.high.step(x)
	if d.mains != nil {
		y = d.mains.step(y)
	}
	for i := range d.low {
		y = d.low[i].step(y)
	}
	return y
}
