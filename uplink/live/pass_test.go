package live

import (
	"bytes"
	"context"
	"errors"
	"image"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/mediadevices/pkg/driver"

	"telecart/device"
	cells "telecart/device/camera/scene"
	"telecart/device/kit"
	"telecart/uplink/live/h264dec"
)

// coder is a camera with an encoder: it plays access units at a steady rate, from a key frame on.
type coder struct {
	*camera
	units  []device.Frame
	refuse error         // of WatchCoded
	fail   chan struct{} // closed: the encoder fails
	asked  chan time.Time

	mu    sync.Mutex
	views int
}

var errEncoder = errors.New("the encoder failed")

func newCoder(units [][]byte, fps int) *coder {
	c := &coder{camera: newCamera(nil, fps), fail: make(chan struct{}), asked: make(chan time.Time, 100)}
	for _, u := range units {
		c.units = append(c.units, device.Frame{Format: device.H264, Data: u, Width: 320, Height: 240})
	}
	return c
}

func (c *coder) WatchCoded() (device.View, error) {
	if c.refuse != nil {
		return nil, c.refuse
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.views++
	return &codedView{c: c, start: time.Now()}, nil
}

func (c *coder) KeyFrame(context.Context) error { c.asked <- time.Now(); return nil }

func (c *coder) coded() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.views
}

type codedView struct {
	c     *coder
	start time.Time
	n     uint64
	once  sync.Once
}

func (v *codedView) Next(ctx context.Context) (device.Frame, error) {
	select {
	case <-ctx.Done():
		return device.Frame{}, ctx.Err()
	case <-v.c.fail:
		return device.Frame{}, errEncoder
	case <-time.After(time.Until(v.start.Add(time.Duration(v.n) * v.c.every))):
	}
	f := v.c.units[v.n%uint64(len(v.c.units))]
	f.Seq, f.At = v.n, v.c.stamp.Now()
	v.n++
	return f, nil
}

func (v *codedView) Close() {
	v.once.Do(func() {
		v.c.mu.Lock()
		defer v.c.mu.Unlock()
		v.c.views--
	})
}

// film is what a simulated camera codes: every key-th picture a key frame.
func film(n, key int) (units [][]byte) {
	f := cells.NewFilm(320, 240)
	f.KeyEvery = key
	for i := range n {
		units = append(units, f.Unit(uint64(i), time.UnixMilli(int64(i)*33)))
	}
	return units
}

// What the camera coded arrives as it was, every unit, in order.
func TestPassThrough(t *testing.T) {
	h := newHall(t)
	units := film(60, 10)
	for i, u := range units { // cameras have several PPS
		at := bytes.Index(u, []byte{0, 0, 0, 1, 0x65})
		if at >= 0 {
			units[i] = slices.Concat(u[:at], []byte{0, 0, 0, 1, 0x68, 0x53, 0x8f, 0x20}, u[at:])
		}
	}
	cam := newCoder(units, 60)
	o := h.options(cam)
	o.Coded = cam
	stats := make(chan Stats, 1000)
	o.Stats = func(s Stats) { stats <- s }
	frames := make(chan Frame, 1000)
	h.watch(t, func(f Frame) { frames <- f })
	stop := start(t, func(ctx context.Context) error { return Publish(ctx, o) })
	dec, err := h264dec.New()
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	at, last := -1, Frame{}
	for i := range 50 {
		f := want(t, "frames", frames)
		if at < 0 { // a viewer may begin at a later key frame
			for k := 0; k < len(units); k += 10 {
				if bytes.Equal(f.Data, units[k]) {
					at = k
				}
			}
			if at < 0 || !f.Key {
				t.Fatalf("the first frame is none of the camera's key frames (%d bytes)", len(f.Data))
			}
		}
		if !bytes.Equal(f.Data, units[(at+i)%60]) || f.Key != ((at+i)%10 == 0) {
			t.Fatalf("frame %d is not the camera's: %d bytes, key %v", i, len(f.Data), f.Key)
		}
		if d := f.Timestamp - last.Timestamp; i > 0 && (d == 0 || d > 90000) {
			t.Errorf("timestamp moved by %d", d)
		}
		last = f
		m, err := dec.Decode(f.Data)
		if err != nil {
			t.Fatal(err)
		}
		if _, seq, ok := cells.ReadCells(m); !ok || int(seq) != (at+i)%60 {
			t.Errorf("picture %d has number %d, %v", i, seq, ok)
		}
	}
	if s := want(t, "stats", stats); s.Encode != 0 || s.Bytes != len(units[0]) || !s.Key || s.Latency <= 0 || s.Missed != 0 {
		t.Errorf("stats of the first unit: %+v", s)
	}
	if cam.open() != 0 || len(driver.GetManager().Query(func(driver.Driver) bool { return true })) != 0 {
		t.Error("its pictures are watched as well")
	}
	if err := stop(); err != nil || cam.coded() != 0 {
		t.Errorf("%v, %d views left open", err, cam.coded())
	}
}

// A viewer that joins makes the room ask, and the camera is asked.
func TestKeyFramesAreAskedFor(t *testing.T) {
	h := newHall(t)
	cam := newCoder(film(600, 600), 60)
	o := h.options(cam)
	o.Coded = cam
	sent := make(chan Stats, 10000)
	o.Stats = func(s Stats) { sent <- s }
	start(t, func(ctx context.Context) error { return Publish(ctx, o) })
	want(t, "the picture", sent)
	h.watch(t, func(Frame) {})
	want(t, "the camera to be asked", cam.asked)
}

