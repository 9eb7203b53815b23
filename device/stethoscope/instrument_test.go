package stethoscope

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"telecart/device"
	"telecart/device/kit"
	"telecart/device/stethoscope/alsa"
)

// notes is an outlet that keeps everything.
type notes struct {
	mu  sync.Mutex
	all []device.Observation
}

func (n *notes) Observe(o device.Observation) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, o)
}

func (n *notes) health() (all []device.Health) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, o := range n.all {
		if h, ok := o.(device.Health); ok && (len(all) == 0 || all[len(all)-1] != h) {
			all = append(all, h)
		}
	}
	return all
}

func (n *notes) lines() (all []device.Samples) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, o := range n.all {
		if s, ok := o.(device.Samples); ok {
			all = append(all, s)
		}
	}
	return all
}

// bench is an instrument at work on a source, with an ear that was there before it.
type bench struct {
	*testing.T
	clock *kit.Manual
	s     *instrument
	ear   device.Ear
	notes notes
	stop  func()
	ended chan error
}

func start(t *testing.T, clock *kit.Manual, open func() (source, error)) *bench {
	ctx, cancel := context.WithCancel(context.Background())
	b := &bench{T: t, clock: clock, stop: cancel, ended: make(chan error, 1)}
	b.s = newInstrument(settings(clock), &b.notes, open)
	b.ear = b.s.Listen()
	go func() { b.ended <- b.s.Run(ctx) }()
	return b
}

// onTwin hears a twin by the clock: with the ear open the twin's next value is all that anything waits for.
func onTwin(t *testing.T, o options) (*bench, *twin) {
	clock := kit.NewManual(epoch())
	tw := newTwin(clock, slow, o)
	b := start(t, clock, tw.open)
	t.Cleanup(func() { b.end(nil) })
	return b, tw
}

// tick lets a stretch of time go by and hears it.
func (b *bench) tick() device.Sound {
	b.Helper()
	b.clock.AwaitWaiters(1) // all is done about the stretch before
	b.clock.Advance(tick)
	return b.hear(b.ear)
}

func (b *bench) hear(e device.Ear) device.Sound {
	b.Helper()
	x, err := next(e)
	if err != nil {
		b.Fatal(err)
	}
	return x
}

func next(e device.Ear) (device.Sound, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return e.Next(ctx)
}

// end stops the instrument if it runs, and wants to know that it ended so.
func (b *bench) end(want error) {
	b.Helper()
	b.stop()
	b.over(want)
}

func (b *bench) over(want error) {
	b.Helper()
	select {
	case err := <-b.ended:
		if want == nil && err != nil || !errors.Is(err, want) && want != nil {
			b.Errorf("Run: %v, want %v", err, want)
		}
	case <-time.After(20 * time.Second):
		b.Error("Run goes on")
	}
}

// fed is a source whose sound the test gives.
type fed struct {
	in     chan piece
	idle   chan struct{} // a token for each read that begins
	events chan string   // on, off
	dead   error         // what alive says
	hz     int
}

type piece struct {
	values []int16
	lost   uint64
	err    error
}

func newFed() *fed {
	return &fed{in: make(chan piece), idle: make(chan struct{}, 10), events: make(chan string, 100), hz: 48000}
}

func (f *fed) open() (source, error) { return f, nil }
func (f *fed) about() device.About   { return device.About{Model: "Steth One", Serial: "S1"} }
func (f *fed) alive() error          { return f.dead }
func (f *fed) Close() error          { return nil }

func (f *fed) listen() (stream, error) {
	f.events <- "on"
	return fedStream{f}, nil
}

type fedStream struct{ *fed }

func (f fedStream) rate() int { return f.hz }

