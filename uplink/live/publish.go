// Package live is the cart's live picture: Publish sends one camera to the room by WHIP (RFC 9725), Watch is the viewer
// that the drill and the tests use (WHEP).
//
// Parties: a device.Camera, seen through mediadevices' driver interface so that its tracks and codecs sit on top, or its own
// encoder (device.Coded), which needs neither; the room, or any other WHIP/WHEP engine; the caller, who redials.
//
// Keys: a bearer token per stream and action; media is DTLS-SRTP. The token travels only in the Authorization header.
//
// The ladder (uplink/ladder) owns the link: the picture takes the share that it is given, is made smaller or stopped by it, and
// comes back with a key frame. While it is stopped its session sends padding now and then, which is how the ladder learns
// that the link carries more again.
//
// Invariants: the latest frame wins; the encoder never works on a backlog. What a camera coded itself is passed on
// untouched. The camera is watched only while the session lives: the lens opens when the path for media stands. A session
// that fails is over: Publish returns and keeps no state, the caller decides when to redial (the room lets viewers
// continue where they were). Colours are those of the camera: its full-range JPEG goes to the encoder in video range.
// What is sent here is the live picture only; stills and clips are the camera's own bytes and go another way.
package live

import (
	"context"
	"errors"
	"fmt"
	"image"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"telecart/device"
	"telecart/device/kit"
	"telecart/uplink/ladder"
	"telecart/uplink/live/peer"
)

// How soon a dead path is given up. A path that comes back before that goes on by itself, without any redial.
const (
	disconnected = 2 * time.Second
	failed       = 3 * time.Second
)

// Options say what to publish and where.
type Options struct {
	Endpoint string             // WHIP URL of the stream
	Token    string             // bearer token: this stream, publishing, some minutes
	HTTP     *http.Client       // nil: http.DefaultClient
	ICE      []webrtc.ICEServer // to use from the start; those that the room names come into play when they are needed
	Turn     Turn
	Camera   device.Camera
	// Coded is the same camera's own encoder, if it may have one. Its access units are then sent untouched, in the camera's
	// size, rate and bit rate, as long as the ladder has room for that. Without one, or when it fails, Camera's pictures are
	// encoded. Optional.
	Coded device.Coded
	// Decode turns a frame that isn't a JPEG into a picture, in full range. It is not used any more when the next frame is
	// asked for. JPEGs are decoded here.
	Decode    func(device.Frame) (image.Image, error)
	Bitrate   int     // bits per second; 0: 2,000,000
	FrameRate float32 // the most frames per second to send; 0: 30
	// The most that is sent; 0: 1280x720, which level 3.1 allows for. Larger pictures are made smaller in proportion.
	Width, Height int
	// Ladder says how much of the link the picture may have at each moment: bit rate, frame rate and size follow it, and what is
	// sent is paced. Bitrate, FrameRate, Width and Height are the most then. The caller opens and closes it. Optional.
	Ladder *ladder.Session
	Stats  func(Stats) // called after every frame on the sender's goroutine; must not block. Optional.
	Clock  kit.Clock   // nil: the machine's own
	Log    *slog.Logger

	sending func(device.Frame) // the benchmark's look at what is about to be sent
}

// Stats of one frame that was sent.
type Stats struct {
	Frame    uint64        // the camera's own frame number
	Captured time.Time     // by the camera's stamp
	Latency  time.Duration // from capture until the last packet was handed to the network, or to the ladder's pacing
	Encode   time.Duration // of which: decoding the camera's format and encoding; 0 of what is passed through
	Bytes    int           // of the access unit
	Key      bool
	Sent     uint64 // frames sent in this session
	Missed   uint64 // camera frames that were never sent: this machine, or the camera's cable, was too slow
	Skipped  uint64 // frames that the encoder left out to keep the bit rate
}

// Publish sends the camera's picture until ctx ends (nil), the camera goes (device.ErrGone), the token is refused
// (ErrRefused) or the connection fails (ErrFailed). A size change of the camera ends it too (errResized): redial.
func Publish(ctx context.Context, o Options) error {
	if err := o.fill(); err != nil {
		return err
	}
	ask := func(ctx context.Context) ([]webrtc.ICEServer, error) {
		return askServers(ctx, o.HTTP, o.Endpoint, o.Token)
	}
	err := through(ctx, o.Turn, o.Clock, o.ICE, ask, func(ctx context.Context, t *try) error { return publishOnce(ctx, o, t) })
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// publishOnce is one session.
func publishOnce(ctx context.Context, o Options, t *try) (end error) {
	po := peer.Options{Codecs: []webrtc.RTPCodecParameters{peer.H264()}}
	if o.Ladder != nil {
		po.Ladder = o.Ladder
	}
	pc, err := t.connection(ctx, po)
	if err != nil {
		return err
	}
	defer t.close(pc)
	local, err := webrtc.NewTrackLocalStaticRTP(peer.H264().RTPCodecCapability, "video", "telecart")
	if err != nil {
		return fmt.Errorf("live: %w", err)
	}
	tr, err := pc.AddTransceiverFromTrack(local, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return fmt.Errorf("live: %w", err)
	}
	states := watchState(pc)
	session, err := negotiate(ctx, t, pc, o.HTTP, o.Endpoint, o.Token)
	defer func() {
		if !errors.Is(end, ErrFailed) { // over a dead path it would only hold up the redial
			bye(ctx, o.HTTP, session, o.Token)
		}
	}()
	if err == nil {
		err = t.await(ctx, pc, states)
	}
	if err != nil {
		return err
	}
	// Only now does the lens open.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &sender{o: o, out: newOutlet(local, o)}
	if o.Ladder != nil {
		var wg sync.WaitGroup
		wg.Go(func() { s.out.run(ctx) })
		defer wg.Wait()
		defer cancel(nil)
	}
	done := make(chan error, 1)
	go func() { done <- s.send(ctx, tr.Sender()) }()
	select {
	case err := <-done:
		return err
	case <-states.failed:
		cancel(ErrFailed)
		<-done
		return ErrFailed
	}
}

func (o *Options) fill() error {
	switch {
	case o.Endpoint == "":
		return errors.New("live: no endpoint: set Endpoint to the stream's WHIP URL")
	case o.Camera == nil:
		return errors.New("live: no camera")
	case o.Decode == nil:
		return errors.New("live: no decoder for the camera's frames: set Decode")
	case o.Bitrate < 0 || o.FrameRate < 0 || o.Width < 0 || o.Height < 0:
		return errors.New("live: negative bit rate, frame rate or size")
	}
	if o.Bitrate == 0 {
		o.Bitrate = 2_000_000
	}
	if o.FrameRate == 0 {
		o.FrameRate = 30
	}
	if o.Width == 0 || o.Height == 0 {
		o.Width, o.Height = 1280, 720
	}
	if o.HTTP == nil {
		o.HTTP = http.DefaultClient
	}
	if o.Clock == nil {
		o.Clock = kit.System{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}
