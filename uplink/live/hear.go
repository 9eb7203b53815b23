package live

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"telecart/device"
	"telecart/device/kit"
	"telecart/uplink/live/jitter"
	"telecart/uplink/live/opus"
)

// HearOptions say what to listen to, and where it is heard.
type HearOptions struct {
	Endpoint    string       // WHEP URL of the stream
	Token       string       // bearer token: this stream, watching, some minutes
	HTTP        *http.Client // nil: http.DefaultClient
	ICE         []webrtc.ICEServer
	Turn        Turn
	Loudspeaker device.Loudspeaker // of 48 kHz
	Clock       kit.Clock          // nil: the machine's own
	Up          func()             // called when the path for media stands. Optional.
	Stats       func(HearStats)    // called after every packet's worth, on the player's goroutine; must not block. Optional.
}

// HearStats are what became of a voice so far.
type HearStats struct {
	jitter.Counts
	Delay time.Duration // for which packets wait at present
}

// Hear plays a stream's sound until ctx ends (nil), the token is refused (ErrRefused) or the connection fails (ErrFailed). A
// loudspeaker that is gone is waited for, and what would have been heard meanwhile is not.
func Hear(ctx context.Context, o HearOptions) error {
	switch {
	case o.Endpoint == "":
		return errors.New("live: no endpoint: set Endpoint to the stream's WHEP URL")
	case o.Loudspeaker == nil:
		return errors.New("live: no loudspeaker")
	}
	if o.Clock == nil {
		o.Clock = kit.System{}
	}
	dec, err := opus.NewDecoder()
	if err != nil {
		return fmt.Errorf("live: %w", err)
	}
	defer dec.Close()
	p := &player{o: o, dec: dec, began: o.Clock.Now()}
	s := session{http: o.HTTP, ice: o.ICE, turn: o.Turn, endpoint: o.Endpoint, token: o.Token, clock: o.Clock}
	return s.run(ctx, func(pc *webrtc.PeerConnection) error {
		pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
			for {
				packet, _, err := t.ReadRTP()
				if err != nil {
					return
				}
				p.put(packet.SequenceNumber, packet.Timestamp, packet.Payload)
			}
		})
		_, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		return err
	}, p.play)
}

// pieceHeard is what goes to the loudspeaker at a time: 10 ms.
const pieceHeard = opus.Rate / 100

// player joins the buffer, the decoder and a mouth.
type player struct {
	o     HearOptions
	dec   *opus.Decoder
	began time.Time

	mu  sync.Mutex
	buf jitter.Buffer

	ready []int16 // decoded, not yet written
}

func (p *player) put(seq uint16, ts uint32, payload []byte) {
	n, err := opus.Duration(payload)
	if err != nil {
		return // not sound; the numbers show that something is missing
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.buf.Put(p.o.Clock.Now().Sub(p.began), seq, ts, n, append([]byte(nil), payload...))
}

// play writes what the buffer says, at the loudspeaker's pace.
func (p *player) play(ctx context.Context) error {
	if p.o.Up != nil {
		p.o.Up()
	}
	mouth := p.o.Loudspeaker.Speak()
	defer mouth.Close()
	for ctx.Err() == nil {
		for len(p.ready) < pieceHeard {
			if err := p.more(); err != nil {
				return err
			}
		}
		err := mouth.Write(ctx, p.ready[:pieceHeard])
		p.ready = p.ready[:copy(p.ready, p.ready[pieceHeard:])]
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, device.ErrGone):
			select {
			case <-ctx.Done():
			case <-p.o.Clock.After(10 * time.Millisecond): // the pace goes on
			}
		case err != nil:
			return fmt.Errorf("live: loudspeaker: %w", err)
		}
	}
	return nil
}

// more decodes what comes next.
func (p *player) more() error {
	p.mu.Lock()
	at := p.o.Clock.Now().Sub(p.began) + time.Duration(len(p.ready))*time.Second/opus.Rate
	step := p.buf.Next(at)
	st := HearStats{p.buf.Counts, p.buf.Delay()}
	p.mu.Unlock()
	if p.o.Stats != nil && step.Order != jitter.Wait {
		p.o.Stats(st)
	}
	var got []int16
	var err error
	switch step.Order {
	case jitter.Wait:
		p.ready = append(p.ready, make([]int16, pieceHeard-len(p.ready))...)
		return nil
	case jitter.Decode:
		got, err = p.dec.Decode(step.Packet)
	case jitter.Recover:
		got, err = p.dec.Recover(step.Packet, step.Samples)
	case jitter.Guess:
		got, err = p.dec.Conceal(step.Samples)
	}
	if errors.Is(err, opus.ErrPacket) { // its first byte was right, the rest wasn't
		got, err = p.dec.Conceal(pieceHeard)
	}
	if err != nil {
		return fmt.Errorf("live: %w", err)
	}
	p.ready = append(p.ready, fit(got, step.Fit)...)
	return nil
}
