package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"telecart/device"
	"telecart/device/kit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// life is what a fake instrument does in one Run.
type life func(ctx context.Context, out device.Outlet) error

// fake lives the next life of its list at each start, the last one again and again.
type fake struct {
	device.Driver
	mu    sync.Mutex
	lives []life
	made  int
}

func newFake(name string, lives ...life) *fake {
	f := &fake{lives: lives}
	f.Driver = device.Driver{Name: name, Kind: device.KindOximeter, Quantities: []string{"a", "b", "wave"},
		New: func(s device.Settings, out device.Outlet) (device.Instrument, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			l := f.lives[min(f.made, len(f.lives)-1)]
			f.made++
			return &instrument{l, out}, nil
		}}
	return f
}

func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.made
}

type instrument struct {
	life life
	out  device.Outlet
}

func (i *instrument) Run(ctx context.Context) error { return i.life(ctx, i.out) }

func reading(q string, n int64) device.Reading {
	return device.Reading{Quantity: q, Unit: "1", Value: device.Decimal{Coef: n}, Period: device.Duration(time.Second)}
}

// forever says it is live, sends one number, and waits.
func forever(ctx context.Context, out device.Outlet) error {
	out.Observe(device.Health{State: device.Live})
	out.Observe(reading("a", 97))
	<-ctx.Done()
	return ctx.Err()
}

// rig runs a supervisor by a hand-set clock.
type rig struct {
	*Supervisor
	t      *testing.T
	clock  *kit.Manual
	sub    *Subscription
	cancel context.CancelFunc
	done   chan error
	log    bytes.Buffer // to be read after stop
}

func start(t *testing.T, add int, fakes ...*fake) *rig {
	t.Helper()
	r := &rig{t: t, clock: kit.NewManual(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)), done: make(chan error, 1)}
	o := Options{Clock: r.clock, Rand: func() float64 { return 0.5 }, Log: slog.New(slog.NewTextHandler(&r.log, nil))}
	for _, f := range fakes {
		o.Drivers = append(o.Drivers, f.Driver)
	}
	r.Supervisor = New(o)
	r.sub = r.Subscribe(1000)
	for _, f := range fakes[:add] {
		if err := r.Add(device.Settings{Name: f.Name, Driver: f.Name, Port: "twin"}); err != nil {
			t.Fatal(err)
		}
	}
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	go func() { r.done <- r.Run(ctx) }()
	t.Cleanup(r.cancel)
	return r
}

// stop ends Run and returns its error.
func (r *rig) stop() error {
	r.cancel()
	return <-r.done
}

// next is the next event in words. The health of "a" is told as such, a reading as its value or reason.
func (r *rig) next() string {
	r.t.Helper()
	select {
	case e := <-r.sub.C:
		return word(e)
	case <-time.After(10 * time.Second):
		r.t.Fatal("no event")
		return ""
	}
}

func word(e Event) string {
	switch {
	case e.Health != nil:
		return strings.TrimSpace(e.Health.Name + " " + string(e.Health.Health.State) + " " + string(e.Health.Health.Reason))
	case e.Reading != nil && e.Reading.Absent != "":
		return e.Reading.Quantity + " " + string(e.Reading.Absent)
	case e.Reading != nil:
		return e.Reading.Quantity + "=" + e.Reading.Value.String()
	case e.Samples != nil:
		return e.Samples.Quantity
	}
	return "nothing"
}

func (r *rig) expect(want ...string) {
	r.t.Helper()
	for _, w := range want {
		if got := r.next(); got != w {
			r.t.Fatalf("got %q, want %q", got, w)
		}
	}
}

