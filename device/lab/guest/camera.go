package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"strconv"
	"time"

	"telecart/device"
	"telecart/device/camera"
	"telecart/device/camera/scene"
	"telecart/device/lab/uvc"
)

// lens is a camera driver at work on a node, with one view open.
type lens struct {
	*rig
	device.View
	camera device.Camera
	hand   device.Steerable
}

// camera starts the driver on a port. Close it in the end.
func (b *bench) camera(ctx context.Context, port, width, height string) (*lens, error) {
	r, err := b.start(ctx, camera.Driver(), device.Settings{Port: port, Options: map[string]string{"width": width, "height": height}})
	if err != nil {
		return nil, err
	}
	l := &lens{rig: r}
	var ok, steerable bool
	l.camera, ok = r.Instrument.(device.Camera)
	l.hand, steerable = r.Instrument.(device.Steerable)
	if !ok || !steerable {
		r.stop()
		return nil, errors.New("the driver's instrument is no device.Camera and device.Steerable")
	}
	if err := r.live(ctx); err != nil {
		r.stop()
		return nil, err
	}
	l.View = l.camera.Watch()
	return l, nil
}

func (l *lens) close() {
	l.Close()
	l.stop()
}

// sight is a frame of the emulated camera, decoded.
type sight struct {
	*image.YCbCr
	seq uint16
	ms  uint32 // when it was drawn
}

func (l *lens) look(ctx context.Context) (sight, error) {
	f, err := l.Next(ctx)
	if err != nil {
		return sight{}, err
	}
	if f.Format != device.MJPEG {
		return sight{}, fmt.Errorf("a frame of format %s, want %s", f.Format, device.MJPEG)
	}
	img, err := camera.Decode(f)
	if err != nil {
		return sight{}, err
	}
	ycc, ok := img.(*image.YCbCr)
	if !ok || ycc.Rect.Dx() != f.Width || ycc.Rect.Dy() != f.Height {
		return sight{}, fmt.Errorf("a picture %T of %v in a frame of %dx%d", img, img.Bounds(), f.Width, f.Height)
	}
	ms, seq, ok := scene.ReadCells(img)
	if !ok {
		return sight{}, errors.New("the frame's row of cells can't be read")
	}
	return sight{ycc, seq, ms}, nil
}

// watch looks at n frames, whose numbers must advance.
func (l *lens) watch(ctx context.Context, n int) (first, last sight, err error) {
	for i := range n {
		s, err := l.look(ctx)
		if err != nil {
			return first, last, fmt.Errorf("frame %d: %w", i, err)
		}
		if i == 0 {
			first = s
		} else if int16(s.seq-last.seq) <= 0 {
			return first, last, fmt.Errorf("number %d came after %d", s.seq, last.seq)
		}
		last = s
	}
	return first, last, nil
}

const someFrames = 10

func (b *bench) frames(ctx context.Context, size uvc.Size) (string, error) {
	cam := b.cams["CAM-A"]
	cam.draw(size).JPEG(0, b.clock.Now()) // painted beforehand: see gallery
	l, err := b.camera(ctx, "usb:CAM-A", strconv.Itoa(size.Width), strconv.Itoa(size.Height))
	if err != nil {
		return "", err
	}
	defer l.close()
	first, last, err := l.watch(ctx, someFrames)
	if err != nil {
		return "", err
	}
	if got := last.Rect.Size(); got != image.Pt(size.Width, size.Height) {
		return "", fmt.Errorf("frames of %v", got)
	}
	return fmt.Sprintf("%d MJPEG frames, numbers %d to %d", someFrames, first.seq, last.seq), nil
}

// steered sets axes and waits for the first frame drawn after that: frames on their way don't count.
func (l *lens) steered(ctx context.Context, b *bench, set map[string]int) (sight, error) {
	if err := l.hand.Steer(ctx, set); err != nil {
		return sight{}, fmt.Errorf("steer %v: %w", set, err)
	}
	now := uint32(b.clock.Now().UnixMilli())
	for {
		s, err := l.look(ctx)
		if err != nil {
			return s, fmt.Errorf("after steering to %v: %w", set, err)
		}
		if int32(s.ms-now) > 0 {
			return s, nil
		}
	}
}

