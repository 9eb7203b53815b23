package link

import "time"

// LadderState is where the cart's ladder stands (uplink/ladder), for the specialist.
type LadderState struct {
	Step string         `json:"step"`      // full, smaller, stills
	Kbps int            `json:"kbps"`      // that the link carries, as far as is known
	Used int            `json:"used_kbps"` // by pictures and items
	Log  []LadderChange `json:"log"`       // its latest steps, the oldest first; LadderLog at most
}

// LadderChange is one step of the ladder.
type LadderChange struct {
	At   time.Time `json:"at"`
	Code string    `json:"code"` // stills, pictures, smaller, larger
	Kbps int       `json:"kbps"`
}

// LadderLog bounds LadderState.Log.
const LadderLog = 8

// Delivered is how many bytes of items arrived, by the kernel's count, since the last welcome; it is looked at while items are sent.
func (c *Client) Delivered() int64 {
	c.mu.Lock()
	d := c.out
	c.mu.Unlock()
	if d == nil {
		return 0
	}
	d.road.mu.Lock()
	defer d.road.mu.Unlock()
	return int64(d.road.valve.total)
}
