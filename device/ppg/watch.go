package ppg

import (
	"math"

	"telecart/device"
)

const (
	agrees   = 0.08 // share by which one second's rate may differ from the one before,
	agreesBy = 3    // or so many a minute
	doubts   = 3    // seconds in a row for one that only a part of the time confirms
	louder   = 2.5  // times as strong a pulse as was last shown,
	faster   = 0.15 // or a rate that differs by this share,
	fasterBy = 10   // and by so many a minute, may be a movement,
	lasts    = 10   // unless it stays so for so many seconds
	forgets  = 30   // seconds without a number, after which nothing is compared
)

// watch judges what was found against the seconds before: a rate counts once it was found twice, and a leap only if it lasts.
type watch struct {
	before float64 // the last rate that was found; 0 if none was
	found  int     // seconds in a row for which it was
	shown  pulse   // the last that was shown
	odd    int     // seconds for which another was found since
	silent int     // seconds since anything was shown
}

func (w *watch) judge(p pulse) pulse {
	before := w.before
	w.before = p.rate
	if w.found++; p.absent != "" || math.Abs(p.rate-before) > max(agrees*before, agreesBy) {
		w.found = 0
	}
	if w.silent++; w.silent > forgets || p.absent == NoPulse {
		w.shown, w.odd = pulse{}, 0
	}
	switch {
	case p.absent != "":
		return pulse{absent: p.absent}
	case before == 0:
		return pulse{absent: device.NotYet}
	case w.found == 0 || p.doubted && w.found < doubts:
		return pulse{absent: Unlike}
	case w.leap(p) && w.odd < lasts:
		w.odd++
		return pulse{absent: Moving}
	}
	size := max(p.size, 0.9*w.shown.size) // a weak beat or two are no measure
	w.shown, w.odd, w.silent = pulse{rate: p.rate, size: size}, 0, 0
	return p
}

func (w *watch) leap(p pulse) bool {
	s := w.shown
	return s.rate > 0 && (p.size > louder*s.size || math.Abs(p.rate-s.rate) > max(faster*s.rate, fasterBy))
}

// steady judges saturations likewise.
type steady struct {
	before, shown float64
	odd, silent   int
}

const (
	saturationAgrees = 2 // per cent, between one second and the next
	saturationLeap   = 4 // from what was shown last
)

func (s *steady) judge(percent float64, why device.Reason) device.Reason {
	before := s.before
	s.before = percent
	if s.silent++; s.silent > forgets {
		s.shown, s.odd = 0, 0
	}
	switch {
	case why != "":
		return why
	case math.Abs(percent-before) > saturationAgrees:
		return device.NotYet
	case s.shown > 0 && math.Abs(percent-s.shown) > saturationLeap && s.odd < lasts:
		s.odd++
		return Moving
	}
	s.shown, s.odd, s.silent = percent, 0, 0
	return ""
}