// steer runs f with a camera and puts its axes back.
func (b *bench) steer(ctx context.Context, f func(*lens) (string, error)) (string, error) {
	l, err := b.camera(ctx, "usb:CAM-A", "640", "480")
	if err != nil {
		return "", err
	}
	defer l.close()
	home := map[string]int{"pan": 0, "tilt": 0, "zoom": 100, "exposure-auto": 1}
	if err := l.hand.Steer(ctx, home); err != nil {
		return "", fmt.Errorf("steer home: %w", err)
	}
	seen, err := f(l)
	return seen, errors.Join(err, l.hand.Steer(ctx, home))
}

// difference is the mean difference of luma between points of a and the points of b that at maps them to; those that fall
// outside, and the row of cells, don't count.
func difference(a, b *image.YCbCr, at func(x, y int) (int, int)) float64 {
	w, h := a.Rect.Dx(), a.Rect.Dy()
	inner := image.Rect(0, h/8, w, h)
	sum, n := 0, 0
	for y := inner.Min.Y; y < h; y += 4 {
		for x := 0; x < w; x += 4 {
			p, q := at(x, y)
			if !image.Pt(p, q).In(inner) {
				continue
			}
			d := int(a.Y[a.YOffset(x, y)]) - int(b.Y[b.YOffset(p, q)])
			sum, n = sum+max(d, -d), n+1
		}
	}
	if n == 0 {
		return 255
	}
	return float64(sum) / float64(n)
}

func same(x, y int) (int, int) { return x, y }

// pan turns the camera to the right: what it sees must move to the left, as a whole.
func pan(ctx context.Context, b *bench) (string, error) {
	return b.steer(ctx, func(l *lens) (string, error) {
		before, err := l.steered(ctx, b, map[string]int{"pan": 0})
		if err != nil {
			return "", err
		}
		after, err := l.steered(ctx, b, map[string]int{"pan": 18000})
		if err != nil {
			return "", err
		}
		still := difference(after.YCbCr, before.YCbCr, same)
		shift, best := 0, still
		for s := -120; s <= 120; s++ {
			if d := difference(after.YCbCr, before.YCbCr, func(x, y int) (int, int) { return x + s, y }); d < best {
				shift, best = s, d
			}
		}
		if shift < 10 || best > still/2 {
			return "", fmt.Errorf("best match is a shift of %d pixels to the left, difference %.1f, against %.1f unshifted", shift, best, still)
		}
		return fmt.Sprintf("pan 18000 arcsec moved the picture %d pixels left", shift), nil
	})
}

// zoom doubles: the picture must be the middle of the one before, twice as large.
func zoom(ctx context.Context, b *bench) (string, error) {
	return b.steer(ctx, func(l *lens) (string, error) {
		before, err := l.steered(ctx, b, map[string]int{"zoom": 100})
		if err != nil {
			return "", err
		}
		after, err := l.steered(ctx, b, map[string]int{"zoom": 200})
		if err != nil {
			return "", err
		}
		w, h := after.Rect.Dx(), after.Rect.Dy()
		still := difference(after.YCbCr, before.YCbCr, same)
		twice := difference(after.YCbCr, before.YCbCr, func(x, y int) (int, int) { return w/2 + (x-w/2)/2, h/2 + (y-h/2)/2 })
		if twice > still/2 {
			return "", fmt.Errorf("difference to the enlarged middle %.1f, to the whole %.1f", twice, still)
		}
		return fmt.Sprintf("zoom 200 shows the middle enlarged: difference %.1f, to the whole %.1f", twice, still), nil
	})
}

