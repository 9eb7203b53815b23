package agent

import (
	"errors"
	"testing"

	"telecart/uplink/wire"
)

// A key list on a stick is believed as the link's is: by the pinned root, of this hub, and never back.
func TestListOnStick(t *testing.T) {
	r := newRig(t).enrolled()
	a := r.start()
	receipt := wire.ReceiptKey{ID: 9, Public: make([]byte, 32)}
	signed, _ := r.list(func(l *wire.KeyList) { l.Version, l.Receipts = 2, append(l.Receipts, receipt) })
	forged := signed
	forged.Signature = append([]byte(nil), signed.Signature...)
	forged.Signature[3] ^= 1
	other, _ := r.list(func(l *wire.KeyList) { l.Version, l.Hub = 3, "hub.other" })
	if l, err := a.listOnStick(forged); err == nil || l.Version != 1 {
		t.Errorf("forged: list %d, %v", l.Version, err)
	}
	if l, err := a.listOnStick(other); err != nil || l.Version != 1 {
		t.Errorf("another hub's: list %d, %v", l.Version, err)
	}
	if l, err := a.listOnStick(signed); err != nil || l.Version != 2 || l.Receipts[len(l.Receipts)-1].ID != 9 {
		t.Errorf("newer: %+v, %v", l, err)
	}
	if l, err := a.listOnStick(r.keys); !errors.Is(err, wire.ErrOldKeyList) || l.Version != 2 {
		t.Errorf("older: list %d, %v", l.Version, err)
	}
}
