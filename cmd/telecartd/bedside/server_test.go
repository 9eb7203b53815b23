package bedside

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"telecart/capture/ledger"
	"telecart/device"
	"telecart/device/kit"
	"telecart/uplink/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cart is everything behind the page.
type cart struct {
	mu    sync.Mutex
	state int

	ticks   chan struct{}
	pieces  chan device.Samples
	inputs  chan device.Input
	sounds  chan device.Sound
	command func(ctx context.Context, verb string, args json.RawMessage) (any, error)
	frames  chan device.Frame
	views   chan string // "open", "close"
	gone    bool
}

func (c *cart) State() (json.RawMessage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return json.RawMessage(fmt.Sprint(c.state)), nil
}

func (c *cart) change() {
	c.mu.Lock()
	c.state++
	c.mu.Unlock()
	select {
	case c.ticks <- struct{}{}:
	default:
	}
}

func (c *cart) Command(ctx context.Context, verb string, args json.RawMessage) (any, error) {
	return c.command(ctx, verb, args)
}
func (c *cart) Changed() (<-chan struct{}, func())       { return c.ticks, func() {} }
func (c *cart) Samples() (<-chan device.Samples, func()) { return c.pieces, func() {} }
func (c *cart) Inputs() (<-chan device.Input, func())    { return c.inputs, func() {} }
func (c *cart) Camera(name string) (device.Camera, bool) { return c, name == "room camera" }
func (c *cart) Microphone(name string) (device.Microphone, bool) {
	return microphone{c}, name == "stethoscope"
}
func (c *cart) Run(context.Context) error { return nil }
func (c *cart) Watch() device.View        { c.views <- "open"; return view{c} }
func (c *cart) Review(h ledger.Hash) (string, []byte, bool) {
	return "image/jpeg", []byte("jpeg"), h == ledger.Hash{1}
}

type view struct{ c *cart }

func (v view) Close() { v.c.views <- "close" }
func (v view) Next(ctx context.Context) (device.Frame, error) {
	if v.c.gone {
		return device.Frame{}, device.ErrGone
	}
	select {
	case f := <-v.c.frames:
		return f, nil
	case <-ctx.Done():
		return device.Frame{}, ctx.Err()
	}
}

// page is the server with a browser that has the cookie.
type page struct {
	t     *testing.T
	cart  *cart
	s     *Server
	srv   *httptest.Server
	http  *http.Client
	drawn chan time.Duration
}

func newPage(t *testing.T, clock kit.Clock) *page {
	t.Helper()
	c := &cart{ticks: make(chan struct{}, 1), pieces: make(chan device.Samples), inputs: make(chan device.Input), sounds: make(chan device.Sound), frames: make(chan device.Frame), views: make(chan string, 1000)}
	p := &page{t: t, cart: c, drawn: make(chan time.Duration, 8)}
	p.srv = httptest.NewUnstartedServer(nil)
	p.s = New(p.srv.Listener.Addr().String(), Options{Nurse: c, Instruments: c, JPEG: func(f device.Frame) (device.Frame, error) { return f, nil },
		Problem: func(err error) *wire.Problem { return wire.NewProblem(409, "no", "No", err.Error()) }, Clock: clock, Log: slog.New(slog.DiscardHandler),
		Drawn: func(d time.Duration) { p.drawn <- d }})
	p.srv.Config.Handler = p.s.Handler()
	p.srv.Start()
	jar, _ := cookiejar.New(nil)
	p.http = &http.Client{Jar: jar, Transport: &http.Transport{}}
	t.Cleanup(func() { p.http.CloseIdleConnections(); p.srv.Close() })
	resp, err := p.http.Get(p.s.URL())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 || resp.Request.URL.RawQuery != "" {
		t.Fatalf("%s at %s", resp.Status, resp.Request.URL)
	}
	return p
}

func (p *page) dial(path string) *websocket.Conn {
	p.t.Helper()
	ws, _, err := websocket.Dial(p.t.Context(), p.srv.URL+path, &websocket.DialOptions{HTTPClient: p.http})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { ws.CloseNow() })
	return ws
}