// exposure by hand: a shorter one must be darker, a longer one brighter.
func exposure(ctx context.Context, b *bench) (string, error) {
	return b.steer(ctx, func(l *lens) (string, error) {
		if err := l.hand.Steer(ctx, map[string]int{"exposure": 60}); !errors.Is(err, camera.ErrLocked) {
			return "", fmt.Errorf("setting the exposure under automatic control: %v, want %w", err, camera.ErrLocked)
		}
		var level [2]float64
		for i, time := range []int{60, 600} {
			s, err := l.steered(ctx, b, map[string]int{"exposure-auto": 0, "exposure": time})
			if err != nil {
				return "", err
			}
			level[i] = difference(s.YCbCr, &image.YCbCr{Y: make([]byte, len(s.Y)), YStride: s.YStride, Rect: s.Rect}, same)
		}
		if level[1] < level[0]*1.3 {
			return "", fmt.Errorf("mean brightness %.0f at 6 ms, %.0f at 60 ms", level[0], level[1])
		}
		return fmt.Sprintf("locked while automatic; mean brightness %.0f at 6 ms, %.0f at 60 ms", level[0], level[1]), nil
	})
}

func twoAtOnce(ctx context.Context, b *bench) (string, error) {
	one, err := b.camera(ctx, "usb:CAM-A", "640", "480")
	if err != nil {
		return "", err
	}
	defer one.close()
	two, err := b.camera(ctx, "usb:CAM-B", "640", "480")
	if err != nil {
		return "", err
	}
	defer two.close()
	result := make(chan error, 1)
	go func() { _, _, err := two.watch(ctx, someFrames/2); result <- err }()
	_, last, err := one.watch(ctx, someFrames/2)
	if err := errors.Join(err, <-result); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d frames of each, the last number %d", someFrames/2, last.seq), nil
}

// unplugReplug pulls the cable of a streaming camera: viewer and driver must learn it, and the driver find the camera again
// by its serial number, whatever its node is called then.
func unplugReplug(ctx context.Context, b *bench) (string, error) {
	cam := b.cams["CAM-A"]
	before := cam.node
	l, err := b.camera(ctx, "usb:CAM-A", "640", "480")
	if err != nil {
		return "", err
	}
	defer l.close()
	if _, _, err := l.watch(ctx, 3); err != nil {
		return "", err
	}
	pulled := b.clock.Now()
	if err := cam.unplug(ctx); err != nil {
		return "", err
	}
	if err := l.failure(ctx); err != nil {
		return "", err
	}
	noticed := b.clock.Now().Sub(pulled)
	for { // pictures that came before are still good
		if _, err = l.Next(ctx); err != nil {
			break
		}
	}
	if !errors.Is(err, device.ErrGone) {
		return "", fmt.Errorf("the viewer saw %v, want %w", err, device.ErrGone)
	}
	if where, err := camera.Find("usb:CAM-A"); err == nil {
		return "", fmt.Errorf("still found at %s", where)
	}
	if err := cam.plug(ctx); err != nil {
		return "", err
	}
	again, err := b.camera(ctx, "usb:CAM-A", "640", "480")
	if err != nil {
		return "", err
	}
	defer again.close()
	_, last, err := again.watch(ctx, 3)
	return fmt.Sprintf("noticed after %d ms; %s came back as %s, number %d", noticed.Milliseconds(), before, cam.node, last.seq), err
}

// vivid is the kernel's own test camera: raw YUYV frames, whose pixels must change.
func vivid(ctx context.Context, b *bench) (string, error) {
	l, err := b.camera(ctx, b.vivid, "640", "480")
	if err != nil {
		return "", err
	}
	defer l.close()
	var last []byte
	for i := range someFrames {
		f, err := l.Next(ctx)
		if err != nil {
			return "", err
		}
		if f.Format != device.YUYV || f.Width != 640 || f.Height != 480 || len(f.Data) != 640*480*2 {
			return "", fmt.Errorf("a %s frame of %dx%d, %d bytes", f.Format, f.Width, f.Height, len(f.Data))
		}
		if i > 0 && bytes.Equal(last, f.Data) {
			return "", fmt.Errorf("frame %d is the same as the one before", f.Seq)
		}
		last = f.Data
		if _, err := camera.Decode(f); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d YUYV frames 640x480 from %s, no two in a row the same", someFrames, b.vivid), nil
}

// live waits until the instrument says that it is.
func (r *rig) live(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		select {
		case h := <-r.health:
			if h.State == device.Live {
				return nil
			}
		case err := <-r.ended:
			r.ended <- err
			return fmt.Errorf("the instrument ended: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("not live: %w", ctx.Err())
		}
	}
}
