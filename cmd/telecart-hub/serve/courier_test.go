package serve

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/cmd/telecart/ledgercmd"
	"telecart/device/kit"
	"telecart/uplink/courier"
	"telecart/uplink/courier/inbox"
	"telecart/uplink/hub/store"
	"telecart/uplink/outbox"
	"telecart/uplink/outbox/reader/author"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// carrier is a cart with an outbox of its own, that its hub knows, and a stick.
type carrier struct {
	t     *testing.T
	h     *running
	cart  *cart
	state string
	stick string
	box   *outbox.Outbox
	key   *seal.Key
}

func newCarrier(t *testing.T) *carrier {
	return carrierAt(t, start(t, initState(t)))
}

func carrierAt(t *testing.T, h *running) *carrier {
	c := &carrier{t: t, h: h, state: t.TempDir(), stick: t.TempDir()}
	c.cart = c.h.enrol(filepath.Join(c.state, "identity"))
	w := c.cart.dial()
	b, err := json.Marshal(w.Keys)
	c.no(err, os.WriteFile(filepath.Join(c.state, "keys.json"), b, 0o600))
	run := ledger.NewID()
	record, err := c.cart.keys.Record(false)
	c.no(err)
	sealer, err := seal.NewSealer(c.cart.book, run, record)
	c.no(err)
	c.key, err = sealer.NewKey(c.cart.visit)
	c.no(err)
	c.box, err = outbox.Open(context.Background(), outbox.Options{Dir: filepath.Join(c.state, "care"), Book: c.cart.book, Run: run, Signer: c.cart.id.Signer(),
		Clock: kit.System{}, SegmentSize: 2 << 20})
	c.no(err)
	t.Cleanup(func() { c.no(c.box.Close()) })
	return c
}

