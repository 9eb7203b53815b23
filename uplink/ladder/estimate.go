package ladder

import (
	"slices"
	"time"
)

// Figures of the estimate. They were tried on the links of estimate_test.go, seeds and all.
const (
	queueMost   = 25 * time.Millisecond // of waiting in queues, besides what jitter explains: more is too much
	queueGone   = 8 * time.Millisecond  // below, the queue counts as gone
	jitterMost  = 30 * time.Millisecond // more is not believed to be jitter
	packetBits  = 1250 * 8
	wholeMost   = 150 * time.Millisecond
	standing    = 500 * time.Millisecond // that a queue may last which is shorter
	queueWindow = 100 * time.Millisecond // the least wait of so long is the queue
	settle      = 100 * time.Millisecond // on top of a round trip, until a decrease can have shown
	usedWindow  = 500 * time.Millisecond // over which the use of the link is taken
	bottleneck  = 60 * time.Millisecond  // over which, at least, the rate of a queue is taken
	few         = 5                      // packets, at least, for that
	paceOver    = 1.08                   // packets leave faster than the estimate: pictures come in lumps
	paceFree    = 2.5                    // the same while no queue was seen for long: a picture that changed altogether shows at once
	growFirst   = 1.4                    // of the rate each second, besides itself, until the first queue
	grow        = 0.35
	growNear    = 0.1  // near the rate of the last queue, which is not gone beyond for kneeFor
	under       = 0.87 // of what a queue lets through is the estimate
	kneeFor     = 30 * time.Second
	beyond      = 1.3 // of what is used, the estimate does not grow
	foreignSpan = time.Second
	lossHold    = 0.08 // more stops growth
	lossMost    = 0.15 // more is a queue too short to be seen by its delay
	lossSpan    = time.Second
	lateSlack   = 2 * time.Millisecond  // a report is late then, besides what reports usually take
	lateMost    = 10 * time.Millisecond // and so late that next to nothing is sent
	lateLeast   = 0.2
	paceMost    = 200 * time.Millisecond // between two packets
	flightLeast = 4 * 1250               // bytes that may be on their way however late their report is
	flightFirst = 10 * 1250              // before anything is known (RFC 6928)
	silent      = time.Second            // without a report though packets are on their way
	routeSpan   = 150 * time.Millisecond // a queue that stays the same for so long although little is sent is a longer route
)

// estimator is how much the link carries, of media and items together, in bits a second.
type estimator struct {
	rate     float64
	most     float64
	starting bool // no queue was seen yet

	past   []arrival     // of the last queueWindow and usedWindow, by their time of arrival
	queue  time.Duration // waiting now
	jitter time.Duration // how much the waits of two packets in a row differ
	rtt    time.Duration // of an empty link
	usual  time.Duration // from a packet to its report, of the oldest in each report, without a queue
	spread time.Duration // how much that differs

	heard    time.Duration // the last report
	lowered  time.Duration // the last decrease
	full     time.Duration // since when there is a queue; 0: none
	drain    drain
	draining bool    // less is sent until it is gone
	knee     float64 // the rate at which the last queue arose
	kneeAt   time.Duration
	grown    time.Duration // up to then
	loss     lossy

	free   time.Duration // until then the pace is taken
	probes prober
}

// lossy is the share of packets lost in the last span.
type lossy struct {
	since     time.Duration
	got, lost int
	share     float64
}

func (x *lossy) add(at time.Duration, got, lost int) (whole bool) {
	x.got, x.lost = x.got+got, x.lost+lost
	if at-x.since < lossSpan || x.got+x.lost < 20 {
		return false
	}
	x.share = float64(x.lost) / float64(x.got+x.lost)
	x.since, x.got, x.lost = at, 0, 0
	return true
}

