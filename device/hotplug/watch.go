package hotplug

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"telecart/device"
	"telecart/device/kit"
)

const (
	quiet  = 100 * time.Millisecond // between two calls of changed: one plug gives a dozen events
	rescan = 30 * time.Second       // whatever was heard
	poll   = 2 * time.Second        // when nothing can be heard

	udevControl = "/run/udev/control" // there while udevd runs
)

// errOverrun: events were lost, because nobody read them in time.
var errOverrun = errors.New("hotplug: events were lost")

// source is where the news comes from. An error other than errOverrun is its last word.
type source interface {
	next() (event, error) // waits
	Close() error         // ends a waiting next
}

// Watch calls changed, from one goroutine, whenever something may have been plugged in or out: at once, soon after each event,
// and every 30 s. A burst of events makes few calls, at most ten a second, but the last event is always followed by one. While
// the kernel can't be heard it calls every 2 s, and tries to hear it again. It returns when ctx ends.
func Watch(ctx context.Context, clock kit.Clock, changed func()) error {
	w := &watch{clock: clock, changed: changed, open: openNetlink, udev: func() bool {
		_, err := os.Stat(udevControl)
		return err == nil
	}}
	return w.run(ctx)
}

type watch struct {
	clock   kit.Clock
	changed func()
	open    func() (source, error)
	udev    func() bool // does udevd run?
}

func (w *watch) run(ctx context.Context) error {
	var ears *ears
	var tried, called time.Time
	defer func() { ears.close() }()
	for ctx.Err() == nil {
		// First listen, then look: nothing falls between. What breaks at once isn't tried at once again.
		if now := w.clock.Now(); ears == nil && (tried.IsZero() || now.Sub(tried) >= poll) {
			tried, ears = now, w.listen()
		}
		if !w.pause(ctx, called) {
			break
		}
		ears.heard() // what was told until now, changed is about to see
		called = w.clock.Now()
		w.changed()
		interval := rescan
		if ears == nil {
			interval = poll
		}
		select {
		case <-ctx.Done():
		case <-w.clock.After(interval):
		case <-ears.news():
		case <-ears.deaf():
			ears.close()
			ears = nil
		}
	}
	return ctx.Err()
}

// pause waits until the last call is long enough ago; false if ctx ended first.
func (w *watch) pause(ctx context.Context, called time.Time) bool {
	left := min(quiet-w.clock.Now().Sub(called), quiet) // a clock that was set back is no reason to wait longer
	if called.IsZero() || left <= 0 {
		return true
	}
	select {
	case <-ctx.Done():
		return false
	case <-w.clock.After(left):
		return true
	}
}

// listen is nil if there is nothing to hear.
func (w *watch) listen() *ears {
	src, err := w.open()
	if err != nil {
		return nil
	}
	e := &ears{src: src, hint: make(chan struct{}, 1), end: make(chan struct{})}
	go func() {
		defer close(e.end)
		for {
			v, err := src.next()
			switch {
			case err != nil && !errors.Is(err, errOverrun):
				return
			case err == nil && !slices.Contains(classes(), v.Subsystem):
				continue
			case err == nil && !v.Udev && w.udev():
				continue // udevd says it again when the node's permissions are right
			}
			select {
			case e.hint <- struct{}{}:
			default: // one is waiting already
			}
		}
	}()
	return e
}

// ears is an open source and what it said. A nil one hears nothing.
type ears struct {
	src  source
	hint chan struct{}
	end  chan struct{}
}

func (e *ears) news() <-chan struct{} {
	if e == nil {
		return nil
	}
	return e.hint
}

func (e *ears) deaf() <-chan struct{} {
	if e == nil {
		return nil
	}
	return e.end
}

// heard takes the hint that is there.
func (e *ears) heard() {
	select {
	case <-e.news():
	default:
	}
}

func (e *ears) close() {
	if e != nil {
		_ = e.src.Close()
		<-e.end
	}
}

// Tracker tells what came and what went from one Scan to the next. Its zero value has seen nothing.
type Tracker struct {
	known map[device.Node]bool
}

// Update takes the nodes that there are now. A node that is not quite the same as before, its serial number for one, went and
// came.
func (t *Tracker) Update(now []device.Node) (added, gone []device.Node) {
	next := make(map[device.Node]bool, len(now))
	for _, n := range now {
		if !t.known[n] && !next[n] {
			added = append(added, n)
		}
		next[n] = true
	}
	for n := range t.known {
		if !next[n] {
			gone = append(gone, n)
		}
	}
	slices.SortFunc(gone, func(a, b device.Node) int { return strings.Compare(a.Class+a.Path, b.Class+b.Path) })
	t.known = next
	return added, gone
}
