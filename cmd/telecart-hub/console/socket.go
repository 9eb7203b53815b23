package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"telecart/capture/ledger"
	"telecart/provisioning/people"
	"telecart/uplink/hub/clinic"
	"telecart/uplink/link"
	"telecart/uplink/steer"
	"telecart/uplink/wire"
)

const (
	stateGap   = 200 * time.Millisecond // at most five states a second
	lookAgain  = 5 * time.Second        // some of the state ages by itself
	recheck    = 30 * time.Second       // of the session
	pingEvery  = 10 * time.Second
	writeTime  = 10 * time.Second
	maxCommand = 64 << 10
	maxReplies = 32
	maxSlow    = 8 // acts and claims under way on one page
)

// page is one browser page as long as its WebSocket lasts.
type page struct {
	s       *Server
	ws      *websocket.Conn
	account people.Account
	token   string
	who     clinic.Who
	replies chan reply
	slow    chan struct{}
	nudge   chan struct{} // another encounter is in view

	mu      sync.Mutex
	view    *ledger.ID
	active  time.Time // the last command
	told    []byte    // the state last sent, without its time
	toldEnc []byte
	seen    map[ledger.Hash]bool
}

func (s *Server) socket(w http.ResponseWriter, r *http.Request) {
	a, token, err := s.account(r)
	if err == nil && !sameOrigin(r) {
		err = errOrigin
	}
	if err != nil {
		s.refuse(w, err)
		return
	}
	// Origin was checked above, more strictly: here it must be there.
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return // Accept has answered
	}
	defer ws.CloseNow()
	ws.SetReadLimit(maxCommand)
	p := &page{s: s, ws: ws, account: a, token: token, who: who(a), replies: make(chan reply, maxReplies), slow: make(chan struct{}, maxSlow),
		nudge: make(chan struct{}, 1), active: s.o.Clock.Now(), seen: map[ledger.Hash]bool{}}
	defer s.o.Clinic.Attach(a.Tenant, a.Name)()
	err = p.run(r.Context())
	code, reason := websocket.StatusGoingAway, "closed"
	if q := problem(err); q.Status == http.StatusUnauthorized {
		code, reason = websocket.StatusPolicyViolation, q.Code // the page shows the sign-in
		s.o.Clinic.SignedOut(a.Tenant, a.Name)
	}
	ws.Close(code, reason)
}

// run works until the page goes, its session ends, or ctx ends.
func (p *page) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel(nil)
	all.Go(func() { cancel(p.listen(ctx)) })
	all.Go(func() { cancel(p.keep(ctx)) })
	cancel(p.tell(ctx))
	return context.Cause(ctx)
}

// keep pings and looks after the session: it ends when signed out elsewhere, and when nothing was done for too long. Taking
// part in a consult counts as doing something: who listens must not be thrown out.
func (p *page) keep(ctx context.Context) error {
	clock := p.s.o.Clock
	checked := clock.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-clock.After(pingEvery):
		}
		short, cancel := context.WithTimeout(ctx, writeTime)
		err := p.ws.Ping(short)
		cancel()
		if err != nil {
			return err
		}
		now := clock.Now()
		if now.Sub(checked) < recheck {
			continue
		}
		checked = now
		p.mu.Lock()
		idle := now.Sub(p.active)
		p.mu.Unlock()
		if idle >= p.s.o.Idle && !p.consulting() {
			return errors.Join(people.ErrIdle, p.s.o.Sessions.End(ctx, p.token))
		}
		if _, err := p.s.o.Sessions.Check(ctx, p.token); err != nil {
			return err
		}
	}
}

func (p *page) consulting() bool {
	for _, c := range p.s.o.Clinic.Carts(p.who.Tenant) {
		if c.Consult != nil && !c.Consult.Over() && c.Consult.Member(p.who.ID) {
			return true
		}
	}
	return false
}

// tell sends replies at once, and state and encounter when they changed.
func (p *page) tell(ctx context.Context) error {
	clock := p.s.o.Clock
	bell, cancel := p.s.o.Clinic.Subscribe(p.who.Tenant)
	defer cancel()
	waves, noWaves := p.s.o.Clinic.Waves(p.who)
	defer noWaves()
	var gap <-chan time.Time // closed to new states until it ticks
	due := true
	again := clock.After(lookAgain)
	for {
		if due && gap == nil {
			due = false
			gap = clock.After(stateGap)
			if err := p.sendState(ctx); err != nil {
				return err
			}
			if err := p.sendEncounter(ctx); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case r := <-p.replies:
			if err := p.write(ctx, r); err != nil {
				return err
			}
		case s := <-waves:
			if err := p.write(ctx, message{Samples: showSamples(s)}); err != nil {
				return err
			}
		case <-bell:
			due = true
		case <-again:
			due, again = true, clock.After(lookAgain)
		case <-gap:
			gap = nil
		case <-p.nudge:
			if err := p.sendEncounter(ctx); err != nil {
				return err
			}
		}
	}
}

