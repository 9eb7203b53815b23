package fmp4

import (
	"errors"
	"fmt"
)

// Size of a picture in pixels, as shown.
type Size struct{ Width, Height int }

var errSPS = errors.New("its sequence parameter set can't be read")

// maxSide is what a SourceBuffer is ever given, in pixels: level 5.2.
const maxSide = 8192

// ParseSPS reads the size from a sequence parameter set (H.264, 7.3.2.1.1), NAL unit head included.
func ParseSPS(nal []byte) (s Size, err error) {
	if len(nal) < 4 || nal[0]&0x1f != nalSPS {
		return s, errSPS
	}
	r := bits{b: unescape(nal[4:])}
	r.ue() // seq_parameter_set_id
	chroma := uint32(1)
	switch nal[1] {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		chroma = r.high()
	}
	r.ue() // log2_max_frame_num_minus4
	switch r.ue() {
	case 0:
		r.ue() // log2_max_pic_order_cnt_lsb_minus4
	case 1:
		r.bit()
		r.ue()
		r.ue()
		for n := r.ue(); n > 0 && !r.over; n-- {
			r.ue()
		}
	}
	r.ue() // max_num_ref_frames
	r.bit()
	wide, high := r.ue(), r.ue()
	frames := r.bit()
	if frames == 0 {
		r.bit()
	}
	r.bit() // direct_8x8_inference_flag
	var left, right, top, bottom uint32
	if r.bit() == 1 {
		left, right, top, bottom = r.ue(), r.ue(), r.ue(), r.ue()
	}
	if r.over || wide >= maxSide/16 || high >= maxSide/16 || max(left, right, top, bottom) > maxSide {
		return s, errSPS
	}
	x, y := 1, 2-int(frames) // CropUnitX, CropUnitY (7-19 to 7-22)
	switch chroma {
	case 1:
		x, y = 2, 2*y
	case 2:
		x = 2
	}
	s.Width = 16*(int(wide)+1) - x*int(left+right)
	s.Height = 16*(2-int(frames))*(int(high)+1) - y*int(top+bottom)
	if s.Width <= 0 || s.Height <= 0 || s.Height > maxSide {
		return Size{}, fmt.Errorf("%w: %dx%d", errSPS, s.Width, s.Height)
	}
	return s, nil
}

// high skips what the high profiles have more, and gives chroma_format_idc.
func (r *bits) high() (chroma uint32) {
	if chroma = r.ue(); chroma == 3 {
		r.bit()
	}
	r.ue()
	r.ue()
	r.bit()
	if r.bit() == 0 {
		return chroma
	}
	lists := 8
	if chroma == 3 {
		lists = 12
	}
	for i := range lists {
		if r.bit() == 0 {
			continue
		}
		size := 16
		if i >= 6 {
			size = 64
		}
		last, next := int32(8), int32(8) // scaling_list (7.3.2.1.1.1)
		for range size {
			if next != 0 {
				next = (last + r.se() + 256) % 256
			}
			if next != 0 {
				last = next
			}
		}
	}
	return chroma
}

// unescape takes out the emulation prevention bytes (7.4.1).
func unescape(b []byte) []byte {
	out := make([]byte, 0, len(b))
	zeros := 0
	for _, c := range b {
		if zeros >= 2 && c == 3 {
			zeros = 0
			continue
		}
		if zeros++; c != 0 {
			zeros = 0
		}
		out = append(out, c)
	}
	return out
}

// bits reads from the most significant bit on; past the end it gives zeros and says so.
type bits struct {
	b    []byte
	at   int
	over bool
}

func (r *bits) bit() uint32 {
	if r.at/8 >= len(r.b) {
		r.over = true
		return 0
	}
	v := r.b[r.at/8] >> (7 - r.at%8) & 1
	r.at++
	return uint32(v)
}

// ue reads an unsigned Exp-Golomb code (9.1).
func (r *bits) ue() uint32 {
	zeros := 0
	for r.bit() == 0 {
		if zeros++; zeros > 31 || r.over {
			r.over = true
			return 0
		}
	}
	v := uint32(1)
	for range zeros {
		v = v<<1 | r.bit()
	}
	return v - 1
}

// se reads a signed one (9.1.1).
func (r *bits) se() int32 {
	v := r.ue()
	if v%2 == 1 {
		return int32(v/2 + 1)
	}
	return -int32(v / 2)
}