// One instrument's whole life: live, failed, restarted after half a second's back-off at most, stopped.
func TestRestart(t *testing.T) {
	fail := func(ctx context.Context, out device.Outlet) error {
		out.Observe(device.Health{State: device.Live})
		out.Observe(reading("a", 97531))
		return errors.New("fake: cable is out")
	}
	goOn := make(chan struct{})
	slow := func(ctx context.Context, out device.Outlet) error {
		out.Observe(device.Health{State: device.Live})
		<-goOn
		return forever(ctx, out)
	}
	r := start(t, 1, newFake("spo2", fail, slow))
	r.expect("spo2 live", "a=97531", "a no-data", "spo2 absent disconnected")
	st := r.Snapshot()[0]
	if len(st.Readings) != 1 || !st.Readings[0].Stale || st.Readings[0].Value != (device.Decimal{}) || st.LastError != "fake: cable is out" {
		t.Fatalf("while down: %+v", st)
	}
	r.clock.AwaitWaiters(2) // the watch and the back-off
	r.clock.Advance(374 * time.Millisecond)
	r.clock.Advance(time.Millisecond) // half of 500 ms, and half of the other half
	r.expect("spo2 live")
	if st := r.Snapshot()[0]; st.Health.State != device.Live || !st.Readings[0].Stale {
		t.Errorf("live again, but without a reading yet: %+v", st)
	}
	close(goOn)
	r.expect("a=97")
	if st := r.Snapshot()[0]; st.Restarts != 1 || st.Readings[0].Stale || st.Readings[0].Instrument != (device.Identity{Name: "spo2",
		Kind: device.KindOximeter, Driver: "spo2", Port: "twin", Twin: true}) {
		t.Errorf("after the restart: %+v", st)
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	r.expect("a no-data", "spo2 absent stopped")
	if _, open := <-r.sub.C; open {
		t.Error("the subscription outlives Run")
	}
	if got := r.log.String(); strings.Contains(got, "97531") || !strings.Contains(got, "cable is out") {
		t.Errorf("log: %s", got)
	}
}

// asked is a clock that tells for how long it was asked to wait.
type asked struct {
	*kit.Manual
	waits chan time.Duration
}

func (a asked) After(d time.Duration) <-chan time.Time {
	c := a.Manual.After(d)
	a.waits <- d
	return c
}

func TestBackoff(t *testing.T) {
	clock := asked{kit.NewManual(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)), make(chan time.Duration, 1000)}
	fails := func(context.Context, device.Outlet) error { return errors.New("no") }
	works := func(context.Context, device.Outlet) error {
		<-clock.After(maxDelay)
		return errors.New("no")
	}
	f := newFake("spo2", fails, fails, fails, fails, fails, fails, fails, works, fails)
	s := New(Options{Drivers: []device.Driver{f.Driver}, Clock: clock, Rand: func() float64 { return 0.5 }})
	if err := s.Add(device.Settings{Name: "spo2", Driver: "spo2", Port: "twin"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	// Half of the delay, and half of the other half; the eighth is the life that worked long enough to begin anew.
	want := []time.Duration{375, 750, 1500, 3000, 6000, 7500, 7500, 10000, 375, 750}
	for i := range want {
		want[i] *= time.Millisecond
	}
	var got []time.Duration
	for len(got) < len(want) {
		if d := <-clock.waits; d != watchEvery {
			got = append(got, d)
			clock.Advance(d)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestTroublemakersHarmOnlyThemselves(t *testing.T) {
	for _, c := range []struct {
		name string
		life life
		want []string // events of the troublemaker
	}{
		{"panics", func(_ context.Context, out device.Outlet) error {
			out.Observe(device.Health{State: device.Live})
			panic("oops")
		}, []string{"bad live", "bad faulty crashed"}},
		{"returns without a reason", func(_ context.Context, out device.Outlet) error { return nil },
			[]string{"bad absent disconnected"}},
		{"floods", func(ctx context.Context, out device.Outlet) error {
			for ctx.Err() == nil {
				out.Observe(device.Samples{Quantity: "wave", Unit: "1", Values: []int32{1}})
			}
			return ctx.Err()
		}, []string{"bad faulty flooding"}},
		{"floods with one event", func(ctx context.Context, out device.Outlet) error {
			out.Observe(device.Samples{Quantity: "wave", Unit: "1", Values: make([]int32, 1<<20)})
			<-ctx.Done()
			return ctx.Err()
		}, []string{"bad faulty flooding"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t, 2, newFake("good", forever), newFake("bad", c.life, forever))
			var bad, good []string
			for len(bad) < len(c.want) {
				switch w := r.next(); {
				case strings.HasPrefix(w, "bad"):
					bad = append(bad, w)
				case w != "wave":
					good = append(good, w)
				}
			}
			if diff := cmp.Diff(c.want, bad); diff != "" {
				t.Error(diff)
			}
			for len(good) < 2 {
				good = append(good, r.next())
			}
			if diff := cmp.Diff([]string{"good live", "a=97"}, good); diff != "" {
				t.Error(diff)
			}
			if err := r.stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// One that was given up is not started again before it has returned: it may still have the port.
func TestStuck(t *testing.T) {
	release := make(chan struct{})
	f := newFake("bad", func(_ context.Context, out device.Outlet) error {
		for range maxBurst + 1 {
			out.Observe(device.Samples{Quantity: "wave", Unit: "1", Values: []int32{1}})
		}
		<-release
		return nil
	}, forever)
	r := start(t, 1, f)
	for range maxBurst {
		r.expect("wave")
	}
	r.expect("bad faulty flooding")
	r.clock.AwaitWaiters(2) // the watch and the patience
	r.clock.Advance(stopLimit)
	r.expect("bad faulty stuck")
	r.clock.AwaitWaiters(1)
	r.clock.Advance(time.Hour)
	r.clock.AwaitWaiters(1) // the watch came round again, and nothing else is waiting to start
	if f.count() != 1 {
		t.Error("started again beside one that has not returned")
	}
	close(release)
	r.expect("bad faulty flooding")
	r.clock.AwaitWaiters(2) // the watch and the back-off
	r.clock.Advance(maxDelay)
	r.expect("bad live", "a=97")
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}

func TestStuckAtTheEnd(t *testing.T) {
	release, said := make(chan struct{}), make(chan struct{})
	r := start(t, 1, newFake("spo2", func(_ context.Context, out device.Outlet) error {
		defer close(said)
		out.Observe(device.Health{State: device.Live})
		<-release
		out.Observe(reading("a", 1)) // too late: nobody listens
		return nil
	}))
	r.expect("spo2 live")
	r.clock.AwaitWaiters(1) // the watch
	r.cancel()
	r.clock.AwaitWaiters(2) // and the patience
	r.clock.Advance(stopLimit)
	if err := <-r.done; !errors.Is(err, ErrStuck) || !strings.Contains(err.Error(), "spo2") {
		t.Errorf("got %v", err)
	}
	r.expect("spo2 faulty stuck", "spo2 absent stopped")
	close(release)
	<-said
	if st := r.Snapshot()[0]; len(st.Readings) != 0 {
		t.Errorf("heard after the end: %+v", st.Readings)
	}
}

func TestSilence(t *testing.T) {
	again := make(chan struct{})
	r := start(t, 1, newFake("spo2", func(ctx context.Context, out device.Outlet) error {
		out.Observe(device.Health{State: device.Live})
		out.Observe(reading("a", 97))
		<-again
		out.Observe(reading("a", 98))
		<-again
		out.Observe(device.Health{State: device.Settling, Reason: "low-signal"})
		out.Observe(device.Health{State: device.Faulty, Reason: device.NoSensor})
		<-ctx.Done()
		return ctx.Err()
	}))
	r.expect("spo2 live", "a=97")
	r.clock.Advance(3 * time.Second)
	if st := r.Snapshot()[0]; st.Readings[0].Stale {
		t.Error("stale after 3 s: that is still allowed")
	}
	r.clock.Advance(1)
	if st := r.Snapshot()[0]; !st.Readings[0].Stale || st.Readings[0].Absent != device.NoData || st.Health.State != device.Absent {
		t.Errorf("after 3 s and more: %+v", st)
	}
	r.expect("a no-data", "spo2 absent no-data")
	again <- struct{}{}
	r.expect("a=98", "spo2 live")
	again <- struct{}{}
	r.expect("spo2 settling low-signal", "a no-data", "spo2 faulty no-sensor")
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}

// The watch withdraws even if nobody asks.
func TestSilenceIsTold(t *testing.T) {
	r := start(t, 1, newFake("spo2", forever))
	r.expect("spo2 live", "a=97")
	for range 7 {
		r.clock.AwaitWaiters(1)
		r.clock.Advance(watchEvery)
	}
	r.expect("a no-data", "spo2 absent no-data")
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNotHeard(t *testing.T) {
	old := kit.NewStamper(kit.System{}, nil).Now().Boot
	r := start(t, 1, newFake("spo2", func(ctx context.Context, out device.Outlet) error {
		out.Observe(reading("pressure", 1)) // not in the driver's table
		x := reading("a", 1)
		x.Unit = ""
		out.Observe(x)
		x = reading("a", 2)
		x.Absent = device.NotYet // and yet a number
		x.Instrument = device.Identity{Name: "impostor", Kind: "camera", Model: "M", Serial: "S"}
		out.Observe(x)
		x = reading("b", 3)
		x.At = kit.Stamp{Wall: time.Now(), Mono: -int64(time.Minute), Boot: old} // observed a minute ago
		out.Observe(x)
		<-ctx.Done()
		return ctx.Err()
	}))
	r.expect("a not-yet", "b no-data")
	st := r.Snapshot()[0]
	a := st.Readings[0]
	if a.Value != (device.Decimal{}) || a.Instrument.Name != "spo2" || !a.Instrument.Twin || a.Instrument.Model != "M" || st.Identity.Serial != "S" {
		t.Errorf("got %+v", a)
	}
	if b := st.Readings[1]; !b.Stale || b.Value != (device.Decimal{}) {
		t.Errorf("an old number is shown: %+v", b)
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}

func TestAdd(t *testing.T) {
	r := start(t, 0, newFake("spo2", forever), newFake("wont", forever))
	r.drivers["wont"] = device.Driver{Name: "wont", New: func(device.Settings, device.Outlet) (device.Instrument, error) {
		panic("no clock")
	}}
	for _, c := range []struct {
		set  device.Settings
		want string
	}{
		{device.Settings{Driver: "spo2"}, "no name"},
		{device.Settings{Name: "x", Driver: "ecg"}, "there are spo2, wont"},
		{device.Settings{Name: "x", Driver: "wont"}, "no clock"},
		{device.Settings{Name: "late", Driver: "spo2"}, ""},
		{device.Settings{Name: "late", Driver: "spo2"}, "own name"},
	} {
		err := r.Add(c.set)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: got %v, want %q", c.set, err, c.want)
		}
	}
	r.expect("late live", "a=97")
	if err := r.Run(t.Context()); !errors.Is(err, ErrRunning) {
		t.Errorf("a second Run: %v", err)
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if err := r.Add(device.Settings{Name: "x", Driver: "spo2"}); err == nil {
		t.Error("added after the end")
	}
	if _, open := <-r.Subscribe(1).C; open {
		t.Error("subscribed after the end")
	}
}

func TestStatusJSON(t *testing.T) {
	r := start(t, 1, newFake("spo2", forever))
	r.expect("spo2 live", "a=97")
	b, err := json.Marshal(r.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	var got []map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"name", "kind", "identity", "health", "since", "readings", "restarts"} {
		if _, ok := got[0][key]; !ok {
			t.Errorf("no %q in %s", key, b)
		}
	}
	if !strings.Contains(string(b), `"quantity":"a","value":97`) || !strings.Contains(string(b), `"stale":false`) {
		t.Errorf("got %s", b)
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}
