package live

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/jpeg"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/pion/mediadevices/pkg/driver"
	"go.uber.org/goleak"

	"telecart/device"
	"telecart/device/kit"
	"telecart/uplink/hub/room"
	"telecart/uplink/ladder"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// camera plays pictures at a steady rate, or whenever tick says so. The latest frame wins.
type camera struct {
	frames []device.Frame
	every  time.Duration
	stamp  *kit.Stamper

	mu    sync.Mutex
	gone  chan struct{}
	views int
}

func newCamera(frames []device.Frame, fps int) *camera {
	return &camera{
		frames: frames, every: time.Second / time.Duration(fps), gone: make(chan struct{}),
		stamp: kit.NewStamper(kit.System{}, nil),
	}
}

func (c *camera) Run(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

func (c *camera) Watch() device.View {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.views++
	return &view{c: c, start: time.Now()}
}

func (c *camera) open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.views
}

type view struct {
	c     *camera
	start time.Time
	seq   uint64
	once  sync.Once
}

func (v *view) Next(ctx context.Context) (device.Frame, error) {
	now := uint64(time.Since(v.start) / v.c.every)
	v.seq = max(v.seq+1, now)
	select {
	case <-ctx.Done():
		return device.Frame{}, ctx.Err()
	case <-v.c.gone:
		return device.Frame{}, device.ErrGone
	case <-time.After(time.Until(v.start.Add(time.Duration(v.seq) * v.c.every))):
	}
	f := v.c.frames[v.seq%uint64(len(v.c.frames))]
	f.Seq, f.At = v.seq, v.c.stamp.Now()
	return f, nil
}

func (v *view) Close() {
	v.once.Do(func() {
		v.c.mu.Lock()
		defer v.c.mu.Unlock()
		v.c.views--
	})
}

// scene is a moving picture with texture, the kind of work that skin under a lens is for an encoder.
func scene(w, h, n int) []*image.YCbCr {
	out := make([]*image.YCbCr, n)
	for k := range out {
		m := image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420)
		for y := range h {
			for x := range w {
				u := (x + 3*k) % (3 * n) // so that the last picture goes over into the first
				grain := uint32(u*7919+y*104729) * 2654435761
				m.Y[y*m.YStride+x] = byte(96+(u/16^y/16)&63) + byte(grain>>28)
			}
		}
		for y := range h / 2 {
			for x := range w / 2 {
				m.Cb[y*m.CStride+x] = byte(112 + x/32&15)
				m.Cr[y*m.CStride+x] = byte(140 + y/32&15)
			}
		}
		out[k] = m
	}
	return out
}

func jpegs(t *testing.T, pics []*image.YCbCr) []device.Frame {
	t.Helper()
	var out []device.Frame
	for _, m := range pics {
		var b bytes.Buffer
		if err := jpeg.Encode(&b, m, nil); err != nil {
			t.Fatal(err)
		}
		out = append(out, device.Frame{Format: device.MJPEG, Data: b.Bytes(), Width: m.Rect.Dx(), Height: m.Rect.Dy()})
	}
	return out
}

func decode(f device.Frame) (image.Image, error) { return jpeg.Decode(bytes.NewReader(f.Data)) }

// hall is a room behind an HTTP server, on loopback.
type hall struct {
	*room.Room
	*http.Client
	url string
}

func newHall(t testing.TB) hall {
	t.Helper()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	r, err := room.New(room.Options{UDP: udp, Authorize: func(_ context.Context, token, stream string, a room.Action) error {
		switch token {
		case "good":
			return nil
		case "viewer":
			if a == room.Watch {
				return nil
			}
			return errors.New("only watching")
		}
		return room.ErrToken
	}})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(r.Handler())
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		srv.CloseClientConnections()
		srv.Close()
	})
	return hall{r, srv.Client(), srv.URL}
}

func (h hall) options(c device.Camera) Options {
	return Options{
		Endpoint: h.url + "/v1/whip/otoscope", Token: "good", HTTP: h.Client, Camera: c, Decode: decode,
		Bitrate: 500_000, FrameRate: 30, Width: 320, Height: 240,
	}
}

// start runs f until the test ends or stop is called, and checks that it ends with want.
func start(t testing.TB, f func(context.Context) error) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() { cancel(); err = <-done })
		return err
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("ended with %v", err)
		}
	})
	return stop
}

