package camera

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// Types of NAL units (ITU-T H.264, table 7-1) that matter here.
const (
	nalSlice = 1 // to nalIDR: parts of a picture
	nalIDR   = 5
	nalSPS   = 7
	nalPPS   = 8
	nalAUD   = 9
	nalLast  = 23 // beyond are types that only RTP uses
)

var (
	errUnit    = errors.New("camera: not an H.264 access unit")
	errHeaders = errors.New("camera: a key frame came before its headers")
)

const (
	maxSets     = 16      // parameter sets kept; cameras have two
	maxSetBytes = 1 << 10 // of one
)

// splicer lets a decoder start at every key frame of a camera's stream: it puts in SPS and PPS where the camera, having sent
// them once, leaves them out (7.4.1.2.1). Nothing else is changed.
type splicer struct {
	sets []set
}

// set is a parameter set, with its start code.
type set struct {
	kind, id int
	data     []byte
}

// unit takes one buffer of the stream. It gives the access unit, the buffer itself unless something was put in, and
// whether it is a key frame; or nil if the buffer held no picture.
func (s *splicer) unit(b []byte) (au []byte, key bool, err error) {
	var has [nalLast + 1]bool
	front, picture := -1, -1 // where headers may go: after the delimiter, before the first part of the picture
	err = eachNAL(b, func(at, body, end int) error {
		kind := int(b[body] & 0x1f)
		if b[body]&0x80 != 0 || kind == 0 || kind > nalLast {
			return fmt.Errorf("%w: NAL unit header %#02x", errUnit, b[body])
		}
		has[kind] = true
		if front < 0 && kind != nalAUD {
			front = at
		}
		if picture < 0 && kind >= nalSlice && kind <= nalIDR {
			picture = at
		}
		if kind == nalSPS || kind == nalPPS {
			return s.keep(kind, b[at:end], b[body+1:end])
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, false, err
	case picture < 0:
		return nil, false, nil // headers alone: the next buffer has the picture
	case !has[nalIDR]:
		return b, false, nil
	case has[nalSPS] && has[nalPPS]:
		return b, true, nil
	}
	sps, pps := s.all(nalSPS), s.all(nalPPS)
	if len(sps) == 0 || len(pps) == 0 {
		return nil, false, errHeaders
	}
	if has[nalSPS] {
		sps = nil
	}
	if has[nalPPS] {
		pps = nil
	}
	return slices.Concat(b[:front], sps, b[front:picture], pps, b[picture:]), true, nil
}

// keep notes a parameter set, in the place of the one that has the same number.
func (s *splicer) keep(kind int, whole, payload []byte) error {
	skip := 0
	if kind == nalSPS {
		skip = 3 // profile, constraints, level
	}
	if len(payload) <= skip || len(whole) > maxSetBytes {
		return fmt.Errorf("%w: a parameter set of %d bytes", errUnit, len(whole))
	}
	id, ok := number(payload[skip:])
	if !ok {
		return fmt.Errorf("%w: a parameter set without a number", errUnit)
	}
	kept := set{kind, id, bytes.Clone(whole)}
	if i := slices.IndexFunc(s.sets, func(o set) bool { return o.kind == kind && o.id == id }); i >= 0 {
		s.sets[i] = kept
		return nil
	}
	if len(s.sets) == maxSets {
		return fmt.Errorf("%w: more than %d parameter sets", errUnit, maxSets)
	}
	s.sets = append(s.sets, kept)
	return nil
}

func (s *splicer) all(kind int) (b []byte) {
	for _, o := range s.sets {
		if o.kind == kind {
			b = append(b, o.data...)
		}
	}
	return b
}

// number reads the Exp-Golomb code (9.1) that a parameter set's number is. No camera has one above 254, the most in 15 bits.
func number(b []byte) (int, bool) {
	var bits uint32
	for i := range 2 {
		bits <<= 8
		if i < len(b) {
			bits |= uint32(b[i])
		}
	}
	zeros := 0
	for ; zeros < 8 && bits&(1<<15) == 0; zeros++ {
		bits <<= 1
	}
	if zeros == 8 {
		return 0, false
	}
	return int(bits&0xffff>>(15-zeros)) - 1, true
}

// eachNAL walks over the NAL units of a byte stream (annex B): at is where its start code begins, with a zero before it,
// body its header byte, end the end of it. What is in front of the first start code may be zeros only.
func eachNAL(b []byte, f func(at, body, end int) error) error {
	start := []byte{0, 0, 1}
	i := bytes.Index(b, start)
	if i < 0 || len(bytes.Trim(b[:i], "\x00")) > 0 {
		return fmt.Errorf("%w: it does not begin with a start code", errUnit)
	}
	for i >= 0 {
		at, body := i, i+len(start)
		if at > 0 && b[at-1] == 0 {
			at--
		}
		end := len(b)
		next := bytes.Index(b[body:], start)
		if next >= 0 {
			next += body
			end = next
		}
		trimmed := len(bytes.TrimRight(b[body:end], "\x00")) + body // zeros before a start code belong to no unit
		if trimmed == body {
			return fmt.Errorf("%w: an empty NAL unit", errUnit)
		}
		if err := f(at, body, trimmed); err != nil {
			return err
		}
		i = next
	}
	return nil
}
