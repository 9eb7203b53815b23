package camera

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/jpeg"
	"time"

	"telecart/device"
	"telecart/device/camera/v4l2"
	"telecart/device/kit"
)

// After a stream begins the camera looks for its exposure and its white balance: so many pictures are let pass, but no
// longer than that.
const (
	settlePictures = 8
	settleTime     = 2 * time.Second
	shootLimit     = 10 * time.Second // some cameras take five seconds to change their size, and five to change it back
)

// resolution is how large a still is to be.
type resolution int

const (
	sensorSize resolution = iota // the largest there is
	streamSize
)

// shooting is how a lens takes stills.
type shooting interface {
	shoot(ctx context.Context, size resolution) (device.Frame, error) // while nothing streams
	whole() bool                                                      // the stream's own pictures are of the sensor's size
	settling() int                                                    // pictures to let pass after a stream began
}

// shot is one still that was asked for.
type shot struct {
	ctx  context.Context
	size resolution
	done chan<- taken // holds one
}

type taken struct {
	device.Frame
	err error
}

var errStill = errors.New("camera: no good still came")

// Shoot takes a still at the sensor's resolution, or at the stream's if the settings say so. If the stream is that large
// it is its next whole picture; else the stream stops, the camera is set to its largest size, a still taken once exposure
// has settled, and the stream goes on: views miss some pictures and see no error. Of a camera that gives no JPEG it is a
// raw picture.
func (c *instrument) Shoot(ctx context.Context) (device.Frame, error) {
	src, over, err := c.present()
	if err != nil {
		return device.Frame{}, err
	}
	ctx, cancel := limited(ctx, c.clock, shootLimit)
	defer cancel()
	var f device.Frame
	if (c.still == streamSize || src.whole()) && !(src.coding() == instead && c.filmed()) {
		f, err = c.fromStream(ctx, src.settling())
	} else {
		f, err = c.paused(ctx, over)
	}
	switch {
	case err == nil:
		c.tally.add(stills, 1)
		return f, nil
	case errors.Is(context.Cause(ctx), ErrSilent) && !errors.Is(err, device.ErrGone):
		err = fmt.Errorf("%w within %v: %w", ErrSilent, shootLimit, err)
	}
	return device.Frame{}, gone(err)
}

// fromStream waits for the stream's next good picture.
func (c *instrument) fromStream(ctx context.Context, settling int) (device.Frame, error) {
	v := c.watch()
	defer v.Close()
	var bad error
	for {
		f, err := v.Next(ctx)
		if err != nil && bad != nil {
			return f, fmt.Errorf("%w; the last that came: %w", err, bad)
		}
		if err != nil {
			return f, err
		}
		if !v.steady(settling) {
			continue
		}
		if bad = complete(f); bad == nil {
			return f, nil
		}
		c.tally.add(badStills, 1)
	}
}

// steady says that before the picture that was looked at last the stream gave so many, or ran long enough.
func (v *view) steady(pictures int) bool {
	c := v.c
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fresh && (v.seen-c.since > uint64(pictures) || c.clock.Now().Sub(c.first) >= settleTime)
}

// paused has Run's goroutine stop the stream and take the still.
func (c *instrument) paused(ctx context.Context, over <-chan struct{}) (device.Frame, error) {
	done := make(chan taken, 1)
	select {
	case c.shots <- shot{ctx, c.still, done}:
	case <-over:
		return device.Frame{}, device.ErrGone
	case <-ctx.Done():
		return device.Frame{}, ctx.Err()
	}
	select {
	case t := <-done:
		return t.Frame, t.err
	case <-ctx.Done():
		return device.Frame{}, ctx.Err()
	}
}

// take shoots. Only a camera that is gone ends the run: another failure is for who asked.
func (c *instrument) take(ctx context.Context, src source, s shot) error {
	inner, cancel := context.WithCancel(s.ctx)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	f, err := src.shoot(inner, s.size)
	if err != nil && ctx.Err() != nil {
		err = device.ErrGone
	}
	s.done <- taken{f, err}
	if errors.Is(err, v4l2.ErrUnplugged) {
		return err
	}
	return nil
}

// complete says what is wrong with a still: a JPEG must be whole, from SOI to EOI, its size must be the one that the camera
// was set to, or it is still one of before, and it must be filled.
func complete(f device.Frame) error {
	if f.Format != device.MJPEG {
		return nil // raw pictures of the wrong size don't get past v4l2
	}
	b, err := withHuffman(f.Data)
	if err != nil {
		return err
	}
	head, err := jpeg.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("camera: still: %w", err)
	}
	if head.Width != f.Width || head.Height != f.Height {
		return fmt.Errorf("%w: a picture of %dx%d, though the camera was set to %dx%d", errStill, head.Width, head.Height, f.Width, f.Height)
	}
	return filled(b)
}

// Cameras pad: with so many zeros or ones, and so many other bytes may be left over when all of the picture was found.
const (
	padding = 64
	spare   = 4
)

// filled says whether a JPEG's data are the whole picture and no more. A USB packet that was lost in the middle leaves all
// markers in their places, and a decoder that lost its way there ends too early or too late: without its last bytes a good
// picture can't be decoded, but one with data to spare can.
func filled(b []byte) error {
	var unknown jpeg.UnsupportedError
	if _, err := jpeg.Decode(bytes.NewReader(b)); errors.As(err, &unknown) {
		return nil
	} else if err != nil {
		return fmt.Errorf("camera: still: %w", err)
	}
	j, err := v4l2.ScanJPEG(b)
	if err != nil {
		return fmt.Errorf("camera: still: %w", err)
	}
	end := max(j.Scan+spare, len(bytes.TrimRight(b[:j.End], "\x00\xff")), j.End-padding)
	short := append(bytes.Clone(b[:end-spare]), 0xff, 0xd9)
	if _, err := jpeg.Decode(bytes.NewReader(short)); err == nil {
		return fmt.Errorf("%w: data are left over behind the picture", errStill)
	}
	return nil
}

// limited is a context that ends after d of the clock's time, because of ErrSilent.
func limited(ctx context.Context, clock kit.Clock, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	late := clock.After(d)
	go func() {
		defer close(ended)
		select {
		case <-late:
			cancel(ErrSilent)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil); <-ended }
}
