package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"telecart/uplink/hub/store"
)

// KeysRequest asks how the keys stand.
type KeysRequest struct{}

// KeysReply is how the keys stand.
type KeysReply struct {
	Hub     string      `json:"hub"`
	List    uint64      `json:"list"`
	Issued  time.Time   `json:"issued"`
	Expires time.Time   `json:"expires"`
	Epochs  []EpochLine `json:"epochs"`
	Carts   []CartLine  `json:"carts"`

	Unreadable int      `json:"unreadable,omitempty"` // items whose file is missing or damaged: they are in no epoch's line
	Named      []string `json:"named,omitempty"`      // of these, at most maxNamed
}

const maxNamed = 100

// EpochLine is one epoch.
type EpochLine struct {
	Epoch     uint32     `json:"epoch"`
	Created   time.Time  `json:"created"`
	Destroyed *time.Time `json:"destroyed,omitempty"`
	InUse     bool       `json:"in_use"`            // carts with the present list seal to it
	Items     int        `json:"items"`             // received under it
	DataKeys  int        `json:"data_keys"`         // that those came with
	Only      int        `json:"only"`              // of these and of the hub's own, opened by this epoch alone
	Blocked   []Blocker  `json:"blocked,omitempty"` // who must be heard of before it may be destroyed
}

// CartLine is one device.
type CartLine struct {
	Tenant  string    `json:"tenant"`
	Cart    string    `json:"cart"`
	Device  string    `json:"device"`
	Holds   uint64    `json:"holds"`   // list
	Said    time.Time `json:"said"`    // when
	Cleared uint64    `json:"cleared"` // the list it held when nothing waited for a receipt
	Back    int       `json:"back,omitempty"`
	Head    string    `json:"head"` // newest signed end of its care ledger: INCARNATION:NUMBER
}

// KeysStatus says how the keys stand at the hub whose state folder this is, running or not.
func KeysStatus(ctx context.Context, state string) (KeysReply, error) {
	return ask(ctx, state, "keys", KeysRequest{}, office.Keys)
}

// Keys says how the keys stand.
func (o office) Keys(ctx context.Context, _ KeysRequest) (r KeysReply, err error) {
	s := o.f.store
	bad, err := s.IndexKeys(ctx)
	if err != nil {
		return r, err
	}
	r = KeysReply{Hub: o.f.list.Hub, List: o.f.list.Version, Issued: o.f.list.Issued, Expires: o.f.list.Expires, Epochs: []EpochLine{}, Carts: []CartLine{},
		Unreadable: len(bad)}
	for _, u := range bad[:min(len(bad), maxNamed)] {
		r.Named = append(r.Named, u.Error())
	}
	use, err := s.EpochUse(ctx)
	if err != nil {
		return r, err
	}
	epochs, err := s.Epochs(ctx)
	if err != nil {
		return r, err
	}
	l, err := gather(ctx, s)
	if err != nil {
		return r, err
	}
	for _, e := range epochs {
		line := EpochLine{Epoch: e.Number, Created: e.Created}
		for _, u := range use {
			if u.Epoch == e.Number {
				line.Items, line.DataKeys = line.Items+u.Items, line.DataKeys+u.Wraps
			}
		}
		if line.Only, err = s.OnlyUnder(ctx, e.Number); err != nil {
			return r, err
		}
		if _, after := l.after(e.Number); !after {
			line.InUse = true
		} else if !e.Destroyed.IsZero() {
			line.Destroyed = &e.Destroyed
		} else if line.Blocked, err = l.blockers(e.Number); err != nil {
			return r, err
		}
		r.Epochs = append(r.Epochs, line)
	}
	for _, d := range l.devices {
		head, err := s.NewestHead(ctx, d.Tenant, d.Cart)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return r, err
		}
		r.Carts = append(r.Carts, CartLine{d.Tenant, d.Cart, d.Device, d.Held, d.HeldAt, d.Cleared, d.Back, head})
	}
	return r, nil
}

// gather reads what says who may still hold what.
func gather(ctx context.Context, s *store.Store) (l ledgers, err error) {
	if l.lists, err = s.KeyLists(ctx); err != nil {
		return l, err
	}
	if l.devices, err = s.KeyDevices(ctx); err != nil {
		return l, err
	}
	if l.writeOff, err = s.WriteOffs(ctx); err != nil {
		return l, err
	}
	l.gaps = map[cartID][]store.Gap{}
	tenants, err := s.Tenants(ctx)
	if err != nil {
		return l, err
	}
	for _, t := range tenants {
		carts, err := s.LedgerCarts(ctx, t)
		if err != nil {
			return l, err
		}
		for _, c := range carts {
			gaps, err := s.Gaps(ctx, t, c)
			if err != nil {
				return l, err
			}
			if len(gaps) > 0 {
				l.gaps[cartID{t, c}] = gaps
			}
		}
	}
	return l, nil
}

