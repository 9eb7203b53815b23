package agent

import (
	"telecart/device/kit"
	"telecart/uplink/courier/inbox"
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
	a.mu.Lock()
	keys := a.keys
	a.mu.Unlock()
	n, err := inbox.Take(inbox.Options{State: a.set.State, Disk: kit.Disk{}, Log: a.log}, boxes, keys)
	if err != nil {
		a.log.Error("agent: receipts on a stick", "err", err)
	}
	if n > 0 {
		a.log.Info("agent: receipts came on a stick", "receipts", n)
		a.change()
	}
}
