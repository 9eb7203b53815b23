package peer

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"telecart/uplink/ladder"
)

// Ladder is told of every packet that goes out, and of what the far end reports of them.
type Ladder interface {
	Sent(n int, kind ladder.Packet) uint16
	Report(ladder.Report)
}

// beside is what a packet has on the wire besides RTP: SRTP's tag (RFC 7714, 13.2), UDP and IPv4.
const beside = 16 + 8 + 20

// feedback agrees on transport-wide sequence numbers both ways, and answers the other end's.
func feedback(m *webrtc.MediaEngine, reg *interceptor.Registry, l Ladder) error {
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
		m.RegisterFeedback(webrtc.RTCPFeedback{Type: webrtc.TypeRTCPFBTransportCC}, kind)
		if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: sdp.TransportCCURI}, kind); err != nil {
			return err
		}
	}
	if l == nil {
		f, err := twcc.NewHeaderExtensionInterceptor()
		if err != nil {
			return err
		}
		reg.Add(f)
	}
	reg.Add(reporting{})
	return nil
}

// extension finds the number of the transport-wide sequence number's header extension; 0: it was not agreed on.
func extension(info *interceptor.StreamInfo) uint8 {
	for _, e := range info.RTPHeaderExtensions {
		if e.URI == sdp.TransportCCURI {
			return uint8(e.ID)
		}
	}
	return 0
}

// numbering gives every packet that leaves the number that a ladder keeps of it, repairs too: it has to be the first of the
// interceptors, which is the last one before the wire.
type numbering struct {
	interceptor.NoOp
	ladder Ladder

	mu   sync.Mutex
	time farTime
}

func (n *numbering) NewInterceptor(string) (interceptor.Interceptor, error) { return n, nil }

func (n *numbering) BindLocalStream(info *interceptor.StreamInfo, w interceptor.RTPWriter) interceptor.RTPWriter {
	id := extension(info)
	if id == 0 {
		return w
	}
	return interceptor.RTPWriterFunc(func(h *rtp.Header, payload []byte, a interceptor.Attributes) (int, error) {
		own := h.Clone() // a repair's header is shared with the next one's
		kind := ladder.Media
		if len(payload) == 0 && own.Padding {
			kind = ladder.Padding
		}
		if err := own.SetExtension(id, []byte{0, 0}); err != nil {
			return 0, err
		}
		seq := n.ladder.Sent(own.MarshalSize()+len(payload)+int(own.PaddingSize)+beside, kind)
		if err := own.SetExtension(id, []byte{byte(seq >> 8), byte(seq)}); err != nil {
			return 0, err
		}
		return w.Write(&own, payload, a)
	})
}

func (n *numbering) BindRTCPReader(r interceptor.RTCPReader) interceptor.RTCPReader {
	return interceptor.RTCPReaderFunc(func(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
		i, a, err := r.Read(b, a)
		if err != nil {
			return 0, nil, err
		}
		if a == nil {
			a = interceptor.Attributes{}
		}
		all, err := a.GetRTCPPackets(b[:i])
		if err != nil {
			return 0, nil, err
		}
		for _, p := range all {
			if cc, ok := p.(*rtcp.TransportLayerCC); ok {
				n.mu.Lock()
				report := n.time.report(cc)
				n.mu.Unlock()
				n.ladder.Report(report)
			}
		}
		return i, a, nil
	})
}

// farTime is the far end's clock, whose 24 bits of 64 ms wrap around after 12 days.
type farTime struct {
	last  uint32
	ticks int64
	begun bool
}

const farTick = 64 * time.Millisecond

