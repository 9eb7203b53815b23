package wire

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"testing"
	"time"
)

func listRoot() (ed25519.PublicKey, ed25519.PrivateKey) {
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	return private.Public().(ed25519.PublicKey), private
}

func sampleList() KeyList {
	root, _ := listRoot()
	return KeyList{Version: 2, Hub: "hub.example", Issued: time.Unix(1, 0).UTC(), Expires: time.Unix(2, 0).UTC(),
		Records: []RecordKey{{Epoch: 1, KEM: 0x20, Public: bytes.Repeat([]byte{1}, 32)}, {Epoch: 1, Practice: true, KEM: 0x20, Public: bytes.Repeat([]byte{2}, 32)},
			{Epoch: 2, KEM: 0x20, Public: bytes.Repeat([]byte{3}, 32)}, {Epoch: 2, Practice: true, KEM: 0x20, Public: bytes.Repeat([]byte{4}, 32)}},
		Receipts: []ReceiptKey{{ID: 1, Public: root}}}
}

// A list that says two things at once is refused, signed or not: which key is meant must not depend on who reads it.
func TestKeyListSaysOneThing(t *testing.T) {
	root, private := listRoot()
	for name, change := range map[string]func(*KeyList){
		"an epoch twice":          func(l *KeyList) { l.Records[2].Epoch = 1 },
		"epoch 0":                 func(l *KeyList) { l.Records[0].Epoch = 0 },
		"a record key of nothing": func(l *KeyList) { l.Records[1].Public = nil },
		"a record key too long":   func(l *KeyList) { l.Records[1].Public = make([]byte, maxListedBytes+1) },
		"a receipt key twice":     func(l *KeyList) { l.Receipts = append(l.Receipts, l.Receipts[0]) },
		"too many keys":           func(l *KeyList) { l.Receipts = make([]ReceiptKey, maxListedKeys+1) },
		"a list too long":         func(l *KeyList) { l.Hub = string(make([]byte, MaxKeyList)) },
	} {
		l := sampleList()
		change(&l)
		s, err := SignKeyList(l, private)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Open(root, 0); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTwoListsOfOneVersion(t *testing.T) {
	_, private := listRoot()
	l := sampleList()
	one, err := SignKeyList(l, private)
	if err != nil {
		t.Fatal(err)
	}
	l.Records = l.Records[:2]
	two, err := SignKeyList(l, private)
	if err != nil {
		t.Fatal(err)
	}
	if one.Differs(2, one, 2) || two.Differs(3, one, 2) || !two.Differs(2, one, 2) {
		t.Error("the same, a newer one, another one")
	}
}

func FuzzKeyList(f *testing.F) {
	root, private := listRoot()
	for _, change := range []func(*KeyList){func(*KeyList) {}, func(l *KeyList) { l.Records = nil }, func(l *KeyList) { l.Version = 1 << 63 }} {
		l := sampleList()
		change(&l)
		b, err := json.Marshal(l)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"version":1,"records":[{"epoch":1,"public":""}]}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		signed := SignedKeyList{List: b, Signature: ed25519.Sign(private, append([]byte(keyListDomain), b...))}
		l, err := signed.Open(root, 0)
		if err != nil {
			return
		}
		seen := map[[2]uint32]bool{}
		for _, practice := range []bool{false, true} {
			newest, err := l.Record(practice)
			for _, r := range l.Records {
				if r.Practice != practice {
					continue
				}
				k := [2]uint32{r.Epoch, map[bool]uint32{true: 1}[practice]}
				if err != nil || r.Epoch > newest.Epoch || len(r.Public) == 0 || seen[k] {
					t.Fatalf("epoch %d (practice %t) beside %d: %v", r.Epoch, practice, newest.Epoch, err)
				}
				seen[k] = true
			}
		}
		// Signed again it is the same list, and a cart that holds it takes no older one.
		again, err := SignKeyList(l, private)
		if err != nil {
			return // a time that JSON can't hold is read but not written
		}
		if back, err := again.Open(root, l.Version); err != nil || back.Version != l.Version || len(back.Records) != len(l.Records) {
			if len(again.List) <= MaxKeyList {
				t.Fatalf("signed again: %v", err)
			}
		}
		if l.Version < 1<<64-1 {
			if _, err := signed.Open(root, l.Version+1); !errors.Is(err, ErrOldKeyList) {
				t.Fatal("the version went back")
			}
		}
	})
}
