package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"telecart/uplink/link"
	"telecart/uplink/live"
	"telecart/uplink/live/fmp4"
)

// FaceView is a specialist who can be seen.
type FaceView struct {
	ID   string `json:"id"` // what Face takes
	Name string `json:"name"`
}

var errNoFace = errors.New("agent: nobody is to be seen under this name")

// show keeps whose pictures there are; nil is none, and ends those that are being shown. It needs mu.
func (s *sounds) show(all []link.Voice) {
	if all == nil {
		if s.seen != nil {
			close(s.unseen)
		}
		s.seen = nil
		return
	}
	if s.seen == nil {
		s.unseen = make(chan struct{})
	}
	s.seen = map[string]link.Voice{}
	for _, v := range all {
		if v.Seen {
			s.seen[v.Instrument] = v
		}
	}
}

// faces are who can be seen, in order.
func (s *sounds) faces() []FaceView {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []FaceView{}
	for _, id := range slices.Sorted(maps.Keys(s.seen)) {
		out = append(out, FaceView{id, s.seen[id].Name})
	}
	return out
}

func (s *sounds) face(id string) (link.Voice, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.seen[id]
	if !ok {
		return v, nil, errNoFace
	}
	return v, s.unseen, nil
}

// Face shows a specialist's picture: pieces of fragmented MP4, in order, while the consult is live. Nothing of it is kept.
func (a *Agent) Face(ctx context.Context, id string, show func(fmp4.Segment) error) error {
	wait := redialMin
	for ctx.Err() == nil {
		v, unseen, err := a.consult.sound.face(id)
		if err != nil {
			return err
		}
		begun := a.clock.Now()
		failed, err := a.watchFace(ctx, v, unseen, show)
		if failed != nil {
			return failed
		}
		if a.clock.Now().Sub(begun) > 10*time.Second {
			wait = redialMin
		}
		a.log.Debug("agent: a face is not there", "err", err)
		select {
		case <-ctx.Done():
		case <-unseen:
		case <-a.clock.After(wait):
			wait = min(2*wait, redialMax)
		}
	}
	return nil
}

// watchFace is one session; failed is what show said.
func (a *Agent) watchFace(ctx context.Context, v link.Voice, unseen <-chan struct{}, show func(fmp4.Segment) error) (failed, err error) {
	base, client, err := a.consult.sound.hub()
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(v.Endpoint, "/") {
		v.Endpoint = base + v.Endpoint
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-unseen:
			cancel()
		case <-ctx.Done():
		}
	}()
	var m fmp4.Muxer
	err = live.Watch(ctx, live.WatchOptions{Endpoint: v.Endpoint, Token: v.Token, HTTP: client, Turn: a.consult.turn(), Clock: a.clock,
		OnFrame: func(f live.Frame) {
			parts, err := m.Add(f.Data, f.Timestamp)
			if err != nil {
				a.log.Warn("agent: a face can't be shown", "err", err)
			}
			for _, p := range parts {
				if failed != nil || ctx.Err() != nil {
					return
				}
				if err := show(p); err != nil {
					failed = fmt.Errorf("agent: face: %w", err)
					cancel()
				}
			}
		}})
	return failed, err
}
