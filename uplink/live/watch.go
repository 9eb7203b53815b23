package live

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"telecart/device/kit"
	"telecart/uplink/live/peer"
)

// WatchOptions say what to watch.
type WatchOptions struct {
	Endpoint string             // WHEP URL of the stream
	Token    string             // bearer token: this stream, watching, some minutes
	HTTP     *http.Client       // nil: http.DefaultClient
	ICE      []webrtc.ICEServer // as in Options
	Turn     Turn
	Clock    kit.Clock // nil: the machine's own
	// OnRTP sees every video packet as it comes. Optional; must not block or keep the packet.
	OnRTP func(*rtp.Packet, time.Time)
	// OnFrame gets complete pictures in order, beginning with a key frame (SPS, PPS and IDR). It runs on the reader's
	// goroutine, never after Watch has returned: while it blocks, the network's buffer fills and overflows, as with any slow
	// viewer, and Watch can't return.
	OnFrame func(Frame)
}

// Watch is a WHEP viewer of one stream's video; it offers H.264 only. It returns nil when ctx ends, ErrRefused or
// ErrFailed otherwise. After a loss it asks for a key frame and hands out nothing until that came.
func Watch(ctx context.Context, o WatchOptions) error {
	if o.HTTP == nil {
		o.HTTP = http.DefaultClient
	}
	if o.Clock == nil {
		o.Clock = kit.System{}
	}
	ask := func(ctx context.Context) ([]webrtc.ICEServer, error) {
		return askServers(ctx, o.HTTP, o.Endpoint, o.Token)
	}
	err := through(ctx, o.Turn, o.Clock, o.ICE, ask, func(ctx context.Context, t *try) error { return watch(ctx, o, t) })
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// watch is one session.
func watch(ctx context.Context, o WatchOptions, t *try) (end error) {
	pc, err := t.connection(ctx, peer.Options{Codecs: []webrtc.RTPCodecParameters{peer.H264()}})
	if err != nil {
		return err
	}
	// GracefulClose does not wait for the track's reader: the lock does, so that nobody is called after Watch has returned.
	var calls sync.Mutex
	over := false
	defer func() {
		calls.Lock()
		over = true
		calls.Unlock()
	}()
	defer t.close(pc)
	if _, err = pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		return fmt.Errorf("live: %w", err)
	}
	states := watchState(pc)
	pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		a := &assembler{onLost: func() {
			// An error here is the connection's, which says so itself.
			_ = pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(t.SSRC())}})
		}}
		out := o.OnFrame
		if out == nil {
			out = func(Frame) {}
		}
		for {
			p, _, err := t.ReadRTP()
			if err != nil {
				return
			}
			now := o.Clock.Now()
			calls.Lock()
			if !over {
				if o.OnRTP != nil {
					o.OnRTP(p, now)
				}
				a.push(p, now, out)
			}
			calls.Unlock()
		}
	})
	session, err := negotiate(ctx, t, pc, o.HTTP, o.Endpoint, o.Token)
	defer func() {
		if !errors.Is(end, ErrFailed) {
			bye(ctx, o.HTTP, session, o.Token)
		}
	}()
	if err == nil {
		err = t.await(ctx, pc, states)
	}
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case <-states.failed:
		return ErrFailed
	}
}