// report unpacks a feedback packet (draft-holmer-rmcat-transport-wide-cc-extensions-01, 3.1). What does not add up ends it there.
func (f *farTime) report(p *rtcp.TransportLayerCC) ladder.Report {
	if !f.begun {
		f.last, f.ticks, f.begun = p.ReferenceTime, int64(p.ReferenceTime), true
	}
	f.ticks += int64(int32((p.ReferenceTime-f.last)<<8) >> 8)
	f.last = p.ReferenceTime
	r := ladder.Report{First: p.BaseSequenceNumber}
	at, deltas := time.Duration(f.ticks)*farTick, p.RecvDeltas
	add := func(symbol uint16) bool {
		switch {
		case len(r.Arrivals) >= int(p.PacketStatusCount):
			return false
		case symbol == rtcp.TypeTCCPacketNotReceived:
			r.Arrivals = append(r.Arrivals, ladder.Arrival{Lost: true})
			return true
		case symbol == rtcp.TypeTCCPacketReceivedWithoutDelta || len(deltas) == 0 || deltas[0] == nil:
			return false
		}
		at += time.Duration(deltas[0].Delta) * time.Microsecond
		deltas = deltas[1:]
		r.Arrivals = append(r.Arrivals, ladder.Arrival{At: at})
		return true
	}
	for _, c := range p.PacketChunks {
		switch c := c.(type) {
		case *rtcp.RunLengthChunk:
			for range c.RunLength {
				if !add(c.PacketStatusSymbol) {
					return r
				}
			}
		case *rtcp.StatusVectorChunk:
			for _, s := range c.SymbolList {
				if !add(s) {
					return r
				}
			}
		}
	}
	return r
}

// When feedback goes out: after so many bytes, but not more often than that; after a while in any case. Two of a hundred bytes go
// back so, like TCP's acknowledgements: a report that comes soon is what keeps a queue short when a link becomes slow.
const (
	feedbackBytes = 2000
	feedbackLeast = 10 * time.Millisecond
	feedbackMost  = 100 * time.Millisecond
)

// reporting answers the other end's numbers with when they came.
type reporting struct{}

func (reporting) NewInterceptor(string) (interceptor.Interceptor, error) {
	return &reporter{began: time.Now(), done: make(chan struct{})}, nil
}

type reporter struct {
	interceptor.NoOp
	began time.Time
	done  chan struct{}
	wg    sync.WaitGroup

	mu     sync.Mutex
	w      interceptor.RTCPWriter
	rec    *twcc.Recorder
	bytes  int
	last   time.Time
	closed bool
}

func (r *reporter) BindRTCPWriter(w interceptor.RTCPWriter) interceptor.RTCPWriter {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.w == nil && !r.closed {
		r.w, r.rec = w, twcc.NewRecorder(rand.Uint32())
	}
	return w
}

func (r *reporter) BindRemoteStream(info *interceptor.StreamInfo, in interceptor.RTPReader) interceptor.RTPReader {
	id := extension(info)
	if id == 0 {
		return in
	}
	r.mu.Lock()
	if r.last.IsZero() && !r.closed {
		r.last = time.Now()
		r.wg.Go(r.rest)
	}
	r.mu.Unlock()
	return interceptor.RTPReaderFunc(func(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
		n, a, err := in.Read(b, a)
		if err != nil {
			return 0, nil, err
		}
		if a == nil {
			a = interceptor.Attributes{}
		}
		h, err := a.GetRTPHeader(b[:n])
		if err != nil {
			return 0, nil, err
		}
		var x rtp.TransportCCExtension
		if ext := h.GetExtension(id); ext != nil && x.Unmarshal(ext) == nil {
			r.record(info.SSRC, x.TransportSequence, n)
		}
		return n, a, nil
	})
}

func (r *reporter) record(ssrc uint32, seq uint16, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rec == nil {
		return
	}
	now := time.Now()
	r.rec.Record(ssrc, seq, now.Sub(r.began).Microseconds())
	if r.bytes += n; r.bytes >= feedbackBytes && now.Sub(r.last) >= feedbackLeast {
		r.send(now)
	}
}

// send needs mu.
func (r *reporter) send(now time.Time) {
	r.bytes, r.last = 0, now
	if all := r.rec.BuildFeedbackPacket(); len(all) > 0 {
		_, _ = r.w.Write(all, nil) // a connection that is gone says so itself
	}
}

// rest reports what came since the last report and was not enough for one.
func (r *reporter) rest() {
	t := time.NewTicker(feedbackMost / 2)
	defer t.Stop()
	for {
		select {
		case <-r.done:
			return
		case now := <-t.C:
			r.mu.Lock()
			if r.rec != nil && r.bytes > 0 && now.Sub(r.last) >= feedbackMost/2 {
				r.send(now)
			}
			r.mu.Unlock()
		}
	}
}

func (r *reporter) Close() error {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.done)
	}
	r.mu.Unlock()
	r.wg.Wait()
	return nil
}