func next[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(20 * time.Second):
		t.Fatal("in vain: ", what)
	}
	return v
}

// message is any of what the server says.
type message struct {
	State   *int            `json:"state"`
	Samples *samples        `json:"samples"`
	Input   *input          `json:"input"`
	Reply   *int            `json:"reply"`
	OK      bool            `json:"ok"`
	Problem *wire.Problem   `json:"problem"`
	Result  json.RawMessage `json:"result"`
}

func hear(t *testing.T, ws *websocket.Conn, is func(message) bool) message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		_, b, err := ws.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var m message
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if is(m) {
			return m
		}
	}
}

func say(t *testing.T, ws *websocket.Conn, s string) {
	t.Helper()
	if err := ws.Write(t.Context(), websocket.MessageText, []byte(s)); err != nil {
		t.Fatal(err)
	}
}

func TestDoor(t *testing.T) {
	p := newPage(t, kit.System{})
	addr := strings.TrimPrefix(p.srv.URL, "http://")
	_, port, _ := strings.Cut(addr, ":")
	good := "telecart=" + p.s.secret
	for _, c := range []struct {
		name, path, host, origin, cookie string
		status                           int
		code                             string
	}{
		{"as it should be", "/api/review/" + ledger.Hash{1}.String(), addr, "", good, 200, ""},
		{"with its origin", "/api/review/" + ledger.Hash{1}.String(), addr, p.srv.URL, good, 200, ""},
		{"another name of this machine", "/", "localhost:" + port, "", good, 403, "wrong-host"},
		{"a name that was bent to this machine", "/", "evil.example:" + port, "", good, 403, "wrong-host"},
		{"no port", "/", "127.0.0.1", "", good, 403, "wrong-host"},
		{"another site", "/", addr, "http://evil.example", good, 403, "wrong-host"},
		{"another port's page", "/", addr, "http://127.0.0.1:1", good, 403, "wrong-host"},
		{"another scheme", "/", addr, "https://" + addr, good, 403, "wrong-host"},
		{"a sandboxed page", "/", addr, "null", good, 403, "wrong-host"},
		{"no cookie", "/", addr, "", "", 401, "no-secret"},
		{"another cookie", "/", addr, "", "telecart=" + strings.Repeat("0", 32), 401, "no-secret"},
		{"half a cookie", "/", addr, "", good[:len(good)-1], 401, "no-secret"},
		{"a wrong key", "/?k=" + strings.Repeat("0", 32), addr, "", "", 401, "no-secret"},
		{"an empty key", "/?k=", addr, "", "", 401, "no-secret"},
		{"the key, but another host", "/?k=" + p.s.secret, "evil.example", "", "", 403, "wrong-host"},
		{"the key, but another origin", "/?k=" + p.s.secret, addr, "http://evil.example", "", 403, "wrong-host"},
		{"the socket without a cookie", "/api/ws", addr, "", "", 401, "no-secret"},
		{"a picture without a cookie", "/api/picture/room%20camera", addr, "", "", 401, "no-secret"},
		{"no such camera", "/api/picture/none", addr, "", good, 404, "no-camera"},
		{"no item", "/api/review/xyz", addr, "", good, 400, "bad-argument"},
		{"an item that is not in memory", "/api/review/" + ledger.Hash{2}.String(), addr, "", good, 404, "not-in-memory"},
		{"outside", "/../../etc/passwd", addr, "", good, 404, ""},
	} {
		r, err := http.NewRequest(http.MethodGet, p.srv.URL+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = c.host
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		if c.cookie != "" {
			r.Header.Set("Cookie", c.cookie)
		}
		resp, err := p.http.Transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		var problem wire.Problem
		if c.code != "" {
			json.NewDecoder(resp.Body).Decode(&problem)
		}
		resp.Body.Close()
		if resp.StatusCode != c.status && !(c.status == 404 && resp.StatusCode < 400 && resp.StatusCode >= 300) || problem.Code != c.code {
			t.Errorf("%s: %s %q", c.name, resp.Status, problem.Code)
		}
		h := resp.Header
		if h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
			t.Errorf("%s: %v", c.name, h)
		}
		if strings.Contains(fmt.Sprint(h), p.s.secret) {
			t.Errorf("%s: the secret is in the answer", c.name)
		}
	}
}

