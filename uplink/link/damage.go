package link

import "time"

// Damage is what a cart found damaged on its own disk. It goes on capturing; nobody has to delete anything.
type Damage struct {
	Segments int           `json:"segments"` // files that failed their check and are set aside
	Items    []DamagedItem `json:"items"`    // that can't be read back, newest first
	More     int           `json:"more"`     // beyond those
}

// MaxDamaged bounds how many are named.
const MaxDamaged = 32

// DamagedItem is one of them: its number in the ledger, what it is and, if the cart still knows, when it was captured.
type DamagedItem struct {
	Number uint64     `json:"number"`
	Kind   string     `json:"kind,omitempty"` // as capture.Kind writes it; "": the entry itself is lost
	At     *time.Time `json:"at,omitempty"`
}
