package ecg

import "math"

const (
	bandLow, bandHigh = 5.0, 15.0 // Hz: where a QRS stands out from P, T and muscle (Pan and Tompkins 1985)
	slopeBand         = 30.0      // Hz: for slopes, which tell a QRS from a T wave, and for shapes
	slopeOver         = 0.008     // s: over which a slope is taken
	squareOver        = 0.08      // s
	smoothOver        = 0.06      // s
	spikeHalf         = 0.009     // s: half of the median's window
	memory            = 1.0       // s that the rings go back

	ceiling = 1e12 // no converter has as many steps; larger values would eat the precision of the sums
)

// front turns samples into what the detector looks at. The rings are indexed by the input sample that came when they were
// written; the ...At methods take the input sample that is meant, and know how late each ring is.
type front struct {
	rate   float64
	n      int64 // samples taken
	spikes median
	band   [2]biquad
	low    biquad // to slopeBand
	above  biquad // from bandLow, after low
	bands  []float64
	lows   []float64
	clean  []float64 // the input without spikes
	shapes []float64
	square mean
	smooth mean // without it a QRS shorter than the window would have a plateau, and its peak no place
	stride int  // slopeOver in samples

	cleanLate, slopeLate int64
}

func newFront(rate float64) *front {
	f := &front{rate: rate, low: lowPass(slopeBand, rate), above: highPass(bandLow, rate)}
	f.band = [2]biquad{highPass(bandLow, rate), lowPass(bandHigh, rate)}
	f.spikes = newMedian(2*int(spikeHalf*rate) + 1)
	f.square, f.smooth = newMean(f.samples(squareOver)), newMean(f.samples(smoothOver))
	f.stride = f.samples(slopeOver)
	f.cleanLate = int64(len(f.spikes.ring) / 2)
	f.slopeLate = f.cleanLate + int64(math.Round(math.Sqrt2/(2*math.Pi*slopeBand)*rate)) + int64(f.stride)/2
	for _, ring := range []*[]float64{&f.bands, &f.lows, &f.clean, &f.shapes} {
		*ring = make([]float64, f.samples(memory))
	}
	return f
}

// samples is a time in whole samples, at least one.
func (f *front) samples(seconds float64) int { return max(1, int(math.Round(seconds*f.rate))) }

// step takes a finite sample and returns how much the QRS band moves, on the mean over the last 0.14 s.
func (f *front) step(x float64) float64 {
	x = f.spikes.step(x)
	if f.n == 0 {
		f.band[0].rest(x)
		level := f.low.rest(x)
		f.above.rest(level)
		for i := range f.clean {
			f.clean[i], f.lows[i] = x, level
		}
	}
	i := f.at(f.n)
	f.clean[i] = x
	f.lows[i] = f.low.step(x)
	f.shapes[i] = f.above.step(f.lows[i])
	f.bands[i] = f.band[1].step(f.band[0].step(x))
	d := (f.bands[i] - f.bands[f.at(f.n-int64(f.stride))]) * f.rate / float64(f.stride)
	f.n++
	return f.smooth.step(math.Sqrt(max(0, f.square.step(d*d))))
}

func (f *front) at(n int64) int {
	size := int64(len(f.clean))
	return int(((n % size) + size) % size)
}

func (f *front) cleanAt(n int64) float64 { return f.clean[f.at(n+f.cleanLate)] }

func (f *front) shapeAt(n int64) float64 { return f.shapes[f.at(n+f.slopeLate)] }

// slopeAt is per second.
func (f *front) slopeAt(n int64) float64 {
	n += f.slopeLate
	return (f.lows[f.at(n)] - f.lows[f.at(n-int64(f.stride))]) * f.rate / float64(f.stride)
}

// level is the mean around a sample.
func (f *front) level(n int64) float64 {
	half, sum := int64(f.samples(baselineLen)), 0.0
	for i := n - half; i <= n+half; i++ {
		sum += f.cleanAt(i)
	}
	return sum / float64(2*half+1)
}

// mean is a running mean. A sum that only adds and takes away would keep the rounding error of a huge value for ever; so a
// fresh sum takes its place whenever the window has gone round.
type mean struct {
	values     []float64
	i          int
	sum, fresh float64
}

func newMean(n int) mean { return mean{values: make([]float64, n)} }

func (m *mean) step(v float64) float64 {
	m.sum += v - m.values[m.i]
	m.fresh += v
	m.values[m.i] = v
	if m.i++; m.i == len(m.values) {
		m.i, m.sum, m.fresh = 0, m.fresh, 0
	}
	return m.sum / float64(len(m.values))
}

// median is a running median of an odd number of samples: it takes out what is shorter than half of them, such as a
// pacemaker's pulse, and leaves slopes as they are.
type median struct {
	ring, sorted []float64
	i            int
	begun        bool
}

func newMedian(n int) median { return median{ring: make([]float64, n), sorted: make([]float64, n)} }

func (m *median) step(x float64) float64 {
	if !m.begun {
		m.begun = true
		for i := range m.ring {
			m.ring[i], m.sorted[i] = x, x
		}
	}
	old := m.ring[m.i]
	m.ring[m.i] = x
	if m.i++; m.i == len(m.ring) {
		m.i = 0
	}
	// Slide the old value's place to where the new one belongs.
	k := 0
	for m.sorted[k] != old {
		k++
	}
	for ; k+1 < len(m.sorted) && m.sorted[k+1] < x; k++ {
		m.sorted[k] = m.sorted[k+1]
	}
	for ; k > 0 && m.sorted[k-1] > x; k-- {
		m.sorted[k] = m.sorted[k-1]
	}
	m.sorted[k] = x
	return m.sorted[len(m.sorted)/2]
}
