package ecg

import (
	"math"
	"slices"
)

// Rules of the detector; see the package comment for whose they are. Times are in seconds, sizes in shares.
const (
	kept     = 8  // the last beats and noises that are looked at
	keptLong = 32 // beats, for what is usual in the long run
	heldMost = 64 // undecided candidates

	share     = 0.3  // of the way from noise to beats: the threshold for what looks like an earlier beat
	shareSure = 0.22 // the same for what surely does
	shareLog  = 0.4  // the same on a logarithmic scale, for what does not
	shareMin  = 0.18 // of a beat's size
	shareMax  = 0.8
	matched   = 0.9 // correlation of what looks like an earlier beat
	nearNoise = 1.5 // times the floor of the last second is noise, too
	artefact  = 6.0 // times the usual size is no beat, unless it becomes usual
	alikeRow  = 3   // so many alike in a row become usual

	tWave    = 0.36 // after a beat: a peak with less than half of the beat's slope is its T wave; Pan and Tompkins
	tWaveAt  = 0.83 // at intervals of so much; later with longer ones, by their square root
	tWaveMax = 0.46
	tAfterEx = 0.50 // the same after an extra beat, whose T wave is large and late

	overdue      = 1.66 // usual intervals without a beat: look back; Pan and Tompkins
	searchShare  = 0.5  // of the threshold, then
	irregular    = 0.25 // of the mean interval: the spread of the middle half
	longOverdue  = 2.5  // usual intervals: look back for less, if it looks like a beat
	longShare    = 0.15
	surelyAlike  = 0.95
	inflated     = 2.0 // times the long-term size: what was learnt last is an artefact,
	inflatedWait = 1.5 // after so long without a beat
	unrestHolds  = 3.0 // after an artefact there is no rate
)

// detector decides which candidates are beats.
type detector struct {
	*peaks
	least  float64 // height of a beat in units of a sample
	lsb    float64 // the smallest step that was seen: the converter's
	lastX  float64
	floor  floor
	shapes shapes

	locked bool
	since  int64       // the sample at which the search for beats began
	clear  int64       // when beats last stood out well
	unrest int64       // when an artefact came
	grown  int64       // when the signal became much larger
	held   []candidate // undecided since the last beat, or since the search began
	large  []candidate // too large to be believed, in a row
	have   bool
	last   candidate // the last beat
	late   bool      // what is judged now happened some time ago

	sizes, slopes, matches, noises, long ring
	rrs                                  ring // in samples

	lean  float64 // -1 down to 1 up: where R peaks are
	lastR int64
	found []Beat
}

func newDetector(rate, least float64) *detector {
	d := &detector{peaks: newPeaks(rate), least: least, lastR: math.MinInt64 / 2, unrest: math.MinInt64 / 2, grown: math.MinInt64 / 2}
	d.floor.size = d.front.samples(floorBlock)
	for _, r := range []*ring{&d.sizes, &d.slopes, &d.matches, &d.noises, &d.rrs} {
		*r = newRing(kept)
	}
	d.long = newRing(keptLong)
	return d
}

// step takes a finite sample.
func (d *detector) step(x float64) {
	if dx := math.Abs(x - d.lastX); dx > 0 && d.front.n > 0 && (d.lsb == 0 || dx < d.lsb) {
		d.lsb = dx
	}
	d.lastX = x
	m, c, ok := d.peaks.step(x)
	d.floor.add(m)
	if ok && c.high+c.deep >= max(leastSteps*d.lsb, d.least) {
		d.take(c)
	}
	if d.locked && d.front.n%int64(d.floor.size) == 0 {
		d.lookBack()
	}
}

// seen is the sample up to which all candidates are known.
func (d *detector) seen() int64 { return d.front.n - d.wait - d.delay }

func (d *detector) seconds(samples int64) float64 { return float64(samples) / d.front.rate }

func (d *detector) take(c candidate) {
	if !d.locked {
		d.hold(c)
		d.learn(d.since)
		return
	}
	d.judge(c)
	if d.drowned() {
		d.unlock()
	}
}

func (d *detector) hold(c candidate) {
	if len(d.held) == heldMost {
		d.held = slices.Delete(d.held, 0, 1)
	}
	d.held = append(d.held, c)
}

// judge says what a candidate is: a beat, a T wave, an artefact or noise.
func (d *detector) judge(c candidate) {
	after := math.Inf(1)
	if d.have {
		after = d.seconds(c.centre - d.last.centre)
	}
	size := d.sizes.median()
	c.match = d.shapes.match(&c)
	switch {
	case after < refractory || c.size <= 0:
	case c.step():
		d.large = d.large[:0]
	case c.size > artefact*size:
		d.unrest = d.front.n
		d.tooLarge(c)
	case d.isT(&c, after):
		d.noises.push(min(c.size, size))
	case c.size > d.threshold(c.match):
		d.accept(c)
	default:
		d.noises.push(c.size)
		d.hold(c)
	}
}

// threshold lies between the sizes of noise and of beats: nearer to noise the less there is of it, so that a wide extra
// beat is found in a clean signal; what looks like an earlier beat needs less in noise.
func (d *detector) threshold(match float64) float64 {
	size, noise := d.sizes.median(), d.noises.median()
	_, most := d.noises.quartiles()
	most = max(most, nearNoise*d.floor.here())
	limit := size * min(max(math.Pow(most/size, 1-shareLog), shareMin), shareMax)
	switch {
	case match >= surelyAlike:
		limit = min(limit, noise+shareSure*(size-noise))
	case match >= matched:
		limit = min(limit, noise+share*(size-noise))
	}
	return limit
}

