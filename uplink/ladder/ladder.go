// Package ladder owns what the cart's link can carry: one estimate, and who gets how much of it, in this order: steering and
// vital signs, voice, stethoscope, the newest still, video, backlog.
//
// Parties: media sessions tell of each packet that they send and what the far end reports of it (transport-wide feedback,
// draft-holmer-rmcat-transport-wide-cc-extensions-01); the link tells how many bytes of items arrived; the agent tells what is
// wanted. All of them ask here before they send. Keys: none; packets pass unread.
//
// The estimate (estimate.go). A packet's delay, less the least of the last half minute, is what it waited in queues; the least
// such wait of the last packets is the link's queue, whatever single packets suffered by jitter. Once it is longer than 25 ms (and what the
// jitter and a whole packet explain), the link carries just what arrives: that, less an eighth, is the estimate, and less is sent until the queue
// is gone. A queue that stays as it is though little is sent is none: the way has become longer, and nothing is lowered for it. As
// long as nothing queues and most of the estimate is used, it grows: more than twofold a second until the first queue, then by a third, and for half a
// minute not beyond where a queue arose. A report that is later than reports usually are slows the sender down before anything is known: that bounds the
// queue when a link becomes slow at once. Loss is a second sign only: up to 8 % changes nothing, from 15 % on the estimate
// follows what arrives. Nothing reported at all for a second halves it.
// Without media, what items bring through is the estimate.
//
// The steps (shares.go). Pictures of equal shares: 1280x720, 960x540, 640x360 at 30 frames a second, 640x360 at 15; below 384 kb/s each they
// stop and stills remain. Down at once (half a second below the limit), up when the share has been a quarter above it for a
// second; who came back and fell again soon waits twice as long the next time, half a minute at most. While pictures are
// stopped, their sessions probe: a tenth of a second of padding at twice the estimate, every one to three seconds, sooner
// after one that came through; the backlog is silent meanwhile. That is what brings them back by itself.
//
// Invariants: a Ladder is a pure machine: events and time in, figures out; Shell (shell.go) is the one with a lock. Shares never add up to
// more than the estimate, but for the trickles that keep steering and a transfer under way alive. History, decisions and
// packets remembered are bounded.
package ladder

import "time"

// Bounds of the estimate, and the limits of the steps, in bits a second with all headers.
const (
	least    = 30_000
	most     = 20_000_000
	first    = 2_500_000 // before anything is known: what is on its way is bounded until the first report
	VideoMin = 384_000   // below, a picture is worth less than stills
)

// Options of a Ladder.
type Options struct {
	Most int // the estimate's upper bound in bits a second; 0: 20 Mb/s
}

// Demand is what is wanted of the link now, in bits a second on the wire; 0 is not wanted.
type Demand struct {
	Voice       int
	Stethoscope int
	Still       int  // the newest still, so that it is there soon
	Pictures    int  // how many cameras are live
	Picture     int  // the most that one of them takes
	Backlog     bool // items wait
}

// Ladder is the machine. Its zero value is not ready: use New.
type Ladder struct {
	start  time.Time
	tracks map[*Track]bool
	est    estimator
	items  goodput
	demand Demand
	steps  steps
	log    []Decision
	shares Shares
	room   int // for each picture
}

// New makes a ladder that knows nothing of its link.
func New(now time.Time, o Options) *Ladder {
	if o.Most <= 0 {
		o.Most = most
	}
	l := &Ladder{start: now, tracks: map[*Track]bool{}}
	l.est = estimator{rate: min(first, float64(o.Most)), most: float64(o.Most), starting: true}
	l.steps.hold = holdMin
	l.divide(0)
	return l
}

// at is a time as this package reckons: since the ladder was made.
func (l *Ladder) at(now time.Time) time.Duration { return now.Sub(l.start) }

// Join adds a media session.
func (l *Ladder) Join(now time.Time) *Track {
	t := &Track{}
	l.tracks[t] = true
	return t
}

// Leave takes a session out: what it still had on its way counts no more.
func (l *Ladder) Leave(t *Track) { delete(l.tracks, t) }

// Want takes what is wanted from now on.
func (l *Ladder) Want(now time.Time, d Demand) {
	l.demand = d
	l.Tick(now)
}

// Items takes how many bytes of items the link has brought through since it began.
func (l *Ladder) Items(now time.Time, total int64) {
	l.items.add(l.at(now), total)
	if !l.Media(now) {
		l.est.onlyItems(l.at(now), l.items.rate(), l.demand.Backlog)
	}
	l.Tick(now)
}

// quietFor is for how long nothing is reported before the ladder takes it that there is no media: probes are more frequent.
const quietFor = 5 * time.Second

// Media says whether media uses the link now.
func (l *Ladder) Media(now time.Time) bool {
	return len(l.tracks) > 0 && (l.flying() > 0 || l.est.heard > 0 && l.at(now)-l.est.heard < quietFor)
}

// Tick lets time pass: at least every 100 ms while there are sessions.
func (l *Ladder) Tick(now time.Time) {
	at := l.at(now)
	for t := range l.tracks {
		t.expire(at)
	}
	if code := l.est.silence(at, l.oldest(at)); code != "" {
		l.note(at, code)
	}
	l.divide(at)
}

// Sent notes a packet of n bytes with all its headers, and gives the number that it is to carry.
func (l *Ladder) Sent(t *Track, now time.Time, n int, kind Packet) uint16 {
	at := l.at(now)
	return t.send(at, n, kind)
}

// Report takes what the far end says of packets.
func (l *Ladder) Report(t *Track, now time.Time, r Report) {
	if !l.tracks[t] {
		return
	}
	at := l.at(now)
	got := t.report(at, r)
	if len(got.arrived)+got.lost == 0 {
		return
	}
	if l.steps.level == 0 && l.demand.Pictures > 0 {
		l.est.grown = at // only probes show that there is more
	}
	if code := l.est.reported(at, got, l.items.rate()); code != "" {
		if code == Route {
			by := l.est.moved()
			for t := range l.tracks {
				t.base.shift(by)
				t.rtt = floor{}
			}
		}
		l.note(at, code)
	}
	l.divide(at)
}

// flying is what is on its way, in bytes.
func (l *Ladder) flying() (n int) {
	for t := range l.tracks {
		n += t.flying
	}
	return n
}

// oldest is when the oldest packet was sent that is not answered; now if all are.
func (l *Ladder) oldest(at time.Duration) time.Duration {
	oldest := at
	for t := range l.tracks {
		if o, ok := t.waits(); ok {
			oldest = min(oldest, o)
		}
	}
	return oldest
}

// Wait says how long a packet of n bytes of a picture has to wait before it may go; 0: it goes now, and its time is taken.
// Until then ask again: a report may shorten it.
func (l *Ladder) Wait(now time.Time, n int) time.Duration {
	at := l.at(now)
	return l.est.wait(at, n, l.flying(), l.oldest(at))
}

// Probe is a train of padding.
type Probe struct {
	Packets int           // of ProbeSize
	Over    time.Duration // evenly
}

// Probe says whether a session whose picture is stopped should send padding now. It does so once for each train.
func (l *Ladder) Probe(now time.Time) (Probe, bool) {
	at := l.at(now)
	if l.steps.level > 0 || l.demand.Pictures == 0 || len(l.tracks) == 0 {
		return Probe{}, false
	}
	return l.est.probe(at)
}
