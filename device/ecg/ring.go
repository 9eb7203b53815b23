package ecg

import "slices"

// ring keeps the last few values.
type ring struct {
	v    []float64
	size int
	i    int
}

func newRing(size int) ring { return ring{size: size, v: make([]float64, 0, size)} }

func (r *ring) len() int { return len(r.v) }

func (r *ring) push(x float64) {
	if len(r.v) < r.size {
		r.v = append(r.v, x)
		return
	}
	r.v[r.i] = x
	r.i = (r.i + 1) % r.size
}

func (r *ring) clear() { r.v, r.i = r.v[:0], 0 }

func (r *ring) fill(x float64) {
	r.clear()
	for range r.size {
		r.push(x)
	}
}

func (r *ring) mean() float64 {
	sum := 0.0
	for _, x := range r.v {
		sum += x
	}
	return sum / float64(max(1, len(r.v)))
}

func (r *ring) median() float64 {
	if len(r.v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(r.v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func (r *ring) quartiles() (lo, hi float64) {
	if len(r.v) == 0 {
		return 0, 0
	}
	s := slices.Sorted(slices.Values(r.v))
	return s[len(s)/4], s[3*len(s)/4]
}

func (r *ring) middle() float64 { return middle(r.v) }

// middle is the mean of the middle half: of a bigeminy's long and short intervals the mean, and blind to one that was missed.
func middle(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	cut := len(s) / 4
	s = s[cut : len(s)-cut]
	sum := 0.0
	for _, x := range s {
		sum += x
	}
	return sum / float64(len(s))
}
