package ladder

import "time"

const (
	probeOver  = 100 * time.Millisecond
	probeAsks  = 2.0 // times the estimate
	probeLeast = 300_000
	probeSoon  = 400 * time.Millisecond // after one that came through
	probeMin   = time.Second
	probeMax   = 3 * time.Second
	probeQuiet = 100 * time.Millisecond // the backlog is silent before and after
	// ProbeSize is the padding in one packet, in bytes: the most there can be (RFC 3550, 5.1).
	ProbeSize   = 255
	probeWire   = ProbeSize + 64 // of it on the wire
	probeFewest = 6              // packets of a train
)

// prober sends trains of padding while pictures are stopped, one at a time.
type prober struct {
	due   time.Duration
	every time.Duration
	began time.Duration // of the train under way; 0: none
	rate  float64       // that it was sent at
	sent  int           // packets
	came  int
	bytes int     // of those that came, but for the first
	from  arrival // its first and last packet
	to    arrival
}

// probe is Ladder.Probe.
func (e *estimator) probe(at time.Duration) (Probe, bool) {
	p := &e.probes
	if p.every == 0 {
		p.every, p.due = probeMin, at+probeMin
	}
	if p.began > 0 && at-p.began > probeOver+e.rtt+time.Second { // its report is lost, or it is
		p.failed(at)
		p.began = 0
	}
	if p.began > 0 || at < p.due || e.queue > queueGone {
		return Probe{}, false
	}
	p.rate = min(max(probeAsks*e.rate, probeLeast), e.most)
	p.sent = max(int(p.rate/8*probeOver.Seconds())/probeWire, probeFewest)
	p.began, p.came, p.bytes, p.from, p.to = at, 0, 0, arrival{}, arrival{}
	return Probe{p.sent, max(probeOver, time.Duration(float64(p.sent*probeWire*8)/p.rate*float64(time.Second)))}, true
}

// reported takes the packets of a train that arrived, and says what it showed once it is whole.
func (p *prober) reported(at time.Duration, all []arrival) Code {
	if p.began == 0 {
		return ""
	}
	for _, x := range all {
		if !x.probe || x.sent < p.began {
			continue
		}
		if p.came++; p.came == 1 {
			p.from = x
		} else {
			p.bytes += x.size
		}
		p.to = x
	}
	if p.came < p.sent*8/10 {
		return ""
	}
	p.began = 0
	sent, took := p.to.sent-p.from.sent, p.to.at-p.from.at
	p.rate = float64(p.bytes) * 8 / max(took, time.Millisecond).Seconds()
	if took > sent*5/4+2*time.Millisecond || p.to.wait-p.from.wait > queueMost/2 {
		p.failed(at)
		return ProbeFailed
	}
	p.every, p.due = probeMin, at+probeSoon
	return Probed
}

func (p *prober) failed(at time.Duration) {
	p.every = min(p.every*3/2, probeMax)
	p.due = at + p.every
}

// queued puts the next train off: there is a queue.
func (p *prober) queued(at time.Duration) {
	p.began = 0
	p.every = max(p.every, probeMin)
	p.due = max(p.due, at+p.every)
}

// probed takes a train's verdict. What came of a train that was held up was less than what was sent, and more than nothing: it may well
// be more than the estimate.
func (e *estimator) probed(at time.Duration, c Code) Code {
	if shown := under * e.probes.rate; shown > e.rate {
		e.knee = 0
		e.set(shown)
		e.grown = at
	} else if c == ProbeFailed {
		return ""
	}
	return c
}

// quiet says whether a train is under way or about to be.
func (p *prober) quiet(at time.Duration) bool {
	return p.began > 0 && at-p.began < probeOver+2*probeQuiet || p.every > 0 && at > p.due-probeQuiet
}
