package couriercmd

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/courier"
	"telecart/uplink/outbox/reader/author"
	"telecart/uplink/wire"
)

func check(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func run(t *testing.T, args ...string) (string, error) {
	var out bytes.Buffer
	c := New()
	c.SilenceUsage, c.SilenceErrors = true, true
	c.SetOut(&out)
	c.SetErr(&out)
	c.SetArgs(args)
	err := c.ExecuteContext(t.Context())
	return out.String(), err
}

// cart writes a cart's folder: two items, no head written down, the device key beside them.
func cart(t *testing.T) (*author.Author, string) {
	state := t.TempDir()
	a, err := author.New(filepath.Join(state, "care"), ledger.Book{Tenant: "north", Cart: "cart-1"})
	check(t, err)
	records := []author.Record{a.Began(1)}
	for range 2 {
		it, err := a.Put(1, capture.Note, wire.Routine, nil)
		check(t, err)
		records = append(records, it.All()...)
	}
	der, err := x509.MarshalECPrivateKey(a.Device)
	check(t, err, a.Segment(1, records), os.MkdirAll(filepath.Join(state, "identity"), 0o700))
	check(t, os.WriteFile(filepath.Join(state, "identity/key.pem"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600))
	certificate := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "cart-1"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0)}
	cert, err := x509.CreateCertificate(rand.Reader, certificate, certificate, a.Device.Public(), a.Device)
	check(t, err)
	id, err := json.Marshal(map[string]any{"tenant": "north", "cart": "cart-1", "keys_root": a.Root.Public().(ed25519.PublicKey),
		"certificate": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))})
	check(t, err, os.WriteFile(filepath.Join(state, "identity/identity.json"), id, 0o600))
	return a, state
}

func TestExportCommand(t *testing.T) {
	a, state := cart(t)
	stick := t.TempDir()
	said, err := run(t, "export", "--state", state, "--to", stick)
	if err != nil || !strings.Contains(said, "2 items (") || !strings.Contains(said, "0 were on the stick already") || !strings.Contains(said, "epochs [1]") {
		t.Errorf("%s%v", said, err)
	}
	if said, err = run(t, "export", "--state", state, "--to", stick); err != nil || !strings.Contains(said, "0 items (0 bytes) were written and read back; 2 were on the stick already") {
		t.Errorf("%s%v", said, err)
	}
	if k, ok := deviceKey(state).(*ecdsa.PrivateKey); !ok || !k.Equal(a.Device) {
		t.Error("the device key was not found")
	}
	if said, err = run(t, "export", "--state", state, "--to", t.TempDir(), "--limit", "200"); err == nil || !strings.Contains(said, "2 items were left: the limit") {
		t.Errorf("%s%v", said, err)
	}
}

// TestDeviceKey: what lies under the key's name is the cart's key only if a certificate says so: a wipe leaves another.
func TestDeviceKey(t *testing.T) {
	for name, change := range map[string]func(state string) error{
		"wiped":          func(state string) error { return os.WriteFile(filepath.Join(state, "wiped.json"), []byte("{}"), 0o600) },
		"no certificate": func(state string) error { return os.Remove(filepath.Join(state, "identity/identity.json")) },
		"no key":         func(state string) error { return os.Remove(filepath.Join(state, "identity/key.pem")) },
		"no PEM":         func(state string) error { return os.WriteFile(filepath.Join(state, "identity/key.pem"), nil, 0o600) },
		"another's key":  func(state string) error { return otherKey(t, filepath.Join(state, "identity/key.pem")) },
		"no identity in it": func(state string) error {
			return os.WriteFile(filepath.Join(state, "identity/identity.json"), []byte("{}"), 0o600)
		},
	} {
		_, state := cart(t)
		if check(t, change(state)); deviceKey(state) != nil {
			t.Errorf("%s: it would sign", name)
		}
		if said, err := run(t, "export", "--state", state, "--to", t.TempDir()); err != nil || !strings.Contains(said, "2 items (") {
			t.Errorf("%s: %s%v", name, said, err)
		}
	}
}

func otherKey(t *testing.T, path string) error {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	check(t, err)
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

// TestWrongFolders: a folder that is not what it is taken for is named, and is an error.
func TestWrongFolders(t *testing.T) {
	_, state := cart(t)
	typo, stick := state+"x", t.TempDir()
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"export", "--state", typo, "--to", stick}, typo},
		{[]string{"export", "--state", state, "--to", typo}, typo},
		{[]string{"import", stick, "--state", state}, stick},
		{[]string{"import", typo, "--state", state}, typo},
		{[]string{"import", stick, "--state", typo}, typo},
	} {
		if said, err := run(t, c.args...); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %s%v", c.args, said, err)
		}
	}
	if _, err := os.Lstat(typo); err == nil {
		t.Error("it was made")
	}
}

// TestImportDamage: what is damaged is told, also by the exit code.
func TestImportDamage(t *testing.T) {
	a, state := cart(t)
	stick := t.TempDir()
	r := a.Sign(ledger.Entry{}, wire.Received)
	check(t, courier.WriteReceipts(kit.Disk{}, stick, a.Book, a.Signed, nil, []wire.Receipt{r, r}))
	path := filepath.Join(stick, courier.Folder, courier.NameOf(a.Book)+".tcr")
	b, err := os.ReadFile(path)
	check(t, err, os.WriteFile(path, b[:len(b)-100], 0o600))
	if said, err := run(t, "import", stick, "--state", state); !errors.Is(err, courier.ErrSome) || !strings.Contains(said, "cut off") || !strings.Contains(said, "1 receipts wait") {
		t.Errorf("%s%v", said, err)
	}
}

func TestImportCommand(t *testing.T) {
	a, state := cart(t)
	stick := t.TempDir()
	r := a.Sign(ledger.Entry{}, wire.Received)
	check(t, courier.WriteReceipts(kit.Disk{}, stick, a.Book, a.Signed, nil, []wire.Receipt{r}),
		courier.WriteReceipts(kit.Disk{}, stick, ledger.Book{Tenant: "north", Cart: "cart-2"}, a.Signed, nil, []wire.Receipt{r, r}))
	said, err := run(t, "import", stick, "--state", state)
	if err != nil || !strings.HasPrefix(said, "1 receipts wait") {
		t.Errorf("%s%v", said, err)
	}
	for _, args := range [][]string{{"import", stick}, {"import", stick, "--state", state, "--hub", state}, {"import", stick, "--hub", state}, {"import", stick, "--state", stick}} {
		if said, err := run(t, args...); err == nil {
			t.Errorf("%v: %s", args, said)
		}
	}
}
