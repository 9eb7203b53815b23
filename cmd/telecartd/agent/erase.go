package agent

import (
	"context"
	"time"

	"telecart/uplink/seal/erase"
)

// lateErase is how long after the end of an encounter the last of it has been sent and drawn.
const lateErase = 3 * time.Second

// erase zeroes what an encounter leaves in memory: at its end, for the keys, and again when its last pictures and replies have
// gone out.
func (a *Agent) erase(ctx context.Context) error {
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.ended:
			again = a.clock.After(lateErase)
		case <-again:
			again = nil
		}
		erase.Now()
	}
}
