package all

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telecart/device"
	"telecart/device/kit"
	"telecart/device/supervisor"
)

const (
	// faster than real time twins live: as much as those bear whose cable is a real pseudo-terminal.
	faster   = 10
	patience = 30 * time.Second // in which each must have given all that it can
	tick     = 100 * time.Millisecond
)

// quick is a clock that goes faster.
type quick struct{ start time.Time }

func (c quick) Now() time.Time { return c.start.Add(faster * time.Since(c.start)) }

func (c quick) After(d time.Duration) <-chan time.Time {
	woken := make(chan time.Time, 1)
	time.AfterFunc(d/faster, func() { woken <- c.Now() })
	return woken
}

// steady are those that are sampled by the clock, a hundred times a second or more, which a busy machine keeps no pace with: they get
// a clock that waits for them.
func steady(d device.Driver) bool { return d.Name == "ad8232" || d.Name == "max30102" }

// heavy are those whose pictures take a busy machine as long as they take: they live in real time.
func heavy(d device.Driver) bool { return d.Kind == device.KindCamera }

// life is what was seen of one driver's twin.
type life struct {
	driver device.Driver
	live   time.Duration // when it first was; 0: never
	values map[string]bool
	heard  bool // sound came, or a picture
	wrong  []string
	states []device.Health
	why    map[device.Reason]bool // all reasons it gave
}

func (l *life) complain(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(l.wrong, text) {
		l.wrong = append(l.wrong, text)
	}
}

func (l *life) lacks() (what []string) {
	if l.live == 0 {
		what = append(what, "live")
	}
	for _, q := range l.driver.Quantities {
		if !l.values[q] {
			what = append(what, q)
		}
	}
	if !l.heard && (l.driver.Kind == device.KindCamera || l.driver.Kind == device.KindStethoscope) {
		what = append(what, "a picture or a sound")
	}
	return what
}

func (l *life) take(e supervisor.Event, known map[string]quantity, at time.Duration) {
	switch {
	case e.Health != nil:
		l.states = append(l.states, e.Health.Health)
		l.why[e.Health.Health.Reason] = true
		if e.Health.Health.State == device.Live && l.live == 0 {
			l.live = at
		}
	case e.Reading != nil:
		r := e.Reading
		l.values[r.Quantity] = l.values[r.Quantity] || r.Absent == ""
		l.why[r.Absent] = true
		if q := known[r.Quantity]; q.unit != r.Unit || q.waveform {
			l.complain("%s comes as a reading in %q: in capture's table it is %+v", r.Quantity, r.Unit, q)
		}
		l.origin(r.Instrument)
	case e.Samples != nil:
		s := e.Samples
		l.values[s.Quantity] = true
		if q := known[s.Quantity]; q.unit != s.Unit || !q.waveform {
			l.complain("%s comes as samples in %q: in capture's table it is %+v", s.Quantity, s.Unit, q)
		}
		l.origin(s.Instrument)
	}
}

func (l *life) origin(id device.Identity) {
	if !id.Twin || l.driver.Grade != "" && id.Grade == "" {
		l.complain("%+v is not marked as a twin, or not by its grade %q", id, l.driver.Grade)
	}
}

// prompt does what a person does, for what gives nothing by itself: starts a cuff, listens, looks.
func prompt(ctx context.Context, s *supervisor.Supervisor, l *life) {
	ctx, cancel := context.WithTimeout(ctx, patience/3)
	defer cancel()
	name := l.driver.Name
	if c, ok := s.Triggerable(name); ok && len(c.Modes()) > 0 {
		switch err := c.Start(ctx, c.Modes()[0]); {
		case err == nil, errors.Is(err, device.ErrBusy), errors.Is(err, device.ErrTooSoon), errors.Is(err, device.ErrGone):
		default:
			l.complain("start: %v", err)
		}
	}
	if m, ok := s.Microphone(name); ok {
		ear := m.Listen()
		defer ear.Close()
		sound, err := ear.Next(ctx)
		l.heard = l.heard || err == nil && len(sound.Values) > 0
	}
	if c, ok := s.Camera(name); ok {
		view := c.Watch()
		defer view.Close()
		frame, err := view.Next(ctx)
		l.heard = l.heard || err == nil && len(frame.Data) > 0
	}
}

// Every driver's twin, as the table makes them: each goes live, gives every quantity that its line promises, in the unit that
// the table of quantities has, marked as what it is; and every reason that it gives on the way has words.
func TestTwinsLive(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Run("all", func(t *testing.T) {
		t.Run("together", func(t *testing.T) {
			t.Parallel()
			liveTogether(t, slices.DeleteFunc(Table(), func(d device.Driver) bool { return steady(d) || heavy(d) }), quick{time.Now()})
		})
		for _, d := range Table() {
			if heavy(d) {
				t.Run("alone", func(t *testing.T) {
					t.Parallel()
					liveTogether(t, []device.Driver{d}, kit.System{})
				})
			}
			if steady(d) {
				t.Run("alone", func(t *testing.T) {
					t.Parallel()
					liveAlone(t, d)
				})
			}
		}
	})
	if err := goleak.Find(before); err != nil {
		t.Error("left behind: ", err)
	}
}