func (h hall) watch(t testing.TB, onFrame func(Frame)) (stop func() error) {
	return start(t, func(ctx context.Context) error {
		return Watch(ctx, WatchOptions{Endpoint: h.url + "/v1/whep/otoscope", Token: "viewer", HTTP: h.Client, OnFrame: onFrame})
	})
}

// want waits for something that is to happen.
func want[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("waited 20 s for " + what)
		panic("unreachable")
	}
}

func TestPublishAndWatch(t *testing.T) {
	h := newHall(t)
	cam := newCamera(jpegs(t, scene(320, 240, 8)), 30)
	stats := make(chan Stats, 1000)
	o := h.options(cam)
	o.Stats = func(s Stats) { stats <- s }
	stop := start(t, func(ctx context.Context) error { return Publish(ctx, o) })
	frames := make(chan Frame, 1000)
	h.watch(t, func(f Frame) { frames <- f })

	first := want(t, "the first frame", frames)
	if !first.Key {
		t.Error("the first frame is not a key frame")
	}
	last := first
	for range 15 {
		f := want(t, "frames", frames)
		if d := int32(f.Timestamp - last.Timestamp); d <= 0 || d > 90000 {
			t.Errorf("timestamp moved by %d", d)
		}
		last = f
	}
	if s := want(t, "stats", stats); s.Latency <= 0 || s.Bytes == 0 || s.Captured.IsZero() || !s.Key {
		t.Errorf("stats of the first frame: %+v", s)
	}
	if v := h.Streams(); len(v) != 1 || !v[0].Publishing || v[0].Viewers != 1 {
		t.Errorf("streams: %+v", v)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if n := cam.open(); n != 0 {
		t.Errorf("%d views left open: the lens stays on", n)
	}
	if d := driver.GetManager().Query(func(driver.Driver) bool { return true }); len(d) != 0 {
		t.Errorf("%d drivers left registered", len(d))
	}
	if v := h.Streams(); len(v) != 1 || v[0].Publishing {
		t.Errorf("after the end: %+v, want the viewer to wait", v)
	}
}

// A viewer that comes late gets its key frame at once, not at the encoder's next one.
func TestKeyFrameOnJoin(t *testing.T) {
	h := newHall(t)
	o := h.options(newCamera(jpegs(t, scene(320, 240, 4)), 30))
	sent := make(chan Stats, 10000)
	o.Stats = func(s Stats) { sent <- s }
	start(t, func(ctx context.Context) error { return Publish(ctx, o) })
	for s := want(t, "frames", sent); s.Key || s.Sent < 5; s = want(t, "frames", sent) {
	}
	frames := make(chan Frame, 1000)
	h.watch(t, func(f Frame) { frames <- f })
	want(t, "the first frame", frames)
	// Between two of its own key frames the encoder makes 120 frames; one has come sooner.
	for before := uint64(5); ; {
		s := want(t, "a key frame", sent)
		if !s.Key {
			continue
		}
		if s.Sent-before >= 100 {
			t.Errorf("the key frame came after %d frames", s.Sent-before)
		}
		return
	}
}

func TestRepublish(t *testing.T) {
	h := newHall(t)
	frames := make(chan Frame, 10000)
	h.watch(t, func(f Frame) { frames <- f }) // before there is a publisher
	cam := newCamera(jpegs(t, scene(320, 240, 4)), 30)
	one, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- Publish(one, h.options(cam)) }()
	last := want(t, "the first publisher's picture", frames)

	// The second takes over; the first is told by the end of its connection.
	start(t, func(ctx context.Context) error { return Publish(ctx, h.options(cam)) })
	if err := want(t, "the end of the first publisher", ended); !errors.Is(err, ErrFailed) {
		t.Errorf("the first publisher ended with %v", err)
	}
	for len(frames) > 0 {
		last = <-frames
	}
	for i := 0; i < 10; i++ {
		f := want(t, "the second publisher's picture", frames)
		if d := int32(f.Timestamp - last.Timestamp); d <= 0 {
			t.Errorf("timestamp went back by %d", -d)
		}
		last = f
	}
	if v := h.Streams(); len(v) != 1 || v[0].Viewers != 1 {
		t.Errorf("streams: %+v", v)
	}
}

