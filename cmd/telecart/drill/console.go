package drill

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// console is what the drill reads of the specialist's state.
type console struct {
	Carts []struct {
		Cart      string `json:"cart"`
		State     string `json:"state"`
		Held      int    `json:"held"`
		Encounter *struct {
			ID string `json:"id"`
		} `json:"encounter"`
		Consult *struct {
			ID      string `json:"id"`
			Phase   string `json:"phase"`
			Streams []struct {
				Instrument string `json:"instrument"`
				Publishing bool   `json:"publishing"`
			} `json:"streams"`
		} `json:"consult"`
		Leases []struct {
			Instrument string `json:"instrument"`
			Holder     string `json:"holder"`
			Epoch      uint64 `json:"epoch"`
		} `json:"leases"`
		Instruments []struct {
			Name string `json:"name"`
			Axes []struct {
				Name   string `json:"name"`
				Min    int    `json:"min"`
				Max    int    `json:"max"`
				Locked bool   `json:"locked"`
			} `json:"axes"`
		} `json:"instruments"`
	} `json:"carts"`
}

// signIn is the console's front door.
func signIn(ctx context.Context, c *http.Client, base, name, password string) error {
	b, err := json.Marshal(map[string]string{"name": name, "password": password})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/session", strings.NewReader(string(b)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Origin", base)
	resp, err := c.Do(req)
	if err != nil {
		return fmt.Errorf("drill: sign in: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return fmt.Errorf("drill: sign in: %s", resp.Status)
	}
	return nil
}
