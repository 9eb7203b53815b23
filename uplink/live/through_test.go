package live

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/webrtc/v4"

	"telecart/uplink/hub/room"
	"telecart/uplink/hub/turn"
)

// blocked is a UDP socket of a hub behind a firewall: it announces an address, and nothing passes while shut.
type blocked struct {
	*net.UDPConn
	shut *atomic.Bool
}

func (b blocked) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := b.UDPConn.ReadFrom(p)
		if err != nil || !b.shut.Load() {
			return n, from, err
		}
	}
}

func (b blocked) WriteTo(p []byte, to net.Addr) (int, error) {
	if b.shut.Load() {
		return len(p), nil
	}
	return b.UDPConn.WriteTo(p, to)
}

// clinic is a hall, a TURN server before it, and what passes between.
type clinic struct {
	hall
	turn  *turn.Server
	shut  atomic.Bool // UDP
	dials atomic.Int32
	asked atomic.Int32 // for servers
	offer atomic.Value // the last one
	ln    net.Listener
}

func newClinic(t *testing.T, udp bool) *clinic {
	t.Helper()
	c := &clinic{}
	var err error
	if c.turn, err = turn.New(turn.Options{Name: "turn.hub.test"}); err != nil {
		t.Fatal(err)
	}
	if c.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := c.ln.Accept()
			if err != nil {
				return
			}
			go c.turn.Serve(conn)
		}
	}()
	o := room.Options{Authorize: func(_ context.Context, token, stream string, a room.Action) error {
		if token != "good" {
			return room.ErrToken
		}
		return nil
	}, Turn: room.Turn{Conn: c.turn.Room(), Servers: func(token string) []room.Server {
		cr := c.turn.Issue(token)
		return []room.Server{{URL: "turns:turn.hub.test:443?transport=tcp", Username: cr.Username, Credential: cr.Password}}
	}}}
	if udp {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		o.UDP = blocked{conn, &c.shut}
	}
	r, err := room.New(o)
	if err != nil {
		t.Fatal(err)
	}
	h := r.Handler()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions {
			c.asked.Add(1)
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if r.Body = io.NopCloser(bytes.NewReader(b)); r.Method == http.MethodPost {
			c.offer.Store(string(b))
		}
		h.ServeHTTP(w, r)
	}))
	c.hall = hall{r, srv.Client(), srv.URL}
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
		c.ln.Close()
		for _, f := range []func() error{r.Close, c.turn.Close} {
			if err := f(); err != nil {
				t.Error(err)
			}
		}
	})
	return c
}

