package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/courier"
	"telecart/uplink/hub/ingest"
	"telecart/uplink/hub/store"
	"telecart/uplink/wire"
)

// courierDoor lets what came on a stick in, on the control socket: who can open that can read the whole folder anyway. Each
// item goes the way of a PUT by its cart. That it is the cart's own, courier.Import has shown by the signed head.
type courierDoor struct {
	f      *folder
	ingest *ingest.Ingest
	water  func(context.Context) (wire.Watermark, error)
}

type courierKey struct{}

// ingestPeer is the cart behind a request: by its certificate, or by what the courier's door knows of it.
func ingestPeer(r *http.Request) (ingest.Peer, error) {
	if p, ok := r.Context().Value(courierKey{}).(ingest.Peer); ok {
		return p, nil
	}
	p, err := peerOf(r)
	return p.Peer, err
}

// control is what the control socket serves.
func (h *hub) control() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", office{h.f, h.tellBackup}.handler())
	mux.Handle(courier.Path, courierDoor{h.f, h.ingest, h.ingest.Watermark}.handler())
	return mux
}

const cartPath = courier.Path + "{tenant}/{cart}"

func (d courierDoor) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+cartPath+courier.AboutPath, d.say(d.about))
	mux.HandleFunc("POST "+cartPath+courier.KnownPath, d.say(d.known))
	mux.HandleFunc("POST "+cartPath+courier.HeadPath, d.say(d.head))
	mux.HandleFunc(cartPath+"/v1/", func(w http.ResponseWriter, r *http.Request) {
		p := ingest.Peer{Tenant: r.PathValue("tenant"), Cart: r.PathValue("cart")}
		if _, err := d.f.store.Cart(r.Context(), p.Tenant, p.Cart); err != nil {
			courierProblem(err).Write(w)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), courierKey{}, p))
		http.StripPrefix(courier.Path+p.Tenant+"/"+p.Cart, d.ingest.Handler()).ServeHTTP(w, r)
	})
	return mux
}

func (d courierDoor) say(do func(r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
		a, err := do(r)
		if err != nil {
			courierProblem(err).Write(w)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(a)
	}
}

func courierProblem(err error) *wire.Problem {
	if errors.Is(err, store.ErrNotFound) {
		return wire.NewProblem(http.StatusNotFound, "not-enrolled", "This cart is not enrolled at this hub", "")
	}
	return wire.NewProblem(http.StatusUnprocessableEntity, "refused", "Refused", err.Error())
}

func (d courierDoor) about(r *http.Request) (any, error) {
	tenant, cart := r.PathValue("tenant"), r.PathValue("cart")
	c, err := d.f.store.Cart(r.Context(), tenant, cart)
	if err != nil {
		return nil, err
	}
	a := courier.About{List: d.f.signed}
	if a.Keys, a.Void, err = d.f.store.DeviceKeys(r.Context(), tenant, cart); err != nil {
		return nil, err
	}
	a.Revoked = !c.Revoked.IsZero() && len(a.Keys) == 0
	if len(a.Keys) == 0 && !a.Revoked {
		return nil, store.ErrNotFound // a claim was issued, and never redeemed
	}
	w, err := d.water(r.Context())
	a.Watermark = &w
	return a, err
}

func (d courierDoor) known(r *http.Request) (any, error) {
	var q courier.Known
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || len(q.Hashes) > courier.MaxKnown {
		return nil, fmt.Errorf("the question can't be read: %w", err)
	}
	return d.f.store.Leads(r.Context(), ledger.Book{Tenant: r.PathValue("tenant"), Cart: r.PathValue("cart"), Practice: q.Practice}, q.Hashes)
}

// head takes a signed head, as a Hello would bring it; one by a key that was revoked only if the operator says so.
func (d courierDoor) head(r *http.Request) (any, error) {
	var h ledger.Head
	if err := json.NewDecoder(r.Body).Decode(&h); err != nil {
		return nil, fmt.Errorf("the head can't be read: %w", err)
	}
	p := ingest.Peer{Tenant: r.PathValue("tenant"), Cart: r.PathValue("cart")}
	keys, void, err := d.f.store.DeviceKeys(r.Context(), p.Tenant, p.Cart)
	if err != nil {
		return nil, err
	}
	if r.URL.Query().Get(courier.VoidParameter) == "1" {
		keys = append(keys, void...)
	}
	key, _, err := courier.DeviceKey(h, keys)
	if err != nil {
		return nil, err
	}
	p.Key = key
	return struct{}{}, d.ingest.Head(r.Context(), p, h)
}

// quiet is the observer of a hub that does not run: it reads what came when it starts.
type quiet struct{}

func (quiet) ItemStored(ingest.ItemEvent) {}
func (quiet) Forked(ingest.Fork)          {}
func (quiet) Lost(ledger.Book, int)       {}

// ImportCourier imports what is on a stick into the hub whose state folder this is, running or not.
func ImportCourier(ctx context.Context, state, stick string, trust courier.Trust) (out courier.Imported, err error) {
	socket := filepath.Join(state, socketFile)
	f, err := openFolder(ctx, state, store.Options{Clock: kit.System{}})
	switch {
	case err == nil:
		defer func() { err = errors.Join(err, f.store.Close()) }()
		dir, err := os.MkdirTemp("", "telecart-courier-") // 0700
		if err != nil {
			return out, fmt.Errorf("courier: %w", err)
		}
		defer os.RemoveAll(dir)
		socket = filepath.Join(dir, "s")
		stop, err := f.serveCourier(ctx, socket)
		if err != nil {
			return out, err
		}
		defer stop()
	case !errors.Is(err, store.ErrInUse):
		return out, err
	}
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	defer t.CloseIdleConnections()
	return courier.Import{From: stick, Client: &http.Client{Transport: t}, Base: "http://hub", Trust: trust}.Run(ctx)
}

// serveCourier opens the courier's door of a hub that does not run.
func (f *folder) serveCourier(ctx context.Context, socket string) (stop func(), err error) {
	held, key, err := readKeys(f.path, f.list)
	if err != nil {
		return nil, err
	}
	in, err := ingest.New(f.store, ingest.Options{Hub: f.list.Hub, Key: key, Earlier: f.list.Receipts, Opener: f.opener(context.WithoutCancel(ctx), held),
		Observer: quiet{}, Clock: f.clock, Log: slog.New(slog.DiscardHandler), Peer: ingestPeer})
	if err != nil {
		return nil, err
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("courier: %w", err)
	}
	srv := &http.Server{Handler: courierDoor{f, in, in.Watermark}.handler(), ReadHeaderTimeout: headerTime}
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.Serve(ln) // ends with Close
	}()
	return func() { srv.Close(); <-done }, nil
}
