package room

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"

	"telecart/uplink/hub/turn"
)

// behind adds a TURN server to a room.
func behind(t testing.TB, r *Room) {
	t.Helper()
	s, err := turn.New(turn.Options{Name: "turn.hub.test"})
	if err != nil {
		t.Fatal(err)
	}
	r.o.Turn.Conn = s.Room()
	o := r.o
	o.UDP = nil
	w, err := newWays(o)
	if err != nil {
		t.Fatal(err)
	}
	r.ways.turn, r.ways.behind = w.turn, w.behind
}

// chromium is what Chromium 156 offers (the files), to watch and to publish.
func chromium(t testing.TB, what string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/chromium-" + what + ".sdp")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const relayed = "a=candidate:1 1 udp 16777215 192.0.0.8 1024 typ relay raddr 0.0.0.0 rport 0\r\n"

// What browsers offer is taken; an answer to a relayed address has the room's own beside it.
func TestBrowsersOffers(t *testing.T) {
	r := open(t, nil)
	behind(t, r)
	for what, door := range map[string]string{"watch": "whep", "publish": "whip"} {
		for _, more := range []string{"", relayed} {
			w := call{"POST", "/v1/" + door + "/a", "Bearer good", "application/sdp", chromium(t, what) + more, ""}.do(r.Handler())
			if w.Code != http.StatusCreated || strings.Contains(w.Body.String(), "192.0.0.8 443 typ host") != (more != "") {
				t.Errorf("%s, %q: %d %s", what, more, w.Code, w.Body)
			}
		}
	}
}

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
