package equilibrium

import (
	"math"
	"time"
)

// Warmth is the temperature of a twin's probe: at rest, or on its way to what it touches. Its zero value is 0 Cel.
type Warmth struct {
	from, to float64
	tau      time.Duration // 0: at rest
	start    time.Time
}

// Rest makes it this warm, in thousandths of a degree Celsius.
func (w *Warmth) Rest(milliCel int) { *w = Warmth{to: float64(milliCel)} }

// Approach lets it drift from what it is at now towards another temperature with time constant tau, as a probe under an arm
// does.
func (w *Warmth) Approach(now time.Time, milliCel int, tau time.Duration) {
	*w = Warmth{from: w.At(now), to: float64(milliCel), tau: tau, start: now}
}

// At is the temperature at a time.
func (w *Warmth) At(t time.Time) float64 {
	if w.tau <= 0 {
		return w.to
	}
	return w.to + (w.from-w.to)*math.Exp(-t.Sub(w.start).Seconds()/w.tau.Seconds())
}
