package v4l2

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// PixelFormat is a four-character code, first character lowest.
type PixelFormat uint32

const (
	MJPEG PixelFormat = 'M' | 'J'<<8 | 'P'<<16 | 'G'<<24
	YUYV  PixelFormat = 'Y' | 'U'<<8 | 'Y'<<16 | 'V'<<24
	H264  PixelFormat = 'H' | '2'<<8 | '6'<<16 | '4'<<24 // with start codes, one access unit a buffer
	// jpeg is what some drivers call the same thing.
	jpeg PixelFormat = 'J' | 'P'<<8 | 'E'<<16 | 'G'<<24
)

func (p PixelFormat) String() string {
	return string([]byte{byte(p), byte(p >> 8), byte(p >> 16), byte(p >> 24)})
}

// Size is a frame size, or a range of them.
type Size struct {
	MinW, MaxW, StepW int
	MinH, MaxH, StepH int
}

// Mode is one way a camera can stream. Num/Den seconds lie between pictures; both 0: the camera decides.
type Mode struct {
	Format        PixelFormat
	Width, Height int
	Num, Den      uint32
}

// FPS is the mode's pictures a second, 0 if the camera decides.
func (m Mode) FPS() float64 {
	if m.Num == 0 {
		return 0
	}
	return float64(m.Den) / float64(m.Num)
}

func (m Mode) String() string {
	return fmt.Sprintf("%v %dx%d at %.4g/s", m.Format, m.Width, m.Height, m.FPS())
}

const maxEnum = 256 // more entries than any camera has; a driver that never says EINVAL must not hang us

// enumerate calls ask with 0, 1, 2 ... until the driver says there are no more.
func enumerate(what string, ask func(i uint32) error) error {
	for i := range uint32(maxEnum) {
		err := ask(i)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTTY) {
			return nil
		}
		if err != nil {
			return failed(what, err)
		}
	}
	return nil
}

func formats(n node) (list []PixelFormat, err error) {
	err = enumerate("list formats", func(i uint32) error {
		d := fmtDesc{Index: i, Type: typeCapture}
		if err := n.ioctl(reqEnumFmt, unsafe.Pointer(&d)); err != nil {
			return err
		}
		list = append(list, PixelFormat(d.PixelFormat))
		return nil
	})
	return list, err
}

func sizes(n node, p PixelFormat) (list []Size, err error) {
	err = enumerate("list frame sizes", func(i uint32) error {
		d := frameSizeEnum{Index: i, PixelFormat: uint32(p)}
		if err := n.ioctl(reqEnumFrameSizes, unsafe.Pointer(&d)); err != nil {
			return err
		}
		if d.Type == discrete {
			w, h := int(d.MinW), int(d.MaxW)
			list = append(list, Size{w, w, 1, h, h, 1})
			return nil
		}
		list = append(list, Size{int(d.MinW), int(d.MaxW), max(1, int(d.StepW)), int(d.MinH), int(d.MaxH), max(1, int(d.StepH))})
		return unix.EINVAL // a range is the only entry
	})
	return list, err
}

// interval asks for the interval nearest to fps that the camera offers at a size; 0/0 if it offers no choice.
func interval(n node, p PixelFormat, w, h int, fps float64) (best fraction, err error) {
	off := math.Inf(1)
	consider := func(f fraction) {
		if f.Num == 0 || f.Den == 0 {
			return
		}
		if d := math.Abs(float64(f.Den)/float64(f.Num) - fps); d < off {
			best, off = f, d
		}
	}
	err = enumerate("list frame intervals", func(i uint32) error {
		d := intervalEnum{Index: i, PixelFormat: uint32(p), Width: uint32(w), Height: uint32(h)}
		if err := n.ioctl(reqEnumIntervals, unsafe.Pointer(&d)); err != nil {
			return err
		}
		consider(d.Min)
		if d.Type == discrete {
			return nil
		}
		consider(d.Max)
		if lo, hi := d.Min, d.Max; lo.Num > 0 && hi.Num > 0 && float64(lo.Den) >= fps*float64(lo.Num) && float64(hi.Den) <= fps*float64(hi.Num) {
			consider(fraction{1000, uint32(fps * 1000)}) // inside the range
		}
		return unix.EINVAL
	})
	return best, err
}

