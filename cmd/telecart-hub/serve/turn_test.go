package serve

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"image"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"telecart/device"
	"telecart/device/camera"
	"telecart/device/kit"
	"telecart/uplink/link"
	"telecart/uplink/live"
	"telecart/uplink/live/h264dec"
)

// onlyConnect is a proxy that lets out CONNECT to one address, as a clinic's does that lets only HTTPS out.
type onlyConnect struct {
	ln net.Listener
	to string

	mu      sync.Mutex
	tunnels int
	others  []string // what else was asked
}

func newOnlyConnect(t *testing.T, to string) *onlyConnect {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &onlyConnect{ln: ln, to: to}
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

func (p *onlyConnect) serve(c net.Conn) {
	defer c.Close()
	req, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return
	}
	p.mu.Lock()
	ok := req.Method == http.MethodConnect && req.Host == p.to
	if p.tunnels++; !ok {
		p.others = append(p.others, req.Method+" "+req.Host)
	}
	p.mu.Unlock()
	up, err := net.Dial("tcp", p.to)
	if err != nil || !ok {
		io.WriteString(c, "HTTP/1.1 403 Forbidden\r\n\r\n")
		return
	}
	defer up.Close()
	io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	done := make(chan struct{})
	go func() { defer close(done); io.Copy(up, c); up.Close() }()
	io.Copy(c, up)
	c.Close()
	<-done
}

// outlet hears that an instrument is there.
type outlet struct{ live chan struct{} }

func (o outlet) Observe(x device.Observation) {
	if h, ok := x.(device.Health); ok && h.State == device.Live {
		select {
		case o.live <- struct{}{}:
		default:
		}
	}
}

// twinCamera runs until the test ends.
func twinCamera(t *testing.T) device.Camera {
	t.Helper()
	out := outlet{make(chan struct{}, 1)}
	made, err := camera.Driver().New(device.Settings{Name: "scope", Port: "twin", Clock: kit.System{}, Stamp: kit.NewStamper(kit.System{}, nil),
		Options: map[string]string{"width": "320", "height": "240", "fps": "15", "name": "room"}}, out)
	if err != nil {
		t.Fatal(err)
	}
	run(t, func(ctx context.Context) error { made.Run(ctx); return nil })
	<-out.live
	return made.(device.Camera)
}

