package ppg

import (
	"math"
	"math/cmplx"
	"slices"
)

// crest is the steepest slope over the root mean square.
func crest(v []float64) float64 {
	sum, top := 0.0, 0.0
	for _, s := range v {
		sum += s * s
		top = max(top, s)
	}
	if sum == 0 {
		return 0
	}
	return top / math.Sqrt(sum/float64(len(v)))
}

func correlation(a, b []float64) float64 {
	n := float64(len(a))
	var ma, mb float64
	for i := range a {
		ma, mb = ma+a[i]/n, mb+b[i]/n
	}
	var ab, aa, bb float64
	for i := range a {
		x, y := a[i]-ma, b[i]-mb
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	if aa == 0 || bb == 0 {
		return 0
	}
	return ab / math.Sqrt(aa*bb)
}

// median of a few, which are left as they are; of an even number the lower.
func median(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(x))
	return s[(len(s)-1)/2]
}

// variation is the standard deviation over the mean.
func variation(x []float64) float64 { return deviation(x) / mean(x) }

func mean(x []float64) (m float64) {
	for _, v := range x {
		m += v / float64(len(x))
	}
	return m
}

// deviation is the standard deviation of a few.
func deviation(x []float64) float64 {
	m, sum := mean(x), 0.0
	for _, v := range x {
		sum += (v - m) * (v - m)
	}
	return math.Sqrt(sum / float64(max(1, len(x)-1)))
}

// overtone is how strong twice a frequency is, over the frequency itself, which is given in cycles a sample.
func overtone(v []float64, frequency float64) float64 {
	var first, second complex128
	for i, s := range v {
		w := 2 * math.Pi * float64(i)
		s *= 1 - math.Cos(w/float64(len(v)))
		first += complex(s, 0) * cmplx.Exp(complex(0, w*frequency))
		second += complex(s, 0) * cmplx.Exp(complex(0, 2*w*frequency))
	}
	return cmplx.Abs(second) / cmplx.Abs(first)
}