// isT says that a candidate is the last beat's T wave: in its time, and less steep.
func (d *detector) isT(c *candidate, after float64) bool {
	ref := min(d.last.slope, 4*d.slopes.median())
	_, slow := d.rrs.quartiles()
	window := min(max(tWave, tWave*math.Sqrt(slow/d.front.rate/tWaveAt)), tWaveMax)
	extra := d.last.match < alike
	switch {
	case after < window:
		return c.slope < 0.5*ref || c.slope < 0.7*ref && (extra || c.size < 0.5*d.last.size)
	case after < tAfterEx && after < 0.6*d.usualRR():
		return extra && c.slope < 0.4*ref
	}
	return false
}

// usualRR in seconds.
func (d *detector) usualRR() float64 {
	if d.rrs.len() == 0 {
		return 1
	}
	return d.rrs.middle() / d.front.rate
}

// tooLarge keeps an artefact in mind: several alike in a row are beats after all, of a signal that has become larger.
func (d *detector) tooLarge(c candidate) {
	if n := len(d.large); n > 0 {
		first, last := d.large[0], d.large[n-1]
		if d.seconds(c.centre-last.centre) > 3 || c.size > 2.5*first.size || c.size < 0.4*first.size {
			d.large = d.large[:0]
		}
	}
	if d.large = append(d.large, c); len(d.large) < alikeRow {
		return
	}
	beats := slices.Clone(d.large)
	d.adopt(beats)
	d.grown = d.front.n
	d.late = true
	for _, c := range beats {
		if !d.have || d.seconds(c.centre-d.last.centre) >= refractory {
			d.accept(c)
		}
	}
	d.late = false
}

// adopt takes these for what beats look like.
func (d *detector) adopt(beats []candidate) {
	var sizes, slopes []float64
	for _, b := range beats {
		sizes, slopes = append(sizes, b.size), append(slopes, b.slope)
	}
	d.sizes.fill(middle(sizes))
	d.long.fill(middle(sizes))
	d.slopes.fill(middle(slopes))
}

func (d *detector) accept(c candidate) {
	if d.have {
		d.rrs.push(float64(c.centre - d.last.centre))
	}
	d.sizes.push(min(c.size, 2.5*d.sizes.median()))
	d.long.push(c.size)
	d.slopes.push(c.slope)
	if c.match >= alike {
		d.matches.push(1)
	} else {
		d.matches.push(0)
	}
	d.shapes.learn(&c)
	d.have, d.last = true, c
	d.held = slices.DeleteFunc(d.held, func(h candidate) bool { return h.centre <= c.centre })
	d.large = d.large[:0]
	d.report(&c)
}

// report places the R peak: the larger deflection, with a lean to the side where it usually is.
func (d *detector) report(c *candidate) {
	at := c.foot
	if c.high*(1+0.4*d.lean) >= c.deep*(1-0.4*d.lean) {
		at = c.top
	}
	d.lean += 0.1 * (math.Copysign(1, c.high-c.deep) - d.lean)
	if at = max(at, d.lastR+d.wait); at < 0 {
		return
	}
	d.lastR = at
	d.found = append(d.found, Beat{Sample: at, Late: d.late})
}

// lookBack runs often while locked: it finds beats that were too small when one is overdue, and doubts what was learnt
// when none comes at all.
func (d *detector) lookBack() {
	if !d.have {
		return
	}
	d.late = true
	waited := d.seconds(d.seen() - d.last.centre)
	usual := d.usualRR()
	switch {
	case waited > inflatedWait && d.sizes.median() > inflated*d.long.median():
		d.sizes.fill(d.long.median())
		d.retry()
	case waited > d.patience() && d.learn(d.last.centre):
	case waited > overdue*usual:
		d.searchBack(waited > longOverdue*usual)
	}
	d.late = false
}

// retry judges again what was held.
func (d *detector) retry() {
	again := slices.Clone(d.held)
	d.held = d.held[:0]
	for _, c := range again {
		d.judge(c)
	}
}

// searchBack takes of what was too small what is large enough for an overdue beat; when one is long overdue, still less will do
// for what surely looks like one.
func (d *detector) searchBack(long bool) {
	limit := searchShare * d.threshold(matched)
	if lo, hi := d.rrs.quartiles(); hi-lo > irregular*d.rrs.middle() {
		limit *= 1.5 // many intervals are longer than their mean, and no beat is missing
	}
	enough := func(c candidate) bool {
		if d.seconds(c.centre-d.last.centre) <= tWave {
			return false
		}
		if c.size > limit && c.slope > 0.3*d.slopes.median() {
			return true
		}
		return long && c.match > surelyAlike && c.size > max(longShare*d.threshold(matched), 3*d.floor.here())
	}
	most := 0.0
	for _, c := range d.held {
		if enough(c) {
			most = max(most, c.size)
		}
	}
	if long {
		most *= 0.7 // of several that were missed the first, so that the others can be found after it
	}
	first := slices.IndexFunc(d.held, func(c candidate) bool { return enough(c) && c.size >= most })
	if first >= 0 {
		d.accept(d.held[first])
	}
}
