// Package inbox gives the receipts that a courier brought to the outboxes of a running agent.
//
// Parties: `telecart courier import --state` puts files into the cart's inbox; the agent calls Take now and then.
//
// Keys: the receipt keys of the cart's list. A newer list that came along counts once the agent has taken it, by the root that the
// claim pinned. Nothing is believed unverified, as on the link.
//
// Invariants: a receipt counts only if it is signed, about the very entry that is held, and of the store that the hub said
// last that it is; before the hub has said so in this run, of the store whose signed backup watermark came along. A file goes
// only when all of it was taken; taking it twice changes nothing. One with a receipt by a key that the cart does not know yet stays
// until a newer list comes; there is one file for each book, and what a stick brings is added to it.
package inbox

import (
	"errors"
	"log/slog"
	"slices"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/courier"
	"telecart/uplink/outbox"
	"telecart/uplink/wire"
)

// Options say where.
type Options struct {
	State string // the cart's folder
	Disk  kit.Disk
	Log   *slog.Logger
	// List verifies a key list that came along, takes it if it is newer, and gives the one that counts now. nil: the held one does.
	List func(wire.SignedKeyList) (wire.KeyList, error)
}

// Take takes what is in the inbox. It says how many receipts were new.
func Take(o Options, boxes []*outbox.Outbox, keys wire.KeyList) (taken int, err error) {
	err = courier.ReadInbox(o.Disk, o.State, func(r courier.Receipts) (bool, error) {
		for _, b := range boxes {
			if b.Book() != r.Book {
				continue
			}
			if b.Stats().Loading > 0 {
				return false, nil // old segments are still being checked: its items may be in them
			}
			if r.Keys != nil && o.List != nil {
				if l, err := o.List(*r.Keys); err == nil {
					keys = l
				} else if !errors.Is(err, wire.ErrOldKeyList) {
					o.Log.Warn("inbox: the key list on the stick is not taken", "err", err)
				}
			}
			n, later, err := take(o, b, keys, r)
			taken += n
			if later > 0 {
				o.Log.Warn("inbox: receipts by a key that is not in the cart's list; they wait for a newer list", "receipts", later, "list", keys.Version)
			}
			return err == nil && later == 0, err
		}
		return len(boxes) > 0, nil
	})
	return taken, err
}

func take(o Options, b *outbox.Outbox, keys wire.KeyList, in courier.Receipts) (taken, later int, err error) {
	if w := in.Watermark; w != nil && w.Verify(keys) == nil {
		if b.HubStore() == (ledger.ID{}) {
			b.Store(w.Store)
		}
		if w.Store == b.HubStore() {
			b.Watermark(*w)
		}
	}
	for _, r := range in.Receipts {
		e, held := b.Entry(r.Item)
		if !held {
			continue // erased already
		}
		if sent, refused := b.Sent(r.Item); sent || refused && r.Verdict == wire.Refused {
			continue
		}
		if r.Hub == keys.Hub && !slices.ContainsFunc(keys.Receipts, func(k wire.ReceiptKey) bool { return k.ID == r.Key }) {
			later++
			continue
		}
		if err := r.Verify(keys, b.Book(), e); err != nil {
			o.Log.Warn("inbox: a receipt that is not believed", "number", r.Number, "err", err)
			continue
		}
		if r.Store != b.HubStore() {
			o.Log.Warn("inbox: a receipt of another store than the hub's", "number", r.Number, "store", r.Store)
			continue
		}
		if err := b.Receipt(r); err != nil {
			return taken, later, err
		}
		taken++
	}
	return taken, later, nil
}
