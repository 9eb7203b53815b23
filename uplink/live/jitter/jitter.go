// Package jitter decides when what came of a voice is played: late enough that the packets are there, and no later.
//
// Parties: live.Hear, which puts packets in as they come and asks for the next frame whenever the loudspeaker has room; the
// decoder, which does as it is told.
//
// Keys: packets are known by their RTP sequence number and timestamp (RFC 3550 5.1, 48 kHz for Opus: RFC 7587 4.1).
//
// Invariants: a pure machine: packets and times in, orders out; the same ones give the same. A packet is played once, in order, or
// never. It holds at most maxHeld packets, whatever comes. The delay follows what the network does (the 97th percentile of how
// late packets were lately) between Least and Most; it is changed by shortening and stretching what is played, by a pitch period
// at a time, so that the clock of the speaker may go faster or slower than the listener's. Silence that was not sent (DTX) is no
// loss.
package jitter

import (
	"slices"
	"time"
)

// Rate of the timestamps, in Hz.
const Rate = 48000

const (
	maxHeld  = 64                     // packets
	history  = 100                    // packets whose lateness counts
	guess    = Rate / 50              // values that are guessed at a time
	maxGuess = Rate * 12 / 100        // values that are guessed one after the other; then there is silence
	window   = 20 * time.Second       // in which the quickest packet was as quick as the path can be
	slack    = 10 * time.Millisecond  // above the percentile
	tolerant = 20 * time.Millisecond  // what is in hand may be so much more or less than it should, before anything is done
	tooMuch  = 250 * time.Millisecond // in hand: there is no catching up by pitch periods; packets are left out
	Least    = 10 * time.Millisecond  // of waiting
	Most     = 400 * time.Millisecond // of waiting
)

// What is further away than this from the packet before is of another stream.
const (
	farPackets = 1000
	farTime    = 30 * time.Second
)

// Order is what the decoder is to do next.
type Order int

const (
	Wait    Order = iota // nothing is there to be played: be silent for a while
	Decode               // Packet
	Recover              // what was lost before Packet, of its copy
	Guess                // what is missing, of what was said before
)

// Fit is what is to be done with what the decoder made.
type Fit int

const (
	AsItIs  Fit = iota
	Longer      // by a pitch period: there is too little in hand
	Shorter     // by a pitch period
)

// Step is an order with what it needs.
type Step struct {
	Order   Order
	Packet  []byte
	Samples int // to Recover or Guess
	Fit     Fit
}

type held struct {
	seq     int64
	ts      int64
	samples int
	payload []byte
}

// Counts are what became of the packets; they only grow.
type Counts struct {
	Played, Recovered, Guessed, Late, Double, Dropped, Shortened, Stretched uint64 // Guessed in pieces of 20 ms, the others in packets
}

// Buffer is the machine. Its zero value is ready.
type Buffer struct {
	Counts
	packets []held // in order

	playing bool  // what comes next belongs to what was played last
	started bool  // something was played
	seq, ts int64 // of what is played next
	frame   int   // values of the last packet
	guessed int   // values that were played instead of what is missing

	any      bool
	last     int64 // sequence number of the packet that is furthest, and its timestamp, extended
	lastTS   int64
	late     []time.Duration // of the last packets, above the quickest
	quick    []quickest      // candidates, slower and slower
	target   time.Duration
	tooLong  int // packets in a row that waited for longer than they had to
	tooShort int
}

type quickest struct{ at, took time.Duration }

// Put takes a packet that came at now (any steady clock's). Samples is how many values it has. It keeps the payload.
func (b *Buffer) Put(now time.Duration, seq uint16, ts uint32, samples int, payload []byte) {
	if samples <= 0 || len(payload) == 0 {
		b.Dropped++
		return
	}
	if !b.any {
		b.any, b.last, b.lastTS = true, int64(seq), int64(ts)
	}
	p := held{b.last + int64(int16(seq-uint16(b.last))), b.lastTS + int64(int32(ts-uint32(b.lastTS))), samples, payload}
	if away := duration(p.ts - b.lastTS); away.Abs() > farTime || max(p.seq-b.last, b.last-p.seq) > farPackets {
		*b = Buffer{Counts: b.Counts, any: true, last: int64(seq), lastTS: int64(ts)}
		p.seq, p.ts = b.last, b.lastTS
	}
	if p.seq > b.last {
		b.last, b.lastTS = p.seq, p.ts
	}
	b.measure(now, p.ts)
	if b.started && p.seq < b.seq {
		b.Late++
		return
	}
	i, found := slices.BinarySearchFunc(b.packets, p.seq, func(h held, seq int64) int { return int(h.seq - seq) })
	if found {
		b.Double++
		return
	}
	b.packets = slices.Insert(b.packets, i, p)
	if len(b.packets) > maxHeld {
		b.packets = slices.Delete(b.packets, 0, 1)
		b.Dropped++
	}
}

