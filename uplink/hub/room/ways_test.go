package room

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"

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

// A hub behind one-to-one NAT tells its public address, and the exchange's as it is.
func TestPublicAddressBesideTURN(t *testing.T) {
	s, err := turn.New(turn.Options{Name: "turn.hub.test"})
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	r := open(t, nil)
	w, err := newWays(Options{UDP: udp, PublicIP: []string{"203.0.113.7"}, Turn: Turn{Conn: s.Room()}})
	if err != nil {
		t.Fatal(err)
	}
	r.ways, w = w, r.ways
	if err := w.close(); err != nil {
		t.Fatal(err)
	}
	a := call{"POST", "/v1/whep/a", "Bearer good", "application/sdp", chromium(t, "watch") + relayed, ""}.do(r.Handler()).Body.String()
	if !strings.Contains(a, "203.0.113.7") || !strings.Contains(a, "192.0.0.8 443 typ host") || strings.Contains(a, "127.0.0.1 ") {
		t.Errorf("answered\n%s", a)
	}
}

// heard is a socket that keeps what it was to send.
type heard struct {
	net.PacketConn
	to []string
}

func (h *heard) WriteTo(p []byte, to net.Addr) (int, error) {
	h.to = append(h.to, to.String())
	return len(p), nil
}

// No packet for the exchange leaves by UDP.
func TestGuarded(t *testing.T) {
	h := &heard{}
	g := guarded{h, netip.MustParseAddr("192.0.0.8")}
	for _, to := range []string{"192.0.0.8:1024", "[::ffff:192.0.0.8]:1024", "203.0.113.7:9"} {
		if n, err := g.WriteTo([]byte("check"), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to))); n != 5 || err != nil {
			t.Errorf("%s: %d %v", to, n, err)
		}
	}
	if len(h.to) != 1 || h.to[0] != "203.0.113.7:9" {
		t.Errorf("sent to %v", h.to)
	}
}
