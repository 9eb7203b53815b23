package stethoscope

import (
	"math"

	"telecart/device"
)

const (
	tolerated = 1000 // one value in so many at full scale is too many
	flatness  = 2    // steps of the converter from the least to the greatest value: no microphone is so quiet
)

// watch judges second by second what of the sound can be judged without knowing what it is of.
type watch struct {
	rate        int
	n, full     int
	least, most int16
}

func newWatch(rate int) *watch {
	w := &watch{rate: rate}
	w.reset()
	return w
}

func (w *watch) reset() { w.n, w.full, w.least, w.most = 0, 0, math.MaxInt16, math.MinInt16 }

// add says how many of the values are at full scale, and when a second is done, how it was.
func (w *watch) add(values []int16) (full int, h device.Health, done bool) {
	for _, v := range values {
		if v == math.MaxInt16 || v <= -math.MaxInt16 {
			full++
		}
		w.least, w.most = min(w.least, v), max(w.most, v)
	}
	w.full += full
	if w.n += len(values); w.n < w.rate {
		return full, h, false
	}
	h = device.Health{State: device.Live}
	switch {
	case int(w.most)-int(w.least) <= flatness:
		h = device.Health{State: device.Settling, Reason: NoSound} // a switch may bring it back: not out of order
	case w.full*tolerated > w.n:
		h.Reason = Clipping
	}
	w.reset()
	return full, h, true
}
