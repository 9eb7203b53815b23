package courier

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/big"

	"telecart/capture/ledger"
)

// Fingerprint names a public key: SHA-256 of its PKIX DER, in hexadecimal, as the hub's table of carts has it.
func Fingerprint(key *ecdsa.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}

// ErrNotSigned: a head is not signed by a key that is known.
var ErrNotSigned = errors.New("courier: the head is not signed by this cart's device key")

// DeviceKey finds the key that signed a head among those that are known by fingerprint alone, as the hub knows its carts'.
// The two or four keys under which a signature is good can be computed from it (SEC 1 version 2, section 4.1.6); the one with a
// known fingerprint, if any, then has to verify the head like any other.
func DeviceKey(h ledger.Head, known []string) (*ecdsa.PublicKey, string, error) {
	var sig struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(h.Signature, &sig); err != nil || len(rest) > 0 {
		return nil, "", ErrNotSigned
	}
	for _, key := range signers(digest(h), sig.R, sig.S) {
		print, err := Fingerprint(key)
		if err != nil {
			continue
		}
		for _, k := range known {
			if k == print && h.Verify(key) == nil {
				return key, print, nil
			}
		}
	}
	return nil, "", ErrNotSigned
}

// digest is what a head signs (FORMAT.md).
func digest(h ledger.Head) []byte {
	practice := byte(0)
	if h.Practice {
		practice = 1
	}
	b := append([]byte("telecart ledger head v1\x00"), byte(len(h.Tenant)))
	b = append(append(b, h.Tenant...), byte(len(h.Cart)))
	b = append(append(append(b, h.Cart...), practice), h.Incarnation[:]...)
	b = append(binary.BigEndian.AppendUint64(b, h.Number), h.Hash[:]...)
	sum := sha256.Sum256(b)
	return sum[:]
}

// point is one of the curve y^2 = x^3 - 3x + b; nil coordinates stand for infinity. The arithmetic is the schoolbook's: what it
// computes is public, and what comes out is checked.
type point struct{ x, y *big.Int }

func add(c *elliptic.CurveParams, p, q point) point {
	if p.x == nil {
		return q
	}
	if q.x == nil {
		return p
	}
	num, den := new(big.Int), new(big.Int)
	if p.x.Cmp(q.x) == 0 {
		if p.y.Cmp(q.y) != 0 || p.y.Sign() == 0 {
			return point{}
		}
		num.Mul(p.x, p.x).Mul(num, big.NewInt(3)).Sub(num, big.NewInt(3))
		den.Lsh(p.y, 1)
	} else {
		num.Sub(q.y, p.y)
		den.Sub(q.x, p.x)
	}
	l := num.Mul(num, den.ModInverse(den.Mod(den, c.P), c.P))
	l.Mod(l, c.P)
	x := new(big.Int).Mul(l, l)
	x.Sub(x, p.x).Sub(x, q.x).Mod(x, c.P)
	y := new(big.Int).Sub(p.x, x)
	y.Mul(y, l).Sub(y, p.y).Mod(y, c.P)
	return point{x, y}
}

func times(c *elliptic.CurveParams, k *big.Int, p point) (out point) {
	for i := k.BitLen() - 1; i >= 0; i-- {
		if out = add(c, out, out); k.Bit(i) == 1 {
			out = add(c, out, p)
		}
	}
	return out
}

// signers are the P-256 keys under which (r, s) is a signature of the digest: Q = (s R - e G) / r, R a point whose x is r.
func signers(digest []byte, r, s *big.Int) (out []*ecdsa.PublicKey) {
	c := elliptic.P256().Params()
	if r == nil || s == nil || r.Sign() <= 0 || s.Sign() <= 0 || r.Cmp(c.N) >= 0 || s.Cmp(c.N) >= 0 {
		return nil
	}
	e := new(big.Int).SetBytes(digest)
	inv := new(big.Int).ModInverse(r, c.N)
	u1 := new(big.Int).Neg(e)
	u1.Mul(u1, inv).Mod(u1, c.N)
	u2 := new(big.Int).Mul(s, inv)
	u2.Mod(u2, c.N)
	for x := new(big.Int).Set(r); x.Cmp(c.P) < 0; x = new(big.Int).Add(x, c.N) {
		y := new(big.Int).Exp(x, big.NewInt(3), c.P)
		y.Sub(y, new(big.Int).Mul(x, big.NewInt(3))).Add(y, c.B).Mod(y, c.P)
		if y.ModSqrt(y, c.P) == nil {
			continue
		}
		for _, y := range []*big.Int{y, new(big.Int).Sub(c.P, y)} {
			q := add(c, times(c, u1, point{c.Gx, c.Gy}), times(c, u2, point{x, y}))
			if q.x == nil {
				continue
			}
			b := append([]byte{4}, q.x.FillBytes(make([]byte, 32))...)
			key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(b, q.y.FillBytes(make([]byte, 32))...))
			if err == nil {
				out = append(out, key)
			}
		}
	}
	return out
}
