package live

import (
	"context"
	"image"
	"log/slog"
	"testing"
	"time"

	"github.com/pion/rtp"

	"telecart/device/kit"
	"telecart/uplink/ladder"
	"telecart/uplink/live/h264dec"
)

// The ladder stops the picture, its session probes, and the picture comes back with a key frame. The viewer sees no gap in the
// numbers: it would ask for what never was a picture.
func TestStopAndComeBack(t *testing.T) {
	h := newHall(t)
	shell := ladder.NewShell(kit.System{}, slog.New(slog.DiscardHandler), ladder.Options{Most: 100_000})
	start(t, func(ctx context.Context) error { _ = shell.Run(ctx); return nil })
	stop, run := ladder.Demand{Pictures: 1, Picture: 2_000_000}, ladder.Demand{Pictures: 1, Picture: 60_000}
	shell.Want(stop)
	o := h.options(newCamera(jpegs(t, scene(320, 240, 8)), 30))
	o.Ladder = shell.Session()
	defer o.Ladder.Close()
	frames, packets := make(chan Frame, 10000), make(chan *rtp.Packet, 100000)
	start(t, func(ctx context.Context) error {
		return Watch(ctx, WatchOptions{Endpoint: h.url + "/v1/whep/otoscope", Token: "viewer", HTTP: h.Client,
			OnFrame: func(f Frame) { frames <- f }, OnRTP: func(p *rtp.Packet, _ time.Time) { packets <- p }})
	})
	start(t, func(ctx context.Context) error { return Publish(ctx, o) })
	probed := func() {
		t.Helper()
		for n, from := probes(shell), time.Now(); probes(shell) == n; <-time.After(10 * time.Millisecond) {
			if time.Since(from) > 20*time.Second {
				t.Fatalf("no probe: %+v", shell.State(100))
			}
		}
	}
	probed()
	if len(frames) > 0 {
		t.Error("a picture although it is stopped")
	}
	for round := range 2 {
		shell.Want(run)
		for i := range 20 {
			if f := want(t, "pictures", frames); i == 0 && !f.Key {
				t.Errorf("round %d begins without a key frame", round)
			}
		}
		shell.Want(stop)
		probed()
		for len(frames) > 0 {
			<-frames
		}
	}
	for last := <-packets; len(packets) > 0; {
		p := <-packets
		if d := p.SequenceNumber - last.SequenceNumber; d != 1 {
			t.Fatalf("the numbers move by %d at %d", int16(d), p.SequenceNumber)
		}
		last = p
	}
}

func probes(s *ladder.Shell) (n int) {
	for _, l := range s.State(100).Log {
		if l.Code == ladder.Probed || l.Code == ladder.ProbeFailed {
			n++
		}
	}
	return n
}

func TestShape(t *testing.T) {
	hd := Options{Width: 1280, Height: 720, FrameRate: 30, Ladder: &ladder.Session{}}
	for _, c := range []struct {
		o    Options
		p    ladder.Plan
		want shape
	}{
		{hd, ladder.Plan{Step: ladder.Full, Rate: 30, Width: 1280, Height: 720}, shape{1280, 720, 30}},
		{hd, ladder.Plan{Step: ladder.Smaller, Rate: 15, Width: 640, Height: 360}, shape{640, 360, 15}},
		{hd, ladder.Plan{Step: ladder.Stills}, shape{1280, 720, 30}},
		{Options{Width: 640, Height: 480, FrameRate: 10, Ladder: hd.Ladder}, ladder.Plan{Step: ladder.Smaller, Rate: 15, Width: 640, Height: 360}, shape{480, 360, 10}},
		{Options{Width: 320, Height: 240, FrameRate: 30}, ladder.Plan{}, shape{320, 240, 30}},
	} {
		if s := c.o.shape(c.p); s != c.want {
			t.Errorf("%+v: %+v", c.p, s)
		}
	}
}

// A film in another size goes on with another encoder in the same session.
func TestBecomesSmaller(t *testing.T) {
	h := newHall(t)
	pics := scene(640, 480, 8)
	o := h.options(newCamera(jpegs(t, pics), 30))
	o.Width, o.Height, o.Bitrate = 1280, 720, 2_000_000
	shell := ladder.NewShell(kit.System{}, slog.New(slog.DiscardHandler), ladder.Options{Most: 600_000})
	start(t, func(ctx context.Context) error { _ = shell.Run(ctx); return nil })
	shell.Want(ladder.Demand{Pictures: 1, Picture: 100_000}) // all that it wants: the top rung
	o.Ladder = shell.Session()
	defer o.Ladder.Close()
	sizes := make(chan image.Point, 10000)
	watchSizes(t, h, sizes)
	start(t, func(ctx context.Context) error { return Publish(ctx, o) })
	if s := want(t, "a picture", sizes); s != image.Pt(640, 480) {
		t.Fatal(s)
	}
	shell.Want(ladder.Demand{Pictures: 1, Picture: 5_000_000}) // more than 600 kb/s give: the rung below
	for want(t, "a smaller picture", sizes) != image.Pt(480, 360) {
	}
}

// A camera's own stream that does not fit is not passed on: its pictures are encoded, or stopped as any other's.
func TestPassOrEncode(t *testing.T) {
	h := newHall(t)
	shell := ladder.NewShell(kit.System{}, slog.New(slog.DiscardHandler), ladder.Options{Most: 300_000})
	start(t, func(ctx context.Context) error { _ = shell.Run(ctx); return nil })
	own := newCoder(film(60, 10), 60)
	o := h.options(newCamera(jpegs(t, scene(640, 480, 8)), 30))
	o.Width, o.Height, o.Coded = 640, 480, own
	shell.Want(ladder.Demand{Pictures: 1, Picture: 2_000_000}) // stopped
	o.Ladder = shell.Session()
	defer o.Ladder.Close()
	sizes := make(chan image.Point, 10000)
	watchSizes(t, h, sizes)
	start(t, func(ctx context.Context) error { return Publish(ctx, o) })
	for from := time.Now(); probes(shell) == 0; <-time.After(10 * time.Millisecond) {
		if time.Since(from) > 20*time.Second {
			t.Fatalf("no probe: %+v", shell.State(100))
		}
	}
	if len(sizes) > 0 || own.coded() != 0 {
		t.Errorf("%d pictures although they are stopped; %d views of the camera's own", len(sizes), own.coded())
	}
	shell.Want(ladder.Demand{Pictures: 1, Picture: 150_000})
	if s := want(t, "a picture", sizes); s != image.Pt(640, 480) {
		t.Error(s)
	}
}

func watchSizes(t *testing.T, h hall, sizes chan<- image.Point) {
	dec, err := h264dec.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dec.Close)
	h.watch(t, func(f Frame) {
		if m, err := dec.Decode(f.Data); err == nil && m != nil {
			sizes <- m.Bounds().Size()
		}
	})
}
