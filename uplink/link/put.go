package link

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"telecart/capture/ledger"
	"telecart/uplink/outbox"
	"telecart/uplink/wire"
)

// Paths of items and ledger entries, below https://carts.HUB.
const (
	ItemPath   = "/v1/items/" // + the item's hash
	LedgerPath = "/v1/ledger"
)

// smallItem is the padded length up to which an item takes the small lane. A vital sign never waits behind a clip: the
// two lanes are separate requests, and the bulk lane lets go of the link between writes of pacedWrite while the small lane
// has something to send.
const (
	smallItem  = 256 << 10
	pacedWrite = 16 << 10
	yieldMost  = 250 * time.Millisecond
	retryMin   = 200 * time.Millisecond
	retryMax   = 5 * time.Second
	maxEntries = 4096 // in one POST
	putWait    = 5 * time.Minute
	postWait   = time.Minute
)

// deliver sends what the outboxes hold, in two lanes, until ctx ends.
func (c *Client) deliver(ctx context.Context, store ledger.ID) error {
	if err := c.postEntries(ctx); err != nil {
		return err
	}
	d := &delivery{c: c, store: store, flying: map[ledger.Hash]bool{}, later: map[ledger.Hash]retry{}, wake: [2]chan struct{}{make(chan struct{}, 1), make(chan struct{}, 1)}}
	var wg sync.WaitGroup
	defer wg.Wait()
	for lane := range d.wake {
		wg.Go(func() { d.lane(ctx, lane) })
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.items:
			if err := c.postEntries(ctx); err != nil { // a fork may have been entered meanwhile
				return err
			}
			for _, w := range d.wake {
				nudge(w)
			}
		}
	}
}

