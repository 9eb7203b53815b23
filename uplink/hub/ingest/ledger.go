package ingest

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"

	"telecart/capture/ledger"
	"telecart/uplink/hub/ingest/intake"
	"telecart/uplink/hub/store"
)

// postLedger takes entries that are no items: 200 and {"entries": n, "sequence": n} once they are durable. A
// backup holds them when its watermark is at that sequence.
func (in *Ingest) postLedger(w http.ResponseWriter, r *http.Request, peer Peer) error {
	b, err := book(r, peer)
	if err != nil {
		return err
	}
	raw, err := io.ReadAll(in.paced(w, http.MaxBytesReader(w, r.Body, intake.MaxLedger)))
	if err != nil {
		return err
	}
	entries, p := intake.Entries(raw)
	if p != nil {
		return p
	}
	forks, sequence, err := in.store.AddEntries(r.Context(), b, entries)
	if err != nil {
		return err
	}
	for _, e := range forks {
		in.forked(b, e.Incarnation, e.Number)
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]uint64{"entries": uint64(len(entries)), "sequence": sequence})
	return nil
}

// ErrHead: a head is not the cart's own.
var ErrHead = errors.New("ingest: the ledger head is not this cart's")

// Head takes the signed end of a cart's ledger. One that contradicts what is here is kept too, and reported.
func (in *Ingest) Head(ctx context.Context, peer Peer, h ledger.Head) error {
	if h.Tenant != peer.Tenant || h.Cart != peer.Cart || h.Number > math.MaxInt64 {
		return fmt.Errorf("%w: it is of %s/%s, number %d", ErrHead, h.Tenant, h.Cart, h.Number)
	}
	if err := h.Verify(peer.Key); err != nil {
		return fmt.Errorf("%w: %w", ErrHead, err)
	}
	key, err := x509.MarshalPKIXPublicKey(peer.Key)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrHead, err)
	}
	disputed, err := in.store.AddHead(ctx, h, key)
	if err == nil && disputed {
		in.forked(h.Book, h.Incarnation, h.Number)
	}
	return err
}

// maxHeads bounds how many heads one Hello may bring.
const maxHeads = 8

// Hello takes the heads of a cart's Hello and gives the hub's for the Welcome: of each incarnation the highest number
// that was known before these came, unsigned. Incarnations that are new here are left out.
func (in *Ingest) Hello(ctx context.Context, peer Peer, heads []ledger.Head) ([]ledger.Head, error) {
	if len(heads) > maxHeads {
		return nil, fmt.Errorf("%w: %d heads in one hello, at most %d", ErrHead, len(heads), maxHeads)
	}
	var out []ledger.Head
	for _, h := range heads {
		known, err := in.store.End(ctx, ledger.Book{Tenant: peer.Tenant, Cart: peer.Cart, Practice: h.Practice}, h.Incarnation)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		if err == nil {
			out = append(out, known)
		}
		if err := in.Head(ctx, peer, h); err != nil {
			return nil, err
		}
	}
	return out, nil
}
