package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device"
	"telecart/device/camera"
	"telecart/uplink/link"
	"telecart/uplink/live"
	"telecart/uplink/steer"
)

// consults is the cart's part in a live session: it publishes what the hub wants once the nurse agreed, and grants leases.
// Nothing of it touches the disk. It belongs to one open encounter: when that closes, everything stops here at once,
// whatever the hub says.
type consults struct {
	a     *Agent
	wake  chan struct{}
	axesC chan string // a camera's axes are to be read again
	sound *sounds

	mu       sync.Mutex
	want_    *link.Consult
	calling  *calling
	sending  map[string]*sending // by instrument
	shells   map[string]*steer.Shell
	running  map[string]bool // of shells
	known    map[string][]device.Axis
	lostAt   time.Time    // when the link went down during a live consult
	mustTap  bool         // the outage was long: the nurse must touch Continue
	stopped  *link.Answer // her pause or end, until the hub is known to have it: no late wish of the hub undoes it
	problems map[string]string
	way      live.Way // whether media has to go by TURN
}

type calling struct {
	reason string
	since  time.Time
}

// sending is one WHIP session that is kept up. All but name and channels needs the consults' mu.
type sending struct {
	name   string // of the instrument
	stream link.Stream
	cancel context.CancelFunc
	done   chan struct{}
	up     bool
}

// longOutage is after how long picture and sound come back only when the nurse touches Continue.
const longOutage = 10 * time.Minute

func newConsults(a *Agent) *consults {
	c := &consults{a: a, wake: make(chan struct{}, 1), axesC: make(chan string, 16), sound: newSounds(a), sending: map[string]*sending{}, shells: map[string]*steer.Shell{}, running: map[string]bool{},
		known: map[string][]device.Axis{}, problems: map[string]string{}}
	for _, i := range a.set.Instrument {
		c.steers(i.Name)
	}
	return c
}

// steers makes the lease machine of an instrument that can be steered; nil for another.
func (c *consults) steers(name string) *steer.Shell {
	dev, ok := c.a.sup.Steerable(name)
	if !ok {
		return nil
	}
	sh, err := steer.NewShell(steer.Options{Instrument: name, Device: dev, Clock: c.a.clock, Log: c.a.log, Do: c.act, Send: c.say})
	if err != nil {
		c.a.log.Error("agent: can't be steered", "instrument", name, "err", err)
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shells[name] = sh
	return sh
}

// launch runs an instrument's lease machine, once.
func (c *consults) launch(ctx context.Context, wg *sync.WaitGroup, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if sh := c.shells[name]; sh != nil && !c.running[name] {
		c.running[name] = true
		wg.Go(func() { sh.Run(ctx) })
	}
}

func (c *consults) shell(name string) *steer.Shell {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shells[name]
}

// steered are the instruments that can be steered, in order.
func (c *consults) steered() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.shells))
}

func (c *consults) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run reconciles until ctx ends.
func (c *consults) run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, name := range c.steered() {
		c.launch(ctx, &wg, name)
	}
	wg.Go(func() { c.readAxes(ctx) })
	defer c.stop()
	for {
		c.reconcile(ctx)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.wake:
		case <-c.a.clock.After(time.Second):
		}
	}
}

// reconcile makes what is sent match what is wanted and allowed.
func (c *consults) reconcile(ctx context.Context) {
	st := c.a.currentLink().Status()
	c.mu.Lock()
	now := c.a.clock.Now()
	if c.stopped != nil && st.Up {
		c.a.currentLink().Send(link.Message{Answer: c.stopped}) // again until Desired shows it; the hub does it once
	}
	switch {
	case st.Up && !c.lostAt.IsZero():
		c.mustTap = c.mustTap || now.Sub(c.lostAt) >= longOutage
		c.lostAt = time.Time{}
	case !st.Up && c.live() && c.lostAt.IsZero():
		c.lostAt = now
	}
	if !c.lostAt.IsZero() && now.Sub(c.lostAt) >= longOutage {
		c.mustTap = true
	}
	wanted, talking := map[string]link.Stream{}, (*link.Consult)(nil)
	if c.live() && !c.mustTap {
		talking = c.want_
		for _, s := range c.want_.Publish {
			if !c.sound.carries(s.Instrument) {
				wanted[s.Instrument] = s
			}
		}
	}
	var stopped []*sending
	for name, s := range c.sending {
		if w, ok := wanted[name]; ok && w.Endpoint == s.stream.Endpoint {
			s.stream = w // a newer token is for the next session; this one goes on
			continue
		}
		s.cancel()
		stopped = append(stopped, s)
		delete(c.sending, name)
	}
	c.mu.Unlock()
	c.sound.reconcile(ctx, talking)
	for _, s := range stopped {
		<-s.done
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, w := range wanted {
		if c.sending[name] == nil {
			c.start(ctx, w)
		}
	}
}

// live needs mu: the nurse agreed, did not pause, and it is about the encounter that is open.
func (c *consults) live() bool {
	w := c.want_
	return w != nil && w.Accepted && !w.Paused && w.Encounter == c.a.encounterID()
}

// idle: nobody would notice if the link were dialled anew.
func (c *consults) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.want_ == nil && c.calling == nil
}

