// Package identity is how a cart and its hub know each other: an EST subset (RFC 7030) on a claim.
//
// Parties: the Authority at the hub (root, server certificate, device certificates); the Desk, its HTTP side; the Cart,
// which holds a device key and renews its certificate; the Register, the hub's list of what was issued and taken back.
//
// Keys: the authority's root (P-256, 20 years) signs the hub's server certificate (90 days, made at start and at each
// third of its life, never stored) and device certificates (30 days). The device key (P-256) never leaves the cart; it
// sits behind crypto.Signer so that a TPM can hold it. The cart pins the root by the hash in its claim.
//
// Invariants: a certificate names one cart of one tenant, in the URI telecart://TENANT/CART and in its common name; both
// come from the claim, never from the request, of which only the key counts. A cart's key changes only by a new claim:
// renewal keeps it. Revocation is asked at every request, and no answer is a refusal. An expired certificate may
// still be renewed for Grace, on enrol.NAME only (mTLS on carts.NAME ends with the certificate). Being killed between any
// two steps of an enrolment costs a retry, never the claim.
package identity

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"telecart/provisioning/claim"
)

// Lives of certificates.
const (
	DeviceLife = 30 * 24 * time.Hour
	ServerLife = 90 * 24 * time.Hour
	RootLife   = 20 * 365 * 24 * time.Hour
	Grace      = 90 * 24 * time.Hour // after a device certificate's end
	Tolerance  = 24 * time.Hour      // NotBefore lies this far back: a cart's clock may be slow
)

// What can be wrong with an identity. Errors that come from the hub wrap these or claim's sentinels.
var (
	ErrNotEnrolled   = errors.New("identity: this cart has no certificate: enrol it with a claim")
	ErrOtherCart     = errors.New("identity: this cart is enrolled under another name: wipe it before it changes hands")
	ErrNotHub        = errors.New("identity: the server that answers is not this cart's hub")
	ErrBadReply      = errors.New("identity: the hub's reply makes no sense")
	ErrNoCertificate = errors.New("identity: no cart certificate was shown")
	ErrNotOurs       = errors.New("identity: the certificate is not one of this hub's carts")
	ErrExpired       = errors.New("identity: the certificate expired too long ago: enrol with a new claim")
	ErrRevoked       = errors.New("identity: the certificate was revoked: enrol with a new claim")
)

// Certificate is what the hub knows of a device certificate.
type Certificate struct {
	Tenant  string
	Cart    string
	Serial  string    // hex
	Key     [32]byte  // SHA-256 of the public key's PKIX DER
	Issued  time.Time // whole seconds
	Expires time.Time
}

// Register is the hub's list of certificates.
type Register interface {
	// Issued records c before it leaves the hub.
	Issued(ctx context.Context, c Certificate) error
	// Revoked says whether c was taken back, by its serial or because its cart's certificates issued up to then were.
	// During an enrolment it is asked without a serial, Issued being the claim's: revoking a cart voids its old claim too.
	Revoked(ctx context.Context, c Certificate) (bool, error)
}

// describe reads a device certificate's names; it verifies nothing.
func describe(c *x509.Certificate) (Certificate, error) {
	if len(c.URIs) != 1 || c.URIs[0].Scheme != "telecart" {
		return Certificate{}, fmt.Errorf("%w: it has no telecart:// name", ErrNotOurs)
	}
	tenant, cart := c.URIs[0].Host, strings.TrimPrefix(c.URIs[0].Path, "/")
	if !claim.ValidName(tenant) || !claim.ValidName(cart) || c.Subject.CommonName != cart || c.URIs[0].String() != uri(tenant, cart).String() {
		return Certificate{}, fmt.Errorf("%w: %q is no cart's name", ErrNotOurs, c.URIs[0])
	}
	key, err := keyHash(c.PublicKey)
	if err != nil {
		return Certificate{}, fmt.Errorf("%w: %w", ErrNotOurs, err)
	}
	return Certificate{Tenant: tenant, Cart: cart, Serial: c.SerialNumber.Text(16), Key: key,
		Issued: c.NotBefore.Add(Tolerance), Expires: c.NotAfter}, nil
}

// verifyDevice checks that root signed c for a client, at the given time.
func verifyDevice(c, root *x509.Certificate, at time.Time) error {
	roots := x509.NewCertPool()
	roots.AddCert(root)
	_, err := c.Verify(x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err
}

// verifyHub checks a server's chain as the cart sees it: signed by the pinned root, for name, not expired. A NotBefore
// that lies ahead only proves that the cart's clock is slow (a Pi 4 has none), for the pinned root vouches for it.
func verifyHub(cs tls.ConnectionState, rootHash [32]byte, name string, now time.Time) (*x509.Certificate, error) {
	var root *x509.Certificate
	between := x509.NewCertPool()
	for _, c := range cs.PeerCertificates {
		if sha256.Sum256(c.Raw) == rootHash {
			root = c
		} else {
			between.AddCert(c)
		}
	}
	if root == nil {
		return nil, fmt.Errorf("%w: its root is not the pinned one (another hub, or a proxy that opens TLS; the network must let %s through untouched)", ErrNotHub, name)
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	leaf := cs.PeerCertificates[0]
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: name,
		CurrentTime: latest(now, leaf.NotBefore, root.NotBefore), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotHub, err)
	}
	return root, nil
}

func latest(t time.Time, more ...time.Time) time.Time {
	for _, m := range more {
		if m.After(t) {
			t = m
		}
	}
	return t
}

// keyHash names a P-256 public key.
func keyHash(pub crypto.PublicKey) ([32]byte, error) {
	if k, ok := pub.(*ecdsa.PublicKey); !ok || k.Params().Name != "P-256" {
		return [32]byte{}, errors.New("the key is not ECDSA P-256")
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	return sha256.Sum256(der), err
}

func certPEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// parsePEM reads the first certificate and the first private key in text; either may be missing.
func parsePEM(text []byte) (cert *x509.Certificate, key *ecdsa.PrivateKey, err error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return cert, key, nil
		}
		switch {
		case block.Type == "CERTIFICATE" && cert == nil:
			if cert, err = x509.ParseCertificate(block.Bytes); err != nil {
				return nil, nil, err
			}
		case block.Type == "PRIVATE KEY" && key == nil:
			k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, nil, err
			}
			if key, _ = k.(*ecdsa.PrivateKey); key == nil {
				return nil, nil, errors.New("the private key is not ECDSA")
			}
		}
	}
}
