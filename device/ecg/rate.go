package ecg

import (
	"slices"

	"telecart/device"
)

const (
	rateSpan  = 12.0 // s of beats that count
	rateBeats = 9    // of which at most so many: eight intervals
	rateLeast = 4
	slowest   = 20.0 // a minute
	fastest   = 300.0
)

// rateMeter turns the last beats into a rate: 60 s through the mean of the middle half of their intervals. One extra beat
// or one that was missed doesn't move it, a bigeminy gives its mean, a jump from 60 to 120 is there after seven beats.
type rateMeter struct {
	hz    float64
	beats []int64
}

func (r *rateMeter) add(sample int64) {
	if len(r.beats) == rateBeats {
		r.beats = slices.Delete(r.beats, 0, 1)
	}
	r.beats = append(r.beats, sample)
}

func (r *rateMeter) read(now int64) (perMinute float64, absent device.Reason) {
	if len(r.beats) == 0 {
		return 0, device.NotYet
	}
	late := float64(now-r.beats[len(r.beats)-1])/r.hz - 0.4 // s: a beat may be on its way
	var rr []float64
	for i := 1; i < len(r.beats); i++ {
		if float64(now-r.beats[i-1])/r.hz <= rateSpan {
			rr = append(rr, float64(r.beats[i]-r.beats[i-1])/r.hz)
		}
	}
	if len(rr) > 0 && late > max(3, 1.5*slices.Max(rr)) || late > rateSpan {
		return 0, NoBeats
	}
	if len(rr)+1 < rateLeast {
		return 0, device.NotYet
	}
	if bpm := 60 / middle(rr); bpm >= slowest && bpm <= fastest {
		return bpm, ""
	}
	return 0, Noisy
}
