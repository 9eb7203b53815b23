package ecg

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
)

// record is a WFDB record of two signals in format 212, and its beats.
type record struct {
	rateHz  float64
	leads   [2][]float64 // in steps of the converter
	beats   []int
	perMV   float64
	sums    [2]int16
	samples int
}

// mitdb100 reads testdata; see its README.
func mitdb100(t testing.TB) record {
	t.Helper()
	var r record
	header, err := os.ReadFile("testdata/100.hea")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for l := range strings.Lines(string(header)) {
		if !strings.HasPrefix(l, "#") && strings.TrimSpace(l) != "" {
			lines = append(lines, l)
		}
	}
	var name string
	var leads int
	if _, err := fmt.Sscan(lines[0], &name, &leads, &r.rateHz, &r.samples); err != nil || leads != 2 {
		t.Fatalf("header %q: %v", lines[0], err)
	}
	for i := range 2 {
		var file string
		var format, bits, zero, first, sum int
		if _, err := fmt.Sscan(lines[1+i], &file, &format, &r.perMV, &bits, &zero, &first, &sum); err != nil || format != 212 {
			t.Fatalf("header %q: %v", lines[1+i], err)
		}
		r.sums[i] = int16(sum)
	}
	r.read212(t)
	if r.beats, err = readBeats("testdata/100.atr"); err != nil {
		t.Fatal(err)
	}
	return r
}

// read212: two samples of 12 bits in three bytes; the middle one has the high bits of both (signal(5) of the WFDB manual).
func (r *record) read212(t testing.TB) {
	f, err := os.Open("testdata/100.dat.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil || len(b) != 3*r.samples {
		t.Fatalf("%d bytes: %v", len(b), err)
	}
	var sums [2]int16
	for ; len(b) >= 3; b = b[3:] {
		for i, v := range [2]uint16{uint16(b[0]) | uint16(b[1]&0x0F)<<8, uint16(b[2]) | uint16(b[1]>>4)<<8} {
			s := int16(v<<4) >> 4
			sums[i] += s
			r.leads[i] = append(r.leads[i], float64(s))
		}
	}
	if sums != r.sums {
		t.Fatalf("the signals' sums are %d, the header says %d", sums, r.sums)
	}
}

// readBeats reads MIT annotations: 16 bits each, a code of 6 bits and the samples since the last one (annot(5)).
func readBeats(path string) (beats []int, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	const skip, aux, lastBeat = 59, 63, 13
	rhythm := map[uint16]bool{14: true, 22: true, 28: true} // not beats: noise, comment, rhythm
	at := 0
	for r := bytes.NewReader(b); ; {
		var w uint16
		if err := binary.Read(r, binary.LittleEndian, &w); err != nil || w == 0 {
			return beats, err
		}
		code, n := w>>10, int(w&0x3FF)
		switch {
		case code == skip:
			var high, low uint16
			if err := binary.Read(r, binary.LittleEndian, &high); err != nil {
				return nil, err
			}
			if err := binary.Read(r, binary.LittleEndian, &low); err != nil {
				return nil, err
			}
			at += int(high)<<16 | int(low)
		case code == aux:
			if _, err := r.Seek(int64(n+n%2), io.SeekCurrent); err != nil {
				return nil, err
			}
		case code > skip:
		default:
			at += n
			if code > 0 && code <= lastBeat && !rhythm[code] {
				beats = append(beats, at)
			}
		}
	}
}

// The figures that the package is held to: MIT-BIH record 100, causal, both leads, either way up, in odd pieces too.
func TestRecord100(t *testing.T) {
	r := mitdb100(t)
	if len(r.beats) != 2273 {
		t.Fatalf("%d beats in the annotations", len(r.beats))
	}
	var first []int
	for _, c := range []struct {
		name  string
		lead  int
		scale float64
		add   float64
		chunk int
		gain  float64
	}{
		{"MLII at once", 0, 1, 0, 0, 0},
		{"MLII in sevens", 0, 1, 0, 7, 0},
		{"MLII upside down, in mV", 0, -1.0 / 200, 1024.0 / 200, 361, 1},
		{"V5, tiny", 1, 1e-6, 0, 0, 0},
	} {
		x := make([]float64, r.samples)
		for i, v := range r.leads[c.lead] {
			x[i] = v*c.scale + c.add
		}
		got := find(t, Config{RateHz: r.rateHz, PerMillivolt: c.gain}, x, c.chunk)
		if first == nil {
			first = got
		}
		if c.chunk == 7 && !slices.Equal(got, first) {
			t.Errorf("%s: other beats than at once", c.name)
		}
		s := compare(r.beats, got, r.rateHz)
		t.Logf("%-24s Se %.2f %% P+ %.2f %% (%d missed, %d false), off by %.1f ms", c.name,
			s.sensitivity(), s.positive(), s.missed, s.false_, s.offMS())
		if s.sensitivity() < 99.5 || s.positive() < 99.5 || s.offMS() > 15 {
			t.Errorf("%s: %+v", c.name, s)
		}
	}
}
