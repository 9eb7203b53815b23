package suntech

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// The reference's vectors.
var (
	doneVector     = unhex("3E 04 4B 73")
	pressureVector = unhex("3E 05 02 01 BA")
	resultVector   = unhex("3E 18 73 00 4A 00 1E 01 00 00 00 00 00 00 31 07 55 00 58 00 00 00 00 E9")
)

func TestRequests(t *testing.T) {
	for want, cmd := range map[string][]byte{
		"3A 20 A6":          sizes[0].start,
		"3A 79 05 00 48":    askPressure,
		"3A 79 03 00 4A":    askResult,
		"3A 79 01 00 4C":    abort,
		"3A 0C 00 01 01 B8": {0x0C, 0x00, 0x01, 0x01}, // pneumatics closed; not used
	} {
		if got := request(cmd); !bytes.Equal(got, unhex(want)) {
			t.Errorf("% X, want %s", got, want)
		}
	}
}

func TestResult(t *testing.T) {
	var d decoder
	p := d.write(resultVector)
	if len(p) != 1 {
		t.Fatalf("% X", p)
	}
	r, err := parseResult(p[0])
	if want := (result{systolic: 115, diastolic: 74, mean: 88, rate: 85, beats: 30}); err != nil || r != want || !r.plausible() {
		t.Errorf("%+v, %v, want %+v", r, err, want)
	}
	for _, bad := range []result{{}, {systolic: 115, diastolic: 115, mean: 115}, {systolic: 115, diastolic: 74, mean: 70}, {systolic: 301, diastolic: 74, mean: 88}, {systolic: 65535, diastolic: 74, mean: 88}} {
		if bad.plausible() {
			t.Errorf("%+v", bad)
		}
	}
	if _, err := parseResult(p[0][1:]); err == nil {
		t.Error("a short result is none")
	}
}

func TestDecoder(t *testing.T) {
	all := bytes.Join([][]byte{doneVector, pressureVector, resultVector}, nil)
	want := [][]byte{doneVector[2:3], pressureVector[2:4], resultVector[2:23]}
	for _, chunk := range []int{1, 2, 7, len(all)} {
		var d decoder
		var got [][]byte
		for b := all; len(b) > 0; b = b[min(chunk, len(b)):] {
			got = append(got, d.write(b[:min(chunk, len(b))])...)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("in chunks of %d: %s", chunk, diff)
		}
	}
	// Noise that looks like the head of a long packet holds the true one up until the line is quiet.
	var d decoder
	if p := d.write(append(unhex("3E 43"), pressureVector...)); len(p) != 0 {
		t.Errorf("% X", p)
	}
	if p := d.pause(); len(p) != 1 || !bytes.Equal(p[0], pressureVector[2:4]) {
		t.Errorf("% X", p)
	}
	broken := bytes.Clone(pressureVector)
	broken[2] ^= 1
	if p := append(d.write(broken), d.pause()...); len(p) != 0 {
		t.Errorf("a wrong checksum passes: % X", p)
	}
}

// FuzzDecoder: whatever comes, memory is bounded, and after a pause a whole packet is found at once.
func FuzzDecoder(f *testing.F) {
	f.Add(resultVector)
	f.Add(pressureVector)
	f.Add(append(unhex("3E 43 00 3E 04"), doneVector...))
	f.Fuzz(func(t *testing.T, b []byte) {
		var d decoder
		n := 0
		for _, p := range append(d.write(b), d.pause()...) {
			n += len(p) + 3
			if len(p) == 0 || len(p) > maxPacket-3 {
				t.Fatalf("% X", p)
			}
			if r, err := parseResult(p); err == nil && r.plausible() && r.diastolic >= r.systolic {
				t.Fatalf("%+v", r)
			}
		}
		if n > len(b) || len(d.buf) != 0 || cap(d.buf) > maxPacket {
			t.Fatalf("%d bytes of packets from %d, %d kept", n, len(b), cap(d.buf))
		}
		if p := d.write(resultVector); len(p) != 1 || !bytes.Equal(p[0], resultVector[2:23]) {
			t.Fatalf("% X", p)
		}
	})
}
