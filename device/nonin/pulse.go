package nonin

import "time"

// pulse is what a packet says of the heart beats that fell into it: the quality of the last one, and whether any was good.
//
// A pulse with artifact (ARTF) is left out of the averages [M], and so is one too weak to be measured (red): "While the
// Pulse Quality display is red, SpO2 and pulse rate values are not updated. After about 10 seconds, the values are
// replaced with dashes" (Nonin 9847 operator's manual, Displays and Indicators). A sustained period of artifact becomes
// OOT (Nonin 9560 OEM specification, format 2). So one bad pulse leaves the number as good as it was; without any good
// pulse for 3 s it is an old number, and old numbers are not shown.
type pulse struct {
	quality string // "" if no pulse fell into it
	good    bool
}

// Qualities of a pulse.
const (
	green    = "good-perfusion"
	yellow   = "marginal-perfusion"
	red      = "low-perfusion"
	artifact = "artifact"
)

func (p pulse) and(quality string) pulse {
	return pulse{quality, p.good || quality == green || quality == yellow}
}

// pulseHolds is how long a pulse speaks for the number: slow hearts beat less than once a packet.
const pulseHolds = 3 * time.Second

// beats remembers the last pulses.
type beats struct {
	last pulse
	at   time.Time // of last
	good time.Time // of the last good one; zero if none
}

// add takes a packet's, and returns the quality of the pulse that counts now ("" if none does).
func (b *beats) add(now time.Time, p pulse) string {
	if p.quality != "" {
		b.last, b.at = p, now
	}
	if p.good {
		b.good = now
	}
	if now.Sub(b.at) > pulseHolds {
		return ""
	}
	return b.last.quality
}

// stalled says that pulses come, but none that updates the numbers.
func (b *beats) stalled(now time.Time) bool {
	return b.last.quality != "" && !b.last.good && (b.good.IsZero() || now.Sub(b.good) > pulseHolds)
}
