package clinic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"telecart/capture/ledger"
	"telecart/uplink/link"
	"telecart/uplink/steer"
	"telecart/uplink/wire"
)

const (
	helloTime = 10 * time.Second
	pingEvery = 5 * time.Second // with pingTime, a dead link shows after 10 s
	pingTime  = 5 * time.Second
	askEvery  = time.Minute // whether the cart is still welcome
)

// ErrReplaced: the same cart connected anew; the later connection is the one that counts.
var ErrReplaced = errors.New("clinic: the cart has a newer connection")

// connection is one cart's link as long as it lasts.
type connection struct {
	out    *sender
	cancel context.CancelCauseFunc
	met    bool            // a presence came
	told   string          // the desired state last sent
	noted  map[string]bool // notices on their way out, by id
}

// ServeLink talks with one cart until the connection or ctx ends, and says why it ended.
func (s *Service) ServeLink(ctx context.Context, ws Conn, c Cart) error {
	hello, err := s.hello(ctx, ws)
	if err != nil {
		return err
	}
	welcome, err := s.greet(ctx, c, hello)
	if err != nil {
		s.say(ctx, ws, link.Message{Problem: asProblem(err)})
		return err
	}
	if err := write(ctx, s.o.Clock, ws, link.Message{Welcome: &welcome}); err != nil {
		return err
	}
	// Ending a read breaks the connection, so reading goes on until the last word is said.
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	conn := &connection{out: newSender(s.o.Clock), cancel: cancel, noted: map[string]bool{}}
	st := s.connect(ctx, conn, c, hello)
	var all sync.WaitGroup
	all.Go(func() { cancel(s.listen(reading, ws, st, conn)) })
	var writers sync.WaitGroup
	writers.Go(func() { cancel(conn.out.run(ctx, ws, func() *link.Desired { return s.desired(st, conn) })) })
	writers.Go(func() { cancel(s.keepAlive(ctx, ws, c)) })
	<-ctx.Done()
	writers.Wait()
	s.disconnect(context.WithoutCancel(ctx), st, conn)
	err = context.Cause(ctx)
	if p := asProblem(err); p != nil {
		s.say(reading, ws, link.Message{Problem: p})
	}
	stopReading()
	all.Wait()
	return err
}

// say sends a last word, if it still gets through.
func (s *Service) say(ctx context.Context, ws Conn, m link.Message) {
	if err := write(ctx, s.o.Clock, ws, m); err != nil {
		s.o.Log.Debug("clinic: last word not sent", "err", err)
	}
}

// asProblem is what a cart is told about the end of its connection; nil for what it knows by itself.
func asProblem(err error) *wire.Problem {
	var p *wire.Problem
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, ErrReplaced):
		return wire.NewProblem(http.StatusConflict, "replaced", "This cart has a newer connection", "")
	case errors.Is(err, errRevoked):
		return wire.NewProblem(http.StatusForbidden, "certificate-revoked", "This cart's certificate was revoked", "enrol it with a new claim")
	case errors.Is(err, errGreeting):
		return wire.NewProblem(http.StatusBadRequest, "bad-hello", "The first message was refused", err.Error())
	}
	return nil
}

var errGreeting = errors.New("clinic: hello")

func (s *Service) hello(ctx context.Context, ws Conn) (link.Hello, error) {
	ctx, cancel := within(ctx, s.o.Clock, helloTime)
	defer cancel()
	m, err := read(ctx, ws)
	if err != nil {
		return link.Hello{}, fmt.Errorf("clinic: no hello: %w", err)
	}
	if m.Hello == nil {
		err := fmt.Errorf("%w: the first message must be a hello", errGreeting)
		s.say(ctx, ws, link.Message{Problem: asProblem(err)})
		return link.Hello{}, err
	}
	return *m.Hello, nil
}

