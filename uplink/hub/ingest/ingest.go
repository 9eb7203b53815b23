// Package ingest is where the hub receives: items, ledger entries, heads.
//
// Parties: a cart offers an item by PUT and keeps it until it holds a receipt; ingest checks each chunk as it comes, opens
// the whole, makes it durable (package store) and signs; Observer is told afterwards.
//
// Keys: the hub's record keys, behind Opener; its receipt key, which signs what the hub stands for. A cart's device key
// verifies its ledger heads.
//
// Invariants: a receipt leaves only after the sealed file, the entry, the item and the receipt itself are on the disk. The
// same item with the same entry gets the identical receipt, read from the database. An item that does not open gets a
// signed refusal; one that could not be judged (no key here, a full disk, a fault) gets none and may come again. No item is
// dropped for its number: a number that was used twice is kept twice and reported. Nothing of a patient is logged.
//
// What is decided stands in package intake and in complete.go, which touch nothing; the rest is the shell around it.
package ingest

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/hub/ingest/intake"
	"telecart/uplink/hub/store"
	"telecart/uplink/wire"
)

// Peer is the cart at the other end, as its certificate says.
type Peer struct {
	Tenant string
	Cart   string
	Key    crypto.PublicKey // device key
}

// Observer is told what has happened, after it is durable. It must not block.
type Observer interface {
	ItemStored(ItemEvent)
	Forked(Fork)
}

// LossObserver is an Observer that is also told of items that the hub had in an earlier life of its store, as receipts show.
type LossObserver interface {
	Lost(b ledger.Book, items int)
}

// ItemEvent is an item that was received: its body is without blob.
type ItemEvent struct {
	store.Item
	Fork bool // its number was used before for something else
}

// Fork is a contradiction in a cart's ledger: a restored card, or a clone. Both versions are kept.
type Fork struct {
	Book        ledger.Book
	Incarnation ledger.ID
	Number      uint64
}

// ReceiptKey is what the hub signs with.
type ReceiptKey struct {
	ID      uint32 // in the key list
	Private ed25519.PrivateKey
}

// Limits bound what carts can take. The zero value of a field means its default.
type Limits struct {
	Requests     int           // of one cart at a time: 8
	Uploads      int           // partial items of one cart: 64
	UploadBytes  int64         // they may take together: 2 GiB
	UploadAge    time.Duration // since the cart last sent some of it: 7 days
	Sweep        time.Duration // how often old ones are removed: 1 h
	MaxItem      uint64        // padded plaintext of one item: wire.MaxLength
	FrameTimeout time.Duration // for one chunk to come through: 2 min
}

func (l Limits) orDefault() Limits {
	l.Requests, l.Uploads = or(l.Requests, 8), or(l.Uploads, 64)
	l.UploadBytes, l.UploadAge = or(l.UploadBytes, 2<<30), or(l.UploadAge, 7*24*time.Hour)
	l.Sweep, l.FrameTimeout = or(l.Sweep, time.Hour), or(l.FrameTimeout, 2*time.Minute)
	l.MaxItem = or(l.MaxItem, wire.MaxLength)
	return l
}

func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// Options are what ingest needs. Peer says whose certificate a request came with.
type Options struct {
	Hub      string // as in the key list
	Key      ReceiptKey
	Earlier  []wire.ReceiptKey // that this hub signed with before, and still believes; Key is always believed
	Opener   Opener
	Observer Observer
	Peer     func(*http.Request) (Peer, error)
	Clock    kit.Clock
	Log      *slog.Logger
	Limits   Limits
}

// Ingest receives for all tenants of a hub.
type Ingest struct {
	store *store.Store
	opt   Options
	gate  *gate
}

// New works on s.
func New(s *store.Store, o Options) (*Ingest, error) {
	if len(o.Key.Private) != ed25519.PrivateKeySize || o.Opener == nil || o.Observer == nil || o.Peer == nil || !wire.ValidName(o.Hub) {
		return nil, errors.New("ingest: hub name, receipt key, opener, observer and peer are needed")
	}
	if o.Clock == nil {
		o.Clock = kit.System{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Limits = o.Limits.orDefault()
	return &Ingest{store: s, opt: o, gate: newGate(o.Limits.Requests)}, nil
}

// Handler serves GET and PUT /v1/items/{hash}, POST /v1/ledger and POST /v1/receipts, below the carts' name.
func (in *Ingest) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/items/{hash}", in.asCart(in.get))
	mux.HandleFunc("PUT /v1/items/{hash}", in.asCart(in.put))
	mux.HandleFunc("POST /v1/ledger", in.asCart(in.postLedger))
	mux.HandleFunc("POST /v1/receipts", in.asCart(in.postReceipts))
	return mux
}

// asCart lets a cart's requests in, a few at a time, and answers with what went wrong.
func (in *Ingest) asCart(serve func(http.ResponseWriter, *http.Request, Peer) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		peer, err := in.opt.Peer(r)
		if err != nil {
			wire.NewProblem(http.StatusUnauthorized, "no-certificate", "No cart's certificate was shown", "").Write(w)
			return
		}
		leave, ok := in.gate.enter(peer)
		if !ok {
			w.Header().Set("Retry-After", "1")
			busy("Too many requests of this cart at once").Write(w)
			return
		}
		defer leave()
		if err := serve(w, r, peer); err != nil {
			in.problem(err, peer).Write(w)
		}
	}
}

