// Package claim is the one-off token that turns a box into a cart of one hospital.
//
// Parties: IT issues a claim at the hub (Registry) and carries its code to the cart by hand, by paste or by camera; the
// cart (package identity) trades it for a certificate.
//
// Keys: a 128-bit random secret, known to the code alone: the hub keeps its SHA-256. The code also pins what the cart
// is to trust from then on: the hash of the hub's root certificate and the public key of the offline root that signs
// the list of record and receipt keys. Whoever can alter a code can make a cart trust them, so the way it travels matters.
//
// Invariants: a claim names one cart of one tenant. The first key that redeems it owns it: that key may come again (its
// reply was lost), any other is refused. A cart has one claim at a time; a newer one replaces it. A claim ends at
// Expires. Secrets print as "[secret]"; only Code and Hash reveal or use them.
package claim

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/skip2/go-qrcode"
)

// Claim is what the code says.
type Claim struct {
	HubAddress string   // host:port to dial
	HubName    string   // DNS name that the hub's TLS names hang under: carts.NAME, enrol.NAME, turn.NAME
	RootHash   [32]byte // SHA-256 of the hub root certificate's DER
	KeysRoot   [32]byte // Ed25519 public key of the offline root that signs the key list
	Tenant     string
	Cart       string
	Secret     Secret
	Expires    time.Time // whole seconds, UTC
}

// Secret is the part that must not be seen.
type Secret [16]byte

