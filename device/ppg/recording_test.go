package ppg

import (
	"bufio"
	"compress/gzip"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// recording reads the last column of a file.
func recording(t testing.TB, name string) (x []float64) {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(name, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	}
	in := bufio.NewScanner(r)
	for in.Scan() {
		fields := strings.Split(strings.TrimSpace(in.Text()), ",")
		if v, err := strconv.ParseFloat(fields[len(fields)-1], 64); err == nil {
			x = append(x, v)
		}
	}
	return x
}

// smoothed is a mean over so many samples to both sides, thrice: it delays nothing.
func smoothed(x []float64, half int) []float64 {
	for range 3 {
		y := make([]float64, len(x))
		for i := range x {
			y[i] = mean(x[max(0, i-half):min(len(x), i+half+1)])
		}
		x = y
	}
	return x
}

// offline estimates the pulse of each second's last 8 s by the peaks of the whole recording, band-passed without delay: not by slopes, not
// by correlation, and with the future known. 0: the peaks there are no steady pulse.
func offline(x []float64, hz float64) (rates []float64) {
	fast, slow := smoothed(x, int(0.04*hz)), smoothed(x, int(0.45*hz))
	y := make([]float64, len(x))
	for i := range x {
		y[i] = fast[i] - slow[i]
	}
	var peaks []int
	for i := range y {
		w := int(0.3 * hz)
		around := y[max(0, i-w):min(len(y), i+w+1)]
		wide := y[max(0, i-int(1.5*hz)):min(len(y), i+int(1.5*hz))]
		if y[i] == slices.Max(around) && y[i] > 0.4*slices.Max(wide) && y[i] > 0 {
			peaks = append(peaks, i)
		}
	}
	for end := hz; end <= float64(len(x)); end += hz {
		var gaps []float64
		for k := 1; k < len(peaks); k++ {
			if float64(peaks[k-1]) >= end-8*hz && float64(peaks[k]) < end {
				gaps = append(gaps, float64(peaks[k]-peaks[k-1]))
			}
		}
		rate := 0.0
		mid, near := median(gaps), []float64{}
		for _, g := range gaps {
			if math.Abs(g-mid) < 0.2*mid {
				near = append(near, g)
			}
		}
		if len(near) >= 4 && len(near) >= len(gaps)*6/10 { // the rest are second waves and movements
			rate = 60 * hz / mean(near)
		}
		rates = append(rates, rate)
	}
	return rates
}

func results(t testing.TB, x []float64, hz float64) (out []Result) {
	t.Helper()
	c, err := New(hz)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range x {
		if r, ok := c.Push(v); ok {
			out = append(out, r)
		}
	}
	return out
}

func TestRecordings(t *testing.T) {
	for _, c := range []struct {
		name   string
		hz     float64
		shown  int // seconds, at least
		absent [2]int
	}{
		{"data.csv", 100, 18, [2]int{1, 5}},
		{"data2.csv.gz", 117, 65, [2]int{1, 45}}, // no finger, handling
	} {
		x := recording(t, c.name)
		var errors []float64
		shown, unjudged := 0, 0
		for i, r := range results(t, x, c.hz) {
			want := offline(x[:min(len(x), int(float64(r.Seconds+2)*c.hz))], c.hz)[i]
			switch {
			case r.Absent != "":
				continue
			case r.Seconds >= c.absent[0] && r.Seconds <= c.absent[1]:
				t.Errorf("%s, %d s: %.1f/min, where there is none", c.name, r.Seconds, r.Rate)
			case want == 0:
				unjudged++
			default:
				errors = append(errors, math.Abs(r.Rate-want))
				if math.Abs(r.Rate-want) > max(5, 0.1*want) {
					t.Errorf("%s, %d s: %.1f/min, offline %.1f", c.name, r.Seconds, r.Rate, want)
				}
			}
			shown++
		}
		t.Logf("%s: shown %d s of %.0f, compared %d: error mean %.2f, median %.2f, max %.2f /min", c.name, shown, float64(len(x))/c.hz,
			len(errors), mean(errors), median(errors), slices.Max(errors))
		if shown < c.shown || unjudged > shown/10 || median(errors) > 2 {
			t.Errorf("%s: shown %d s, %d of them without an estimate to compare", c.name, shown, unjudged)
		}
	}
}

// The same recording upside down, in other units, or sampled at another rate is the same pulse.
func TestInvariance(t *testing.T) {
	x, hz := recording(t, "data.csv"), 100.0
	want := results(t, x, hz)
	mapped := func(f func(float64) float64) []float64 {
		y := make([]float64, len(x))
		for i, v := range x {
			y[i] = f(v)
		}
		return y
	}
	resampled := func(to float64) []float64 {
		y := make([]float64, int(float64(len(x)-1)*to/hz))
		for i := range y {
			at := float64(i) * hz / to
			k := int(at)
			y[i] = x[k] + (at-float64(k))*(x[k+1]-x[k])
		}
		return y
	}
	for _, c := range []struct {
		name string
		x    []float64
		hz   float64
	}{
		{"upside down", mapped(func(v float64) float64 { return -v }), hz},
		{"tiny, far off", mapped(func(v float64) float64 { return 1e-6*v - 3 }), hz},
		{"huge", mapped(func(v float64) float64 { return 1e30 * v }), hz},
		{"coarse integers", mapped(func(v float64) float64 { return math.Round(v / 16) }), hz},
		{"25 Hz", resampled(25), 25}, {"50 Hz", resampled(50), 50}, {"64 Hz", resampled(64), 64}, {"128 Hz", resampled(128), 128},
		{"250 Hz", resampled(250), 250}, {"500 Hz", resampled(500), 500}, {"1000 Hz", resampled(1000), 1000},
	} {
		got, same := results(t, c.x, c.hz), 0
		for i, r := range got {
			if r.Absent == want[i].Absent {
				same++
			}
			if r.Absent == "" && want[i].Absent == "" && math.Abs(r.Rate-want[i].Rate) > 3 {
				t.Errorf("%s: %.1f/min at %d s, not %.1f", c.name, r.Rate, r.Seconds, want[i].Rate)
			}
		}
		if same < len(got)-5 {
			t.Errorf("%s: only %d of %d seconds are shown alike", c.name, same, len(got))
		}
	}
}
