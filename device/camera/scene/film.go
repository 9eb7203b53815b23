package scene

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"time"
)

// Film is what a simulated camera's own encoder sends: an H.264 stream (ITU-T H.264, constrained baseline, CAVLC) with
// the row of cells on top of grey stripes, dark above, bright below. Every picture has its number and time, like those of
// a Scene.
//
// Its macroblocks are raw samples (I_PCM), or copies of the one to their left, or of the picture before: no transform is
// needed. A Film belongs to one goroutine.
type Film struct {
	// KeyEvery is how many pictures come from one key frame to the next; 0: as many as 30.
	KeyEvery int
	// HeadersOnce: SPS and PPS come with the first key frame alone, as some cameras have it.
	HeadersOnce bool

	w, h, columns, rows int
	since               int // pictures since the last key frame
	keys                int
	shown               []byte // luma of the row, one line
}

// NewFilm makes a film of pictures of that size, brought into a Scene's limits and made even.
func NewFilm(width, height int) *Film {
	w, h := max(MinWidth, min(width, MaxWidth))&^1, max(MinHeight, min(height, MaxHeight))&^1
	return &Film{w: w, h: h, columns: (w + 15) / 16, rows: (h + 15) / 16}
}

const keyEvery = 30 // pictures

// Cut makes the next picture a key frame.
func (f *Film) Cut() { f.since = 0 }

// NAL unit headers (table 7-1): type, and how much it is needed as a reference.
const (
	nalSlice = 0x41
	nalIDR   = 0x65
	nalSPS   = 0x67
	nalPPS   = 0x68
)

// Unit is the next access unit, in Annex B: the picture with this sequence number and capture time, as of Scene.JPEG. The
// caller owns the bytes.
func (f *Film) Unit(seq uint64, at time.Time) []byte {
	line := f.line(code(uint32(at.UnixMilli()), uint16(seq)))
	every := f.KeyEvery
	if every <= 0 {
		every = keyEvery
	}
	var out []byte
	key := f.since == 0 || f.since >= every
	if key {
		f.since = 0
		if f.keys == 0 || !f.HeadersOnce {
			out = append(nal(nalSPS, f.sps()), nal(nalPPS, pps())...)
		}
		out = append(out, nal(nalIDR, f.intra(line))...)
		f.keys++
	} else {
		out = nal(nalSlice, f.inter(line))
	}
	f.shown = line
	f.since++
	return out
}

// line is one line of luma of the row of cells, as wide as the macroblocks.
func (f *Film) line(cells uint64) []byte {
	y := make([]byte, 16*f.columns)
	for x := range y {
		y[x] = black
		if cells>>(cellCount-1-min(x*cellCount/f.w, cellCount-1))&1 == 1 {
			y[x] = white
		}
	}
	return y
}

// sps is a sequence parameter set (7.3.2.1.1). Pictures are shown in the order in which they come.
func (f *Film) sps() []byte {
	var b bitstream
	b.put(66, 8)   // profile: baseline
	b.put(0xc0, 8) // constrained
	b.put(31, 8)   // level 3.1; nobody here counts macroblocks a second
	b.ue(0)        // its id
	b.ue(0)        // frame_num has 4 bits
	b.ue(2)        // pic_order_cnt_type
	b.ue(1)        // reference frames
	b.put(0, 1)    // no gaps in frame_num
	b.ue(f.columns - 1)
	b.ue(f.rows - 1)
	b.put(0b11, 2) // frames only; direct_8x8_inference
	if right, bottom := 16*f.columns-f.w, 16*f.rows-f.h; right+bottom == 0 {
		b.put(0, 1)
	} else {
		b.put(1, 1)
		b.ue(0)
		b.ue(right / 2)
		b.ue(0)
		b.ue(bottom / 2)
	}
	b.put(0, 1) // no VUI
	return b.trailing()
}

// pps is a picture parameter set (7.3.2.2).
func pps() []byte {
	var b bitstream
	b.ue(0) // its id
	b.ue(0) // of the SPS
	b.put(0, 2)
	b.ue(0) // slice groups, less one
	b.ue(0) // references, less one
	b.ue(0)
	b.put(0, 3)     // no weights
	b.ue(0)         // QP 26
	b.ue(0)         //
	b.ue(0)         //
	b.put(0b100, 3) // the slice says whether edges are smoothed
	return b.trailing()
}

