// Package turbojpeg decodes a camera's JPEGs for the video encoder, several times as fast as the standard library:
// libjpeg-turbo by its TurboJPEG API (version 2.1 or newer).
//
// Parties: live, which hands in each of a camera's pictures and the most that may be sent; libturbojpeg, a system library.
//
// Invariants: what comes out is 4:2:0 in video range (ITU-T BT.601: 16 to 235), as H.264 without a word about its range
// means it; no larger than was asked for, in the proportions that came in, never mirrored. Sizes are bounded before
// anything is allocated. Damaged data gives ErrDamaged along with a picture, which may do for live viewing and never for
// a still; what is no picture gives ErrBroken; neither can crash the agent or spoil the next picture. The originals are
// not touched: stills and clips are the camera's own bytes and never come through here.
package turbojpeg

/*
#cgo CFLAGS: -O3
#cgo LDFLAGS: -lturbojpeg
#include <turbojpeg.h>
#include "scale.h"

// Planes one by one: Go's memory may hold no pointers to more of it.
static int to_planes(tjhandle h, const unsigned char *jpeg, unsigned long n, int w, int hgt, int flags,
		unsigned char *y, int ys, unsigned char *u, int us, unsigned char *v, int vs) {
	unsigned char *planes[3] = {y, u, v};
	int strides[3] = {ys, us, vs};
	return tjDecompressToYUVPlanes(h, jpeg, n, planes, w, strides, hgt, flags);
}

static void plane(uint8_t *dst, int dw, int dh, int ds, const uint8_t *src, int sw, int sh, int ss, int gain, int zero,
		uint8_t *row, step *steps) {
	target t = {dst, dw, dh, ds};
	source s = {src, sw, sh, ss};
	resample(t, s, gain, zero, row, steps);
}
*/
import "C"

import (
	"errors"
	"fmt"
	"image"
	"runtime"
	"unsafe"
)

// What can be wrong with a picture.
var (
	ErrBroken  = errors.New("turbojpeg: not a picture that can be read")
	ErrDamaged = errors.New("turbojpeg: the picture is damaged")
)

const (
	maxSide   = 1 << 13  // pixels; no camera on a cart has more
	maxPixels = 16 << 20 // likewise: a header may claim 4 Gpx
	maxBytes  = 64 << 20
	minSide   = 16 // a macroblock
)

// Decoder decodes one picture after the other. It belongs to one goroutine. Close it.
type Decoder struct {
	h     C.tjhandle
	raw   [3][]byte // planes as they were in the JPEG
	out   image.YCbCr
	row   []byte
	steps []C.step
}

// New makes a decoder.
func New() (*Decoder, error) {
	d := &Decoder{}
	return d, d.renew()
}

// renew begins with a fresh library handle: the old one keeps tables, and after a failure takes the next picture for the
// rest of this one (libjpeg-turbo 2.1.5). It costs less than a microsecond.
func (d *Decoder) renew() error {
	d.Close()
	if d.h = C.tjInitDecompress(); d.h == nil {
		return errors.New("turbojpeg: libturbojpeg gave no decoder")
	}
	return nil
}

// Close frees the decoder. It may be called again.
func (d *Decoder) Close() {
	if d.h != nil {
		C.tjDestroy(d.h)
		d.h = nil
	}
}

// Decode makes a picture for the encoder from a JPEG, with or without Huffman tables. It is at most as large as most, and
// good until the next call. With ErrDamaged there is a picture all the same.
func (d *Decoder) Decode(jpeg []byte, most image.Point) (*image.YCbCr, error) {
	if len(jpeg) == 0 || len(jpeg) > maxBytes {
		return nil, fmt.Errorf("%w: %d bytes", ErrBroken, len(jpeg))
	}
	if err := d.renew(); err != nil {
		return nil, err
	}
	data, n := (*C.uchar)(unsafe.Pointer(&jpeg[0])), C.ulong(len(jpeg))
	var w, h, sampling, colours C.int
	if C.tjDecompressHeader3(d.h, data, n, &w, &h, &sampling, &colours) != 0 {
		return nil, fmt.Errorf("%w: %s", ErrBroken, d.why())
	}
	size := image.Pt(int(w), int(h))
	switch {
	case size.X < 1 || size.Y < 1 || size.X > maxSide || size.Y > maxSide || size.X*size.Y > maxPixels:
		return nil, fmt.Errorf("%w: %dx%d pixels", ErrBroken, size.X, size.Y)
	case sampling < 0 || sampling >= C.TJ_NUMSAMP || colours != C.TJCS_YCbCr && colours != C.TJCS_GRAY:
		return nil, fmt.Errorf("%w: colours of kind %d, sampled as %d", ErrBroken, colours, sampling)
	}
	size = reduced(size, fit(size, most))
	from := [3]plane{}
	for i := range from {
		if i > 0 && sampling == C.TJSAMP_GRAY {
			break
		}
		pw, ph := int(C.tjPlaneWidth(C.int(i), C.int(size.X), sampling)), int(C.tjPlaneHeight(C.int(i), C.int(size.Y), sampling))
		if pw < 1 || ph < 1 {
			return nil, fmt.Errorf("%w: a plane of %dx%d", ErrBroken, pw, ph)
		}
		d.raw[i] = room(d.raw[i], pw*ph)
		from[i] = plane{d.raw[i], pw, ph, pw}
	}
	from[0].w, from[0].h = size.X, size.Y // odd sides are padded
	rv := C.to_planes(d.h, data, n, C.int(size.X), C.int(size.Y), C.TJFLAG_LIMITSCANS,
		from[0].at(), C.int(from[0].stride), from[1].at(), C.int(from[1].stride), from[2].at(), C.int(from[2].stride))
	runtime.KeepAlive(jpeg)
	var err error
	if rv != 0 {
		if C.tjGetErrorCode(d.h) != C.TJERR_WARNING {
			return nil, fmt.Errorf("%w: %s", ErrBroken, d.why())
		}
		err = fmt.Errorf("%w: %s", ErrDamaged, d.why())
	}
	return d.convert(from, image.Pt(int(w), int(h)), most), err
}

