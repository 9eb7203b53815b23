package agent

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"telecart/capture"
	"telecart/uplink/ladder"
	"telecart/uplink/link"
	"telecart/uplink/live"
	"telecart/uplink/outbox"
)

// sharing is the cart's one ladder: it tells it what is wanted and what items bring through, and hands out what it decides.
// Pictures ask it themselves, each by its session.
type sharing struct {
	a     *Agent
	shell *ladder.Shell

	mu   sync.Mutex
	told link.LadderState // that both screens know
	at   time.Time
}

func newSharing(a *Agent) *sharing {
	return &sharing{a: a, shell: ladder.NewShell(a.clock, a.log, ladder.Options{})}
}

const (
	lookEvery = 250 * time.Millisecond // while pictures are sent
	tellEvery = 2 * time.Second        // another figure of the same step at most
	headers   = 92                     // of a hundred bytes on the wire are the coded picture
	stillRate = 320_000                // b/s: a still of 80 KB is there in two seconds
)

// run keeps the ladder told until ctx ends.
func (s *sharing) run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.shell.Run(ctx) })
	for ctx.Err() == nil {
		pictures := s.a.consult.pictures()
		s.shell.Items(s.a.currentLink().Delivered())
		s.shell.Want(s.demand(pictures))
		if pictures > 0 {
			s.tell()
		}
		wait := lookEvery
		if pictures == 0 {
			wait = time.Second
		}
		select {
		case <-ctx.Done():
		case <-s.a.clock.After(wait):
		}
	}
	return ctx.Err()
}

// pictures is how many cameras are to be sent.
func (c *consults) pictures() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sending)
}

// demand is what is wanted of the link now.
func (s *sharing) demand(pictures int) ladder.Demand {
	d := ladder.Demand{Pictures: pictures, Picture: s.a.set.Live.Bitrate * 100 / headers}
	if spoken, muted := s.a.consult.sound.sending(); !muted {
		d.Voice = len(spoken) * live.PlanVoice(0).Wire() // as it is sent
	}
	boxes := s.a.boxes()
	d.Backlog = slices.ContainsFunc(boxes, func(b *outbox.Outbox) bool { st := b.Stats(); return st.Held > st.Refused })
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	for _, it := range slices.Backward(s.a.items) { // those of this encounter: somebody waits for them
		if it.Kind != capture.Still {
			continue
		}
		n := 0
		if it.practice {
			n = 1
		}
		if n < len(boxes) {
			if sent, refused := boxes[n].Sent(it.ID); !sent && !refused {
				d.Still = stillRate
			}
		}
		break // the newest alone goes before pictures
	}
	return d
}

// items is how many bytes a second items may take: link.Options.Share. Without pictures there is nobody to share with.
func (s *sharing) items() int {
	if !s.shell.Media() {
		return math.MaxInt32
	}
	sh := s.shell.Shares()
	return (sh.Still + sh.Backlog) / 8
}

// state is the ladder for the screens.
func (s *sharing) state() *link.LadderState {
	st := s.shell.State(math.MaxInt)
	out := &link.LadderState{Step: string(st.Step), Kbps: st.Estimate / 1000, Used: st.Used / 1000, Log: []link.LadderChange{}}
	for _, l := range st.Log {
		switch l.Code {
		case ladder.ToStills, ladder.ToPictures, ladder.Down, ladder.Up:
			out.Log = append(out.Log, link.LadderChange{At: l.At, Code: string(l.Code), Kbps: l.Estimate / 1000})
		}
	}
	out.Log = out.Log[max(0, len(out.Log)-link.LadderLog):]
	return out
}

// tell lets both screens know of another step at once, and of another figure now and then.
func (s *sharing) tell() {
	now, st := s.a.clock.Now(), s.state()
	s.mu.Lock()
	differ := (st.Kbps-s.told.Kbps)*5 > s.told.Kbps || (s.told.Kbps-st.Kbps)*5 > s.told.Kbps
	due := st.Step != s.told.Step || differ && now.Sub(s.at) >= tellEvery
	if due {
		s.told, s.at = *st, now
	}
	s.mu.Unlock()
	if due {
		s.a.change()
	}
}
