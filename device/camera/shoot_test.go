package camera

import (
	"bytes"
	"context"
	"errors"
	"image"
	"runtime"
	"testing"
	"time"

	"telecart/device"
	"telecart/device/camera/scene"
	"telecart/device/camera/v4l2"
	"telecart/device/kit"
)

// picture is a real JPEG as a frame.
func picture(seq uint64, w, h int) device.Frame {
	return device.Frame{Format: device.MJPEG, Data: scene.New(w, h).JPEG(seq, noon), Width: w, Height: h, Seq: seq}
}

// shooting asks for a still, and gives what came of it.
func (r *rig) shooting(ctx context.Context) <-chan taken {
	got := make(chan taken, 1)
	go func() {
		f, err := r.Shoot(ctx)
		got <- taken{f, err}
	}()
	return got
}

// A still larger than the stream: the stream stops for it and goes on, and a viewer sees a pause and no error.
func TestStillPausesTheStream(t *testing.T) {
	r := start(t)
	v := r.Watch()
	defer v.Close()
	<-r.on
	r.frames <- device.Frame{Seq: 1}
	if _, err := v.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	next := make(chan taken, 1)
	go func() { f, err := v.Next(t.Context()); next <- taken{f, err} }()
	got := r.shooting(t.Context())
	if size := <-r.asked; size != sensorSize {
		t.Errorf("asked for size %d", size)
	}
	<-r.off // before: the camera can't do both
	still := picture(2, 640, 480)
	r.answer <- taken{Frame: still}
	if f := <-got; f.err != nil || &f.Data[0] != &still.Data[0] {
		t.Errorf("%v: the camera's own bytes must come", f.err)
	}
	<-r.on
	r.frames <- device.Frame{Seq: 3}
	if f := <-next; f.err != nil || f.Seq != 3 {
		t.Errorf("the viewer saw %d, %v", f.Seq, f.err)
	}
	if len(r.values) != 0 || r.halted != 0 {
		t.Errorf("axes were touched: %v, %d halts", r.values, r.halted)
	}
	if n := r.Counters(); n["stills"] != 1 {
		t.Errorf("%v", n)
	}
}

// Without a viewer the lens is on for the still alone.
func TestStillOfAnIdleCamera(t *testing.T) {
	r := start(t)
	got := r.shooting(t.Context())
	<-r.asked
	r.answer <- taken{Frame: picture(1, 128, 64)}
	if f := <-got; f.err != nil {
		t.Error(f.err)
	}
	r.clock.AwaitWaiters(1)
	if len(r.on) != 0 {
		t.Error("it streams though nobody watches")
	}
}

// A stream of the sensor's size is not stopped: once it is steady, its next whole picture is the still.
func TestStillFromTheStream(t *testing.T) {
	for name, change := range map[string]func(*rig){
		"the sensor's size":   func(r *rig) { r.large = true },
		"as the settings say": func(r *rig) { r.instrument.still = streamSize },
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, change, func(r *rig) { r.wait = 2 })
			got := r.shooting(t.Context())
			<-r.on
			good := picture(6, 128, 64)
			glued, small := good, good
			glued.Data = append(bytes.Clone(good.Data[:200]), good.Data...)
			small.Width = 256 // the stream's size: this is a picture of before
			for _, f := range []device.Frame{good, good, small, glued, {Format: device.MJPEG, Data: good.Data[:300], Width: 128, Height: 64}, good} {
				r.show(f)
			}
			if f := <-got; f.err != nil || &f.Data[0] != &good.Data[0] || f.Width != 128 {
				t.Errorf("%v, %d wide", f.err, f.Width)
			}
			if n := r.Counters(); n["stills"] != 1 || n["stills_refused"] != 3 {
				t.Errorf("%v", n)
			}
			if len(r.asked) > 0 {
				t.Error("the stream was stopped for it")
			}
		})
	}
}

// show gives a picture, and waits until whoever watches has looked at it: otherwise the next one takes its place.
func (r *rig) show(f device.Frame) {
	before := r.instrument.pictures()
	r.frames <- f
	for all := false; !all; runtime.Gosched() {
		r.instrument.mu.Lock()
		all = r.count > before
		for v := range r.views {
			all = all && v.seen == r.count
		}
		r.instrument.mu.Unlock()
	}
}

// A slow camera's exposure is given two seconds, not eight pictures.
func TestSteadyInTime(t *testing.T) {
	r := start(t, func(r *rig) { r.large, r.wait = true, 1000 })
	got := r.shooting(t.Context())
	<-r.on
	f := picture(1, 128, 64)
	r.show(f)
	r.clock.Advance(settleTime)
	r.frames <- f
	if f := <-got; f.err != nil {
		t.Error(f.err)
	}
}

