package link

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"hash/crc32"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/outbox"
	"telecart/uplink/wire"
)

// A new store of the hub is shown every receipt that this hub gave of what was erased, once, by the bulk lane; a store that refuses is asked again
// over the next link.
func TestShowGone(t *testing.T) {
	dir, book := t.TempDir(), ledger.Book{Tenant: "north", Cart: "cart-1"}
	b := binary.BigEndian.AppendUint32([]byte("TCG\x01"), 1) // FORMAT.md
	b = binary.BigEndian.AppendUint32(b, 150)
	for n := range uint64(150) {
		r := wire.Receipt{Verdict: wire.Received, Hub: "hub.example", Store: ledger.ID{9}, Sequence: n, Book: book, Number: n - n/3, Item: ledger.Hash{byte(n), 1}}
		if n%3 == 2 { // of before the cart was claimed to this hub
			r.Hub, r.Number = "old.example", 1000+n
		}
		raw := r.Marshal()
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(raw))), raw...)
	}
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	if err := os.WriteFile(filepath.Join(dir, "00000001.gone"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	device, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	box, err := outbox.Open(t.Context(), outbox.Options{Dir: dir, Book: book, Run: ledger.NewID(), Signer: device, Clock: kit.System{}})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	refuse, shown := true, 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if refuse || r.URL.Path != ReceiptsPath || r.URL.RawQuery != "practice=0" {
			wire.NewProblem(503, "internal", "", "").Write(w)
			return
		}
		for ; len(b) > 0; shown++ {
			n := binary.BigEndian.Uint16(b)
			if x, err := wire.UnmarshalReceipt(b[2 : 2+n]); err != nil || x.Number != uint64(shown) {
				t.Errorf("receipt %d: %v %v", shown, x.Number, err)
			}
			b = b[2+n:]
		}
	}))
	defer srv.Close()
	defer srv.Client().CloseIdleConnections()
	c := &Client{keys: wire.KeyList{Hub: "hub.example"}, opt: Options{Base: srv.URL, Bulk: srv.Client(), Log: slog.New(slog.DiscardHandler), Books: func() []*outbox.Outbox { return []*outbox.Outbox{box} }}}
	all := func(d *delivery, lane Lane) (n int) {
		for d.showGone(context.Background(), lane) {
			n++
		}
		return n
	}
	first, second := &delivery{c: c, store: ledger.ID{1}}, &delivery{c: c, store: ledger.ID{1}}
	if n := all(first, LaneSmall) + all(first, LaneBulk); n != 0 || shown != 0 {
		t.Fatal(n, shown)
	}
	refuse = false
	if n := all(first, LaneBulk); n != 0 { // not again over this link
		t.Fatal(n)
	}
	if n := all(second, LaneBulk); n != 2 || shown != 100 {
		t.Fatal(n, shown)
	}
	if n := all(second, LaneBulk); n != 0 {
		t.Fatal(n)
	}
	if n := all(&delivery{c: c, store: ledger.ID{9}}, LaneBulk); n != 0 { // the store that signed for them
		t.Fatal(n)
	}
}
