package live

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pion/mediadevices/pkg/io/video"
	"github.com/pion/mediadevices/pkg/prop"
	"github.com/pion/rtp"

	"telecart/device"
	"telecart/uplink/live/turbojpeg"
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

// BenchmarkPassThrough sends 15 s of what a camera's own encoder made (the same scene, 720p, 30 frames/s, 2 Mb/s). The room
// and a viewer are in another process: this one does what the cart does for one stream, from the camera's access unit to the
// socket.
//
//	live_cpu_passthrough      processor seconds for one second of video, on the cart; the median of five parts
//	live_passthrough_vs_udp   the same, against a bare socket's for as many packets, which is the kernel's part
func BenchmarkPassThrough(b *testing.B) {
	const fps, w, hgt, bps, windows, window = 30, 1280, 720, 2_000_000, 5, 3 * time.Second
	cam := newCoder(coded(b, Options{Bitrate: bps, Width: w, Height: hgt, FrameRate: fps}, scene(w, hgt, 30), 3*fps), fps)
	url, seen := roomElsewhere(b)
	for range b.N {
		sent := make(chan Stats, 1000)
		ctx, cancel := context.WithCancel(b.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := Publish(ctx, Options{Endpoint: url + "/v1/whip/otoscope", Token: "good", Camera: cam, Coded: cam, Decode: decode,
				Stats: func(s Stats) { sent <- s }}); err != nil {
				b.Error(err)
			}
		})
		want(b, "the viewer's picture", seen)
		for len(sent) > 0 {
			<-sent
		}
		var shares []float64
		bytes := 0
		for range windows {
			u, t0 := cpu(b), time.Now()
			for time.Since(t0) < window {
				s := <-sent
				if bytes += s.Bytes; s.Encode > 0 || s.Missed > 0 {
					b.Fatalf("%+v", s)
				}
			}
			shares = append(shares, (cpu(b)-u).Seconds()/time.Since(t0).Seconds())
		}
		cancel()
		wg.Wait()
		slices.Sort(shares)
		b.Logf("%.0f kbit/s, shares of a core %.4f", float64(bytes)*8/1000/(windows*window).Seconds(), shares)
		b.ReportMetric(shares[windows/2], "live_cpu_passthrough")
		b.ReportMetric(shares[windows/2]/bareUDP(b, cam.units, fps, window), "live_passthrough_vs_udp")
	}
}

// bareUDP is the processor's share of as many packets of that size, at the same pace, through a socket and nothing else.
func bareUDP(b *testing.B, units []device.Frame, fps int, window time.Duration) float64 {
	to, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	defer to.Close()
	from, err := net.DialUDP("udp", nil, to.LocalAddr().(*net.UDPAddr))
	if err != nil {
		b.Fatal(err)
	}
	defer from.Close()
	buf := make([]byte, mtu+40) // with headers and SRTP's tag
	u, t0 := cpu(b), time.Now()
	for i := 0; time.Since(t0) < window; i++ {
		time.Sleep(time.Until(t0.Add(time.Duration(i) * time.Second / time.Duration(fps))))
		for n := len(units[i%len(units)].Data); n > 0; n -= mtu {
			if _, err := from.Write(buf[:min(n, mtu)+40]); err != nil {
				b.Fatal(err)
			}
		}
	}
	return (cpu(b) - u).Seconds() / time.Since(t0).Seconds()
}

// elsewhere tells a process of this program that it is the room and a viewer, for another.
const elsewhere = "TELECART_LIVE_ROOM"

// roomElsewhere starts that process, and gives the room's address and word of the viewer's first picture.
func roomElsewhere(b *testing.B) (url string, seen <-chan string) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestRoomElsewhere$", "-test.v")
	cmd.Env = append(os.Environ(), elsewhere+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	words := make(chan string, 10)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if _, word, ok := strings.Cut(lines.Text(), elsewhere+" "); ok {
				words <- word
			}
		}
	}()
	b.Cleanup(func() {
		in.Close()
		<-done
		if err := cmd.Wait(); err != nil {
			b.Error("the other process:", err)
		}
	})
	return want(b, "the room", words), words
}

// TestRoomElsewhere is the other process of BenchmarkPassThrough; it ends with its standard input. Run as a test it has none, and
// shows that the room opens and closes.
func TestRoomElsewhere(t *testing.T) {
	var in io.Reader = strings.NewReader("")
	if os.Getenv(elsewhere) != "" {
		in = os.Stdin
	}
	h := newHall(t)
	var once sync.Once
	h.watch(t, func(Frame) { once.Do(func() { fmt.Println(elsewhere, "seen") }) })
	fmt.Println(elsewhere, h.url)
	if _, err := io.Copy(io.Discard, in); err != nil {
		t.Error(err)
	}
}