func TestStillsThatFail(t *testing.T) {
	r := start(t)
	broken := errors.New("v4l2: set MJPG 4096x3072: what")
	got := r.shooting(t.Context())
	<-r.asked
	r.answer <- taken{err: broken}
	if f := <-got; !errors.Is(f.err, broken) {
		t.Error(f.err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	got = r.shooting(ctx)
	<-r.asked
	cancel()
	if f := <-got; !errors.Is(f.err, context.Canceled) {
		t.Errorf("cancelled: %v", f.err)
	}

	got = r.shooting(t.Context())
	<-r.asked
	r.clock.Advance(shootLimit)
	if f := <-got; !errors.Is(f.err, ErrSilent) {
		t.Errorf("nothing came: %v", f.err)
	}

	v := r.Watch() // and after all that it still streams
	defer v.Close()
	<-r.on
	r.frames <- device.Frame{Seq: 9}
	if f, err := v.Next(t.Context()); err != nil || f.Seq != 9 {
		t.Error(f.Seq, err)
	}

	got = r.shooting(t.Context())
	<-r.asked
	r.answer <- taken{err: v4l2.ErrUnplugged}
	if f := <-got; !errors.Is(f.err, device.ErrGone) {
		t.Errorf("unplugged under it: %v", f.err)
	}
	if err := <-r.ended; !errors.Is(err, v4l2.ErrUnplugged) {
		t.Errorf("Run returned %v", err)
	}
	if _, err := r.Shoot(t.Context()); !errors.Is(err, device.ErrGone) {
		t.Errorf("of a camera that is gone: %v", err)
	}
}

// Who waits for a still when the agent stops is let go.
func TestStopUnderAStill(t *testing.T) {
	r := start(t)
	got := r.shooting(t.Context())
	<-r.asked
	r.stop()
	if f := <-got; !errors.Is(f.err, device.ErrGone) {
		t.Error(f.err)
	}
	if err := <-r.ended; err != nil {
		t.Errorf("Run returned %v", err)
	}
}

func TestTwinShoots(t *testing.T) {
	for still, want := range map[string]image.Point{"sensor": {640, 480}, "stream": {320, 240}} {
		clock, out := kit.NewManual(noon), newOutlet()
		made, err := Driver().New(device.Settings{Name: "room", Port: "twin", Clock: clock, Stamp: kit.NewStamper(clock, nil),
			Options: map[string]string{"width": "320", "height": "240", "name": "dermatoscope", "still": still}}, out)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- made.Run(ctx) }()
		out.until(t, device.Health{State: device.Live})
		hand := made.(device.Steerable)
		if err := hand.Steer(ctx, map[string]int{"zoom": 200, "focus-auto": 0, "focus": 100}); err != nil {
			t.Fatal(err)
		}
		f, err := made.(device.Shooter).Shoot(ctx)
		if err != nil {
			t.Fatal(err)
		}
		img, err := Decode(f)
		if err != nil {
			t.Fatal(err)
		}
		if ms, _, ok := scene.ReadCells(img); !ok || ms != uint32(noon.UnixMilli()) || img.Bounds().Size() != want || f.Width != want.X || f.Height != want.Y {
			t.Errorf("%s: %v of %dx%d, cells %v at %d", still, img.Bounds(), f.Width, f.Height, ok, ms)
		}
		// What is looked at is what was steered to: the same view in another size.
		same, err := scene.Named("dermatoscope", 320, 240)
		if err != nil {
			t.Fatal(err)
		}
		same.Set("zoom", 200)
		same.Set("focus-auto", 0)
		same.Set("focus", 100)
		if want.X == 640 {
			same = same.Enlarged()
		}
		if !bytes.Equal(f.Data, same.JPEG(f.Seq, f.At.Wall)) {
			t.Errorf("%s: the still shows another view", still)
		}
		stop()
		<-ended
	}
}

// Nothing on the way of a picture mirrors it or turns it upside down: text on a swab, the side of a lesion.
func TestNothingFlips(t *testing.T) {
	m := image.NewYCbCr(image.Rect(0, 0, 64, 48), image.YCbCrSubsampleRatio420)
	quarter := func(x, y int) uint8 { return uint8(40 + 60*(x*2/64) + 100*(y*2/48)) } // 40 100 / 140 200
	for y := range 48 {
		for x := range 64 {
			m.Y[m.YOffset(x, y)] = quarter(x, y)
		}
	}
	for i := range m.Cb {
		m.Cb[i], m.Cr[i] = 128, 128
	}
	yuyv := device.Frame{Format: device.YUYV, Width: 64, Height: 48}
	for y := range 48 {
		for x := range 64 {
			yuyv.Data = append(yuyv.Data, quarter(x, y), 128)
		}
	}
	jpeg := device.Frame{Format: device.MJPEG, Data: encoded(t, m), Width: 64, Height: 48}
	for _, f := range []device.Frame{jpeg, yuyv} {
		r := start(t, func(r *rig) { r.large = true })
		got := r.shooting(t.Context())
		<-r.on
		r.frames <- f
		still := <-got
		if still.err != nil || !bytes.Equal(still.Data, f.Data) || still.Format != f.Format {
			t.Fatalf("%s: the still is not the camera's own picture: %v", f.Format, still.err)
		}
		img, err := Decode(still.Frame)
		if err != nil {
			t.Fatal(err)
		}
		at := func(x, y int) int { y1, _, _, _ := img.At(x, y).RGBA(); return int(y1 >> 8) }
		tl, tr, bl, br := at(8, 8), at(56, 8), at(8, 40), at(56, 40)
		if !(tl < tr && tr < bl && bl < br) {
			t.Errorf("%s: corners %d %d / %d %d must get brighter in reading order", f.Format, tl, tr, bl, br)
		}
		r.stop()
	}
}

func TestStillLimitIsTheClocks(t *testing.T) {
	clock := kit.NewManual(noon)
	ctx, cancel := limited(t.Context(), clock, time.Second)
	defer cancel()
	clock.Advance(time.Second)
	<-ctx.Done()
	if !errors.Is(context.Cause(ctx), ErrSilent) {
		t.Error(context.Cause(ctx))
	}
}
