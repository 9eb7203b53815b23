package ingest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"telecart/capture/ledger"
	"telecart/uplink/hub/ingest/intake"
	"telecart/uplink/hub/store"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// maxBody is the longest body of a PUT: the manifest and every chunk of the largest item once.
const maxBody = 4 + wire.MaxManifest + (wire.MaxLength/wire.ChunkSize)*(8+wire.ChunkSize+wire.Overhead)

func hashOf(s string) (h ledger.Hash, err error) {
	if err := h.UnmarshalText([]byte(s)); err != nil {
		return h, wire.NewProblem(http.StatusBadRequest, "malformed", "The address names no item", err.Error())
	}
	return h, nil
}

// get answers what is here of an item: 200 and its receipt, whatever its verdict; 206 and {have, total}; or 404. With
// ?entry=HASH it asks for the receipt about that ledger entry: an item can have several, if the cart entered it again.
func (in *Ingest) get(w http.ResponseWriter, r *http.Request, peer Peer) error {
	item, err := hashOf(r.PathValue("hash"))
	if err != nil {
		return err
	}
	var entry ledger.Hash
	if e := r.URL.Query().Get("entry"); e != "" {
		if entry, err = hashOf(e); err != nil {
			return err
		}
	}
	done, err := in.store.Receipt(r.Context(), peer.Tenant, item, entry)
	if err == nil && in.is(done, peer) {
		if err = in.stands(peer.Tenant, item, done); err == nil {
			return writeReceipt(w, http.StatusOK, done)
		}
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	held, err := in.store.Held(peer.Tenant, peer.Cart, item)
	if err != nil {
		return err
	}
	return writeHave(w, http.StatusPartialContent, held)
}

// stands says whether a receipt may be given again: not when what it says the hub has is gone. ErrNotFound then, so that the
// cart, if it still can, brings the item anew.
func (in *Ingest) stands(tenant string, item ledger.Hash, done store.Settled) error {
	if done.Verdict != wire.Received {
		return nil
	}
	err := in.store.Intact(tenant, item)
	if errors.Is(err, store.ErrDamaged) || errors.Is(err, store.ErrNotFound) {
		in.opt.Log.Error("ingest: an item that was received is not here any more; its cart is asked for it", "tenant", tenant, "item", item, "err", err)
		return store.ErrNotFound
	}
	return err
}

// is says whether a receipt is about this cart: another cart of the tenant learns nothing.
func (in *Ingest) is(s store.Settled, peer Peer) bool {
	r, err := wire.UnmarshalReceipt(s.Receipt)
	return err == nil && r.Book.Cart == peer.Cart
}

func writeReceipt(w http.ResponseWriter, status int, s store.Settled) error {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(s.Receipt) // the cart that doesn't get it asks again
	return nil
}

// have is what is here of an item, as link.Have reads it.
type have struct {
	Have  []int `json:"have"` // indexes of the chunks that are here
	Total int   `json:"total"`
}

func writeHave(w http.ResponseWriter, status int, held []bool) error {
	x := have{Have: []int{}, Total: len(held)}
	for i, h := range held {
		if h {
			x.Have = append(x.Have, i)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(x)
	return nil
}

// put takes an item, or more of it: 200 and the receipt once all is durable; 422 and the receipt (the same content type)
// if the item was refused; 202 and {have, total} while chunks are missing; or a problem.
func (in *Ingest) put(w http.ResponseWriter, r *http.Request, peer Peer) error {
	url, err := hashOf(r.PathValue("hash"))
	if err != nil {
		return err
	}
	b, err := book(r, peer)
	if err != nil {
		return err
	}
	pace := in.paced(w, http.MaxBytesReader(w, r.Body, maxBody))
	s := &intake.Stream{R: pace}
	raw, err := s.Manifest()
	if err != nil {
		return err
	}
	o, p := intake.Admit(url, b, in.opt.Limits.MaxItem, raw)
	if p != nil {
		return p
	}
	unlock, err := in.gate.follow(r.Context(), peer.Tenant, o.Hash.String(), pace.hurry)
	if err != nil {
		return err
	}
	defer unlock()
	done, err := in.store.Receipt(r.Context(), peer.Tenant, o.Hash, o.Manifest.Entry.Hash())
	if err == nil && done.Verdict == wire.Received {
		err = in.again(r.Context(), peer.Tenant, o.Hash)
	}
	if errors.Is(err, store.ErrNotFound) {
		var u *intake.Upload
		if done, u, err = in.receive(r.Context(), o, s); err == nil && u != nil {
			return writeHave(w, http.StatusAccepted, u.Held)
		}
	}
	if err != nil {
		return err
	}
	if done.Verdict == wire.Refused {
		return writeReceipt(w, http.StatusUnprocessableEntity, done)
	}
	return writeReceipt(w, http.StatusOK, done)
}

// again looks at an item that is offered although it has a receipt: every chunk is hashed, and a bad one asked for.
func (in *Ingest) again(ctx context.Context, tenant string, item ledger.Hash) error {
	p, err := in.store.OpenItem(tenant, item)
	if err == nil {
		defer p.Close()
		for i := 0; err == nil && i < len(p.Manifest.Chunks) && ctx.Err() == nil; i++ {
			_, err = p.Chunk(i)
		}
	}
	if errors.Is(err, store.ErrDamaged) {
		in.opt.Log.Error("ingest: an item that was received is damaged; its cart offers it again", "tenant", tenant, "item", item, "err", err)
		return store.ErrNotFound
	}
	return errors.Join(err, ctx.Err())
}

// receive takes chunks and, once all are here, opens and settles the item. An upload comes back if some are missing.
func (in *Ingest) receive(ctx context.Context, o intake.Offer, s *intake.Stream) (store.Settled, *intake.Upload, error) {
	file, held, err := in.start(ctx, o)
	if err != nil {
		return store.Settled{}, nil, err
	}
	defer file.Close()
	u := intake.NewUpload(o, held)
	err = errors.Join(in.take(u, s, file), in.store.Touch(file))
	switch {
	case u.Missing == 0: // even if the stream broke off
		done, err := in.finish(context.WithoutCancel(ctx), o, file)
		return done, nil, err
	case err != nil:
		return store.Settled{}, nil, err
	case u.Damaged >= 0:
		p := wire.NewProblem(http.StatusUnprocessableEntity, "chunk-damaged", "A chunk is damaged; the good ones are kept", fmt.Sprintf("chunk %d", u.Damaged))
		p.Chunk = &u.Damaged
		return store.Settled{}, nil, p
	}
	return store.Settled{}, u, nil
}

// take reads chunks until none is missing or the stream ends.
func (in *Ingest) take(u *intake.Upload, s *intake.Stream, file *store.Sealed) error {
	for u.Missing > 0 {
		i, b, err := s.Chunk(func(i, n uint32) error {
			if err := u.Frame(i, n); err != nil {
				return wire.NewProblem(http.StatusBadRequest, "malformed", "The stream of chunks can't be read", err.Error())
			}
			return nil
		})
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if u.Chunk(i, b) != intake.Keep {
			continue
		}
		if err := file.PutChunk(i, b); err != nil {
			return err
		}
		u.Kept(i)
	}
	return nil
}

// start opens the item's file, making room for a new one within the cart's budget, which is counted by one request at a
// time: the uploads that have rested longest go first.
func (in *Ingest) start(ctx context.Context, o intake.Offer) (*store.Sealed, []bool, error) {
	unlock, err := in.gate.lock(ctx, o.Header.Tenant, "cart "+o.Header.Cart)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	ups, err := in.store.CartUploads(o.Header.Tenant, o.Header.Cart)
	if err != nil {
		return nil, nil, err
	}
	for _, u := range surplus(ups, o.Hash, int64(o.Header.Length), in.opt.Limits) {
		if err := in.drop(u); err != nil {
			return nil, nil, err
		}
	}
	if ups, err = in.store.CartUploads(o.Header.Tenant, o.Header.Cart); err != nil {
		return nil, nil, err
	}
	if len(surplus(ups, o.Hash, int64(o.Header.Length), in.opt.Limits)) > 0 {
		return nil, nil, busy("This cart has too many items on their way in")
	}
	return in.store.Partial(o.Manifest, o.Header)
}

// surplus are the uploads that have to go so that an item of n bytes fits in.
func surplus(ups []store.Upload, item ledger.Hash, n int64, l Limits) (out []store.Upload) {
	slices.SortFunc(ups, func(a, b store.Upload) int {
		return cmp.Or(b.Seen.Compare(a.Seen), slices.Compare(a.Item[:], b.Item[:]))
	})
	count, bytes := 1, n
	for _, u := range ups { // newest first
		if u.Item == item {
			continue
		}
		if count, bytes = count+1, bytes+u.Bytes; count > l.Uploads || bytes > l.UploadBytes {
			out = append(out, u)
		}
	}
	return out
}

// finish opens a complete item and makes everything durable, in this order: the file, then entry, item and receipt.
func (in *Ingest) finish(ctx context.Context, o intake.Offer, file *store.Sealed) (store.Settled, error) {
	b, refusal, err := in.open(file)
	if errors.Is(err, seal.ErrNoKey) {
		return store.Settled{}, wire.NewProblem(http.StatusServiceUnavailable, "unknown-record-key", "This hub does not hold the record key that the item is sealed to",
			fmt.Sprintf("epoch %d; the item is kept, and opens once the key is there", o.Wrap.Epoch))
	}
	if err != nil {
		return store.Settled{}, err
	}
	if refusal == "" {
		if err := in.store.Settle(file); err != nil {
			return store.Settled{}, errors.Join(err, in.store.Distrust(ctx, file))
		}
	}
	entry := o.Manifest.Entry
	done, err := in.store.Commit(ctx, arrival(file, entry, b, refusal), func(st ledger.ID, sequence uint64) ([]byte, uint32) {
		r := wire.Receipt{Verdict: wire.Received, Hub: in.opt.Hub, Store: st, Sequence: sequence, Key: in.opt.Key.ID, Book: o.Header.Book(),
			Incarnation: entry.Incarnation, Number: entry.Number, Prev: entry.Prev, Item: o.Hash}
		if refusal != "" {
			r.Verdict = wire.Refused
		}
		r.Sign(in.opt.Key.Private)
		return r.Marshal(), in.opt.Key.ID
	})
	if err != nil {
		return store.Settled{}, err
	}
	if refusal != "" {
		if done.Fork {
			in.forked(o.Header.Book(), entry.Incarnation, entry.Number)
		}
		in.opt.Log.Warn("ingest: item refused", "tenant", o.Header.Tenant, "cart", o.Header.Cart, "item", o.Hash, "reason", refusal)
		return done, in.store.DropUpload(store.Upload{Tenant: o.Header.Tenant, Cart: o.Header.Cart, Item: o.Hash})
	}
	in.tell(o, b, done)
	return done, nil
}

// tell tells of what is new: an item that came again for another receipt is not.
func (in *Ingest) tell(o intake.Offer, b body, done store.Settled) {
	e := o.Manifest.Entry
	if done.Stored {
		in.opt.Observer.ItemStored(ItemEvent{Fork: done.Fork, Item: store.Item{Book: o.Header.Book(), Entry: e, Item: o.Hash, Urgent: o.Header.Urgency == wire.Urgent,
			Sequence: done.Sequence, Key: in.opt.Key.ID, At: b.said.At.Wall, Arrived: done.Arrived, Plain: ledger.Hash(b.sum.Sum(nil)), Size: b.size, Body: b.said}})
	}
	if done.Fork {
		in.forked(o.Header.Book(), e.Incarnation, e.Number)
	}
}

func (in *Ingest) forked(b ledger.Book, incarnation ledger.ID, number uint64) {
	in.opt.Log.Warn("ingest: a cart's ledger contradicts itself: a restored card, or a clone", "tenant", b.Tenant, "cart", b.Cart,
		"incarnation", incarnation, "number", number)
	in.opt.Observer.Forked(Fork{Book: b, Incarnation: incarnation, Number: number})
}

// paced gives each read its own time, so that a slow link may take long but a dead one doesn't hold its place.
func (in *Ingest) paced(w http.ResponseWriter, r io.Reader) *pacedReader {
	return &pacedReader{r: r, c: http.NewResponseController(w), timeout: in.opt.Limits.FrameTimeout}
}

type pacedReader struct {
	r io.Reader
	c *http.ResponseController

	mu      sync.Mutex
	timeout time.Duration
	reading bool
}

// Read sets the connection's deadline, which the kernel measures: not by kit.Clock. What can't set one (a test's
// recorder) doesn't need it.
func (p *pacedReader) Read(b []byte) (int, error) {
	p.read(true)
	defer p.read(false)
	return p.r.Read(b)
}

func (p *pacedReader) read(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reading = on; on {
		p.c.SetReadDeadline(time.Now().Add(p.timeout))
	}
}

// hurried is how long a request may stay silent once the same cart brings the same item by another one: after a drop of which
// the hub was not told (no RST) that is the one that lives. One that moves goes on.
const hurried = time.Second

// hurry is called by the other request, also when this one has ended.
func (p *pacedReader) hurry() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timeout = min(p.timeout, hurried); p.reading {
		p.c.SetReadDeadline(time.Now().Add(p.timeout))
	}
}
