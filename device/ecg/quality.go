package ecg

import "slices"

const (
	leastHeight = 0.04 // mV from top to foot: less is no QRS (monitors must ignore 0.15 mV and may)
	flatHeight  = 0.02 // mV: a line
	flatSteps   = 3    // of the converter, where the gain is not known
	qualityPart = 0.25 // s
	qualityLook = 8    // of them: two seconds
	railShare   = 0.03 // of samples at an end of the converter: half a QRS a second
)

// quality looks at the raw signal of the last two seconds, in parts.
type quality struct {
	low, high  float64 // rails
	rails      bool
	flatBelow  float64
	size       int
	parts      []part
	now        part
	considered int
}

type part struct {
	min, max float64
	railed   int
}

func newQuality(c Config) quality {
	margin := (c.High - c.Low) * 0.002
	return quality{low: c.Low + margin, high: c.High - margin, rails: c.Low != c.High, flatBelow: flatHeight * c.PerMillivolt,
		size: max(1, int(qualityPart*c.RateHz))}
}

func (q *quality) begin(x float64) { q.now = part{min: x, max: x} }

func (q *quality) add(x float64) {
	q.now.min, q.now.max = min(q.now.min, x), max(q.now.max, x)
	if q.rails && (x <= q.low || x >= q.high) {
		q.now.railed++
	}
	if q.considered++; q.considered < q.size {
		return
	}
	if len(q.parts) == qualityLook {
		q.parts = slices.Delete(q.parts, 0, 1)
	}
	q.parts = append(q.parts, q.now)
	q.considered = 0
	q.begin(x)
}

func (q *quality) saturated() bool {
	railed := q.now.railed
	for _, p := range q.parts {
		railed += p.railed
	}
	return float64(railed) > railShare*float64(q.size*len(q.parts)+q.considered)
}

// flat: nothing happens in two seconds, but a step of the converter now and then.
func (q *quality) flat(step float64) bool {
	if len(q.parts) < qualityLook {
		return false
	}
	for _, p := range q.parts {
		if p.max-p.min > max(q.flatBelow, flatSteps*step) {
			return false
		}
	}
	return true
}