func (a *Agent) encounterID() ledger.ID {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.enc.State().ID
}

// start needs mu.
func (c *consults) start(ctx context.Context, w link.Stream) {
	ctx, cancel := context.WithCancel(ctx)
	s := &sending{name: w.Instrument, stream: w, cancel: cancel, done: make(chan struct{})}
	c.sending[w.Instrument] = s
	go func() {
		defer close(s.done)
		c.publish(ctx, s)
	}()
}

const (
	redialMin = 200 * time.Millisecond
	redialMax = 2 * time.Second
)

// publish keeps one picture on its way, redialling until ctx ends.
func (c *consults) publish(ctx context.Context, s *sending) {
	wait := redialMin
	for ctx.Err() == nil {
		err := c.session(ctx, s)
		if ctx.Err() != nil { // told to stop: nothing is wrong
			c.mark(s, false, nil)
			return
		}
		c.mark(s, false, err)
		c.a.log.Info("agent: picture not sent", "instrument", s.name, "err", err)
		select {
		case <-ctx.Done():
		case <-c.a.clock.After(wait):
		}
		wait = min(2*wait, redialMax)
	}
}

func (c *consults) session(ctx context.Context, s *sending) error {
	c.mu.Lock()
	w := s.stream
	c.mu.Unlock()
	cam, ok := c.a.sup.Camera(w.Instrument)
	if !ok {
		return fmt.Errorf("%w: no camera %q", errInstrument, w.Instrument)
	}
	base, client, err := c.sound.hub()
	if err != nil {
		return err
	}
	if strings.HasPrefix(w.Endpoint, "/") {
		w.Endpoint = base + w.Endpoint
	}
	first := true
	var coded device.Coded // nil, and not an empty one, if the camera has no encoder
	if c, ok := c.a.sup.Coded(w.Instrument); ok {
		coded = c
	}
	share := c.a.ladder.shell.Session()
	defer share.Close()
	return live.Publish(ctx, live.Options{Endpoint: w.Endpoint, Coded: coded, Ladder: share, Token: w.Token, HTTP: client,
		Camera: cam, Turn: c.turn(),
		Decode: camera.Decode, Bitrate: c.a.set.Live.Bitrate, FrameRate: c.a.set.Live.FrameRate, Clock: c.a.clock, Log: c.a.log,
		Stats: func(live.Stats) {
			if first {
				first = false
				c.mark(s, true, nil)
			}
		}})
}

// turn is how media goes where UDP does not come through.
func (c *consults) turn() live.Turn { return live.Turn{Dial: c.a.id.DialTurn, Way: &c.way} }

func (c *consults) mark(s *sending, up bool, err error) {
	c.mu.Lock()
	s.up = up
	delete(c.problems, s.name)
	if err != nil {
		c.problems[s.name] = "no-picture"
	}
	c.mu.Unlock()
	c.a.change()
}

func (c *consults) stop() {
	c.sound.reconcile(context.Background(), nil)
	c.mu.Lock()
	all := slices.Collect(maps.Values(c.sending))
	c.sending = map[string]*sending{}
	c.mu.Unlock()
	for _, s := range all {
		s.cancel()
		<-s.done
	}
}

// want takes the hub's wish, but for what the nurse has stopped meanwhile.
func (c *consults) want(w *link.Consult) {
	c.mu.Lock()
	if w == nil || c.want_ == nil || w.ID != c.want_.ID {
		c.mustTap = false
	}
	w = c.minusStopped(w)
	if w != nil {
		c.calling = nil
	} else if c.want_ != nil {
		c.releaseAll()
	}
	c.want_ = w
	c.mu.Unlock()
	c.nudge()
	c.a.change()
}

