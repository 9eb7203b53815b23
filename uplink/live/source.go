package live

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"image"
	"time"

	"github.com/pion/mediadevices"
	"github.com/pion/mediadevices/pkg/driver"
	"github.com/pion/mediadevices/pkg/frame"
	"github.com/pion/mediadevices/pkg/io/video"
	"github.com/pion/mediadevices/pkg/prop"

	"telecart/device"
	"telecart/uplink/ladder"
	"telecart/uplink/live/turbojpeg"
)

var errResized = errors.New("live: the camera's picture size changed")

// adapter shows a device.Camera to mediadevices as one of its drivers (driver.Adapter, driver.VideoRecorder).
type adapter struct {
	ctx  context.Context
	o    Options
	stop context.CancelFunc

	// All of it belongs to the one goroutine that encodes.
	dec    *turbojpeg.Decoder
	shape  shape
	out    *outlet
	onKey  func() // the next picture has to be a key frame
	stands bool   // the ladder has stopped the picture
	next   pace
	sent   *image.YCbCr // always the same picture with new pixels: mediadevices keeps the last 32 it was given, 44 MB of 720p otherwise
	cause  error        // why the picture ended
	frame  device.Frame // being encoded
	asked  time.Time    // when decoding of it began
	missed uint64
}

func (a *adapter) Open() error  { return nil } // asking for properties must not switch a lens on
func (a *adapter) Close() error { a.stop(); return nil }

func (a *adapter) Properties() []prop.Media {
	return []prop.Media{{Video: prop.Video{
		Width: a.shape.width, Height: a.shape.height, FrameRate: a.shape.fps, FrameFormat: frame.FormatI420,
	}}}
}

// VideoRecord starts watching.
func (a *adapter) VideoRecord(prop.Media) (video.Reader, error) {
	view := a.o.Camera.Watch()
	context.AfterFunc(a.ctx, view.Close)
	return video.ReaderFunc(func() (image.Image, func(), error) {
		for {
			f, err := view.Next(a.ctx)
			if err != nil {
				return nil, func() {}, a.fail(err)
			}
			wanted, err := a.wanted()
			if err != nil {
				return nil, func() {}, err
			}
			if !wanted || !a.next.take(f.At.Mono) {
				continue
			}
			a.asked = a.o.Clock.Now()
			img, err := a.picture(f)
			if err != nil {
				// One bad frame is the cable's; the next one may be good.
				a.o.Log.Debug("live: frame not decoded", "err", err)
				continue
			}
			if a.frame.Seq > 0 && f.Seq > a.frame.Seq {
				a.missed += f.Seq - a.frame.Seq - 1
			}
			a.frame = f
			yuv, ok := img.(*image.YCbCr)
			if !ok {
				return img, func() {}, nil
			}
			if !a.sent.Rect.Empty() && a.sent.Rect.Size() != yuv.Rect.Size() {
				return nil, func() {}, a.fail(errResized)
			}
			*a.sent = *yuv
			return a.sent, func() {}, nil
		}
	}), nil
}

// become takes another shape. The view stays open: a lens that closes and opens again costs seconds.
func (a *adapter) become(s shape) {
	a.shape, a.sent = s, new(image.YCbCr)
	a.next = pace{every: time.Duration(float64(time.Second) / float64(s.fps))}
}

// wanted says whether the ladder has room for a picture now. errShape: for one of another shape.
func (a *adapter) wanted() (bool, error) {
	p := a.o.plan()
	if p.Step == ladder.Stills {
		if !a.stands {
			a.o.Log.Info("live: picture stopped: the link carries too little")
			a.out.drop()
		}
		a.stands = true
		return false, nil
	}
	if a.o.shape(p) != a.shape {
		return false, errShape
	}
	if a.stands || a.out.stale() {
		a.stands = false
		a.onKey()
	}
	return !a.out.behind(p.Bitrate), nil
}

// picture is a frame as the encoder wants it: no larger than what is to be sent, in video range. A JPEG's damage is let
// pass: the next one comes in a moment.
func (a *adapter) picture(f device.Frame) (image.Image, error) {
	most := image.Pt(a.shape.width, a.shape.height)
	if f.Format == device.MJPEG {
		m, err := a.dec.Decode(f.Data, most)
		if errors.Is(err, turbojpeg.ErrDamaged) {
			a.o.Log.Debug("live: damaged frame", "err", err)
			err = nil
		}
		return m, err
	}
	img, err := a.o.Decode(f)
	if err != nil {
		return nil, err
	}
	if yuv, ok := img.(*image.YCbCr); ok {
		return a.dec.Fit(yuv, most)
	}
	return img, nil
}

func (a *adapter) fail(err error) error {
	if a.cause == nil {
		a.cause = err
	}
	return err
}

// pace leaves frames out of a camera that is faster than what is to be sent. It allows for a quarter of a period of
// jitter, or a camera at exactly the wanted rate would lose every other frame.
type pace struct {
	every time.Duration
	due   int64
}

func (p *pace) take(mono int64) bool {
	if mono == 0 || p.due == 0 || mono-p.due > int64(p.every) || p.due-mono > 2*int64(p.every) {
		p.due = mono + int64(p.every) // no stamps, the first one, a gap, or another clock
		return true
	}
	if mono < p.due-int64(p.every)/4 {
		return false
	}
	p.due += int64(p.every)
	return true
}

// source is the registered driver, opened, as the track's source.
type source struct {
	*adapter
	driver.Driver
	video.Reader
	label string
}

// newSource registers the camera under a name of its own and takes it back by that name. It does not go through
// GetUserMedia, which would open every other driver of the process to compare them.
func newSource(ctx context.Context, o Options, out *outlet, onKey func()) (_ *source, err error) {
	dec, err := turbojpeg.New()
	if err != nil {
		return nil, fmt.Errorf("live: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		if err != nil {
			cancel()
			dec.Close()
		}
	}()
	a := &adapter{ctx: ctx, stop: cancel, o: o, out: out, onKey: onKey, dec: dec}
	a.become(o.shape(o.plan()))
	label := "telecart-" + rand.Text()
	m := driver.GetManager()
	if err := m.Register(a, driver.Info{Label: label, DeviceType: driver.Camera}); err != nil {
		return nil, fmt.Errorf("live: %w", err)
	}
	found := m.Query(func(d driver.Driver) bool { return d.Info().Label == label })
	if len(found) != 1 {
		return nil, fmt.Errorf("live: %d drivers named %s", len(found), label)
	}
	s := &source{adapter: a, Driver: found[0], label: label}
	err = s.Driver.Open()
	if err == nil {
		s.Reader, err = found[0].(driver.VideoRecorder).VideoRecord(a.Properties()[0])
	}
	if err != nil {
		s.unregister()
		return nil, fmt.Errorf("live: %w", err)
	}
	return s, nil
}

// unregister closes the camera's view and the decoder, and takes the driver off the list.
func (s *source) unregister() {
	s.Close()
	driver.GetManager().Delete(s.Driver.ID())
	s.dec.Close()
}

func (s *source) Close() error                       { return s.Driver.Close() }
func (s *source) Read() (image.Image, func(), error) { return s.Reader.Read() }

var (
	_ mediadevices.VideoSource = (*source)(nil)
	_ driver.VideoRecorder     = (*adapter)(nil)
)
