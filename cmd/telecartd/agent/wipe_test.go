package agent

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/provisioning/identity"
	"telecart/uplink/outbox"
)

// tree is every file below a folder.
func tree(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	out := map[string][32]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		out[strings.TrimPrefix(path, dir)] = sha256.Sum256(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// secretsOf are the forms in which the device key could lie about: PEM text, DER, the number itself.
func secretsOf(t *testing.T, dir string) (text []byte, secrets [][]byte, public *ecdsa.PublicKey) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "identity", "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	k := key.(*ecdsa.PrivateKey)
	number, err := k.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return text, [][]byte{text[30:80], block.Bytes, number}, &k.PublicKey
}

// After a wipe nothing below STATE has the key, the outboxes are as they were, and their end is signed.
func TestWipe(t *testing.T) {
	r := newRig(t).enrolled()
	r.start()
	r.do("open", `{}`)
	saved := r.do("note", `{"text":"before the wipe"}`)[0]
	secret := filepath.Join(t.TempDir(), "wifi", "site.psk")
	if err := errors.Join(os.Mkdir(filepath.Dir(secret), 0o700), os.WriteFile(secret, []byte("psk"), 0o600)); err != nil {
		t.Fatal(err)
	}
	set := r.settings()
	set.Wipe = []string{filepath.Dir(secret), filepath.Join(t.TempDir(), "none")}
	if err := set.check(); err != nil {
		t.Fatal(err)
	}
	if _, err := Wipe(t.Context(), set, kit.System{}); err == nil || !strings.Contains(err.Error(), "another agent") {
		t.Fatalf("wiped under a running agent: %v", err)
	}
	r.stop()
	_, secrets, public := secretsOf(t, r.dir)
	before := tree(t, filepath.Join(r.dir, "care"))
	w, err := Wipe(t.Context(), set, kit.System{})
	if err != nil || w.Unsigned != nil || w.Cart != "cart-1" || w.Tenant != "north" {
		t.Fatalf("%+v %v", w, err)
	}
	err = filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, s := range secrets {
			if bytes.Contains(b, s) {
				t.Errorf("%s holds the destroyed key", path)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	after := tree(t, filepath.Join(r.dir, "care"))
	delete(before, "/"+outbox.HeadFile)
	delete(after, "/"+outbox.HeadFile)
	if len(before) == 0 || len(before) != len(after) {
		t.Fatalf("%d files, then %d", len(before), len(after))
	}
	for name, sum := range before {
		if after[name] != sum {
			t.Errorf("the wipe touched %s", name)
		}
	}
	for _, gone := range []string{secret, filepath.Join(r.dir, "keys.json"), filepath.Join(r.dir, "encounter.json"), filepath.Join(r.dir, "identity", "identity.json")} {
		if _, err := os.Lstat(gone); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", gone, err)
		}
	}
	r.signedEnd(public, saved.Item)
}

// signedEnd checks that the care ledger's end is signed by a key that is gone, and covers an item.
func (r *rig) signedEnd(public *ecdsa.PublicKey, item ledger.Hash) {
	r.t.Helper()
	var last uint64
	found := false
	var head *ledger.Head
	for f, err := range outbox.Inspect(filepath.Join(r.dir, "care")) {
		if err != nil {
			r.t.Fatal(err)
		}
		if f.Entry != nil {
			last = f.Entry.Entry.Number
			found = found || f.Entry.Entry.Body == item
		}
		if f.Item != nil {
			last, found = f.Item.Entry.Number, found || f.Item.Entry.Body == item
		}
		if f.Head != nil && f.Head.Segment == 0 {
			head = &f.Head.Head
		}
	}
	if !found || head == nil || head.Number != last {
		r.t.Fatalf("item found: %t; head %+v, last entry %d", found, head, last)
	}
	if err := head.Verify(public); err != nil {
		r.t.Error(err)
	}
}

// A wiped cart captures nothing until it is claimed; then its ledger goes on, under a new key.
func TestWipedUntilClaimed(t *testing.T) {
	r := newRig(t).enrolled()
	r.start()
	r.do("open", `{}`)
	saved := r.do("note", `{"text":"before the wipe"}`)[0]
	r.stop()
	_, _, old := secretsOf(t, r.dir)
	if _, err := Wipe(t.Context(), r.settings(), kit.System{}); err != nil {
		t.Fatal(err)
	}
	r.seed() // not even if a key list lies about
	a := r.start()
	r.refused("open", `{}`, "not-enrolled")
	if err := a.Ready(); !errors.Is(err, ErrWiped) {
		t.Errorf("ready: %v", err)
	}
	if s := a.state(); s.Encounter != nil || s.Link.State != "not-enrolled" {
		t.Errorf("%+v", s)
	}
	r.stop()
	id, err := identity.Open(filepath.Join(r.dir, "identity"), kit.System{})
	if err == nil {
		err = settle(r.dir, id, "south", "cart-9")
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(r.dir, "care")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("another hospital's cart goes on in this one's ledger")
	}
	if err := r.make().Claim(t.Context(), r.issue()); err != nil { // back under its own name
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(r.dir, wipedFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("claimed, and yet wiped: %v", err)
	}
	der, err := x509.MarshalPKIXPublicKey(old)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(r.dir, formerFile)); err != nil || string(b) != fmt.Sprintf(`["%x"]`, sha256.Sum256(der)) {
		t.Errorf("who signed until then is forgotten: %s %v", b, err)
	}
	r.seed()
	a = r.start()
	if err := a.Ready(); err != nil {
		t.Fatal(err)
	}
	r.do("open", `{}`)
	r.do("note", `{"text":"after the claim"}`)
	if b := r.body(0, saved.Item); b.Note == nil || b.Note.Text != "before the wipe" {
		t.Error("the item from before is gone")
	}
	head, err := a.boxes()[0].Head()
	if err != nil || head.Verify(old) == nil {
		t.Errorf("the destroyed key signed: %v", err)
	}
	entry, ok := a.boxes()[0].Entry(saved.Item)
	if !ok || entry.Incarnation != head.Incarnation || entry.Number >= head.Number {
		t.Errorf("the ledger did not go on: %+v, %+v", entry, head)
	}
}

// A wipe that was cut short after its mark is ended by the next start.
func TestWipeCutShort(t *testing.T) {
	r := newRig(t).enrolled()
	_, secrets, _ := secretsOf(t, r.dir)
	id, err := identity.Open(filepath.Join(r.dir, "identity"), kit.System{})
	if err != nil {
		t.Fatal(err)
	}
	mark := `{"tenant":"north","cart":"cart-1","device":"` + deviceName(id) + `"}`
	if err := os.WriteFile(filepath.Join(r.dir, wipedFile), []byte(mark), 0o600); err != nil {
		t.Fatal(err)
	}
	a := r.start()
	if err := a.Ready(); !errors.Is(err, ErrWiped) {
		t.Errorf("ready: %v", err)
	}
	now, err := os.ReadFile(filepath.Join(r.dir, "identity", "key.pem"))
	if err != nil || bytes.Contains(now, secrets[0]) {
		t.Errorf("the key outlived the next start: %v", err)
	}
	// A mark that a claim has followed means nothing.
	if err := r.make().Claim(t.Context(), r.issue()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.dir, wipedFile), []byte(mark), 0o600); err != nil {
		t.Fatal(err)
	}
	r.seed()
	if err := r.start().Ready(); err != nil {
		t.Error(err)
	}
}

// A cart that had no identity is wiped, then claimed, and power fails before the mark of the wipe is gone: the new identity
// stays. A mark that names no claim still means a wipe.
func TestClaimCutShort(t *testing.T) {
	r := newRig(t)
	r.make() // and a key is there
	if _, err := Wipe(t.Context(), r.settings(), kit.System{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(r.dir, wipedFile)
	bare, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var mark []byte
	a := r.make()
	a.id.Proxy = func(*http.Request) (*url.URL, error) { // the claim is on its way
		mark, err = os.ReadFile(path)
		return nil, err
	}
	if err := a.Claim(t.Context(), r.claim); err != nil {
		t.Fatal(err)
	}
	r.seed()
	for _, step := range []struct {
		mark []byte
		want error
	}{{mark, nil}, {bare, ErrWiped}} {
		if err := os.WriteFile(path, step.mark, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := r.start().Ready(); !errors.Is(err, step.want) {
			t.Errorf("%s: %v, want %v", step.mark, err, step.want)
		}
	}
	if w, err := Wipe(t.Context(), r.stopped(), kit.System{}); err != nil || w.Claiming != "" {
		t.Errorf("%+v %v", w, err)
	}
}

// stopped is the settings of the cart, which stands still.
func (r *rig) stopped() Settings { r.stop(); return r.settings() }

// A wipe in the wrong folder is refused, and makes or touches nothing: the real key would stay on the disk, and "wiped" be said.
func TestWipeInTheWrongFolder(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "site.psk")
	set := Defaults()
	set.Wipe = []string{secret}
	none, file, empty, book := filepath.Join(t.TempDir(), "none"), filepath.Join(t.TempDir(), "file"), t.TempDir(), t.TempDir()
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.WriteFile(secret, nil, 0o600), os.MkdirAll(filepath.Join(book, "care"), 0o700),
		os.Mkdir(filepath.Join(book, "identity"), 0o700)); err != nil {
		t.Fatal(err)
	}
	for _, set.State = range []string{none, file, empty, book} {
		if w, err := Wipe(t.Context(), set, kit.System{}); !errors.Is(err, ErrNothingToWipe) || !strings.Contains(err.Error(), set.State) || !strings.Contains(err.Error(), "--config") {
			t.Errorf("%+v %v", w, err)
		}
	}
	if _, err := os.Lstat(none); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s was made: %v", none, err)
	}
	if len(tree(t, empty))+len(tree(t, book)) > 0 {
		t.Error("something was made")
	}
	if _, err := os.Lstat(secret); err != nil {
		t.Error(err)
	}
	// Damaged, and yet an identity: its key goes.
	if err := os.WriteFile(filepath.Join(book, "identity", "key.pem.damaged"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	set.State = book
	for range 2 {
		if _, err := Wipe(t.Context(), set, kit.System{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Lstat(filepath.Join(book, "identity", "key.pem.damaged")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the damaged key is still there: %v", err)
	}
}

func TestWipeSetting(t *testing.T) {
	s := Defaults()
	for path, ok := range map[string]bool{"/etc/wpa_supplicant.conf": true, "/etc/wpa_supplicant/site.conf": true, "wifi": false, "/": false, "/var": false,
		"/var/lib": false, "/var/lib/telecart": false, "/var/lib/telecart/care": false, "/var/lib/telecart/care/x": false, "/var/lib/iwd": true} {
		if s.Wipe = []string{path}; (s.check() == nil) != ok {
			t.Errorf("%s: %v", path, s.check())
		}
	}
}