// WriteOffRequest gives up what a cart may still hold.
type WriteOffRequest struct {
	Tenant string `json:"tenant"`
	Cart   string `json:"cart"`
	Device string `json:"device"` // "": the whole cart, gaps of its ledger too; else the beginning of one device's hash
	Reason string `json:"reason"`
}

const maxReason = 500

// WriteOffKeys gives up what a cart may still hold under the epochs up to now, at a hub that runs or not.
func WriteOffKeys(ctx context.Context, state string, r WriteOffRequest) error {
	_, err := ask(ctx, state, "keys/write-off", r, office.WriteOff)
	return err
}

// WriteOff keeps the operator's word and tells the tenant's audit trail. It counts for the epochs that are there now.
func (o office) WriteOff(ctx context.Context, r WriteOffRequest) (struct{}, error) {
	if r.Reason = strings.TrimSpace(r.Reason); r.Reason == "" || len(r.Reason) > maxReason {
		return struct{}{}, fmt.Errorf("keys: say why, in at most %d bytes: what the cart still holds can never be opened once the key is gone", maxReason)
	}
	devices, err := o.f.store.KeyDevices(ctx)
	if err != nil {
		return struct{}{}, err
	}
	devices = slices.DeleteFunc(devices, func(d store.KeyDevice) bool {
		return d.Tenant != r.Tenant || d.Cart != r.Cart || !strings.HasPrefix(d.Device, r.Device)
	})
	switch {
	case len(devices) == 0:
		return struct{}{}, fmt.Errorf("keys: no such cart or device: %s/%s %s", r.Tenant, r.Cart, r.Device)
	case r.Device != "" && len(devices) > 1:
		return struct{}{}, fmt.Errorf("keys: device %q of %s/%s could be %d of them; give more of it", r.Device, r.Tenant, r.Cart, len(devices))
	case r.Device != "":
		r.Device = devices[0].Device
	}
	epoch := newestListed(o.f.list)
	with := map[string]string{"cart": r.Cart, "device": r.Device, "reason": r.Reason, "epoch": fmt.Sprint(epoch)}
	// The trail first: a word that nobody can read again must not count.
	if err := (trail{o.f.store, o.f.clock}).Record(ctx, r.Tenant, operator, "keys-written-off", with); err != nil {
		return struct{}{}, err
	}
	return struct{}{}, o.f.store.WriteOff(ctx, store.WriteOff{Tenant: r.Tenant, Cart: r.Cart, Device: r.Device, Epoch: epoch, Reason: r.Reason})
}

// Print writes the status for people.
func (r KeysReply) Print(out io.Writer, now time.Time) error {
	fmt.Fprintf(out, "hub %s, key list %d of %s, good until %s\n", r.Hub, r.List, r.Issued.Format(time.DateOnly), r.Expires.Format(time.DateOnly))
	if now.After(r.Expires) {
		fmt.Fprintln(out, "It has expired: carts go on, and warn. Sign it anew: telecart-hub keys renew, or keys rotate")
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nEPOCH\tSINCE\tITEMS\tDATA KEYS\tONLY UNDER IT\tSTATE")
	for _, e := range r.Epochs {
		state := "may be destroyed"
		switch {
		case e.Destroyed != nil:
			state = "destroyed " + e.Destroyed.Format(time.DateOnly)
		case e.InUse:
			state = "in use"
		case len(e.Blocked) > 0:
			state = fmt.Sprintf("%d not accounted for", len(e.Blocked))
		}
		fmt.Fprintf(t, "%d\t%s\t%d\t%d\t%d\t%s\n", e.Epoch, e.Created.Format(time.DateOnly), e.Items, e.DataKeys, e.Only, state)
	}
	fmt.Fprintln(t, "\nCART\tDEVICE\tHOLDS LIST\tSAID\tALL HERE AT LIST\tHEAD")
	for _, c := range r.Carts {
		fmt.Fprintf(t, "%s/%s\t%.16s\t%d\t%s\t%d\t%s\n", c.Tenant, c.Cart, c.Device, c.Holds, c.Said.Format(time.DateTime), c.Cleared, c.Head)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, e := range r.Epochs {
		for _, b := range e.Blocked {
			fmt.Fprintf(out, "epoch %d waits for %s\n", e.Epoch, b)
		}
	}
	if r.Unreadable > 0 {
		fmt.Fprintf(out, "\n%d items are in no line above, for their files can't be read. No epoch can be destroyed until they are here again:\n", r.Unreadable)
		for _, n := range r.Named {
			fmt.Fprintf(out, "  %s\n", n)
		}
		if more := r.Unreadable - len(r.Named); more > 0 {
			fmt.Fprintf(out, "  and %d more\n", more)
		}
	}
	_, err := fmt.Fprintln(out, "\nWhat a courier carries are copies: a cart says that all is here only when the hub has signed for it, however it came.")
	return err
}
