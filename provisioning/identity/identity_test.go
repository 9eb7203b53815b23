package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telecart/device/kit"
	"telecart/provisioning/claim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// hub is a real TLS server on loopback.
type hub struct {
	t         *testing.T
	clock     *kit.Manual
	authority *Authority
	claims    *claim.Registry
	register  *Memory
	address   string
	loseReply atomic.Bool // cut the connection after the next enrolment was done
}

func newHub(t *testing.T, clock kit.Clock) *hub {
	t.Helper()
	a, err := NewAuthority(filepath.Join(t.TempDir(), "ca"), clock, "hub.example", "localhost", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	h := &hub{t: t, authority: a, claims: claim.NewRegistry(claim.NewMemory(), clock), register: NewMemory()}
	h.clock, _ = clock.(*kit.Manual)
	desk := NewDesk(a, h.claims, h.register)
	mux := http.NewServeMux()
	mux.Handle("/.well-known/est/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.loseReply.CompareAndSwap(true, false) {
			desk.Enrol().ServeHTTP(discard{http.Header{}}, r)
			panic(http.ErrAbortHandler)
		}
		desk.Enrol().ServeHTTP(w, r)
	}))
	mux.Handle("/v1/hello", desk.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := FromContext(r.Context())
		if err != nil {
			t.Error(err)
		}
		tenant, cart, err := a.PeerCart(r.TLS)
		if err != nil || tenant != c.Tenant || cart != c.Cart {
			t.Errorf("%s %s %v, want %+v", tenant, cart, err, c)
		}
		io.WriteString(w, c.Tenant+"/"+c.Cart+" at "+r.Host)
	})))
	ln, err := tls.Listen("tcp", "127.0.0.1:0", a.TLSConfig())
	if err != nil {
		t.Fatal(err)
	}
	h.address = ln.Addr().String()
	srv := &http.Server{Handler: mux, ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return h
}

type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

