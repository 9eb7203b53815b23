package camera

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"telecart/device/camera/scene"
)

// Parts of a stream as cameras send them.
var (
	aud  = []byte{0, 0, 0, 1, 0x09, 0x10}
	sps  = []byte{0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0xda, 0x02}
	pps  = []byte{0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80}
	pps1 = []byte{0, 0, 1, 0x68, 0x4e, 0x3c}
	sei  = []byte{0, 0, 1, 0x06, 0x05, 0x01, 0x80}
	idr  = []byte{0, 0, 0, 1, 0x65, 0x88, 0x84, 1}
	idr2 = []byte{0, 0, 1, 0x65, 0x12, 0x84, 2}
	diff = []byte{0, 0, 0, 1, 0x41, 0x9a, 2}
)

func join(parts ...[]byte) []byte { return slices.Concat(parts...) }

func TestSplicer(t *testing.T) {
	for _, c := range []struct {
		name string
		in   [][]byte
		want [][]byte // nil: nothing; else what comes of the last one
		key  bool
		err  error
	}{
		{"with headers: untouched", [][]byte{join(aud, sps, pps, sei, idr)}, [][]byte{aud, sps, pps, sei, idr}, true, nil},
		{"two slices", [][]byte{join(sps, pps, idr, idr2)}, [][]byte{sps, pps, idr, idr2}, true, nil},
		{"between key frames: untouched", [][]byte{join(sps, pps, idr), join(aud, diff)}, [][]byte{aud, diff}, false, nil},
		{"headers once", [][]byte{join(sps, pps, idr), diff, idr}, [][]byte{sps, pps, idr}, true, nil},
		{"headers once, in a buffer of their own", [][]byte{join(sps, pps), idr}, [][]byte{sps, pps, idr}, true, nil},
		{"after the delimiter, before the rest", [][]byte{join(sps, pps, idr), join(aud, sei, idr)}, [][]byte{aud, sps, sei, pps, idr}, true, nil},
		{"only the SPS again", [][]byte{join(sps, pps, idr), join(sps, idr)}, [][]byte{sps, pps, idr}, true, nil},
		{"only the PPS again", [][]byte{join(sps, pps, idr), join(pps, idr)}, [][]byte{sps, pps, idr}, true, nil},
		{"two PPS", [][]byte{join(sps, pps, pps1, idr), idr}, [][]byte{sps, pps, pps1, idr}, true, nil},
		{"a PPS replaced", [][]byte{join(sps, pps, idr), join(pps[:7:7], []byte{0x81}, diff), idr}, [][]byte{sps, pps[:7], {0x81}, idr}, true, nil},
		{"headers alone", [][]byte{join(aud, sps, pps)}, nil, false, nil},
		{"padded with zeros", [][]byte{join(sps, pps, idr, []byte{0, 0, 0})}, [][]byte{sps, pps, idr, {0, 0, 0}}, true, nil},
		{"zeros in front", [][]byte{join([]byte{0, 0}, diff)}, [][]byte{{0, 0}, diff}, false, nil},
		{"no headers yet", [][]byte{idr}, nil, false, errHeaders},
		{"no PPS yet", [][]byte{join(sps, idr)}, nil, false, errHeaders},
		{"lengths, not start codes", [][]byte{{0, 0, 0, 4, 0x65, 1, 2, 3}}, nil, false, errUnit},
		{"something in front", [][]byte{join([]byte{7}, idr)}, nil, false, errUnit},
		{"a forbidden bit", [][]byte{{0, 0, 1, 0xe5, 1}}, nil, false, errUnit},
		{"a type of RTP's", [][]byte{{0, 0, 1, 0x7c, 0x85}}, nil, false, errUnit},
		{"an empty unit", [][]byte{{0, 0, 1, 0, 0, 1, 0x65, 1}}, nil, false, errUnit},
		{"nothing", [][]byte{{}}, nil, false, errUnit},
		{"an SPS without a number", [][]byte{{0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0, 1}}, nil, false, errUnit},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s splicer
			var got []byte
			var key bool
			var err error
			for _, in := range c.in {
				before := bytes.Clone(in)
				got, key, err = s.unit(in)
				if !bytes.Equal(in, before) {
					t.Fatal("the camera's bytes were changed")
				}
			}
			want := join(c.want...)
			if !bytes.Equal(got, want) || key != c.key || !errors.Is(err, c.err) {
				t.Errorf("% x, key %v, %v\nwant % x, %v, %v", got, key, err, want, c.key, c.err)
			}
		})
	}
	var s splicer
	if got, _, _ := s.unit(sps[:5:5]); got != nil {
		t.Error("half an SPS passes")
	}
	for i := range maxSets + 1 {
		_, _, err := s.unit([]byte{0, 0, 1, 0x68, 1, byte(i << 1), 0xff}) // numbers from 127 on
		if (err != nil) != (i == maxSets) {
			t.Errorf("set %d: %v", i, err)
		}
	}
}

// With the film that simulated cameras send: what comes out of a camera that sends its headers once is what another sends.
func TestSplicerOnFilm(t *testing.T) {
	once, always := scene.NewFilm(320, 240), scene.NewFilm(320, 240)
	once.HeadersOnce, once.KeyEvery, always.KeyEvery = true, 3, 3
	var s splicer
	for i := range uint64(9) {
		got, key, err := s.unit(once.Unit(i, noon))
		if err != nil || !bytes.Equal(got, always.Unit(i, noon)) || key != (i%3 == 0) {
			t.Errorf("unit %d: %d bytes, key %v, %v", i, len(got), key, err)
		}
	}
}

func FuzzSplicer(f *testing.F) {
	film := scene.NewFilm(128, 64)
	film.HeadersOnce, film.KeyEvery = true, 2
	for i := range uint64(3) {
		f.Add(film.Unit(i, noon))
	}
	f.Add(join(aud, sps, pps, pps1, sei, idr, idr2))
	f.Add(join(sps, pps))
	f.Add([]byte{0, 0, 1, 0x67, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		var s splicer
		s.unit(b)
		au, key, err := s.unit(b) // the second time with what was kept of the first
		if !bytes.Equal(b, before) {
			t.Fatal("the camera's bytes were changed")
		}
		if err != nil && (au != nil || key) || key && au == nil || len(s.sets) > maxSets {
			t.Fatalf("%d bytes, key %v, %v, %d sets", len(au), key, err, len(s.sets))
		}
		if len(au) > len(b)+maxSets*maxSetBytes {
			t.Fatalf("%d bytes became %d", len(b), len(au))
		}
		if key { // a decoder can start here: headers first
			var order []int
			eachNAL(au, func(_, body, _ int) error { order = append(order, int(au[body]&0x1f)); return nil })
			first := slices.IndexFunc(order, func(k int) bool { return k <= nalIDR })
			if !slices.Contains(order, nalIDR) || !slices.Contains(order, nalSPS) || !slices.Contains(order, nalPPS) || first < 0 {
				t.Fatalf("key frame of %v", order)
			}
		}
		// A good key frame after whatever came is found at once.
		if au, key, err := (&splicer{}).unit(join(sps, pps, idr)); err != nil || !key || len(au) == 0 {
			t.Fatal(err)
		}
	})
}
