package people

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Cost is what one hash takes (RFC 9106 section 3.1).
type Cost struct {
	MemoryKiB uint32
	Passes    uint32
	Lanes     uint8
}

// Bounds of what a stored hash may ask of this machine.
const (
	maxMemoryKiB = 256 << 10
	maxPasses    = 16
	maxLanes     = 16
	saltBytes    = 16
	tagBytes     = 32
)

var errHash = errors.New("people: damaged password hash")

// hashed is a PHC string taken apart: $argon2id$v=19$m=19456,t=2,p=1$salt$tag, base64 without padding.
type hashed struct {
	cost      Cost
	salt, tag []byte
}

func parseHash(s string) (hashed, error) {
	var h hashed
	p := strings.Split(s, "$")
	if strings.ContainsAny(s, "\r\n") || len(p) != 6 || p[0] != "" || p[1] != "argon2id" || p[2] != "v="+strconv.Itoa(argon2.Version) {
		return h, fmt.Errorf("%w: want $argon2id$v=%d$ and parameters", errHash, argon2.Version)
	}
	limits := []struct {
		name string
		max  uint64
	}{{"m=", maxMemoryKiB}, {"t=", maxPasses}, {"p=", maxLanes}}
	values := strings.Split(p[3], ",")
	if len(values) != len(limits) {
		return h, fmt.Errorf("%w: parameters %q, want m, t, p", errHash, p[3])
	}
	var n [3]uint64
	for i, l := range limits {
		digits, ok := strings.CutPrefix(values[i], l.name)
		v, err := strconv.ParseUint(digits, 10, 32)
		if !ok || err != nil || v == 0 || v > l.max || strconv.FormatUint(v, 10) != digits {
			return h, fmt.Errorf("%w: parameter %q, want %s1 to %d", errHash, values[i], l.name, l.max)
		}
		n[i] = v
	}
	h.cost = Cost{uint32(n[0]), uint32(n[1]), uint8(n[2])}
	var err1, err2 error
	h.salt, err1 = base64.RawStdEncoding.Strict().DecodeString(p[4])
	h.tag, err2 = base64.RawStdEncoding.Strict().DecodeString(p[5])
	if err := errors.Join(err1, err2); err != nil || len(h.salt) < 8 || len(h.salt) > 64 || len(h.tag) < 16 || len(h.tag) > 64 {
		return hashed{}, fmt.Errorf("%w: salt or tag", errHash)
	}
	return h, nil
}

func (h hashed) String() string {
	e := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.cost.MemoryKiB, h.cost.Passes, h.cost.Lanes,
		e.EncodeToString(h.salt), e.EncodeToString(h.tag))
}

func (h hashed) matches(password string) bool {
	return subtle.ConstantTimeCompare(h.tag, derive(password, h.salt, h.cost, len(h.tag))) == 1
}

func derive(password string, salt []byte, c Cost, n int) []byte {
	return argon2.IDKey([]byte(password), salt, c.Passes, c.MemoryKiB, c.Lanes, uint32(n))
}

func newHash(password string, c Cost) hashed {
	salt := make([]byte, saltBytes)
	rand.Read(salt) // never fails (crypto/rand)
	return hashed{c, salt, derive(password, salt, c, tagBytes)}
}
