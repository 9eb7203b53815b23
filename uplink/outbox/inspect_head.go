package outbox

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"telecart/capture/ledger"
	"telecart/device/kit"
)

// SaveHead writes the signed head down (HeadFile), for whoever has the files alone: a courier, an auditor. The outbox
// itself never goes by it. What it covers is durable already.
func (o *Outbox) SaveHead() error {
	h, err := o.Head()
	if err != nil {
		return err
	}
	path := filepath.Join(o.opt.Dir, HeadFile)
	var old ledger.Head
	if b, err := kit.ReadRegular(path); err == nil && json.Unmarshal(b, &old) == nil && old.Incarnation == h.Incarnation && old.Number == h.Number && old.Hash == h.Hash {
		return nil
	}
	b, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	return o.opt.Disk.WriteFile(path, b, 0o600)
}

// HubStore is the incarnation of the hub's store as the hub said last in this run; zero: it has not yet.
func (o *Outbox) HubStore() ledger.ID {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.x.store
}
