package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"telecart/device/kit"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// takeKeys takes a hub's key list over: the first one makes capture possible; a newer one takes the place of the one held,
// for the encounter that is open too. Once it returns, nothing more is sealed to an older epoch; the cart says so in its next
// hello, and the hub counts on it (uplink/wire/KEYS.md).
func (a *Agent) takeKeys(signed wire.SignedKeyList, keys wire.KeyList) error {
	a.keying.Lock()
	defer a.keying.Unlock()
	a.mu.Lock()
	held, raw, books := a.keys.Version, a.keysRaw, a.books
	a.mu.Unlock()
	if signed.Differs(keys.Version, raw, held) {
		return wire.NewProblem(http.StatusConflict, "two-key-lists", "The hub shows another key list of the version held here", wire.ErrTwoKeyLists.Error())
	}
	if len(books) > 0 && keys.Version <= held {
		return nil
	}
	sealers := make([]*seal.Sealer, len(books))
	for i, b := range books {
		var err error
		if sealers[i], err = a.newSealer(b.box.Book(), keys); err != nil { // a newer release can; delivery and capture go on
			a.log.Error("agent: the hub's new record key is no use to this release; sealing to the one before", "list", keys.Version, "err", err)
			return nil
		}
	}
	b, err := json.Marshal(signed)
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	if err := kit.WriteFile(a.keysPath(), b, 0o600); err != nil {
		if len(books) == 0 {
			return err
		}
		// No reason to end the link: delivery is what frees a full disk. The hello goes on naming the list held, so nothing
		// is claimed that isn't so, and the next welcome brings the newer one again.
		a.log.Error("agent: the newer key list can't be written down; sealing to the one before", "list", keys.Version, "held", held, "err", err)
		return nil
	}
	for i, b := range books {
		b.renew(sealers[i])
	}
	a.mu.Lock()
	a.keys, a.keysRaw = keys, signed // from here on a hello names it
	a.mu.Unlock()
	a.log.Info("agent: sealing by a newer key list", "list", keys.Version)
	if len(books) == 0 {
		if err := a.openBooks(context.Background()); err != nil {
			return err
		}
	}
	a.currentLink().Redial() // to say hello again, with the ledgers' heads and this list
	return nil
}

// warnOfKeys says in the log, once a day, that the list held is past its time by a clock that is trusted. Capture goes on.
func (a *Agent) warnOfKeys(last time.Time) time.Time {
	now := a.clock.Now()
	a.mu.Lock()
	version, until := a.keys.Version, a.keys.Expires
	a.mu.Unlock()
	if version == 0 || until.IsZero() || !a.trusted() || now.Before(until) || now.Sub(last).Abs() < 24*time.Hour {
		return last
	}
	a.log.Warn("agent: the key list has expired; items are sealed by it all the same. IT signs a new one at the hub", "list", version, "expired", until)
	return now
}
