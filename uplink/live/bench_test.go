package live

import (
	"context"
	"image"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pion/mediadevices/pkg/io/video"
	"github.com/pion/mediadevices/pkg/prop"
	"github.com/pion/rtp"

	"telecart/device"
)

// cpu is the processor time that this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkLive sends 10 s of a 720p scene at 30 frames/s and 2 Mb/s through encoder, SRTP, the room and a viewer, all in
// this process and on loopback. The scene is drawn beforehand and handed over as 4:2:0 planes, so a camera's own JPEG is
// not in these numbers; the encoder alone is measured on the same pictures in the same run.
//
//	live_p50_ms, live_p99_ms   from capture to the frame's last packet at the viewer
//	live_cpu_720p30            processor seconds for one second of video, everything together
//	live_cpu_vs_encoder        the same, against openh264 alone
//	live_kbps, live_fps        what was really sent
func BenchmarkLive(b *testing.B) {
	const fps, seconds, w, hgt, bps = 30, 10, 1280, 720, 2_000_000
	pics := scene(w, hgt, 30)
	frames := make([]device.Frame, len(pics))
	for i := range frames {
		frames[i] = device.Frame{Width: w, Height: hgt, Data: []byte{byte(i)}}
	}
	for range b.N {
		h := newHall(b)
		cam := newCamera(frames, fps)
		var mu sync.Mutex
		captured := map[uint32]time.Time{} // by the publisher's RTP time
		var order []time.Time
		var bytes int
		o := h.options(cam)
		o.Bitrate, o.Width, o.Height = bps, w, hgt
		o.Decode = func(f device.Frame) (image.Image, error) { return pics[f.Data[0]], nil }
		o.sending = func(f device.Frame) {
			mu.Lock()
			defer mu.Unlock()
			captured[rtpTime(f.At.Mono)] = f.At.Wall
		}
		o.Stats = func(s Stats) {
			mu.Lock()
			defer mu.Unlock()
			bytes += s.Bytes
			order = append(order, s.Captured)
		}
		// The viewer's timestamps are the first publisher's own: the room moves them only from the second one on.
		type arrival struct {
			ts uint32
			at time.Time
		}
		got := make(chan arrival, fps*seconds*2)
		first := make(chan struct{})
		var once sync.Once
		ctx, cancel := context.WithCancel(b.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := Publish(ctx, o); err != nil {
				b.Error(err)
			}
		})
		wg.Go(func() {
			if err := Watch(ctx, WatchOptions{
				Endpoint: h.url + "/v1/whep/otoscope", Token: "viewer", HTTP: h.Client,
				OnRTP: func(p *rtp.Packet, at time.Time) {
					if p.Marker {
						got <- arrival{p.Timestamp, at}
					}
				},
				OnFrame: func(Frame) { once.Do(func() { close(first) }) },
			}); err != nil {
				b.Error(err)
			}
		})
		want(b, "the first frame", first)
		mu.Lock()
		before, sentBefore := bytes, len(order)
		mu.Unlock()
		u, t0 := cpu(b), time.Now()
		var took []time.Duration
		for time.Since(t0) < seconds*time.Second {
			a := <-got
			mu.Lock()
			c, ok := captured[a.ts]
			mu.Unlock()
			if ok {
				took = append(took, a.at.Sub(c))
			}
		}
		used, wall := cpu(b)-u, time.Since(t0)
		mu.Lock()
		kbps, sent := float64(bytes-before)*8/1000/wall.Seconds(), len(order)-sentBefore
		mu.Unlock()
		cancel()
		wg.Wait()
		if len(took) < sent*9/10 {
			b.Fatalf("%d of %d frames arrived", len(took), sent)
		}
		slices.Sort(took)
		ms := func(q int) float64 { return took[min(len(took)*q/100, len(took)-1)].Seconds() * 1000 }
		whole := used.Seconds() / wall.Seconds()
		alone := encoderAlone(b, o, pics, sent).Seconds() / (float64(sent) / fps)
		b.ReportMetric(ms(50), "live_p50_ms")
		b.ReportMetric(ms(99), "live_p99_ms")
		b.ReportMetric(whole, "live_cpu_720p30")
		b.ReportMetric(whole/alone, "live_cpu_vs_encoder")
		b.ReportMetric(kbps, "live_kbps")
		b.ReportMetric(float64(sent)/wall.Seconds(), "live_fps")
	}
}

// encoderAlone is the processor time of the same encoder for n of the same pictures, at the same pace: its rate control
// looks at the clock.
func encoderAlone(b *testing.B, o Options, pics []*image.YCbCr, n int) time.Duration {
	enc, err := newBuilder(o)
	if err != nil {
		b.Fatal(err)
	}
	i := 0
	start := time.Now()
	r, err := enc.BuildVideoEncoder(video.ReaderFunc(func() (image.Image, func(), error) {
		time.Sleep(time.Until(start.Add(time.Duration(i) * time.Second / 30)))
		i++
		return pics[i%len(pics)], func() {}, nil
	}), prop.Media{Video: prop.Video{Width: o.Width, Height: o.Height}})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	u := cpu(b)
	for range n {
		_, release, err := r.Read()
		if err != nil {
			b.Fatal(err)
		}
		release()
	}
	return cpu(b) - u
}
