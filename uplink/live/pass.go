package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"telecart/device"
	"telecart/uplink/ladder"
)

var errProfile = errors.New("live: browsers can't decode the camera's own H.264")

// keyEvery is how often a camera is asked for a key frame at most: each costs as much as ten other pictures.
const keyEvery = time.Second

// keyed is a camera that can be asked for a key frame.
type keyed interface{ KeyFrame(context.Context) error }

// pass sends a camera's own access units: no decoding, no encoding. Delimiters and filler stay behind, as RTP has it (RFC
// 6184); nothing else is changed. The camera alone decides on its bit rate: what does not fit the link is errTooMuch. When a viewer
// needs a key frame the camera is asked for one if it can be; otherwise viewers wait for its next one, as they do after
// every loss that was not repaired.
func (s *sender) pass(ctx context.Context, view device.View) error {
	defer view.Close()
	stop := s.askCamera(ctx)
	defer stop()
	s.o.Log.Info("live: passing the camera's own stream on")
	var (
		st   Stats
		pay  = codecs.H264Payloader{DisableStapA: true} // it knows only one PPS; cameras have several
		rate = measured{at: s.o.Clock.Now()}
	)
	for {
		f, err := view.Next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("live: %w", err)
		}
		key, err := look(f.Data)
		if err != nil && st.Sent == 0 {
			return err
		}
		if st.Sent > 0 && f.Seq > st.Frame {
			st.Missed += f.Seq - st.Frame - 1
		}
		st.Frame, st.Captured, st.Bytes, st.Key = f.Seq, f.At.Wall, len(f.Data), key
		if s.o.sending != nil {
			s.o.sending(f)
		}
		if s.o.Ladder != nil {
			if own, ok := rate.add(s.o.Clock.Now(), len(f.Data)); ok {
				s.own = own
			}
			if plan := s.o.plan(); plan.Step == ladder.Stills || s.own > plan.Room*11/10 || s.out.stale() {
				s.out.drop()
				if s.own == 0 { // not known yet: it is tried again when there is room for what an encoder would take
					s.own = s.o.Bitrate
				}
				return fmt.Errorf("%w: %d b/s, and there are %d", errTooMuch, s.own, plan.Room)
			}
		}
		parts := pay.Payload(mtu, f.Data)
		packets := make([]*rtp.Packet, len(parts))
		for i, part := range parts {
			packets[i] = &rtp.Packet{Payload: part, Header: rtp.Header{Version: 2, Marker: i == len(parts)-1, Timestamp: rtpTime(f.At.Mono)}}
		}
		if err := s.out.put(packets); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("live: %w", err)
		}
		st.Sent++
		st.Latency = s.o.Clock.Now().Sub(st.Captured)
		if s.o.Stats != nil {
			s.o.Stats(st)
		}
	}
}

// measured is a rate over the last seconds.
type measured struct {
	at    time.Time
	bytes int
}

const measureOver = 2 * time.Second

// add gives it once in a while, in bits a second.
func (m *measured) add(now time.Time, n int) (rate int, ok bool) {
	m.bytes += n
	d := now.Sub(m.at)
	if d < measureOver {
		return 0, false
	}
	rate = int(float64(m.bytes) * 8 / d.Seconds())
	m.at, m.bytes = now, 0
	return rate, true
}

// look says whether an access unit is a key frame, and of its headers whether browsers can decode what follows: they know
// three profiles (RFC 7742, section 6.2, asks for the first; decoders have the others). It looks no further than the
// first slice.
func look(au []byte) (key bool, err error) {
	const baseline, main, high = 66, 77, 100
	for {
		i := bytes.Index(au, []byte{0, 0, 1})
		if i < 0 || len(au) < i+4 {
			return false, err
		}
		au = au[i+3:]
		switch kind := au[0] & 0x1f; {
		case kind >= 1 && kind <= nalIDR:
			return kind == nalIDR, err
		case kind == nalSPS && (len(au) < 4 || !slices.Contains([]byte{baseline, main, high}, au[1])):
			err = fmt.Errorf("%w: SPS % x", errProfile, au[:min(len(au), 4)])
		}
	}
}

// askCamera passes viewers' need for a key frame on to the camera, if it can be asked, until ctx ends or stop is called.
func (s *sender) askCamera(ctx context.Context) (stop func()) {
	cam, ok := s.o.Coded.(keyed)
	if !ok {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	wanted, done := make(chan struct{}, 1), make(chan struct{})
	s.needKey.use(func() {
		select {
		case wanted <- struct{}{}:
		default:
		}
	})
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-wanted:
			}
			if err := cam.KeyFrame(ctx); err != nil && ctx.Err() == nil {
				s.o.Log.Warn("live: the camera was asked for a key frame", "err", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-s.o.Clock.After(keyEvery):
			}
		}
	}()
	return func() {
		s.needKey.use(nil)
		cancel()
		<-done
	}
}
