package ecg

import (
	"testing"
)

// find runs an analyzer over samples in pieces, all at once if chunk is 0, and holds the beats to the package's promises.
func find(t testing.TB, c Config, x []float64, chunk int) (at []int) {
	t.Helper()
	a, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if chunk == 0 {
		chunk = len(x)
	}
	given := 0
	check := func(beats []Beat) {
		for _, b := range beats {
			if b.Sample < 0 || b.Sample >= int64(given) || len(at) > 0 && b.Sample-int64(at[len(at)-1]) < int64(refractory*c.RateHz) {
				t.Fatalf("beat %d of %d samples after %v", b.Sample, given, at[max(0, len(at)-1):])
			}
			at = append(at, int(b.Sample))
		}
	}
	for rest := x; len(rest) > 0; {
		n := min(chunk, len(rest))
		given += n
		check(a.Write(rest[:n]))
		rest = rest[n:]
	}
	check(a.Flush())
	return at
}

// score is beats found, missed and false, within 150 ms (ANSI/AAMI EC57).
type score struct {
	found, missed, false_ int
	off                   float64 // samples, in all
	rate                  float64
}

func (s score) sensitivity() float64 {
	return 100 * float64(s.found) / float64(max(1, s.found+s.missed))
}
func (s score) positive() float64 { return 100 * float64(s.found) / float64(max(1, s.found+s.false_)) }
func (s score) offMS() float64    { return s.off / float64(max(1, s.found)) / s.rate * 1000 }

func compare(truth, got []int, rate float64) score {
	s := score{rate: rate}
	near := int(0.15 * rate)
	i, j := 0, 0
	for i < len(truth) || j < len(got) {
		switch {
		case j == len(got) || i < len(truth) && truth[i] < got[j]-near:
			s.missed++
			i++
		case i == len(truth) || got[j] < truth[i]-near:
			s.false_++
			j++
		default:
			s.found++
			s.off += max(float64(got[j]-truth[i]), float64(truth[i]-got[j]))
			i++
			j++
		}
	}
	return s
}
