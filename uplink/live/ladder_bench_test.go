package live

import (
	"context"
	"image"
	"slices"
	"sync"
	"testing"
	"time"

	"telecart/device"
	"telecart/uplink/ladder"
	"telecart/uplink/link/emulator"
	"telecart/uplink/live/h264dec"
)

// watched is what a viewer gets of a publisher over a bridge.
type watched struct {
	*bridge
	shell *ladder.Shell
	lane  *ladder.Session

	mu     sync.Mutex
	frames []time.Time // decoded, in order
	sent   []sample
}

type sample struct {
	at    time.Time
	bytes int
}

// publish starts a publisher of a 720p scene over a path, and a viewer at the room; see looks at what it gets.
func publish(t testing.TB, p emulator.Path, see func(Frame) bool) *watched {
	h := newHall(t)
	w := &watched{bridge: newBridge(t, h, p), shell: newLadder(t)}
	w.shell.Want(ladder.Demand{Pictures: 1, Picture: 2_200_000})
	w.lane = w.shell.Session()
	t.Cleanup(w.lane.Close)
	pics := scene(1280, 720, 30)
	frames := make([]device.Frame, len(pics))
	for i := range frames {
		frames[i] = device.Frame{Width: 1280, Height: 720, Data: []byte{byte(i)}}
	}
	o := h.options(newCamera(frames, 30))
	o.Endpoint, o.HTTP, o.Ladder = w.srv.URL+"/v1/whip/otoscope", w.srv.Client(), w.lane
	o.Bitrate, o.Width, o.Height = 2_000_000, 1280, 720
	o.Decode = func(f device.Frame) (image.Image, error) { return pics[f.Data[0]], nil }
	o.Stats = func(s Stats) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.sent = append(w.sent, sample{time.Now(), s.Bytes})
	}
	first := make(chan struct{})
	var once sync.Once
	h.watch(t, func(f Frame) {
		if !see(f) {
			return
		}
		once.Do(func() { close(first) })
		w.mu.Lock()
		defer w.mu.Unlock()
		w.frames = append(w.frames, f.Received)
	})
	start(t, func(ctx context.Context) error { return Publish(ctx, o) })
	want(t, "the first picture", first)
	return w
}

// until looks every few milliseconds whether something is so, and gives how long it took, or the limit: a figure that misses its
// goal is no failure of the benchmark.
func (w *watched) until(what string, limit time.Duration, ok func() bool) time.Duration {
	from := time.Now()
	for !ok() {
		if time.Since(from) > limit {
			w.t.Logf("%s: not within %s; %+v", what, limit, w.shell.State(100))
			return limit
		}
		<-time.After(5 * time.Millisecond)
	}
	return time.Since(from)
}

// rate of the pictures that were sent lately, as coded.
func (w *watched) rate(over time.Duration) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	from, bytes := time.Now().Add(-over), 0
	for _, s := range slices.Backward(w.sent) {
		if s.at.Before(from) {
			break
		}
		bytes += s.bytes
	}
	return int(float64(bytes) * 8 / over.Seconds())
}

// BenchmarkRateStep sends a 720p scene over a link of 2 Mb/s and 20 ms round trip with a modem's queue of 64 KiB, makes it 300
// kb/s for 20 s, then 2 Mb/s again.
//
//	step_down_ms         from the step until no fifth of a second offers the link more than it takes
//	step_down_queue_ms   that any packet waited before the bottleneck since the step
//	step_up_ms           from the step up until 1.5 Mb/s of pictures are sent again
func BenchmarkRateStep(b *testing.B) {
	const rtt = 20 * time.Millisecond
	wide, narrow := emulator.Path{Rate: 250_000, Delay: rtt / 2}, emulator.Path{Rate: 37_500, Delay: rtt / 2}
	for range b.N {
		w := publish(b, wide, func(Frame) bool { return true })
		w.until("1.5 Mb/s of pictures", 20*time.Second, func() bool { return w.rate(time.Second) >= 1_500_000 })
		<-time.After(5 * time.Second)
		w.set(narrow)
		down := w.fits(37_500)
		b.ReportMetric(float64(down.Milliseconds()), "step_down_ms")
		<-time.After(15 * time.Second)
		_, longest := w.count()
		b.ReportMetric(float64(longest.Milliseconds()), "step_down_queue_ms")
		if s := w.lane.Plan().Step; s != ladder.Stills {
			b.Logf("%s at 300 kb/s", s)
		}
		w.set(wide)
		up := w.until("1.5 Mb/s of pictures again", 30*time.Second, func() bool { return w.rate(time.Second) >= 1_500_000 })
		b.ReportMetric(float64(up.Milliseconds()), "step_up_ms")
		for _, l := range w.shell.State(100).Log {
			b.Logf("%s %s %d", l.At.Format("05.000"), l.Code, l.Estimate)
		}
	}
}

// fits is how long after now it takes until every fifth of a second offers the link no more than it takes, of rate bytes a second.
func (w *watched) fits(rate int) time.Duration {
	const step, window, look = 20 * time.Millisecond, 10, 200
	type mark struct {
		at      time.Duration
		offered int
	}
	var marks []mark
	for from := time.Now(); len(marks) < look; <-time.After(step) {
		n, _ := w.count()
		marks = append(marks, mark{time.Since(from), n})
	}
	fits := time.Duration(0)
	for i, m := range marks[window:] {
		if most := float64(rate)*(m.at-marks[i].at).Seconds() + 1250; float64(m.offered-marks[i].offered) > most {
			fits = marks[i+1].at
		}
	}
	return fits
}

// BenchmarkLossy sends the same over 2 Mb/s with 5 % loss and 50 ms round trip for half a minute.
//
//	lossy_fps             pictures decoded a second
//	lossy_max_freeze_ms   between two of them at most
func BenchmarkLossy(b *testing.B) {
	for range b.N {
		dec, err := h264dec.New()
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(dec.Close)
		w := publish(b, emulator.Path{Rate: 250_000, Delay: 25 * time.Millisecond, Loss: 0.05}, func(f Frame) bool {
			m, err := dec.Decode(f.Data)
			return err == nil && m != nil
		})
		<-time.After(3 * time.Second)
		w.mu.Lock()
		from := len(w.frames)
		w.mu.Unlock()
		<-time.After(30 * time.Second)
		w.mu.Lock()
		got := slices.Clone(w.frames[from:])
		w.mu.Unlock()
		freeze := time.Duration(0)
		for i := 1; i < len(got); i++ {
			freeze = max(freeze, got[i].Sub(got[i-1]))
		}
		b.ReportMetric(float64(len(got))/30, "lossy_fps")
		b.ReportMetric(float64(freeze.Milliseconds()), "lossy_max_freeze_ms")
		b.Logf("%d b/s, %+v", w.rate(20*time.Second), w.shell.State(100))
	}
}
