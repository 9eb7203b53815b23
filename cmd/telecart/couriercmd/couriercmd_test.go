package couriercmd

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	id, err := json.Marshal(map[string]any{"tenant": "north", "cart": "cart-1", "keys_root": a.Root.Public().(ed25519.PublicKey)})
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