// reported takes what a report brought, and says what was decided, if anything.
func (e *estimator) reported(at time.Duration, a answered, items float64) Code {
	e.heard = at
	e.past = append(e.past, a.arrived...)
	slices.SortStableFunc(e.past, func(a, b arrival) int { return int(a.at - b.at) })
	e.forget()
	whole := e.loss.add(at, len(a.arrived), a.lost)
	probed := e.probes.reported(at, a.arrived)
	if len(a.arrived) > 0 {
		e.measure(a)
	}
	slack := e.slack()
	if e.queue <= queueGone+slack {
		e.full, e.draining = 0, false
	} else if e.full == 0 {
		e.full = at
	}
	if len(a.arrived) > 0 && !e.draining && e.queue <= queueMost+slack {
		e.learn(a.oldest)
	}
	switch {
	case e.longer(at):
		return Route
	case e.queue > queueMost+slack, e.full > 0 && at-e.full > standing:
		if rate, ok := e.carries(); ok {
			return e.lower(at, rate+items)
		}
		if !e.draining && at-e.full > foreignSpan && e.used(at)+items < e.rate/2 {
			e.drain.rate = e.rate
			return Route // what waits so long while so little is sent does not wait for us
		}
		return ""
	case whole && e.loss.share > lossMost:
		e.knee, e.kneeAt, e.lowered, e.starting = e.rate, at, at, false
		e.set(0.9 * (e.used(at) + items))
		return Lossy
	}
	if probed != "" {
		return e.probed(at, probed)
	}
	e.raise(at, items)
	return ""
}

// slack is what a packet waits without any queue: by jitter, and until the link has taken a whole one.
func (e *estimator) slack() time.Duration {
	whole := time.Duration(packetBits / e.rate * float64(time.Second))
	return min(3*e.jitter, jitterMost) + min(whole, wholeMost)
}

// forget drops what is too old.
func (e *estimator) forget() {
	if n := len(e.past); n > 0 {
		from := e.past[n-1].at - usedWindow
		i := slices.IndexFunc(e.past, func(x arrival) bool { return x.at >= from })
		e.past = slices.Delete(e.past, 0, i)
	}
}

// measure takes queue, jitter and round trip.
func (e *estimator) measure(a answered) {
	newest := e.past[len(e.past)-1].at
	least, n := time.Hour, 0
	for _, x := range slices.Backward(e.past) {
		if newest-x.at > queueWindow && n >= few {
			break
		}
		least, n = min(least, x.wait), n+1
	}
	e.queue = least
	e.rtt = a.minRTT
	for i := 1; i < len(a.arrived) && e.queue < queueGone; i++ { // else the queue would be learnt as jitter
		e.jitter += ((a.arrived[i].wait - a.arrived[i-1].wait).Abs() - e.jitter) / 32
	}
}

// learn takes how long a report took, when nothing waited on the way there. Nobody sees what waits on the way back.
func (e *estimator) learn(age time.Duration) {
	if e.usual == 0 {
		e.usual = age
	}
	e.usual += (age - e.usual) / 8
	e.spread += ((age - e.usual).Abs() - e.spread) / 16
}

// drain is a queue that is being emptied.
type drain struct {
	since   time.Duration
	rate    float64 // the estimate before
	carries float64
	queue   time.Duration
}

// longer says whether what seemed a queue is a longer way: little was sent for a while, and it stayed as it was.
func (e *estimator) longer(at time.Duration) bool {
	same := (e.queue - e.drain.queue).Abs() < e.drain.queue/8+2*time.Millisecond
	return e.draining && same && at-e.drain.since > e.usual+routeSpan && e.used(at) < e.drain.carries*4/5
}

// moved takes the longer way as it is.
func (e *estimator) moved() (by time.Duration) {
	by = e.queue
	for i := range e.past {
		e.past[i].wait -= by
		e.past[i].at -= by
	}
	e.usual, e.spread = 0, 0
	e.queue, e.full, e.draining, e.knee = 0, 0, false, 0
	e.set(e.drain.rate)
	return by
}

// lower follows a queue.
func (e *estimator) lower(at time.Duration, carries float64) Code {
	if at-e.lowered < e.usual+settle {
		return ""
	}
	if !e.draining {
		e.draining, e.drain = true, drain{since: at, rate: e.rate, carries: carries, queue: e.queue}
	}
	e.knee, e.kneeAt, e.lowered, e.starting = carries, at, at, false
	before := e.rate
	e.set(min(under*carries, e.rate)) // if less than that is sent already, the queue is going
	e.probes.queued(at)
	if e.rate > 0.97*before {
		return ""
	}
	return Queue
}

// carries is what comes out of a queue that is not empty: packets that all waited. Without enough of them nobody can tell: what
// held them up may have been a busy machine.
func (e *estimator) carries() (rate float64, ok bool) {
	n := len(e.past)
	if n < few {
		return 0, false
	}
	bytes, last, limit := 0, e.past[n-1].at, queueGone+e.slack()
	// Each was sent before the one ahead of it was through: only then it is the link that set the pace. The bytes of the first
	// one came before its time.
	for i := n - 1; i > 0 && e.past[i].wait > limit && e.past[i].sent <= e.past[i-1].at; i-- {
		bytes += e.past[i].size
		if d := last - e.past[i-1].at; d >= bottleneck && n-i >= few-1 {
			return float64(bytes) * 8 / d.Seconds(), true
		}
	}
	return 0, false
}

