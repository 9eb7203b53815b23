package camera

import (
	"context"
	"errors"
	"fmt"
	"time"

	"telecart/device"
	"telecart/device/camera/v4l2"
	"telecart/device/evdev"
	"telecart/device/kit"
)

// begin opens a stream, of this camera and no other.
func (n *node) begin(path string, p panel, w v4l2.Wish) (strand, error) {
	s, err := n.start(path, w)
	if err != nil {
		return nil, err
	}
	if who, _ := s.terms(); who != p.info() {
		return nil, errors.Join(fmt.Errorf("%w: at %s there is %s now", v4l2.ErrUnplugged, path, who.Card), s.Close())
	}
	return s, nil
}

// meter adds what a stream counts to the tally.
type meter struct {
	strand
	*tally
	names [4]string // of whole frames, lost, flagged and broken ones
	last  v4l2.Counters
}

func (m *meter) Next(ctx context.Context) (v4l2.Frame, error) {
	f, err := m.strand.Next(ctx)
	c := m.Counters()
	m.add(m.names[0], c.Frames-m.last.Frames)
	m.add(m.names[1], c.Lost-m.last.Lost)
	m.add(m.names[2], c.Flagged-m.last.Flagged)
	m.add(m.names[3], c.Broken-m.last.Broken)
	m.last = c
	return f, err
}

func ofPictures() [4]string { return [4]string{frames, lost, flagged, broken} }
func ofUnits() [4]string    { return [4]string{filmUnits, filmLost, filmBroken, filmBroken} }

// frame is a picture as the seam has it. base is added to the driver's number, which starts at 0 with each stream.
func (n *node) frame(s strand, f v4l2.Frame, base uint64) device.Frame {
	_, mode := s.terms()
	format := device.MJPEG
	switch mode.Format {
	case v4l2.YUYV:
		format = device.YUYV
	case v4l2.H264:
		format = device.H264
	}
	return device.Frame{Format: format, Data: f.Data, Width: mode.Width, Height: mode.Height, Seq: base + uint64(f.Sequence),
		At: earlier(n.stamp.Now(), f.Age)}
}

func (n *node) stream(ctx context.Context, put func(device.Frame)) error {
	return n.run(ctx, n.wish(streamSize), func(f device.Frame) bool {
		put(f)
		return true
	})
}

func (n *node) whole() bool { return n.large }

func (n *node) settling() int { return settlePictures }

// shoot takes a still: the first good picture after the camera has found its exposure.
func (n *node) shoot(ctx context.Context, size resolution) (got device.Frame, err error) {
	var bad error
	passed, steady := 0, time.Time{}
	err = n.run(ctx, n.wish(size), func(f device.Frame) bool {
		if passed == 0 {
			steady = n.clock.Now().Add(settleTime)
		}
		if passed++; passed <= settlePictures && n.clock.Now().Before(steady) {
			return true
		}
		if bad = complete(f); bad != nil {
			n.add(badStills, 1)
			return true
		}
		got = f
		return false
	})
	switch {
	case got.Data != nil:
		return got, nil // a stream that won't close is the next one's trouble
	case err == nil:
		err = ctx.Err()
	}
	if bad != nil {
		err = fmt.Errorf("%w; the last that came: %w", err, bad)
	}
	return got, err
}

// run streams pictures until more says no, ctx ends (nil), or the stream fails.
func (n *node) run(ctx context.Context, w v4l2.Wish, more func(device.Frame) bool) error {
	s, err := n.begin(n.at.Path, n.own, w)
	if err != nil {
		return err
	}
	m, base := &meter{strand: s, tally: n.tally, names: ofPictures()}, n.base
	for {
		f, err := m.Next(ctx)
		if err != nil {
			err = errors.Join(err, s.Close())
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		frame := n.frame(s, f, base)
		n.base = frame.Seq + 1
		if !more(frame) {
			return s.Close()
		}
	}
}

func (n *node) coding() coding { return n.how }

func (n *node) film(ctx context.Context, put func(unit)) error {
	s, err := n.begin(n.codedAt, n.coded, v4l2.Coded(n.width, n.height, float64(n.fps)))
	if err != nil {
		return err
	}
	m, base := &meter{strand: s, tally: n.tally, names: ofUnits()}, n.unbase
	n.splicer = splicer{}
	for {
		f, err := m.Next(ctx)
		if err != nil {
			err = errors.Join(err, s.Close())
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		frame := n.frame(s, f, base)
		n.unbase = frame.Seq + 1
		au, key, err := n.splicer.unit(frame.Data)
		switch {
		case err != nil:
			n.add(filmBroken, 1) // its number is missing: viewers wait for the next key frame
		case au == nil: // headers alone: no number is
			base--
			n.unbase--
		default:
			frame.Data = au
			put(unit{frame, key})
		}
	}
}

// presses is for cameras whose button the kernel shows as a key: it hears it only while it is open, as it is here.
func (n *node) presses(ctx context.Context, pressed func()) error {
	path := n.button(n.at.Sys)
	if path == "" {
		return nil
	}
	return n.press(ctx, path, evdev.KeyCamera, pressed)
}

func (n *node) keyFrame(ctx context.Context) error {
	if !n.keys {
		return nil
	}
	return n.coded.Set(ctx, v4l2.Value{ID: v4l2.ForceKeyFrame, Value: 1})
}

func earlier(s kit.Stamp, age time.Duration) kit.Stamp {
	s.Wall = s.Wall.Add(-age)
	s.Mono -= int64(age)
	return s
}
