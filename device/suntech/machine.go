package suntech

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"telecart/device"
)

// size is a patient size: what it is called, how a measurement of it is started, and the limits that hold for it
// (IEC 80601-2-30: 300 mmHg adult, 150 neonatal; the module's own safety circuit stays the real protection).
type size struct {
	name        string
	start       []byte // nil: no documented command, so it is refused
	maxPressure int
	maxCycle    time.Duration
}

// sizes in the order in which they are offered. Commands for the others stand in SunTech's OEM manual, which we don't have.
var sizes = [...]size{
	{"adult", []byte{0x20}, 300, 180 * time.Second},
	{"child", nil, 300, 180 * time.Second},
	{"newborn", nil, 150, 90 * time.Second},
}

const (
	pollEvery = 150 * time.Millisecond // cuff pressure, while it measures
	restEvery = 5 * time.Second        // and at rest: is the module still there?
	silence   = 2 * time.Second        // without a packet while it measures
	restLost  = 3 * restEvery          // without a packet at rest
	minPause  = 30 * time.Second       // between cycles: the arm's blood must come back
	letOut    = 20                     // mmHg: below it the cuff is as good as empty
	letOutIs  = 2 * time.Second        // for so long: a stop that was not heard has the pressure rise again
	letOutFor = 15 * time.Second       // the longest that emptying may take before we say so
)

// Reasons.
const (
	Settling     device.Reason = "settling"      // asking the module
	Measuring    device.Reason = "measuring"     // the cuff is working
	NotMeasured  device.Reason = "not-measured"  // nothing was measured yet, or it was stopped by hand
	OverPressure device.Reason = "over-pressure" // stopped: more than the limit for this size
	TooLong      device.Reason = "too-long"      // stopped: longer than the limit for this size
	NoResult     device.Reason = "no-result"     // the module could not measure
	CuffSilent   device.Reason = "cuff-silent"   // the module stopped talking while it measured
	StillFull    device.Reason = "still-full"    // stopped, and the pressure doesn't fall: take the cuff off
)

type phase int

const (
	asking    phase = iota // after plugging in: abort whatever goes on, and see that the cuff is empty
	idle                   //
	starting               // the start was sent
	inflating              // it measures
	fetching               // it is done; the result was asked for
	emptying               // it was stopped
)

// machine is the cuff's protocol, pure: bytes and time in; bytes to send, observations and an end out.
//
//	phase      event                              next       does
//	asking     a pressure below letOut            idle       Live
//	idle       start(size), pause is over         starting   sends the start
//	starting   any packet                         inflating
//	inflating  pressure                           inflating  shows it; above the limit: stop
//	inflating  'K'                                fetching   asks for the result
//	fetching   the result                         idle       three values, or why not
//	any        stop: hand, limit, time, silence   emptying   sends the abort, again and again
//	emptying   below letOut for letOutIs          idle       says why it was stopped
//	idle       a pressure above letOut            emptying   sends the abort: nobody started it
//
// Silence of the module while it measures ends everything with an error: the instrument is started anew, and begins
// with an abort.
type machine struct {
	send    func([]byte)
	observe func(device.Health, ...value)

	phase   phase
	size    size
	why     device.Reason // it was stopped
	began   time.Time     // of the phase
	cycle   time.Time     // when the measurement was started
	ended   time.Time     // of the last measurement; zero: none known
	heard   time.Time     // the last packet
	asked   time.Time     // the last poll
	stopped int           // aborts sent in this phase
	empty   time.Time     // since when the pressure is below letOut; zero: it isn't
	spoke   bool          // the module has said anything yet
}

// value is one of a result's; absent if why is set.
type value struct {
	quantity string
	n        int
	why      device.Reason
}

var results = [...]string{systolic, diastolic, mean, pulse}

func newMachine(now time.Time, send func([]byte), observe func(device.Health, ...value)) *machine {
	m := &machine{send: send, observe: observe, heard: now}
	m.enter(asking, now)
	m.send(request(abort)) // the one before us may have been killed while it measured
	m.poll(now)
	return m
}

func (m *machine) enter(p phase, now time.Time) {
	m.phase, m.began, m.stopped, m.empty = p, now, 0, time.Time{}
}

func (m *machine) poll(now time.Time) {
	m.asked = now
	if m.phase == fetching {
		m.send(request(askResult))
		return
	}
	m.send(request(askPressure))
}

// start begins a measurement, or says why not.
func (m *machine) start(now time.Time, mode string) error {
	i := slices.IndexFunc(sizes[:], func(s size) bool { return s.name == mode })
	switch {
	case i < 0:
		return fmt.Errorf("suntech: %w %q: choose one of %s", device.ErrMode, mode, strings.Join(modes(), ", "))
	case sizes[i].start == nil:
		return fmt.Errorf("suntech: %w: there is no documented command for size %s; measure with another instrument", device.ErrMode, mode)
	case m.phase != idle:
		return fmt.Errorf("suntech: %w", device.ErrBusy)
	case !m.ended.IsZero() && now.Sub(m.ended) < minPause:
		return fmt.Errorf("suntech: %w: %s more", device.ErrTooSoon, (minPause - now.Sub(m.ended)).Round(time.Second))
	}
	m.size, m.cycle, m.heard, m.why = sizes[i], now, now, ""
	m.enter(starting, now)
	m.send(request(m.size.start))
	m.asked = now
	m.observe(device.Health{State: device.Live, Reason: Measuring}, absent(NotMeasured)...)
	return nil
}

