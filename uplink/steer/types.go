package steer

import "time"

// Request asks for the right to steer one instrument.
type Request struct {
	Instrument string `json:"instrument"`
	Who        string `json:"who"`      // account id
	WhoName    string `json:"who_name"` // as both screens show it
}

// Setpoint is where the holder wants the axes. The latest wins; it lives 500 ms and is never queued.
type Setpoint struct {
	Instrument string         `json:"instrument"`
	Who        string         `json:"who"`
	Epoch      uint64         `json:"epoch"` // of the lease
	Seq        uint64         `json:"seq"`   // rises with every setpoint of the epoch
	Set        map[string]int `json:"set"`
	AgeMS      int64          `json:"age_ms"` // how old it was when it was last sent on
	// AtMS is when it was made, on the cart's steady clock as the sender knows it: NowMS of the last Lease that it got,
	// and what has passed on its own clock since. It covers what AgeMS can't, the time in the network. 0 is "not known".
	// A setpoint without Set is a sign of life.
	AtMS int64 `json:"at_ms,omitempty"`
}

// Act is something done at most once: late and repeated ones are refused.
type Act struct {
	ID         string         `json:"id"`
	Instrument string         `json:"instrument"`
	Who        string         `json:"who"`
	Epoch      uint64         `json:"epoch"`
	Kind       string         `json:"kind"`   // "still", or "step": go to Set, and confirm
	TTLMS      int64          `json:"ttl_ms"` // how long it may still be carried out, from when it was last sent on
	AtMS       int64          `json:"at_ms,omitempty"`
	Set        map[string]int `json:"set,omitempty"` // of a step
}

// ActResult is what became of an act.
type ActResult struct {
	ID    string `json:"id"`
	OK    bool   `json:"ok"`
	Item  string `json:"item,omitempty"`  // the hash of what it made
	Error string `json:"error,omitempty"` // a code: one of those in lease.go
}

// Lease is the time-limited right to steer one instrument, as granted by the cart.
type Lease struct {
	Instrument string    `json:"instrument"`
	Holder     string    `json:"holder,omitempty"` // account id; "" when nobody holds it
	HolderName string    `json:"holder_name,omitempty"`
	Epoch      uint64    `json:"epoch"`
	Until      time.Time `json:"until"`
	TakenBack  bool      `json:"taken_back"` // the nurse has it, until she gives it back
	NowMS      int64     `json:"now_ms"`     // the cart's steady clock when this was said
}