func (h *hub) claim() claim.Claim {
	h.t.Helper()
	c, err := h.claims.Issue(h.t.Context(), claim.Claim{HubAddress: h.address, HubName: "hub.example",
		RootHash: h.authority.RootHash(), KeysRoot: [32]byte{7}, Tenant: "st-mary", Cart: "cart-7"}, claim.Life)
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

func openCart(t *testing.T, dir string, clock kit.Clock) *Cart {
	t.Helper()
	c, err := Open(dir, clock)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (h *hub) enrolled() *Cart {
	h.t.Helper()
	c := openCart(h.t, h.t.TempDir(), h.clock)
	if err := c.Enrol(h.t.Context(), h.claim()); err != nil {
		h.t.Fatal(err)
	}
	return c
}

// hello makes one request over mTLS, on a new connection.
func hello(t *testing.T, c *Cart) (string, error) {
	t.Helper()
	tr, err := c.Transport()
	if err != nil {
		return "", err
	}
	client := &http.Client{Transport: tr, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Get("https://carts.hub.example/v1/hello")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", readProblem(resp)
	}
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func want(t *testing.T, what string, err, sentinel error) {
	t.Helper()
	if !errors.Is(err, sentinel) {
		t.Fatalf("%s: %v, want %v", what, err, sentinel)
	}
}

func TestEnrol(t *testing.T) {
	h := newHub(t, kit.NewManual(start))
	dir := t.TempDir()
	c := openCart(t, dir, h.clock)
	if _, err := c.Identity(); !errors.Is(err, ErrNotEnrolled) || c.Signer() == nil || c.NeedsRenewal(start.Add(1000*day)) {
		t.Fatalf("before: %v", err)
	}
	_, err := hello(t, c)
	want(t, "hello before", err, ErrNotEnrolled)
	cl := h.claim()
	want(t, "enrol", c.Enrol(t.Context(), cl), nil)
	for _, c := range []*Cart{c, openCart(t, dir, h.clock)} { // now, and after a restart
		id, err := c.Identity()
		if err != nil || id != (Identity{Tenant: "st-mary", Cart: "cart-7", HubAddress: h.address, HubName: "hub.example",
			KeysRoot: [32]byte{7}, Issued: start, Expires: start.Add(DeviceLife)}) {
			t.Fatalf("%+v, %v", id, err)
		}
		if got, err := hello(t, c); got != "st-mary/cart-7 at carts.hub.example" {
			t.Fatalf("%q, %v", got, err)
		}
		if c.Damage() != nil {
			t.Fatal(c.Damage())
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		info, err2 := f.Info()
		if err := errors.Join(err, err2); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f.Name(), info.Mode(), err)
		}
		if strings.Contains(string(text), string(cl.Secret[:])) || strings.Contains(string(text), cl.Code()) {
			t.Errorf("%s holds the secret", f.Name())
		}
	}
	if all := h.register.All(); len(all) != 1 || all[0].Cart != "cart-7" || all[0].Serial == "" {
		t.Errorf("register: %+v", all)
	}
}

func TestClaimRefused(t *testing.T) {
	h := newHub(t, kit.NewManual(start))
	cl := h.claim()
	c, other := openCart(t, t.TempDir(), h.clock), openCart(t, t.TempDir(), h.clock)

	wrong := cl
	wrong.Secret[0]++
	err := c.Enrol(t.Context(), wrong)
	want(t, "wrong secret", err, claim.ErrUnknown)
	if p := (*Problem)(nil); !errors.As(err, &p) || p.Code != "claim-unknown" || p.Status != 401 || p.Title != "Unauthorized" {
		t.Fatalf("%+v", p)
	}
	wrong = cl
	wrong.Cart = "cart-8"
	want(t, "another cart's", c.Enrol(t.Context(), wrong), claim.ErrUnknown)
	want(t, "first", c.Enrol(t.Context(), cl), nil)
	want(t, "same key again", c.Enrol(t.Context(), cl), nil)
	want(t, "another key", other.Enrol(t.Context(), cl), claim.ErrUsed)
	want(t, "renamed", c.Enrol(t.Context(), wrong), ErrOtherCart)
	h.clock.Advance(claim.Life)
	want(t, "late", c.Enrol(t.Context(), cl), claim.ErrExpired)
}

func TestOnlyThePinnedHub(t *testing.T) {
	clock := kit.NewManual(start)
	h, impostor := newHub(t, clock), newHub(t, clock)
	c := openCart(t, t.TempDir(), clock)
	cl := h.claim()
	cl.HubAddress = impostor.address
	want(t, "enrol", c.Enrol(t.Context(), cl), ErrNotHub)
	if len(impostor.register.All()) != 0 {
		t.Fatal("the impostor was asked")
	}
	cl.HubAddress, cl.HubName = h.address, "hub.elsewhere"
	want(t, "wrong name", c.Enrol(t.Context(), cl), ErrNotHub)
	cl.HubName = "hub.example"
	want(t, "right hub", c.Enrol(t.Context(), cl), nil)
	c.state.HubAddress = impostor.address
	_, err := hello(t, c)
	want(t, "hello", err, ErrNotHub)
	want(t, "renew", c.Renew(t.Context()), ErrNotHub)

	// A cart of the impostor is nobody here.
	stranger := impostor.enrolled()
	stranger.state.HubAddress, stranger.state.root = h.address, h.authority.Root()
	if _, err := hello(t, stranger); err == nil {
		t.Fatal("a stranger got in")
	}
	want(t, "stranger renews", stranger.Renew(t.Context()), ErrNotOurs)
}

func TestRetryAfterEveryLoss(t *testing.T) {
	h := newHub(t, kit.NewManual(start))
	killed := errors.New("killed")
	for name, tc := range map[string]struct {
		lose        bool
		dies, after int // die at the n-th write; after: once it is done
	}{
		"reply lost":          {lose: true},
		"before key":          {dies: 1},
		"after key":           {dies: 1, after: 1},
		"before the identity": {dies: 2},
		"after the identity":  {dies: 2, after: 1},
	} {
		t.Run(name, func(t *testing.T) {
			dir, cl, writes := t.TempDir(), h.claim(), 0
			h.loseReply.Store(tc.lose)
			c, err := open(dir, h.clock, func(path string, data []byte, perm fs.FileMode) error {
				writes++
				if writes == tc.dies && tc.after == 0 {
					return killed
				}
				err := kit.WriteFile(path, data, perm)
				if writes == tc.dies {
					return killed
				}
				return err
			})
			if err == nil {
				err = c.Enrol(t.Context(), cl)
			}
			if err == nil || (!tc.lose && !errors.Is(err, killed)) {
				t.Fatalf("the fault didn't strike: %v", err)
			}
			c = openCart(t, dir, h.clock)
			want(t, "retry", c.Enrol(t.Context(), cl), nil)
			if got, err := hello(t, c); got == "" {
				t.Fatal(err)
			}
		})
	}
}

func TestRenewal(t *testing.T) {
	h := newHub(t, kit.NewManual(start))
	c := h.enrolled()
	key := c.Signer().Public()
	if c.NeedsRenewal(start.Add(10*day-1)) || !c.NeedsRenewal(start.Add(10*day)) {
		t.Fatal("renewal is due after a third of 30 days")
	}
	h.clock.Advance(10 * day)
	want(t, "renew", c.Renew(t.Context()), nil)
	id, err := c.Identity()
	if err != nil || !id.Expires.Equal(start.Add(40*day)) || c.NeedsRenewal(h.clock.Now()) || c.Signer().Public() != key {
		t.Fatalf("%+v, %v", id, err)
	}
	if got, err := hello(t, openCart(t, c.dir, h.clock)); got == "" {
		t.Fatal(err)
	}
	// Expired: no mTLS, but a renewal within the grace.
	h.clock.Advance(DeviceLife + Grace)
	if _, err := hello(t, c); err == nil {
		t.Fatal("an expired certificate got in")
	}
	want(t, "last moment", c.Renew(t.Context()), nil)
	if got, err := hello(t, c); got == "" {
		t.Fatal(err)
	}
	h.clock.Advance(DeviceLife + Grace + time.Second)
	want(t, "too late", c.Renew(t.Context()), ErrExpired)
	want(t, "new claim", c.Enrol(t.Context(), h.claim()), nil)
	if got, err := hello(t, c); got == "" {
		t.Fatal(err)
	}
}

func TestRevocation(t *testing.T) {
	h := newHub(t, kit.NewManual(start))
	c := h.enrolled()
	h.register.Revoke(h.register.All()[0].Serial)
	_, err := hello(t, c)
	want(t, "hello", err, ErrRevoked)
	want(t, "renew", c.Renew(t.Context()), ErrRevoked)
	h.clock.Advance(time.Hour)
	want(t, "new claim", c.Enrol(t.Context(), h.claim()), nil)

	cl := h.claim()
	h.clock.Advance(time.Hour)
	h.register.RevokeCart("st-mary", "cart-7", h.clock.Now())
	_, err = hello(t, c)
	want(t, "hello", err, ErrRevoked)
	want(t, "an older claim", c.Enrol(t.Context(), cl), ErrRevoked)
	h.clock.Advance(time.Second)
	want(t, "a newer claim", c.Enrol(t.Context(), h.claim()), nil)
	if got, err := hello(t, c); got == "" {
		t.Fatal(err)
	}
}

// A cart without a battery-backed clock must get in, from 1970 as well as from yesterday.
func TestSlowClock(t *testing.T) {
	h := newHub(t, kit.NewManual(start))
	slow := kit.NewManual(time.Unix(0, 0))
	c := openCart(t, t.TempDir(), slow)
	want(t, "enrol", c.Enrol(t.Context(), h.claim()), nil)
	if got, err := hello(t, c); got == "" {
		t.Fatal(err)
	}
	if !c.now().Equal(start) {
		t.Errorf("floor %v, want the certificate's issue", c.now())
	}
	h.clock.Advance(40 * day) // the server certificate was renewed meanwhile
	want(t, "renew", c.Renew(t.Context()), nil)
}

func TestConcurrentRenewal(t *testing.T) {
	h := newHub(t, kit.NewManual(start))
	c := h.enrolled()
	errs := make(chan error)
	for range 4 {
		go func() { errs <- c.Renew(context.Background()) }()
		go func() { _, err := hello(t, c); errs <- err }()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestDamage(t *testing.T) {
	h := newHub(t, kit.NewManual(start))
	for name, tc := range map[string]struct{ file, text string }{
		"key":           {keyFile, "-----BEGIN NOTHING"},
		"identity":      {stateFile, "{"},
		"empty":         {stateFile, ""},
		"half identity": {stateFile, `{"tenant":"st-mary","cart":"cart-7"}`},
	} {
		c := h.enrolled()
		if err := os.WriteFile(c.path(tc.file), []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		again := openCart(t, c.dir, h.clock)
		if _, err := again.Identity(); !errors.Is(err, ErrNotEnrolled) || again.Damage() == nil {
			t.Errorf("%s: %v, damage %v", name, err, again.Damage())
		}
		if text, err := os.ReadFile(c.path(tc.file + ".damaged")); err != nil || string(text) != tc.text {
			t.Errorf("%s: not set aside: %v", name, err)
		}
		want(t, name, again.Enrol(t.Context(), h.claim()), nil)
		want(t, name, openCart(t, c.dir, h.clock).Damage(), nil)
	}
}

func TestWipe(t *testing.T) {
	h := newHub(t, kit.NewManual(start))
	c := h.enrolled()
	old, err := os.ReadFile(c.path(keyFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.path(".key.pem.123.tmp"), old, 0o600); err != nil { // a write was cut short
		t.Fatal(err)
	}
	want(t, "wipe", c.Wipe(), nil)
	_, err = hello(t, c)
	want(t, "hello", err, ErrNotEnrolled)
	files, err := os.ReadDir(c.dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	if now, err := os.ReadFile(c.path(keyFile)); err != nil || string(now) == string(old) {
		t.Fatalf("the key stayed, %v", err)
	}
	cl := h.claim()
	cl.Cart = "cart-8"
	want(t, "another name", c.Enrol(t.Context(), cl), claim.ErrUnknown) // not ErrOtherCart
	want(t, "new life", c.Enrol(t.Context(), h.claim()), nil)
}

// Through a CONNECT proxy the hub's own address is asked for, and its certificate arrives untouched.
func TestProxy(t *testing.T) {
	h := newHub(t, kit.NewManual(start))
	var asked atomic.Value
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.Method + " " + r.Host)
		up, err := net.Dial("tcp", r.Host)
		if err != nil {
			t.Error(err)
			return
		}
		down, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(down, "HTTP/1.1 200 OK\r\n\r\n")
		done := make(chan struct{})
		go func() { io.Copy(up, down); up.Close(); close(done) }()
		io.Copy(down, up)
		down.Close()
		<-done
	})}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	t.Cleanup(func() { srv.Close(); <-done })
	c := openCart(t, t.TempDir(), h.clock)
	proxy := *mustURL(t, "http://"+ln.Addr().String())
	c.Proxy = http.ProxyURL(&proxy)
	want(t, "enrol", c.Enrol(t.Context(), h.claim()), nil)
	if got, err := hello(t, c); got == "" {
		t.Fatal(err)
	}
	if asked.Load() != "CONNECT "+h.address {
		t.Errorf("asked %q", asked.Load())
	}
}