func TestSecret(t *testing.T) {
	p := newPage(t, kit.System{})
	r := httptest.NewRequest(http.MethodGet, p.s.URL(), nil)
	w := httptest.NewRecorder()
	p.s.Handler().ServeHTTP(w, r)
	c := w.Result().Cookies()
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/" || len(c) != 1 || c[0].Value != p.s.secret || !c[0].HttpOnly ||
		c[0].SameSite != http.SameSiteStrictMode || c[0].MaxAge != 0 || len(p.s.secret) != 32 {
		t.Errorf("%d %v", w.Code, c)
	}
	if a, b := New("x", Options{}), New("x", Options{}); a.secret == b.secret {
		t.Error("two starts have one secret")
	}
	_, resp, err := websocket.Dial(t.Context(), p.srv.URL+"/api/ws", &websocket.DialOptions{HTTPClient: p.http, HTTPHeader: http.Header{"Origin": {"http://evil.example"}}})
	if err == nil || resp.StatusCode != http.StatusForbidden {
		t.Error("another site's page opens the socket")
	}
}

// The state goes out at once, when it changes, and once a second; never more often than stateEvery.
func TestState(t *testing.T) {
	clock := kit.NewManual(time.Unix(1_700_000_000, 0))
	p := newPage(t, clock)
	ws := p.dial("/api/ws")
	state := func(m message) bool { return m.State != nil }
	if m := hear(t, ws, state); *m.State != 0 {
		t.Errorf("%d", *m.State)
	}
	clock.AwaitWaiters(2) // the second, the gap
	for range 5 {
		p.cart.change()
	}
	p.cart.pieces <- device.Samples{Quantity: "pleth", RateHz: 75, Values: []int32{1, 2}, Instrument: device.Identity{Name: "oximeter"}}
	if m := hear(t, ws, func(m message) bool { return m.State != nil || m.Samples != nil }); m.Samples == nil || m.Samples.Instrument != "oximeter" || len(m.Samples.Values) != 2 {
		t.Error("the state went out within the gap")
	}
	clock.Advance(stateEvery)
	if m := hear(t, ws, state); *m.State != 5 {
		t.Errorf("%d, not the latest", *m.State)
	}
	clock.AwaitWaiters(2)
	clock.Advance(time.Second)
	hear(t, ws, state) // the clock on the screen

	p.cart.inputs <- device.Input{Act: device.Scanned, Text: "ABC-1234", Instrument: device.Identity{Name: "scanner"}}
	m := hear(t, ws, func(m message) bool { return m.Input != nil })
	if *m.Input != (input{Instrument: "scanner", Act: "scanned", Text: "ABC-1234"}) {
		t.Errorf("%+v", m.Input)
	}
}

func TestCommands(t *testing.T) {
	p := newPage(t, kit.System{})
	slow := make(chan struct{})
	finished := make(chan error, 1)
	p.cart.command = func(ctx context.Context, verb string, args json.RawMessage) (any, error) {
		switch verb {
		case "clip":
			<-slow
			finished <- ctx.Err()
			return nil, nil
		case "fail":
			return nil, errors.New("because")
		}
		var in struct{ Text string }
		err := json.Unmarshal(args, &in)
		return map[string]string{"said": in.Text}, err
	}
	ws := p.dial("/api/ws")
	reply := func(m message) bool { return m.Reply != nil }
	say(t, ws, `{"id":1,"verb":"clip"}`)
	say(t, ws, `{"id":2,"verb":"note","text":"x"}`) // does not wait for the clip
	if m := hear(t, ws, reply); *m.Reply != 2 || !m.OK || string(m.Result) != `{"said":"x"}` || m.Problem != nil {
		t.Errorf("%+v", m)
	}
	say(t, ws, `{"id":3,"verb":"fail"}`)
	if m := hear(t, ws, reply); *m.Reply != 3 || m.OK || m.Problem == nil || m.Problem.Code != "no" {
		t.Errorf("%+v", m)
	}
	// The page goes away; what the nurse asked for is finished all the same.
	ws.CloseNow()
	close(slow)
	if err := next(t, "the clip", finished); err != nil {
		t.Errorf("the clip was given up: %v", err)
	}
}

