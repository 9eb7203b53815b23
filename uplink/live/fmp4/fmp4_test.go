package fmp4

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"telecart/device/camera/scene"
)

// boxes reads what is in b; its order is kept by kind.
func boxes(t *testing.T, b []byte) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for len(b) > 0 {
		if len(b) < 8 || int(binary.BigEndian.Uint32(b)) > len(b) || binary.BigEndian.Uint32(b) < 8 {
			t.Fatalf("no box: % x", b[:min(len(b), 16)])
		}
		n := binary.BigEndian.Uint32(b)
		out[string(b[4:8])] = b[8:n]
		b = b[n:]
	}
	return out
}

// down goes through nested boxes.
func down(t *testing.T, b []byte, path ...string) []byte {
	t.Helper()
	for _, p := range path {
		b = boxes(t, b)[p]
	}
	if b == nil {
		t.Fatalf("no %v", path)
	}
	return b
}

// film is what a camera of a size sends: n access units.
func film(w, h, n int) (out [][]byte) {
	f := scene.NewFilm(w, h)
	f.KeyEvery = 10
	for i := range n {
		out = append(out, f.Unit(uint64(i), time.UnixMilli(int64(i)*33)))
	}
	return out
}

// The pictures come out whole, in order, each with the time until the next; a new size begins anew.
func TestMuxer(t *testing.T) {
	units := append(film(640, 480, 25), film(322, 242, 25)...)
	steps := []uint32{3000, 3003, 9000, 1500}
	var m Muxer
	var out []Segment
	stamp := uint32(0xffff_f000) // it wraps
	for i, au := range units {
		s, err := m.Add(au, stamp)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s...)
		stamp += steps[i%len(steps)]
	}
	sizes := [][2]uint16{{640, 480}, {322, 242}}
	shown, at := 0, uint64(0)
	for _, s := range out {
		if s.Codec != "" {
			entry := down(t, down(t, s.Data, "moov", "trak", "mdia", "minf", "stbl", "stsd")[8:], "avc1")
			avcC := down(t, entry[78:], "avcC")
			got := [2]uint16{binary.BigEndian.Uint16(entry[24:]), binary.BigEndian.Uint16(entry[26:])}
			if got != sizes[0] || s.Codec != "avc1."+hex.EncodeToString(avcC[1:4]) {
				t.Errorf("%v %s, want %v", got, s.Codec, sizes[0])
			}
			sizes = sizes[1:]
			continue
		}
		moof := boxes(t, s.Data)["moof"]
		trun := down(t, moof, "traf", "trun")
		begins := binary.BigEndian.Uint64(down(t, moof, "traf", "tfdt")[4:])
		offset, lasts, n := binary.BigEndian.Uint32(trun[8:]), binary.BigEndian.Uint32(trun[12:]), binary.BigEndian.Uint32(trun[16:])
		if begins != at || lasts != steps[shown%len(steps)] {
			t.Errorf("picture %d at %d for %d, want %d for %d", shown, begins, lasts, at, steps[shown%len(steps)])
		}
		u := split(units[shown])
		if !bytes.Equal(s.Data[offset:][:n], u.data) || u.key != (binary.BigEndian.Uint32(trun[20:]) == 0x0200_0000) {
			t.Errorf("picture %d is another, or not said to be what it is", shown)
		}
		at += uint64(lasts)
		shown++
	}
	if shown != len(units)-1 || len(sizes) != 0 {
		t.Errorf("%d pictures of %d, %d sizes never came", shown, len(units), len(sizes))
	}
}

func TestMuxerWaitsForAKeyFrame(t *testing.T) {
	units := film(320, 240, 12)
	var m Muxer
	for i, au := range units[1:] {
		out, err := m.Add(au, uint32(i)*3000)
		if err != nil || (len(out) > 0) != (i >= 9) {
			t.Fatalf("unit %d: %d segments, %v", i+1, len(out), err)
		}
	}
}

// What can't be shown is refused by name, and the next key frame begins anew.
func TestMuxerBadParameters(t *testing.T) {
	units := film(320, 240, 3)
	var m Muxer
	bad := bytes.Replace(units[0], split(units[0]).sps, []byte{0x67, 66, 0, 31, 0xff}, 1)
	if _, err := m.Add(bad, 0); !errors.Is(err, ErrStream) {
		t.Errorf("bad parameters: %v", err)
	}
	if out, err := m.Add(units[1], 3000); len(out) > 0 || err != nil {
		t.Errorf("goes on with what it could not begin: %d, %v", len(out), err)
	}
	if out, err := m.Add(units[0], 6000); len(out) != 1 || err != nil {
		t.Errorf("a good key frame: %d, %v", len(out), err)
	}
}

// Time never stands still or leaps, whatever the timestamps do.
func TestMuxerTime(t *testing.T) {
	units := film(320, 240, 4)
	var m Muxer
	var got []uint64
	for i, stamp := range []uint32{9000, 9000, 3000, 3000 + 11*Clock} {
		out, err := m.Add(units[i], stamp)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range out {
			if s.Codec == "" {
				got = append(got, binary.BigEndian.Uint64(down(t, boxes(t, s.Data)["moof"], "traf", "tfdt")[4:]))
			}
		}
	}
	if len(got) != 3 || got[1] != 3000 || got[2] != 6000 {
		t.Errorf("%v", got)
	}
}

func FuzzAdd(f *testing.F) {
	for _, au := range film(322, 242, 3) {
		f.Add(au, uint32(3000))
	}
	f.Add([]byte{0, 0, 1, 0x67, 100, 0, 31, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0, 0, 3, 0, 0x10, 0, 0, 3, 3, 0xc0, 0xf1, 0x83, 0x19, 0x60}, uint32(0))
	first := film(322, 242, 1)[0]
	f.Fuzz(func(t *testing.T, au []byte, stamp uint32) {
		var m Muxer
		for _, u := range [][]byte{first, au, au, first, first} {
			out, err := m.Add(u, stamp)
			if err != nil && !errors.Is(err, ErrStream) {
				t.Fatal(err)
			}
			for _, s := range out {
				boxes(t, s.Data)
			}
			stamp += stamp
		}
	})
}

// Sequence parameter sets as encoders made them: x264's high profile with cropping (1080 lines), and libavc's levels.
func TestParseSPS(t *testing.T) {
	for text, want := range map[string]Size{
		"67640028acd940780227e5c05a808080a0000003002000000781e30632c0": {1920, 1080},
		"6742c01fda014016ec0440000003004000000f03c60ca8":               {1280, 720},
	} {
		nal, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseSPS(nal); got != want || err != nil {
			t.Errorf("%s: %v, %v", text, got, err)
		}
		for n := range nal[:8] {
			if got, err := ParseSPS(nal[:n]); err == nil {
				t.Errorf("%d bytes of it: %v", n, got)
			}
		}
	}
}
