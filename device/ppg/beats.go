package ppg

import (
	"math"
	"slices"

	"telecart/device"
)

// The gates. Each was set so that no number is false over the grid of grid_test.go and hours of noise, then widened as far as that
// holds.
const (
	minIntervals  = 4
	maxIntervals  = 0.30 // how far any interval may be from the median, as a share
	echoRate      = 50   // Hz, enough to tell one rate from the next
	echoWidth     = 0.15 // share of a lag: half the base of a triangle
	minEcho       = 0.35 // autocorrelation at the period
	laterEcho     = 0.20 // how much more at twice the period: then that is the period
	minBeat       = 0.30 // a beat's slope, of the steepest around it
	wholeBeat     = 0.60 // the first and last beat's slope, of the usual one
	soon          = 0.48 // seconds after a beat within which its second wave comes,
	maxSoon       = 0.45 // which rises by so much of the beat's slope at most;
	maxLate       = 0.25 // what comes later, by so much
	minMatch      = 0.86 // reference 7
	minAlike      = 0.80 // share of beats that match by at least goodMatch
	goodMatch     = 0.70
	maxAlternate  = 0.70 // every second beat over the others, below which they are two sorts
	roomShape     = 0.14 // each of the three is a pulse's whole room, as a share;
	roomHeights   = 0.35
	roomIntervals = 0.12
	maxUneven     = 0.12 // variation of many intervals,
	minUneven     = 0.04 // and of none, and 0.01 more of each
	minUnsteady   = 1.3  // and so many rooms, between the three, the fewest intervals may need,
	perInterval   = 0.06 // and so much more each further interval
	maxUnsteady   = 2.0  // up to this
	countAgrees   = 5    // beats a minute between the count and the echo; reference 7
	overdue       = 1.7  // periods since the last beat
	slowSine      = 1.6  // crest that a pulse under slowRate has, and breathing has not
	slowRate      = 45
	shortestSpan  = 0.8 // seconds of a beat's template: at high rates several beats
	loudWindow    = 1.2 // seconds to both sides over which slopes are evened out
)

// beatsIn looks for a steady pulse in slopes.
func beatsIn(v []float64, hz float64) pulse {
	v = upward(v)
	u := even(v, hz)
	step := 1
	if hz >= 2*echoRate {
		step = 2
	}
	r := echo(thin(u, step), int(120*1.1/MinPulse*hz)/step)
	why := device.LowSignal
	for _, lag := range periods(r, hz/float64(step)) {
		if twice := int(math.Round(2 * lag)); twice < len(r) && r[twice] > r[int(math.Round(lag))]+laterEcho {
			why = Unlike
			continue
		}
		p := pulse{period: lag * float64(step)}
		p.absent = p.measure(v, u, hz)
		if p.absent == "" {
			return p
		}
		why = p.absent
	}
	return pulse{absent: why}
}

// upward turns the slopes so that the steep side of a pulse rises: the sign of their skewness.
func upward(v []float64) []float64 {
	skew := 0.0
	for _, s := range v {
		skew += s * s * s
	}
	out := slices.Clone(v)
	if skew < 0 {
		for i := range out {
			out[i] = -out[i]
		}
	}
	return out
}

// even divides by the steepest slope around, so that weak beats count as much as strong ones.
func even(v []float64, hz float64) []float64 {
	w := int(loudWindow * hz)
	u := make([]float64, len(v))
	var high []int // a queue of falling maxima
	for i, next := 0, 0; i < len(v); i++ {
		for ; next < len(v) && next <= i+w; next++ {
			for len(high) > 0 && math.Abs(v[high[len(high)-1]]) <= math.Abs(v[next]) {
				high = high[:len(high)-1]
			}
			high = append(high, next)
		}
		for high[0] < i-w {
			high = high[1:]
		}
		if top := math.Abs(v[high[0]]); top > 0 {
			u[i] = v[i] / top
		}
	}
	return u
}

