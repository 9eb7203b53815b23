package hotplug

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"telecart/device"
	"telecart/device/kit"
)

// mouth is a source that says what it is told to.
type mouth struct {
	says   chan event
	fails  chan error
	once   sync.Once
	closed chan struct{}
}

func newMouth() *mouth {
	return &mouth{says: make(chan event), fails: make(chan error), closed: make(chan struct{})}
}

func (m *mouth) next() (event, error) {
	select {
	case e := <-m.says:
		return e, nil
	case err := <-m.fails:
		return event{}, err
	case <-m.closed:
		return event{}, errors.New("closed")
	}
}

func (m *mouth) Close() error {
	m.once.Do(func() { close(m.closed) })
	return nil
}

// say returns once the event has had its effect: what comes after it was taken.
func (m *mouth) say(events ...event) {
	for _, e := range append(events, event{Subsystem: "block"}) {
		m.says <- e
	}
}

// asking is a clock that tells what it is asked for.
type asking struct {
	*kit.Manual
	asked chan time.Duration
}

func (a asking) After(d time.Duration) <-chan time.Time {
	c := a.Manual.After(d)
	a.asked <- d
	return c
}

// scene is a watch under way. What it waits for, one thing after the other, says whether it called once or more.
type scene struct {
	t      *testing.T
	clock  asking
	source chan source   // what the next attempts to listen get; nil is a failure
	begun  chan struct{} // changed was called
	calls  chan struct{} // and may return
}

func watching(t *testing.T, udevd bool, sources ...source) *scene {
	s := &scene{t: t, clock: asking{kit.NewManual(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)), make(chan time.Duration, 100)},
		source: make(chan source, 10), begun: make(chan struct{}, 100), calls: make(chan struct{})}
	for _, src := range sources {
		s.source <- src
	}
	ctx, cancel := context.WithCancel(t.Context())
	w := &watch{clock: s.clock, udev: func() bool { return udevd },
		changed: func() {
			s.begun <- struct{}{}
			select {
			case s.calls <- struct{}{}:
			case <-ctx.Done():
			}
		},
		open: func() (source, error) {
			if src := <-s.source; src != nil {
				return src, nil
			}
			return nil, errors.New("no netlink here")
		}}
	ended := make(chan error, 1)
	go func() { ended <- w.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
		goleak.VerifyNone(t)
	})
	return s
}

// called expects a call, and that the watch then waits for d.
func (s *scene) called(d time.Duration) {
	s.t.Helper()
	<-s.calls
	s.waits(d)
}

func (s *scene) waits(d time.Duration) {
	s.t.Helper()
	if got := <-s.clock.asked; got != d {
		s.t.Fatalf("it waits for %s, want %s", got, d)
	}
}

var (
	plugged = event{Action: "add", Path: "/devices/x", Subsystem: "tty"}
	byUdev  = event{Action: "add", Path: "/devices/x", Subsystem: "tty", Udev: true}
)

func TestBurstIsOneCall(t *testing.T) {
	m := newMouth()
	s := watching(t, false, m)
	s.called(rescan) // at the start
	for range 100 {
		m.say(plugged)
	}
	s.waits(quiet)
	s.clock.Advance(quiet)
	s.called(rescan)
	// After silence an event is answered at once.
	for range 2 {
		s.clock.Advance(time.Second)
		m.say(plugged)
		s.called(rescan)
	}
}

// An event that comes while changed is at work is not lost: what changed saw may be from before.
func TestEventDuringCall(t *testing.T) {
	m := newMouth()
	s := watching(t, false, m)
	<-s.begun
	m.say(plugged)
	s.called(rescan)
	s.waits(quiet)
	s.clock.Advance(quiet)
	s.called(rescan)
}

func TestRescanByTheClock(t *testing.T) {
	s := watching(t, false, newMouth())
	s.called(rescan)
	for range 3 {
		s.clock.Advance(rescan)
		s.called(rescan)
	}
}

func TestClockSetBack(t *testing.T) {
	m := newMouth()
	s := watching(t, false, m)
	s.called(rescan)
	s.clock.Advance(-time.Hour)
	m.say(plugged)
	s.waits(quiet)
}

func TestWhatIsNoNews(t *testing.T) {
	m := newMouth()
	s := watching(t, true, m)
	s.called(rescan)
	for range 2 {
		s.clock.Advance(time.Second)
		m.say(event{Action: "add", Path: "/devices/sda", Subsystem: "block", Udev: true})
		m.say(plugged) // udevd will say it
		m.say(byUdev)
		s.called(rescan)
	}
}

func TestOverrun(t *testing.T) {
	m := newMouth()
	s := watching(t, true, m)
	s.called(rescan)
	s.clock.Advance(time.Second)
	m.fails <- errOverrun
	s.called(rescan)
	s.clock.Advance(time.Second)
	m.say(byUdev) // it goes on listening
	s.called(rescan)
}

func TestPollsWhenDeaf(t *testing.T) {
	m, broken := newMouth(), newMouth()
	broken.Close()
	s := watching(t, false, nil, nil, broken, m)
	s.called(poll)
	s.clock.Advance(poll)
	s.called(poll)
	s.clock.Advance(poll)
	s.called(rescan) // it listens, for a moment;
	s.waits(quiet)   // but does not try again at once
	s.clock.Advance(quiet)
	s.called(poll)
	s.clock.Advance(poll)
	s.called(rescan)
	m.say(plugged)
	s.waits(quiet)
	s.clock.Advance(quiet)
	s.called(rescan)
	m.fails <- errors.New("gone")
	s.waits(quiet)
	<-m.closed
	s.clock.Advance(quiet)
	s.called(poll)
}

// The real socket: it opens without privilege, and closing it ends the wait.
func TestSocketCloses(t *testing.T) {
	src, err := openNetlink()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if _, err := src.next(); err != nil && !errors.Is(err, errOverrun) {
				return
			}
		}
	}()
	if err := src.Close(); err != nil {
		t.Error(err)
	}
	<-ended
}

func TestTracker(t *testing.T) {
	f := cart(t)
	var tr Tracker
	update := func() (added, gone []string) {
		nodes, err := f.Scan()
		if err != nil {
			t.Fatal(err)
		}
		a, g := tr.Update(nodes)
		for _, n := range a {
			added = append(added, n.Path)
		}
		for _, n := range g {
			gone = append(gone, n.Path)
		}
		return added, gone
	}
	if added, gone := update(); len(added) != 15 || gone != nil {
		t.Errorf("at first: %q came, %q went", added, gone)
	}
	if added, gone := update(); added != nil || gone != nil {
		t.Errorf("nothing happened: %q came, %q went", added, gone)
	}
	f.unplug("1-1.1")
	f.plug("1-4", "1d6b", "0102", "OTO-3", "Otoscope")
	f.node(video, "1-4", "00", "video4linux/video20", map[string]string{"index": "0"})
	added, gone := update()
	if diff := cmp.Diff([][]string{{"/dev/video20"}, {"/dev/input/event3", "/dev/video1", "/dev/video10"}}, [][]string{added, gone}); diff != "" {
		t.Error(diff)
	}
	f.write(dir("1-4")+"/serial", "OTO-4") // another one in its place
	added, gone = update()
	if diff := cmp.Diff([][]string{{"/dev/video20"}, {"/dev/video20"}}, [][]string{added, gone}); diff != "" {
		t.Error(diff)
	}
	n := device.Node{Class: tty, Path: "/dev/ttyUSB9"}
	if added, _ := new(Tracker).Update([]device.Node{n, n}); len(added) != 1 {
		t.Errorf("twice in one list: %v", added)
	}
}
