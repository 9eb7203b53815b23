package identity

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"telecart/device/kit"
	"telecart/provisioning/claim"
)

// Cart is the cart's half. Its folder holds key.pem (0600), made first and kept for good, and identity.json (all the
// rest, in one file so that it is there wholly or not at all). The claim's secret is never written.
// A TPM would replace key.pem and makeKey; everything else sees a crypto.Signer.
type Cart struct {
	// Proxy finds the CONNECT proxy (http://host:port) for a request, as in http.Transport; nil: none. Set it before use.
	Proxy func(*http.Request) (*url.URL, error)

	dir   string
	clock kit.Clock
	write func(path string, data []byte, perm fs.FileMode) error // kit.WriteFile but in tests

	busy sync.Mutex // one enrolment or renewal at a time

	mu     sync.Mutex // of all below
	key    crypto.Signer
	state  *state // nil: not enrolled
	damage error
}

// state is identity.json.
type state struct {
	Tenant      string `json:"tenant"`
	Cart        string `json:"cart"`
	HubAddress  string `json:"hub_address"`
	HubName     string `json:"hub_name"`
	KeysRoot    []byte `json:"keys_root"`
	Root        string `json:"root"`        // PEM
	Certificate string `json:"certificate"` // PEM

	root, cert *x509.Certificate
}

// Identity is who this cart is, and where its hub is.
type Identity struct {
	Tenant     string
	Cart       string
	HubAddress string // host:port to dial
	HubName    string // TLS names hang under it
	KeysRoot   [32]byte
	Issued     time.Time // of the present certificate. Trusted: the time is at least this
	Expires    time.Time
}

const (
	keyFile   = "key.pem"
	stateFile = "identity.json"
)

// Open reads the identity in dir, and makes the device key if there is none. A damaged file is set aside as
// NAME.damaged, told by Damage, and the cart is then not enrolled.
func Open(dir string, clock kit.Clock) (*Cart, error) { return open(dir, clock, kit.WriteFile) }

func open(dir string, clock kit.Clock, write func(string, []byte, fs.FileMode) error) (*Cart, error) {
	c := &Cart{dir: dir, clock: clock, write: write}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	if err := c.sweep(); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(c.path(keyFile))
	if err == nil {
		var key *ecdsa.PrivateKey
		if _, key, err = parsePEM(text); err == nil && (key == nil || key.Curve != elliptic.P256()) {
			err = errors.New("no P-256 private key in it")
		}
		if err != nil {
			err = c.setAside(keyFile, err)
		} else {
			c.key = key
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("identity: %w", err)
	}
	if c.key == nil {
		if err := c.makeKey(); err != nil {
			return nil, err
		}
	}
	text, err = os.ReadFile(c.path(stateFile))
	if err == nil {
		var s *state
		if s, err = c.parseState(text); err != nil {
			err = c.setAside(stateFile, err)
		} else {
			c.state = s
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("identity: %w", err)
	}
	return c, nil
}

func (c *Cart) path(name string) string { return filepath.Join(c.dir, name) }

// sweep removes what a write that was cut short left behind (kit.WriteFile's temporary files): it may be a key.
func (c *Cart) sweep() error {
	for _, name := range []string{keyFile, stateFile} {
		left, err := filepath.Glob(c.path("." + name + ".*.tmp"))
		for _, path := range left {
			err = errors.Join(err, os.Remove(path))
		}
		if err != nil {
			return fmt.Errorf("identity: %w", err)
		}
	}
	return nil
}

func (c *Cart) setAside(name string, why error) error {
	c.damage = errors.Join(c.damage, fmt.Errorf("identity: %s: %w; set aside", name, why))
	return errors.Join(os.Rename(c.path(name), c.path(name)+".damaged"), kit.SyncDir(c.dir))
}

func (c *Cart) makeKey() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("identity: device key: %w", err)
	}
	text, err := keyPEM(key)
	if err == nil {
		err = c.write(c.path(keyFile), text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("identity: device key: %w", err)
	}
	c.key = key
	return nil
}

// parseState checks that everything fits together, though not the time: an expired identity is still one.
func (c *Cart) parseState(text []byte) (*state, error) {
	s := &state{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, err
	}
	var err error
	if s.root, _, err = parsePEM([]byte(s.Root)); err != nil {
		return nil, err
	}
	if s.cert, _, err = parsePEM([]byte(s.Certificate)); err != nil {
		return nil, err
	}
	if s.root == nil || s.cert == nil || len(s.KeysRoot) != 32 {
		return nil, errors.New("a certificate or the keys root is missing")
	}
	return s, c.checkOwn(s.cert, s.root, s.Tenant, s.Cart)
}

// checkOwn says whether cert is a certificate of root for this key and this name.
func (c *Cart) checkOwn(cert, root *x509.Certificate, tenant, cart string) error {
	if err := verifyDevice(cert, root, cert.NotBefore); err != nil {
		return err
	}
	d, err := describe(cert)
	if err != nil {
		return err
	}
	own, err := keyHash(c.key.Public())
	if err != nil {
		return err
	}
	if d.Key != own || d.Tenant != tenant || d.Cart != cart {
		return errors.New("the certificate is for another key or another cart")
	}
	return nil
}

// Damage says what Open had to set aside, or nil.
func (c *Cart) Damage() error { return c.damage }

// Signer is the device key. It exists from Open on, enrolled or not, and outlives certificates.
func (c *Cart) Signer() crypto.Signer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.key
}