func (s *Service) greet(ctx context.Context, c Cart, h link.Hello) (link.Welcome, error) {
	low, high := max(h.Protocol[0], link.MinProtocol), min(h.Protocol[1], link.MaxProtocol)
	if low > high {
		return link.Welcome{}, wire.NewProblem(http.StatusUpgradeRequired, "protocol", "No common protocol version",
			fmt.Sprintf("the cart speaks %d to %d, this hub %d to %d", h.Protocol[0], h.Protocol[1], link.MinProtocol, link.MaxProtocol))
	}
	w, err := s.o.Greeter.Welcome(ctx, c, h)
	w.Protocol, w.Now = high, s.o.Clock.Now().UTC()
	return w, err
}

// read takes the next message; what is no JSON of ours ends the connection, what is unknown in it is ignored.
func read(ctx context.Context, ws Conn) (m link.Message, err error) {
	t, b, err := ws.Read(ctx)
	if err != nil {
		return m, err
	}
	if t != websocket.MessageText {
		return m, errors.New("clinic: a binary message")
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("clinic: a message that is not understood: %w", err)
	}
	return m, nil
}

func (s *Service) connect(ctx context.Context, conn *connection, c Cart, h link.Hello) *station {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.station(c)
	if st.conn != nil {
		st.conn.cancel(ErrReplaced)
	}
	st.conn, st.version = conn, clip(h.Version, maxShort)
	st.problems = slices.DeleteFunc(st.problems, func(p string) bool { return p == "revoked" }) // it has a new certificate
	if st.consult != nil && !st.consult.Over() {
		s.step(ctx, st, Event{Verb: LinkUp})
	}
	s.deliver(ctx, st)
	s.settle(st)
	return st
}

func (s *Service) disconnect(ctx context.Context, st *station, conn *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.conn != conn {
		return // a newer connection took over
	}
	st.conn = nil
	for id, a := range s.acts {
		if a.cart == (cartKey{st.Tenant, st.Name}) {
			a.answer <- steer.ActResult{ID: id, Error: "offline"}
			delete(s.acts, id)
		}
	}
	if st.consult != nil && !st.consult.Over() {
		s.step(ctx, st, Event{Verb: LinkDown})
	}
	s.settle(st)
}

func (s *Service) keepAlive(ctx context.Context, ws Conn, c Cart) error {
	asked := s.o.Clock.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.o.Clock.After(pingEvery):
		}
		short, cancel := within(ctx, s.o.Clock, pingTime)
		err := ws.Ping(short)
		cancel()
		if err != nil {
			return fmt.Errorf("clinic: the link is dead: %w", err)
		}
		if now := s.o.Clock.Now(); now.Sub(asked) >= askEvery {
			asked = now
			if err := s.o.Greeter.Still(ctx, c); err != nil {
				return err
			}
		}
	}
}

func (s *Service) listen(ctx context.Context, ws Conn, st *station, conn *connection) error {
	for {
		m, err := read(ctx, ws)
		if err != nil {
			return err
		}
		if m.Head != nil {
			if err := s.o.Greeter.Head(ctx, st.Cart, *m.Head); err != nil {
				return err
			}
			continue
		}
		s.heard(ctx, st, conn, m)
	}
}

// heard does what a message asks.
func (s *Service) heard(ctx context.Context, st *station, conn *connection, m link.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.conn != conn {
		return
	}
	switch {
	case m.Presence != nil:
		s.meet(ctx, st, *m.Presence)
	case m.Samples != nil:
		s.wave(st, *m.Samples)
		return
	case m.Call != nil:
		s.call(ctx, st, *m.Call)
	case m.Answer != nil:
		s.answer(ctx, st, *m.Answer)
	case m.Result != nil:
		if a, ok := s.acts[m.Result.ID]; ok && a.cart == (cartKey{st.Tenant, st.Name}) {
			delete(s.acts, m.Result.ID)
			a.answer <- *m.Result
		}
		return
	default:
		return // of a newer protocol
	}
	s.settle(st)
}

const (
	maxInstruments = 64
	maxReason      = 500
	maxShort       = 100
)

// clip bounds what a cart says to n bytes, and to whole characters.
func clip(s string, n int) string { return strings.ToValidUTF8(s[:min(len(s), n)], "") }

