package scene

import "image"

// The row: 64 cells in the top 16 lines, each a 64th of the width, white for 1. First bit first: 1010, the milliseconds
// (32 bits), the sequence number (16 bits), a CRC-8 of those six bytes (polynomial 0x07, as in SMBus), 0101.
const (
	cellRows  = 16
	cellCount = 64
	black     = 16 // video range, which codecs keep
	white     = 235
)

func code(ms uint32, seq uint16) uint64 {
	body := uint64(ms)<<16 | uint64(seq)
	return 0xA<<60 | body<<12 | uint64(crc(body))<<4 | 0x5
}

func crc(body uint64) (c uint8) {
	for i := 5; i >= 0; i-- {
		c ^= uint8(body >> (8 * i))
		for range 8 {
			if c&0x80 != 0 {
				c = c<<1 ^ 0x07
			} else {
				c <<= 1
			}
		}
	}
	return c
}

// row is the tiles of the top row for a code. A tile of eight cells has 256 faces, which are kept.
func (s *Scene) row(bits uint64) [][]byte {
	each := cellCount / s.tiles.columns
	row := make([][]byte, s.tiles.columns)
	for i := range row {
		face := bits << (i * each) >> (cellCount - each)
		b, ok := s.cells[face]
		if !ok {
			b = s.tiles.one(s.face(face, each))
			if each == 8 {
				s.cells[face] = b
			}
		}
		row[i] = b
	}
	return row
}

func (s *Scene) face(bits uint64, n int) image.Image {
	m := image.NewYCbCr(image.Rect(0, 0, s.tiles.tileW, cellRows), image.YCbCrSubsampleRatio420)
	w := s.w * n / cellCount // without the padding of an odd width
	for x := range s.tiles.tileW {
		v := uint8(black)
		if bits>>(n-1-min(x*n/w, n-1))&1 == 1 {
			v = white
		}
		for y := range cellRows {
			m.Y[y*m.YStride+x] = v
		}
	}
	for i := range m.Cb {
		m.Cb[i], m.Cr[i] = 128, 128
	}
	return m
}

// ReadCells reads the row of a decoded picture: the low 32 bits of its capture time in milliseconds since 1970, and the
// low 16 bits of its sequence number. It stands lossy codecs, and scaling from twice to a quarter of the size. Not ok
// means that there is no row, or that it can't be read; a chance match is about one in 65,000 pictures without one.
func ReadCells(img image.Image) (ms uint32, seq uint16, ok bool) {
	for _, band := range [][2]int{{5, 11}, {2, 6}, {1, 3}} {
		if ms, seq, ok = readBand(img, band[0], band[1]); ok {
			break
		}
	}
	return ms, seq, ok
}

func readBand(img image.Image, top, bottom int) (ms uint32, seq uint16, ok bool) {
	b := img.Bounds()
	if b.Dx() < 2*cellCount || b.Dy() < bottom {
		return 0, 0, false
	}
	var level [cellCount]int
	for i := range level {
		// The middle half of a cell: codecs smear edges.
		from, to := ((4*i+1)*b.Dx()+4*cellCount-1)/(4*cellCount), (4*i+3)*b.Dx()/(4*cellCount)
		sum, n := 0, 0
		for x := from; x < max(to, from+1); x++ {
			for y := top; y < bottom; y++ {
				sum += luma(img, b.Min.X+x, b.Min.Y+y)
				n++
			}
		}
		level[i] = sum / n
	}
	hi := (level[0] + level[2] + level[61] + level[63]) / 4
	lo := (level[1] + level[3] + level[60] + level[62]) / 4
	if hi-lo < 48 {
		return 0, 0, false
	}
	var bits uint64
	for i, l := range level {
		if l > (hi+lo)/2 {
			bits |= 1 << (63 - i)
		}
	}
	body := bits >> 12 & (1<<48 - 1)
	ms, seq = uint32(body>>16), uint16(body)
	return ms, seq, bits == code(ms, seq)
}

func luma(img image.Image, x, y int) int {
	switch m := img.(type) {
	case *image.YCbCr:
		return int(m.Y[m.YOffset(x, y)])
	case *image.Gray:
		return int(m.Pix[m.PixOffset(x, y)])
	}
	r, g, b, _ := img.At(x, y).RGBA()
	return int((299*r + 587*g + 114*b) / 1000 >> 8)
}