func duration(samples int64) time.Duration { return time.Duration(samples) * time.Second / Rate }

// measure learns how late packets are: how much longer than the quickest of the last while each was under way.
func (b *Buffer) measure(now time.Duration, ts int64) {
	took := now - duration(ts)
	b.quick = slices.DeleteFunc(b.quick, func(q quickest) bool { return now-q.at > window || q.took >= took })
	b.quick = append(b.quick, quickest{now, took})
	if len(b.quick) > history {
		b.quick = slices.Delete(b.quick, 1, 2) // never the quickest
	}
	b.late = append(b.late, took-b.quick[0].took)
	if len(b.late) > history {
		b.late = slices.Delete(b.late, 0, 1)
	}
	sorted := slices.Sorted(slices.Values(b.late))
	b.target = min(max(sorted[(len(sorted)-1)*97/100]+slack, Least), Most)
}

// Delay is for how long packets wait at present, on top of the quickest's way.
func (b *Buffer) Delay() time.Duration { return b.target }

// spare is how much later than it need be something with this timestamp is played, if that is at the time given.
func (b *Buffer) spare(ts int64, at time.Duration) time.Duration {
	return at - duration(ts) - b.quick[0].took - b.target
}

// Next says what is played next. What it makes is heard at the time at, after all that was made before.
func (b *Buffer) Next(at time.Duration) Step {
	if len(b.packets) == 0 {
		if !b.playing {
			return Step{}
		}
		return b.guess()
	}
	for len(b.packets) > 1 && b.spare(b.packets[0].ts, at) > tooMuch { // whoever plays this stood still for a while
		b.packets = slices.Delete(b.packets, 0, 1)
		b.Dropped++
		b.playing, b.guessed = false, 0
	}
	p := b.packets[0]
	switch {
	case !b.playing:
		if b.spare(p.ts, at) < 0 {
			return Step{} // it waits, as packets do
		}
		b.playing, b.started = true, true
		return b.play(p, at) // the decoder sees a seam, if there is one, as it sees a loss
	case p.seq == b.seq && p.ts > b.ts: // nothing is missing: the speaker was silent
		b.playing, b.guessed = false, 0
		return b.Next(at)
	case p.seq == b.seq:
		return b.play(p, at)
	}
	gap := p.ts - b.ts
	switch {
	case p.ts <= b.ts || gap > maxGuess: // a speaker who began anew, or so much that there is no guessing
		b.playing, b.guessed = false, 0
		return b.Next(at)
	case int64(b.guessed) >= gap:
		return b.play(p, at)
	case b.guessed == 0 && p.seq == b.seq+1 && gap == int64(b.frame):
		b.seq, b.ts = p.seq, p.ts
		b.Recovered++
		return Step{Order: Recover, Packet: p.payload, Samples: b.frame}
	}
	return b.guess()
}

func (b *Buffer) play(p held, at time.Duration) Step {
	b.packets = slices.Delete(b.packets, 0, 1)
	s := Step{Order: Decode, Packet: p.payload}
	switch spare := b.spare(p.ts, at); {
	case spare > tolerant:
		b.tooLong, b.tooShort = b.tooLong+1, 0
	case spare < -tolerant:
		b.tooLong, b.tooShort = 0, b.tooShort+1
	default:
		b.tooLong, b.tooShort = 0, 0
	}
	switch {
	case b.tooLong > 1:
		s.Fit = Shorter
		b.Shortened++
	case b.tooShort > 1:
		s.Fit = Longer
		b.Stretched++
	}
	b.Played++
	b.seq, b.ts, b.frame, b.guessed = p.seq+1, p.ts+int64(p.samples), p.samples, 0
	return s
}

// guess says something of what was said before, a little at a time: what is missing may be about to come, and is then played.
func (b *Buffer) guess() Step {
	if b.guessed >= maxGuess { // the speaker is silent, or the path is cut
		b.playing, b.guessed = false, 0
		return Step{}
	}
	b.guessed += guess
	b.Guessed++
	return Step{Order: Guess, Samples: guess}
}
