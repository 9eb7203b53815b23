package ingest

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"telecart/capture/ledger"
	"telecart/uplink/hub/ingest/intake"
	"telecart/uplink/wire"
)

// postReceipts takes receipts that a cart kept of items it has erased since: the hub's own word that it had them. Those
// whose item is not here any more are kept, and Completeness names them. 200 and {"kept": n, "here": n}.
func (in *Ingest) postReceipts(w http.ResponseWriter, r *http.Request, peer Peer) error {
	b, err := book(r, peer)
	if err != nil {
		return err
	}
	raw, err := io.ReadAll(in.paced(w, http.MaxBytesReader(w, r.Body, intake.MaxReceipts)))
	if err != nil {
		return err
	}
	rs, p := intake.Receipts(raw)
	if p != nil {
		return p
	}
	for _, x := range rs {
		if err := in.believe(x, b); err != nil {
			return wire.NewProblem(http.StatusUnprocessableEntity, "foreign-receipt", "A receipt is not this hub's word about this cart", err.Error())
		}
	}
	gone, err := in.store.KeepProofs(r.Context(), rs)
	if err != nil {
		return err
	}
	if gone > 0 {
		in.opt.Log.Warn("ingest: a cart shows receipts of items that are not here: lost at a restore", "tenant", b.Tenant, "cart", b.Cart, "items", gone)
		if o, ok := in.opt.Observer.(LossObserver); ok {
			o.Lost(b, gone)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]int{"kept": gone, "here": len(rs) - gone})
	return nil
}

// believe checks that this hub signed the receipt, about an item of that book.
func (in *Ingest) believe(r wire.Receipt, b ledger.Book) error {
	if r.Verdict != wire.Received {
		return fmt.Errorf("the receipt for entry %d is a refusal", r.Number)
	}
	own, ok := in.opt.Key.Private.Public().(ed25519.PublicKey)
	keys := wire.KeyList{Hub: in.opt.Hub, Receipts: in.opt.Earlier}
	if ok {
		keys.Receipts = append([]wire.ReceiptKey{{ID: in.opt.Key.ID, Public: own}}, keys.Receipts...)
	}
	return r.Verify(keys, b, ledger.Entry{Incarnation: r.Incarnation, Number: r.Number, Prev: r.Prev, Body: r.Item})
}
