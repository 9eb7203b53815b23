package identity

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/smallstep/pkcs7"

	"telecart/provisioning/claim"
)

// The EST operations we serve (RFC 7030 section 3.2.2).
const (
	pathEnrol   = "/.well-known/est/simpleenroll"
	pathRenew   = "/.well-known/est/simplereenroll"
	pathCACerts = "/.well-known/est/cacerts"
)

const maxBody = 16 << 10 // bytes of a request or reply; ours have about one thousand

var errRequest = errors.New("identity: bad request")

// Claims is what the Desk needs of claim.Registry.
type Claims interface {
	Redeem(ctx context.Context, cart string, s claim.Secret, key [32]byte) (claim.Record, error)
}

// Desk is the hub's HTTP side.
type Desk struct {
	authority *Authority
	claims    Claims
	register  Register
}

// NewDesk serves authority's certificates against claims, and keeps register.
func NewDesk(authority *Authority, claims Claims, register Register) *Desk {
	return &Desk{authority, claims, register}
}

// Enrol is the EST service, to be mounted at enrol.NAME:
//
//	POST /.well-known/est/simpleenroll    HTTP Basic CART:SECRET-HEX, a PKCS #10 request in, a certificate out
//	POST /.well-known/est/simplereenroll  the same, under the present certificate, which may be up to Grace past its end
//	GET  /.well-known/est/cacerts         the root
//
// Bodies are base64 (RFC 7030 section 4, RFC 8951); replies certs-only PKCS #7. Errors are Problems.
func (d *Desk) Enrol() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+pathEnrol, d.simpleEnrol)
	mux.HandleFunc("POST "+pathRenew, d.simpleReenrol)
	mux.HandleFunc("GET "+pathCACerts, func(w http.ResponseWriter, _ *http.Request) { reply(w, d.authority.root) })
	return mux
}

func (d *Desk) simpleEnrol(w http.ResponseWriter, r *http.Request) {
	cart, password, ok := r.BasicAuth()
	secret, err := hex.DecodeString(password)
	if !ok || err != nil || len(secret) != len(claim.Secret{}) {
		refuse(w, claim.ErrUnknown)
		return
	}
	key, hash, err := readRequest(w, r)
	if err != nil {
		refuse(w, err)
		return
	}
	rec, err := d.claims.Redeem(r.Context(), cart, claim.Secret(secret), hash)
	if err != nil {
		refuse(w, err)
		return
	}
	d.issue(w, r, Certificate{Tenant: rec.Tenant, Cart: rec.Cart, Key: hash, Issued: rec.Issued, Expires: rec.Expires}, key)
}

func (d *Desk) simpleReenrol(w http.ResponseWriter, r *http.Request) {
	old, err := d.authority.peer(r.TLS, Grace)
	if err != nil {
		refuse(w, err)
		return
	}
	key, hash, err := readRequest(w, r)
	if err == nil && hash != old.Key {
		err = fmt.Errorf("%w: a renewal keeps the key; a new key needs a claim", errRequest)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	d.issue(w, r, old, key)
}

// issue answers with a certificate, on the strength of grounds: the claim or the old certificate.
func (d *Desk) issue(w http.ResponseWriter, r *http.Request, grounds Certificate, key crypto.PublicKey) {
	if err := d.check(r.Context(), grounds); err != nil {
		refuse(w, err)
		return
	}
	cert, err := d.authority.issue(grounds.Tenant, grounds.Cart, key)
	if err != nil {
		refuse(w, err)
		return
	}
	c, err := describe(cert)
	if err == nil {
		err = d.register.Issued(r.Context(), c)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	reply(w, cert)
}

func (d *Desk) check(ctx context.Context, c Certificate) error {
	revoked, err := d.register.Revoked(ctx, c)
	switch {
	case err != nil:
		return fmt.Errorf("identity: revocation: %w", err) // fails closed
	case revoked:
		return ErrRevoked
	}
	return nil
}

type peerKey struct{}

// Require lets only carts with a valid, unrevoked certificate through to next, which finds it by FromContext. A
// connection that lives longer than a request (WebSocket) must ask Check again from time to time.
func (d *Desk) Require(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := d.authority.Peer(r.TLS)
		if err == nil {
			err = d.check(r.Context(), c)
		}
		if err != nil {
			refuse(w, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), peerKey{}, c)))
	})
}

// Check says whether a certificate that Require let through still holds. Errors: ErrExpired, ErrRevoked, the register's.
func (d *Desk) Check(ctx context.Context, c Certificate) error {
	if d.authority.clock.Now().After(c.Expires) {
		return ErrExpired
	}
	return d.check(ctx, c)
}

// FromContext is the cart that Require let through.
func FromContext(ctx context.Context) (Certificate, error) {
	c, ok := ctx.Value(peerKey{}).(Certificate)
	if !ok {
		return Certificate{}, ErrNoCertificate
	}
	return c, nil
}

func readRequest(w http.ResponseWriter, r *http.Request) (crypto.PublicKey, [32]byte, error) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/pkcs10" {
		return nil, [32]byte{}, fmt.Errorf("%w: the content type must be application/pkcs10", errRequest)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, [32]byte{}, fmt.Errorf("%w: body: %w", errRequest, err)
	}
	return parseRequest(body)
}

// parseRequest takes the key out of a base64 PKCS #10 request, and nothing else: names are the hub's to give.
func parseRequest(body []byte) (crypto.PublicKey, [32]byte, error) {
	fail := func(err error) (crypto.PublicKey, [32]byte, error) {
		return nil, [32]byte{}, fmt.Errorf("%w: certificate request: %w", errRequest, err)
	}
	der, err := decode64(body)
	if err != nil {
		return fail(err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return fail(err)
	}
	if err := csr.CheckSignature(); err != nil {
		return fail(err)
	}
	hash, err := keyHash(csr.PublicKey)
	if err != nil {
		return fail(err)
	}
	return csr.PublicKey, hash, nil
}

func reply(w http.ResponseWriter, cert *x509.Certificate) {
	der, err := pkcs7.DegenerateCertificate(cert.Raw)
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/pkcs7-mime; smime-type=certs-only")
	w.Header().Set("Content-Transfer-Encoding", "base64")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(encode64(der))
}

// parseReply finds the one certificate in a base64 certs-only PKCS #7 message.
func parseReply(body []byte) (*x509.Certificate, error) {
	der, err := decode64(body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadReply, err)
	}
	p, err := pkcs7.Parse(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadReply, err)
	}
	if len(p.Certificates) != 1 {
		return nil, fmt.Errorf("%w: %d certificates, want 1", ErrBadReply, len(p.Certificates))
	}
	return p.Certificates[0], nil
}

// decode64 forgives line breaks and blanks, which tools put in differently (RFC 8951 section 3).
func decode64(text []byte) ([]byte, error) {
	return base64.StdEncoding.DecodeString(string(bytes.Join(bytes.Fields(text), nil)))
}

func encode64(der []byte) []byte {
	const line = 64
	text := base64.StdEncoding.AppendEncode(nil, der)
	var out []byte
	for len(text) > line {
		out = append(append(out, text[:line]...), '\n')
		text = text[line:]
	}
	return append(append(out, text...), '\n')
}
