package ledger

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"testing"

	"pgregory.net/rapid"
)

var (
	book = Book{Tenant: "north", Cart: "cart-1"}
	inc  = ID{0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11}
	run  = ID{0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22}
)

// Computed with Python's hashlib from the layouts in the comments of this package: genesis of the book above (care, then
// practice), entry 0 (a Run), entry 1 (the item 33..33), the digest that the head after entry 1 signs.
const (
	goldenGenesis  = "e4dd2003df7515fe29774bedb73e97cd741810efc1e900f014fa7eda06e3d545"
	goldenPractice = "8a3ea47e0e5139f59ce1f9958de7c93e1b1aa5a2ee679ea21c67cd034fac6110"
	goldenEntry0   = "11111111111111111111111111111111" + "0000000000000000" + "02" + "22222222222222222222222222222222" + goldenGenesis +
		"0000000000000000000000000000000000000000000000000000000000000000"
	goldenHash0  = "52f498a62b8ae7ba23976f52fb777a4c09d8040e5197068390fb86c1a1ebed10"
	goldenEntry1 = "11111111111111111111111111111111" + "0000000000000001" + "01" + "22222222222222222222222222222222" + goldenHash0 +
		"3333333333333333333333333333333333333333333333333333333333333333"
	goldenHash1 = "93f54f4b7b87e9f9c2b2d5741a89face33c8a690a7dcc7ff4028d9401859da1d"
	goldenHead  = "9bc910f7d42e8f139b040d8724810436f434d8596db51db4cff804bda1d6556c"
)

func item() (h Hash) {
	for i := range h {
		h[i] = 0x33
	}
	return h
}

func TestGolden(t *testing.T) {
	c := NewChain(book, inc, run)
	practice := book
	practice.Practice = true
	e0 := c.Entry(Run, Hash{})
	after := c.Advance(e0)
	e1 := after.Entry(Item, item())
	end := after.Advance(e1)
	for what, v := range map[string][2]string{
		"genesis": {c.Head.String(), goldenGenesis}, "practice": {practice.Genesis(inc).String(), goldenPractice},
		"entry 0": {hex.EncodeToString(e0.Marshal()), goldenEntry0}, "hash 0": {e0.Hash().String(), goldenHash0},
		"entry 1": {hex.EncodeToString(e1.Marshal()), goldenEntry1}, "hash 1": {end.Head.String(), goldenHash1},
		"head": {hex.EncodeToString(Head{Book: book, Incarnation: inc, Number: 1, Hash: end.Head}.digest()), goldenHead},
	} {
		if v[0] != v[1] {
			t.Errorf("%s: %s, want %s", what, v[0], v[1])
		}
	}
	if c.Next != 0 || after.Next != 1 || end.Next != 2 {
		t.Error("numbers")
	}
}

// What a book's names are cannot be moved from one to the other.
func TestFrameIsUnambiguous(t *testing.T) {
	seen := map[Hash]Book{}
	for _, b := range []Book{{"ab", "c", false}, {"a", "bc", false}, {"abc", "", false}, {"", "abc", false}, {"ab", "c", true}} {
		g := b.Genesis(inc)
		if other, ok := seen[g]; ok {
			t.Errorf("%v and %v begin alike", b, other)
		}
		seen[g] = b
	}
	if book.Genesis(inc) == book.Genesis(run) {
		t.Error("two incarnations begin alike")
	}
}

func TestFollows(t *testing.T) {
	c := NewChain(book, inc, run)
	first := c.Entry(Run, Hash{})
	c = c.Advance(first)
	good := c.Entry(Item, item())
	alter := func(f func(*Entry)) Entry { e := good; f(&e); return e }
	for _, x := range []struct {
		name string
		e    Entry
		err  error
	}{
		{"next", good, nil},
		{"of another run", alter(func(e *Entry) { e.Run = ID{5} }), nil},
		{"again", first, ErrGap},
		{"one left out", alter(func(e *Entry) { e.Number++ }), ErrGap},
		{"other incarnation", alter(func(e *Entry) { e.Incarnation = ID{5} }), ErrChain},
		{"other predecessor", alter(func(e *Entry) { e.Prev[31] ^= 1 }), ErrChain},
	} {
		if err := c.Follows(x.e); !errors.Is(err, x.err) {
			t.Errorf("%s: %v, want %v", x.name, err, x.err)
		}
	}
}

