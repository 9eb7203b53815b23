package identity

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"telecart/device/kit"
)

// proxy is a CONNECT proxy that answers as it is told, and tunnels after "200".
type proxy struct {
	ln     net.Listener
	answer string

	mu    sync.Mutex
	asked []string
	auth  string
}

func newProxy(t *testing.T, answer string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ln: ln, answer: answer}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() { ln.Close(); all.Wait() })
	return p
}

func (p *proxy) serve(c net.Conn) {
	defer c.Close()
	req, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return
	}
	p.mu.Lock()
	p.asked, p.auth = append(p.asked, req.Method+" "+req.Host), req.Header.Get("Proxy-Authorization")
	p.mu.Unlock()
	io.WriteString(c, p.answer)
	if !strings.Contains(p.answer, " 200 ") {
		return
	}
	up, err := net.Dial("tcp", req.Host)
	if err != nil {
		return
	}
	done := make(chan struct{})
	go func() { defer close(done); io.Copy(up, c); up.Close() }()
	io.Copy(c, up)
	c.Close()
	<-done
}

func (p *proxy) find(*http.Request) (*url.URL, error) {
	return &url.URL{Scheme: "http", Host: p.ln.Addr().String(), User: url.UserPassword("cart", "secret")}, nil
}

// speaks says whether HTTP passes: the hub of these tests has no TURN server.
func speaks(t *testing.T, c net.Conn) {
	t.Helper()
	defer c.Close()
	if _, err := io.WriteString(c, "GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); err != nil || !strings.Contains(string(b), " 404 ") {
		t.Errorf("%q %v", b, err)
	}
}

func TestDialTurn(t *testing.T) {
	h := newHub(t, kit.NewManual(start))
	c := h.enrolled()
	const turn = "turn.hub.example:443" // its port is not the hub's, and it is in no DNS
	conn, err := c.DialTurn(t.Context(), turn)
	if err != nil {
		t.Fatal(err)
	}
	speaks(t, conn)

	p := newProxy(t, "HTTP/1.1 200 Connection established\r\n\r\n")
	c.Proxy = p.find
	if conn, err = c.DialTurn(t.Context(), turn); err != nil {
		t.Fatal(err)
	}
	speaks(t, conn)
	if want := "CONNECT " + h.address; len(p.asked) != 1 || p.asked[0] != want || p.auth != "Basic Y2FydDpzZWNyZXQ=" {
		t.Errorf("asked %q with %q, want %q", p.asked, p.auth, want)
	}
	// Another server's name goes to that server, and is not trusted by the hub's root.
	c.Proxy = nil
	if conn, err = c.DialTurn(t.Context(), h.address); err == nil {
		conn.Close()
		t.Error("the hub was taken for another server")
	}
}

func TestDialTurnRefused(t *testing.T) {
	h := newHub(t, kit.NewManual(start))
	stranger := newHub(t, kit.NewManual(start))
	c := h.enrolled()
	through := func(answer string) func(*http.Request) (*url.URL, error) { return newProxy(t, answer).find }
	for name, x := range map[string]struct {
		proxy func(*http.Request) (*url.URL, error)
		want  string
	}{
		"it says no":      {through("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"), "it answered 403 Forbidden to CONNECT"},
		"it wants a name": {through("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"), "407"},
		"it talks on":     {through("HTTP/1.1 200 OK\r\n\r\nHello"), "more than was asked"},
		"it babbles":      {through("HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 20)), "unexpected EOF"},
		"it is no proxy":  {through("220 mail.example ESMTP\r\n"), "malformed HTTP"},
		"it hangs up":     {through(""), "EOF"},
		"it is of another kind": {func(*http.Request) (*url.URL, error) { return url.Parse("socks5://127.0.0.1:1080") },
			"http:// proxies only"},
		"nobody knows": {func(*http.Request) (*url.URL, error) { return nil, errors.New("no idea") }, "no idea"},
		"it leads to another hub": {func(*http.Request) (*url.URL, error) {
			p := newProxy(t, "HTTP/1.1 200 OK\r\n\r\n")
			return p.find(nil)
		}, ""},
	} {
		c.Proxy = x.proxy
		if x.want == "" {
			c.state.HubAddress = stranger.address
			x.want = ErrNotHub.Error()
		}
		conn, err := c.DialTurn(t.Context(), "turn.hub.example:443")
		if err == nil {
			conn.Close()
		}
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
		c.state.HubAddress = h.address
	}
	c.Proxy = nil
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.DialTurn(over, "turn.hub.example:443"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := c.DialTurn(t.Context(), "turn.hub.example"); err == nil {
		t.Error("no port, no error")
	}
	if _, err := openCart(t, t.TempDir(), h.clock).DialTurn(t.Context(), "turn.hub.example:443"); !errors.Is(err, ErrNotEnrolled) {
		t.Error(err)
	}
}

// A proxy that never answers does not outlive the caller's patience.
func TestDialTurnSilentProxy(t *testing.T) {
	c := newHub(t, kit.NewManual(start)).enrolled()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(fmt.Sprintf("http://%s", ln.Addr())) }
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		conn, err := ln.Accept()
		if err == nil {
			defer conn.Close()
			http.ReadRequest(bufio.NewReader(conn))
		}
		cancel() // once it has asked
	}()
	if _, err := c.DialTurn(ctx, "turn.hub.example:443"); err == nil {
		t.Error("connected")
	}
}