// stop ends a measurement; without one it does nothing.
func (m *machine) stop(now time.Time, why device.Reason) {
	if m.phase == starting || m.phase == inflating || m.phase == fetching {
		m.why = why
		m.enter(emptying, now)
		m.abort(now)
	}
}

func (m *machine) abort(now time.Time) {
	m.stopped++
	m.send(request(abort))
	m.poll(now)
}

// packet takes one packet's data.
func (m *machine) packet(now time.Time, data []byte) {
	m.heard = now
	if !m.spoke { // not before: the screen may still say what the last run ended with, "take the cuff off"
		m.spoke = true
		m.observe(device.Health{State: device.Settling, Reason: Settling}, value{cuffPressure, 0, NotMeasured})
	}
	if len(data) == 1 {
		m.status(now, data[0])
		return
	}
	if len(data) == 2 && m.phase != fetching {
		m.pressure(now, int(data[0])|int(data[1])<<8)
		return
	}
	if r, err := parseResult(data); err == nil && m.phase == fetching {
		m.result(now, r)
	}
}

func (m *machine) status(now time.Time, letter byte) {
	switch {
	case letter == statusDone && (m.phase == starting || m.phase == inflating):
		m.enter(fetching, now)
		m.poll(now)
	case (letter == statusAborted || letter == statusRefused) && (m.phase == starting || m.phase == inflating):
		m.stop(now, NoResult) // by its own safety circuit, or because it did not understand
	case m.phase == starting:
		m.enter(inflating, now) // any other letter acknowledges
	}
}

func (m *machine) pressure(now time.Time, mmHg int) {
	switch m.phase {
	case starting, inflating:
		if m.phase == starting {
			m.enter(inflating, now)
		}
		if mmHg > m.size.maxPressure {
			m.stop(now, OverPressure)
			return
		}
		m.observe(device.Health{State: device.Live, Reason: Measuring}, value{cuffPressure, mmHg, ""})
	case idle:
		if mmHg >= letOut { // nobody started it, or a stop was not heard
			m.why = StillFull
			m.enter(emptying, now)
			m.abort(now)
		}
	case asking:
		if mmHg >= letOut {
			return
		}
		if m.stopped > 0 { // it was full when we came: somebody was being measured
			m.ended = now
		}
		m.enter(idle, now)
		m.observe(device.Health{State: device.Live})
	case emptying:
		switch {
		case mmHg >= letOut:
			m.empty = time.Time{}
		case m.empty.IsZero():
			m.empty = now
		case now.Sub(m.empty) >= letOutIs:
			m.finish(now, absent(m.why)...)
			return
		}
		m.observe(m.venting(now), value{cuffPressure, mmHg, ""})
	}
}

// venting is the health while the air goes out, or doesn't.
func (m *machine) venting(now time.Time) device.Health {
	if m.empty.IsZero() && now.Sub(m.began) > letOutFor {
		return device.Health{State: device.Faulty, Reason: StillFull}
	}
	return device.Health{State: device.Live, Reason: Measuring}
}

func (m *machine) result(now time.Time, r result) {
	if r.code != 0 || !r.plausible() {
		m.finish(now, absent(NoResult)...)
		return
	}
	values := []value{{systolic, r.systolic, ""}, {diastolic, r.diastolic, ""}, {mean, r.mean, ""}, {pulse, r.rate, ""}}
	if r.rate < 20 || r.rate > 300 {
		values[3] = value{pulse, 0, NoResult}
	}
	m.finish(now, values...)
}

// finish goes back to rest. The cuff's pressure ends with it.
func (m *machine) finish(now time.Time, values ...value) {
	m.ended = now
	m.enter(idle, now)
	h := device.Health{State: device.Live}
	if why := values[0].why; why != NotMeasured {
		h.Reason = why
	}
	m.observe(h, append(values, value{cuffPressure, 0, NotMeasured})...)
}

func absent(why device.Reason) (out []value) {
	for _, q := range results {
		out = append(out, value{q, 0, why})
	}
	return out
}

// tick is called often; it polls, and watches the limits.
func (m *machine) tick(now time.Time) error {
	quiet, limit := now.Sub(m.heard), silence
	if m.phase == idle || m.phase == asking {
		limit = restLost
	}
	if quiet > limit {
		if m.phase == idle {
			return fmt.Errorf("%w for %s: check its cable and power", ErrSilent, quiet.Round(time.Second))
		}
		m.send(request(abort)) // it may hear though we don't
		return device.Fault{Health: device.Health{State: device.Faulty, Reason: CuffSilent}, Err: fmt.Errorf("%w: if a cuff is on, take it off; check its cable and power", ErrSilent)}
	}
	if (m.phase == starting || m.phase == inflating || m.phase == fetching) && now.Sub(m.cycle) > m.size.maxCycle {
		m.stop(now, TooLong)
	}
	every := pollEvery
	switch m.phase {
	case idle:
		every = restEvery
	case asking, emptying:
		every = 2 * pollEvery
	}
	if now.Sub(m.asked) < every {
		return nil
	}
	switch m.phase {
	case asking, emptying:
		if m.phase == asking && m.spoke && now.Sub(m.began) > letOutFor {
			m.observe(device.Health{State: device.Faulty, Reason: StillFull})
		}
		m.abort(now)
	default:
		m.poll(now)
	}
	return nil
}

func modes() (names []string) {
	for _, s := range sizes {
		names = append(names, s.name)
	}
	return names
}
