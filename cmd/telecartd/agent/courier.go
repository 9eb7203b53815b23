package agent

import (
	"telecart/device/kit"
	"telecart/uplink/courier/inbox"
	"telecart/uplink/wire"
)

// courier does what is due for those who have the files alone: it writes the ledgers' signed heads down, and takes the
// receipts that came on a stick.
func (a *Agent) courier() {
	boxes := a.boxes()
	for _, b := range boxes {
		if err := b.SaveHead(); err != nil {
			a.log.Error("agent: the signed head was not written down", "err", err)
		}
	}
	if len(boxes) == 1 {
		return // what is for practice would be set aside as nobody's: it waits until practice can be opened
	}
	a.mu.Lock()
	keys := a.keys
	a.mu.Unlock()
	n, err := inbox.Take(inbox.Options{State: a.set.State, Disk: kit.Disk{}, Log: a.log, List: a.listOnStick}, boxes, keys)
	if err != nil {
		a.log.Error("agent: receipts on a stick", "err", err)
	}
	if n > 0 {
		a.log.Info("agent: receipts came on a stick", "receipts", n)
		a.change()
	}
}

// listOnStick takes a key list that came on a stick, as one that the hub shows: by the root that the claim pinned, and never back.
func (a *Agent) listOnStick(signed wire.SignedKeyList) (wire.KeyList, error) {
	me, err := a.id.Identity()
	if err != nil {
		return wire.KeyList{}, err
	}
	a.mu.Lock()
	held := a.keys
	a.mu.Unlock()
	l, err := signed.Open(me.KeysRoot[:], held.Version)
	if err == nil && l.Hub == held.Hub {
		err = a.takeKeys(signed, l)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.keys, err
}