func (p *page) write(ctx context.Context, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("console: %w", err)
	}
	return p.send(ctx, b)
}

func (p *page) send(ctx context.Context, b []byte) error {
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	return p.ws.Write(ctx, websocket.MessageText, b)
}

func (p *page) may(a people.Action, k people.Kind, members ...string) error {
	return people.Allow(p.account.Subject(), a, people.Resource{Kind: k, Tenant: p.who.Tenant, Members: members})
}

// state is what this person may know now.
func (p *page) state(ctx context.Context) (state, error) {
	o := p.s.o
	st := state{Hub: o.Hub, Version: o.Version, Me: meOf(p.account), Carts: []cart{}, Notices: []link.Notice{}}
	see, sees := technical, p.may(people.List, people.Cart) == nil
	if p.may(people.View, people.Worklist) == nil {
		see, sees = clinical, true
	}
	if sees {
		for _, v := range o.Clinic.Carts(p.who.Tenant) {
			st.Carts = append(st.Carts, showCart(v, p.who.ID, see, o.Clock.Now()))
		}
	}
	notices, err := o.Clinic.Notices(ctx, p.who)
	for _, n := range notices {
		if see == clinical || n.Code == "ledger-fork" || n.Code == "items-lost" {
			st.Notices = append(st.Notices, n)
		}
	}
	return st, err
}

func (p *page) sendState(ctx context.Context) error {
	st, err := p.state(ctx)
	if err != nil {
		return err
	}
	b, err := json.Marshal(st)
	if err != nil || bytes.Equal(b, p.told) {
		return err
	}
	p.told = b
	st.Now = p.s.o.Clock.Now().UTC()
	return p.write(ctx, message{State: &st})
}

func (p *page) sendEncounter(ctx context.Context) error {
	p.mu.Lock()
	view := p.view
	p.mu.Unlock()
	if view == nil {
		p.toldEnc = nil
		return nil
	}
	e, alike, err := p.s.o.Clinic.Encounter(p.who.Tenant, *view)
	if errors.Is(err, clinic.ErrUnknown) {
		return nil // a split took it away; the notice says so
	}
	if err != nil {
		return err
	}
	shown := showEncounter(e, alike, p.s.o.Clock.Now())
	b, err := json.Marshal(message{Encounter: &shown})
	if err != nil || bytes.Equal(b, p.toldEnc) {
		return err
	}
	if fresh := seen(e, p.seen); len(fresh) > 0 {
		if err := p.s.o.Clinic.Viewed(ctx, p.who, fresh...); err != nil {
			return err
		}
		for _, i := range fresh {
			p.seen[i] = true
		}
	}
	p.toldEnc = b
	return p.send(ctx, b)
}

// listen takes commands. Each gets exactly one reply, in the order in which they are done.
func (p *page) listen(ctx context.Context) error {
	var slow sync.WaitGroup
	defer slow.Wait()
	for {
		t, b, err := p.ws.Read(ctx)
		if err != nil {
			return err
		}
		c, err := parseCommand(b)
		if err != nil || t != websocket.MessageText {
			return errCommand
		}
		p.mu.Lock()
		p.active = p.s.o.Clock.Now()
		p.mu.Unlock()
		if c.Verb != "act" && c.Verb != "claim" && c.Verb != "ledger" {
			p.reply(ctx, c, p.do)
			continue
		}
		select {
		case p.slow <- struct{}{}:
			slow.Go(func() {
				defer func() { <-p.slow }()
				p.reply(ctx, c, p.do)
			})
		default:
			p.reply(ctx, c, func(context.Context, command) (any, error) { return nil, clinic.ErrBusy })
		}
	}
}

func (p *page) reply(ctx context.Context, c command, do func(context.Context, command) (any, error)) {
	result, err := do(ctx, c)
	r := reply{Reply: c.ID, OK: err == nil, Result: result}
	if err != nil {
		q := problem(err)
		if q.Code == "unavailable" {
			p.s.o.Log.Error("console: command", "verb", c.Verb, "err", err)
		}
		r.Problem, r.Result = q, nil
	}
	select {
	case p.replies <- r:
	case <-ctx.Done():
	}
}

type named map[string]string

