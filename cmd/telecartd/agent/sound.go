package agent

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"telecart/device"
	"telecart/uplink/link"
	"telecart/uplink/live"
)

// sounds is the voice of a live consult, both ways: the room's microphone goes to the hub, and what the specialists say is played. It
// lives by what consults tells it, so it begins with the nurse's touch and ends with a pause, the consult or the encounter.
type sounds struct {
	a   *Agent
	hub func() (base string, c *http.Client, err error) // whom it talks to

	mu      sync.Mutex
	consult string // that muted is about
	muted   bool   // by the nurse
	lines   map[string]*line
	seen    map[string]link.Voice // who can be seen; nil while no consult is live
	unseen  chan struct{}         // closes then
}

// line is one session that is kept up, by its address.
type line struct {
	want   soundLine // the newest
	cancel context.CancelFunc
	done   chan struct{}
	up     bool
}

// soundLine is a microphone that is to be heard, or with name somebody who is to be played.
type soundLine struct {
	link.Stream
	name  string
	muted bool // nothing is said there for now
}

func (l soundLine) plays() bool { return l.name != "" }

// VoiceView is what the nurse sees of it.
type VoiceView struct {
	Muted bool     `json:"muted"`
	Sent  bool     `json:"sent"`  // the microphone's sound is on its way
	Heard []string `json:"heard"` // who can be heard here
}

func newSounds(a *Agent) *sounds { return &sounds{a: a, hub: a.whoever, lines: map[string]*line{}} }

// whoever is the hub that this cart is enrolled at now.
func (a *Agent) whoever() (base string, c *http.Client, err error) {
	me, err := a.id.Identity()
	if err != nil {
		return "", nil, err
	}
	t, err := a.id.Transport()
	return "https://carts." + me.HubName, &http.Client{Transport: t}, err
}

// carries says whether an instrument's stream is sound.
func (s *sounds) carries(instrument string) bool {
	_, ok := s.a.sup.Loudspeaker(instrument)
	return ok
}

// speaker is the cart's loudspeaker, if it has one.
func (s *sounds) speaker() (device.Loudspeaker, bool) {
	for _, i := range s.a.sup.Snapshot() {
		if l, ok := s.a.sup.Loudspeaker(i.Name); ok {
			return l, true
		}
	}
	return nil, false
}

// reconcile makes what is sent and played match a consult that is live; nil is none. When it returns, what is not wanted is over.
func (s *sounds) reconcile(ctx context.Context, w *link.Consult) {
	wanted := map[string]soundLine{}
	if w != nil {
		for _, p := range w.Publish {
			if s.carries(p.Instrument) {
				wanted[p.Endpoint] = soundLine{Stream: p}
			}
		}
		if _, ok := s.speaker(); ok {
			for _, v := range w.Hear {
				wanted[v.Endpoint] = soundLine{v.Stream, v.Name, v.Muted}
			}
		}
	}
	s.mu.Lock()
	if w == nil {
		s.show(nil)
	} else {
		s.show(append([]link.Voice{}, w.Hear...))
	}
	if w != nil && s.consult != w.ID { // mute is never remembered: each consult is answered by a touch of its own
		s.consult, s.muted = w.ID, false
	}
	var stopped []*line
	for at, l := range s.lines {
		if x, ok := wanted[at]; ok {
			l.want = x // a newer token is for the next session; this one goes on
		} else {
			l.cancel()
			stopped = append(stopped, l)
			delete(s.lines, at)
		}
	}
	for at, x := range wanted {
		if s.lines[at] == nil {
			inner, cancel := context.WithCancel(ctx)
			l := &line{want: x, cancel: cancel, done: make(chan struct{})}
			s.lines[at] = l
			go func() {
				defer close(l.done)
				s.keep(inner, l)
			}()
		}
	}
	s.mu.Unlock()
	for _, l := range stopped {
		<-l.done
	}
}

// keep redials until ctx ends.
func (s *sounds) keep(ctx context.Context, l *line) {
	for wait := redialMin; ctx.Err() == nil; wait = min(2*wait, redialMax) {
		s.mu.Lock()
		x := l.want
		s.mu.Unlock()
		err := s.session(ctx, l, x)
		s.mark(l, false)
		if ctx.Err() != nil {
			return
		}
		s.a.log.Info("agent: a voice is not there", "instrument", x.Instrument, "err", err)
		select {
		case <-ctx.Done():
		case <-s.a.clock.After(wait):
		}
	}
}

func (s *sounds) session(ctx context.Context, l *line, x soundLine) error {
	base, client, err := s.hub()
	if err != nil {
		return err
	}
	if strings.HasPrefix(x.Endpoint, "/") {
		x.Endpoint = base + x.Endpoint
	}
	up := func() { s.mark(l, true) }
	if x.plays() {
		speaker, ok := s.speaker()
		if !ok {
			return fmt.Errorf("%w: no loudspeaker", errInstrument)
		}
		return live.Hear(ctx, live.HearOptions{Endpoint: x.Endpoint, Token: x.Token, HTTP: client, Turn: s.a.consult.turn(), Loudspeaker: speaker,
			Clock: s.a.clock, Up: up})
	}
	mic, ok := s.a.sup.Microphone(x.Instrument)
	if !ok {
		return fmt.Errorf("%w: no microphone %q", errInstrument, x.Instrument)
	}
	return live.Speak(ctx, live.SpeakOptions{Endpoint: x.Endpoint, Token: x.Token, HTTP: client, Turn: s.a.consult.turn(), Microphone: mic,
		Muted: s.isMuted, Clock: s.a.clock, Log: s.a.log, Up: up})
}

func (s *sounds) mark(l *line, up bool) {
	s.mu.Lock()
	changed := l.up != up
	l.up = up
	s.mu.Unlock()
	if changed {
		s.a.change()
	}
}

func (s *sounds) isMuted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.muted
}

// mute is the nurse's word on the microphone: "mute" or "unmute". It counts at once, link or no link.
func (s *sounds) mute(verb string) error {
	s.mu.Lock()
	if s.consult == "" {
		s.mu.Unlock()
		return errNoConsult
	}
	s.muted = verb == "mute"
	s.mu.Unlock()
	s.a.change()
	return nil
}

// view is nil without a microphone that is wanted, and without a voice.
func (s *sounds) view() *VoiceView {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lines) == 0 {
		return nil
	}
	v := &VoiceView{Muted: s.muted, Heard: []string{}}
	for _, at := range slices.Sorted(maps.Keys(s.lines)) {
		switch l := s.lines[at]; {
		case !l.want.plays():
			v.Sent = l.up && !s.muted
		case l.up && !l.want.muted:
			v.Heard = append(v.Heard, l.want.name)
		}
	}
	return v
}

// sending are the microphones whose sound is on its way.
func (s *sounds) sending() (names []string, muted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lines {
		if !l.want.plays() && l.up && !s.muted {
			names = append(names, l.want.Instrument)
		}
	}
	return names, s.muted
}
