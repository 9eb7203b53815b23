package room

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"telecart/uplink/live/peer"
)

var (
	errFull     = errors.New("room: full")
	errOffer    = errors.New("room: not an SDP offer")
	errUnusable = errors.New("room: offer can't be served")
)

const maxMedia = 4 // sections of an offer

// session is one peer connection.
type session struct {
	room   *Room
	id     string // 128 random bits: the URL of the session is not to be guessed
	action Action
	stream *stream
	token  [sha256.Size]byte
	pc     *webrtc.PeerConnection
	etag   string // names the ICE session (RFC 9725 4.3.1)
	ufrag  string // the peer's
	epoch  uint64 // of a publisher, once it publishes

	once   sync.Once
	ctx    context.Context
	cancel context.CancelFunc
}

// open answers an offer. Its session lives until end, or until its connection fails.
func (r *Room) open(ctx context.Context, a Action, stream, token, offer string) (*session, string, error) {
	ufrag, err := inspect(a, offer)
	if err != nil {
		return nil, "", err
	}
	s := &session{
		room: r, id: rand.Text(), action: a, token: sha256.Sum256([]byte(token)), etag: `"` + rand.Text()[:8] + `"`, ufrag: ufrag,
	}
	s.ctx, s.cancel = context.WithCancel(r.ctx)
	if s.pc, err = r.ways.api(offer).NewPeerConnection(webrtc.Configuration{ICEServers: r.o.ICE}); err != nil {
		s.cancel()
		return nil, "", fmt.Errorf("room: %w", err)
	}
	if err := r.enter(s, stream); err != nil {
		s.cancel()
		return nil, "", errors.Join(err, s.pc.Close())
	}
	defer r.wg.Done()
	answer, err := s.answer(ctx, offer)
	if err != nil {
		s.end()
		return nil, "", err
	}
	return s, answer, nil
}

func (s *session) answer(ctx context.Context, offer string) (string, error) {
	up := make(chan struct{})
	var lanes []*lane
	var first sync.Once // pion calls from several goroutines
	if s.action == Watch {
		var err error
		if lanes, err = s.addLanes(offer); err != nil {
			return "", err
		}
	} else {
		s.pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { s.receive(t) })
	}
	s.pc.OnConnectionStateChange(func(st webrtc.PeerConnectionState) {
		switch st {
		case webrtc.PeerConnectionStateConnected:
			first.Do(func() {
				close(up)
				for _, l := range lanes { // not before: what is sent until now is lost, the key frame first of all
					l.relay.add(l)
					s.room.wg.Go(func() { defer l.relay.remove(l); l.run(s.ctx) })
				}
			})
		case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
			s.end()
		}
	})
	if err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", fmt.Errorf("%w: %w", errUnusable, err)
	}
	answer, err := s.pc.CreateAnswer(nil)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errUnusable, err)
	}
	gathered := webrtc.GatheringCompletePromise(s.pc)
	if err := s.pc.SetLocalDescription(answer); err != nil {
		return "", fmt.Errorf("%w: %w", errUnusable, err)
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return "", fmt.Errorf("room: %w", ctx.Err())
	}
	s.room.wg.Go(func() {
		select {
		case <-up:
		case <-s.ctx.Done():
		case <-s.room.o.Clock.After(connectTimeout):
			s.end()
		}
	})
	return s.pc.LocalDescription().SDP, nil
}

// end closes the session, once; it does not wait.
func (s *session) end() {
	s.once.Do(func() {
		s.room.leave(s) // first: whose ctx is done has no place any more
		s.cancel()
		// Not on the caller's goroutine, which may be one of the connection's own. Errors: it is gone either way.
		s.room.wg.Go(func() { _ = s.pc.GracefulClose() })
	})
}

// receive forwards one of the publisher's tracks.
func (s *session) receive(t *webrtc.TrackRemote) {
	relay := s.stream.video
	if t.Kind() == webrtc.RTPCodecTypeAudio {
		relay = s.stream.audio
	}
	source, ok := s.room.takeOver(s)
	if !ok {
		return
	}
	if relay.video {
		ssrc := uint32(t.SSRC())
		// The connection's end is noticed elsewhere.
		ask := func() { _ = s.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: ssrc}}) }
		relay.ask.Store(&ask)
		relay.needKey()
	}
	for {
		p, _, err := t.ReadRTP()
		if err != nil {
			return
		}
		relay.forward(&packet{Packet: rtp.Packet{Payload: p.Payload, Header: rtp.Header{
			Marker: p.Marker, SequenceNumber: p.SequenceNumber, Timestamp: p.Timestamp,
		}}, source: source, padding: p.PaddingSize > 0 && len(p.Payload) == 0})
	}
}

