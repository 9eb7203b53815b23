package room

import (
	"errors"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"
)

// FuzzOffer is the SDP of anybody who holds a token.
func FuzzOffer(f *testing.F) {
	r := open(f, nil)
	behind(f, r)
	for _, what := range []string{"watch", "publish"} {
		f.Add(chromium(f, what))
		f.Add(chromium(f, what) + relayed)
	}
	f.Add(offer(f, webrtc.RTPTransceiverDirectionSendonly, webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio))
	f.Fuzz(func(t *testing.T, sdp string) {
		for _, a := range []Action{Publish, Watch} {
			_, answer, err := r.open(t.Context(), a, "a", "good", sdp)
			if err == nil && !strings.HasPrefix(answer, "v=0") {
				t.Errorf("answered %q", answer)
			}
			if err != nil && !errors.Is(err, errOffer) && !errors.Is(err, errUnusable) {
				t.Error(err)
			}
		}
		r.kick(func(*session) bool { return true })
		if s := r.Streams(); len(s) != 0 {
			t.Errorf("left behind: %+v", s)
		}
	})
}

// FuzzTrickle is a PATCH of a session that is there (RFC 8840 9, as RFC 9725 4.3.1 has it).
func FuzzTrickle(f *testing.F) {
	r := open(f, nil)
	f.Add("a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n" +
		"a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1\r\na=end-of-candidates\r\n")
	f.Add("a=mid:0\r\n" + relayed)
	f.Add("a=mid:7\r\na=candidate:1 1 tcp 1 fe80::1%eth0 9 typ host tcptype active\r\n")
	f.Fuzz(func(t *testing.T, fragment string) {
		s, _, err := r.open(t.Context(), Watch, "a", "good", chromium(t, "watch"))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.trickle(fragment); err != nil && !errors.Is(err, errOffer) && !errors.Is(err, errUnusable) {
			t.Error(err)
		}
		s.end()
	})
}
