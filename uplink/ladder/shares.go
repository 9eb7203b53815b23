package ladder

import "time"

// Shares are who gets how much, in bits a second on the wire.
type Shares struct {
	Steering    int
	Voice       int
	Stethoscope int
	Still       int
	Video       int // of all pictures together; 0: they are stopped, or none is wanted
	Backlog     int
}

// Step is where the ladder stands, for people.
type Step string

// The steps.
const (
	Full    Step = "full"    // pictures as good as they are wanted
	Smaller Step = "smaller" // smaller, or fewer a second
	Stills  Step = "stills"  // stopped: stills remain
)

// Plan is what one picture is to be.
type Plan struct {
	Step    Step
	Bitrate int // of the coded picture, without headers
	Room    int // the same, if it were wanted: for a camera's own stream, which takes what it takes
	Rate    int // frames a second at most
	Width   int // at most
	Height  int
}

const (
	steering   = 12_000 // and vital signs: always
	trickle    = 8_000  // so that a transfer under way is not given up
	overhead   = 0.92   // of what is sent is the coded picture: headers, and a little for repairs
	downAfter  = 500 * time.Millisecond
	upOver     = 1.25
	holdMin    = time.Second
	holdMax    = 30 * time.Second
	soon       = 10 * time.Second // who falls again within it came back too early
	stillLeast = 48_000
)

// level is one rung of a picture's, by what it needs.
type level struct {
	from          int
	width, height int
	rate          int
}

// levels from the least. Below the first there is no picture.
var levels = [...]level{
	{VideoMin, 640, 360, 15},
	{550_000, 640, 360, 30},
	{800_000, 960, 540, 30},
	{1_250_000, 1280, 720, 30},
}

// steps is which rung the pictures stand on: 0 is none.
type steps struct {
	level  int
	low    time.Duration // since when the share is too small; 0: it is not
	high   time.Duration // since when it is large enough for more
	hold   time.Duration // for how long it has to be, to begin with
	came   time.Duration // when pictures came back
	wanted int           // how many pictures there were
}

// divide makes the shares of this moment.
func (l *Ladder) divide(at time.Duration) {
	d, left := l.demand, int(l.est.rate)
	take := func(n int) int {
		n = max(0, min(n, left))
		left -= n
		return n
	}
	s := Shares{Steering: steering}
	left -= steering
	s.Voice, s.Stethoscope = take(d.Voice), take(d.Stethoscope)
	if d.Still > 0 {
		s.Still = take(max(d.Still, stillLeast))
	}
	if d.Pictures > 0 {
		room := left / d.Pictures
		l.room = room
		if code := l.steps.take(at, room, d); code != "" {
			defer l.note(at, code)
		}
		if l.steps.level > 0 {
			s.Video = take(d.Pictures * min(room, d.Picture))
		}
	} else {
		l.steps = steps{hold: holdMin}
	}
	if d.Backlog {
		s.Backlog = max(left, trickle)
		if d.Pictures > 0 && l.steps.level == 0 && l.est.probes.quiet(at) {
			s.Backlog = trickle
		}
	}
	l.shares = s
}

// need is the share from which a rung can be stood on: a picture that wants little needs no more than that.
func need(i int, d Demand) int { return min(levels[i-1].from, d.Picture) }

// take moves between the rungs as a picture's share allows.
func (s *steps) take(at time.Duration, share int, d Demand) Code {
	if s.wanted == 0 { // the first picture: at once on the best rung that the share carries
		s.level = best(share, d, 1)
		s.came = at - soon
	}
	s.wanted = d.Pictures
	if s.level > 0 && share < need(s.level, d) {
		s.high = 0
		if s.low == 0 {
			s.low = at
		}
		if at-s.low < downAfter {
			return ""
		}
		s.low = 0
		if s.level = best(share, d, 1); s.level > 0 {
			return Down
		}
		if at-s.came < soon {
			s.hold = min(2*s.hold, holdMax)
		} else {
			s.hold = holdMin
		}
		return ToStills
	}
	s.low = 0
	to := best(share, d, upOver)
	if to <= s.level {
		s.high = 0
		return ""
	}
	if s.high == 0 {
		s.high = at
	}
	if hold := s.hold; s.level == 0 && at-s.high < hold || at-s.high < holdMin {
		return ""
	}
	s.high = 0
	was := s.level
	s.level = to
	if was > 0 {
		return Up
	}
	s.came = at
	return ToPictures
}

// best is the highest rung that a share carries, with so much to spare.
func best(share int, d Demand, over float64) int {
	for i := len(levels); i > 0; i-- {
		if n := need(i, d); float64(share) >= over*float64(n) || share >= d.Picture {
			return i
		}
	}
	return 0
}

// Plan says what each picture is to be.
func (l *Ladder) Plan() Plan {
	if l.steps.level == 0 {
		return Plan{Step: Stills}
	}
	v := levels[l.steps.level-1]
	p := Plan{Step: Smaller, Rate: v.rate, Width: v.width, Height: v.height}
	share := float64(l.shares.Video) / float64(max(1, l.demand.Pictures))
	of := overhead * (1 - min(l.est.loss.share, lossMost))
	p.Bitrate, p.Room = int(share*of), int(float64(l.room)*of)
	if l.steps.level == len(levels) || l.shares.Video >= l.demand.Pictures*l.demand.Picture {
		p.Step = Full
	}
	return p
}

// Code is why something was decided. Screens have words for it.
type Code string

// The codes.
const (
	Queue       Code = "queue"        // packets queue up: the link carries less
	Lossy       Code = "loss"         // so many are lost that it must carry less
	Silent      Code = "silent"       // nothing is reported any more
	Route       Code = "route"        // the way has become longer, not fuller
	Probed      Code = "probed"       // padding came through: it carries more
	ProbeFailed Code = "probe-failed" // it did not all, but some did
	ToStills    Code = "stills"       // pictures stopped
	ToPictures  Code = "pictures"     // pictures again
	Down        Code = "smaller"      // a smaller picture
	Up          Code = "larger"       // a larger one
)

// Decision is one line of the log.
type Decision struct {
	At       time.Duration // since the ladder was made
	Code     Code
	Estimate int // bits a second, after it
	Used     int // by media
	Queue    time.Duration
	Level    int // of the pictures: 0 is stopped
}

// logged is how many decisions are kept.
const logged = 64

func (l *Ladder) note(at time.Duration, c Code) {
	if len(l.log) >= logged {
		l.log = append(l.log[:0], l.log[len(l.log)-logged+1:]...)
	}
	l.log = append(l.log, Decision{at, c, int(l.est.rate), int(l.est.used(at)), l.est.queue, l.steps.level})
}

// Shares are the present ones.
func (l *Ladder) Shares() Shares { return l.shares }

// Estimate is what the link carries, in bits a second.
func (l *Ladder) Estimate() int { return int(l.est.rate) }

// Used is what gets through of media and items.
func (l *Ladder) Used(now time.Time) int { return int(l.est.used(l.at(now)) + l.items.rate()) }

// Log is the latest decisions, the oldest first.
func (l *Ladder) Log() []Decision { return l.log }