// run runs f until the test ends; it must not fail.
func run(t *testing.T, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// browser trusts the hub's root as somebody's browser would that had it installed.
func (h *running) browser() *tls.Config {
	h.t.Helper()
	pem, err := os.ReadFile(filepath.Join(h.state, "ca", "root.pem"))
	if err != nil {
		h.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		h.t.Fatal("no root")
	}
	return &tls.Config{RootCAs: pool, ServerName: "turn." + hubName}
}

// A hub and a clinic that lets only HTTPS out, and that only through a proxy: the picture arrives and moves.
func TestOnlyHTTPSOut(t *testing.T) {
	state := initState(t)
	if err := AddUser(t.Context(), state, UserRequest{Tenant: "north", Name: "ada", Display: "Dr. ada", Role: "specialist", Password: password}); err != nil {
		t.Fatal(err)
	}
	h := startMedia(t, state, noMedia)
	c := h.enrol(t.TempDir())
	proxy := newOnlyConnect(t, h.https)
	c.id.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: proxy.ln.Addr().String()})
	c.dial()
	c.send(presence(c.visit))
	c.send(link.Message{Call: &link.Call{Encounter: c.visit, Reason: "rash"}})
	ada := h.signIn("ada")
	ada.until(`"calling":{"reason":"rash"`)
	ada.say(`{"id":2,"verb":"offer","cart":"cart-1"}`)
	consult := c.until(consulting).Desired.Consult
	stream := consult.Publish[0]
	cam := twinCamera(t)
	var way live.Way
	run(t, func(ctx context.Context) error {
		return live.Publish(ctx, live.Options{Endpoint: "https://carts." + hubName + stream.Endpoint, Token: stream.Token, HTTP: c.http, Camera: cam, Decode: camera.Decode,
			Bitrate: 300_000, Width: 320, Height: 240, Turn: live.Turn{Dial: c.id.DialTurn, Way: &way}})
	})
	ada.say(fmt.Sprintf(`{"id":3,"verb":"watch","consult":%q,"instrument":"scope"}`, consult.ID))
	var reply struct {
		Result struct{ Endpoint, Token string }
	}
	if err := json.Unmarshal([]byte(ada.until(`"reply":3`)), &reply); err != nil {
		t.Fatal(err)
	}
	pictures := make(chan image.YCbCr, 1000)
	dec, err := h264dec.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dec.Close)
	dial := func(ctx context.Context, address string) (net.Conn, error) {
		if host, _, _ := net.SplitHostPort(address); host != "turn."+hubName {
			return nil, fmt.Errorf("told to go to %s", address)
		}
		return (&tls.Dialer{Config: h.browser()}).DialContext(ctx, "tcp", h.https)
	}
	run(t, func(ctx context.Context) error {
		return live.Watch(ctx, live.WatchOptions{Endpoint: "http://" + h.people + reply.Result.Endpoint, Token: reply.Result.Token, Turn: live.Turn{Dial: dial}, OnFrame: func(f live.Frame) {
			if p, err := dec.Decode(f.Data); err == nil {
				q := *p
				q.Y = bytes.Clone(p.Y)
				pictures <- q
			}
		}})
	})
	first := picture(t, pictures)
	for n := 0; n < 10; {
		if p := picture(t, pictures); !bytes.Equal(p.Y, first.Y) {
			n++
		}
	}
	if !way.Behind() {
		t.Error("not by TURN")
	}
	proxy.mu.Lock()
	if proxy.tunnels < 2 || len(proxy.others) > 0 {
		t.Errorf("%d tunnels, and %q", proxy.tunnels, proxy.others)
	}
	proxy.mu.Unlock()
	h.stop()
	for _, secret := range []string{stream.Token, reply.Result.Token, "credential"} {
		if strings.Contains(h.log.String(), secret) {
			t.Errorf("the log says %q", secret)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func picture(t *testing.T, c <-chan image.YCbCr) image.YCbCr {
	t.Helper()
	select {
	case p := <-c:
		return p
	case <-time.After(30 * time.Second):
		t.Fatal("no picture")
		return image.YCbCr{}
	}
}

// One address, told apart by name: HTTP/2 and HTTP/1.1 for people, TURN at turn.NAME, and words for who forgot the s.
func TestNames(t *testing.T) {
	h := start(t, initState(t))
	config := h.browser()
	config.ServerName = hubName
	for _, proto := range []string{"h2", "http/1.1"} {
		config.NextProtos = []string{proto}
		tr := &http.Transport{TLSClientConfig: config.Clone(), ForceAttemptHTTP2: proto == "h2", DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, h.https)
		}}
		resp, err := (&http.Client{Transport: tr}).Get("https://" + hubName + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		tr.CloseIdleConnections()
		if resp.StatusCode != 200 || resp.TLS.NegotiatedProtocol != proto {
			t.Errorf("%s: %s by %s", proto, resp.Status, resp.Proto)
		}
	}
	// STUN by any protocol or none (RFC 7443); an address for an answer to a Binding request (RFC 8489, 7.3.1).
	for _, alpn := range [][]string{nil, {"stun.turn"}} {
		config := h.browser()
		config.NextProtos = alpn
		conn, err := tls.Dial("tcp", h.https, config)
		if err != nil {
			t.Fatal(err)
		}
		conn.Write([]byte("\x00\x01\x00\x00\x21\x12\xa4\x42twelve bytes"))
		b := make([]byte, 20)
		if _, err := io.ReadFull(conn, b); err != nil || b[0] != 1 || b[1] != 1 {
			t.Errorf("%v: %x %v", alpn, b, err)
		}
		if len(conn.ConnectionState().VerifiedChains) == 0 {
			t.Error("not verified")
		}
		conn.Close()
	}
	conn, err := net.Dial("tcp", h.https)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if b, _ := io.ReadAll(conn); !strings.Contains(string(b), "https://") {
		t.Errorf("%q", b)
	}
	conn.Close()
}

// Who begins many handshakes and ends none keeps nobody out.
func TestHandshakesAreBounded(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := newNames(ln, &tls.Config{}, "turn.x", nil, kit.System{}, discard(nil))
	n.mu.Lock()
	n.most = 3
	n.mu.Unlock()
	var idle []net.Conn
	for range 4 {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		idle = append(idle, c)
	}
	idle[0].SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := idle[0].Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the oldest: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	n.wait()
	if _, err := n.Accept(); err != net.ErrClosed {
		t.Error(err)
	}
}
