package camera

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"telecart/device"
	"telecart/device/camera/v4l2"
	"telecart/device/kit"
)

// coded is an access unit of that number.
func coded(seq uint64, key bool) unit {
	return unit{device.Frame{Format: device.H264, Seq: seq, Data: []byte{byte(seq)}}, key}
}

func withCoding(how coding) func(*rig) { return func(r *rig) { r.how = how } }

// film watches the coded picture.
func (r *rig) watchCoded(t *testing.T) device.View {
	t.Helper()
	v, err := r.WatchCoded()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// wind gives units and waits until they are taken.
func (r *rig) wind(units ...unit) {
	for _, u := range units {
		r.bench.units <- u
	}
	r.bench.units <- unit{device.Frame{Seq: 1 << 40}, false} // taken after those before were; it follows nothing
}

func seqs(t *testing.T, v device.View, n int) (got []uint64) {
	t.Helper()
	for range n {
		f, err := v.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, f.Seq)
	}
	return got
}

// Every unit comes, in order, from a key frame on; after a gap none until the next key frame.
func TestCodedView(t *testing.T) {
	r := start(t, withCoding(beside))
	v := r.watchCoded(t)
	defer v.Close()
	<-r.filmOn
	for _, u := range []unit{coded(3, false), coded(4, true), coded(5, false), coded(6, false)} {
		r.bench.units <- u
	}
	if got := seqs(t, v, 3); !slices.Equal(got, []uint64{4, 5, 6}) {
		t.Errorf("from the first key frame on: %v", got)
	}
	late := r.watchCoded(t)
	for _, u := range []unit{coded(7, false), coded(9, false), coded(10, false), coded(11, true), coded(12, false)} { // 8 is lost
		r.bench.units <- u
	}
	if got := seqs(t, v, 3); !slices.Equal(got, []uint64{7, 11, 12}) {
		t.Errorf("around the lost one: %v", got)
	}
	if got := seqs(t, late, 2); !slices.Equal(got, []uint64{11, 12}) {
		t.Errorf("a late viewer: %v", got)
	}
	late.Close()
	late.Close()
	if _, err := late.Next(t.Context()); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if n := r.Counters()["coded_interruptions"]; n != 1 {
		t.Errorf("%d interruptions", n)
	}
	if len(r.on) > 0 {
		t.Error("pictures are streamed though nobody watches them")
	}
}

// A viewer that doesn't keep up loses whole stretches, and delays nobody.
func TestSlowCodedView(t *testing.T) {
	r := start(t, withCoding(beside))
	slow, fast := r.watchCoded(t), r.watchCoded(t)
	defer slow.Close()
	defer fast.Close()
	<-r.filmOn
	next := uint64(0)
	give := func(n int, key bool) {
		for i := range n {
			r.bench.units <- coded(next, key && i == 0)
			if got := seqs(t, fast, 1); got[0] != next {
				t.Fatalf("fast: %d, want %d", got[0], next)
			}
			next++
		}
	}
	give(reelCap, true)
	give(1, false) // one too many
	give(5, false)
	give(2, true)
	if got := seqs(t, slow, 2); !slices.Equal(got, []uint64{next - 2, next - 1}) {
		t.Errorf("slow: %v, want the last two: they begin with a key frame", got)
	}
	give(reelCap, true)
	give(3, true) // a key frame is where it overflows
	if got := seqs(t, slow, 3); got[0] != next-3 {
		t.Errorf("slow: %v, want from %d on", got, next-3)
	}
	if n := r.Counters()["coded_dropped"]; n != 2*reelCap {
		t.Errorf("%d dropped", n)
	}
}

// The coded stream is on while it is watched and a linger longer; when it begins anew nothing follows what was before.
func TestCodedLinger(t *testing.T) {
	r := start(t, withCoding(beside))
	r.clock.AwaitWaiters(1)
	v := r.watchCoded(t)
	<-r.filmOn
	r.bench.units <- coded(1, true)
	seqs(t, v, 1)
	v.Close()
	r.clock.AwaitWaiters(3)
	r.clock.Advance(linger)
	<-r.filmOff
	v = r.watchCoded(t)
	defer v.Close()
	<-r.filmOn
	r.bench.units <- coded(2, false) // the next number, but nothing to start with
	r.bench.units <- coded(3, true)
	if got := seqs(t, v, 1); got[0] != 3 {
		t.Errorf("it begins with %d", got[0])
	}
}

// A still stops both streams: the bus may have room for one alone.
func TestStillPausesTheCodedStream(t *testing.T) {
	r := start(t, withCoding(beside))
	v := r.watchCoded(t)
	defer v.Close()
	<-r.filmOn
	r.bench.units <- coded(7, true)
	seqs(t, v, 1)
	got := r.shooting(t.Context())
	<-r.asked
	<-r.filmOff
	r.answer <- taken{Frame: picture(1, 128, 64)}
	if f := <-got; f.err != nil {
		t.Error(f.err)
	}
	<-r.filmOn
	r.bench.units <- coded(8, false) // the next number, of a stream that began anew
	r.bench.units <- coded(9, true)
	if got := seqs(t, v, 1); got[0] != 9 {
		t.Errorf("%v", got)
	}
}