// liveAlone runs a driver's twin by a clock that moves only while nobody is at work.
func liveAlone(t *testing.T, d device.Driver) {
	clock := kit.NewManual(time.Now())
	ctx, cancel := context.WithCancel(context.Background())
	var pump sync.WaitGroup
	pump.Go(func() {
		for ctx.Err() == nil {
			clock.AwaitWaiters(2) // it and its supervisor
			clock.Advance(time.Millisecond)
		}
	})
	defer func() {
		cancel()
		clock.After(1 << 62) // the pump may wait for two who have gone
		clock.After(1 << 62)
		pump.Wait()
	}()
	liveTogether(t, []device.Driver{d}, clock)
}

// liveTogether runs the twins of these drivers on one cart.
func liveTogether(t *testing.T, drivers []device.Driver, clock kit.Clock) {
	known, start := quantities(t), clock.Now()
	sup := supervisor.New(supervisor.Options{Drivers: drivers, Clock: clock, Stamp: kit.NewStamper(clock, nil)})
	lives := map[string]*life{}
	for _, d := range drivers {
		lives[d.Name] = &life{driver: d, values: map[string]bool{}, why: map[device.Reason]bool{}}
		if err := sup.Add(device.Settings{Name: d.Name, Driver: d.Name, Port: "twin"}); err != nil {
			t.Fatal(err)
		}
	}
	events := sup.Subscribe(1 << 16)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- sup.Run(ctx) }()

	lacking := func() bool {
		return slices.ContainsFunc(slices.Collect(maps.Values(lives)), func(l *life) bool { return len(l.lacks()) > 0 })
	}
	for ask := time.After(tick); lacking() && ctx.Err() == nil; {
		select {
		case e := <-events.C:
			if name := whose(e); lives[name] != nil {
				lives[name].take(e, known, clock.Now().Sub(start))
			}
		case <-ask:
			for _, l := range lives {
				if l.live != 0 && len(l.lacks()) > 0 {
					prompt(ctx, sup, l)
				}
			}
			ask = time.After(tick)
		}
	}
	snapshot := sup.Snapshot()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for _, s := range snapshot {
		l := lives[s.Name]
		t.Run(s.Name, func(t *testing.T) {
			if lacks := l.lacks(); len(lacks) > 0 {
				t.Errorf("its twin has not given %s; it went %v; last error %q, %d restarts", strings.Join(lacks, ", "), l.states,
					s.LastError, s.Restarts)
			}
			for _, w := range l.wrong {
				t.Error(w)
			}
			for why := range l.why {
				worded(t, why)
			}
			t.Logf("live after %.1f s", l.live.Seconds())
		})
	}
}

func whose(e supervisor.Event) string {
	switch {
	case e.Health != nil:
		return e.Health.Name
	case e.Reading != nil:
		return e.Reading.Instrument.Name
	case e.Samples != nil:
		return e.Samples.Instrument.Name
	}
	return ""
}

// quantity is a line of capture's table.
type quantity struct {
	unit           string
	waveform, cart bool
}

var quantityForm = regexp.MustCompile(`(?m)^\t\t\{Name: "([a-z-]+)",(?: LOINC: "[0-9-]+",)? Unit: "([^"]+)"(.*)\},`)

// quantities reads the table: what is plugged in must not import what is observed.
func quantities(t *testing.T) map[string]quantity {
	all := map[string]quantity{}
	for _, m := range quantityForm.FindAllStringSubmatch(text(t, "../../capture/quantity.go"), -1) {
		all[m[1]] = quantity{unit: m[2], waveform: strings.Contains(m[3], "Waveform: true"), cart: strings.Contains(m[3], "Cart: true")}
	}
	if len(all) < 20 {
		t.Fatalf("only %d quantities found in capture/quantity.go", len(all))
	}
	return all
}

// What drivers promise is in the table of quantities, and is of the cart if its kind is, and only then.
func TestQuantities(t *testing.T) {
	ofCart := []device.Kind{device.KindPower, device.KindRoom, device.KindLight, device.KindClock, device.KindPedal, device.KindScanner}
	all := quantities(t)
	for _, d := range Table() {
		for _, name := range d.Quantities {
			q, ok := all[name]
			if !ok {
				t.Errorf("%s: %q is not in capture/quantity.go: give it a line", d.Name, name)
			} else if q.cart != slices.Contains(ofCart, d.Kind) {
				t.Errorf("%s: %q says something of the cart (%t), but the driver is of kind %s", d.Name, name, q.cart, d.Kind)
			}
			for _, lang := range []string{"en", "fr"} {
				words := text(t, "../../cmd/ui/strings/"+lang+".instruments.ts")
				if !strings.Contains(words, `"unit.`+q.unit+`":`) {
					t.Errorf("the screens have no words for the unit %q of %s (%s)", q.unit, name, lang)
				}
			}
		}
	}
}

func worded(t *testing.T, r device.Reason) {
	for _, lang := range []string{"en", "fr"} {
		if r != "" && !strings.Contains(text(t, "../../cmd/ui/strings/"+lang+".instruments.ts"), `"reason.`+string(r)+`":`) {
			t.Errorf("the screens have no words for the reason %q (%s)", r, lang)
		}
	}
}
