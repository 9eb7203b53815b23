package courier

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/outbox/reader/author"
	"telecart/uplink/wire"
)

// door is a hub's door that receipts all it is given.
func door(t *testing.T, a *author.Author) *httptest.Server {
	print, err := Fingerprint(&a.Device.PublicKey)
	check(t, err)
	mux := http.NewServeMux()
	say := func(w http.ResponseWriter, v any) { check(t, json.NewEncoder(w).Encode(v)) }
	mux.HandleFunc("GET /courier/{tenant}/{cart}/about", func(w http.ResponseWriter, _ *http.Request) {
		say(w, About{Keys: []string{print}, List: a.Signed})
	})
	mux.HandleFunc("POST /courier/{tenant}/{cart}/known", func(w http.ResponseWriter, _ *http.Request) { say(w, []ledger.Hash{}) })
	mux.HandleFunc("POST /courier/{tenant}/{cart}/head", func(w http.ResponseWriter, _ *http.Request) { say(w, nil) })
	mux.HandleFunc("POST /courier/{tenant}/{cart}/v1/ledger", func(w http.ResponseWriter, _ *http.Request) { say(w, nil) })
	mux.HandleFunc("PUT /courier/{tenant}/{cart}/v1/items/{item}", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		m, _, _, err := wire.UnmarshalManifest(b[4 : 4+int(b[2])<<8+int(b[3])])
		check(t, err)
		receipt := a.Sign(m.Entry, wire.Received)
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Write(receipt.Marshal())
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// locked is a stick that takes no receipts of one book.
type locked struct {
	name  string
	err   error
	after int64
}

func (l locked) Do(op kit.Op, do func() error) error {
	if op.Kind == kit.OpWrite && strings.Contains(op.Path, l.name) && op.Off >= l.after {
		return l.err
	}
	return do()
}

// TestImportFromAStickThatTakesNothing: that receipts can't be written back costs nothing but them; what went in is said, and the
// next book is imported.
func TestImportFromAStickThatTakesNothing(t *testing.T) {
	for full, after := range map[error]int64{unix.ENOSPC: 100, unix.EACCES: 0, unix.EROFS: 0} {
		care, _ := cartState(t, 3, 500)
		state, stick := filepath.Dir(care.Dir), t.TempDir()
		play, err := author.New(filepath.Join(state, "practice"), ledger.Book{Tenant: "north", Cart: "cart-1", Practice: true})
		check(t, err)
		play.Device = care.Device
		record := play.Began(1)
		it, err := play.Put(1, capture.Note, wire.Routine, nil)
		check(t, err)
		h, err := play.Head()
		check(t, err, play.Segment(1, append([]author.Record{record}, it.All()...)), play.JSON("head", h))
		_, err = Export{State: state, To: stick}.Run(t.Context())
		check(t, err)
		hub := door(t, care)
		x := Import{From: stick, Client: hub.Client(), Base: hub.URL, Disk: kit.Disk{Watch: locked{NameOf(care.Book), full, after}}}
		out, err := x.Run(t.Context())
		var said strings.Builder
		perr := out.Print(&said)
		if err != nil || !errors.Is(perr, ErrSome) || len(out.Books) != 2 || out.Books[0].Items != 3 || out.Books[1].Items != 1 || len(out.Files) != 1 {
			t.Fatalf("%v %v\n%s", err, perr, said.String())
		}
		for _, want := range []string{"the hub holds 3 items", NameOf(care.Book) + ".tcr: the receipts could not be written to the stick", full.Error(), "in the hub all the same",
			"Receipts: TELECART/" + NameOf(play.Book) + ".tcr"} {
			if !strings.Contains(said.String(), want) {
				t.Errorf("%q is not said in\n%s", want, said.String())
			}
		}
		if left, err := filepath.Glob(filepath.Join(stick, Folder, "*.tcr*")); err != nil || len(left) != 1 {
			t.Errorf("%v %v", left, err)
		}
	}
}

// TestImportFromAStickThatCannotBeRead: what can't be read is named, costs nothing else, and isn't put down to the hub.
func TestImportFromAStickThatCannotBeRead(t *testing.T) {
	care, items := cartState(t, 2, 500)
	stick := t.TempDir()
	_, err := Export{State: filepath.Dir(care.Dir), To: stick}.Run(t.Context())
	check(t, err)
	files, err := filepath.Glob(filepath.Join(stick, Folder, "*"+cartExt))
	check(t, err)
	hub := door(t, care)
	good := hub.Config.Handler
	hub.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, AboutPath) { // the index of the stick was read by then
			check(t, os.Remove(files[0]), os.Mkdir(files[0], 0o700)) // it opens, and can't be read
		}
		good.ServeHTTP(w, r)
	})
	out, err := Import{From: stick, Client: hub.Client(), Base: hub.URL}.Run(t.Context())
	check(t, err)
	said := fmt.Sprint(out.Books[0].Problems)
	for _, it := range items {
		if !strings.Contains(said, fmt.Sprint("number ", it.Manifest.Entry.Number)) {
			t.Errorf("item %d is not named: %s", it.Manifest.Entry.Number, said)
		}
	}
	if !strings.Contains(said, "the stick can't be read") {
		t.Error(said)
	}
}

