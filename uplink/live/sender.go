package live

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pion/mediadevices"
	"github.com/pion/mediadevices/pkg/codec"
	"github.com/pion/mediadevices/pkg/codec/openh264"
	"github.com/pion/mediadevices/pkg/io/video"
	"github.com/pion/mediadevices/pkg/prop"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"telecart/uplink/live/peer"
)

// mtu of an RTP packet in bytes: with SRTP, UDP and IPv6 it stays below 1,280, which every path carries whole.
const mtu = 1180

// sender moves one camera's picture through encoder and packetizer into a connected session. mediadevices' own Bind
// would start the camera during negotiation, and its Unbind can wait for ever for a reader that has just ended.
type sender struct {
	o       Options
	out     *outlet
	needKey asker
	own     int // bits a second of the camera's own stream, once it is known
}

// asker is what is done when a viewer needs a key frame; by default nothing.
type asker struct {
	mu  sync.Mutex
	ask func() // doesn't block
}

// use sets it. When use returns, what was set before no longer runs.
func (a *asker) use(ask func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ask = ask
}

func (a *asker) now() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ask != nil {
		a.ask()
	}
}

// send passes on what the camera coded itself while that fits the link, or encodes its pictures.
func (s *sender) send(ctx context.Context, out *webrtc.RTPSender) error {
	go s.readRTCP(out) // ends with the connection
	for s.o.Coded != nil {
		view, err := s.o.Coded.WatchCoded()
		if err == nil {
			err = s.pass(ctx, view)
			if !errors.Is(err, errProfile) && !errors.Is(err, errTooMuch) {
				return err
			}
		}
		s.o.Log.Info("live: the camera's pictures are encoded here", "because", err)
		if !errors.Is(err, errTooMuch) {
			break
		}
		if err = s.encode(ctx); !errors.Is(err, errFits) {
			return err
		}
	}
	return s.encode(ctx)
}

// encode sends the camera's pictures through the encoder.
func (s *sender) encode(ctx context.Context) error {
	src, err := newSource(ctx, s.o, s.out, s.needKey.now)
	if err != nil {
		return err
	}
	defer src.unregister()
	st := Stats{}
	for {
		err := s.encodeAs(ctx, src, &st)
		if !errors.Is(err, errShape) {
			return err
		}
		src.become(s.o.shape(s.o.plan()))
	}
}

// encodeAs does it with one encoder, until the ladder wants another shape (errShape).
func (s *sender) encodeAs(ctx context.Context, src *source, st *Stats) error {
	bitrate := s.o.plan().Bitrate
	if bitrate == 0 { // stopped: it starts when it may, and is told then
		bitrate = s.o.Bitrate
	}
	enc, err := newBuilder(bitrate, src.shape)
	if err != nil {
		return err
	}
	track := mediadevices.NewVideoTrack(src, mediadevices.NewCodecSelector(mediadevices.WithVideoEncoders(enc)))
	r, err := track.NewRTPReader(webrtc.MimeTypeH264, 0, mtu)
	if err != nil {
		return ending(ctx, src, err)
	}
	defer r.Close()
	s.o.Log.Info("live: publishing", "camera", src.label, "width", src.shape.width, "height", src.shape.height, "fps", src.shape.fps, "bitrate", bitrate)

	if keys, ok := r.Controller().(codec.KeyFrameController); ok {
		s.needKey.use(func() { _ = keys.ForceKeyFrame() }) // openh264's sets a flag for the next frame
		defer s.needKey.use(nil)
	}
	fits := time.Time{} // since when the camera's own stream would
	for {
		p := s.o.plan()
		// Between two frames, on this goroutine: openh264 takes no option while it encodes.
		if c, ok := r.Controller().(codec.BitRateController); ok && changed(p.Bitrate, bitrate) {
			if err := c.SetBitRate(p.Bitrate); err != nil {
				s.o.Log.Warn("live: bit rate not changed", "err", err)
			}
			bitrate = p.Bitrate
		}
		if s.own == 0 || p.Room < s.own*5/4 {
			fits = time.Time{}
		} else if now := s.o.Clock.Now(); fits.IsZero() {
			fits = now
		} else if now.Sub(fits) > passAgain {
			return errFits
		}
		pkts, _, err := r.Read()
		if err != nil {
			return ending(ctx, src, err)
		}
		f := src.frame
		st.Frame, st.Captured, st.Missed = f.Seq, f.At.Wall, src.missed
		if len(pkts) == 0 { // the encoder left this frame out to keep its bit rate
			st.Skipped++
			continue
		}
		st.Encode, st.Bytes, st.Key = s.o.Clock.Now().Sub(src.asked), 0, false
		if s.o.sending != nil {
			s.o.sending(f)
		}
		for _, p := range pkts {
			if f.At.Mono != 0 { // capture time, not the time of encoding: no jitter for the viewer to smooth away
				p.Timestamp = rtpTime(f.At.Mono)
			}
			st.Bytes += len(p.Payload)
			st.Key = st.Key || startsKey(p.Payload)
		}
		if err := s.out.put(pkts); err != nil {
			return ending(ctx, src, err)
		}
		st.Sent++
		st.Latency = s.o.Clock.Now().Sub(st.Captured)
		if s.o.Stats != nil {
			s.o.Stats(*st)
		}
	}
}

