package camera

import (
	"context"
	"errors"
	"io/fs"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telecart/device"
	"telecart/device/camera/scene"
	"telecart/device/camera/v4l2"
	"telecart/device/conformance"
	"telecart/device/hotplug"
	"telecart/device/kit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Case{Name: "twin", Start: func(out device.Outlet) (conformance.Rig, error) {
		clock := kit.NewManual(noon)
		c, err := Driver().New(device.Settings{Name: "room", Driver: "camera", Port: "twin", Clock: clock,
			Stamp: kit.NewStamper(clock, nil), Options: map[string]string{"width": "320", "height": "240"}}, out)
		return conformance.Rig{Instrument: c, Clock: clock, Step: 100 * time.Millisecond}, err
	}})
	conformance.Run(t, conformance.Case{Name: "lens", Start: func(out device.Outlet) (conformance.Rig, error) {
		clock, b := kit.NewManual(noon), newBench()
		return conformance.Rig{
			Instrument: onBench(clock, out, b),
			Clock:      clock, Step: glance,
			Unplug: func() { b.mu.Lock(); b.dead = v4l2.ErrUnplugged; b.mu.Unlock() },
		}, nil
	}})
	conformance.Run(t, conformance.Case{Name: "node", Start: func(out device.Outlet) (conformance.Rig, error) {
		clock, p := kit.NewManual(noon), newPlugs(t)
		p.plug(0, "1-1", 0, 0, "AAA", jpegCamera("A"))
		p.plug(2, "1-1", 0, 2, "AAA", coderNode("A"))
		c, err := driver(p.machine()).New(device.Settings{Name: "room", Driver: "camera", Port: "usb:AAA", Clock: clock}, out)
		return conformance.Rig{Instrument: c, Clock: clock, Step: glance, Unplug: func() { p.unplug(0) }}, err
	}})
	// A camera's button is an input like any other.
	conformance.Run(t, conformance.Case{Name: "button", Act: device.Shutter, Start: func(out device.Outlet) (conformance.Rig, error) {
		clock, b := kit.NewManual(noon), newBench()
		c := onBench(clock, out, b)
		var v device.View
		return conformance.Rig{Instrument: c, Clock: clock, Step: glance, Trigger: func(ctx context.Context) error {
			v = c.Watch()
			<-b.listening
			b.press <- struct{}{}
			for c.Counters()[presses] == 0 {
				runtime.Gosched()
			}
			return nil
		}, Close: func() {
			if v != nil {
				v.Close()
			}
		}}, nil
	}})
}

