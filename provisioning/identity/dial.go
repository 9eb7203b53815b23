package identity

import (
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
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     90 * time.Second,
		MaxConnsPerHost:     16,
	}, address, config.ServerName}
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
