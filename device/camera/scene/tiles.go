package scene

import (
	"bytes"
	"image"
	"image/jpeg"
)

const quality = 80

// tiles is a picture as restart intervals: each is 16 lines of an eighth of the width, or of the whole width where an
// eighth is not a number of 16-pixel blocks. Entropy-coded data of a restart interval depends on nothing before it.
type tiles struct {
	w, h    int
	tileW   int
	columns int
	head    []byte // from SOI to the end of SOS, for the whole picture
	data    [][]byte
	out     flushBuffer
}

// patch is tiles to be put in place of the picture's own.
type patch map[int][]byte

// flushBuffer has the methods that spare jpeg.Encode a buffer of its own for each tile.
type flushBuffer struct{ bytes.Buffer }

func (*flushBuffer) Flush() error { return nil }

func newTiles(w, h int) tiles {
	t := tiles{w: w, h: h, tileW: (w + 15) &^ 15, columns: 1}
	if w%128 == 0 {
		t.tileW, t.columns = w/8, 8
	}
	t.data = make([][]byte, t.columns*((h+15)/16))
	return t
}

func (t *tiles) rect(i int) image.Rectangle {
	x, y := i%t.columns*t.tileW, i/t.columns*16
	return image.Rect(x, y, x+t.tileW, y+16)
}

// encode takes the whole picture.
func (t *tiles) encode(m *image.YCbCr) {
	for i := range t.data {
		t.data[i] = t.one(m.SubImage(t.rect(i)))
	}
}

// one encodes a tile and returns its entropy-coded data.
func (t *tiles) one(m image.Image) []byte {
	t.out.Reset()
	jpeg.Encode(&t.out, m, &jpeg.Options{Quality: quality}) // fails only where its writer does
	b := t.out.Bytes()
	if t.head == nil {
		t.head = t.header(b)
	}
	skip := len(t.head) - len(restart{}) - len(comment)
	return bytes.Clone(b[skip : len(b)-2]) // all tiles are of one size, so their headers are too
}

const comment = "\xff\xfe\x00\x22telecart twin: not a real camera"

type restart [6]byte // a DRI segment

// header makes a tile's header that of the picture: true size, a comment that owns up, and the restart interval.
func (t *tiles) header(b []byte) []byte {
	head := append(append([]byte{}, b[:2]...), comment...)
	for i := 2; ; {
		n := 2 + int(b[i+2])<<8 + int(b[i+3])
		seg := bytes.Clone(b[i : i+n])
		switch seg[1] {
		case 0xc0:
			seg[5], seg[6], seg[7], seg[8] = byte(t.h>>8), byte(t.h), byte(t.w>>8), byte(t.w)
		case 0xda:
			interval := restart{0xff, 0xdd, 0, 4, byte(t.tileW / 16 >> 8), byte(t.tileW / 16)}
			return append(append(head, interval[:]...), seg...)
		}
		head = append(head, seg...)
		i += n
	}
}

// redraw lets a painter change a box of the picture and encodes the tiles that it touches; the picture stays as it was.
func (t *tiles) redraw(m *image.YCbCr, box image.Rectangle, paint func(*image.YCbCr, image.Rectangle)) patch {
	p := patch{}
	if box.Empty() {
		return p
	}
	for y := box.Min.Y / 16; y <= (box.Max.Y-1)/16; y++ {
		for x := box.Min.X / t.tileW; x <= (box.Max.X-1)/t.tileW; x++ {
			i := y*t.columns + x
			r := t.rect(i)
			c := image.NewYCbCr(r, image.YCbCrSubsampleRatio420)
			for line := range 16 {
				copy(c.Y[line*c.YStride:][:t.tileW], m.Y[m.YOffset(r.Min.X, r.Min.Y+line):])
			}
			for line := range 8 {
				at := m.COffset(r.Min.X, r.Min.Y+2*line)
				copy(c.Cb[line*c.CStride:][:t.tileW/2], m.Cb[at:])
				copy(c.Cr[line*c.CStride:][:t.tileW/2], m.Cr[at:])
			}
			paint(c, r.Intersect(box))
			p[i] = t.one(c)
		}
	}
	return p
}

// join is the whole file, with the top row and a patch put in.
func (t *tiles) join(top [][]byte, p patch) []byte {
	pick := func(i int) []byte {
		if i < len(top) {
			return top[i]
		}
		if b, ok := p[i]; ok {
			return b
		}
		return t.data[i]
	}
	n := len(t.head) + 2*len(t.data)
	for i := range t.data {
		n += len(pick(i))
	}
	out := append(make([]byte, 0, n), t.head...)
	for i := range t.data {
		if i > 0 {
			out = append(out, 0xff, 0xd0|byte(i-1)&7) // RSTm
		}
		out = append(out, pick(i)...)
	}
	return append(out, 0xff, 0xd9)
}
