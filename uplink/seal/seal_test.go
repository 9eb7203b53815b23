package seal

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"telecart/capture/ledger"
	"telecart/uplink/wire"
)

const x25519 = 0x0020

func fixture(t testing.TB) (*Key, *Records) {
	t.Helper()
	private, public, err := NewRecordKey(3, false, x25519)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSealer(ledger.Book{Tenant: "north", Cart: "cart-1"}, ledger.NewID(), public)
	if err != nil {
		t.Fatal(err)
	}
	k, err := s.NewKey(ledger.NewID())
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewRecords([]RecordKey{private})
	if err != nil {
		t.Fatal(err)
	}
	return k, r
}

func sealAll(t testing.TB, k *Key, body []byte) (Sealed, [][]byte) {
	t.Helper()
	var chunks [][]byte
	s, err := k.Seal(1, wire.Routine, body, func(i int, c []byte) error {
		if i != len(chunks) {
			t.Fatalf("chunk %d out of order", i)
		}
		chunks = append(chunks, bytes.Clone(c))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, chunks
}

func open(r *Records, w wire.Wrap, s Sealed, chunks [][]byte) ([]byte, error) {
	var got []byte
	err := r.Open(w, s.Bytes, s.Header, func(i int) ([]byte, error) {
		if i >= len(chunks) {
			return nil, fmt.Errorf("%w: chunk %d missing", ErrOpen, i)
		}
		return chunks[i], nil
	}, func(p []byte) error { got = append(got, p...); return nil })
	return got, err
}

func TestSealOpen(t *testing.T) {
	k, r := fixture(t)
	for _, n := range []int{0, 1, 247, 248, 249, wire.ChunkSize - 9, wire.ChunkSize - 8, wire.ChunkSize - 7, 3*wire.ChunkSize + 5, 1 << 20} {
		body := bytes.Repeat([]byte("Müller "), n/8+1)[:n]
		s, chunks := sealAll(t, k, body)
		h, err := wire.UnmarshalHeader(s.Bytes)
		if err != nil || h != s.Header {
			t.Fatalf("%d bytes: header %v %v", n, h, err)
		}
		for _, c := range chunks {
			if bytes.Contains(c, []byte("Müller")) {
				t.Fatal("readable")
			}
		}
		got, err := open(r, k.Wrap(), s, chunks)
		if err != nil || !bytes.Equal(got, body) {
			t.Fatalf("%d bytes: %v, %d back", n, err, len(got))
		}
	}
}

// Whatever is altered, the item must not open.
func TestTampered(t *testing.T) {
	k, r := fixture(t)
	body := bytes.Repeat([]byte{7}, 2*wire.ChunkSize+100)
	fresh := func() (Sealed, [][]byte) { return sealAll(t, k, body) }
	other, _ := fixture(t)
	cases := map[string]func(s *Sealed, c *[][]byte, w *wire.Wrap){
		"a bit of a chunk":    func(_ *Sealed, c *[][]byte, _ *wire.Wrap) { (*c)[1][5] ^= 1 },
		"chunks swapped":      func(_ *Sealed, c *[][]byte, _ *wire.Wrap) { (*c)[0], (*c)[1] = (*c)[1], (*c)[0] },
		"last chunk missing":  func(_ *Sealed, c *[][]byte, _ *wire.Wrap) { *c = (*c)[:2] },
		"shortened with head": func(s *Sealed, c *[][]byte, _ *wire.Wrap) { *c = (*c)[:2]; s.Header.Length = 2 * wire.ChunkSize },
		"header kind":         func(s *Sealed, _ *[][]byte, _ *wire.Wrap) { s.Bytes[5] = 2 },
		"salt":                func(s *Sealed, _ *[][]byte, _ *wire.Wrap) { s.Header.Salt[0] ^= 1 },
		"commitment":          func(s *Sealed, _ *[][]byte, _ *wire.Wrap) { s.Header.Commitment[0] ^= 1 },
		"another wrap":        func(_ *Sealed, _ *[][]byte, w *wire.Wrap) { *w = other.Wrap() },
		"wrap's run":          func(_ *Sealed, _ *[][]byte, w *wire.Wrap) { w.Run[0] ^= 1 },
		"wrap's encounter":    func(_ *Sealed, _ *[][]byte, w *wire.Wrap) { w.Encounter[0] ^= 1 },
	}
	for name, alter := range cases {
		s, c := fresh()
		w := k.Wrap()
		alter(&s, &c, &w)
		if _, err := open(r, w, s, c); !errors.Is(err, ErrOpen) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, c := fresh()
	w := k.Wrap()
	w.Epoch = 9
	if _, err := open(r, w, s, c); !errors.Is(err, ErrNoKey) {
		t.Errorf("unknown epoch: %v", err)
	}
}

func TestSealTwiceDiffers(t *testing.T) {
	k, _ := fixture(t)
	a, ca := sealAll(t, k, []byte("same"))
	b, cb := sealAll(t, k, []byte("same"))
	if a.Header.Salt == b.Header.Salt || bytes.Equal(ca[0], cb[0]) {
		t.Fatal("two seals of one body share salt or bytes: the nonce would repeat under one key")
	}
}

func TestDestroyed(t *testing.T) {
	k, _ := fixture(t)
	k.Destroy()
	if _, err := k.Seal(1, wire.Routine, nil, nil); !errors.Is(err, ErrClosed) || k.page != nil {
		t.Fatal(err)
	}
}

// The derivation is HKDF as the standard library has it.
func TestDerivation(t *testing.T) {
	for range 100 {
		var secret, salt [keySize]byte
		rand.Read(secret[:])
		rand.Read(salt[:])
		got := itemKey(&secret, &salt)
		for info, have := range map[string][keySize]byte{"telecart item key v1": got.key, "telecart key commitment v1": got.commitment} {
			if want, err := hkdf.Key(sha256.New, secret[:], salt[:], info, keySize); err != nil || !bytes.Equal(have[:], want) {
				t.Fatalf("%s: %x, not %x, %v", info, have, want, err)
			}
		}
	}
}

func FuzzOpenChunks(f *testing.F) {
	k, r := fixture(f)
	s, chunks := sealAll(f, k, bytes.Repeat([]byte("x"), 70000))
	f.Add(s.Bytes, chunks[0], chunks[1])
	f.Fuzz(func(t *testing.T, header, c0, c1 []byte) {
		h, err := wire.UnmarshalHeader(header)
		if err != nil {
			return
		}
		got, err := open(r, k.Wrap(), Sealed{Header: h, Bytes: header}, [][]byte{c0, c1})
		if err == nil && (!bytes.Equal(header, s.Bytes) || !bytes.Equal(c0, chunks[0]) || len(got) != 70000) {
			t.Fatal("something that was never sealed opened")
		}
	})
}