// fit is the size in the range nearest to the wished one.
func (s Size) fit(w, h int) (int, int) {
	return Fit(w, s.MinW, s.MaxW, s.StepW), Fit(h, s.MinH, s.MaxH, s.StepH)
}

// Fit clamps v to [lo, hi] and rounds it to lo + k*step (a step below 1 is 1).
func Fit(v, lo, hi, step int) int {
	step = max(1, step)
	v = max(lo, min(v, hi))
	v = lo + (v-lo+step/2)/step*step
	if v > hi {
		v -= step
	}
	return v
}

// Wish is what a stream is wanted for.
type Wish struct {
	Formats       []PixelFormat // the first of these that is offered is taken
	Width, Height int           // the nearest size is taken; 0: the largest
	FPS           float64       // the nearest rate is taken
}

// Pictures wishes for pictures one by one, JPEG before raw.
func Pictures(width, height int, fps float64) Wish {
	return Wish{[]PixelFormat{MJPEG, YUYV}, width, height, fps}
}

// Coded wishes for an H.264 stream.
func Coded(width, height int, fps float64) Wish { return Wish{[]PixelFormat{H264}, width, height, fps} }

// Offer is what a camera's node can do.
type Offer struct {
	Info    Info
	Formats []PixelFormat          // all it has, whether this package knows them or not
	Sizes   map[PixelFormat][]Size // of those it knows
}

// Look asks a node what it offers. It is open only meanwhile.
func Look(path string) (Offer, error) {
	n, err := openNode(path)
	if err != nil {
		return Offer{}, err
	}
	o, err := inquire(n)
	return o, errors.Join(err, n.Close())
}

func inquire(n node) (o Offer, err error) {
	if o.Info, err = describe(n); err != nil {
		return o, err
	}
	if o.Formats, err = formats(n); err != nil {
		return o, err
	}
	o.Sizes = map[PixelFormat][]Size{}
	for _, p := range o.Formats {
		if p != MJPEG && p != jpeg && p != YUYV && p != H264 {
			continue
		}
		if o.Sizes[p], err = sizes(n, p); err != nil {
			return o, err
		}
	}
	return o, nil
}

// Fit is the offered mode nearest to a wish, its rate not yet chosen.
func (o Offer) Fit(w Wish) (Mode, error) {
	for _, wanted := range w.Formats {
		names := []PixelFormat{wanted}
		if wanted == MJPEG {
			names = append(names, jpeg)
		}
		for _, p := range names {
			if !slices.Contains(o.Formats, p) {
				continue
			}
			m := Mode{Format: p, Width: w.Width, Height: w.Height}
			if w.Width == 0 || w.Height == 0 {
				m.Width, m.Height = largest(o.Sizes[p])
			} else {
				m.Width, m.Height = nearest(o.Sizes[p], w.Width, w.Height)
			}
			return m, nil
		}
	}
	return Mode{}, fmt.Errorf("%w: wanted %v, there are only %v", ErrNoFormat, w.Formats, o.Formats)
}

func nearest(list []Size, width, height int) (int, int) {
	w, h, off := width, height, math.MaxInt
	for _, s := range list {
		sw, sh := s.fit(width, height)
		if d := max(sw-width, width-sw) + max(sh-height, height-sh); d < off {
			w, h, off = sw, sh, d
		}
	}
	return w, h
}

// anySize is asked for when a driver lists none: it takes the nearest that it has.
const anySize = 1 << 13

func largest(list []Size) (w, h int) {
	for _, s := range list {
		if sw, sh := s.fit(s.MaxW, s.MaxH); sw*sh > w*h {
			w, h = sw, sh
		}
	}
	if w*h == 0 {
		return anySize, anySize
	}
	return w, h
}

// choose finds the nearest mode: format, then size, then rate.
func choose(n node, w Wish) (Mode, error) {
	o, err := inquire(n)
	if err != nil {
		return Mode{}, err
	}
	m, err := o.Fit(w)
	if err != nil {
		return m, err
	}
	f, err := interval(n, m.Format, m.Width, m.Height, w.FPS)
	m.Num, m.Den = f.Num, f.Den
	return m, err
}
