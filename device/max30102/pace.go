package max30102

import (
	"fmt"
	"math"
	"time"
)

const (
	paceAfter  = 4 * time.Second // of counting: good for half a per cent
	paceAnew   = time.Minute     // good for 0.04
	paceLimit  = 0.08            // package ppg follows 10 %
	paceMatter = 0.001
)

// pace measures at which rate samples come, by the cart's clock: the chip's own may be off by several per cent, and the
// pulse would be too.
type pace struct {
	hz    float64 // as far as it is known
	known bool

	since time.Time // zero: counting begins with the next poll
	count int
}

func newPace() pace { return pace{hz: nominalHz} }

// cut says that samples were lost.
func (p *pace) cut() { p.since = time.Time{} }

// take is told how many samples had come by now, and says whether the rate is another one than was thought.
func (p *pace) take(now time.Time, n int) (changed bool, _ error) {
	if p.since.IsZero() {
		p.since, p.count = now, 0
		return false, nil
	}
	p.count += n
	span := now.Sub(p.since)
	if span < paceAfter {
		return false, nil
	}
	hz := float64(p.count) / span.Seconds()
	unsure := 2 / float64(max(p.count, 1)) // one sample at either end
	if math.Abs(hz/nominalHz-1) > paceLimit+unsure {
		return false, fmt.Errorf("%w: %.1f Hz", ErrPace, hz)
	}
	p.known = true
	if span >= paceAnew {
		p.since, p.count = now, 0
	}
	if math.Abs(hz/p.hz-1) <= max(paceMatter, unsure) {
		return false, nil
	}
	p.hz = hz
	return true, nil
}