// On one node the coded picture goes first: pictures wait, stills don't.
func TestInstead(t *testing.T) {
	r := start(t, withCoding(instead), func(r *rig) { r.large = true })
	v := r.Watch()
	defer v.Close()
	<-r.on
	s := r.watchCoded(t)
	<-r.off
	<-r.filmOn
	got := r.shooting(t.Context())
	<-r.asked // not from the stream, though that is large enough: there is none
	<-r.filmOff
	r.answer <- taken{Frame: picture(1, 128, 64)}
	if f := <-got; f.err != nil {
		t.Error(f.err)
	}
	<-r.filmOn
	s.Close()
	<-r.filmOff // at once: somebody waits for pictures
	<-r.on
	r.frames <- device.Frame{Seq: 5}
	if f, err := v.Next(t.Context()); err != nil || f.Seq != 5 {
		t.Error(f.Seq, err)
	}
}

// An encoder that fails takes nothing with it: there is no coded picture until the camera is opened again.
func TestCodedFails(t *testing.T) {
	for name, fail := range map[string]func(*rig){
		"its stream fails": func(r *rig) { r.filmFail <- v4l2.ErrStalled },
		"it is silent": func(r *rig) {
			r.wind(coded(4, false), coded(5, false)) // no key frame: nobody can see that
			r.clock.AwaitWaiters(2)
			r.clock.Advance(silence)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, withCoding(beside))
			r.clock.AwaitWaiters(1)
			s := r.watchCoded(t)
			defer s.Close()
			<-r.filmOn
			fail(r)
			if _, err := s.Next(t.Context()); !errors.Is(err, ErrNotCoded) {
				t.Errorf("view: %v", err)
			}
			if _, err := r.WatchCoded(); !errors.Is(err, ErrNotCoded) {
				t.Errorf("another: %v", err)
			}
			v := r.Watch()
			defer v.Close()
			<-r.on
			r.frames <- device.Frame{Seq: 5}
			if f, err := v.Next(t.Context()); err != nil || f.Seq != 5 {
				t.Error(f.Seq, err)
			}
			if n := r.Counters()["coded_failures"]; n != 1 {
				t.Errorf("%d failures", n)
			}
		})
	}
	r := start(t, withCoding(beside))
	s := r.watchCoded(t)
	defer s.Close()
	<-r.filmOn
	r.filmFail <- v4l2.ErrUnplugged
	if err := <-r.ended; !errors.Is(err, v4l2.ErrUnplugged) {
		t.Errorf("Run returned %v", err)
	}
	if _, err := s.Next(t.Context()); !errors.Is(err, device.ErrGone) {
		t.Errorf("view of a camera that is gone: %v", err)
	}
	if _, err := r.WatchCoded(); !errors.Is(err, device.ErrGone) {
		t.Errorf("another: %v", err)
	}
	if err := r.KeyFrame(t.Context()); !errors.Is(err, device.ErrGone) {
		t.Errorf("key frame: %v", err)
	}
}

func TestNotCoded(t *testing.T) {
	r := start(t)
	if _, err := r.WatchCoded(); !errors.Is(err, ErrNotCoded) {
		t.Error(err)
	}
	if err := r.KeyFrame(t.Context()); err != nil || r.keysAsked != 1 {
		t.Errorf("%v, asked %d times", err, r.keysAsked)
	}
}

// The camera's button counts while it streams, whichever stream that is.
func TestButton(t *testing.T) {
	r := start(t, withCoding(beside))
	r.clock.AwaitWaiters(1)
	if len(r.listening) > 0 {
		t.Error("it listens to the button of a lens that is off")
	}
	s := r.watchCoded(t)
	<-r.listening
	r.press <- struct{}{}
	in := <-r.out.inputs
	want := device.Identity{Name: "scope", Kind: device.KindCamera, Driver: "camera", Port: "usb:B-1", Model: "Bench", Serial: "B-1"}
	if in.Act != device.Shutter || in.Instrument != want || !in.At.Wall.Equal(noon) {
		t.Errorf("%+v", in)
	}
	got := r.shooting(t.Context())
	<-r.asked
	r.press <- struct{}{} // also while it shoots
	<-r.out.inputs
	r.answer <- taken{Frame: picture(1, 128, 64)}
	<-got
	if n := r.Counters()["presses"]; n != 2 || len(r.listening) > 0 {
		t.Errorf("%d presses, listened anew %d times", n, len(r.listening))
	}
	s.Close()
}

// The twin of a camera with an encoder, when one is asked for.
func TestTwinFilms(t *testing.T) {
	clock, out := kit.NewManual(noon), newOutlet()
	made, err := Driver().New(device.Settings{Name: "room", Port: "twin", Clock: clock, Stamp: kit.NewStamper(clock, nil),
		Options: map[string]string{"width": "320", "height": "240", "h264": "on"}}, out)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- made.Run(ctx) }()
	out.until(t, device.Health{State: device.Live})
	v, err := made.(device.Coded).WatchCoded()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	var keys []bool
	for i := range 6 {
		f, err := v.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_, key, err := (&splicer{}).unit(f.Data)
		if err != nil || f.Format != device.H264 || f.Width != 320 || f.Seq != uint64(i) || !f.At.Wall.Equal(clock.Now()) {
			t.Errorf("%d: number %d, %s, %v", i, f.Seq, f.Format, err)
		}
		if keys = append(keys, key); i == 2 {
			if err := made.(interface{ KeyFrame(context.Context) error }).KeyFrame(ctx); err != nil {
				t.Error(err)
			}
		}
		clock.AwaitWaiters(2)
		clock.Advance(time.Second / 30)
	}
	if !slices.Equal(keys, []bool{true, false, false, true, false, false}) {
		t.Errorf("key frames: %v", keys)
	}
	stop()
	<-ended
}