// A page that asks for too much at once waits; one that sends too much is cut off.
func TestCommandsAreBounded(t *testing.T) {
	p := newPage(t, kit.System{})
	begun, release := make(chan string, 100), make(chan struct{})
	p.cart.command = func(_ context.Context, verb string, _ json.RawMessage) (any, error) {
		begun <- verb
		<-release
		return nil, nil
	}
	ws := p.dial("/api/ws")
	for i := range commandsAtOnce + 4 {
		say(t, ws, fmt.Sprintf(`{"id":%d,"verb":"clip"}`, i))
	}
	for range commandsAtOnce {
		next(t, "command", begun)
	}
	hear(t, ws, func(m message) bool { return m.State != nil })
	if len(begun) != 0 {
		t.Errorf("more than %d at once", commandsAtOnce)
	}
	close(release)
	for range 4 {
		next(t, "the rest", begun)
	}
	for _, bad := range []string{"no json", `{"id":1,"verb":"` + strings.Repeat("x", maxCommand) + `"}`} {
		ws := p.dial("/api/ws")
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		ws.Write(ctx, websocket.MessageText, []byte(bad))
		var err error
		for err == nil {
			_, _, err = ws.Read(ctx)
		}
		if ctx.Err() != nil {
			t.Errorf("%.20q: the page was not cut off", bad)
		}
		cancel()
	}
}

// One picture is on its way at a time; the next goes when the page has drawn it; the lens closes with the page.
func TestPicture(t *testing.T) {
	p := newPage(t, kit.System{})
	ws := p.dial("/api/picture/room%20camera")
	if got := next(t, "view", p.cart.views); got != "open" {
		t.Fatal(got)
	}
	at := time.UnixMicro(1_700_000_000_000_123)
	frame := func(s string) device.Frame {
		return device.Frame{Format: device.MJPEG, Data: []byte(s), At: kit.Stamp{Wall: at}}
	}
	p.cart.frames <- frame("one")
	kind, b, err := ws.Read(t.Context())
	if err != nil || kind != websocket.MessageBinary || binary.BigEndian.Uint64(b) != uint64(at.UnixMicro()) || string(b[8:]) != "one" {
		t.Fatalf("%v %q %v", kind, b, err)
	}
	taken := make(chan struct{})
	go func() { p.cart.frames <- frame("two"); close(taken) }()
	select {
	case <-taken:
		t.Error("a second picture was taken while the first is on its way")
	default:
	}
	say(t, ws, fmt.Sprintf("%d %d", at.UnixMicro(), at.UnixMicro()+42_000))
	if d := next(t, "drawn", p.drawn); d != 42*time.Millisecond {
		t.Error(d)
	}
	next(t, "taken", taken)
	if _, b, err := ws.Read(t.Context()); err != nil || string(b[8:]) != "two" {
		t.Errorf("%q %v", b, err)
	}
	say(t, ws, "nonsense") // drawn, though nobody knows when
	ws.CloseNow()
	if got := next(t, "view", p.cart.views); got != "close" || len(p.drawn) != 0 {
		t.Error(got)
	}
}

// A page that goes away while its camera is unplugged leaves nothing running (goleak says so at the end).
func TestPictureOfAnUnpluggedCamera(t *testing.T) {
	clock := kit.NewManual(time.Unix(1_700_000_000, 0))
	p := newPage(t, clock)
	p.cart.gone = true
	ws := p.dial("/api/picture/room%20camera")
	for range 3 {
		if a, b := next(t, "view", p.cart.views), next(t, "view", p.cart.views); a != "open" || b != "close" {
			t.Fatal(a, b)
		}
		clock.AwaitWaiters(1)
		clock.Advance(200 * time.Millisecond)
	}
	ws.CloseNow()
}
