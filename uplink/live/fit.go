package live

import (
	"slices"

	"telecart/uplink/live/jitter"
	"telecart/uplink/live/opus"
)

// Pitch periods that are tried: 400 down to 80 Hz.
const (
	shortest = opus.Rate / 400
	longest  = opus.Rate / 80
)

// fit makes a frame a pitch period shorter or longer, where that is heard the least: the piece after it is like the piece before,
// and one is faded over into the other (overlap and add at the best lag). Frames that are too short for that stay as they are.
func fit(x []int16, how jitter.Fit) []int16 {
	if how == jitter.AsItIs || len(x) < 2*longest {
		return x
	}
	lag := likest(x)
	out := make([]int16, 0, len(x)+lag)
	fade := func(from, to []int16) {
		for i := range lag {
			out = append(out, int16((int(from[i])*(lag-i)+int(to[i])*i)/lag))
		}
	}
	if how == jitter.Shorter {
		fade(x[:lag], x[lag:2*lag])
		return append(out, x[2*lag:]...)
	}
	out = append(out, x[:lag]...)
	fade(x[lag:2*lag], x[:lag])
	return append(out, x[lag:]...)
}

// likest is the lag at which the beginning is most like what follows it.
func likest(x []int16) (lag int) {
	best := -2.0
	for _, l := range steps() {
		var cross, a, b float64
		for i := 0; i < l; i += 4 { // every fourth value says enough of a voice
			u, v := float64(x[i]), float64(x[l+i])
			cross, a, b = cross+u*v, a+u*u, b+v*v
		}
		if like := cross / max(1, (a+b)/2); like > best {
			lag, best = l, like
		}
	}
	return lag
}

func steps() []int {
	var all []int
	for l := longest; l >= shortest; l -= 3 {
		all = append(all, l)
	}
	return slices.Clip(all)
}