// minusStopped needs mu.
func (c *consults) minusStopped(w *link.Consult) *link.Consult {
	s := c.stopped
	switch {
	case s == nil:
	case w == nil || w.ID != s.Consult || s.Verb == "pause" && w.Paused:
		c.stopped = nil // the hub has it
	case s.Verb == "pause":
		paused := *w
		paused.Paused = true
		return &paused
	default:
		return nil
	}
	return w
}

// releaseAll ends every lease: nobody steers without a consult. It needs mu.
func (c *consults) releaseAll() {
	for _, sh := range c.shells {
		if l := sh.Lease(); l.Holder != "" {
			sh.Deliver(steer.Release{Request: steer.Request{Instrument: l.Instrument, Who: l.Holder}})
		}
	}
}

// call asks for a specialist, or takes that back.
func (c *consults) call(reason string, cancel bool) error {
	enc := c.a.encounterID()
	if enc == (ledger.ID{}) {
		return capture.ErrNoEncounter
	}
	if err := c.a.currentLink().Send(link.Message{Call: &link.Call{Encounter: enc, Reason: reason, Cancel: cancel}}); err != nil {
		return fmt.Errorf("%w: %v", errNoLink, err)
	}
	c.mu.Lock()
	c.calling = &calling{reason, c.a.clock.Now()}
	if cancel {
		c.calling = nil
	}
	c.mu.Unlock()
	c.a.change()
	return nil
}

// answer is the nurse's word on a consult. What stops, stops here first, link or no link.
func (c *consults) answer(verb string) error {
	if !slices.Contains([]string{"accept", "refuse", "pause", "resume", "end"}, verb) {
		return fmt.Errorf("%w: answer with accept, refuse, pause, resume or end", errArgument)
	}
	c.mu.Lock()
	w := c.want_
	if w == nil {
		c.mu.Unlock()
		return errNoConsult
	}
	say := link.Answer{Consult: w.ID, Verb: verb}
	c.stopped = nil
	switch verb {
	case "pause", "end", "refuse":
		c.stopped = &say
		if c.want_ = c.minusStopped(w); c.want_ == nil {
			c.releaseAll()
		}
	case "resume":
		c.mustTap = false
	}
	stops := c.stopped != nil
	c.mu.Unlock()
	c.nudge()
	c.a.change()
	if err := c.a.currentLink().Send(link.Message{Answer: &say}); err != nil && !stops {
		return fmt.Errorf("%w: %v", errNoLink, err)
	}
	return nil // what stops has stopped here; the hub hears of it when the link is back
}

// view is what the nurse sees.
func (c *consults) view() (*ConsultView, []steer.Lease) {
	state, leases := c.presence()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.want_ != nil:
		w := c.want_
		return &ConsultView{ID: w.ID, By: w.By, Phase: state.Phase, Since: w.Since, Watchers: append([]string{}, w.Watchers...),
			Voice: c.sound.view(), Faces: c.sound.faces(), Error: state.Error, Ladder: state.Ladder}, leases
	case c.calling != nil:
		return &ConsultView{Phase: "calling", Since: c.calling.since, Watchers: []string{}, Faces: []FaceView{}}, leases
	}
	return nil, leases
}

// presence is what the hub is told.
func (c *consults) presence() (*link.ConsultState, []steer.Lease) {
	leases := []steer.Lease{}
	for _, name := range c.steered() {
		leases = append(leases, c.shell(name).Lease())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.want_
	if w == nil {
		return nil, leases
	}
	s := &link.ConsultState{ID: w.ID, Phase: "live", Publishing: []string{}}
	switch {
	case !w.Accepted:
		s.Phase = "offered"
	case c.mustTap:
		s.Phase = "waiting-continue"
	case w.Paused:
		s.Phase = "paused"
	}
	for name, x := range c.sending {
		if x.up {
			s.Publishing = append(s.Publishing, name)
		}
	}
	heard, muted := c.sound.sending()
	s.Publishing, s.Muted = append(s.Publishing, heard...), muted
	slices.Sort(s.Publishing)
	if len(s.Publishing) > len(heard) {
		s.Ladder = c.a.ladder.state()
	}
	for _, p := range c.problems {
		s.Error = p
	}
	return s, leases
}

// samples sends waveforms on while a consult is live.
func (c *consults) samples(s device.Samples) {
	c.mu.Lock()
	live := c.live() && !c.mustTap
	c.mu.Unlock()
	if live {
		c.a.currentLink().Send(link.Message{Samples: &s})
	}
}
