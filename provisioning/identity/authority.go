package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"telecart/device/kit"
	"telecart/provisioning/claim"
)

// Authority is the hub's certificate authority.
type Authority struct {
	clock   kit.Clock
	hubName string
	extra   []string
	root    *x509.Certificate
	rootKey *ecdsa.PrivateKey

	mu     sync.Mutex
	server *tls.Certificate // its Leaf is set
}

// NewAuthority loads the root from dir/root.pem (certificate and key, 0600), or makes it if there is none. A damaged
// root is an error and is never replaced: every cart pins it; restore it from the backup. The server
// certificate is for hubName, carts., enrol. and turn.hubName, and for extra, which are DNS names or IP addresses.
func NewAuthority(dir string, clock kit.Clock, hubName string, extra ...string) (*Authority, error) {
	if !claim.ValidHubName(hubName) {
		return nil, fmt.Errorf("identity: hub name %q: want a DNS name in lower case, like hub.example", hubName)
	}
	a := &Authority{clock: clock, hubName: hubName, extra: extra}
	path := filepath.Join(dir, "root.pem")
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = a.makeRoot(dir, path)
	case err == nil:
		err = a.loadRoot(text)
	}
	if err != nil {
		return nil, fmt.Errorf("identity: %s: %w", path, err)
	}
	if _, err := a.serverCertificate(nil); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Authority) makeRoot(dir, path string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := a.clock.Now().UTC().Truncate(time.Second)
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "telecart root"},
		NotBefore:             now.Add(-Tolerance),
		NotAfter:              now.Add(RootLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	text, err := keyPEM(key)
	if err != nil {
		return err
	}
	a.root, a.rootKey = root, key
	return kit.WriteFile(path, append(certPEM(root), text...), 0o600)
}

func (a *Authority) loadRoot(text []byte) error {
	root, key, err := parsePEM(text)
	switch {
	case err != nil:
		return fmt.Errorf("damaged, restore it from the backup: %w", err)
	case root == nil || key == nil:
		return errors.New("damaged, restore it from the backup: want a certificate and its key")
	case !root.IsCA || !key.PublicKey.Equal(root.PublicKey):
		return errors.New("damaged, restore it from the backup: the key is not the root's")
	}
	a.root, a.rootKey = root, key
	return nil
}

// Root is the root certificate.
func (a *Authority) Root() *x509.Certificate { return a.root }

// RootHash is what claims pin.
func (a *Authority) RootHash() [32]byte { return sha256.Sum256(a.root.Raw) }

// serverCertificate is tls.Config.GetCertificate. It makes a new certificate when a third of the present one's life has
// passed; losing one costs nothing, so it is not stored. The chain includes the root, for carts that know only its hash.
func (a *Authority) serverCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clock.Now().UTC().Truncate(time.Second)
	if a.server != nil && !due(a.server.Leaf, now) {
		return a.server, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("identity: server certificate: %w", err)
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "telecart hub"},
		NotAfter:    now.Add(ServerLife),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{a.hubName, "carts." + a.hubName, "enrol." + a.hubName, a.TurnName()},
	}
	for _, name := range a.extra {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	leaf, err := a.sign(template, key.Public(), now)
	if err != nil {
		return nil, fmt.Errorf("identity: server certificate: %w", err)
	}
	a.server = &tls.Certificate{Certificate: [][]byte{leaf.Raw, a.root.Raw}, PrivateKey: key, Leaf: leaf}
	return a.server, nil
}

// due says whether a third of the certificate's life has passed.
func due(c *x509.Certificate, now time.Time) bool {
	issued := c.NotBefore.Add(Tolerance)
	return !now.Before(issued.Add(c.NotAfter.Sub(issued) / 3))
}

// issue signs a device certificate.
func (a *Authority) issue(tenant, cart string, key crypto.PublicKey) (*x509.Certificate, error) {
	now := a.clock.Now().UTC().Truncate(time.Second)
	return a.sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: cart},
		NotAfter:    now.Add(DeviceLife),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{uri(tenant, cart)},
	}, key, now)
}

func (a *Authority) sign(template *x509.Certificate, key crypto.PublicKey, now time.Time) (*x509.Certificate, error) {
	template.NotBefore = now.Add(-Tolerance)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.BasicConstraintsValid = true // and not a CA
	der, err := x509.CreateCertificate(rand.Reader, template, a.root, key, a.rootKey)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func uri(tenant, cart string) *url.URL {
	return &url.URL{Scheme: "telecart", Host: tenant, Path: "/" + cart}
}

// TurnName is the name of the hub's TURN server.
func (a *Authority) TurnName() string { return turnName(a.hubName) }

func turnName(hub string) string { return "turn." + hub }

// TLSConfig is the hub's side of the one address. carts.NAME requires a valid device certificate; enrol.NAME asks for
// one and leaves the judgement to the Desk; every other name asks for none, so that no browser does. turn.NAME carries no
// HTTP, so it agrees to no protocol (ALPN); who asks for one (RFC 7443) is served all the same.
func (a *Authority) TLSConfig() *tls.Config {
	base := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: a.serverCertificate,
		Time:           a.clock.Now,
		NextProtos:     []string{"h2", "http/1.1"},
	}
	carts := base.Clone()
	carts.MinVersion = tls.VersionTLS13
	carts.ClientAuth = tls.RequireAndVerifyClientCert
	carts.ClientCAs = x509.NewCertPool()
	carts.ClientCAs.AddCert(a.root)
	carts.SessionTicketsDisabled = true // every handshake looks at the certificate anew
	enrol := base.Clone()
	enrol.ClientAuth = tls.RequestClientCert
	enrol.SessionTicketsDisabled = true
	turn := base.Clone()
	turn.NextProtos = nil
	base.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		switch hello.ServerName {
		case "carts." + a.hubName:
			return carts, nil
		case "enrol." + a.hubName:
			return enrol, nil
		case a.TurnName():
			return turn, nil
		}
		return nil, nil
	}
	return base
}

// Peer verifies the client certificate of a connection and describes it. It doesn't know about revocation: Desk.Require
// does. Errors: ErrNoCertificate, ErrExpired, ErrNotOurs.
func (a *Authority) Peer(cs *tls.ConnectionState) (Certificate, error) { return a.peer(cs, 0) }

// PeerCart is the names in Peer.
func (a *Authority) PeerCart(cs *tls.ConnectionState) (tenant, cart string, err error) {
	c, err := a.Peer(cs)
	return c.Tenant, c.Cart, err
}

// peer accepts a certificate for a while after its end. TLS has proved that the peer has the key.
func (a *Authority) peer(cs *tls.ConnectionState, grace time.Duration) (Certificate, error) {
	if cs == nil || !cs.HandshakeComplete || len(cs.PeerCertificates) == 0 {
		return Certificate{}, ErrNoCertificate
	}
	leaf, now := cs.PeerCertificates[0], a.clock.Now()
	at := now
	if now.After(leaf.NotAfter) {
		at = leaf.NotAfter
	}
	if err := verifyDevice(leaf, a.root, at); err != nil {
		return Certificate{}, fmt.Errorf("%w: %w", ErrNotOurs, err)
	}
	if now.After(leaf.NotAfter.Add(grace)) {
		return Certificate{}, ErrExpired
	}
	return describe(leaf)
}
