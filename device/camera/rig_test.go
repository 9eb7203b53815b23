package camera

import (
	"context"
	"sync"
	"testing"
	"time"

	"telecart/device"
	"telecart/device/kit"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// outlet keeps what was said.
type outlet struct {
	mu     sync.Mutex
	said   []device.Health
	about  []device.About
	news   chan device.Health
	inputs chan device.Input
}

func newOutlet() *outlet {
	return &outlet{news: make(chan device.Health, 100), inputs: make(chan device.Input, 100)}
}

func (o *outlet) Observe(x device.Observation) {
	switch x := x.(type) {
	case device.Input:
		o.inputs <- x
	case device.About:
		o.mu.Lock()
		defer o.mu.Unlock()
		o.about = append(o.about, x)
	}
	h, ok := x.(device.Health)
	if !ok {
		return
	}
	o.mu.Lock()
	o.said = append(o.said, h)
	o.mu.Unlock()
	o.news <- h
}

func (o *outlet) until(t *testing.T, want device.Health) {
	t.Helper()
	for h := range o.news {
		if h == want {
			return
		}
		if h.State == device.Faulty || h.State == device.Absent {
			t.Fatalf("health is %v, want %v", h, want)
		}
	}
}

// bench is a lens whose pictures and end are in the test's hands.
type bench struct {
	on, off chan struct{} // streaming began, ended
	frames  chan device.Frame
	fail    chan error // ends the stream
	mu      sync.Mutex
	dead    error // what alive says
	closed  bool
	list    []device.Axis
	values  []map[string]int
	halted  int

	how       coding
	filmOn    chan struct{} // the coded stream began
	filmOff   chan struct{} // and ended
	units     chan unit
	filmFail  chan error
	keysAsked int
	asked     chan resolution // a still was asked for
	answer    chan taken
	large     bool // whole
	wait      int  // settling
	press     chan struct{}
	listening chan struct{} // for the button
}

func newBench() *bench {
	return &bench{on: make(chan struct{}, 10), off: make(chan struct{}, 10), frames: make(chan device.Frame), fail: make(chan error),
		filmOn: make(chan struct{}, 10), filmOff: make(chan struct{}, 10), units: make(chan unit), filmFail: make(chan error),
		asked: make(chan resolution, 10), answer: make(chan taken), press: make(chan struct{}), listening: make(chan struct{}, 10),
		list: []device.Axis{{Name: "pan", Min: -36000, Max: 36000, Step: 3600}, {Name: "focus-auto", Max: 1, Step: 1}}}
}

func (b *bench) stream(ctx context.Context, put func(device.Frame)) error {
	b.on <- struct{}{}
	defer func() { b.off <- struct{}{} }()
	for {
		select {
		case f := <-b.frames:
			put(f)
		case err := <-b.fail:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

func (b *bench) alive(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dead
}

func (b *bench) Close() error                                { b.closed = true; return nil }
func (b *bench) axes(context.Context) ([]device.Axis, error) { return b.list, b.dead }
func (b *bench) set(_ context.Context, v map[string]int) error {
	b.values = append(b.values, v)
	return b.dead
}
func (b *bench) halt(context.Context) error { b.halted++; return b.dead }

func (b *bench) about() device.About { return device.About{Model: "Bench", Serial: "B-1"} }
func (b *bench) coding() coding      { return b.how }
func (b *bench) whole() bool         { return b.large }
func (b *bench) settling() int       { return b.wait }

func (b *bench) film(ctx context.Context, put func(unit)) error {
	b.filmOn <- struct{}{}
	defer func() { b.filmOff <- struct{}{} }()
	for {
		select {
		case u := <-b.units:
			put(u)
		case err := <-b.filmFail:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

func (b *bench) keyFrame(context.Context) error { b.keysAsked++; return b.dead }

func (b *bench) shoot(ctx context.Context, size resolution) (device.Frame, error) {
	b.asked <- size
	select {
	case t := <-b.answer:
		return t.Frame, t.err
	case <-ctx.Done():
		return device.Frame{}, ctx.Err()
	}
}

func (b *bench) presses(ctx context.Context, pressed func()) error {
	b.listening <- struct{}{}
	for {
		select {
		case <-b.press:
			pressed()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// rig runs an instrument on a bench until the test ends.
type rig struct {
	*instrument
	*bench
	clock *kit.Manual
	out   *outlet
	ended chan error
	stop  context.CancelFunc
}

func start(t *testing.T, change ...func(*rig)) *rig {
	t.Helper()
	r := &rig{bench: newBench(), clock: kit.NewManual(noon), out: newOutlet(), ended: make(chan error, 1)}
	r.instrument = onBench(r.clock, r.out, r.bench)
	for _, f := range change {
		f(r)
	}
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	go func() { r.ended <- r.Run(ctx); close(r.ended) }()
	t.Cleanup(func() { stop(); <-r.ended })
	r.out.until(t, device.Health{State: device.Live})
	return r
}

func onBench(clock *kit.Manual, out device.Outlet, b source) *instrument {
	return newInstrument(outfit{clock: clock, stamp: kit.NewStamper(clock, nil), out: out, tally: newTally(),
		id:   device.Identity{Name: "scope", Kind: device.KindCamera, Driver: "camera", Port: "usb:B-1"},
		open: func(context.Context) (source, error) { return b, nil }})
}