func (c *carrier) no(errs ...error) {
	c.t.Helper()
	for _, err := range errs {
		if err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *carrier) save(u wire.Urgency, blob int) outbox.Saved {
	c.t.Helper()
	plain, err := capture.Body{Kind: capture.Still, ID: ledger.NewID(), Encounter: c.cart.visit, At: kit.Stamp{Wall: time.Now()}, Urgent: u == wire.Urgent,
		Media: &capture.MediaInfo{Type: "image/jpeg"}, Blob: bytes.Repeat([]byte("jpegdata"), blob/8)}.Marshal()
	c.no(err)
	s, err := c.box.Put(context.Background(), c.key, uint8(capture.Still), u, plain)
	c.no(err)
	return s
}

func (c *carrier) export(x courier.Export) courier.Exported {
	c.t.Helper()
	x.State, x.To = c.state, c.stick
	who, err := c.cart.id.Identity()
	c.no(err)
	x.Root = who.KeysRoot[:]
	out, err := x.Run(c.t.Context())
	c.no(err)
	return out
}

func (c *carrier) imported(trust courier.Trust) (courier.Imported, string) {
	c.t.Helper()
	out, err := ImportCourier(c.t.Context(), c.h.state, c.stick, trust)
	c.no(err)
	var said strings.Builder
	_ = out.Print(&said)
	return out, said.String()
}

// files are the stick's, with their content.
func (c *carrier) files() map[string]string {
	out := map[string]string{}
	names, err := filepath.Glob(filepath.Join(c.stick, courier.Folder, "*"))
	c.no(err)
	for _, n := range names {
		b, err := os.ReadFile(n)
		c.no(err)
		out[filepath.Base(n)] = string(b)
	}
	return out
}

func (c *carrier) verdict() string {
	c.t.Helper()
	v, err := ledgercmd.Verify(c.t.Context(), c.h.state, ledgercmd.Options{Records: filepath.Join(c.h.state, keysFile)})
	c.no(err)
	if v.Unopened > 0 {
		c.t.Errorf("%d items were not opened", v.Unopened)
	}
	return v.Sentence
}

// receiptByLink is what the cart gets when it asks for an item over the link.
func (c *carrier) receiptByLink(s outbox.Saved) []byte {
	c.t.Helper()
	resp, err := c.cart.http.Get("https://carts." + hubName + "/v1/items/" + s.Hash.String() + "?entry=" + s.Entry.Hash().String())
	c.no(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	c.no(err)
	if resp.StatusCode != http.StatusOK {
		c.t.Fatalf("%s: %s", resp.Status, b)
	}
	return b
}

// TestCourier: items go by a stick to the very receipts that the link would bring, the hub running or not, once or twice.
func TestCourier(t *testing.T) {
	c := newCarrier(t)
	var saved []outbox.Saved
	for i := range 5 {
		saved = append(saved, c.save(wire.Urgency(i%2), 500))
	}
	saved = append(saved, c.save(wire.Routine, 400_000))
	c.no(c.box.SaveHead())
	first := c.export(courier.Export{Limit: 1600}) // of 768 bytes each: the two urgent ones
	if first.Items != 2 || first.Left != 4 {
		t.Fatalf("%+v", first)
	}
	second := c.export(courier.Export{})
	if second.Items != 4 || second.Before != 2 || second.Left != 0 || !slices.Equal(second.Epochs, []uint32{1}) {
		t.Fatalf("%+v", second)
	}
	before := c.files()
	if third := c.export(courier.Export{}); third.Items != 0 || third.Before != 6 || len(third.Files) != 0 || len(c.files()) != len(before) {
		t.Fatalf("repeated: %+v", third)
	}

	out, said := c.imported(courier.Signed) // the hub runs
	if len(out.Books) != 1 || out.Books[0].Items != 6 || out.Books[0].Entries != 1 || len(out.Damaged)+len(out.Books[0].Problems) != 0 {
		t.Fatalf("%s\n%+v", said, out)
	}
	receipts := c.files()[courier.NameOf(c.cart.book)+".tcr"]
	for _, s := range saved {
		if r := c.receiptByLink(s); !strings.Contains(receipts, string(r)) {
			t.Errorf("the receipt of number %d differs from the link's", s.Entry.Number)
		}
	}
	if v := c.verdict(); !strings.HasPrefix(v, "Complete and unaltered.") || !strings.Contains(v, "up to number 6 ") {
		t.Errorf("while the hub runs: %s", v)
	}
	c.h.stop()
	again, said := c.imported(courier.Signed) // it doesn't
	if len(again.Books) != 1 || again.Books[0].Items != 6 || c.files()[courier.NameOf(c.cart.book)+".tcr"] != receipts {
		t.Errorf("again: %s\n%+v", said, again)
	}
	if v := c.verdict(); !strings.HasPrefix(v, "Complete and unaltered.") {
		t.Errorf("the hub stopped: %s", v)
	}

	n, damage, err := courier.Fetch(kit.Disk{}, c.stick, c.state, func(b ledger.Book) bool { return b == c.cart.book })
	c.no(err)
	if n != 6 || len(damage) > 0 {
		t.Errorf("%d receipts fetched, %v", n, damage)
	}
	o := inbox.Options{State: c.state, Log: slog.New(slog.DiscardHandler)}
	for _, want := range []int{6, 0} {
		if n, err := inbox.Take(o, []*outbox.Outbox{c.box}, c.cart.keys); n != want || err != nil {
			t.Errorf("%d receipts taken, %v; want %d", n, err, want)
		}
	}
	if s := c.box.Stats(); s.Held != 0 || s.Receipted != 6 {
		t.Errorf("%+v", s)
	}
	if x := c.export(courier.Export{}); x.Items != 0 || x.Before != 0 {
		t.Errorf("after the receipts: %+v", x)
	}
}

// TestCourierDamage: what is damaged on the stick costs itself alone, and a cut-off file is used up to its cut.
func TestCourierDamage(t *testing.T) {
	c := newCarrier(t)
	for range 4 {
		c.save(wire.Routine, 150_000)
	}
	c.no(c.box.SaveHead())
	c.export(courier.Export{})
	for name, b := range c.files() {
		path := filepath.Join(c.stick, courier.Folder, name)
		raw := []byte(b)
		raw[len(raw)/4+2000] ^= 4 // in a chunk
		c.no(os.WriteFile(path+".part", raw[:len(raw)*5/8], 0o600), os.Remove(path))
	}
	out, said := c.imported(courier.Signed)
	// Of four: one with a damaged chunk, one whole, one cut, and the last not there at all.
	b := out.Books[0]
	if b.Items+len(b.Problems) != 3 || b.Items == 0 || len(b.Problems) != 2 || !strings.Contains(said, "chunk") || !strings.Contains(said, "cut off") || !strings.Contains(said, "missing on the stick") {
		t.Errorf("%s\n%+v", said, out)
	}
	if x := c.export(courier.Export{}); x.Items != 4 || len(c.files()) != 2 { // and the receipts
		t.Errorf("exported anew: %+v %d", x, len(c.files()))
	}
	if out, said := c.imported(courier.Signed); out.Books[0].Items != 4 || len(out.Books[0].Problems) != 0 {
		t.Errorf("%s\n%+v", said, out)
	}
}

// TestCourierBelievesNobody: what is not the cart's own stays outside.
func TestCourierBelievesNobody(t *testing.T) {
	c := newCarrier(t)
	c.save(wire.Routine, 100)
	c.no(c.box.SaveHead())
	c.save(wire.Routine, 100) // after the head
	if x := c.export(courier.Export{}); x.Items != 2 {
		t.Fatalf("%+v", x)
	}
	out, said := c.imported(courier.Signed)
	if b := out.Books[0]; b.Items != 1 || b.Unsigned != 1 || !strings.Contains(said, "no signed head leads to it") {
		t.Fatalf("%s\n%+v", said, out)
	}
	if x := c.export(courier.Export{Sign: c.cart.id.Signer()}); x.Before != 2 || len(x.Files) != 1 {
		t.Fatalf("%+v", x)
	}
	if out, said := c.imported(courier.Signed); out.Books[0].Items != 2 {
		t.Fatalf("%s\n%+v", said, out)
	}
	// Somebody else writes items in this cart's name, and a head: he knows the public record key, and not the device key.
	forger, err := author.New(filepath.Join(t.TempDir(), "care"), c.cart.book)
	c.no(err)
	record := forger.Began(1)
	it, err := forger.Put(1, capture.Note, wire.Routine, nil)
	c.no(err)
	h, err := forger.Head()
	c.no(err, forger.Segment(1, append([]author.Record{record}, it.All()...)), forger.JSON("head", h))
	c.stick = t.TempDir()
	_, err = courier.Export{State: filepath.Dir(forger.Dir), To: c.stick}.Run(t.Context())
	c.no(err)
	out, said = c.imported(courier.Signed)
	if b := out.Books[0]; b.Items != 0 || b.Entries != 0 || b.Unsigned != 1 || !strings.Contains(said, "not signed by a key that this hub certified") {
		t.Errorf("%s\n%+v", said, out)
	}
	// A cart that this hub does not know.
	other, err := author.New(filepath.Join(t.TempDir(), "care"), ledger.Book{Tenant: "south", Cart: "cart-1"})
	c.no(err)
	record = other.Began(1)
	c.no(other.Segment(1, []author.Record{record}))
	h, err = other.Head()
	c.no(err, other.JSON("head", h))
	c.stick = t.TempDir()
	_, err = courier.Export{State: filepath.Dir(other.Dir), To: c.stick}.Run(t.Context())
	c.no(err)
	if out, said = c.imported(courier.Signed); len(out.Books) != 1 || !strings.Contains(said, "not enrolled at this hub") {
		t.Errorf("%s\n%+v", said, out)
	}
}

// TestCourierRevoked: after "stolen, revoked, replaced" the replacement's stick is as good as any; the stolen cart's counts only if
// the operator says so, and that is told.
func TestCourierRevoked(t *testing.T) {
	stolen := newCarrier(t)
	state := stolen.h.state
	stolen.save(wire.Routine, 100)
	stolen.no(stolen.box.SaveHead())
	stolen.export(courier.Export{})
	stolen.h.stop()
	db, err := sql.Open("sqlite", filepath.Join(state, "store/hub.db")) // it was enrolled an hour ago: certificates count in whole seconds
	stolen.no(err)
	_, err = db.ExecContext(t.Context(), `UPDATE certificates SET issued = issued - 3600000000000`)
	stolen.no(err, db.Close())
	f, err := openFolder(t.Context(), state, store.Options{Clock: kit.System{}})
	stolen.no(err)
	stolen.no(f.store.RevokeCart(t.Context(), "north", "cart-1", time.Now().Add(-time.Minute)), f.store.Close())
	if out, said := stolen.imported(courier.Signed); out.Books[0].Items != 0 || !strings.Contains(out.Books[0].Refused, "revoked") {
		t.Errorf("before it was replaced: %s", said)
	}

	h := start(t, state)
	good := carrierAt(t, h)
	good.save(wire.Routine, 100)
	good.no(good.box.SaveHead())
	good.export(courier.Export{})
	if out, said := good.imported(courier.Signed); out.Books[0].Items != 1 || out.Books[0].Void != 0 || len(out.Books[0].Problems) != 0 {
		t.Errorf("the replacement: %s", said)
	}
	if out, said := stolen.imported(courier.Signed); out.Books[0].Items != 0 || out.Books[0].Unsigned != 1 || !strings.Contains(said, "signed by a key that was revoked; if you know") {
		t.Errorf("the stolen one: %s", said)
	}
	if out, said := stolen.imported(courier.Revoked); out.Books[0].Items != 1 || out.Books[0].Void == 0 || len(out.Books[0].Problems) != 0 ||
		!strings.Contains(said, "signed by a key that was revoked; you said that they count") {
		t.Errorf("the operator knows better: %s", said)
	}
}