// Fit makes a picture for the encoder from one that was decoded elsewhere, in full range as image.YCbCr means it. It is
// at most as large as most, and good until the next call.
func (d *Decoder) Fit(m *image.YCbCr, most image.Point) (*image.YCbCr, error) {
	size := m.Rect.Size()
	if size.X < 1 || size.Y < 1 || size.X > maxSide || size.Y > maxSide || size.X*size.Y > maxPixels {
		return nil, fmt.Errorf("%w: %dx%d pixels", ErrBroken, size.X, size.Y)
	}
	last := m.Rect.Max.Sub(image.Pt(1, 1))
	cw := m.COffset(last.X, m.Rect.Min.Y) - m.COffset(m.Rect.Min.X, m.Rect.Min.Y) + 1
	ch := 1
	if m.CStride > 0 {
		ch = (m.COffset(m.Rect.Min.X, last.Y)-m.COffset(m.Rect.Min.X, m.Rect.Min.Y))/m.CStride + 1
	}
	from := [3]plane{{m.Y, size.X, size.Y, m.YStride}, {m.Cb, cw, ch, m.CStride}, {m.Cr, cw, ch, m.CStride}}
	luma, chroma := m.YOffset(m.Rect.Min.X, m.Rect.Min.Y), m.COffset(m.Rect.Min.X, m.Rect.Min.Y)
	for i, at := range []int{luma, chroma, chroma} {
		p := &from[i]
		if at < 0 || p.stride < p.w || at > len(p.pix) || len(p.pix)-at < p.stride*(p.h-1)+p.w {
			return nil, fmt.Errorf("%w: plane %d of %v has %d bytes", ErrBroken, i, m.Rect, len(p.pix))
		}
		p.pix = p.pix[at:]
	}
	return d.convert(from, size, most), nil
}

func (d *Decoder) why() string { return C.GoString(C.tjGetErrorStr2(d.h)) }

// plane is one component of a picture.
type plane struct {
	pix          []byte
	w, h, stride int
}

func (p plane) at() *C.uchar {
	if len(p.pix) == 0 {
		return nil
	}
	return (*C.uchar)(unsafe.Pointer(&p.pix[0]))
}

// Full range to video range (BT.601), in 65536ths: 255 steps become 219 of luma, 224 of colour.
const (
	lumaGain, lumaZero     = (219*65536 + 127) / 255, 16
	chromaGain, chromaZero = (224*65536 + 127) / 255, 128 - (128*224+127)/255 // 128 stays 128
)

func (d *Decoder) convert(from [3]plane, size, most image.Point) *image.YCbCr {
	to := fit(size, most)
	half := to.Div(2)
	d.out = image.YCbCr{
		SubsampleRatio: image.YCbCrSubsampleRatio420, Rect: image.Rectangle{Max: to}, YStride: to.X, CStride: half.X,
		Y: room(d.out.Y, to.X*to.Y), Cb: room(d.out.Cb, half.X*half.Y), Cr: room(d.out.Cr, half.X*half.Y),
	}
	d.resample(d.out.Y, to, from[0], lumaGain, lumaZero)
	for i, c := range [][]byte{d.out.Cb, d.out.Cr} {
		if p := from[1+i]; len(p.pix) > 0 {
			d.resample(c, half, p, chromaGain, chromaZero)
			continue
		}
		for k := range c { // grey
			c[k] = 128
		}
	}
	return &d.out
}

func (d *Decoder) resample(dst []byte, size image.Point, src plane, gain, zero int) {
	d.row = room(d.row, src.w+1)
	if cap(d.steps) < size.X {
		d.steps = make([]C.step, size.X)
	}
	C.plane((*C.uchar)(unsafe.Pointer(&dst[0])), C.int(size.X), C.int(size.Y), C.int(size.X),
		src.at(), C.int(src.w), C.int(src.h), C.int(src.stride), C.int(gain), C.int(zero),
		(*C.uchar)(unsafe.Pointer(&d.row[0])), &d.steps[:size.X][0])
}

// fit is the largest size within most that has the proportions of size, even on both sides. It never enlarges, but for
// what is smaller than a macroblock.
func fit(size, most image.Point) image.Point {
	w, h := size.X, size.Y
	if most.X > 0 && w > most.X {
		w, h = most.X, (size.Y*most.X+size.X/2)/size.X
	}
	if most.Y > 0 && h > most.Y {
		w, h = (size.X*most.Y+size.Y/2)/size.Y, most.Y
	}
	return image.Pt(max(minSide, w&^1), max(minSide, h&^1))
}

// reduced is the smallest size that the decoder itself can make (a half, a quarter, an eighth) and that is no smaller
// than wanted: it leaves out most of the work.
func reduced(size, wanted image.Point) image.Point {
	best := size
	for _, n := range []int{2, 4, 8} {
		s := image.Pt((size.X+n-1)/n, (size.Y+n-1)/n)
		if s.X >= wanted.X && s.Y >= wanted.Y {
			best = s
		}
	}
	return best
}

// room is b with n bytes, or a new one. It never keeps much more than is needed.
func room(b []byte, n int) []byte {
	if cap(b) < n || cap(b) > 4*n+1<<16 {
		return make([]byte, n)
	}
	return b[:n]
}