// Macroblock types (tables 7-11 and 7-13): in a P slice five come before those of an I slice.
const (
	mbLeft  = 2  // I_16x16_1_0_0: horizontal prediction, nothing coded
	mbPCM   = 25 // I_PCM
	inSlice = 5
)

// intra is the slice of a key frame: the row and the left edge as samples, all else copied from the left.
func (f *Film) intra(line []byte) []byte {
	var b bitstream
	b.ue(0)          // from macroblock 0
	b.ue(7)          // all slices are I
	b.ue(0)          // of the PPS
	b.put(0, 4)      // frame_num
	b.ue(f.keys & 1) // idr_pic_id: two in a row differ
	b.put(0, 2)      // nothing special about references
	b.ue(0)          // QP as it is
	b.ue(1)          // no smoothing of edges
	for my := range f.rows {
		for mx := range f.columns {
			switch {
			case my == 0:
				b.pcm(mbPCM, line[16*mx:][:16])
			case mx == 0:
				b.pcm(mbPCM, stripe(my, f.rows))
			default:
				b.ue(mbLeft)
				b.ue(0) // chroma by its mean
				b.ue(0) // same QP
				b.noCoefficients(mx == 1, my == 1)
			}
		}
	}
	return b.trailing()
}

func stripe(row, rows int) []byte {
	return slices.Repeat([]byte{byte(40 + 160*row/rows)}, 16)
}

// inter is the slice of a picture that differs from the one before in some cells.
func (f *Film) inter(line []byte) []byte {
	var b bitstream
	b.ue(0)              // from macroblock 0
	b.ue(5)              // all slices are P
	b.ue(0)              // of the PPS
	b.put(f.since&15, 4) // frame_num
	b.put(0, 2)          // number and order of references as they are
	b.put(0, 1)          // the oldest reference goes
	b.ue(0)              // QP as it is
	b.ue(1)              // no smoothing of edges
	skipped := 0
	for mx := range f.columns {
		now := line[16*mx:][:16]
		if string(now) == string(f.shown[16*mx:][:16]) {
			skipped++
			continue
		}
		b.ue(skipped)
		b.pcm(inSlice+mbPCM, now)
		skipped = 0
	}
	b.ue(skipped + f.columns*(f.rows-1))
	return b.trailing()
}

// bitstream writes bits, highest first.
type bitstream struct {
	b    []byte
	free int // bits of the last byte that are not yet written
}

func (s *bitstream) put(v, n int) {
	for i := n - 1; i >= 0; i-- {
		if s.free == 0 {
			s.b, s.free = append(s.b, 0), 8
		}
		s.free--
		s.b[len(s.b)-1] |= byte(v>>i&1) << s.free
	}
}

// ue writes an Exp-Golomb code (9.1).
func (s *bitstream) ue(v int) {
	n := bits.Len(uint(v + 1))
	s.put(0, n-1)
	s.put(v+1, n)
}

// trailing ends an RBSP (7.3.2.11).
func (s *bitstream) trailing() []byte {
	s.put(1, 1)
	return s.b
}

// pcm writes a macroblock of 16 equal lines without colour, as samples (7.3.5).
func (s *bitstream) pcm(kind int, line []byte) {
	s.ue(kind)
	s.free = 0 // pcm_alignment_zero_bit
	for range 16 {
		s.b = append(s.b, line...)
	}
	s.b = append(s.b, slices.Repeat([]byte{128}, 2*64)...)
}

// noCoefficients is the coeff_token of a DC block without any (table 9-5). Which code that is depends on how many the
// neighbours have: 16 if they are samples, 0 if they are like this one (9.2.1).
func (s *bitstream) noCoefficients(leftPCM, abovePCM bool) {
	if leftPCM || abovePCM { // 8 or 16 on average
		s.put(0b000011, 6)
		return
	}
	s.put(1, 1)
}

// nal is a NAL unit behind its start code, with emulation prevention (7.4.1).
func nal(header byte, rbsp []byte) []byte {
	out := append(binary.BigEndian.AppendUint32(nil, 1), header)
	zeros := 0
	for _, c := range rbsp {
		if zeros == 2 && c <= 3 {
			out, zeros = append(out, 3), 0
		}
		if zeros++; c != 0 {
			zeros = 0
		}
		out = append(out, c)
	}
	return out
}