// passAgain is for how long a camera's own stream has to fit before it is passed on again.
const passAgain = 10 * time.Second

// changed says whether a bit rate is another one: small changes are not worth the encoder's while.
func changed(to, from int) bool { return to > 0 && (to > from+from/25 || to < from-from/25) }

// rtpTime is a monotonic time in nanoseconds as an RTP timestamp.
func rtpTime(mono int64) uint32 { return uint32(mono / 1000 * peer.ClockRate / 1e6) }

// ending says why the picture ended: the caller's wish (nil), the camera's reason, or the error itself.
func ending(ctx context.Context, src *source, err error) error {
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, errShape):
		return err
	case src.cause != nil:
		err = src.cause
	}
	return fmt.Errorf("live: %w", err)
}

// readRTCP keeps the reports flowing through the interceptors and passes on that somebody needs a key frame.
func (s *sender) readRTCP(out *webrtc.RTPSender) {
	for {
		pkts, _, err := out.ReadRTCP()
		if err != nil {
			return
		}
		for _, p := range pkts {
			switch p.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				s.needKey.now()
			}
		}
	}
}

// builder makes openh264 as the cart needs it: mediadevices tells encoders a frame rate of 0, of which openh264 makes 13
// Mb/s out of a 2 Mb/s target.
type builder struct {
	openh264.Params
	fps float32
}

func newBuilder(bitrate int, sh shape) (*builder, error) {
	p, err := openh264.NewParams()
	if err != nil {
		return nil, fmt.Errorf("live: openh264: %w", err)
	}
	p.BitRate = bitrate
	// A key frame comes when somebody asks; otherwise rarely, for it costs as much as ten others. Four seconds is what a
	// viewer waits at an engine that does not ask on its behalf.
	p.IntraPeriod = uint(keyInterval.Seconds() * float64(sh.fps))
	return &builder{Params: p, fps: sh.fps}, nil
}

const keyInterval = 4 * time.Second

func (b *builder) BuildVideoEncoder(r video.Reader, p prop.Media) (codec.ReadCloser, error) {
	p.FrameRate = b.fps
	enc, err := b.Params.BuildVideoEncoder(r, p)
	if err != nil {
		return nil, fmt.Errorf("openh264 at %dx%d: %w", p.Width, p.Height, err)
	}
	return enc, nil
}

// startsKey: does this RTP payload (RFC 6184) hold or begin an IDR picture or its parameter sets?
func startsKey(b []byte) bool {
	if len(b) < 2 {
		return false
	}
	switch t := b[0] & 0x1f; t {
	case nalIDR, nalSPS:
		return true
	case 24: // STAP-A: a 16-bit length, then the first NAL unit
		return len(b) > 3 && (b[3]&0x1f == nalSPS || b[3]&0x1f == nalIDR)
	case 28: // FU-A with its start bit
		return b[1]&0x80 != 0 && b[1]&0x1f == nalIDR
	}
	return false
}