// A chain has no gap, and whatever is altered in any entry shows at the next one.
func TestChainProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := NewChain(book, NewID(), NewID())
		start, n := c, rapid.IntRange(2, 12).Draw(t, "entries")
		var es []Entry
		for range n {
			e := c.Entry(Kind(rapid.IntRange(1, 3).Draw(t, "kind")), Hash{rapid.Byte().Draw(t, "body")})
			es, c = append(es, e), c.Advance(e)
		}
		i := rapid.IntRange(0, n-2).Draw(t, "which")
		b := es[i].Marshal()
		at, bit := rapid.IntRange(0, EntrySize-1).Draw(t, "byte"), rapid.IntRange(0, 7).Draw(t, "bit")
		b[at] ^= 1 << bit
		broken := false
		for j, at := 0, start; j < n; j++ {
			e := es[j]
			if j == i {
				altered, err := UnmarshalEntry(b)
				if err != nil {
					broken = true
					break
				}
				e = altered
			}
			if at.Follows(e) != nil {
				broken = true
				break
			}
			at = at.Advance(e)
		}
		if !broken {
			t.Fatalf("byte %d of entry %d was altered, and nobody noticed", at, i)
		}
	})
}

func key(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestHead(t *testing.T) {
	k := key(t)
	c := NewChain(book, inc, run)
	if _, err := c.Sign(book, k); err == nil {
		t.Error("an empty ledger has a head")
	}
	c = c.Advance(c.Entry(Run, Hash{}))
	h, err := c.Sign(book, k)
	if err != nil {
		t.Fatal(err)
	}
	var travelled Head
	b, err := json.Marshal(h)
	if err == nil {
		err = json.Unmarshal(b, &travelled)
	}
	if err != nil || travelled.Verify(&k.PublicKey) != nil || h.Number != 0 || h.Hash != c.Head {
		t.Fatalf("%v: %s", err, b)
	}
	_, other, _ := ed25519.GenerateKey(rand.Reader)
	for name, f := range map[string]func(*Head) crypto.PublicKey{
		"tenant":       func(h *Head) crypto.PublicKey { h.Tenant = "south"; return k.Public() },
		"cart":         func(h *Head) crypto.PublicKey { h.Cart = "cart-2"; return k.Public() },
		"names moved":  func(h *Head) crypto.PublicKey { h.Tenant, h.Cart = "northc", "art-1"; return k.Public() },
		"practice":     func(h *Head) crypto.PublicKey { h.Practice = true; return k.Public() },
		"incarnation":  func(h *Head) crypto.PublicKey { h.Incarnation[0]++; return k.Public() },
		"number":       func(h *Head) crypto.PublicKey { h.Number++; return k.Public() },
		"hash":         func(h *Head) crypto.PublicKey { h.Hash[9]++; return k.Public() },
		"signature":    func(h *Head) crypto.PublicKey { h.Signature[len(h.Signature)-1]++; return k.Public() },
		"no signature": func(h *Head) crypto.PublicKey { h.Signature = nil; return k.Public() },
		"other key":    func(*Head) crypto.PublicKey { return key(t).Public() },
		"other sort":   func(*Head) crypto.PublicKey { return other.Public() },
		"no key":       func(*Head) crypto.PublicKey { return nil },
	} {
		x := h
		x.Signature = bytes.Clone(h.Signature)
		if pub := f(&x); x.Verify(pub) == nil {
			t.Errorf("%s: verified", name)
		}
	}
	if _, err := c.Sign(book, refuses{k}); err == nil {
		t.Error("a key that refuses signed")
	}
}

type refuses struct{ crypto.Signer }

func (refuses) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("no")
}

func TestNames(t *testing.T) {
	var h Hash
	var i ID
	for _, bad := range []string{"", "0", goldenHash0[1:], goldenHash0 + "0", goldenHash0 + "00", "g" + goldenHash0[1:]} {
		if h.UnmarshalText([]byte(bad)) == nil {
			t.Errorf("%q is a hash", bad)
		}
	}
	for _, bad := range []string{"", "11", goldenHash0, "111111111111111111111111111111111", "1111111111111111111111111111111x"} {
		if i.UnmarshalText([]byte(bad)) == nil {
			t.Errorf("%q is an id", bad)
		}
	}
	if h.UnmarshalText([]byte(goldenHash0)) != nil || h.String() != goldenHash0 || i.UnmarshalText([]byte(inc.String())) != nil || i != inc {
		t.Error("names don't come back")
	}
	if a, b := NewID(), NewID(); a == b || a == (ID{}) {
		t.Error("ids repeat")
	}
}

func FuzzUnmarshalEntry(f *testing.F) {
	for _, s := range []string{goldenEntry0, goldenEntry1, goldenEntry1 + "00", goldenEntry1[2:]} {
		b, _ := hex.DecodeString(s)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := UnmarshalEntry(b)
		if err != nil {
			return
		}
		if !bytes.Equal(e.Marshal(), b) {
			t.Fatal("not canonical")
		}
		if _, err := UnmarshalEntry(append(bytes.Clone(b), 0)); err == nil {
			t.Fatal("a byte may follow")
		}
	})
}
