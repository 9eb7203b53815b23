package ecg

import (
	"math"
	"slices"
)

// How the detector comes to know what beats look like, and when it must forget.
const (
	leastSteps = 5   // of the converter: a beat has at least as many
	learnFor   = 2.0 // s before the first look for beats
	learnSlow  = 5.0 // s until two will do
	learnSpan  = 8.0 // s looked back at
	largeShare = 0.4 // of the second largest: the large ones, beats perhaps

	// A beat is so many times as large as the floor. White, muscle and mains noise reach 2.2 times theirs; a clean ECG has
	// 50 at 60/min, 8 at 180/min, 3 at 240/min.
	standOut  = 2.5
	standLow  = 1.9 // the same for what is as regular as a clock
	standFar  = 4.0 // no more questions then
	lookAlike = 0.85
	rateFar   = 6.0
	rateAlike = 0.75 // of the last beats look like earlier ones

	drownAfter = 10.0 // s without standing out
	silence    = 4.0  // s without a beat: what was learnt may be wrong
	grownFor   = 30.0 // s after the signal became much larger
)

// learn looks for beats among what is held since a sample, and if they stand out, locks on to them.
func (d *detector) learn(since int64) bool {
	span := d.seconds(d.seen() - since)
	if span < learnFor {
		return false
	}
	d.held = slices.DeleteFunc(d.held, func(h candidate) bool { return d.seconds(d.seen()-h.centre) > learnSpan })
	beats := large(d.held)
	if len(beats) < 2 || len(beats) < 3 && (span < learnSlow || d.locked) || !d.believable(beats) {
		return false
	}
	size := middle(sizesOf(beats))
	var rest []float64
	for _, c := range d.held {
		if c.size < largeShare*size {
			rest = append(rest, c.size)
		}
	}
	noise := 0.1 * size
	if len(rest) > 0 {
		noise = middle(rest)
	}
	d.adopt(beats)
	d.noises.fill(noise)
	d.rrs.clear()
	d.rrs.push(medianRR(beats))
	d.matches.clear()
	d.locked, d.clear = true, d.front.n
	late := d.late
	d.late = true
	d.retry()
	d.late = late
	return true
}

// believable: they stand out of the floor far, or look alike, or come like a clock.
func (d *detector) believable(beats []candidate) bool {
	size, floor := middle(sizesOf(beats)), d.floor.level()
	switch {
	case size <= 0 || size <= standLow*floor:
		return false
	case size > standFar*floor:
		return true
	case size > standOut*floor:
		return agree(beats)
	}
	return agree(beats) && regular(beats)
}

func sizesOf(beats []candidate) (sizes []float64) {
	for _, b := range beats {
		sizes = append(sizes, b.size)
	}
	return sizes
}

// large are those of at least 0.4 of the second largest, since the largest may be an artefact.
func large(all []candidate) (beats []candidate) {
	all = slices.DeleteFunc(slices.Clone(all), func(c candidate) bool { return c.step() })
	if len(all) < 2 {
		return nil
	}
	sizes := slices.Sorted(slices.Values(sizesOf(all)))
	second := sizes[len(sizes)-2]
	for _, c := range all {
		if c.size >= largeShare*second && c.size < artefact*second {
			beats = append(beats, c)
		}
	}
	return beats
}

// agree: most of them look like another of them.
func agree(beats []candidate) bool {
	n := 0
	for i := range beats {
		p := excerpt(&beats[i].shape, shift)
		for j := range beats {
			if r, _ := fit(&p, &beats[j].shape); i != j && r > lookAlike {
				n++
				break
			}
		}
	}
	return 3*n >= 2*len(beats)
}

// regular: as a clock, in time and size, five times or more.
func regular(beats []candidate) bool {
	if len(beats) < 6 {
		return false
	}
	beats = beats[len(beats)-6:]
	usual := medianRR(beats)
	for i := 1; i < len(beats); i++ {
		rr := float64(beats[i].centre - beats[i-1].centre)
		if math.Abs(rr-usual) > 0.08*usual || math.Abs(beats[i].size-beats[0].size) > 0.25*beats[0].size {
			return false
		}
	}
	return true
}

func medianRR(beats []candidate) float64 {
	var rr []float64
	for i := 1; i < len(beats); i++ {
		rr = append(rr, float64(beats[i].centre-beats[i-1].centre))
	}
	return middle(rr)
}

// patience is how long no beat may come before small ones are looked for afresh: short if the signal became much larger not
// long ago, or if what was learnt was unlike itself; long if it was steady, so that the P waves of a long pause are not taken
// for beats.
func (d *detector) patience() float64 {
	if d.front.n-d.grown < int64(d.front.samples(grownFor)) {
		return learnFor
	}
	if lo, hi := d.long.quartiles(); hi > 3*lo {
		return silence
	}
	return 2 * silence
}

// doubtful: what was taken for beats hardly stands out, and neither comes regularly nor looks alike.
func (d *detector) doubtful() bool {
	ratio := d.sizes.median() / d.floor.level()
	if ratio > standFar || d.rrs.len() < kept {
		return false
	}
	lo, hi := d.rrs.quartiles()
	steady := hi-lo < 0.15*d.rrs.middle()
	return !steady && (ratio <= standLow || d.matches.mean() <= 0.5)
}

// clean enough for a rate: beats stand out far, or look alike; both if they come irregularly.
func (d *detector) clean() bool {
	ratio, match := d.sizes.median()/d.floor.level(), d.matches.mean()
	lo, hi := d.rrs.quartiles()
	if d.doubtful() {
		return false
	}
	if hi-lo > irregular*d.rrs.middle() {
		return ratio > rateFar && match >= 0.5 || ratio > standFar && match >= rateAlike
	}
	return ratio > rateFar || ratio > standLow && match >= rateAlike
}

// drowned: that for some time.
func (d *detector) drowned() bool {
	if !d.doubtful() {
		d.clear = d.front.n
	}
	return d.seconds(d.front.n-d.clear) > drownAfter
}

func (d *detector) unlock() {
	d.locked, d.have, d.since, d.held = false, false, d.front.n, d.held[:0]
	d.rrs.clear()
}

const (
	floorBlock = 0.04 // s
	floorSpan  = 100  // blocks: four seconds
	floorHere  = 24   // blocks: the last second
)

// floor is what the energy sinks to between beats.
type floor struct {
	size, n int
	sum     float64
	blocks  []float64
	i       int
}

func (f *floor) add(m float64) {
	f.sum += m
	if f.n++; f.n < f.size {
		return
	}
	v := f.sum / float64(f.n)
	f.sum, f.n = 0, 0
	if len(f.blocks) < floorSpan {
		f.blocks = append(f.blocks, v)
		return
	}
	f.blocks[f.i] = v
	f.i = (f.i + 1) % floorSpan
}

// level is its lower quartile over the last four seconds.
func (f *floor) level() float64 {
	if len(f.blocks) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(f.blocks))
	return s[len(s)/4]
}

// here is a little under its median over the last second: it knows of a burst of noise while that lasts.
func (f *floor) here() float64 {
	if len(f.blocks) < floorHere {
		return f.level()
	}
	var s [floorHere]float64
	for k := range s {
		s[k] = f.blocks[(f.i+len(f.blocks)-1-k)%len(f.blocks)]
	}
	slices.Sort(s[:])
	return s[floorHere*2/5]
}
