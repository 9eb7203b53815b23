package room

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"

	"telecart/device/kit"
	"telecart/uplink/live/peer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, clock kit.Clock) *Room {
	t.Helper()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(Options{UDP: udp, Clock: clock, Authorize: func(_ context.Context, token, stream string, a Action) error {
		switch {
		case token != "good":
			return ErrToken
		case stream == "secret":
			return errors.New("not yours")
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// offer is a real one of a publisher or viewer that never connects.
func offer(t testing.TB, d webrtc.RTPTransceiverDirection, kinds ...webrtc.RTPCodecType) string {
	t.Helper()
	api, err := peer.New(peer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	defer pc.GracefulClose()
	for _, k := range kinds {
		if _, err := pc.AddTransceiverFromKind(k, webrtc.RTPTransceiverInit{Direction: d}); err != nil {
			t.Fatal(err)
		}
	}
	o, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	return o.SDP
}

type call struct {
	method, path, auth, kind, body, match string
}

func (c call) do(h http.Handler) *httptest.ResponseRecorder {
	req := httptest.NewRequest(c.method, "http://room"+c.path, strings.NewReader(c.body))
	if c.auth != "" {
		req.Header.Set("Authorization", c.auth)
	}
	req.Header.Set("Content-Type", c.kind)
	if c.match != "" {
		req.Header.Set("If-Match", c.match)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

// voiding is a body during whose reading the token ends.
type voiding struct {
	io.Reader
	void func()
}

func (v voiding) Read(b []byte) (int, error) { v.void(); return v.Reader.Read(b) }

func TestTokenVoidedWhileTheOfferComes(t *testing.T) {
	r := open(t, nil)
	allow, void := r.o.Authorize, false
	r.o.Authorize = func(ctx context.Context, token, stream string, a Action) error {
		if void {
			return ErrToken
		}
		return allow(ctx, token, stream, a)
	}
	sdp := offer(t, webrtc.RTPTransceiverDirectionRecvonly, webrtc.RTPCodecTypeVideo)
	req := httptest.NewRequest("POST", "http://room/v1/whep/a", voiding{strings.NewReader(sdp), func() { void = true; r.KickToken("good") }})
	req.Header.Set("Authorization", "Bearer good")
	req.Header.Set("Content-Type", "application/sdp")
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, req)
	if w.Code != 401 || !strings.Contains(w.Body.String(), "token-invalid") {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if s := r.Streams(); len(s) != 0 {
		t.Fatalf("%+v", s)
	}
}

func TestProblems(t *testing.T) {
	r := open(t, nil)
	h := r.Handler()
	send, video := webrtc.RTPTransceiverDirectionSendonly, webrtc.RTPCodecTypeVideo
	good := offer(t, send, video)
	const auth, kind = "Bearer good", "application/sdp"
	for name, c := range map[string]struct {
		call
		status int
		code   string
	}{
		"another address":  {call{"POST", "/v1/other/a", auth, kind, good, ""}, 404, "not-found"},
		"odd stream name":  {call{"POST", "/v1/whip/a%20b", auth, kind, good, ""}, 404, "not-found"},
		"long stream name": {call{"POST", "/v1/whip/" + strings.Repeat("a", 129), auth, kind, good, ""}, 404, "not-found"},
		"GET":              {call{"GET", "/v1/whip/a", auth, kind, "", ""}, 405, "method"},
		"PATCH on a door":  {call{"PATCH", "/v1/whip/a", auth, kind, "", ""}, 405, "method"},
		"no token":         {call{"POST", "/v1/whip/a", "", kind, good, ""}, 401, "token-missing"},
		"another scheme":   {call{"POST", "/v1/whip/a", "Basic good", kind, good, ""}, 401, "token-missing"},
		"bad token":        {call{"POST", "/v1/whip/a", "Bearer bad", kind, good, ""}, 401, "token-invalid"},
		"not allowed":      {call{"POST", "/v1/whip/secret", auth, kind, good, ""}, 403, "not-allowed"},
		"not SDP by type":  {call{"POST", "/v1/whip/a", auth, "text/plain", good, ""}, 415, "content-type"},
		"not SDP":          {call{"POST", "/v1/whip/a", auth, kind, "hello", ""}, 400, "bad-sdp"},
		"too long":         {call{"POST", "/v1/whip/a", auth, kind, strings.Repeat("a", maxBody+1), ""}, 413, "too-large"},
		"nothing in it":    {call{"POST", "/v1/whip/a", auth, kind, "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", ""}, 422, "offer-refused"},
		"no H.264":         {call{"POST", "/v1/whip/a", auth, kind, strings.ReplaceAll(good, "H264", "VP8"), ""}, 422, "offer-refused"},
		"two pictures":     {call{"POST", "/v1/whip/a", auth, kind, offer(t, send, video, video), ""}, 422, "offer-refused"},
		"viewer at whip":   {call{"POST", "/v1/whip/a", auth, kind, offer(t, webrtc.RTPTransceiverDirectionRecvonly, video), ""}, 422, "offer-refused"},
		"publisher at whep": {
			call{"POST", "/v1/whep/a", auth, kind, good, ""}, 422, "offer-refused"},
		"no session": {call{"DELETE", "/v1/whip/a/zzz", auth, "", "", ""}, 404, "no-session"},
	} {
		w := c.do(h)
		var p problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
			t.Errorf("%s: %d, %v", name, w.Code, err)
			continue
		}
		if w.Code != c.status || p.Status != c.status || p.Code != c.code || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %+v, want %d %s", name, w.Code, p, c.status, c.code)
		}
		if (w.Code == 401) != (w.Header().Get("WWW-Authenticate") != "") || (w.Code == 405) != (w.Header().Get("Allow") != "") {
			t.Errorf("%s: headers %v", name, w.Header())
		}
	}
	if s := r.Streams(); len(s) != 0 {
		t.Errorf("refusals left %+v", s)
	}
}

func TestSession(t *testing.T) {
	clock := kit.NewManual(time.Unix(0, 0))
	r := open(t, clock)
	h := r.Handler()
	const auth = "Bearer good"
	o := offer(t, webrtc.RTPTransceiverDirectionSendonly, webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio)
	w := call{"POST", "/v1/whip/a", auth, "application/sdp; charset=utf-8", o, ""}.do(h)
	at, etag := w.Header().Get("Location"), w.Header().Get("ETag")
	if w.Code != 201 || !strings.HasPrefix(at, "/v1/whip/a/") || etag == "" || w.Header().Get("Content-Type") != "application/sdp" {
		t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	for _, want := range []string{"H264/90000", "opus/48000/2", "a=recvonly", "127.0.0.1", "packetization-mode=1;profile-level-id=42e01f"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %q in the answer:\n%s", want, w.Body)
		}
	}
	if strings.Contains(w.Body.String(), "\r\nm=video 0 ") {
		t.Error("the picture was declined")
	}
	mine := "a=mid:0\r\na=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host\r\n"
	const frag = "application/trickle-ice-sdpfrag"
	for _, c := range []struct {
		call
		want int
	}{
		{call{"PATCH", at, auth, frag, mine, etag}, 204},
		{call{"PATCH", at, auth, frag, mine, `"other"`}, 412},
		{call{"PATCH", at, auth, frag, "a=ice-ufrag:new\r\n" + mine, "*"}, 422}, // an ICE restart
		{call{"PATCH", at, auth, frag, "a=candidate:nonsense\r\n", etag}, 400},
		{call{"PATCH", at, auth, frag, strings.Repeat(mine, 40), etag}, 422},
		{call{"PATCH", at, auth, "text/plain", mine, etag}, 415},
		{call{"DELETE", strings.Replace(at, "whip", "whep", 1), auth, "", "", ""}, 404},
		{call{"DELETE", strings.Replace(at, "/a/", "/b/", 1), auth, "", "", ""}, 404},
		{call{"DELETE", at, "Bearer bad", "", "", ""}, 401},
		{call{"DELETE", at, auth, "", "", ""}, 200},
		{call{"DELETE", at, auth, "", "", ""}, 200}, // it is so
		{call{"DELETE", at, "Bearer bad", "", "", ""}, 401},
		{call{"PATCH", at, auth, frag, mine, etag}, 404},
	} {
		if w := c.do(h); w.Code != c.want {
			t.Errorf("%s %s: %d, want %d", c.method, c.body, w.Code, c.want)
		}
	}

	v := call{"POST", "/v1/whep/a", auth, "application/sdp", offer(t, webrtc.RTPTransceiverDirectionRecvonly, webrtc.RTPCodecTypeVideo), ""}.do(h)
	if v.Code != 201 || !strings.Contains(v.Body.String(), "a=sendonly") {
		t.Fatalf("%d %s", v.Code, v.Body)
	}
	if s := r.Streams(); len(s) != 1 || s[0].Publishing {
		t.Errorf("%+v", s)
	}
	// Who never connects does not keep the place.
	r.mu.Lock()
	s := r.sessions[v.Header().Get("Location")[len("/v1/whep/a/"):]]
	r.mu.Unlock()
	clock.AwaitWaiters(2) // the first session's, which is over, and this one's
	clock.Advance(connectTimeout)
	<-s.ctx.Done()
	if n := r.Kick("a"); n != 0 {
		t.Errorf("%d sessions left", n)
	}
}

func TestCORS(t *testing.T) {
	w := call{method: "OPTIONS", path: "/v1/whip/a"}.do(open(t, nil).Handler())
	h := w.Header()
	if w.Code != 204 || h.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(h.Get("Access-Control-Allow-Headers"), "Authorization") ||
		h.Get("Accept-Post") != "application/sdp" || h.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("%d %v", w.Code, h)
	}
}

func TestServe(t *testing.T) {
	if err := ListenAndServe(t.Context(), "127.0.0.1:0", "", nil); err == nil {
		t.Error("a room without a token opened")
	}
	for _, addr := range []string{"127.0.0.1:0", ":0"} {
		serveOnce(t, addr)
	}
}

func serveOnce(t *testing.T, addr string) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, ln, "t", slog.New(slog.DiscardHandler)) }()
	req, err := http.NewRequest("POST", "http://127.0.0.1:"+port+"/v1/whip/a", strings.NewReader(offer(t, webrtc.RTPTransceiverDirectionSendonly, webrtc.RTPCodecTypeVideo)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer t")
	req.Header.Set("Content-Type", "application/sdp")
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	res, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if res.StatusCode != 201 || !strings.Contains(string(b), " "+port+" typ host") {
		t.Errorf("%s, want media on port %s:\n%s", res.Status, port, b)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func FuzzWHIP(f *testing.F) {
	r := open(f, nil)
	h := r.Handler()
	f.Add("POST", "whip/a", "Bearer good", "application/sdp", []byte(offer(f, webrtc.RTPTransceiverDirectionSendonly, webrtc.RTPCodecTypeVideo)))
	f.Add("POST", "whep/a", "Bearer good", "application/sdp", []byte(offer(f, webrtc.RTPTransceiverDirectionRecvonly, webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio)))
	f.Add("POST", "whip/a", "bearer  good", "application/sdp;", []byte("v=0"))
	f.Add("PATCH", "whip/a/b", "Bearer good", "application/trickle-ice-sdpfrag", []byte("a=ice-ufrag:x\r\na=candidate:1 1 udp 1 1.1.1.1 9 typ host\r\n"))
	f.Add("DELETE", "whip/../a", "", "", []byte{0})
	f.Fuzz(func(t *testing.T, method, path, auth, kind string, body []byte) {
		req := httptest.NewRequest("POST", "http://room/", strings.NewReader(string(body)))
		req.Method, req.URL.Path = method, "/v1/"+path
		req.Header.Set("Authorization", auth)
		req.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		switch {
		case w.Code == 500:
			t.Errorf("500: %s", w.Body)
		case w.Code == 201:
			if auth[len("Bearer "):] != "good" || w.Header().Get("Location") == "" {
				t.Errorf("201 for %q", auth)
			}
		case w.Code >= 300 && !json.Valid(w.Body.Bytes()):
			t.Errorf("%d without a problem: %s", w.Code, w.Body)
		}
		r.kick(func(*session) bool { return true })
		if s := r.Streams(); len(s) != 0 {
			t.Errorf("left behind: %+v", s)
		}
	})
}
