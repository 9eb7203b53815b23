// Package sound keeps what a stethoscope heard: a lossless recording, bit for bit what the converter gave.
//
// Parties: a Recorder takes the stretches of one ear in order; Encode makes the file that becomes an item's blob; Decode reads
// it back. The file is FLAC (RFC 9639), which browsers play.
//
// Invariants: no value is altered, filtered, faded or made up silently. Where values were lost (Seq jumped) the recording holds
// as many zeros, so that the time between two heart sounds stays true, and a Gap that says so, for the item's body and, as the
// comment GAP=first+count, in the file itself. A gap past the end of MaxDuration, and an instrument that was started anew, are
// not bridged: the recording ends before. Memory is bounded: 60 s, 5.8 MB at 48 kHz, and taken as it is needed.
package sound

import (
	"errors"
	"fmt"
	"time"

	"telecart/device"
	"telecart/device/kit"
)

// MaxDuration is how long one recording may be.
const MaxDuration = 60 * time.Second

const (
	minRate = 4_000
	maxRate = 48_000
	maxGaps = 1_000 // more is no recording
)

// Why a recording takes no more. What it has is good.
var (
	ErrFull   = errors.New("sound: the recording is as long as it may be")
	ErrBroken = errors.New("sound: the instrument was started anew meanwhile; begin another recording")
	ErrTorn   = errors.New("sound: too much was lost on the way; check the cable, and the load of the cart")
)

// Gap is a place where values were lost. The recording has zeros there, which were never heard.
type Gap struct {
	At     int `json:"at"`     // number of the first lost value, from the beginning of the recording
	Values int `json:"values"` // how many
}

// Recording is a piece of sound of one channel.
type Recording struct {
	RateHz int
	Values []int16
	Gaps   []Gap     // in order, apart from one another
	Start  kit.Stamp // of the first value; it is not in the file
}

// Duration is how long it takes to hear.
func (r Recording) Duration() time.Duration {
	if r.RateHz <= 0 {
		return 0
	}
	return time.Duration(len(r.Values)) * time.Second / time.Duration(r.RateHz)
}

// valid says what keeps a recording from being written.
func (r Recording) valid() error {
	if r.RateHz < minRate || r.RateHz > maxRate {
		return fmt.Errorf("sound: %d values a second; want %d to %d", r.RateHz, minRate, maxRate)
	}
	if limit := capacity(r.RateHz); len(r.Values) == 0 || len(r.Values) > limit {
		return fmt.Errorf("sound: a recording of %d values; want 1 to %d", len(r.Values), limit)
	}
	if len(r.Gaps) > maxGaps {
		return fmt.Errorf("sound: a recording with %d gaps; at most %d", len(r.Gaps), maxGaps)
	}
	end := -1
	for _, g := range r.Gaps {
		if g.At <= end || g.Values < 1 || g.Values > len(r.Values)-g.At {
			return fmt.Errorf("sound: a gap of %d at %d in %d values: not in order, or not inside", g.Values, g.At, len(r.Values))
		}
		for _, v := range r.Values[g.At : g.At+g.Values] {
			if v != 0 {
				return fmt.Errorf("sound: the gap of %d at %d holds values", g.Values, g.At)
			}
		}
		end = g.At + g.Values
	}
	return nil
}

func capacity(rateHz int) int { return int(MaxDuration/time.Second) * rateHz }

// Recorder puts the stretches of one ear together. Its zero value is ready. It belongs to one goroutine.
type Recorder struct {
	r    Recording
	next uint64 // Seq of the value that should come
	over error  // why it takes no more
}

// Add takes the next stretch. After ErrFull, ErrBroken or ErrTorn the recording is over, and holds what came before.
func (c *Recorder) Add(s device.Sound) error {
	if c.over == nil && len(s.Values) > 0 {
		c.over = c.add(s)
	}
	return c.over
}

func (c *Recorder) add(s device.Sound) error {
	switch {
	case s.RateHz < minRate || s.RateHz > maxRate:
		return fmt.Errorf("sound: %d values a second; want %d to %d", s.RateHz, minRate, maxRate)
	case c.r.RateHz == 0:
		c.r.RateHz, c.r.Start, c.next = s.RateHz, earlier(s.At, len(s.Values), s.RateHz), s.Seq
	case s.RateHz != c.r.RateHz || s.Seq < c.next:
		return ErrBroken
	}
	room := capacity(c.r.RateHz) - len(c.r.Values)
	if lost := s.Seq - c.next; lost > 0 {
		if lost >= uint64(room) { // nothing after it would fit: end before it
			return ErrFull
		}
		if len(c.r.Gaps) == maxGaps {
			return ErrTorn
		}
		c.r.Gaps = append(c.r.Gaps, Gap{At: len(c.r.Values), Values: int(lost)})
		c.r.Values = append(c.r.Values, make([]int16, lost)...)
		room -= int(lost)
	}
	n := min(room, len(s.Values))
	c.r.Values = append(c.r.Values, s.Values[:n]...)
	c.next = s.Seq + uint64(len(s.Values))
	if n < len(s.Values) {
		return ErrFull
	}
	return nil
}

// Recording is what there is so far. It shares the recorder's memory: add nothing while it is used.
func (c *Recorder) Recording() Recording { return c.r }

// earlier is the time of a stretch's first value: a stretch is stamped at its last.
func earlier(at kit.Stamp, values, rateHz int) kit.Stamp {
	d := time.Duration(values-1) * time.Second / time.Duration(rateHz)
	at.Wall, at.Mono = at.Wall.Add(-d), at.Mono-int64(d)
	return at
}