// addLanes prepares a viewer's tracks for the media that its offer asks for.
func (s *session) addLanes(offer string) ([]*lane, error) {
	var d sdp.SessionDescription
	if err := d.UnmarshalString(offer); err != nil {
		return nil, fmt.Errorf("%w: %w", errOffer, err)
	}
	var lanes []*lane
	for _, m := range d.MediaDescriptions {
		codec, relay := peer.H264(), s.stream.video
		if m.MediaName.Media == "audio" {
			codec, relay = peer.Opus(), s.stream.audio
		}
		track, err := webrtc.NewTrackLocalStaticRTP(codec.RTPCodecCapability, m.MediaName.Media, "telecart")
		if err != nil {
			return nil, fmt.Errorf("room: %w", err)
		}
		sender, err := s.pc.AddTrack(track)
		if err != nil {
			return nil, fmt.Errorf("room: %w", err)
		}
		l := newLane(relay, track.WriteRTP)
		s.room.wg.Go(func() { readRTCP(sender, relay) })
		lanes = append(lanes, l)
	}
	return lanes, nil
}

// readRTCP keeps reports and loss repair going, and hears that a viewer needs a key frame.
func readRTCP(sender *webrtc.RTPSender, r *relay) {
	for {
		pkts, _, err := sender.ReadRTCP()
		if err != nil {
			return
		}
		for _, p := range pkts {
			switch p.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				r.needKey()
			}
		}
	}
}

// inspect refuses what the room does not serve before anything is built for it, and returns the ICE user fragment.
func inspect(a Action, offer string) (ufrag string, err error) {
	var d sdp.SessionDescription
	if err := d.UnmarshalString(offer); err != nil {
		return "", fmt.Errorf("%w: %w", errOffer, err)
	}
	if len(d.MediaDescriptions) == 0 || len(d.MediaDescriptions) > maxMedia {
		return "", fmt.Errorf("%w: %d media sections, want 1 to %d", errUnusable, len(d.MediaDescriptions), maxMedia)
	}
	ufrag, _ = d.Attribute("ice-ufrag")
	seen := map[string]bool{}
	for _, m := range d.MediaDescriptions {
		kind := m.MediaName.Media
		want, wrong := "H264/90000", "recvonly"
		if kind == "audio" {
			want = "opus/48000/2"
		}
		if a == Watch {
			wrong = "sendonly"
		}
		codec := false
		for _, at := range m.Attributes {
			switch at.Key {
			case "rtpmap":
				_, name, _ := strings.Cut(at.Value, " ")
				codec = codec || strings.EqualFold(name, want)
			case "ice-ufrag":
				ufrag = at.Value
			case wrong, "inactive":
				return "", fmt.Errorf("%w: %s is %s, which is no way to %s", errUnusable, kind, at.Key, a)
			}
		}
		switch {
		case kind != "video" && kind != "audio":
			return "", fmt.Errorf("%w: a %q section; only video and audio are forwarded", errUnusable, kind)
		case seen[kind]:
			return "", fmt.Errorf("%w: more than one %s; open a session for each", errUnusable, kind)
		case !codec:
			return "", fmt.Errorf("%w: %s without %s", errUnusable, kind, want)
		}
		seen[kind] = true
	}
	return ufrag, nil
}

// trickle takes further candidates of the peer (RFC 9725 4.3.1, RFC 8840 4.1).
func (s *session) trickle(fragment string) error {
	var mid, ufrag string
	var add []webrtc.ICECandidateInit
	for line := range strings.Lines(fragment) {
		line = strings.TrimSpace(line)
		if v, ok := strings.CutPrefix(line, "a=ice-ufrag:"); ok {
			ufrag = v
		} else if v, ok := strings.CutPrefix(line, "a=mid:"); ok {
			mid = v
		} else if v, ok := strings.CutPrefix(line, "a=candidate:"); ok {
			add = append(add, webrtc.ICECandidateInit{Candidate: "candidate:" + v, SDPMid: new(mid)})
		}
	}
	if ufrag != "" && s.ufrag != "" && ufrag != s.ufrag {
		return fmt.Errorf("%w: ICE restart is not offered, open a new session", errUnusable)
	}
	if len(add) > maxCandidates {
		return fmt.Errorf("%w: %d candidates, at most %d are taken", errUnusable, len(add), maxCandidates)
	}
	for _, c := range add {
		if err := s.pc.AddICECandidate(c); err != nil {
			return fmt.Errorf("%w: candidate: %w", errOffer, err)
		}
	}
	return nil
}

const maxCandidates = 32 // in one PATCH
