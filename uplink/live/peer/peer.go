// Package peer is the WebRTC set-up that the cart, the room and a viewer share, so that both ends of a session agree by
// construction: H.264 (baseline, packetization mode 1) and Opus, AES-GCM before AES-CM, loss repair and reports.
//
// Parties: live.Publish and live.Watch offer, room answers. Keys: those of each session's DTLS handshake; who may open a
// session is decided by the bearer token in front of it, not here.
//
// Invariants: no name resolution (mDNS off), no STUN unless it was asked for; host candidates on loopback are allowed,
// because cart and hub may be one machine (demo, drill, tests).
package peer

import (
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"
)

// Payload types. They are the offerer's to choose (RFC 8829 5.2.1); an answer follows the offer.
const (
	PayloadH264    = 102 // constrained baseline, level 3.1: what the cart's encoder makes and every browser takes
	PayloadH264Alt = 104 // baseline, level 3.1
	PayloadOpus    = 111

	// ClockRate of every video payload here, in Hz (RFC 6184 8.2.1).
	ClockRate = 90000
)

const fmtpH264 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id="

// H264 is constrained baseline, packetization mode 1.
func H264() webrtc.RTPCodecParameters { return h264("42e01f", PayloadH264) }

func h264(profile string, pt webrtc.PayloadType) webrtc.RTPCodecParameters {
	return webrtc.RTPCodecParameters{PayloadType: pt, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeH264, ClockRate: ClockRate, SDPFmtpLine: fmtpH264 + profile,
		RTCPFeedback: []webrtc.RTCPFeedback{{Type: "ccm", Parameter: "fir"}, {Type: "nack"}, {Type: "nack", Parameter: "pli"}},
	}}
}

// Opus as every browser offers it.
func Opus() webrtc.RTPCodecParameters {
	return webrtc.RTPCodecParameters{PayloadType: PayloadOpus, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1",
	}}
}

// Options of one end.
type Options struct {
	Codecs []webrtc.RTPCodecParameters // offered or accepted; nil is everything the room forwards
	Mux    ice.UDPMux                  // all sessions on one port; nil is a port for each
	Public []string                    // addresses to tell the other end instead of this machine's own (one-to-one NAT)
	Own    []string                    // but for these, which are told as they are
	Dialer Dialer                      // of connections to TURN servers over TCP and TLS; nil is this machine's network
	Ladder Ladder                      // what is sent is counted, and reported on; nil: it is numbered only
	// When silence becomes "disconnected", and how much longer it takes to be "failed" and final.
	Disconnected, Failed time.Duration
}

// Dialer is golang.org/x/net/proxy's. For a "turns:" server it also does TLS: pion takes what it gives for the secured stream.
type Dialer interface {
	Dial(network, address string) (net.Conn, error)
}

// relayWait is how long a path through a TURN server waits for a better one, once it stands.
const relayWait = 300 * time.Millisecond

// New builds the factory of one end's peer connections.
func New(o Options) (*webrtc.API, error) {
	m := &webrtc.MediaEngine{}
	if o.Codecs == nil {
		o.Codecs = []webrtc.RTPCodecParameters{H264(), h264("42001f", PayloadH264Alt), Opus()}
	}
	for _, c := range o.Codecs {
		kind := webrtc.RTPCodecTypeVideo
		if c.MimeType == webrtc.MimeTypeOpus {
			kind = webrtc.RTPCodecTypeAudio
		}
		if err := m.RegisterCodec(c, kind); err != nil {
			return nil, fmt.Errorf("peer: %s: %w", c.MimeType, err)
		}
	}
	reg := &interceptor.Registry{}
	with := []func() error{func() error { return seldom(reg) }}
	// Not for sound alone: on a link that is narrow enough to care, the feedback would take half as much as the voice itself, and what
	// is repeated comes too late.
	sound := !slices.ContainsFunc(o.Codecs, func(c webrtc.RTPCodecParameters) bool { return c.MimeType != webrtc.MimeTypeOpus })
	if !sound {
		if o.Ladder != nil {
			reg.Add(&numbering{ladder: o.Ladder})
		}
		with = append(with[:0], func() error { return webrtc.ConfigureRTCPReports(reg) }, func() error { return webrtc.ConfigureNack(m, reg) },
			func() error { return feedback(m, reg, o.Ladder) })
	}
	for _, configure := range with {
		if err := configure(); err != nil {
			return nil, fmt.Errorf("peer: interceptors: %w", err)
		}
	}
	s := webrtc.SettingEngine{LoggerFactory: quiet()}
	// A fifth of the cost of AES-CM with HMAC-SHA1 for each packet, wherever the processor has AES instructions.
	s.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	if sound { // its tag has 6 bytes less, in each of a voice's small packets; every end knows it (RFC 5764 4.1.2)
		s.SetSRTPProtectionProfiles(dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	}
	s.SetIncludeLoopbackCandidate(true)
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
	s.DisableActiveTCP(true)
	if o.Disconnected > 0 {
		s.SetICETimeouts(o.Disconnected, o.Failed, o.Disconnected/4)
	}
	if o.Mux != nil {
		s.SetICEUDPMux(o.Mux)
	}
	s.SetRelayAcceptanceMinWait(relayWait)
	if o.Dialer != nil {
		s.SetICEProxyDialer(o.Dialer)
	}
	if rules := rewrites(o); len(rules) > 0 {
		if err := s.SetICEAddressRewriteRules(rules...); err != nil {
			return nil, fmt.Errorf("peer: public address: %w", err)
		}
	}
	return webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(reg), webrtc.WithSettingEngine(s)), nil
}

func rewrites(o Options) (out []webrtc.ICEAddressRewriteRule) {
	if len(o.Public) == 0 {
		return nil
	}
	rule := webrtc.ICEAddressRewriteRule{AsCandidateType: webrtc.ICECandidateTypeHost, Mode: webrtc.ICEAddressRewriteReplace}
	for _, a := range o.Own {
		rule.Local, rule.External = a, []string{a}
		out = append(out, rule)
	}
	rule.Local, rule.External = "", o.Public
	return append(out, rule)
}

// seldom makes reports of sound alone: the minimum interval of RFC 3550 6.2.
func seldom(reg *interceptor.Registry) error {
	in, err := report.NewReceiverInterceptor(report.ReceiverInterval(reportEvery))
	if err != nil {
		return err
	}
	out, err := report.NewSenderInterceptor(report.SenderInterval(reportEvery))
	reg.Add(in)
	reg.Add(out)
	return err
}

const reportEvery = 5 * time.Second

// NewMux carries all sessions over one socket, which it closes when it is closed itself.
func NewMux(conn net.PacketConn) ice.UDPMux {
	return webrtc.NewICEUDPMux(quiet().NewLogger("mux"), conn)
}

// quiet keeps pion's own log out of ours: it writes addresses, and what matters reaches us as errors and states.
func quiet() logging.LoggerFactory {
	f := logging.NewDefaultLoggerFactory()
	f.DefaultLogLevel = logging.LogLevelDisabled
	f.ScopeLevels = map[string]logging.LogLevel{}
	return f
}