func TestStalledViewer(t *testing.T) {
	h := newHall(t)
	block, stalled := make(chan struct{}), make(chan struct{})
	var once sync.Once
	h.watch(t, func(Frame) { once.Do(func() { close(stalled) }); <-block })
	t.Cleanup(func() { close(block) })
	frames := make(chan Frame, 10000)
	h.watch(t, func(f Frame) { frames <- f })
	start(t, func(ctx context.Context) error {
		return Publish(ctx, h.options(newCamera(jpegs(t, scene(320, 240, 4)), 30)))
	})
	want(t, "the stalled viewer's picture", stalled)
	last := want(t, "frames", frames)
	for range 30 {
		f := want(t, "frames", frames)
		if d := f.Received.Sub(last.Received); d > 5*time.Second {
			t.Errorf("%s between two frames", d)
		}
		last = f
	}
}

func TestRefused(t *testing.T) {
	h := newHall(t)
	cam := newCamera(jpegs(t, scene(320, 240, 1)), 30)
	for _, token := range []string{"", "wrong", "viewer"} {
		o := h.options(cam)
		o.Token = token
		if err := Publish(t.Context(), o); !errors.Is(err, ErrRefused) {
			t.Errorf("publish with %q: %v", token, err)
		}
	}
	err := Watch(t.Context(), WatchOptions{Endpoint: h.url + "/v1/whep/otoscope", Token: "wrong", HTTP: h.Client})
	if !errors.Is(err, ErrRefused) {
		t.Errorf("watch: %v", err)
	}
	if cam.open() != 0 || len(h.Streams()) != 0 {
		t.Error("a refused session left something behind")
	}
}

func TestCameraGoneAndKicked(t *testing.T) {
	h := newHall(t)
	for _, end := range []struct {
		name string
		do   func(*camera)
		want error
	}{
		{"camera gone", func(c *camera) { close(c.gone) }, device.ErrGone},
		{"kicked", func(*camera) { h.Kick("otoscope") }, ErrFailed},
		{"token ended", func(*camera) { h.KickToken("good") }, ErrFailed},
	} {
		cam := newCamera(jpegs(t, scene(320, 240, 2)), 30)
		o := h.options(cam)
		stats := make(chan Stats, 1000)
		o.Stats = func(s Stats) { stats <- s }
		ended := make(chan error, 1)
		go func() { ended <- Publish(t.Context(), o) }()
		want(t, "the picture", stats)
		end.do(cam)
		if err := want(t, "the end", ended); !errors.Is(err, end.want) {
			t.Errorf("%s: %v, want %v", end.name, err, end.want)
		}
	}
}

// The ladder's say: half the rate or less, while running.
func TestRate(t *testing.T) {
	h := newHall(t)
	o := h.options(newCamera(jpegs(t, scene(320, 240, 8)), 30))
	o.Bitrate = 1_500_000
	shell := newLadder(t)
	shell.Want(ladder.Demand{Pictures: 1, Picture: 1_500_000})
	o.Ladder = shell.Session()
	defer o.Ladder.Close()
	stats := make(chan Stats, 1000)
	o.Stats = func(s Stats) { stats <- s }
	start(t, func(ctx context.Context) error { return Publish(ctx, o) })
	sum := func(n int) (bytes int) {
		for range n {
			bytes += want(t, "frames", stats).Bytes
		}
		return bytes
	}
	sum(15)
	before := sum(30)
	shell.Want(ladder.Demand{Pictures: 1, Picture: 200_000})
	sum(15)
	if after := sum(30); after > before/2 {
		t.Errorf("%d bytes in 30 frames before, %d after", before, after)
	}
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"nothing":   {},
		"no camera": {Endpoint: "http://x", Decode: decode},
		"no decode": {Endpoint: "http://x", Camera: &camera{}},
		"negative":  {Endpoint: "http://x", Camera: &camera{}, Decode: decode, Bitrate: -1},
	} {
		if err := Publish(t.Context(), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestPace(t *testing.T) {
	for _, c := range []struct {
		name     string
		camera   time.Duration // between frames
		jitter   time.Duration
		of, take int
	}{
		{"same rate", 33333 * time.Microsecond, 5 * time.Millisecond, 90, 90},
		{"twice as fast", 16667 * time.Microsecond, time.Millisecond, 90, 45},
		{"slower", 50 * time.Millisecond, 0, 40, 40},
	} {
		p := pace{every: time.Second / 30}
		n := 0
		for i := range c.of {
			at := time.Second + time.Duration(i)*c.camera
			if i%2 == 1 {
				at += c.jitter
			}
			if p.take(int64(at)) {
				n++
			}
		}
		if n < c.take-1 || n > c.take+1 {
			t.Errorf("%s: %d of %d frames taken, want %d", c.name, n, c.of, c.take)
		}
	}
}
