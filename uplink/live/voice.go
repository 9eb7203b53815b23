package live

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"telecart/device"
	"telecart/device/kit"
	"telecart/uplink/live/opus"
	"telecart/uplink/live/peer"
)

// VoicePlan is how a voice is sent.
type VoicePlan struct {
	Bitrate int           // of the encoder
	Frame   time.Duration // of a packet
}

// overhead of a packet in bytes: IPv4, UDP, RTP, the tag of SRTP (peer's profile for sound alone).
const overhead = 20 + 8 + 12 + 10

// Wire is how many bits a second the plan takes on the wire while somebody speaks.
func (p VoicePlan) Wire() int {
	return p.Bitrate + int(8*overhead*time.Second/p.Frame)
}

// PlanVoice fits a voice into a share of the link, in bits a second on the wire. Long packets cost 40 ms and save 15 kb/s of
// headers: at 20 kb/s, the least that is planned for, there is no other way. Copies of what was said before (FEC) are libopus' to
// decide; it makes them in the two upper ones.
func PlanVoice(share int) VoicePlan {
	for _, p := range []VoicePlan{{32000, 20 * time.Millisecond}, {24000, 40 * time.Millisecond}} {
		if p.Wire() <= share {
			return p
		}
	}
	return VoicePlan{11500, 60 * time.Millisecond}
}

// expected loss, in percent: what copies are made for.
const expectedLoss = 10

// SpeakOptions say whose voice to publish, and where.
type SpeakOptions struct {
	Endpoint   string       // WHIP URL of the stream
	Token      string       // bearer token: this stream, publishing, some minutes
	HTTP       *http.Client // nil: http.DefaultClient
	ICE        []webrtc.ICEServer
	Turn       Turn
	Microphone device.Microphone // of 48 kHz
	Plan       VoicePlan         // zero: of the least share
	// Muted says whether nothing is to be sent now. The session stays. It is asked for every packet; nil: never.
	Muted func() bool
	Up    func()    // called once what is heard is on its way. Optional.
	Clock kit.Clock // nil: the machine's own
	Log   *slog.Logger
}

// Speak publishes a microphone until ctx ends (nil), the token is refused (ErrRefused) or the connection fails (ErrFailed). A
// microphone that is gone is waited for. Silence is not sent.
func Speak(ctx context.Context, o SpeakOptions) (end error) {
	switch {
	case o.Endpoint == "":
		return errors.New("live: no endpoint: set Endpoint to the stream's WHIP URL")
	case o.Microphone == nil:
		return errors.New("live: no microphone")
	}
	if o.Plan == (VoicePlan{}) {
		o.Plan = PlanVoice(0)
	}
	if o.Clock == nil {
		o.Clock = kit.System{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	enc, err := opus.NewEncoder(opus.Options{Use: opus.Voice, Bitrate: o.Plan.Bitrate, Frame: o.Plan.Frame, Loss: expectedLoss, FEC: true,
		DTX: true, Complexity: 5})
	if err != nil {
		return fmt.Errorf("live: %w", err)
	}
	defer enc.Close()
	s := session{http: o.HTTP, ice: o.ICE, turn: o.Turn, endpoint: o.Endpoint, token: o.Token, clock: o.Clock}
	local, err := webrtc.NewTrackLocalStaticRTP(peer.Opus().RTPCodecCapability, "audio", "telecart")
	if err != nil {
		return fmt.Errorf("live: %w", err)
	}
	return s.run(ctx, func(pc *webrtc.PeerConnection) error {
		tr, err := pc.AddTransceiverFromTrack(local, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		if err != nil {
			return err
		}
		go func() { // reports keep flowing; it ends with the connection
			for {
				if _, _, err := tr.Sender().ReadRTCP(); err != nil {
					return
				}
			}
		}()
		return nil
	}, func(ctx context.Context) error { return speak(ctx, o, enc, local) })
}

// speak encodes what an ear hears. It opens when the path for media stands.
func speak(ctx context.Context, o SpeakOptions, enc *opus.Encoder, local *webrtc.TrackLocalStaticRTP) error {
	ear := o.Microphone.Listen()
	defer ear.Close()
	frame := opus.Samples(o.Plan.Frame)
	pending := make([]int16, 0, frame)
	p := &rtp.Packet{Header: rtp.Header{Version: 2, Marker: true}}
	next, silent := uint64(0), false
	for first := true; ctx.Err() == nil; {
		x, err := ear.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, device.ErrGone):
			select {
			case <-ctx.Done():
			case <-o.Clock.After(200 * time.Millisecond):
			}
			continue
		case err != nil:
			return fmt.Errorf("live: microphone: %w", err)
		case x.RateHz != opus.Rate:
			return fmt.Errorf("live: the microphone has %d Hz; a voice is sent with %d", x.RateHz, opus.Rate)
		}
		if x.Seq != next { // something is missing: time went by all the same
			p.Timestamp += uint32(len(pending)) + uint32(min(max(x.Seq, next)-next, 10*opus.Rate))
			pending = pending[:0]
		}
		next = x.Seq + uint64(len(x.Values))
		for values := x.Values; len(values) > 0; {
			n := min(frame-len(pending), len(values))
			pending, values = append(pending, values[:n]...), values[n:]
			if len(pending) < frame {
				break
			}
			if muted := o.Muted != nil && o.Muted(); muted {
				clear(pending) // the encoder forgets what it heard before
			}
			b, err := enc.Encode(pending)
			if err != nil {
				return fmt.Errorf("live: %w", err)
			}
			pending = pending[:0]
			if len(b) > 2 { // less need not be sent (RFC 7587 3.1.3)
				p.Marker, p.Payload = silent || first, append([]byte(nil), b...) // first of what is said (RFC 3551 4.1)
				if err := local.WriteRTP(p); err != nil {
					return fmt.Errorf("live: %w", err)
				}
				p.SequenceNumber++
				if first = false; o.Up != nil {
					o.Up()
					o.Up = nil
				}
			}
			silent = len(b) <= 2
			p.Timestamp += uint32(frame)
		}
	}
	return nil
}