// However many need one, a camera is asked once a second.
func TestKeyFramesArePaced(t *testing.T) {
	clock, cam := kit.NewManual(time.Unix(1e9, 0)), newCoder(nil, 30)
	s := &sender{o: Options{Coded: cam, Clock: clock, Log: slog.New(slog.DiscardHandler)}}
	stop := s.askCamera(t.Context())
	defer stop()
	s.needKey.now()
	want(t, "the first time", cam.asked)
	for range 5 {
		s.needKey.now()
	}
	clock.AwaitWaiters(1)
	if len(cam.asked) > 0 {
		t.Error("asked again at once")
	}
	clock.Advance(keyEvery)
	want(t, "the second time", cam.asked)
	clock.AwaitWaiters(1)
	clock.Advance(keyEvery)
	stop()
	if len(cam.asked) > 0 {
		t.Error("asked though nobody needed it")
	}
	s.needKey.now() // of a stream that is over: nothing
}

// Without a coded picture, or with one that browsers can't decode, the pictures are encoded, in the same session.
func TestPassThroughOrEncode(t *testing.T) {
	high10 := film(10, 5)
	for i := range high10 {
		if i%5 == 0 {
			high10[i] = bytes.Clone(high10[i])
			high10[i][5] = 110
		}
	}
	for name, change := range map[string]func(*coder){
		"none":            func(c *coder) { c.refuse = errors.New("camera: it gives no coded picture") },
		"another profile": func(c *coder) { c.units = newCoder(high10, 30).units },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHall(t)
			cam := newCoder(film(10, 5), 30)
			cam.frames = jpegs(t, scene(320, 240, 4))
			change(cam)
			o := h.options(cam)
			o.Coded = cam
			stats := make(chan Stats, 1000)
			o.Stats = func(s Stats) { stats <- s }
			start(t, func(ctx context.Context) error { return Publish(ctx, o) })
			if s := want(t, "the picture", stats); s.Encode == 0 {
				t.Errorf("%+v", s)
			}
			if cam.coded() != 0 {
				t.Error("the coded view is left open")
			}
		})
	}
}

// An encoder that fails ends the session; the next one encodes here.
func TestPassThroughFails(t *testing.T) {
	h := newHall(t)
	cam := newCoder(film(10, 5), 30)
	o := h.options(cam)
	o.Coded = cam
	stats := make(chan Stats, 1000)
	o.Stats = func(s Stats) { stats <- s }
	ended := make(chan error, 1)
	go func() { ended <- Publish(t.Context(), o) }()
	want(t, "the picture", stats)
	close(cam.fail)
	if err := want(t, "the end", ended); !errors.Is(err, errEncoder) {
		t.Error(err)
	}
}

// Larger pictures are made smaller, in proportion; colours come in the range that H.264 means by default.
func TestSizeAndRange(t *testing.T) {
	m := image.NewYCbCr(image.Rect(0, 0, 640, 480), image.YCbCrSubsampleRatio420)
	for y := range 480 {
		for x := range 640 {
			m.Y[y*m.YStride+x] = uint8(255 * (x / 320)) // black, white
		}
	}
	for i := range m.Cb {
		m.Cb[i], m.Cr[i] = 128, 128
	}
	raw := device.Frame{Format: device.YUYV, Width: 640, Height: 480}
	for name, frames := range map[string][]device.Frame{"JPEG": jpegs(t, []*image.YCbCr{m}), "raw": {raw}} {
		t.Run(name, func(t *testing.T) {
			h := newHall(t)
			o := h.options(newCamera(frames, 30))
			o.Width, o.Height, o.Bitrate = 200, 1000, 2_000_000
			o.Decode = func(f device.Frame) (image.Image, error) {
				if f.Format == device.MJPEG {
					t.Error("a JPEG is for us to decode")
				}
				return m, nil
			}
			start(t, func(ctx context.Context) error { return Publish(ctx, o) })
			got := make(chan Frame, 1000)
			h.watch(t, func(f Frame) { got <- f })
			dec, err := h264dec.New()
			if err != nil {
				t.Fatal(err)
			}
			defer dec.Close()
			for i := range 8 {
				p, err := dec.Decode(want(t, "frames", got).Data)
				if err != nil {
					t.Fatal(err)
				}
				if p.Rect.Size() != image.Pt(200, 150) {
					t.Fatalf("%v", p.Rect)
				}
				if black, white := p.YCbCrAt(40, 75), p.YCbCrAt(160, 75); i == 7 && (black.Y > 20 || black.Y < 12 || white.Y < 231 || white.Y > 239) {
					t.Errorf("black is %d, white %d; want 16 and 235", black.Y, white.Y)
				}
			}
		})
	}
}

func TestLook(t *testing.T) {
	for _, c := range []struct {
		name string
		au   []byte
		key  bool
		bad  bool
	}{
		{"ours", film(1, 1)[0], true, false},
		{"not a key frame", film(2, 9)[1], false, false},
		{"high", []byte{0, 0, 1, 0x67, 100, 0, 31, 1, 0, 0, 1, 0x65, 1}, true, false},
		{"high 4:2:2", []byte{0, 0, 1, 0x67, 122, 0, 31, 1, 0, 0, 1, 0x65, 1}, true, true},
		{"half an SPS", []byte{0, 0, 1, 0x67, 66}, false, true},
		{"nothing", nil, false, false},
	} {
		if key, err := look(c.au); key != c.key || errors.Is(err, errProfile) != c.bad {
			t.Errorf("%s: key %v, %v", c.name, key, err)
		}
	}
}
