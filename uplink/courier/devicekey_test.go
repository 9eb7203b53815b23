package courier

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"testing"

	"telecart/capture/ledger"
)

func TestDeviceKey(t *testing.T) {
	book := ledger.Book{Tenant: "north", Cart: "cart-1", Practice: true}
	for range 20 {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := ledger.NewChain(book, ledger.NewID(), ledger.NewID())
		h, err := c.Advance(c.Entry(ledger.Run, ledger.Hash{})).Sign(book, key)
		if err != nil {
			t.Fatal(err)
		}
		print, err := Fingerprint(&key.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		got, which, err := DeviceKey(h, []string{"00", print})
		if err != nil || which != print || !got.Equal(&key.PublicKey) {
			t.Fatalf("%v %s", err, which)
		}
		h.Number++
		if _, _, err := DeviceKey(h, []string{print}); !errors.Is(err, ErrNotSigned) {
			t.Fatalf("an altered head: %v", err)
		}
	}
	for _, sig := range [][]byte{nil, {0x30, 6, 2, 1, 0, 2, 1, 0}, {0x30, 6, 2, 1, 1, 2, 1, 1}} {
		if _, _, err := DeviceKey(ledger.Head{Signature: sig}, []string{"x"}); !errors.Is(err, ErrNotSigned) {
			t.Errorf("%x: %v", sig, err)
		}
	}
}