func (Secret) String() string       { return "[secret]" }
func (Secret) GoString() string     { return "[secret]" }
func (Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// MarshalText keeps the secret out of JSON too.
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// Hash is what the hub stores in the secret's place. The secret is random and 128 bits long, so that a plain hash
// can't be searched, and finding a record by it leaks nothing through timing.
func (s Secret) Hash() [32]byte {
	return sha256.Sum256(append([]byte("telecart claim secret v1\x00"), s[:]...))
}

// ErrCode: a text is not a whole, undamaged claim code. The error around it says what is wrong and what to do.
var ErrCode = errors.New("claim: not a usable claim code")

const (
	prefix   = "TC1"
	maxCode  = 4096 // characters, blanks included
	maxName  = 64   // of a tenant or cart; also the longest X.509 common name (RFC 5280, ub-common-name)
	maxHub   = 240  // leaves room for "enrol." within a DNS name's 253
	sumBytes = 4
)

// Crockford's alphabet has no I, L, O, U; all of it is in QR's alphanumeric set, which packs 5.5 bits a character.
var crockford = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// Code is the claim as text: "TC1-" and Crockford base32 of the fields and a checksum. Upper case and digits only, so
// that it survives selecting, mailing and scanning. The claim must pass Validate.
func (c Claim) Code() string {
	var b []byte
	for _, s := range []string{c.HubAddress, c.HubName, c.Tenant, c.Cart} {
		b = append(append(b, byte(len(s))), s...)
	}
	b = append(b, c.RootHash[:]...)
	b = append(b, c.KeysRoot[:]...)
	b = append(b, c.Secret[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(c.Expires.Unix()))
	b = append(b, checksum(b)...)
	return prefix + "-" + crockford.EncodeToString(b)
}

// checksum catches slips of the hand, not attackers: they don't know the secret, and can recompute the sum.
func checksum(b []byte) []byte {
	sum := sha256.Sum256(append([]byte("telecart claim v1\x00"), b...))
	return sum[:sumBytes]
}

// QR is the code as a picture for a terminal, two rows of modules a line, dark on light.
func (c Claim) QR() string {
	q, err := qrcode.New(c.Code(), qrcode.Medium)
	if err != nil {
		return "" // only for content beyond QR's 3,391 characters, which Validate's limits don't reach
	}
	return q.ToSmallString(false)
}

// Expired says whether the claim has ended at now.
func (c Claim) Expired(now time.Time) bool { return !now.Before(c.Expires) }

// Parse reads a code. Blanks, line breaks, hyphens and lower case are forgiven, and O, I, L are read as 0, 1, 1;
// everything else must be exact. It doesn't judge expiry: the hub's clock does. Errors wrap ErrCode.
func Parse(code string) (Claim, error) {
	if len(code) > maxCode {
		return Claim{}, refuse("it is %d characters long, at most %d are possible; copy the code alone", len(code), maxCode)
	}
	text, err := normalise(code)
	if err != nil {
		return Claim{}, err
	}
	body, ok := strings.CutPrefix(text, prefix)
	switch {
	case text == "":
		return Claim{}, refuse("it is empty; paste the code that the hub printed")
	case !ok && strings.HasPrefix(text, "TC"):
		return Claim{}, refuse("its version is not %s; update this cart, or issue the claim on a hub of the same generation", prefix)
	case !ok:
		return Claim{}, refuse("it does not begin with %s-; copy the whole code, from %s- on", prefix, prefix)
	}
	body = strings.NewReplacer("O", "0", "I", "1", "L", "1").Replace(body)
	raw, err := crockford.DecodeString(body)
	if err != nil {
		return Claim{}, refuse("its end is missing; copy the whole code again")
	}
	if len(raw) < sumBytes || crockford.EncodeToString(raw) != body {
		return Claim{}, refuse("its end is missing; copy the whole code again")
	}
	b, sum := raw[:len(raw)-sumBytes], raw[len(raw)-sumBytes:]
	if subtle.ConstantTimeCompare(checksum(b), sum) != 1 {
		return Claim{}, refuse("its checksum is wrong, so a character was lost or changed; copy the whole code again")
	}
	c, err := decode(b)
	if err != nil {
		return Claim{}, err
	}
	if err := c.Validate(); err != nil {
		return Claim{}, fmt.Errorf("%w: %w; issue a new claim", ErrCode, err)
	}
	return c, nil
}

func normalise(code string) (string, error) {
	var b strings.Builder
	place := 0
	for _, r := range code {
		place++
		switch {
		case strings.ContainsRune(" \t\r\n-\u00a0\u200b\ufeff", r):
		case r >= 'a' && r <= 'z' && r != 'u':
			b.WriteRune(r - 'a' + 'A')
		case r >= 'A' && r <= 'Z' && r != 'U' || r >= '0' && r <= '9':
			b.WriteRune(r)
		default:
			return "", refuse("%q, character %d, is never part of a code; copy the code alone", r, place)
		}
	}
	return b.String(), nil
}

func decode(b []byte) (c Claim, err error) {
	in := bytes.NewBuffer(b)
	for _, s := range []*string{&c.HubAddress, &c.HubName, &c.Tenant, &c.Cart} {
		n, _ := in.ReadByte()
		*s = string(in.Next(int(n)))
	}
	if want := len(c.RootHash) + len(c.KeysRoot) + len(c.Secret) + 4; in.Len() != want {
		return Claim{}, refuse("its fields don't fit together (%d bytes left, want %d); issue a new claim", in.Len(), want)
	}
	copy(c.RootHash[:], in.Next(len(c.RootHash)))
	copy(c.KeysRoot[:], in.Next(len(c.KeysRoot)))
	copy(c.Secret[:], in.Next(len(c.Secret)))
	c.Expires = time.Unix(int64(binary.BigEndian.Uint32(in.Bytes())), 0).UTC()
	return c, nil
}

// Validate says what is wrong with the claim's fields.
func (c Claim) Validate() error {
	if err := checkAddress(c.HubAddress); err != nil {
		return err
	}
	if !ValidHubName(c.HubName) {
		return fmt.Errorf("claim: hub name %q is no DNS name in lower case of at most %d characters", c.HubName, maxHub)
	}
	if !ValidName(c.Tenant) {
		return fmt.Errorf("claim: tenant %q: want 1 to %d of a-z 0-9 - . beginning and ending with a letter or digit", c.Tenant, maxName)
	}
	if !ValidName(c.Cart) {
		return fmt.Errorf("claim: cart %q: want 1 to %d of a-z 0-9 - . beginning and ending with a letter or digit", c.Cart, maxName)
	}
	if c.RootHash == [32]byte{} || c.KeysRoot == [32]byte{} || c.Secret == (Secret{}) {
		return errors.New("claim: root hash, keys root and secret must not be zero")
	}
	if u := c.Expires.Unix(); u <= 0 || u > 1<<32-1 || !c.Expires.Equal(time.Unix(u, 0)) {
		return fmt.Errorf("claim: expiry %v: want whole seconds between 1970 and 2106", c.Expires)
	}
	return nil
}

// ValidName says whether s can name a tenant or cart: 1 to 64 of a-z 0-9 - . with a letter or digit at both ends.
// Such a name is safe in a path, a URI's host, a Basic user name and a certificate.
func ValidName(s string) bool {
	if s == "" || len(s) > maxName || strings.Trim(s, "-.") != s {
		return false
	}
	for _, r := range []byte(s) {
		if !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '.') {
			return false
		}
	}
	return true
}

// ValidHubName says whether a hub's TLS names can hang under s: a DNS name in lower case of at most 240 characters.
func ValidHubName(s string) bool { return len(s) <= maxHub && validDNS(s) }

func validDNS(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if len(label) > 63 || !ValidName(label) {
			return false
		}
	}
	return true
}

func checkAddress(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil || len(s) > maxHub {
		return fmt.Errorf("claim: hub address %q is no host:port", s)
	}
	if net.ParseIP(host) == nil && !validDNS(host) {
		return fmt.Errorf("claim: hub address %q: %q is neither an IP address nor a DNS name in lower case", s, host)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return fmt.Errorf("claim: hub address %q: the port must be 1 to 65535", s)
	}
	return nil
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCode, fmt.Sprintf(format, args...))
}
