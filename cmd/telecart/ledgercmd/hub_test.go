package ledgercmd

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/provisioning/identity"
	"telecart/uplink/hub/ingest"
	"telecart/uplink/hub/store"
	"telecart/uplink/outbox/reader/author"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// hubState is a hub's folder to which one cart delivered numbers 0 (its run) to 4.
type hubState struct {
	t     *testing.T
	dir   string
	a     *author.Author
	items []author.Item
	store *store.Store
	in    *ingest.Ingest
}

type quiet struct{}

func (quiet) ItemStored(ingest.ItemEvent) {}
func (quiet) Forked(ingest.Fork)          {}
func (quiet) Lost(ledger.Book, int)       {}

func newHubState(t *testing.T) *hubState {
	a, err := author.New(filepath.Join(t.TempDir(), "care"), carts)
	check(t, err)
	h := &hubState{t: t, dir: t.TempDir(), a: a}
	list, err := json.Marshal(a.Signed)
	check(t, err, os.WriteFile(filepath.Join(h.dir, "keylist.json"), list, 0o600))
	check(t, os.WriteFile(filepath.Join(h.dir, "root.pub"), a.Root.Public().(ed25519.PublicKey), 0o600))
	keys, err := json.Marshal(map[string]any{"records": []seal.RecordKey{a.Record}})
	check(t, err, os.WriteFile(filepath.Join(h.dir, "keys.json"), keys, 0o600))
	h.open()
	der, err := x509.MarshalPKIXPublicKey(a.Device.Public())
	check(t, err, h.store.Register().Issued(t.Context(), identity.Certificate{Tenant: "north", Cart: "cart-1", Serial: "01", Key: sha256.Sum256(der), Issued: time.Now(), Expires: time.Now().Add(time.Hour)}))
	run := a.Began(1)
	h.send(http.MethodPost, "/v1/ledger", run.Payload)
	for _, size := range []int{0, 140_000, 0, 0} {
		h.item(size)
	}
	h.head()
	return h
}

func (h *hubState) open() {
	s, err := store.Open(h.t.Context(), filepath.Join(h.dir, "store"), store.Options{Clock: kit.System{}})
	check(h.t, err)
	records, err := seal.NewRecords([]seal.RecordKey{h.a.Record})
	check(h.t, err)
	h.store = s
	h.t.Cleanup(func() { s.Close() })
	h.in, err = ingest.New(s, ingest.Options{Hub: author.Hub, Key: ingest.ReceiptKey{ID: 1, Private: h.a.Receipt}, Opener: records, Observer: quiet{},
		Peer: func(*http.Request) (ingest.Peer, error) {
			return ingest.Peer{Tenant: "north", Cart: "cart-1", Key: h.a.Device.Public()}, nil
		}})
	check(h.t, err)
}

func (h *hubState) close() { check(h.t, h.store.Close()) }

func (h *hubState) send(method, path string, body []byte) {
	h.t.Helper()
	w := httptest.NewRecorder()
	h.in.Handler().ServeHTTP(w, httptest.NewRequest(method, path, bytes.NewReader(body)))
	if w.Code != http.StatusOK {
		h.t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
}

func (h *hubState) item(size int) {
	it, err := h.a.Put(1, capture.Still, wire.Routine, noise(size))
	check(h.t, err)
	m := it.Manifest.Marshal()
	b := append(binary.BigEndian.AppendUint32(nil, uint32(len(m))), m...)
	for i, c := range it.Chunks {
		b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, uint32(i)), uint32(len(c)))
		b = append(b, c...)
	}
	h.send(http.MethodPut, "/v1/items/"+it.Manifest.Hash().String(), b)
	h.items = append(h.items, it)
}

func (h *hubState) head() {
	head, err := h.a.Head()
	check(h.t, err, h.in.Head(h.t.Context(), ingest.Peer{Tenant: "north", Cart: "cart-1", Key: h.a.Device.Public()}, head))
}

// sql does what somebody with the file could do.
func (h *hubState) sql(statements ...string) {
	db, err := sql.Open("sqlite", filepath.Join(h.dir, "store/hub.db"))
	check(h.t, err)
	for _, s := range statements {
		r, err := db.Exec(s)
		check(h.t, err)
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			h.t.Fatalf("%s: %d rows, %v", s, n, err)
		}
	}
	check(h.t, db.Close())
}

func (h *hubState) blob(number int) string {
	hash := h.items[number-1].Manifest.Hash().String()
	return filepath.Join(h.dir, "store/blobs/north", hash[:2], hash+".item")
}

func (h *hubState) verify(o Options) *Verdict {
	h.t.Helper()
	before := stamps(h.t, h.dir)
	h.t.Chdir(filepath.Dir(h.dir))
	v, err := Verify(h.t.Context(), filepath.Base(h.dir), o) // a relative path, as people type it
	check(h.t, err)
	if after := stamps(h.t, h.dir); before != after {
		h.t.Errorf("the folder was touched:\n%s\n%s", before, after)
	}
	return v
}

func codes(v *Verdict) (out []string) {
	for _, b := range v.Books {
		for _, p := range b.Problems {
			x := p.Code
			if p.First != nil {
				x += " " + string(rune('0'+*p.First))
			}
			out = append(out, x)
		}
	}
	slices.Sort(out)
	return out
}