// echo is the autocorrelation of what rises, normed for each lag to what overlaps. Hearts breathe: the longer the lag, the wider
// it is averaged.
func echo(u []float64, lags int) []float64 {
	u = rising(u)
	power := make([]float64, len(u)+1) // of all before
	for i, s := range u {
		power[i+1] = power[i] + s*s
	}
	r := make([]float64, min(lags, len(u)-1)+1)
	for lag := range r {
		ab := 0.0
		for i, s := range u[lag:] {
			ab += s * u[i]
		}
		if aa, bb := power[len(u)-lag], power[len(u)]-power[lag]; aa > 0 && bb > 0 {
			r[lag] = ab / math.Sqrt(aa*bb)
		}
	}
	out := make([]float64, len(r))
	for lag := range r {
		w := 1 + echoWidth*float64(lag)
		sum, weight := r[lag]*w, w
		for k := 1; float64(k) < w && k < lag && lag+k < len(r); k++ {
			sum, weight = sum+(w-float64(k))*(r[lag-k]+r[lag+k]), weight+2*(w-float64(k))
		}
		out[lag] = sum / weight
	}
	return out
}

// thin keeps every so manyth.
func thin(u []float64, step int) []float64 {
	out := make([]float64, 0, len(u)/step+1)
	for i := 0; i < len(u); i += step {
		out = append(out, u[i])
	}
	return out
}

// rising is the positive part without its mean.
func rising(u []float64) []float64 {
	out := make([]float64, len(u))
	for i := range out {
		out[i] = max(u[i], 0)
	}
	m := mean(out)
	for i := range out {
		out[i] -= m
	}
	return out
}

// periods are the lags that may be the pulse's, shortest first.
func periods(r []float64, hz float64) (out []float64) {
	best := 0.0
	low, high := int(60*hz/MaxPulse)-1, min(int(60*hz/MinPulse)+2, len(r)-2)
	for lag := max(low, 1); lag <= high; lag++ {
		best = max(best, r[lag])
	}
	for lag := max(low, 1); lag <= high && len(out) < 4; lag++ {
		if r[lag] >= max(minEcho, 0.6*best) && r[lag] >= r[lag-1] && r[lag] > r[lag+1] {
			out = append(out, float64(lag)+vertex(r[lag-1], r[lag], r[lag+1]))
		}
	}
	return out
}

// vertex is where the parabola through three points has its top, from the middle one.
func vertex(a, b, c float64) float64 {
	if d := a - 2*b + c; d != 0 {
		return min(max((a-c)/2/d, -0.5), 0.5)
	}
	return 0
}

// measure takes a period for granted and says what speaks against it, or "".
func (p *pulse) measure(v, u []float64, hz float64) device.Reason {
	p.beats = whole(u, tops(u, p.period))
	if len(p.beats) <= minIntervals {
		return device.LowSignal
	}
	if float64(len(v)-p.beats[len(p.beats)-1]) > overdue*p.period {
		return device.LowSignal
	}
	at := make([]float64, len(p.beats))
	for i, b := range p.beats {
		at[i] = float64(b) + vertex(v[b-1], v[b], v[b+1])
	}
	gaps := make([]float64, len(at)-1)
	for i := range gaps {
		gaps[i] = at[i+1] - at[i]
	}
	mid := median(gaps)
	for _, g := range gaps {
		if math.Abs(g-mid) > maxIntervals*mid {
			return Unlike
		}
	}
	rate := 60 * hz * float64(len(gaps)) / (at[len(at)-1] - at[0])
	if math.Abs(rate-60*hz/p.period) > countAgrees {
		return Unlike
	}
	if rate < MinPulse || rate > MaxPulse {
		return device.LowSignal
	}
	if p.between(u, hz) || p.alternates(v) {
		return Unlike
	}
	share := 0.0
	p.match, share = p.alike(v, hz)
	if p.match < minMatch || share < minAlike {
		return device.LowSignal
	}
	if p.unsteady(v, gaps) {
		return Unlike
	}
	if p.crest = crest(v); rate < slowRate && p.crest < slowSine {
		return device.LowSignal
	}
	p.rate, p.size = rate, p.steepness(v, 0)
	return ""
}