func (f fedStream) read(ctx context.Context, dst []int16) (int, uint64, error) {
	f.idle <- struct{}{}
	select {
	case p := <-f.in:
		return copy(dst, p.values), p.lost, p.err
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
}

func (f fedStream) Close() error {
	f.events <- "off"
	return nil
}

// settle waits until all is done about what was given.
func (f *fed) settle() {
	f.idle <- <-f.idle
}

// give gives a piece once all is done about the one before.
func (f *fed) give(p piece) {
	<-f.idle
	f.in <- p
}

// ramp is n values that tell their places.
func ramp(from, n int) (all []int16) {
	for i := range n {
		all = append(all, int16(from+i))
	}
	return all
}

func TestStretches(t *testing.T) {
	f := newFed()
	b := start(t, kit.NewManual(epoch()), f.open)
	// However it comes, it goes out in stretches of 20 ms, each value once, and every ear hears the same.
	other := b.s.Listen()
	for i := range 8 {
		f.give(piece{values: ramp(600*i, 600)})
	}
	f.give(piece{values: ramp(4800, 10), lost: 100}) // 4900 ... a jump, and what was there goes out
	f.give(piece{values: ramp(4810, 950)})
	for i := range 5 {
		for _, e := range []device.Ear{b.ear, other} {
			x := b.hear(e)
			if x.Seq != uint64(960*i) || x.RateHz != 48000 || !slices.Equal(x.Values, ramp(960*i, 960)) || x.At.Wall.IsZero() {
				t.Fatalf("stretch %d: Seq %d, %d values from %d", i, x.Seq, len(x.Values), x.Values[0])
			}
		}
	}
	x := b.hear(b.ear)
	if x.Seq != 4900 || !slices.Equal(x.Values, ramp(4800, 960)) {
		t.Errorf("after a gap of 100: Seq %d, %d values from %d; want 4900", x.Seq, len(x.Values), x.Values[0])
	}
	f.give(piece{values: ramp(5760, 7)})
	f.give(piece{values: ramp(0, 960), lost: 5})
	if x := b.hear(b.ear); x.Seq != 5860 || len(x.Values) != 7 {
		t.Errorf("before a gap: Seq %d, %d values; want the 7 that were there", x.Seq, len(x.Values))
	}
	if x := b.hear(b.ear); x.Seq != 5872 || len(x.Values) != 960 {
		t.Errorf("after it: Seq %d, %d values; want 5872", x.Seq, len(x.Values))
	}
	c := b.s.Counters()
	if c["values"] != 4800+960+7+960 || c["overruns"] != 2 || c["values_lost"] != 105 {
		t.Errorf("counters %v", c)
	}
	f.give(piece{values: ramp(1, 3)})
	f.give(piece{err: fmt.Errorf("%w (test)", alsa.ErrUnplugged)})
	b.over(alsa.ErrUnplugged)
	if x := b.hear(b.ear); len(x.Values) != 3 { // what was heard is heard, even after the end
		t.Errorf("%d values, want the last 3", len(x.Values))
	}
	if _, err := next(b.ear); !errors.Is(err, device.ErrGone) {
		t.Errorf("then: %v", err)
	}
	b.ear.Close()
	if _, err := next(b.ear); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// A slow ear loses the oldest, delays nobody, and sees it in Seq.
func TestSlowEar(t *testing.T) {
	f := newFed()
	b := start(t, kit.NewManual(epoch()), f.open)
	quick := b.s.Listen()
	const n = patience + 30
	for i := range n {
		f.give(piece{values: ramp(i, 960)})
		if x := b.hear(quick); x.Seq != uint64(960*i) {
			t.Fatalf("the quick ear: Seq %d, want %d", x.Seq, 960*i)
		}
	}
	for i := n - patience; i < n; i++ {
		if x := b.hear(b.ear); x.Seq != uint64(960*i) || x.Values[0] != int16(i) {
			t.Fatalf("the slow ear: Seq %d, want %d", x.Seq, 960*i)
		}
	}
	if c := b.s.Counters(); c["stretches_dropped"] != n-patience {
		t.Errorf("%d dropped, want %d", c["stretches_dropped"], n-patience)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := b.ear.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("nothing left, cancelled: %v", err)
	}
	b.end(nil)
}

// The microphone is on while there are ears and a linger longer; the time without is a gap.
func TestLinger(t *testing.T) {
	f := newFed()
	clock := kit.NewManual(epoch())
	b := start(t, clock, f.open)
	await := func(want string) {
		t.Helper()
		select {
		case got := <-f.events:
			if got != want {
				t.Fatalf("the microphone went %s, want %s", got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("the microphone did not go %s", want)
		}
	}
	sound := func() { f.give(piece{values: ramp(0, 960)}) }
	await("on")
	sound()
	b.hear(b.ear)
	f.settle()
	b.ear.Close()
	clock.Advance(linger - time.Millisecond)
	sound()
	f.settle()
	e := b.s.Listen() // it came in time: on it stays
	clock.Advance(linger)
	sound()
	f.settle()
	e.Close()
	clock.Advance(linger - time.Millisecond)
	sound()
	f.settle()
	if len(f.events) > 0 {
		t.Fatalf("the microphone went %s too soon", <-f.events)
	}
	clock.Advance(time.Millisecond)
	sound()
	await("off")
	clock.Advance(3 * time.Second)
	e = b.s.Listen()
	await("on")
	sound()
	if x := b.hear(e); x.Seq != 5*960+3*48000 {
		t.Errorf("3 s later: Seq %d; the time between must show", x.Seq)
	}
	b.end(nil)
	await("off")
}

// An idle stethoscope that is unplugged is noticed.
func TestUnpluggedIdle(t *testing.T) {
	f := newFed()
	f.dead = alsa.ErrUnplugged
	clock := kit.NewManual(epoch())
	b := &bench{T: t, clock: clock, stop: func() {}, ended: make(chan error, 1)}
	b.s = newInstrument(settings(clock), &b.notes, f.open)
	go func() { b.ended <- b.s.Run(context.Background()) }()
	clock.AwaitWaiters(1)
	clock.Advance(glance)
	b.over(alsa.ErrUnplugged)
}

func TestHealth(t *testing.T) {
	b, tw := onTwin(t, options{beats: 72, murmur: quiet})
	want := []device.Health{{State: device.Settling}, {State: device.Live}}
	seconds := func(n int, f flaw, h ...device.Health) {
		t.Helper()
		tw.Spoil(f)
		for range n*stretches + 1 {
			b.tick()
		}
		want = append(want, h...)
		if got := b.notes.health(); !slices.Equal(got, want) {
			t.Fatalf("health went %v, want %v", got, want)
		}
	}
	seconds(3, sane)
	seconds(2, loud, device.Health{State: device.Live, Reason: Clipping})
	seconds(2, sane, device.Health{State: device.Live})
	seconds(2, silent, device.Health{State: device.Settling, Reason: NoSound})
	seconds(2, sane, device.Health{State: device.Live})
	if b.s.Counters()["values_clipped"] == 0 {
		t.Error("no clipped value was counted")
	}
}

func TestWatch(t *testing.T) {
	second := func(change func(i int) int16) []int16 {
		v := make([]int16, 8000)
		for i := range v {
			v[i] = change(i)
		}
		return v
	}
	first := func(n int, at, rest int16) func(int) int16 {
		return func(i int) int16 {
			if i < n {
				return at
			}
			return rest + int16(i%7)
		}
	}
	live := device.Health{State: device.Live}
	for _, x := range []struct {
		name   string
		values []int16
		want   device.Health
	}{
		{"a quiet room", second(first(0, 0, 0)), live},
		{"8 of 8000 at full scale", second(first(8, 32767, 0)), live},
		{"9 of 8000", second(first(9, 32767, 0)), device.Health{State: device.Live, Reason: Clipping}},
		{"below", second(first(9, -32768, 0)), device.Health{State: device.Live, Reason: Clipping}},
		{"one step less than full scale below", second(first(9, -32767, 0)), device.Health{State: device.Live, Reason: Clipping}},
		{"nearly", second(first(900, 32766, 0)), live},
		{"zeros", second(func(int) int16 { return 0 }), device.Health{State: device.Settling, Reason: NoSound}},
		{"an offset that flickers", second(func(i int) int16 { return 300 + int16(i%3) }), device.Health{State: device.Settling, Reason: NoSound}},
		{"three steps", second(func(i int) int16 { return 300 + int16(i%4) }), live},
	} {
		w := newWatch(8000)
		if _, _, done := w.add(x.values[:7999]); done {
			t.Errorf("%s: judged before the second was over", x.name)
		}
		if _, h, done := w.add(x.values[7999:]); !done || h != x.want {
			t.Errorf("%s: %v (done %v), want %v", x.name, h, done, x.want)
		}
	}
}

// Cable pulled while it is listened to: at once, without any time going by.
func TestUnplug(t *testing.T) {
	clock := kit.NewManual(epoch())
	tw := newTwin(clock, 48000, options{beats: 72})
	b := start(t, clock, tw.open)
	b.tick()
	tw.Unplug()
	b.over(alsa.ErrUnplugged)
	if _, err := next(b.ear); !errors.Is(err, device.ErrGone) {
		t.Errorf("the ear: %v", err)
	}
}

func TestStall(t *testing.T) {
	clock := kit.NewManual(epoch())
	tw := newTwin(clock, 48000, options{beats: 72})
	b := start(t, clock, tw.open)
	b.tick()
	b.clock.AwaitWaiters(1)
	tw.Spoil(stalled)
	clock.Advance(tick)
	b.over(alsa.ErrStalled)
}