func (c *Cart) current() (*state, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == nil {
		return nil, ErrNotEnrolled
	}
	return c.state, nil
}

// Identity is the present one, or ErrNotEnrolled.
func (c *Cart) Identity() (Identity, error) {
	s, err := c.current()
	if err != nil {
		return Identity{}, err
	}
	return Identity{Tenant: s.Tenant, Cart: s.Cart, HubAddress: s.HubAddress, HubName: s.HubName,
		KeysRoot: [32]byte(s.KeysRoot), Issued: s.cert.NotBefore.Add(Tolerance), Expires: s.cert.NotAfter}, nil
}

// Enrol trades a claim for a certificate. It may be called again with the same claim after any failure, and with a new
// one at any later time: key and ledger stay. A refusal is a *Problem that wraps claim.ErrUnknown, ErrUsed or ErrExpired;
// ErrNotHub means that the pinned hub didn't answer; ErrOtherCart that the claim is for a cart of another name.
func (c *Cart) Enrol(ctx context.Context, cl claim.Claim) error {
	if err := cl.Validate(); err != nil {
		return err
	}
	c.busy.Lock()
	defer c.busy.Unlock()
	if s, err := c.current(); err == nil && (s.Tenant != cl.Tenant || s.Cart != cl.Cart) {
		return fmt.Errorf("%w (it is %s of %s)", ErrOtherCart, s.Cart, s.Tenant)
	}
	next := state{Tenant: cl.Tenant, Cart: cl.Cart, HubAddress: cl.HubAddress, HubName: cl.HubName, KeysRoot: cl.KeysRoot[:]}
	auth := func(r *http.Request) { r.SetBasicAuth(cl.Cart, hex.EncodeToString(cl.Secret[:])) }
	return c.obtain(ctx, next, cl.RootHash, pathEnrol, auth, nil)
}

// Renew gets a new certificate for the same key, under the present one, even if that ended less than Grace ago. A
// refusal is a *Problem that wraps ErrExpired or ErrRevoked: then only a new claim helps. Others are worth a retry.
func (c *Cart) Renew(ctx context.Context) error {
	c.busy.Lock()
	defer c.busy.Unlock()
	s, err := c.current()
	if err != nil {
		return err
	}
	return c.obtain(ctx, *s, sha256.Sum256(s.root.Raw), pathRenew, func(*http.Request) {}, c.clientCertificate)
}

// NeedsRenewal says whether a third of the certificate's life has passed. It is false while there is none.
func (c *Cart) NeedsRenewal(now time.Time) bool {
	s, err := c.current()
	return err == nil && due(s.cert, now)
}

// obtain asks enrol.NAME for a certificate and makes next, completed by it, the identity.
func (c *Cart) obtain(ctx context.Context, next state, rootHash [32]byte, path string, auth func(*http.Request),
	certificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)) error {
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: next.Cart}}, c.Signer())
	if err != nil {
		return fmt.Errorf("identity: request: %w", err)
	}
	config := c.pinned("enrol."+next.HubName, rootHash)
	config.GetClientCertificate = certificate
	client := &http.Client{Transport: c.route(next.HubAddress, config), Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }} // no secret follows a redirect
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+config.ServerName+path, bytes.NewReader(encode64(csr)))
	if err != nil {
		return fmt.Errorf("identity: request: %w", err)
	}
	req.Header.Set("Content-Type", "application/pkcs10")
	auth(req)
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return readProblem(resp)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return fmt.Errorf("identity: reply: %w", err)
	}
	if next.cert, err = parseReply(body); err != nil {
		return err
	}
	if next.root, err = verifyHub(*resp.TLS, rootHash, config.ServerName, c.now()); err != nil {
		return err
	}
	if err := c.checkOwn(next.cert, next.root, next.Tenant, next.Cart); err != nil {
		return fmt.Errorf("%w: %w", ErrBadReply, err)
	}
	return c.save(next)
}

func (c *Cart) save(next state) error {
	next.Root, next.Certificate = string(certPEM(next.root)), string(certPEM(next.cert))
	text, err := json.MarshalIndent(next, "", "  ")
	if err == nil {
		err = c.write(c.path(stateFile), append(text, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("identity: save: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = &next
	return nil
}

// Wipe destroys the identity: a new key takes the old one's place, whose blocks are overwritten, then the rest goes. On flash
// the old key's blocks may outlive it, so a wipe is complete only with the revocation at the hub (or a TPM clear).
func (c *Cart) Wipe() error {
	c.busy.Lock()
	defer c.busy.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.path("." + keyFile + ".wiped.tmp") // sweep knows it
	if err := os.Remove(old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("identity: wipe: %w", err)
	}
	if err := os.Link(c.path(keyFile), old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("identity: wipe: %w", err)
	}
	errs := []error{c.makeKey()}
	if errs[0] != nil { // a full disk is no reason to keep the key; Open makes another
		errs = append(errs, Shred(c.path(keyFile)))
	}
	c.state = nil
	for _, path := range []string{old, c.path(stateFile), c.path(stateFile + ".damaged"), c.path(keyFile + ".damaged")} {
		errs = append(errs, Shred(path))
	}
	return errors.Join(append(errs, c.sweep(), kit.SyncDir(c.dir))...)
}

// now is the time, or that of the present certificate if the clock is behind it: a floor that the hub vouched for.
func (c *Cart) now() time.Time {
	now := c.clock.Now()
	if s, err := c.current(); err == nil {
		return latest(now, s.cert.NotBefore.Add(Tolerance))
	}
	return now
}