// tops are the steepest places that no other within half a period outdoes.
func tops(u []float64, period float64) (out []int) {
	w := int(0.45 * period)
	for i := 1; i+1 < len(u); i++ {
		if u[i] < minBeat || u[i] < u[i-1] || u[i] <= u[i+1] {
			continue
		}
		if n := len(out); n > 0 && i-out[n-1] <= w {
			if u[i] > u[out[n-1]] {
				out[n-1] = i
			}
			continue
		}
		out = append(out, i)
	}
	return out
}

// whole leaves out what stands at either end, where no beat outdoes a second wave.
func whole(u []float64, beats []int) []int {
	heights := make([]float64, len(beats))
	for i, b := range beats {
		heights[i] = u[b]
	}
	limit := wholeBeat * median(heights)
	for len(beats) > 0 && u[beats[0]] < limit {
		beats = beats[1:]
	}
	for len(beats) > 0 && u[beats[len(beats)-1]] < limit {
		beats = beats[:len(beats)-1]
	}
	return beats
}

// between says that something rises between the beats, in the mean over all intervals, that may be a beat itself: early and weak, or
// every second one if the period is too long. A second wave comes soon and is low.
func (p *pulse) between(u []float64, hz float64) bool {
	shortest := len(u)
	for i := range p.beats[1:] {
		shortest = min(shortest, p.beats[i+1]-p.beats[i])
	}
	sum := make([]float64, shortest)
	for _, b := range p.beats[:len(p.beats)-1] {
		for k := range sum {
			sum[k] += u[b+k]
		}
	}
	for k := shortest / 5; k < shortest*17/20; k++ {
		limit := maxSoon
		if float64(k) > soon*hz {
			limit = maxLate
		}
		if sum[k] > limit*sum[0] && sum[k] > sum[k-1] && sum[k] >= sum[k+1] {
			return true
		}
	}
	return false
}

// alternates says that every second beat is of another sort.
func (p *pulse) alternates(v []float64) bool {
	var sort [2][]float64
	for i, b := range p.beats {
		sort[i%2] = append(sort[i%2], v[b])
	}
	a, b := median(sort[0]), median(sort[1])
	return min(a, b) < maxAlternate*max(a, b)
}

// alike compares each beat with the mean of the others: the median correlation, and the share of good ones.
func (p *pulse) alike(v []float64, hz float64) (mid, share float64) {
	before, after := int(0.25*p.period), int(max(0.65*p.period, shortestSpan*hz-0.25*p.period))
	var all [][]float64
	for _, b := range p.beats {
		if b-before >= 0 && b+after < len(v) {
			all = append(all, v[b-before:b+after])
		}
	}
	if len(all) < 3 {
		return 0, 0
	}
	sum := make([]float64, before+after)
	for _, beat := range all {
		for i, s := range beat {
			sum[i] += s
		}
	}
	rest := make([]float64, len(sum))
	var matches []float64
	good := 0.0
	for _, beat := range all {
		for i := range rest {
			rest[i] = sum[i] - beat[i]
		}
		m := correlation(beat, rest)
		if matches = append(matches, m); m >= goodMatch {
			good++
		}
	}
	return median(matches), good / float64(len(all))
}

// unsteady says that heights, intervals and shapes together vary more than a pulse's do. Each alone may.
func (p *pulse) unsteady(v, gaps []float64) bool {
	heights := make([]float64, len(p.beats))
	for i, b := range p.beats {
		heights[i] = v[b]
	}
	limit := min(maxUnsteady, minUnsteady+perInterval*float64(len(gaps)-minIntervals))
	uneven := variation(gaps) / roomIntervals
	return variation(gaps) > min(maxUneven, minUneven+0.01*float64(len(gaps))) ||
		(1-p.match)/roomShape+variation(heights)/roomHeights+uneven > limit
}

// steepness is the usual beat's, in slopes that begin so many samples before the beats'.
func (p *pulse) steepness(v []float64, before int) float64 {
	var tops []float64
	for _, b := range p.beats {
		at := b + before
		tops = append(tops, steep(v[max(0, at-before):min(len(v), at+before+1)]))
	}
	return median(tops)
}