func (s *Service) meet(ctx context.Context, st *station, p link.Presence) {
	p.Instruments = p.Instruments[:min(len(p.Instruments), maxInstruments)]
	p.Leases = p.Leases[:min(len(p.Leases), maxInstruments)]
	if d := p.Damage; d != nil && len(d.Items) > link.MaxDamaged {
		d.Items, d.More = d.Items[:link.MaxDamaged], d.More+len(d.Items)-link.MaxDamaged
	}
	for i := range damagedItems(p) {
		p.Damage.Items[i].Kind = clip(p.Damage.Items[i].Kind, maxShort)
	}
	st.presence, st.said = p, s.o.Clock.Now()
	first := !st.conn.met
	st.conn.met = true
	c := st.consult
	if c == nil || c.Over() {
		return
	}
	switch {
	case p.Encounter == nil && first:
		// An agent that has just started may not have found its open encounter again. The next presence tells.
	case p.Encounter == nil || p.Encounter.ID != c.Encounter:
		s.step(ctx, st, Event{Verb: EncounterOver})
	case first && p.Consult != nil && p.Consult.ID == c.ID && p.Consult.Phase == string(Waiting):
		// The cart was the one that knew how long the link was away: the hub may have been restarted.
		s.step(ctx, st, Event{Verb: Wait})
	case s.o.Clock.Now().Sub(c.Heard) >= time.Minute:
		c.Heard = s.o.Clock.Now()
		s.save(ctx, *c)
	}
}

func damagedItems(p link.Presence) []link.DamagedItem {
	if p.Damage == nil {
		return nil
	}
	return p.Damage.Items
}

func (s *Service) call(ctx context.Context, st *station, m link.Call) {
	open := st.consult != nil && !st.consult.Over()
	switch {
	case m.Cancel && open:
		s.step(ctx, st, Event{Verb: CancelCall})
	case !m.Cancel && !open:
		c := NewCall(ledger.NewID().String(), st.Tenant, st.Name, m.Encounter, clip(m.Reason, maxReason), s.o.Clock.Now())
		c.Practice = st.presence.Practice
		st.consult = &c
		s.save(ctx, c)
	}
}

func (s *Service) answer(ctx context.Context, st *station, a link.Answer) {
	nurses := []Verb{Accept, Refuse, Pause, Resume, End}
	if st.consult == nil || st.consult.ID != a.Consult || !slices.Contains(nurses, Verb(a.Verb)) {
		return // about a consult that is gone
	}
	if err := s.step(ctx, st, Event{Verb: Verb(a.Verb)}); err != nil {
		s.o.Log.Info("clinic: an answer that does not fit", "cart", st.Name, "verb", a.Verb, "err", err)
	}
}

// step moves the cart's consult on, keeps it, and ends the live sessions that must not go on.
func (s *Service) step(ctx context.Context, st *station, e Event) error {
	before := *st.consult
	next, err := before.Step(e, s.o.Clock.Now())
	if err != nil {
		return err
	}
	st.consult = &next
	s.save(ctx, next)
	if before.Base == Live && next.Base != Live {
		s.kick(s.o.Tokens.Void(next.ID, Publish, ""))
		clear(st.streams)
		clear(st.speaking)
	}
	if next.Over() {
		s.kick(s.o.Tokens.Void(next.ID, Watch, ""))
	}
	if e.Verb == Leave {
		s.kick(s.o.Tokens.Void(next.ID, Watch, e.Who.ID))
		s.hush(st, e.Who.ID)
	}
	return nil
}

func (s *Service) kick(tokens []string) {
	for _, t := range tokens {
		s.o.Rooms.KickToken(t)
	}
}

func (s *Service) save(ctx context.Context, c Consult) {
	if err := s.o.Store.SaveConsult(ctx, c); err != nil {
		s.o.Log.Error("clinic: consult not kept; it goes on in memory", "consult", c.ID, "err", err)
	}
}
