package turn

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/pion/stun/v4"
	pionturn "github.com/pion/turn/v5"
)

// life of a credential: it is used at once, by who was just told it. What it allocated lives on until its connection ends.
const life = 2 * time.Minute

// Credential is what a client proves itself with.
type Credential struct{ Username, Password string }

// Issue makes a credential for the bearer of a stream's token. The username is "EXPIRY:NAME", expiry in Unix seconds, and
// the name stands for the token, so that what counts per user counts per token, whoever asks how often; it does not tell it.
func (s *Server) Issue(token string) Credential {
	name := base64.RawURLEncoding.EncodeToString(s.mac("name", token)[:12])
	user := strconv.FormatInt(s.clock.Now().Add(life).Unix(), 10) + ":" + name
	return Credential{user, s.password(user)}
}

func (s *Server) password(user string) string {
	return base64.RawURLEncoding.EncodeToString(s.mac("password", user)[:18])
}

func (s *Server) mac(use, of string) []byte {
	m := hmac.New(sha256.New, s.key[:])
	m.Write([]byte("telecart turn v1\x00" + use + "\x00" + of))
	return m.Sum(nil)
}

// authenticate is asked for the key of a message's integrity (RFC 8489, 9.2.2), which pion compares in constant time. An
// expired credential makes no allocation, but keeps one going: a consult lasts longer than two minutes.
func (s *Server) authenticate(ra *pionturn.RequestAttributes) (user string, key []byte, ok bool) {
	expiry, name, found := strings.Cut(ra.Username, ":")
	unix, err := strconv.ParseInt(expiry, 10, 64)
	if !found || err != nil || name == "" || ra.Realm != s.name ||
		ra.Method == stun.MethodAllocate && !s.clock.Now().Before(time.Unix(unix, 0)) {
		s.count.denied.Add(1)
		return "", nil, false
	}
	return name, pionturn.GenerateAuthKey(ra.Username, ra.Realm, s.password(ra.Username)), true
}

// address of all that is on the exchange: the IPv4 dummy address, to which no packet of a network may be sent (RFC 7600, 4.8;
// IANA's special-purpose registry). Ports tell its ends apart.
var (
	address  = netip.AddrFrom4([4]byte{192, 0, 0, 8})
	roomAddr = netip.AddrPortFrom(address, 443)
)
