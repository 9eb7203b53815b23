package identity

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/smallstep/pkcs7"

	"telecart/device/kit"
	"telecart/provisioning/claim"
)

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func csr(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	// Everything a rogue cart might wish for.
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: "cart-1", Organization: []string{"Evil"}},
		DNSNames: []string{"carts.hub.example"},
		URIs:     []*url.URL{uri("other-tenant", "cart-1")},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func p256(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// post asks the desk's handler for an enrolment, without a network.
func (h *hub) post(auth [2]string, contentType string, body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", pathEnrol, bytes.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	r.SetBasicAuth(auth[0], auth[1])
	w := httptest.NewRecorder()
	NewDesk(h.authority, h.claims, h.register).Enrol().ServeHTTP(w, r)
	return w
}

func TestOnlyTheKeyOfTheRequestCounts(t *testing.T) {
	h := newHub(t, kit.NewManual(start))
	cl, key := h.claim(), p256(t)
	w := h.post([2]string{"cart-7", hex.EncodeToString(cl.Secret[:])}, "application/pkcs10; charset=x", encode64(csr(t, key)))
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/pkcs7-mime; smime-type=certs-only" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	cert, err := parseReply(w.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if cert.Subject.String() != "CN=cart-7" || cert.URIs[0].String() != "telecart://st-mary/cart-7" || len(cert.URIs) != 1 ||
		len(cert.DNSNames) != 0 || cert.IsCA || !key.PublicKey.Equal(cert.PublicKey) ||
		!cmp.Equal(cert.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) ||
		!cert.NotBefore.Equal(start.Add(-day)) || !cert.NotAfter.Equal(start.Add(30*day)) {
		t.Fatalf("%s %v %v %v-%v", cert.Subject, cert.URIs, cert.DNSNames, cert.NotBefore, cert.NotAfter)
	}
}

func TestDeskRefuses(t *testing.T) {
	h := newHub(t, kit.NewManual(start))
	cl := h.claim()
	good := [2]string{"cart-7", hex.EncodeToString(cl.Secret[:])}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der := csr(t, p256(t))
	forged := append([]byte(nil), der...)
	forged[len(forged)-1] ^= 1
	const pkcs10 = "application/pkcs10"
	for name, tc := range map[string]struct {
		auth      [2]string
		mime      string
		body      []byte
		code      string
		status    int
		challenge bool
	}{
		"no secret":      {[2]string{"cart-7", ""}, pkcs10, encode64(der), "claim-unknown", 401, true},
		"not hex":        {[2]string{"cart-7", "zz"}, pkcs10, encode64(der), "claim-unknown", 401, true},
		"JSON":           {good, "application/json", encode64(der), "bad-request", 400, false},
		"DER, no base64": {good, pkcs10, der, "bad-request", 400, false},
		"empty":          {good, pkcs10, nil, "bad-request", 400, false},
		"forged":         {good, pkcs10, encode64(forged), "bad-request", 400, false},
		"P-384":          {good, pkcs10, encode64(csr(t, p384)), "bad-request", 400, false},
		"Ed25519":        {good, pkcs10, encode64(csr(t, ed)), "bad-request", 400, false},
		"too long":       {good, pkcs10, bytes.Repeat([]byte("A"), maxBody+1), "bad-request", 400, false},
	} {
		w := h.post(tc.auth, tc.mime, tc.body)
		var p Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Code != tc.code || p.Status != tc.status || w.Code != tc.status ||
			p.Type != "about:blank" || p.Detail == "" || w.Header().Get("Content-Type") != "application/problem+json" ||
			(w.Header().Get("WWW-Authenticate") != "") != tc.challenge {
			t.Errorf("%s: %d %s %v", name, w.Code, w.Body, w.Header())
		}
	}
	// None of these used the claim up.
	if w := h.post(good, pkcs10, encode64(der)); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

type brokenRegister struct{ Register }

func (brokenRegister) Revoked(context.Context, Certificate) (bool, error) {
	return false, errors.New("disk /srv/hub failed")
}

func TestNoAnswerAboutRevocationRefuses(t *testing.T) {
	h := newHub(t, kit.NewManual(start))
	c := h.enrolled()
	desk := NewDesk(h.authority, h.claims, brokenRegister{h.register})
	r := httptest.NewRequest("GET", "/v1/hello", nil)
	r.TLS = &tls.ConnectionState{HandshakeComplete: true, PeerCertificates: []*x509.Certificate{c.state.cert}}
	w := httptest.NewRecorder()
	desk.Require(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("let through") })).ServeHTTP(w, r)
	if w.Code != 503 || w.Header().Get("Retry-After") == "" || strings.Contains(w.Body.String(), "/srv/hub") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestCheck(t *testing.T) {
	h := newHub(t, kit.NewManual(start))
	h.enrolled()
	desk, c := NewDesk(h.authority, h.claims, h.register), h.register.All()[0]
	want(t, "now", desk.Check(t.Context(), c), nil)
	h.clock.Advance(DeviceLife + 1)
	want(t, "expired", desk.Check(t.Context(), c), ErrExpired)
	h.register.Revoke(c.Serial)
	c.Expires = h.clock.Now()
	want(t, "revoked", desk.Check(t.Context(), c), ErrRevoked)
}

// A renewal is for the same key: whoever borrows a cart's connection can't plant one of its own.
func TestRenewalKeepsTheKey(t *testing.T) {
	h := newHub(t, kit.NewManual(start))
	c := h.enrolled()
	r := httptest.NewRequest("POST", pathRenew, bytes.NewReader(encode64(csr(t, p256(t)))))
	r.Header.Set("Content-Type", "application/pkcs10")
	r.TLS = &tls.ConnectionState{HandshakeComplete: true, PeerCertificates: []*x509.Certificate{c.state.cert}}
	w := httptest.NewRecorder()
	NewDesk(h.authority, h.claims, h.register).Enrol().ServeHTTP(w, r)
	if w.Code != 400 || !strings.Contains(w.Body.String(), "a new key needs a claim") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestPeer(t *testing.T) {
	h := newHub(t, kit.NewManual(start))
	serverCert, err := h.authority.serverCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		cs   *tls.ConnectionState
		want error
	}{
		"no TLS":         {nil, ErrNoCertificate},
		"no certificate": {&tls.ConnectionState{HandshakeComplete: true}, ErrNoCertificate},
		"server's own":   {&tls.ConnectionState{HandshakeComplete: true, PeerCertificates: []*x509.Certificate{serverCert.Leaf}}, ErrNotOurs},
		"root":           {&tls.ConnectionState{HandshakeComplete: true, PeerCertificates: []*x509.Certificate{h.authority.Root()}}, ErrNotOurs},
	} {
		_, _, err := h.authority.PeerCart(tc.cs)
		want(t, name, err, tc.want)
	}
	// A connection made in time outlives its certificate, but is not believed any more.
	cs := &tls.ConnectionState{HandshakeComplete: true, PeerCertificates: []*x509.Certificate{h.enrolled().state.cert}}
	h.clock.Advance(DeviceLife)
	_, _, err = h.authority.PeerCart(cs)
	want(t, "last second", err, nil)
	h.clock.Advance(1)
	_, _, err = h.authority.PeerCart(cs)
	want(t, "a moment later", err, ErrExpired)
}

func TestAuthority(t *testing.T) {
	dir, clock := t.TempDir(), kit.NewManual(start)
	a, err := NewAuthority(dir, clock, "hub.example")
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "root.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info, err)
	}
	first, err := a.serverCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	clock.Advance(30*day - 1)
	if same, err := a.serverCertificate(nil); err != nil || same != first {
		t.Fatalf("renewed too early, %v", err)
	}
	clock.Advance(1)
	if next, err := a.serverCertificate(nil); err != nil || next == first || !next.Leaf.NotAfter.Equal(start.Add(120*day)) {
		t.Fatalf("not renewed, %v", err)
	}
	b, err := NewAuthority(dir, clock, "hub.example")
	if err != nil || b.RootHash() != a.RootHash() {
		t.Fatalf("another root after a restart, %v", err)
	}
	for _, name := range []string{"", "Hub.example", "hub.example:443"} {
		if _, err := NewAuthority(t.TempDir(), clock, name); err == nil {
			t.Errorf("hub name %q was accepted", name)
		}
	}
	other, err := NewAuthority(t.TempDir(), clock, "hub.example")
	if err != nil {
		t.Fatal(err)
	}
	key, err := keyPEM(other.rootKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty":     "",
		"no key":    string(certPEM(a.root)),
		"other key": string(certPEM(a.root)) + string(key),
	} {
		if err := os.WriteFile(filepath.Join(dir, "root.pem"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := NewAuthority(dir, clock, "hub.example"); err == nil || !strings.Contains(err.Error(), "restore it from the backup") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Other people's tools must agree: openssl makes the key and request, curl enrols and renews, openssl checks the chain.
func TestOpenSSLAndCurl(t *testing.T) {
	h := newHub(t, kit.System{})
	dir := t.TempDir()
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s(this test needs the packages openssl and curl)", name, strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	if err := os.WriteFile(filepath.Join(dir, "root.pem"), certPEM(h.authority.Root()), 0o600); err != nil {
		t.Fatal(err)
	}
	cl := h.claim()
	_, port, _ := strings.Cut(h.address, ":")
	curl := func(path string, more ...string) {
		run("curl", append([]string{"-sS", "--fail-with-body", "--cacert", "root.pem", "--resolve", "*:" + port + ":127.0.0.1",
			"-o", "reply.b64", "https://enrol.hub.example:" + port + path}, more...)...)
		run("openssl", "base64", "-d", "-in", "reply.b64", "-out", "reply.p7")
		run("openssl", "pkcs7", "-inform", "DER", "-in", "reply.p7", "-print_certs", "-out", "cert.pem")
	}
	post := []string{"-H", "Content-Type: application/pkcs10", "--data-binary", "@csr.b64"}
	run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key.pem",
		"-subj", "/CN=anything", "-outform", "DER", "-out", "csr.der")
	run("openssl", "base64", "-in", "csr.der", "-out", "csr.b64")
	curl(pathEnrol, append(post, "-u", cl.Cart+":"+hex.EncodeToString(cl.Secret[:]))...)
	if out := run("openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", "root.pem", "cert.pem"); !strings.Contains(out, "cert.pem: OK") {
		t.Fatal(out)
	}
	if out := run("openssl", "x509", "-in", "cert.pem", "-noout", "-subject", "-ext", "subjectAltName"); !strings.Contains(out, "URI:telecart://st-mary/cart-7") {
		t.Fatal(out)
	}
	first, err := os.ReadFile(filepath.Join(dir, "cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	curl(pathRenew, append(post, "--cert", "cert.pem", "--key", "key.pem")...)
	if second, err := os.ReadFile(filepath.Join(dir, "cert.pem")); err != nil || bytes.Equal(first, second) {
		t.Fatalf("no new certificate, %v", err)
	}
	run("curl", "-sS", "--fail", "--cacert", "root.pem", "--resolve", "*:"+port+":127.0.0.1", "--cert", "cert.pem", "--key", "key.pem",
		"-H", "Host: carts.hub.example", "https://carts.hub.example:"+port+"/v1/hello")
	curl(pathCACerts)
	if got, err := os.ReadFile(filepath.Join(dir, "cert.pem")); err != nil || !bytes.Contains(got, certPEM(h.authority.Root())) {
		t.Fatalf("cacerts: %s, %v", got, err)
	}
}

func FuzzRequest(f *testing.F) {
	f.Add(encode64(csr(f, p256(f))))
	f.Add([]byte("MIIB"))
	f.Fuzz(func(t *testing.T, body []byte) {
		key, hash, err := parseRequest(body)
		if (err == nil) != (key != nil && hash != [32]byte{}) || err != nil && !errors.Is(err, errRequest) {
			t.Fatal(key, hash, err)
		}
	})
}

func FuzzReply(f *testing.F) {
	a, err := NewAuthority(f.TempDir(), kit.NewManual(start), "hub.example")
	if err != nil {
		f.Fatal(err)
	}
	der, err := pkcs7.DegenerateCertificate(a.root.Raw)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encode64(der))
	f.Add([]byte(base64.StdEncoding.EncodeToString([]byte{0x30, 0x80})))
	f.Fuzz(func(t *testing.T, body []byte) {
		cert, err := parseReply(body)
		if (err == nil) != (cert != nil) || err != nil && !errors.Is(err, ErrBadReply) {
			t.Fatal(cert, err)
		}
	})
}

func FuzzState(f *testing.F) {
	a, err := NewAuthority(f.TempDir(), kit.NewManual(start), "hub.example")
	if err != nil {
		f.Fatal(err)
	}
	c, err := Open(f.TempDir(), kit.NewManual(start))
	if err != nil {
		f.Fatal(err)
	}
	cert, err := a.issue("st-mary", "cart-7", c.key.Public())
	if err != nil {
		f.Fatal(err)
	}
	if err := c.save(state{Tenant: "st-mary", Cart: "cart-7", KeysRoot: make([]byte, 32), root: a.root, cert: cert}); err != nil {
		f.Fatal(err)
	}
	text, err := os.ReadFile(c.path(stateFile))
	if err != nil {
		f.Fatal(err)
	}
	if _, err := c.parseState(text); err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		if s, err := c.parseState(text); err == nil && (s.Tenant != "st-mary" || s.Cart != "cart-7") {
			t.Fatalf("%+v", s)
		}
	})
}

var _ Claims = (*claim.Registry)(nil)
