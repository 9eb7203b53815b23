package killer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"telecart/cmd/telecart/drill/oracle"
	"telecart/cmd/telecart/drill/screen"
	"telecart/uplink/outbox"
)

type nurse = screen.Screen[screen.Bedside]

// nurse opens the bedside's page.
func (k *killer) nurse(ctx context.Context) (*nurse, error) {
	c := screen.Browser()
	resp, err := c.Get(k.stage.BedsideURL()) // the kiosk's first address sets the cookie
	if err != nil {
		return nil, fmt.Errorf("kills: %w", err)
	}
	resp.Body.Close()
	return screen.Open[screen.Bedside](ctx, c, "ws://"+k.stage.Bedside+"/api/ws")
}

// rest is between two captures of one kind.
const rest = 5 * time.Millisecond

// work captures in three loops at once until the agent is gone.
func (k *killer) work(ctx context.Context) {
	n, err := k.nurse(ctx)
	if err != nil { // killed already
		return
	}
	defer n.Close()
	var wg sync.WaitGroup
	for verb, args := range map[string]map[string]any{"still": {"instrument": "room camera"}, "note": {"text": "a note among many"}, "reading": {"instrument": "oximeter"}} {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := k.capture(ctx, n, verb, args); errors.Is(err, screen.ErrGone) || pause(ctx, rest) != nil {
					return
				}
			}
		})
	}
	wg.Wait()
}

// capture gives a command that saves, and writes down what the nurse is told.
func (k *killer) capture(ctx context.Context, n *nurse, verb string, args map[string]any) error {
	var raw struct {
		Items []struct {
			Item   string `json:"item"`
			Kind   string `json:"kind"`
			SHA256 string `json:"sha256"`
		} `json:"items"`
	}
	err := n.Do(ctx, verb, args, &raw)
	now := time.Now().UTC()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.Items++
	e := json.NewEncoder(k.out)
	for _, i := range raw.Items {
		t := oracle.Told{ID: i.Item, Kind: i.Kind, SHA256: i.SHA256, Told: now}
		k.told = append(k.told, t)
		err = errors.Join(err, e.Encode(t))
	}
	return err
}

// missing is how many saved items have no receipt on the cart's disk yet.
func (k *killer) missing() (int, error) {
	rs, err := outbox.ReadReceipts(filepath.Join(k.stage.CartDir(), "care"))
	if err != nil {
		return 0, err
	}
	got := map[string]bool{}
	for _, r := range rs {
		got[r.Item.String()] = true
	}
	n := 0
	for _, t := range k.told {
		if !got[t.ID] {
			n++
		}
	}
	return n, nil
}
