package max30102

// Where the mean light is to be, as a share of full scale (reference 1.2: 50 to 75 %).
const (
	lowest, middle, highest = 0.50, 0.625, 0.75
	// Once there it may wander further before its lamp is changed: that costs the seconds of signal before it.
	tooLow, tooHigh = 0.40, 0.85

	patience = 10 // polls in a row beyond those
	maxLamp  = 0x7F
)

// lamp is the servo of one LED's current. A step is to the double or the half at most.
type lamp struct {
	code byte // in steps of 0.2 mA; never 0
	held bool // the light was where it is to be
	out  int  // polls since then in which it was not
}

func newLamp() lamp { return lamp{code: startLamp} }

// adjust is told the mean light of one poll, and says whether the current is another one now. A lamp that can't do more
// rests, too.
func (l *lamp) adjust(mean float64) (changed bool) {
	share := mean / fullScale
	if l.held {
		if share >= tooLow && share <= tooHigh {
			l.out = 0
			return false
		}
		if l.out++; l.out < patience {
			return false
		}
	}
	l.held, l.out = true, 0
	if share >= lowest && share <= highest {
		return false
	}
	was := l.code
	want := float64(was) * min(max(middle/max(share, 1e-3), 0.5), 2)
	l.code = byte(min(max(want, 1), maxLamp))
	if l.code == was {
		return false
	}
	l.held = false
	return true
}

// A finger sends back 50 000 counts at 7 mA, 35 steps, or more (reference 1.2); one that is there is gone below 35 000.
// An empty window sends back a few thousand at most.
const (
	fingerOn    = 50_000.0 / 35 // counts a step
	fingerOff   = 35_000.0 / 35
	fingerPolls = 3 // in a row until it is there
)

// finger says whether there is one.
type finger struct {
	on    bool
	polls int
}

// judge is told the mean infrared light of one poll, and the lamp that made it.
func (f *finger) judge(mean float64, code byte) {
	perStep := mean / float64(code)
	switch {
	case f.on && perStep < fingerOff, !f.on && perStep < fingerOn:
		*f = finger{}
	case !f.on:
		f.polls++
		f.on = f.polls >= fingerPolls
	}
}
