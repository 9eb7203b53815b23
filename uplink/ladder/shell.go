package ladder

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"telecart/device/kit"
)

// Shell is a cart's Ladder with a lock and a clock, for sessions that run on goroutines of their own.
type Shell struct {
	clock kit.Clock
	log   *slog.Logger
	wake  chan struct{} // a session came

	mu       sync.Mutex
	l        *Ladder
	sessions map[*Session]bool
	told     time.Duration // decisions up to then were logged
}

// NewShell makes one; Run makes it tick.
func NewShell(clock kit.Clock, log *slog.Logger, o Options) *Shell {
	return &Shell{clock: clock, log: log, wake: make(chan struct{}, 1), l: New(clock.Now(), o), sessions: map[*Session]bool{}, told: -1}
}

const tick = 50 * time.Millisecond

// Run lets time pass until ctx ends. Without sessions it sleeps.
func (s *Shell) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		s.mu.Lock()
		n := len(s.sessions)
		s.mu.Unlock()
		var due <-chan time.Time
		if n > 0 {
			due = s.clock.After(tick)
		}
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-due:
			s.mu.Lock()
			s.l.Tick(s.clock.Now())
			s.tell()
			s.mu.Unlock()
		}
	}
	return ctx.Err()
}

// tell logs what was decided. It needs mu.
func (s *Shell) tell() {
	for _, d := range s.l.Log() {
		if d.At > s.told {
			s.told = d.At
			s.log.Info("ladder: decided", "code", d.Code, "estimate", d.Estimate, "used", d.Used, "queue", d.Queue, "level", d.Level)
		}
	}
}

// Want is Ladder.Want.
func (s *Shell) Want(d Demand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.l.Want(s.clock.Now(), d)
}

// Items is Ladder.Items.
func (s *Shell) Items(total int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.l.Items(s.clock.Now(), total)
}

// Media is Ladder.Media: without media nobody has to share.
func (s *Shell) Media() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.l.Media(s.clock.Now())
}

// Shares is Ladder.Shares.
func (s *Shell) Shares() Shares {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.l.Shares()
}

// State is where the ladder stands, for the screens.
type State struct {
	Step     Step
	Estimate int // bits a second
	Used     int
	Log      []Line // the oldest first
}

// Line is a decision with its time.
type Line struct {
	At       time.Time
	Code     Code
	Estimate int
}

// State gives it, with no more than the latest lines of the log.
func (s *Shell) State(lines int) State {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := State{Step: s.l.Plan().Step, Estimate: s.l.Estimate(), Used: s.l.Used(s.clock.Now())}
	log := s.l.Log()
	for _, d := range log[max(0, len(log)-lines):] {
		st.Log = append(st.Log, Line{s.l.start.Add(d.At), d.Code, d.Estimate})
	}
	return st
}

// Session is one media session's door to the ladder.
type Session struct {
	s    *Shell
	t    *Track
	news chan struct{}
}

// Session opens one. Close it.
func (s *Shell) Session() *Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &Session{s: s, t: s.l.Join(s.clock.Now()), news: make(chan struct{}, 1)}
	s.sessions[x] = true
	nudge(s.wake)
	return x
}

// Close ends it.
func (x *Session) Close() {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	x.s.l.Leave(x.t)
	delete(x.s.sessions, x)
}

// Sent is Ladder.Sent.
func (x *Session) Sent(n int, kind Packet) uint16 {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	return x.s.l.Sent(x.t, x.s.clock.Now(), n, kind)
}

// Report is Ladder.Report.
func (x *Session) Report(r Report) {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	x.s.l.Report(x.t, x.s.clock.Now(), r)
	for o := range x.s.sessions {
		nudge(o.news)
	}
}

// Wait is Ladder.Wait.
func (x *Session) Wait(n int) time.Duration {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	return x.s.l.Wait(x.s.clock.Now(), n)
}

// Probe is Ladder.Probe.
func (x *Session) Probe() (Probe, bool) {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	return x.s.l.Probe(x.s.clock.Now())
}

// Plan is Ladder.Plan.
func (x *Session) Plan() Plan {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	return x.s.l.Plan()
}

// News ticks when a report came: who waits may ask again.
func (x *Session) News() <-chan struct{} { return x.news }

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
