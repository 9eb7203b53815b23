package hotplug

import (
	"context"
	"errors"
	"os"
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

// scene is a watch under way.
type scene struct {
	t      *testing.T
	clock  *kit.Manual
	source chan source   // what the next attempts to listen get; nil is a failure
	begun  chan struct{} // changed was called
	calls  chan struct{} // and may return
	cancel context.CancelFunc
	ended  chan error
}

func watching(t *testing.T, udev bool, sources ...source) *scene {
	goleak.VerifyNone(t) // before, or the check after it says nothing
	s := &scene{t: t, clock: kit.NewManual(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)), source: make(chan source, 10),
		begun: make(chan struct{}, 100), calls: make(chan struct{}), ended: make(chan error, 1)}
	for _, src := range sources {
		s.source <- src
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.cancel = cancel
	w := &watch{clock: s.clock, udev: func() bool { return udev },
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
	go func() { s.ended <- w.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-s.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
		goleak.VerifyNone(t)
	})
	return s
}

// calledOnce expects a call, and none more before the watch waits for n things.
func (s *scene) calledOnce(n int) {
	s.t.Helper()
	<-s.calls
	s.silent(n)
}

func (s *scene) silent(n int) {
	s.t.Helper()
	s.clock.AwaitWaiters(n)
	select {
	case <-s.calls:
		s.t.Error("called once too often")
	default:
	}
}

var plugged = event{Action: "add", Path: "/devices/x", Subsystem: "tty"}

func TestBurstIsOneCall(t *testing.T) {
	m := newMouth()
	s := watching(t, false, m)
	s.calledOnce(1) // at the start
	for range 100 {
		m.say(plugged)
	}
	s.silent(2) // it waits for the burst to pass
	s.clock.Advance(quiet)
	s.calledOnce(2)
	// After silence an event is answered at once.
	s.clock.Advance(time.Second)
	m.say(plugged)
	s.calledOnce(3)
}

// An event that comes while changed is at work is not lost: what changed saw may be from before.
func TestEventDuringCall(t *testing.T) {
	m := newMouth()
	s := watching(t, false, m)
	<-s.begun
	m.say(plugged)
	s.calledOnce(2)
	s.clock.Advance(quiet)
	s.calledOnce(2)
}

func TestRescanByTheClock(t *testing.T) {
	s := watching(t, false, newMouth())
	s.calledOnce(1)
	for range 3 {
		s.clock.Advance(rescan - 1)
		s.silent(1)
		s.clock.Advance(1)
		s.calledOnce(1)
	}
}

func TestWhatIsNoNews(t *testing.T) {
	m := newMouth()
	s := watching(t, true, m)
	s.calledOnce(1)
	s.clock.Advance(time.Second)
	m.say(event{Action: "add", Path: "/devices/sda", Subsystem: "block"}, plugged) // udevd will say it
	s.silent(1)
	m.say(event{Action: "add", Path: "/devices/x", Subsystem: "tty", Udev: true})
	s.calledOnce(2)
}

func TestOverrun(t *testing.T) {
	m := newMouth()
	s := watching(t, true, m)
	s.calledOnce(1)
	s.clock.Advance(time.Second)
	m.fails <- errOverrun
	s.calledOnce(2)
	s.clock.Advance(time.Second)
	m.say(event{Action: "add", Path: "/devices/x", Subsystem: "tty", Udev: true}) // it goes on listening
	s.calledOnce(3)
}

func TestPollsWhenDeaf(t *testing.T) {
	m, broken := newMouth(), newMouth()
	broken.Close()
	s := watching(t, false, nil, nil, broken, m)
	s.calledOnce(1)
	s.clock.Advance(poll)
	s.calledOnce(1)
	// A source that breaks at once is not tried again at once.
	s.clock.Advance(poll)
	<-s.calls
	s.clock.AwaitWaiters(2) // rescan, then the pause after its end
	s.clock.Advance(quiet)
	s.calledOnce(2)
	s.clock.Advance(poll)
	<-s.calls
	m.say(plugged)
	s.clock.AwaitWaiters(3) // both rescans, and the pause
	s.clock.Advance(quiet)
	<-s.calls
	m.fails <- errors.New("gone")
	s.clock.Advance(poll)
	s.source <- nil
	<-s.calls
	<-m.closed
}

// The real socket: it opens without privilege, and closing it ends the wait.
func TestSocketCloses(t *testing.T) {
	src, err := openNetlink()
	if err != nil {
		t.Skip("no netlink here: ", err)
	}
	ended := make(chan error, 1)
	go func() {
		for {
			if _, err := src.next(); err != nil && !errors.Is(err, errOverrun) {
				ended <- err
				return
			}
		}
	}()
	if err := src.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, os.ErrClosed) {
		t.Errorf("it ended with %v", err)
	}
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
