// Package ecg finds heart beats in one lead of an electrocardiogram and tells how fast the heart beats.
//
// Parties: a driver or a command hands in samples as they come; a screen shows what Display makes of them.
//
// How: the detector is of the family of Pan and Tompkins (IEEE Trans. Biomed. Eng. 32:230, 1985): the 5 to 15 Hz band, its
// slope squared and averaged, a threshold between what beats and what noise have been, a look back when a beat is overdue,
// 200 ms refractory, and no beat with less than half of the last one's slope where its T wave is. From Hamilton and
// Tompkins (33:1157, 1986) are medians of the last eight instead of running means, so that an artefact changes nothing,
// and that the larger of two peaks within 200 ms is the beat. Our own: amplitudes instead of energies, so that a beat of a
// fifth of the usual height is still found; the shapes of earlier beats, which let a weak beat through in noise; and a
// floor that beats must stand out of before any is reported.
//
// Invariants: causal; the same samples give the same beats however they are cut. Beats are numbered by the input's samples,
// at the R peak (the largest deflection, up or down), strictly increasing and at least 200 ms apart. A beat is known 0.3 s
// after it happened and reported within 0.4 s; one that is Late was found by looking back. A rate is never a guess: it is
// absent with a reason when leads, noise, saturation or silence make it one. Memory is bounded. No rhythm is named.
//
// What it can't do: beats in a signal buried in noise of its own band (an electrode that is moved, trembling) come with
// false ones among them, and in bursts of such noise without any ECG some are found; Rate is then absent (Noisy). White
// noise, mains hum, a flat line and a wandering one give none. Pacemaker pulses are told from beats from 120 samples a second
// on; below, one sample is as wide as a pulse. A T wave steeper than half of its QRS, a slow wide extra beat under a fifth of
// the usual size and ventricular flutter are not told right.
package ecg

import (
	"fmt"
	"math"

	"telecart/device"
)

// Sampling rates that the filters are made for.
const (
	MinRateHz = 100
	MaxRateHz = 2000
)

// Why there is no heart rate, besides device.NotYet.
const (
	Noisy     device.Reason = "ecg-noisy"     // nothing stands out
	Saturated device.Reason = "ecg-saturated" // the converter is at its end
	Flat      device.Reason = "ecg-flat"      // a line
	NoBeats   device.Reason = "ecg-no-beats"  // beats came, and none comes now
)

// Config says what the samples are.
type Config struct {
	RateHz       float64
	PerMillivolt float64 // units of a sample per mV; 0: not known, and then anything that stands out may be a beat
	Low, High    float64 // the ends of the converter, in units of a sample; both 0: not known
}

// Beat is one heart beat.
type Beat struct {
	Sample int64 // of the R peak
	Late   bool  // found by looking back
}

// Analyzer takes samples one after the other. It is not for concurrent use.
type Analyzer struct {
	detector *detector
	quality  quality
	rate     rateMeter
	last     float64 // finite sample
	n        int64
}

// New makes an analyzer that has seen nothing yet.
func New(c Config) (*Analyzer, error) {
	switch {
	case !(c.RateHz >= MinRateHz && c.RateHz <= MaxRateHz):
		return nil, fmt.Errorf("ecg: %g samples a second: give %d to %d", c.RateHz, MinRateHz, MaxRateHz)
	case !(c.PerMillivolt >= 0) || math.IsInf(c.PerMillivolt, 0):
		return nil, fmt.Errorf("ecg: gain %g: give units per millivolt, more than 0, or 0 if it is not known", c.PerMillivolt)
	case !(c.Low < c.High) && (c.Low != 0 || c.High != 0):
		return nil, fmt.Errorf("ecg: the converter's range %g to %g is empty", c.Low, c.High)
	}
	return &Analyzer{
		detector: newDetector(c.RateHz, leastHeight*c.PerMillivolt),
		quality:  newQuality(c),
		rate:     rateMeter{hz: c.RateHz},
	}, nil
}

// Write takes the next samples and returns the beats that are known now, in order. A sample that is no finite number is
// taken for missing: the last one stands in.
func (a *Analyzer) Write(samples []float64) []Beat {
	for _, x := range samples {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			x = a.last
		}
		a.take(min(max(x, -ceiling), ceiling))
	}
	return a.beats()
}

// Flush says that no more samples come, and returns the beats that were still undecided. The analyzer is done then.
func (a *Analyzer) Flush() []Beat {
	end := a.n
	for range a.detector.front.samples(0.6) {
		a.take(a.last)
	}
	beats := a.beats()
	for len(beats) > 0 && beats[len(beats)-1].Sample >= end {
		beats = beats[:len(beats)-1]
	}
	return beats
}

func (a *Analyzer) take(x float64) {
	if a.n == 0 {
		a.quality.begin(x)
	}
	a.last = x
	a.n++
	a.quality.add(x)
	a.detector.step(x)
}

func (a *Analyzer) beats() []Beat {
	found := a.detector.found
	a.detector.found = nil
	for _, b := range found {
		a.rate.add(b.Sample)
	}
	return found
}

// Retime says what the sampling rate really is, if a clock was found to run fast or slow. The filters stay.
func (a *Analyzer) Retime(rateHz float64) {
	if rateHz > 0 && !math.IsInf(rateHz, 0) {
		a.rate.hz = rateHz
	}
}

// Rate is beats per minute now, or why that can't be told.
func (a *Analyzer) Rate() (perMinute float64, absent device.Reason) {
	switch d := a.detector; {
	case a.n < int64(d.front.samples(1)):
		return 0, device.NotYet
	case a.quality.saturated():
		return 0, Saturated
	case a.quality.flat(d.lsb):
		return 0, Flat
	case d.front.n < d.unrest+int64(d.front.samples(unrestHolds)) || d.locked && !d.clean():
		return 0, Noisy
	case !d.locked:
		if d.since > 0 || d.seconds(a.n) > learnSpan {
			return 0, Noisy
		}
		return 0, device.NotYet
	}
	return a.rate.read(a.n)
}
