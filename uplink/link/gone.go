package link

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net/http"
	"sync"

	"telecart/capture/ledger"
	"telecart/uplink/outbox"
	"telecart/uplink/wire"
)

// ReceiptsPath takes receipts that the cart kept of items it has erased, below https://carts.HUB.
const ReceiptsPath = "/v1/receipts"

// A hub that was restored from a backup may miss what it had signed for since. What the cart still holds it offers again; of
// what it has erased it shows the receipts, so that the hub can say what is gone. That is for people to read: it goes when
// the bulk lane has nothing else to do, a little at a time. A cart that was claimed to another hub keeps the first one's receipts:
// they say nothing to this one, and are not shown.
const (
	goneBatch  = 60   // receipts of one POST: about a second at 100 kb/s
	goneBuffer = 4096 // receipts read at a time
)

// showing is how far the receipts were shown to a store of the hub.
type showing struct {
	mu    sync.Mutex
	store ledger.ID
	book  int            // of Books
	read  int            // of that book's receipts
	next  []wire.Receipt // read and not shown
	done  bool
	stuck *delivery // the connection on which the hub did not take them
}

// showGone shows the hub some more receipts of what was erased under an earlier store of it. Worked says that it did.
func (d *delivery) showGone(ctx context.Context, lane Lane) (worked bool) {
	s := &d.c.gone
	if lane != LaneBulk || !s.mu.TryLock() {
		return false
	}
	defer s.mu.Unlock()
	if s.store != d.store {
		s.store, s.book, s.read, s.next, s.done, s.stuck = d.store, 0, 0, nil, false, nil
	}
	d.c.mu.Lock()
	hub := d.c.keys.Hub
	d.c.mu.Unlock()
	books := d.c.opt.Books()
	if s.done || s.stuck == d || len(books) == 0 || !s.more(books, d.store, hub) {
		return false
	}
	n := min(goneBatch, len(s.next))
	err := d.c.postReceipts(ctx, books[s.book], s.next[:n])
	if err != nil {
		s.stuck = d
		d.c.opt.Log.Warn("link: the hub did not take receipts of erased items; they are shown over the next link", "err", err)
		return false
	}
	s.next = s.next[n:]
	return true
}

// more makes sure that there are receipts of the hub to show; false when all were shown.
func (s *showing) more(books []*outbox.Outbox, store ledger.ID, hub string) bool {
	for ; len(s.next) == 0 && s.book < len(books); s.book, s.read = s.book+1, 0 {
		i := 0
		for r := range books[s.book].Gone(store) {
			if i++; i <= s.read {
				continue
			}
			if s.read = i; r.Hub != hub {
				continue
			}
			if s.next = append(s.next, r); len(s.next) == goneBuffer {
				break
			}
		}
		if len(s.next) > 0 {
			return true
		}
	}
	s.done = len(s.next) == 0
	return !s.done
}

func (c *Client) postReceipts(ctx context.Context, box *outbox.Outbox, rs []wire.Receipt) error {
	ctx, cancel := context.WithTimeout(ctx, postWait)
	defer cancel()
	var b []byte
	for _, r := range rs {
		raw := r.Marshal()
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(raw))), raw...)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.opt.Base+ReceiptsPath+practice(box), bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("link: %w", err)
	}
	resp, err := c.opt.Bulk.Do(req)
	if err != nil {
		return fmt.Errorf("link: show receipts: %w", err)
	}
	defer resp.Body.Close()
	if p := readProblem(resp); p != nil {
		return p
	}
	return nil
}
