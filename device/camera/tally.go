package camera

import (
	"maps"
	"sync"
)

// What is counted.
const (
	frames       = "frames"              // pictures that came whole
	lost         = "frames_lost"         // gaps in the numbers
	flagged      = "frames_flagged"      // the kernel said they are damaged
	broken       = "frames_broken"       // not whole, though nobody said so
	stalls       = "stalls"              // the camera had to be started again
	stills       = "stills"              //
	badStills    = "stills_refused"      // pictures that were not good enough for a still: the next was taken
	presses      = "presses"             // of its own button
	filmUnits    = "coded_units"         // access units that came
	filmLost     = "coded_lost"          // gaps in their numbers
	filmBroken   = "coded_broken"        // flagged, or no access units
	filmTears    = "coded_interruptions" // viewers had to wait for a key frame
	filmDropped  = "coded_dropped"       // access units that slow viewers missed
	filmFailures = "coded_failures"      // the coded picture ended for this run
)

// tally counts for one camera, over all its runs.
type tally struct {
	mu sync.Mutex
	n  map[string]uint64
}

func (t *tally) add(what string, n uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n[what] += n
}

func (t *tally) all() map[string]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.n)
}

// tallies are those of all cameras, by the instruments' names: a camera that is started again goes on counting.
type tallies struct {
	mu  sync.Mutex
	all map[string]*tally
}

func (t *tallies) of(name string) *tally {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all[name] == nil {
		t.all[name] = newTally()
	}
	return t.all[name]
}

func newTally() *tally {
	t := &tally{n: map[string]uint64{}}
	for _, what := range []string{frames, lost, flagged, broken, stalls, stills, badStills, presses} {
		t.n[what] = 0 // those of coded streams show when there is one
	}
	return t
}