// used is what media got through lately.
func (e *estimator) used(at time.Duration) float64 {
	bytes, from := 0, at-e.usual-usedWindow
	for _, x := range e.past {
		if x.at >= from {
			bytes += x.size
		}
	}
	return float64(bytes) * 8 / usedWindow.Seconds()
}

// raise grows the estimate when most of it was used and nothing queued up.
func (e *estimator) raise(at time.Duration, items float64) {
	d := min(at-e.grown, 200*time.Millisecond)
	e.grown = at
	if e.queue > queueMost+e.slack() || e.draining || e.loss.share > lossHold || at-e.lowered < e.rtt+settle || e.used(at)+items < 0.7*e.rate {
		return
	}
	by := grow
	if e.full > 0 { // it may be a queue, or a busy machine
		by = grow / 3
	}
	switch near := e.knee > 0 && at-e.kneeAt < kneeFor && e.rate > 0.8*e.knee; {
	case near && e.rate > under*e.knee:
		return
	case near:
		by = growNear
	case e.starting && e.full == 0:
		by = growFirst
	}
	e.set(max(e.rate, min(e.rate*(1+by*d.Seconds()), beyond*(e.used(at)+items))))
}

func (e *estimator) set(rate float64) { e.rate = min(max(rate, least), e.most) }

// silence halves the estimate when nothing is reported of what was sent before.
func (e *estimator) silence(at time.Duration, oldest time.Duration) Code {
	if at-max(oldest, e.heard, e.lowered) < silent+e.usual || e.rate <= least {
		if oldest == at && at-e.heard > e.queue+e.usual { // what waited is through
			e.queue, e.draining = 0, false
		}
		return ""
	}
	e.lowered, e.starting = at, false
	e.set(e.rate / 2)
	return Silent
}

// onlyItems: without media, what items bring through is what is known.
func (e *estimator) onlyItems(at time.Duration, items float64, waiting bool) {
	if items > e.rate {
		e.set(items)
	} else if waiting && items > 0 {
		e.set(e.rate + (items-e.rate)/32) // they may have been held up by other things
	}
}

// wait is Ladder.Wait.
func (e *estimator) wait(at time.Duration, n, flying int, oldest time.Duration) time.Duration {
	if e.usual == 0 && flying+n > flightFirst {
		return 5 * time.Millisecond
	}
	if e.free > at {
		return e.free - at
	}
	pace := paceOver * e.rate
	if e.full == 0 && (e.knee == 0 || at-e.kneeAt > kneeFor) {
		pace = paceFree * e.rate
	}
	if e.draining { // until the queue is gone
		pace = e.rate * max(0.3, 1-e.queue.Seconds()/0.4)
	}
	if late := at - oldest - e.usual - e.spread - lateSlack; e.usual > 0 && late > 0 && flying+n > flightLeast {
		pace *= max(lateLeast, 1-late.Seconds()/lateMost.Seconds())
	}
	e.free = max(e.free, at-2*time.Millisecond) + min(time.Duration(float64(n)*8/pace*float64(time.Second)), paceMost)
	return 0
}

// goodput is what items bring through, from a count that only grows.
type goodput struct {
	at    [8]time.Duration
	total [8]int64
	n     int
}

const goodputGap = 200 * time.Millisecond

func (g *goodput) add(at time.Duration, total int64) {
	if g.n > 0 && total < g.total[(g.n-1)%len(g.at)] { // another link's
		g.n = 0
	}
	if g.n > 0 && at-g.at[(g.n-1)%len(g.at)] < goodputGap {
		return
	}
	g.at[g.n%len(g.at)], g.total[g.n%len(g.at)] = at, total
	g.n++
}

// rate is over the last second or so, in bits a second.
func (g *goodput) rate() float64 {
	if g.n < 2 {
		return 0
	}
	last, from := (g.n-1)%len(g.at), max(0, g.n-6)%len(g.at)
	return float64(g.total[last]-g.total[from]) * 8 / (g.at[last] - g.at[from]).Seconds()
}