// The Camera seam, on the twin: pictures are whole, newer each time, of the right moment, and obey the axes.
func TestTwin(t *testing.T) {
	clock, out := kit.NewManual(noon), newOutlet()
	made, err := Driver().New(device.Settings{Name: "room", Port: "twin", Clock: clock, Stamp: kit.NewStamper(clock, nil),
		Options: map[string]string{"width": "640", "height": "480", "fps": "10", "name": "dermatoscope"}}, out)
	if err != nil {
		t.Fatal(err)
	}
	cam, hand := made.(device.Camera), made.(device.Steerable)
	v := cam.Watch()
	defer v.Close()
	if _, err := v.Next(t.Context()); !errors.Is(err, device.ErrGone) {
		t.Fatalf("before Run: %v", err)
	}
	if err := hand.Steer(t.Context(), map[string]int{"pan": 1}); !errors.Is(err, device.ErrGone) {
		t.Fatalf("steer before Run: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- cam.Run(ctx) }()
	out.until(t, device.Health{State: device.Live})
	for i := range uint64(5) {
		f, err := v.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		img, err := Decode(f)
		if err != nil {
			t.Fatal(err)
		}
		ms, seq, ok := scene.ReadCells(img)
		if !ok || f.Seq != i || uint64(seq) != i || ms != uint32(f.At.Wall.UnixMilli()) || !f.At.Wall.Equal(clock.Now()) || img.Bounds().Dx() != f.Width {
			t.Errorf("picture %d: seq %d, cells %d %d %v, at %v, %v", i, f.Seq, ms, seq, ok, f.At.Wall, img.Bounds())
		}
		clock.AwaitWaiters(2) // the next picture, and the watch over silence
		clock.Advance(100 * time.Millisecond)
	}
	if err := hand.Steer(ctx, map[string]int{"focus": 100}); !errors.Is(err, ErrLocked) {
		t.Errorf("focus while automatic: %v", err)
	}
	if err := hand.Steer(ctx, map[string]int{"focus": 101, "focus-auto": 0, "pan": 99999}); err != nil {
		t.Error(err)
	}
	if err := hand.Halt(ctx); err != nil {
		t.Error(err)
	}
	axes, err := hand.Axes(ctx)
	got := map[string]int{}
	for _, a := range axes {
		got[a.Name] = a.Value
	}
	if err != nil || got["focus"] != 100 || got["pan"] != 36000 || got["focus-auto"] != 0 || got["exposure-auto"] != 1 || len(got) != 7 {
		t.Errorf("axes %v, %v", got, err)
	}
	if err := hand.Steer(ctx, map[string]int{"roll": 1, "pan": 0}); err == nil || !strings.Contains(err.Error(), "pan, tilt, zoom") {
		t.Errorf("unknown axis: %v", err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("stopped: %v", err)
	}
	if _, err := v.Next(t.Context()); !errors.Is(err, device.ErrGone) {
		t.Errorf("after Run: %v", err)
	}
}

func TestTwinFallsBehind(t *testing.T) {
	clock := kit.NewManual(noon)
	tw := newTwin(clock, kit.NewStamper(clock, nil), options{width: 320, height: 240, fps: 10, scene: "room"})
	src, err := tw.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var seqs []uint64
	ended := make(chan error)
	go func() {
		ended <- src.stream(ctx, func(f device.Frame) {
			seqs = append(seqs, f.Seq)
			if f.Seq == 0 {
				clock.Advance(350 * time.Millisecond) // a slow moment: three pictures are lost
			}
			if len(seqs) == 3 {
				stop()
			}
		})
	}()
	for range 2 {
		clock.AwaitWaiters(1)
		clock.Advance(100 * time.Millisecond)
	}
	if err := <-ended; err != nil || len(seqs) != 3 || seqs[1] != 4 || seqs[2] != 5 {
		t.Errorf("numbers %v, %v; want 0 4 5", seqs, err)
	}
}

func TestStreamsOnlyWhileWatched(t *testing.T) {
	r := start(t)
	r.clock.AwaitWaiters(1)
	if len(r.on) != 0 {
		t.Fatal("it streams though nobody watches")
	}
	a := r.Watch()
	<-r.on
	b := r.Watch()
	a.Close()
	a.Close() // twice is once
	r.frames <- device.Frame{Seq: 1}
	if f, err := b.Next(t.Context()); err != nil || f.Seq != 1 {
		t.Fatalf("second view: %v, %v", f.Seq, err)
	}
	b.Close()
	r.clock.AwaitWaiters(3) // the old glance, the watch over silence, and the linger
	r.clock.Advance(linger - time.Millisecond)
	c := r.Watch() // just in time: it goes on
	r.frames <- device.Frame{Seq: 2}
	if f, err := c.Next(t.Context()); err != nil || f.Seq != 2 {
		t.Fatalf("third view: %v, %v", f.Seq, err)
	}
	r.clock.Advance(time.Millisecond)
	r.frames <- device.Frame{Seq: 3}
	c.Close()
	r.clock.AwaitWaiters(2)
	r.clock.Advance(linger)
	<-r.off
	d := r.Watch()
	defer d.Close()
	<-r.on
	got := make(chan device.Frame)
	go func() { f, _ := d.Next(t.Context()); got <- f }()
	r.frames <- device.Frame{Seq: 9}
	if f := <-got; f.Seq != 9 {
		t.Errorf("a new view was greeted with picture %d of the old stream", f.Seq)
	}
}

func TestLatestWins(t *testing.T) {
	r := start(t)
	slow, fast := r.Watch(), r.Watch()
	defer slow.Close()
	defer fast.Close()
	data := []byte("picture")
	for i := range uint64(5) {
		r.frames <- device.Frame{Seq: i, Data: data}
		f, err := fast.Next(t.Context())
		if err != nil || f.Seq != i || &f.Data[0] != &data[0] {
			t.Fatalf("fast: %d, %v", f.Seq, err)
		}
	}
	if f, err := slow.Next(t.Context()); err != nil || f.Seq != 4 {
		t.Errorf("slow: %d, %v", f.Seq, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan error)
	go func() { _, err := slow.Next(ctx); got <- err }()
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	go func() { _, err := slow.Next(t.Context()); got <- err }()
	slow.Close()
	if err := <-got; !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestFailures(t *testing.T) {
	for _, x := range []struct {
		name string
		make func(r *rig, v device.View)
		want device.Health
	}{
		{"unplugged while watched", func(r *rig, v device.View) { r.fail <- v4l2.ErrUnplugged }, device.Health{State: device.Absent, Reason: "unplugged"}},
		{"broken pictures", func(r *rig, v device.View) { r.fail <- v4l2.ErrBroken }, device.Health{State: device.Faulty, Reason: "broken-pictures"}},
		{"busy", func(r *rig, v device.View) { r.fail <- v4l2.ErrBusy }, device.Health{State: device.Faulty, Reason: "busy"}},
		{"something else", func(r *rig, v device.View) { r.fail <- errors.New("what") }, device.Health{State: device.Faulty, Reason: "failed"}},
		{"silence", func(r *rig, v device.View) {
			r.frames <- device.Frame{}
			v.Next(t.Context())
			r.clock.AwaitWaiters(2)
			r.clock.Advance(silence) // a picture came meanwhile
			r.clock.AwaitWaiters(1)
			r.clock.Advance(silence)
		}, device.Health{State: device.Faulty, Reason: "no-pictures"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := start(t)
			r.clock.AwaitWaiters(1)
			v := r.Watch()
			defer v.Close()
			<-r.on
			x.make(r, v)
			if err := <-r.ended; err == nil || !strings.HasPrefix(err.Error(), "camera: ") {
				t.Errorf("Run returned %v", err)
			}
			if got := r.out.said[len(r.out.said)-1]; got != x.want {
				t.Errorf("health is %v, want %v", got, x.want)
			}
			if !r.closed {
				t.Error("the lens was not closed")
			}
			if _, err := v.Next(t.Context()); !errors.Is(err, device.ErrGone) {
				t.Errorf("view: %v", err)
			}
			if _, err := r.Axes(t.Context()); !errors.Is(err, device.ErrGone) {
				t.Errorf("axes: %v", err)
			}
		})
	}
}

func TestNotThere(t *testing.T) {
	for err, want := range map[error]device.Health{
		v4l2.ErrUnplugged:    {State: device.Absent, Reason: "unplugged"},
		hotplug.ErrAbsent:    {State: device.Absent, Reason: "unplugged"},
		hotplug.ErrAmbiguous: {State: device.Faulty, Reason: "same-serial"},
		v4l2.ErrNotCamera:    {State: device.Faulty, Reason: "not-a-camera"},
		fs.ErrPermission:     {State: device.Faulty, Reason: "no-permission"},
	} {
		out := newOutlet()
		c := onBench(kit.NewManual(noon), out, nil)
		c.open = func(context.Context) (source, error) { return nil, err }
		if got := c.Run(t.Context()); !errors.Is(got, err) || out.said[len(out.said)-1] != want {
			t.Errorf("%v: Run returned %v, health %v", err, got, out.said)
		}
	}
	out := newOutlet()
	c, err := Driver().New(device.Settings{Port: "usb:NOBODY-HAS-THIS"}, out)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context()); !errors.Is(err, hotplug.ErrAbsent) || out.said[len(out.said)-1].Reason != "unplugged" {
		t.Errorf("real port: %v, %v", err, out.said)
	}
}

func TestSteerFitsAndReportsGone(t *testing.T) {
	r := start(t)
	if err := r.Steer(t.Context(), map[string]int{"pan": 5000, "focus-auto": 9}); err != nil || r.values[0]["pan"] != 3600 || r.values[0]["focus-auto"] != 1 {
		t.Errorf("%v, %v", r.values, err)
	}
	if err := r.Steer(t.Context(), map[string]int{"zoom": 1}); err == nil || !strings.Contains(err.Error(), "this camera has: pan, focus-auto") || len(r.values) != 1 {
		t.Errorf("unknown: %v", err)
	}
	r.bench.mu.Lock()
	r.dead = v4l2.ErrUnplugged
	r.bench.mu.Unlock()
	_, err := r.Axes(t.Context())
	for what, err := range map[string]error{"steer": r.Steer(t.Context(), map[string]int{"pan": 0}), "halt": r.Halt(t.Context()), "axes": err} {
		if !errors.Is(err, device.ErrGone) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestSettings(t *testing.T) {
	for _, x := range []struct {
		port    string
		options map[string]string
		want    string
	}{
		{"twin", map[string]string{"widht": "640"}, "there are: fps, height, width, h264, name, still"},
		{"twin", map[string]string{"fps": "fast"}, "a number from 1 to 120"},
		{"twin", map[string]string{"width": "1"}, "a number from 128 to 4096"},
		{"twin", map[string]string{"name": "attic"}, "dermatoscope"},
		{"twin", map[string]string{"still": "huge"}, `one of ["sensor" "stream"]`},
		{"twin", map[string]string{"h264": "maybe"}, `one of ["on" "off"]`},
		{"video0", nil, "/dev/videoN, usb:SERIAL, usb-port:1-1.2 or twin"},
		{"usb:", nil, "/dev/videoN, usb:SERIAL, usb-port:1-1.2 or twin"},
		{"usb-port:left", nil, "/dev/videoN, usb:SERIAL, usb-port:1-1.2 or twin"},
		{"/etc/passwd", nil, "/dev/videoN, usb:SERIAL, usb-port:1-1.2 or twin"},
		{"hw:1,0", nil, "/dev/videoN, usb:SERIAL, usb-port:1-1.2 or twin"},
	} {
		_, err := Driver().New(device.Settings{Port: x.port, Options: x.options}, newOutlet())
		if err == nil || !strings.HasPrefix(err.Error(), "camera: ") || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s %v: %v, want %q", x.port, x.options, err, x.want)
		}
	}
}