// coded is n pictures as openh264 makes them, at their pace.
func coded(b *testing.B, o Options, pics []*image.YCbCr, n int) (units [][]byte) {
	eachUnit(b, o, pics, n, func(au []byte) {
		if len(au) > 0 {
			units = append(units, slices.Clone(au))
		}
	})
	return units
}

// encoderAlone is the processor time of the same encoder for n of the same pictures, at the same pace: its rate control
// looks at the clock.
func encoderAlone(b *testing.B, o Options, pics []*image.YCbCr, n int) time.Duration {
	u := cpu(b)
	eachUnit(b, o, pics, n, func([]byte) {})
	return cpu(b) - u
}

func eachUnit(b *testing.B, o Options, pics []*image.YCbCr, n int, take func(au []byte)) {
	enc, err := newBuilder(o.Bitrate, shape{o.Width, o.Height, o.FrameRate})
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
	for range n {
		au, release, err := r.Read()
		if err != nil {
			b.Fatal(err)
		}
		take(au)
		release()
	}
}

// BenchmarkMJPEG makes what is sent, 720p in 4:2:0, of a camera's 1080p JPEG: with ours, and with the standard library's decoder and
// as simple a scaler in Go, in turn.
//
//	mjpeg_vs_std   time of the standard library's way, over ours
//	mjpeg_ms       of ours for one picture
func BenchmarkMJPEG(b *testing.B) {
	const rounds = 15
	most := image.Pt(1280, 720)
	var file bytes.Buffer
	if err := jpeg.Encode(&file, scene(1920, 1080, 1)[0], &jpeg.Options{Quality: 85}); err != nil {
		b.Fatal(err)
	}
	b.Logf("a JPEG of %d bytes", file.Len())
	dec, err := turbojpeg.New()
	if err != nil {
		b.Fatal(err)
	}
	defer dec.Close()
	to := image.NewYCbCr(image.Rectangle{Max: most}, image.YCbCrSubsampleRatio420)
	for range b.N {
		var std, ours []time.Duration
		for range rounds {
			t0 := time.Now()
			m, err := jpeg.Decode(bytes.NewReader(file.Bytes()))
			if err != nil {
				b.Fatal(err)
			}
			shrink(to, m.(*image.YCbCr))
			t1 := time.Now()
			n, err := dec.Decode(file.Bytes(), most)
			if err != nil || n.Rect != to.Rect {
				b.Fatal(n.Rect, err)
			}
			std, ours = append(std, t1.Sub(t0)), append(ours, time.Since(t1))
		}
		slices.Sort(std)
		slices.Sort(ours)
		b.ReportMetric(float64(std[rounds/2])/float64(ours[rounds/2]), "mjpeg_vs_std")
		b.ReportMetric(ours[rounds/2].Seconds()*1000, "mjpeg_ms")
	}
}

// shrink scales by the nearest two points in each direction.
func shrink(to, from *image.YCbCr) {
	plane := func(dst []byte, dw, dh, ds int, src []byte, sw, sh, ss int) {
		for y := range dh {
			fy := max(0, (2*y+1)*sh*128/dh-128)
			a, wy := src[fy>>8*ss:][:sw], fy&255
			b := src[min(fy>>8+1, sh-1)*ss:][:sw]
			out := dst[y*ds:][:dw]
			for x := range out {
				fx := max(0, (2*x+1)*sw*128/dw-128)
				i, wx := fx>>8, fx&255
				j := min(i+1, sw-1)
				top, bottom := int(a[i])*(256-wx)+int(a[j])*wx, int(b[i])*(256-wx)+int(b[j])*wx
				out[x] = byte((top*(256-wy) + bottom*wy) >> 16)
			}
		}
	}
	t, f := to.Rect.Size(), from.Rect.Size()
	plane(to.Y, t.X, t.Y, to.YStride, from.Y, f.X, f.Y, from.YStride)
	plane(to.Cb, t.X/2, t.Y/2, to.CStride, from.Cb, f.X/2, f.Y/2, from.CStride)
	plane(to.Cr, t.X/2, t.Y/2, to.CStride, from.Cr, f.X/2, f.Y/2, from.CStride)
}
