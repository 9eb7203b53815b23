package ecg

import "math"

// A beat's shape is narrow points taken every shapeStep around its centre; it may be shifted to fit, so more are kept.
const (
	shapeStep = 0.008 // s
	narrow    = 17
	wide      = narrow + 2*shift
	shift     = 4

	alike       = 0.8 // correlation of two beats of the same sort
	established = 2.0 // score of a shape that came more than once
	forget      = 0.97
	shapesKept  = 3
)

// shapes knows the sorts of beats that come: a patient's usual one, and extra beats of one origin look alike too.
type shapes struct{ known [shapesKept]known }

type known struct {
	shape [narrow]float64 // of length 1
	score float64
}

// match is how well the candidate fits what came before, 0 if nothing did.
func (s *shapes) match(c *candidate) float64 {
	best := 0.0
	for i := range s.known {
		if k := &s.known[i]; k.score >= established {
			r, _ := fit(&k.shape, &c.shape)
			best = max(best, r)
		}
	}
	return best
}

// learn takes a beat's shape in.
func (s *shapes) learn(c *candidate) {
	best, at, by := -2.0, 0, 0
	least := 0
	for i := range s.known {
		k := &s.known[i]
		k.score *= forget
		if k.score < s.known[least].score {
			least = i
		}
		if r, d := fit(&k.shape, &c.shape); k.score > 0 && r > best {
			best, at, by = r, i, d
		}
	}
	if best < alike {
		s.known[least] = known{shape: excerpt(&c.shape, shift), score: 1}
		return
	}
	k, p := &s.known[at], excerpt(&c.shape, by)
	for i := range p {
		p[i] = 0.8*k.shape[i] + 0.2*p[i]
	}
	k.shape = unit(p)
	k.score++
}

// fit is the best correlation over all shifts.
func fit(k *[narrow]float64, c *[wide]float64) (best float64, by int) {
	best = -1
	for d := range 2*shift + 1 {
		p := excerpt(c, d)
		r := 0.0
		for i := range p {
			r += p[i] * k[i]
		}
		if r > best {
			best, by = r, d
		}
	}
	return best, by
}

func excerpt(c *[wide]float64, by int) (p [narrow]float64) {
	copy(p[:], c[by:])
	return unit(p)
}

func unit(p [narrow]float64) [narrow]float64 {
	sum := 0.0
	for _, v := range p {
		sum += v * v
	}
	if sum == 0 {
		return p
	}
	k := 1 / math.Sqrt(sum)
	for i := range p {
		p[i] *= k
	}
	return p
}