func TestVerdictOfAHub(t *testing.T) {
	flip := func(h *hubState, path string, from int) {
		b, err := os.ReadFile(path)
		check(t, err)
		b[(from+len(b))%len(b)] ^= 1
		check(t, os.WriteFile(path, b, 0o600))
	}
	for name, c := range map[string]struct {
		tamper  func(h *hubState)
		want    []string
		says    string
		records bool
	}{
		"whole":                   {func(*hubState) {}, nil, "Complete and unaltered. Ledger of care of cart cart-1 of north: up to number 4 ", false},
		"whole, each item opened": {func(*hubState) {}, nil, "Complete", true},
		"a bit in a chunk":        {func(h *hubState) { flip(h, h.blob(2), -9) }, []string{"altered 2"}, "Number 2, the item", false},
		"a bit in a manifest":     {func(h *hubState) { flip(h, h.blob(2), 40) }, []string{"altered 2"}, "its sealed file is not here, or is another", false},
		"an item's file is gone":  {func(h *hubState) { check(t, os.Remove(h.blob(3))) }, []string{"altered 3"}, "its sealed file is not here", false},
		"an entry is gone":        {func(h *hubState) { h.sql(`DELETE FROM entries WHERE number = 2`) }, []string{"missing 2"}, "Missing: number 2.", false},
		"an item's row is gone": {func(h *hubState) {
			h.sql(`DELETE FROM receipts WHERE sequence = 2`, `DELETE FROM items WHERE number = 2`)
		}, []string{"missing 2"}, "and the item itself is not here", false},
		"an entry is about another": {func(h *hubState) { h.sql(`UPDATE entries SET body = prev WHERE number = 3`) }, []string{"altered 3", "altered 3", "altered 3", "missing 3"}, "Number 3 was altered", false},
		"two entries change places": {func(h *hubState) {
			h.sql(`UPDATE entries SET number = CASE number WHEN 2 THEN 3 ELSE 2 END WHERE number IN (2, 3)`)
		}, nil, "NOT complete", false},
		"a receipt is altered": {func(h *hubState) {
			h.sql(`UPDATE receipts SET receipt = CAST(substr(receipt, 1, length(receipt) - 1) || x'00' AS BLOB) WHERE sequence = (SELECT min(sequence) FROM receipts)`)
		}, []string{"forged 1"}, "A receipt for number 1 is not good", false},
		"the head is gone":          {func(h *hubState) { h.sql(`DELETE FROM heads`) }, []string{"unsigned"}, "No head of incarnation", false},
		"the head says more":        {func(h *hubState) { h.sql(`UPDATE heads SET number = 9`) }, []string{"forged 9", "unsigned"}, "NOT complete", false},
		"what an item says":         {func(h *hubState) { h.sql(`UPDATE items SET meta = replace(meta, 'still', 'stiII') WHERE number = 2`) }, []string{"altered 2"}, "describes it otherwise", true},
		"another key's certificate": {func(h *hubState) { h.sql(`UPDATE certificates SET key = 'aa'`, `UPDATE carts SET key = 'aa'`) }, []string{"forged 4", "unsigned"}, "NOT complete", false},
		"a card that was cloned": {func(h *hubState) {
			h.open()
			other := h.a.Chain
			other.Head[0]++
			head, err := other.Sign(carts, h.a.Device)
			check(t, err, h.in.Head(t.Context(), ingest.Peer{Tenant: "north", Cart: "cart-1", Key: h.a.Device.Public()}, head))
			h.close()
		}, []string{"altered 4", "forked 4"}, "The cart signed two ledgers", false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHubState(t)
			h.close()
			c.tamper(h)
			var o Options
			if c.records {
				o.Records = filepath.Join(h.dir, "keys.json")
			}
			v := h.verify(o)
			var out bytes.Buffer
			check(t, v.print(&out, time.Unix(0, 0), "test"))
			got := codes(v)
			if c.want != nil && !slices.Equal(got, c.want) || v.Complete != strings.HasPrefix(c.says, "Complete") || !strings.Contains(out.String(), c.says) {
				t.Errorf("problems %q, want %q\n%s", got, c.want, out.String())
			}
			if c.records && v.Opened == 0 {
				t.Errorf("%d items were opened", v.Opened)
			}
		})
	}
}

// TestVerdictWhileTheHubRuns: what it has committed is seen, though the database itself does not have it yet.
func TestVerdictWhileTheHubRuns(t *testing.T) {
	h := newHubState(t)
	if _, err := os.Stat(filepath.Join(h.dir, "store/hub.db-wal")); err != nil {
		t.Fatal("there is no write-ahead log: ", err)
	}
	v := h.verify(Options{})
	if !v.Complete || v.Books[0].Incarnations[0].Last != 4 || !strings.Contains(strings.Join(v.Notes, " "), "was at work") {
		t.Errorf("%s", jsonOf(t, v))
	}
	left, err := filepath.Glob("/dev/shm/telecart-verify-*")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestVerdictOfARestoredHub: it is whole up to where the copy was made, and what shows that it is a copy is said.
func TestVerdictOfARestoredHub(t *testing.T) {
	h := newHubState(t)
	h.close()
	db := filepath.Join(h.dir, "store/hub.db")
	old, err := os.ReadFile(db)
	check(t, err)
	h.open()
	h.item(0)
	h.head()
	h.close()
	check(t, os.Remove(db), os.WriteFile(db, old, 0o600))
	v := h.verify(Options{})
	said := strings.Join(v.Notes, " ")
	if !v.Complete || v.Books[0].Incarnations[0].Last != 4 || !strings.Contains(said, "restored or copied") || !strings.Contains(said, h.items[4].Manifest.Hash().String()) {
		t.Errorf("%s", jsonOf(t, v))
	}
}

func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	for _, prepare := range []func(){func() {}, func() { check(t, os.WriteFile(filepath.Join(dir, "hub.db"), noise(5000), 0o600)) }} {
		prepare()
		if v, err := Verify(t.Context(), dir, Options{}); err == nil {
			t.Errorf("%+v", v)
		}
	}
}
