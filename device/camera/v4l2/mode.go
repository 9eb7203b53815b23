package v4l2

import (
	"errors"
	"fmt"
	"math"
	"unsafe"

	"golang.org/x/sys/unix"
)

// PixelFormat is a four-character code, first character lowest.
type PixelFormat uint32

const (
	MJPEG PixelFormat = 'M' | 'J'<<8 | 'P'<<16 | 'G'<<24
	YUYV  PixelFormat = 'Y' | 'U'<<8 | 'Y'<<16 | 'V'<<24
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

// choose finds the nearest mode: MJPEG before YUYV, then size, then rate.
func choose(n node, width, height int, fps float64) (Mode, error) {
	offered, err := formats(n)
	if err != nil {
		return Mode{}, err
	}
	has := map[PixelFormat]bool{}
	for _, p := range offered {
		has[p] = true
	}
	for _, p := range []PixelFormat{MJPEG, jpeg, YUYV} {
		if !has[p] {
			continue
		}
		list, err := sizes(n, p)
		if err != nil {
			return Mode{}, err
		}
		m, off := Mode{Format: p, Width: width, Height: height}, math.MaxInt
		for _, s := range list {
			w, h := s.fit(width, height)
			if d := max(w-width, width-w) + max(h-height, height-h); d < off {
				m.Width, m.Height, off = w, h, d
			}
		}
		f, err := interval(n, p, m.Width, m.Height, fps)
		m.Num, m.Den = f.Num, f.Den
		return m, err
	}
	return Mode{}, fmt.Errorf("%w: only %v", ErrNoFormat, offered)
}
