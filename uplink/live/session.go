package live

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/pion/webrtc/v4"

	"telecart/device/kit"
	"telecart/uplink/live/peer"
)

// When a path is given up. Sound is asked for less often than a picture whether it is still there: at the cart's end of 100 kb/s
// those questions would take a tenth of the voice.
const (
	soundAway = 4 * time.Second
	soundGone = 2 * time.Second
)

// session is one WHIP or WHEP session of sound alone.
type session struct {
	http            *http.Client
	ice             []webrtc.ICEServer
	turn            Turn
	endpoint, token string
	clock           kit.Clock
}

// run sets the connection up, works once the path for media stands, and ends the session: with work, with ctx (nil), or with
// ErrFailed.
func (s session) run(ctx context.Context, set func(*webrtc.PeerConnection) error, work func(context.Context) error) error {
	if s.http == nil {
		s.http = http.DefaultClient
	}
	ask := func(ctx context.Context) ([]webrtc.ICEServer, error) {
		return askServers(ctx, s.http, s.endpoint, s.token)
	}
	err := through(ctx, s.turn, s.clock, s.ice, ask, func(ctx context.Context, t *try) error { return s.once(ctx, t, set, work) })
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (s session) once(ctx context.Context, t *try, set func(*webrtc.PeerConnection) error, work func(context.Context) error) (end error) {
	pc, err := t.connection(ctx, peer.Options{Codecs: []webrtc.RTPCodecParameters{peer.Opus()}, Disconnected: soundAway, Failed: soundGone})
	if err != nil {
		return err
	}
	defer t.close(pc)
	states := watchState(pc)
	if err := set(pc); err != nil {
		return fmt.Errorf("live: %w", err)
	}
	at, err := negotiate(ctx, t, pc, s.http, s.endpoint, s.token)
	defer func() {
		if !errors.Is(end, ErrFailed) { // over a dead path it would only hold up the redial
			bye(ctx, s.http, at, s.token)
		}
	}()
	if err == nil {
		err = t.await(ctx, pc, states)
	}
	if err != nil {
		return err
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- work(inner) }()
	select {
	case err := <-done:
		return err
	case <-states.failed:
		cancel()
		<-done
		return ErrFailed
	}
}
