package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/jpeg"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"telecart/device"
	"telecart/device/camera"
	"telecart/device/camera/scene"
	"telecart/device/lab/uvc"
)

// stillSensor takes a still of the sensor's size while a smaller picture is watched; the hand on the camera must not notice.
func stillSensor(ctx context.Context, b *bench) (string, error) {
	cam := b.cams["CAM-A"]
	pose := map[string]int{"exposure-auto": 0, "exposure": 200, "pan": 18000, "zoom": 150}
	large := cam.draw(largest())
	large.Set("exposure-auto", 0) // or it would not take the exposure
	for name, v := range pose {
		large.Set(name, v)
	}
	large.JPEG(0, b.clock.Now()) // painted beforehand: see gallery
	return b.steer(ctx, func(l *lens) (string, error) {
		if err := l.hand.Steer(ctx, pose); err != nil {
			return "", err
		}
		steered := cam.Camera.Axes()
		before, err := l.Next(ctx)
		if err != nil {
			return "", err
		}
		asked := uint32(b.clock.Now().UnixMilli())
		still, err := l.Instrument.(device.Shooter).Shoot(ctx)
		if err != nil {
			return "", err
		}
		took := uint32(b.clock.Now().UnixMilli()) - asked
		img, err := camera.Decode(still)
		if err != nil {
			return "", err
		}
		ms, _, ok := scene.ReadCells(img)
		if size := img.Bounds().Size(); !ok || size.X != largest().Width || size.Y != largest().Height || still.Width != size.X {
			return "", fmt.Errorf("a still of %v, its row can be read: %t", size, ok)
		}
		if int32(ms-asked) < 0 {
			return "", fmt.Errorf("a still of %d ms before it was asked for", asked-ms)
		}
		if err := cam.sent.has(still.Data); err != nil {
			return "", err
		}
		for range someFrames / 2 {
			f, err := l.Next(ctx)
			if err != nil {
				return "", fmt.Errorf("the view after the still: %w", err)
			}
			if f.Seq <= before.Seq || f.Width != 640 || f.Height != 480 {
				return "", fmt.Errorf("the view after the still: number %d after %d, %dx%d", f.Seq, before.Seq, f.Width, f.Height)
			}
			before = f
		}
		if now := cam.Camera.Axes(); !slices.Equal(now, steered) {
			return "", fmt.Errorf("the camera's axes were %v before the still, and are %v", steered, now)
		}
		return fmt.Sprintf("%dx%d, %d bytes of the camera's own, in %.1f s; the view of 640x480 saw no error, no axis moved",
			still.Width, still.Height, len(still.Data), float64(took)/1000), nil
	})
}

// damages are what makes a picture broken, though the kernel delivers it as a good one.
func damages() map[string]func([]byte) []byte {
	without := func(b []byte, from, n int) []byte { return slices.Concat(b[:from], b[from+n:]) }
	return map[string]func([]byte) []byte{
		"half":    func(b []byte) []byte { return b[:len(b)/2] },
		"no end":  func(b []byte) []byte { return b[:len(b)-2] },
		"a hole":  func(b []byte) []byte { return without(b, len(b)/2, 512) },
		"zeros":   func(b []byte) []byte { clear(b[len(b)/2 : len(b)-2]); return b },
		"twice":   func(b []byte) []byte { return slices.Concat(b[:len(b)/2], b[len(b)/2-512:]) },
		"no head": func(b []byte) []byte { return without(b, 2, 64) },
		"wrong size": func(b []byte) []byte {
			at := bytes.Index(b, []byte{0xff, 0xc0})
			b[at+5] ^= 1 // the height, in 256 lines
			return b
		},
	}
}

// plates are pictures that were made beforehand, every other one without the restart markers that would tell of a hole.
type plates struct {
	uvc.Picture
	jpegs [][]byte
	n     atomic.Uint64
}

func newPlates(p uvc.Picture, now time.Time) (*plates, error) {
	s := &plates{Picture: p}
	for n := range uint64(6) {
		b := p.JPEG(n, now)
		if n%2 == 1 {
			img, err := jpeg.Decode(bytes.NewReader(b))
			if err != nil {
				return nil, err
			}
			var plain bytes.Buffer
			if err := jpeg.Encode(&plain, img, &jpeg.Options{Quality: 90}); err != nil {
				return nil, err
			}
			b = plain.Bytes()
		}
		s.jpegs = append(s.jpegs, b)
	}
	return s, nil
}

func (s *plates) JPEG(uint64, time.Time) []byte {
	return bytes.Clone(s.jpegs[s.n.Add(1)%uint64(len(s.jpegs))])
}

// vandal breaks three of five pictures.
type vandal struct {
	mu  sync.Mutex
	how func([]byte) []byte // nil: it doesn't
	n   int
}

func (v *vandal) set(how func([]byte) []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.how = how
}