func busy(title string) *wire.Problem {
	return wire.NewProblem(http.StatusTooManyRequests, "busy", title, "try again in a moment")
}

// problem puts an error in a code: the one place that does.
func (in *Ingest) problem(err error, peer Peer) *wire.Problem {
	var p *wire.Problem
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &p):
	case errors.As(err, &long), errors.Is(err, intake.ErrTooLarge):
		p = wire.NewProblem(http.StatusRequestEntityTooLarge, "too-large", "The request is larger than it can be", err.Error())
	case errors.Is(err, intake.ErrCut):
		p = wire.NewProblem(http.StatusBadRequest, "stream-cut", "The request ended too soon; what came is kept", "")
	case errors.Is(err, store.ErrNotFound):
		p = wire.NewProblem(http.StatusNotFound, "not-here", "Nothing of this item is here", "")
	case errors.Is(err, store.ErrFull):
		p = wire.NewProblem(http.StatusInsufficientStorage, "disk-full", "The hub's disk is full; keep the item", "")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		p = wire.NewProblem(http.StatusServiceUnavailable, "cancelled", "The request was given up; try again", "")
	default:
		p = wire.NewProblem(http.StatusInternalServerError, "internal", "The hub could not keep the item; keep it", "")
	}
	if p.Status >= 500 {
		in.opt.Log.Error("ingest: request failed", "tenant", peer.Tenant, "cart", peer.Cart, "code", p.Code, "err", err)
	} else {
		in.opt.Log.Info("ingest: request refused", "tenant", peer.Tenant, "cart", peer.Cart, "code", p.Code)
	}
	return p
}

// book reads the practice parameter; without one it is care.
func book(r *http.Request, peer Peer) (ledger.Book, error) {
	b := ledger.Book{Tenant: peer.Tenant, Cart: peer.Cart}
	switch v := r.URL.Query().Get("practice"); v {
	case "", "0":
	case "1":
		b.Practice = true
	default:
		return b, wire.NewProblem(http.StatusBadRequest, "malformed", "practice must be 0 or 1", fmt.Sprintf("it is %.20q", v))
	}
	return b, nil
}

// Run removes old partial uploads until ctx ends.
func (in *Ingest) Run(ctx context.Context) error {
	for {
		if err := in.Sweep(); err != nil {
			in.opt.Log.Error("ingest: sweep", "err", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-in.opt.Clock.After(in.opt.Limits.Sweep):
		}
	}
}

// Sweep removes the partial uploads that are too old. Their carts still have the items.
func (in *Ingest) Sweep() error {
	all, err := in.store.Uploads()
	if err != nil {
		return err
	}
	limit := in.opt.Clock.Now().Add(-in.opt.Limits.UploadAge)
	var errs []error
	for _, u := range all {
		if u.Seen.Before(limit) {
			errs = append(errs, in.drop(u))
		}
	}
	return errors.Join(errs...)
}

// drop removes a partial upload unless it is going on.
func (in *Ingest) drop(u store.Upload) error {
	unlock, ok := in.gate.tryLock(u.Tenant, u.Item.String())
	if !ok {
		return nil
	}
	defer unlock()
	in.opt.Log.Info("ingest: partial upload removed", "tenant", u.Tenant, "cart", u.Cart, "item", u.Item)
	return in.store.DropUpload(u)
}

// Watermark is the hub's signed word up to where its backup reaches.
func (in *Ingest) Watermark(ctx context.Context) (wire.Watermark, error) {
	n, err := in.store.Watermark(ctx)
	if err != nil {
		return wire.Watermark{}, err
	}
	w := wire.Watermark{Hub: in.opt.Hub, Store: in.store.Incarnation(), Sequence: n, Key: in.opt.Key.ID}
	w.Sign(in.opt.Key.Private)
	return w, nil
}
