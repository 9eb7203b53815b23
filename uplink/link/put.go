package link

import (
	"bytes"
	"context"
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
	"telecart/device/kit/planted"
	"telecart/uplink/outbox"
	"telecart/uplink/wire"
)

// Paths of items and ledger entries, below https://carts.HUB.
const (
	ItemPath   = "/v1/items/" // + the item's hash
	LedgerPath = "/v1/ledger"
)

const (
	maxEntries = 4096        // in one POST
	stallWait  = time.Minute // without a byte taken or an answer given: at most twice that
	postWait   = time.Minute
)

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

// unposted says whether there are such entries.
func (c *Client) unposted() bool {
	return slices.ContainsFunc(c.opt.Books(), func(b *outbox.Outbox) bool { return len(b.Entries()) > 0 })
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
	var at struct { // a hub of an earlier release does not say
		Sequence uint64 `json:"sequence"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, MaxMessage)).Decode(&at); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("link: send ledger entries: %w", err)
	}
	box.PostedAt(es, at.Sequence)
	return nil
}

func practice(b *outbox.Outbox) string {
	if b.Book().Practice {
		return "?practice=1"
	}
	return "?practice=0"
}

// Have is the hub's answer to GET of an item that is partly there, and to a PUT that did not complete it.
type Have struct {
	Have  []int `json:"have"`  // indexes of the chunks that are there
	Total int   `json:"total"` // how many there are
}

// fetch delivers one item and gives the receipt as it came.
func (d *delivery) fetch(ctx context.Context, j job) (receipt []byte, err error) {
	m, err := j.box.Manifest(j.ref.Hash)
	if err != nil {
		return nil, err
	}
	h, err := wire.UnmarshalHeader(m.Header)
	if err != nil {
		return nil, err
	}
	t := &transfer{d: d, job: j, manifest: m, header: h, have: map[int]bool{}}
	ctx, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { t.watch(ctx, cancel) })
	defer func() { // in this order: then nothing reads the outbox any more
		if err != nil && errors.Is(context.Cause(ctx), errStalled) {
			err = fmt.Errorf("%w: %w", errStalled, err)
		}
		cancel(nil)
		t.close()
		watch.Wait()
	}()
	if j.lane == LaneBulk {
		receipt, held, err := d.ask(ctx, j.ref)
		if err != nil || receipt != nil {
			return receipt, err
		}
		for _, i := range held {
			t.have[i] = true
		}
	} else if j.vital() {
		d.busy(1)
		defer d.busy(-1)
	}
	return t.put(ctx)
}

// errStalled: the connection hung, though the link is up. The item gets another one.
var errStalled = errors.New("link: no byte taken and no answer for two minutes")

// watch ends a transfer that stands still.
func (t *transfer) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	for last := int64(-1); ; {
		select {
		case <-ctx.Done():
			return
		case <-t.d.c.opt.Clock.After(stallWait):
		}
		moved := t.moved.Load()
		if moved == last {
			cancel(errStalled)
			return
		}
		last = moved
	}
}

// small is the length up to which a body is handed to the HTTP client whole: it then leaves in one TLS record with its header
// (net/http, Transport.WriteBufferSize), and a reading in one packet, of which less is lost than of three.
const small = 3 << 10

// request makes the request.
func (t *transfer) request(ctx context.Context) (*http.Request, error) {
	url := t.d.c.opt.Base + ItemPath + t.job.ref.Hash.String() + practice(t.job.box)
	size := t.size()
	if size > small {
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, t.open(ctx))
		if err != nil {
			return nil, err
		}
		req.ContentLength = size
		req.GetBody = func() (io.ReadCloser, error) { return t.open(ctx), nil } // an idle connection may turn out to be dead
		return req, nil
	}
	if !t.job.vital() {
		t.d.room(ctx, t, int(size))
	}
	whole, err := t.whole()
	if err != nil {
		return nil, err
	}
	return http.NewRequestWithContext(ctx, http.MethodPut, url, bytes.NewReader(whole))
}

// put sends the request.
func (t *transfer) put(ctx context.Context) ([]byte, error) {
	req, err := t.request(t.traced(ctx))
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	resp, err := t.d.c.opt.Bulk.Do(req)
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	defer resp.Body.Close()
	if isReceipt(resp) {
		return readReceipt(resp)
	}
	if p := readProblem(resp); p != nil {
		return nil, p
	}
	return nil, fmt.Errorf("link: the hub answered %s to an item and gave no receipt", resp.Status)
}

func readReceipt(r *http.Response) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r.Body, wire.MaxReceipt+1))
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	return b, nil
}

func isReceipt(r *http.Response) bool {
	return r.Header.Get("Content-Type") == "application/octet-stream" &&
		(r.StatusCode == http.StatusOK || r.StatusCode == http.StatusUnprocessableEntity)
}

// ask learns what the hub has of an item.
func (d *delivery) ask(ctx context.Context, ref outbox.Ref) (receipt []byte, have []int, err error) {
	if e, ok := d.c.asked(ctx, ref.Hash); ok {
		return e.receipt, e.have, nil
	}
	return d.c.ask(ctx, ref)
}

func (c *Client) ask(ctx context.Context, ref outbox.Ref) (receipt []byte, have []int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.opt.Base+ItemPath+ref.Hash.String()+"?entry="+ref.Entry.Hash().String(), nil)
	if err != nil {
		return nil, nil, fmt.Errorf("link: %w", err)
	}
	resp, err := c.opt.Bulk.Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("link: %w", err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return nil, nil, nil
	case isReceipt(resp):
		receipt, err = readReceipt(resp)
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

// keep verifies a receipt and makes it durable. Nothing is believed unverified.
func (d *delivery) keep(box *outbox.Outbox, ref outbox.Ref, b []byte) error {
	r, err := wire.UnmarshalReceipt(b)
	if err != nil {
		return err
	}
	d.c.mu.Lock()
	keys := d.c.keys
	d.c.mu.Unlock()
	if err := r.Verify(keys, box.Book(), ref.Entry); err != nil && !planted.Is(planted.UnverifiedReceipt) {
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