func (v *vandal) of(draw func(uvc.Size) uvc.Picture) func(uvc.Size) uvc.Picture {
	return func(s uvc.Size) uvc.Picture { return vandalised{draw(s), v} }
}

// vandalised gives what the vandal leaves of a picture.
type vandalised struct {
	uvc.Picture
	vandal *vandal
}

func (p vandalised) JPEG(seq uint64, at time.Time) []byte {
	b := p.Picture.JPEG(seq, at)
	p.vandal.mu.Lock()
	defer p.vandal.mu.Unlock()
	if p.vandal.n++; p.vandal.how == nil || p.vandal.n%5%3 == 0 {
		return b
	}
	return p.vandal.how(bytes.Clone(b))
}

const stillsEach = 4

// brokenStills takes stills of a camera that breaks three pictures of five, in one way after another.
func brokenStills(ctx context.Context, b *bench) (seen string, err error) {
	c, broken := b.newCamera("CAM-BROKEN", 6, uvc.NoEncoder), &vandal{}
	made, err := newPlates(c.draw(uvc.Size{Width: 640, Height: 480}), b.clock.Now())
	if err != nil {
		return "", err
	}
	c.Camera = uvc.New("CAM-BROKEN", b.clock, broken.of(c.sent.of(func(uvc.Size) uvc.Picture { return made })))
	defer c.out(&err)
	if err := c.plug(ctx); err != nil {
		return "", err
	}
	w, err := b.lenses(ctx, lensBed("room", "usb:CAM-BROKEN", "still", "stream"))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	v, err := w.watch("room")
	if err != nil {
		return "", err
	}
	defer v.Close()
	if err := c.shows(ctx, v); err != nil {
		return "", err
	}
	shooter, ok := w.Shooter("room")
	if !ok {
		return "", errors.New("the supervisor has no shooter")
	}
	restarted, before := w.since("room"), w.status("room").Counters
	for _, name := range slices.Sorted(maps.Keys(damages())) {
		broken.set(damages()[name])
		for range stillsEach {
			f, err := shooter.Shoot(ctx)
			if err != nil {
				return "", fmt.Errorf("a still, three of five pictures %q: %w", name, err)
			}
			if err := c.took(f); err != nil {
				return "", fmt.Errorf("a still, three of five pictures %q: %w", name, err)
			}
		}
	}
	broken.set(nil)
	after := w.status("room").Counters
	dropped, refused := after["frames_broken"]-before["frames_broken"], after["stills_refused"]-before["stills_refused"]
	if dropped == 0 || refused == 0 {
		return "", fmt.Errorf("%d pictures dropped, %d refused as stills; want some of both", dropped, refused)
	}
	if err := restarted(); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d ways, %d stills, every one whole; %d pictures dropped, %d more refused as stills, not restarted",
		len(damages()), stillsEach*len(damages()), dropped, refused), nil
}

// deafControls: a camera whose controls answer nothing goes on showing pictures; the control call fails, and later works.
func deafControls(ctx context.Context, b *bench) (seen string, err error) {
	c := b.newCamera("CAM-DEAF", 7, uvc.NoEncoder)
	c.draw = func(s uvc.Size) uvc.Picture { return signed{b.cams["CAM-B"].draw(s), c.id} } // it is steered
	c.Camera = uvc.New("CAM-DEAF", b.clock, c.sent.of(c.draw))
	c.draw(uvc.Size{Width: 640, Height: 480}).JPEG(0, b.clock.Now())
	defer c.out(&err)
	if err := c.plug(ctx); err != nil {
		return "", err
	}
	l, err := b.camera(ctx, "usb:CAM-DEAF", "640", "480")
	if err != nil {
		return "", err
	}
	defer l.close()
	if err := c.shows(ctx, l); err != nil {
		return "", err
	}
	c.deaf.Store(true)
	result, start := make(chan error, 1), b.clock.Now()
	go func() { result <- l.hand.Steer(ctx, map[string]int{"zoom": 100}) }()
	shown := 0
	for waiting := true; waiting; {
		select {
		case err = <-result:
			waiting = false
		default:
			f, err := l.Next(ctx)
			if err == nil {
				err = c.took(f)
			}
			if err != nil {
				return "", fmt.Errorf("while a control call hung: %w", err)
			}
			shown++
		}
	}
	took := b.clock.Now().Sub(start)
	c.deaf.Store(false)
	if err == nil {
		return "", errors.New("a control call that was not answered did not fail")
	}
	if shown < 5 {
		return "", fmt.Errorf("%d pictures while a control call hung for %v", shown, took)
	}
	if err := l.hand.Steer(ctx, map[string]int{"zoom": 100}); err != nil {
		return "", fmt.Errorf("after it recovered: %w", err)
	}
	return fmt.Sprintf("a control call failed after %.1f s, %d pictures came meanwhile, then it worked again", took.Seconds(), shown), c.shows(ctx, l)
}
