package identity

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"
)

// TLSConfig is the cart's side of mTLS with carts.NAME: the pinned root, the current certificate at each handshake. Its
// ServerName is set; the address to dial is Identity.HubAddress. After a new claim a new one is needed.
func (c *Cart) TLSConfig() (*tls.Config, error) {
	s, err := c.current()
	if err != nil {
		return nil, err
	}
	config := c.pinned("carts."+s.HubName, sha256.Sum256(s.root.Raw))
	config.GetClientCertificate = c.clientCertificate
	return config, nil
}

// Transport carries HTTP requests to the hub: whatever host their URL names (https://carts.NAME by custom), it dials
// HubAddress, through Proxy if one is set, and says carts.NAME in TLS and in the Host header. HTTP/1.1 only, as WebSocket
// and paced uploads want it.
func (c *Cart) Transport() (http.RoundTripper, error) {
	config, err := c.TLSConfig()
	if err != nil {
		return nil, err
	}
	s, err := c.current()
	if err != nil {
		return nil, err
	}
	return c.route(s.HubAddress, config), nil
}

// pinned is TLS to name under the root with the given hash. Go's own check is off because it can neither pin a hash nor
// live with a slow clock; VerifyConnection runs in its place, on every handshake, resumed ones too.
func (c *Cart) pinned(name string, rootHash [32]byte) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		ServerName:         name,
		InsecureSkipVerify: true,
		// One share of a key, so that the ClientHello is one packet: after a SYN that had to be repeated, as at the end of every
		// outage, TCP sends one packet and waits (RFC 5681, 3.1). A hub that knows no ML-KEM asks for P-256.
		CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.CurveP256},
		// What is written at once is one record: uplink/link fills its packets to the last byte.
		DynamicRecordSizingDisabled: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			_, err := verifyHub(cs, rootHash, name, c.now())
			return err
		},
	}
}

func (c *Cart) clientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == nil {
		return nil, ErrNotEnrolled
	}
	return &tls.Certificate{Certificate: [][]byte{c.state.cert.Raw}, PrivateKey: c.key, Leaf: c.state.cert}, nil
}

// route sends every request to one address under one name. It names the address in the URL rather than in a dial
// function, so that a CONNECT proxy is asked for an address that exists: carts.NAME need not be in any DNS.
type route struct {
	*http.Transport
	address, name string
}

func (c *Cart) route(address string, config *tls.Config) route {
	return route{&http.Transport{
		Proxy:               c.Proxy,
		DialContext:         dial,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     90 * time.Second,
		MaxConnsPerHost:     16,
		MaxIdleConnsPerHost: 8, // one for each of the link's workers and a hedge: to make one anew takes two round trips
	}, address, config.ServerName}
}

// dialAgain is when a SYN without an answer gets company: the kernel repeats it after a second (RFC 6298, 2), which is long when
// the link has just come back, or lost it.
const dialAgain = 500 * time.Millisecond

func dial(ctx context.Context, network, address string) (net.Conn, error) {
	again := time.NewTimer(dialAgain)
	defer again.Stop()
	d := net.Dialer{Timeout: 10 * time.Second}
	return dialTwice(ctx, again.C, func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, network, address) })
}

// dialTwice dials, and once more beside it if again comes first. The first connection counts.
func dialTwice(ctx context.Context, again <-chan time.Time, dial func(context.Context) (net.Conn, error)) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the one that is too late
	type end struct {
		conn net.Conn
		err  error
	}
	ends := make(chan end)
	try := func() {
		conn, err := dial(ctx)
		select {
		case ends <- end{conn, err}:
		case <-ctx.Done():
			if err == nil {
				conn.Close()
			}
		}
	}
	go try()
	for running := 1; ; {
		select {
		case <-again:
			again = nil
			running++
			go try()
		case e := <-ends:
			if running--; e.err == nil || running == 0 {
				return e.conn, e.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (r route) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" {
		if req.Body != nil {
			req.Body.Close() // as http.RoundTripper demands, errors included
		}
		return nil, fmt.Errorf("identity: %s requests don't go to the hub, only https", req.URL.Scheme)
	}
	out := req.Clone(req.Context())
	out.URL.Host, out.Host = r.address, r.name
	return r.Transport.RoundTrip(out)
}
