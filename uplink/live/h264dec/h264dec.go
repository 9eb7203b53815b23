// Package h264dec decodes H.264 for tests and the drill, which must see what a specialist sees. The product itself never
// decodes: browsers do.
//
// The decoder is part of the openh264 archive that mediadevices links for its encoder; only its prototypes are declared
// here, after the public API of openh264 2.x (codec_api.h). A Decoder belongs to one goroutine.
package h264dec

/*
// The archive comes with mediadevices' package, at the final link; this package's own trial link has no need of it.
#cgo LDFLAGS: -Wl,--unresolved-symbols=ignore-all
#include <stdlib.h>
#include <string.h>
#include <stdbool.h>

typedef struct { unsigned int size; int bitstream; } video_property;
typedef struct {
	char *file;
	unsigned int cpu_load;
	unsigned char target_layer;
	int concealment;
	bool parse_only;
	video_property property;
} decoding_param;
typedef struct {
	int status;
	unsigned long long in_ts, out_ts;
	struct { int width, height, format, stride[2]; } mem;
	unsigned char *dst[3];
} buffer_info;

typedef struct vtbl vtbl;
typedef const vtbl *decoder;
struct vtbl {
	long (*initialize)(decoder *, const decoding_param *);
	long (*uninitialize)(decoder *);
	int (*decode_frame)(decoder *, const unsigned char *, int, unsigned char **, int *, int *, int *);
	int (*decode_frame_no_delay)(decoder *, const unsigned char *, int, unsigned char **, buffer_info *);
};
long WelsCreateDecoder(decoder **);
void WelsDestroyDecoder(decoder *);

static decoder *dec_open(void) {
	decoder *d = NULL;
	if (WelsCreateDecoder(&d) != 0) return NULL;
	decoding_param p;
	memset(&p, 0, sizeof p);
	p.target_layer = 255;
	p.property.size = sizeof p.property;
	if ((*d)->initialize(d, &p) != 0) { WelsDestroyDecoder(d); return NULL; }
	return d;
}
static int dec_frame(decoder *d, const unsigned char *src, int n, buffer_info *out) {
	unsigned char *dst[3] = {0};
	memset(out, 0, sizeof *out);
	int rv = (*d)->decode_frame_no_delay(d, src, n, dst, out);
	for (int i = 0; i < 3; i++) out->dst[i] = dst[i];
	return rv;
}
static void dec_close(decoder *d) { (*d)->uninitialize(d); WelsDestroyDecoder(d); }
*/
import "C"

import (
	"errors"
	"fmt"
	"image"
	"unsafe"

	_ "github.com/pion/mediadevices/pkg/codec/openh264" // brings the archive
)

// ErrNoPicture: the access unit gave no picture; a key frame may be needed first.
var ErrNoPicture = errors.New("h264dec: no picture")

// Decoder decodes one stream.
type Decoder struct{ d *C.decoder }

// New makes a decoder. Close it.
func New() (*Decoder, error) {
	d := C.dec_open()
	if d == nil {
		return nil, errors.New("h264dec: openh264 gave no decoder")
	}
	return &Decoder{d}, nil
}

// Decode takes one access unit (Annex B) and returns its picture, a copy in 4:2:0.
func (d *Decoder) Decode(au []byte) (*image.YCbCr, error) {
	if len(au) == 0 {
		return nil, ErrNoPicture
	}
	var info C.buffer_info
	if rv := C.dec_frame(d.d, (*C.uchar)(unsafe.Pointer(&au[0])), C.int(len(au)), &info); rv != 0 {
		return nil, fmt.Errorf("%w: decoder state %#x", ErrNoPicture, int(rv))
	}
	w, h := int(info.mem.width), int(info.mem.height)
	if info.status != 1 || info.dst[0] == nil || w <= 0 || h <= 0 {
		return nil, ErrNoPicture
	}
	m := image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420)
	plane := func(dst []byte, dstStride int, src *C.uchar, stride, width, height int) {
		from := unsafe.Slice((*byte)(unsafe.Pointer(src)), stride*(height-1)+width)
		for y := range height {
			copy(dst[y*dstStride:][:width], from[y*stride:])
		}
	}
	ys, cs := int(info.mem.stride[0]), int(info.mem.stride[1])
	plane(m.Y, m.YStride, info.dst[0], ys, w, h)
	plane(m.Cb, m.CStride, info.dst[1], cs, (w+1)/2, (h+1)/2)
	plane(m.Cr, m.CStride, info.dst[2], cs, (w+1)/2, (h+1)/2)
	return m, nil
}

// Close frees the decoder.
func (d *Decoder) Close() { C.dec_close(d.d) }