// do carries out one command, if people.Allow lets this person.
func (p *page) do(ctx context.Context, c command) (any, error) {
	cl := p.s.o.Clinic
	switch c.Verb {
	case "view":
		return nil, p.setView(ctx, c.Encounter)
	case "unview":
		p.mu.Lock()
		p.view = nil
		p.mu.Unlock()
		return nil, nil
	case "offer":
		// Asking the nurse is asking to be let in: the right is that of joining.
		if err := p.may(people.Join, people.Consult); err != nil {
			return nil, err
		}
		id, err := cl.Offer(ctx, p.who, c.Cart)
		if err != nil {
			return nil, err
		}
		return named{"consult": id}, p.audit(ctx, "offer", named{"cart": c.Cart, "consult": id})
	case "join", "leave", "end":
		return nil, p.consult(ctx, c)
	case "watch":
		if err := p.may(people.Watch, people.Stream, cl.Members(p.who.Tenant, "", c.Consult)...); err != nil {
			return nil, err
		}
		endpoint, token, err := cl.WatchStream(p.who, c.Consult, c.Instrument)
		if err != nil {
			return nil, err
		}
		return named{"endpoint": endpoint, "token": token}, p.audit(ctx, "watch", named{"consult": c.Consult, "instrument": c.Instrument})
	case "speak", "mute", "unmute", "hush", "show":
		return p.voice(ctx, c)
	case "lease", "release", "steer", "act":
		return p.steer(ctx, c)
	case "dismiss":
		return nil, cl.Dismiss(ctx, p.who, c.Notice)
	case "claim":
		if err := p.may(people.Issue, people.Claim); err != nil {
			return nil, err
		}
		code, qr, err := p.s.o.Fleet.Claim(ctx, p.who.Tenant, c.Cart, c.Site)
		if err != nil {
			return nil, wire.NewProblem(http.StatusUnprocessableEntity, "claim", "No claim was issued", err.Error())
		}
		return named{"code": code, "qr": qr}, p.audit(ctx, "claim", named{"cart": c.Cart, "site": c.Site})
	case "ledger", "ledger-seen":
		return p.ledger(ctx, c)
	case "revoke":
		if err := p.may(people.Revoke, people.Cart); err != nil {
			return nil, err
		}
		if err := p.s.o.Fleet.Revoke(ctx, p.who.Tenant, c.Cart); err != nil {
			return nil, err
		}
		return nil, p.audit(ctx, "revoke", named{"cart": c.Cart})
	}
	return nil, fmt.Errorf("%w: %q", errCommand, c.Verb)
}

func (p *page) audit(ctx context.Context, action string, with named) error {
	return p.s.o.Audit.Record(ctx, p.who.Tenant, p.who.ID, action, with)
}

func (p *page) setView(ctx context.Context, encounter string) error {
	if err := p.may(people.View, people.Encounter); err != nil {
		return err
	}
	var id ledger.ID
	if err := id.UnmarshalText([]byte(encounter)); err != nil {
		return fmt.Errorf("%w: encounter %q", clinic.ErrUnknown, encounter)
	}
	if _, _, err := p.s.o.Clinic.Encounter(p.who.Tenant, id); err != nil {
		return err
	}
	if err := p.audit(ctx, "view-encounter", named{"encounter": id.String()}); err != nil {
		return err
	}
	p.mu.Lock()
	p.view = &id
	p.mu.Unlock()
	select {
	case p.nudge <- struct{}{}:
	default:
	}
	return nil
}

func (p *page) consult(ctx context.Context, c command) error {
	verbs := map[string]struct {
		may people.Action
		do  clinic.Verb
	}{"join": {people.Join, clinic.Join}, "leave": {people.Join, clinic.Leave}, "end": {people.End, clinic.Close}}
	v := verbs[c.Verb]
	if err := p.may(v.may, people.Consult, p.s.o.Clinic.Members(p.who.Tenant, "", c.Consult)...); err != nil {
		return err
	}
	if err := p.s.o.Clinic.Do(ctx, p.who, c.Consult, v.do); err != nil {
		return err
	}
	return p.audit(ctx, c.Verb, named{"consult": c.Consult})
}

func (p *page) steer(ctx context.Context, c command) (any, error) {
	cl := p.s.o.Clinic
	action := people.Steer
	if c.Verb == "act" && c.Kind == "still" {
		action = people.Still
	}
	if err := p.may(action, people.Instrument, cl.Members(p.who.Tenant, c.Cart, "")...); err != nil {
		return nil, err
	}
	switch c.Verb {
	case "lease":
		return nil, cl.Lease(p.who, c.Cart, c.Instrument)
	case "release":
		return nil, cl.Release(p.who, c.Cart, c.Instrument)
	case "steer":
		return nil, cl.Steer(p.who, c.Cart, steer.Setpoint{Instrument: c.Instrument, Epoch: c.Epoch, Seq: c.Seq, Set: c.Set})
	}
	if c.Kind != "still" && c.Kind != "step" {
		return nil, fmt.Errorf("%w: act %q; \"still\" and \"step\" are what can be asked for", errCommand, c.Kind)
	}
	r, err := cl.Act(ctx, p.who, c.Cart, steer.Act{Instrument: c.Instrument, Epoch: c.Epoch, Kind: c.Kind, Set: c.Set})
	switch {
	case err != nil:
		return nil, err
	case !r.OK:
		return nil, wire.NewProblem(http.StatusConflict, r.Error, "The cart did not do it", "")
	}
	return named{"item": r.Item}, p.audit(ctx, c.Kind, named{"cart": c.Cart, "instrument": c.Instrument, "item": r.Item})
}