func (c *clinic) dial(ctx context.Context, address string) (net.Conn, error) {
	c.dials.Add(1)
	if address != "turn.hub.test:443" {
		return nil, errors.New("who is " + address)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", c.ln.Addr().String())
}

// session publishes until stop, and waits for the picture at a viewer.
func (c *clinic) session(t *testing.T, way *Way) (stop func()) {
	t.Helper()
	through := Turn{Dial: c.dial, Way: way}
	o := c.options(newCamera(jpegs(t, scene(320, 240, 4)), 30))
	o.Turn = through
	publish := start(t, func(ctx context.Context) error { return Publish(ctx, o) })
	frames := make(chan Frame, 10000)
	watch := start(t, func(ctx context.Context) error {
		return Watch(ctx, WatchOptions{Endpoint: c.url + "/v1/whep/otoscope", Token: "good", HTTP: c.Client, Turn: through, OnFrame: func(f Frame) { frames <- f }})
	})
	for range 10 {
		want(t, "the picture", frames)
	}
	return func() {
		for _, f := range []func() error{watch, publish} {
			if err := f(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestThroughTURN(t *testing.T) {
	c := newClinic(t, true)
	var way Way
	c.session(t, &way)()
	if way.Behind() || c.dials.Load() != 0 || c.asked.Load() != 0 {
		t.Fatalf("UDP works: behind %v, %d connections to TURN, asked %d times", way.Behind(), c.dials.Load(), c.asked.Load())
	}
	// A firewall. Both sides find out by themselves.
	c.shut.Store(true)
	stop := c.session(t, &way)
	if n := c.turn.Counts(); !way.Behind() || n.Allocations != 2 || n.In == 0 || n.Out == 0 || n.Denied != 0 {
		t.Errorf("behind %v, %+v", way.Behind(), n)
	}
	if offer := c.offer.Load().(string); !strings.Contains(offer, " typ relay raddr 0.0.0.0 rport 9") {
		t.Errorf("the offer tells more of this machine than it has to:\n%s", offer)
	}
	stop()
	// And remember it: the room is asked for its servers before the offer.
	dials := c.dials.Load()
	stop = c.session(t, &way)
	if !way.Behind() || c.asked.Load() != 2 || c.dials.Load() != dials+2 {
		t.Errorf("behind %v, asked %d times, %d connections more", way.Behind(), c.asked.Load(), c.dials.Load()-dials)
	}
	stop()
	// It is gone: UDP is taken again, though TURN is still there to use.
	c.shut.Store(false)
	c.session(t, &way)()
	if way.Behind() {
		t.Error("still behind")
	}
	c.session(t, &way)()
	if n := c.asked.Load(); n > 4 {
		t.Errorf("asked %d times", n)
	}
}

// A hub that has no UDP says so by its answer; nobody waits for it.
func TestOnlyTURN(t *testing.T) {
	c := newClinic(t, false)
	var way Way
	stop := c.session(t, &way)
	if n := c.turn.Counts(); !way.Behind() || n.Allocations != 2 {
		t.Errorf("behind %v, %+v", way.Behind(), n)
	}
	stop()
}

// Without a way the error says what to look at.
func TestNoWay(t *testing.T) {
	c := newClinic(t, false)
	c.ln.Close()
	err := Watch(t.Context(), WatchOptions{Endpoint: c.url + "/v1/whep/otoscope", Token: "good", HTTP: c.Client, Turn: Turn{Dial: c.dial}, OnFrame: func(Frame) {}})
	if !errors.Is(err, ErrFailed) {
		t.Error(err)
	}
}

// Addresses of the exchange are told only to who can use them, and the cart's own address not to the TURN server's users.
func TestOffersAndAnswers(t *testing.T) {
	c := newClinic(t, true)
	post := func(sdp string) string {
		req, err := http.NewRequest(http.MethodPost, c.url+"/v1/whep/a", strings.NewReader(sdp))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer good")
		req.Header.Set("Content-Type", "application/sdp")
		res, err := c.Client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if len(iceServers(res.Header)) != 1 || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%v", res.Header)
		}
		b := make([]byte, 1<<16)
		n, _ := res.Body.Read(b)
		return string(b[:n])
	}
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	defer pc.GracefulClose()
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		t.Fatal(err)
	}
	o, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	if a := post(o.SDP); strings.Contains(a, "192.0.0.8") || !strings.Contains(a, "127.0.0.1") {
		t.Errorf("a plain offer is answered\n%s", a)
	}
	if a := post(o.SDP + "a=candidate:1 1 udp 16777215 192.0.0.8 1024 typ relay raddr 0.0.0.0 rport 0\r\n"); !strings.Contains(a, "192.0.0.8 443 typ host") || !strings.Contains(a, "127.0.0.1") {
		t.Errorf("one with a relayed address is answered\n%s", a)
	}
	for _, auth := range []string{"", "Bearer bad"} {
		req, err := http.NewRequest(http.MethodOptions, c.url+"/v1/whep/a", nil)
		if err != nil {
			t.Fatal(err)
		}
		if auth != "" {
			req.Header.Set("Authorization", auth)
		}
		res, err := c.Client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 204 || res.Header.Get("Link") != "" {
			t.Errorf("%q: %d %v", auth, res.StatusCode, res.Header)
		}
	}
}

var links = []struct {
	header string
	want   []webrtc.ICEServer
}{
	// RFC 9725 4.6, figure 7, but for TURN by plain TCP, which a CONNECT proxy or a firewall may well open and read.
	{`<stun:stun.example.net>; rel="ice-server"`, []webrtc.ICEServer{{URLs: []string{"stun:stun.example.net"}}}},
	{`<turn:turn.example.net?transport=udp>; rel="ice-server"; username="user"; credential="myPassword"; credential-type="password"`,
		[]webrtc.ICEServer{{URLs: []string{"turn:turn.example.net?transport=udp"}, Username: "user", Credential: "myPassword"}}},
	{`<turn:turn.example.net?transport=tcp>; rel="ice-server"; username="user"; credential="myPassword"; credential-type="password"`, nil},
	{`<turns:turn.example.net?transport=tcp>; rel="ice-server"; username="user"; credential="myPassword"; credential-type="password"`,
		[]webrtc.ICEServer{{URLs: []string{"turns:turn.example.net?transport=tcp"}, Username: "user", Credential: "myPassword"}}},
	// RFC 8288 3: several in one, quoting, order, tokens, other relations.
	{`<https://x.example/>; rel=next; title="a, <b>; rel=ice-server", <turns:h>;credential="q\"\\p";REL=ICE-Server ; username=u,<stun:s>;rel="ice-server"`,
		[]webrtc.ICEServer{{URLs: []string{"turns:h"}, Username: "u", Credential: `q"\p`}, {URLs: []string{"stun:s"}}}},
	{`<turns:h>; rel="ice-server"; username="u"`, nil},
	{`<turns:h>; rel="ice-server"; rel="x"; username="u"; username="v"; credential="c"`, []webrtc.ICEServer{{URLs: []string{"turns:h"}, Username: "u", Credential: "c"}}},
	{`<turns:h`, nil},
	{`<turns:h>; rel="ice-server`, nil},
	{`<turns:h>; rel="ice-server\`, nil},
	{`<stun:>; rel="ice-server"`, nil},
	{`<stun:h>; crossorigin; rel="ice-server"`, []webrtc.ICEServer{{URLs: []string{"stun:h"}}}},
	{strings.Repeat(`<stun:h>;rel=ice-server,`, 50), slices.Repeat([]webrtc.ICEServer{{URLs: []string{"stun:h"}}}, maxServers)},
	{strings.Repeat(`<stun:h>;rel=ice-server,`, 100), nil}, // beyond all reason
}

func TestLinks(t *testing.T) {
	for _, l := range links {
		if diff := cmp.Diff(l.want, iceServers(http.Header{"Link": {l.header}})); diff != "" {
			t.Errorf("%s\n%s", l.header, diff)
		}
	}
}

func FuzzLinks(f *testing.F) {
	for _, l := range links {
		f.Add(l.header)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out := iceServers(http.Header{"Link": {s, s}})
		if len(out) > maxServers {
			t.Fatalf("%d servers", len(out))
		}
		pc, err := webrtc.NewPeerConnection(webrtc.Configuration{ICEServers: out})
		if err != nil {
			t.Fatalf("%+v: %v", out, err)
		}
		pc.Close()
		for _, o := range out {
			if len(o.URLs) != 1 || !strings.HasPrefix(o.URLs[0], "stun:") && (o.Username == "" || o.Credential == "") {
				t.Fatalf("%+v", o)
			}
		}
	})
}
