package ad8232

import "time"

const (
	steadyFor = 200 * time.Millisecond // a floating input toggles LO+ at the mains' rate (ADI's forum)
	unsteady  = 600 * time.Millisecond // without being steady: the contact is not to be trusted
	blanking  = time.Second            // after reconnection the AD8232's fast restore runs, and its filters settle
)

// contact decides from the lead-off outputs whether the electrodes are on. It is a step machine.
type contact struct {
	on       bool
	known    bool
	high     bool
	since    time.Time // that the outputs are as they are
	goodLast time.Time // the end of the last time that they were low for long enough
}

// see takes the outputs' state now, high if any electrode is off, and says whether the contact changed.
func (c *contact) see(at time.Time, high bool) (changed bool) {
	if !c.known {
		c.known, c.high, c.since, c.goodLast = true, high, at, at
	}
	if high != c.high {
		c.high, c.since = high, at
	}
	steady := at.Sub(c.since) >= steadyFor
	if steady && !high {
		c.goodLast = at
	}
	switch {
	case !c.on && steady && !high:
		c.on = true
		return true
	case c.on && (steady && high || at.Sub(c.goodLast) >= unsteady):
		c.on = false
		return true
	}
	return false
}