// TestFetchAddsToWhatWaits: receipts in the inbox stay, whatever a stick brings; what it brings is added.
func TestFetchAddsToWhatWaits(t *testing.T) {
	a, items := cartState(t, 6, 100)
	state := filepath.Dir(a.Dir)
	var rs []wire.Receipt
	for _, it := range items {
		rs = append(rs, a.Sign(it.Manifest.Entry, wire.Received))
	}
	waiting := func() (n int) {
		check(t, ReadInbox(kit.Disk{}, state, func(r Receipts) (bool, error) {
			n += len(r.Receipts)
			if r.Keys == nil || !bytes.Equal(r.Keys.List, a.Signed.List) {
				t.Error("the key list is gone")
			}
			return false, nil
		}))
		return n
	}
	bring := func(change func(b []byte) []byte, rs ...wire.Receipt) (int, []Damage, error) {
		t.Helper()
		stick := t.TempDir()
		check(t, WriteReceipts(kit.Disk{}, stick, a.Book, a.Signed, nil, rs))
		path := filepath.Join(stick, Folder, NameOf(a.Book)+receiptExt)
		b, err := os.ReadFile(path)
		check(t, err, os.WriteFile(path, change(b), 0o600))
		return Fetch(kit.Disk{}, stick, state, func(b ledger.Book) bool { return b == a.Book })
	}
	whole := func(b []byte) []byte { return b }
	if n, damage, err := bring(whole, rs[:4]...); n != 4 || len(damage) > 0 || err != nil || waiting() != 4 {
		t.Fatalf("%d %v %v", n, damage, err)
	}
	for name, c := range map[string]struct {
		change func(b []byte) []byte
		rs     []wire.Receipt
		brings int
	}{
		"cut off before the first receipt": {func(b []byte) []byte { return b[:bytes.Index(b, []byte("TCR\x01"))-30] }, rs, 0},
		"cut off after the first receipt":  {func(b []byte) []byte { return b[:bytes.Index(b, []byte("TCR\x01"))+300] }, rs, 1},
		"without a beginning":              {func(b []byte) []byte { b[3] ^= 1; return b }, rs, 0},
		"without receipts":                 {whole, nil, 0},
	} {
		n, damage, err := bring(c.change, c.rs...)
		if n != c.brings || len(damage) == 0 || err != nil || waiting() != 4 {
			t.Errorf("%s: %d %v %v; %d wait", name, n, damage, err, waiting())
		}
	}
	if n, damage, err := bring(whole, rs[3:]...); n != 3 || len(damage) > 0 || err != nil || waiting() != 6 {
		t.Errorf("fewer, and others: %d %v %v; %d wait", n, damage, err, waiting())
	}
	none := func(ledger.Book) bool { return false }
	if _, _, err := Fetch(kit.Disk{}, t.TempDir(), state, none); err == nil || !strings.Contains(err.Error(), "is this the stick") {
		t.Error(err)
	}
}