// postEntries tells the hub of the ledger entries that are no items: without them numbers would seem to be missing.
func (c *Client) postEntries(ctx context.Context) error {
	for _, box := range c.opt.Books() {
		for es := range slices.Chunk(box.Entries(), maxEntries) {
			if err := c.postSome(ctx, box, es); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Client) postSome(ctx context.Context, box *outbox.Outbox, es []ledger.Entry) error {
	ctx, cancel := context.WithTimeout(ctx, postWait)
	defer cancel()
	var b []byte
	for _, e := range es {
		b = append(b, e.Marshal()...)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.opt.Base+LedgerPath+practice(box), bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("link: %w", err)
	}
	resp, err := c.opt.Bulk.Do(req)
	if err != nil {
		return fmt.Errorf("link: send ledger entries: %w", err)
	}
	defer resp.Body.Close()
	if p := readProblem(resp); p != nil {
		return p
	}
	box.Posted(es)
	return nil
}

func practice(b *outbox.Outbox) string {
	if b.Book().Practice {
		return "?practice=1"
	}
	return "?practice=0"
}

const (
	laneSmall = 0
	laneBulk  = 1
)

type delivery struct {
	c     *Client
	store ledger.ID // the hub's, as it said in its welcome
	wake  [2]chan struct{}

	mu     sync.Mutex
	flying map[ledger.Hash]bool
	later  map[ledger.Hash]retry // of the items that failed
	urgent int                   // items in the small lane now
}

// retry is when an item that failed is due again, and how long it was to wait.
type retry struct {
	at   time.Time
	wait time.Duration
}

// lane sends the items of one size, one after the other.
func (d *delivery) lane(ctx context.Context, lane int) {
	for ctx.Err() == nil {
		box, ref, wait := d.next(lane)
		if box == nil {
			var after <-chan time.Time
			if wait > 0 {
				after = d.c.opt.Clock.After(wait)
			}
			select {
			case <-ctx.Done():
			case <-d.wake[lane]:
			case <-after:
			}
			continue
		}
		err := d.send(ctx, box, ref, lane)
		d.mu.Lock()
		delete(d.flying, ref.Hash)
		if err != nil && ctx.Err() == nil {
			d.c.opt.Log.Warn("link: item not delivered", "item", ref.Hash, "err", err)
			wait := min(max(2*d.later[ref.Hash].wait, retryMin), retryMax)
			if permanent(err) {
				wait = retryMax
			}
			d.later[ref.Hash] = retry{d.c.opt.Clock.Now().Add(wait), wait}
		} else {
			delete(d.later, ref.Hash)
		}
		d.mu.Unlock()
	}
}

// permanent says whether trying again soon is pointless: the one place that decides it.
func permanent(err error) bool {
	var p *wire.Problem
	return errors.As(err, &p) && p.Status >= 400 && p.Status < 500 && p.Code != "chunk-damaged" || errors.Is(err, outbox.ErrDamaged)
}

// next picks the item that is due in a lane, or says how long to wait for the next try.
func (d *delivery) next(lane int) (*outbox.Outbox, outbox.Ref, time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now, wait := d.c.opt.Clock.Now(), time.Duration(0)
	for _, box := range d.c.opt.Books() {
		refs := box.Pending(1, func(r outbox.Ref) bool {
			if bulk := r.Length > smallItem; bulk != (lane == laneBulk) || d.flying[r.Hash] {
				return true
			}
			if t := d.later[r.Hash].at; t.After(now) {
				if wait == 0 || t.Sub(now) < wait {
					wait = t.Sub(now)
				}
				return true
			}
			return false
		})
		if len(refs) > 0 {
			d.flying[refs[0].Hash] = true
			return box, refs[0], 0
		}
	}
	return nil, outbox.Ref{}, wait
}

// Have is the hub's answer to GET of an item that is partly there, and to a PUT that did not complete it.
type Have struct {
	Have  []int `json:"have"`  // indexes of the chunks that are there
	Total int   `json:"total"` // how many there are
}

// send delivers one item and keeps its receipt.
func (d *delivery) send(ctx context.Context, box *outbox.Outbox, ref outbox.Ref, lane int) error {
	ctx, cancel := context.WithTimeout(ctx, putWait)
	defer cancel()
	m, err := box.Manifest(ref.Hash)
	if err != nil {
		return err
	}
	h, err := wire.UnmarshalHeader(m.Header)
	if err != nil {
		return err
	}
	have := map[int]bool{}
	if lane == laneBulk {
		receipt, held, err := d.ask(ctx, ref)
		if err != nil {
			return err
		}
		if receipt != nil {
			return d.keep(box, ref, receipt)
		}
		for _, i := range held {
			have[i] = true
		}
	} else {
		d.busy(1)
		defer d.busy(-1)
	}
	pr, pw := io.Pipe()
	var wg sync.WaitGroup
	defer wg.Wait() // nothing reads the outbox once this has returned
	defer cancel()
	defer pr.Close()
	wg.Go(func() { pw.CloseWithError(d.stream(ctx, pw, box, m, h, have, lane)) })
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, d.c.opt.Base+ItemPath+ref.Hash.String()+practice(box), pr)
	if err != nil {
		return fmt.Errorf("link: %w", err)
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	resp, err := d.c.opt.Bulk.Do(req)
	if err != nil {
		return fmt.Errorf("link: %w", err)
	}
	defer resp.Body.Close()
	if isReceipt(resp) {
		b, err := io.ReadAll(io.LimitReader(resp.Body, wire.MaxReceipt+1))
		if err != nil {
			return fmt.Errorf("link: %w", err)
		}
		return d.keep(box, ref, b)
	}
	if p := readProblem(resp); p != nil {
		return p
	}
	return fmt.Errorf("link: the hub answered %s to an item and gave no receipt", resp.Status)
}

func isReceipt(r *http.Response) bool {
	return r.Header.Get("Content-Type") == "application/octet-stream" &&
		(r.StatusCode == http.StatusOK || r.StatusCode == http.StatusUnprocessableEntity)
}

// ask learns what the hub has of an item.
func (d *delivery) ask(ctx context.Context, ref outbox.Ref) (receipt []byte, have []int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.c.opt.Base+ItemPath+ref.Hash.String()+"?entry="+ref.Entry.Hash().String(), nil)
	if err != nil {
		return nil, nil, fmt.Errorf("link: %w", err)
	}
	resp, err := d.c.opt.Bulk.Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("link: %w", err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return nil, nil, nil
	case isReceipt(resp):
		receipt, err = io.ReadAll(io.LimitReader(resp.Body, wire.MaxReceipt+1))
		return receipt, nil, err
	case resp.StatusCode >= 400:
		return nil, nil, readProblem(resp)
	}
	var x Have
	if err := json.NewDecoder(io.LimitReader(resp.Body, MaxMessage)).Decode(&x); err != nil {
		return nil, nil, fmt.Errorf("link: %w", err)
	}
	return nil, x.Have, nil
}

// stream writes a PUT's body: length of the manifest (4), the manifest, then for each chunk its index (4), its length (4),
// its bytes.
func (d *delivery) stream(ctx context.Context, w io.Writer, box *outbox.Outbox, m wire.Manifest, h wire.Header, have map[int]bool, lane int) error {
	b := m.Marshal()
	if _, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)); err != nil {
		return err
	}
	for i := range m.Chunks {
		if have[i] {
			continue
		}
		chunk, err := box.Chunk(m, h, i)
		if err != nil {
			return err
		}
		frame := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(i)), uint32(len(chunk)))
		for frame = append(frame, chunk...); len(frame) > 0; {
			n := min(pacedWrite, len(frame))
			if lane == laneBulk {
				d.yield(ctx)
			}
			if _, err := w.Write(frame[:n]); err != nil {
				return err
			}
			frame = frame[n:]
		}
	}
	return nil
}

func (d *delivery) busy(n int) {
	d.mu.Lock()
	d.urgent += n
	d.mu.Unlock()
}

// yield lets the small lane go first, but not for ever.
func (d *delivery) yield(ctx context.Context) {
	for waited := time.Duration(0); waited < yieldMost; waited += 5 * time.Millisecond {
		d.mu.Lock()
		busy := d.urgent > 0
		d.mu.Unlock()
		if !busy {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-d.c.opt.Clock.After(5 * time.Millisecond):
		}
	}
}

// keep verifies a receipt and makes it durable. Nothing is believed unverified.
func (d *delivery) keep(box *outbox.Outbox, ref outbox.Ref, b []byte) error {
	r, err := wire.UnmarshalReceipt(b)
	if err != nil {
		return err
	}
	d.c.mu.Lock()
	keys := d.c.keys
	d.c.mu.Unlock()
	if err := r.Verify(keys, box.Book(), ref.Entry); err != nil {
		return err
	}
	if r.Store != d.store { // it would not count, and the item would be sent again at once
		return fmt.Errorf("link: a receipt of store %s, but the hub's is %s", r.Store, d.store)
	}
	return box.Receipt(r)
}

// readProblem reads an RFC 9457 problem; nil if the answer is none.
func readProblem(r *http.Response) *wire.Problem {
	if r.StatusCode < 400 {
		return nil
	}
	p := wire.NewProblem(r.StatusCode, "http", r.Status, "")
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/problem+json") {
		json.NewDecoder(io.LimitReader(r.Body, 64<<10)).Decode(p)
	}
	return p
}
