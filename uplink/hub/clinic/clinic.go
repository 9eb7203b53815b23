// Package clinic is the hub's services for people: who is there (worklist), who talks to whom (consults), what is known
// (encounters), and who steers.
//
// Parties: carts, over one WebSocket each (ServeLink); specialists and nurses at the console (package console), named by
// tenant and account; ingest, which reports every item it opened (Observe); the room, which asks about stream tokens
// (Tokens); the store, which keeps consults, views and notices.
//
// Keys: none. Who a cart or a person is was settled by the caller.
//
// Invariants: nothing of one tenant is found by another. No consult is live without a touch at the bedside. Consults
// survive dropped links and restarts of either side. Everything about an encounter follows from its items (projection);
// practice and care never meet. Setpoints are never queued. Nothing here logs a patient.
package clinic

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device"
	"telecart/device/kit"
	"telecart/uplink/link"
	"telecart/uplink/steer"
	"telecart/uplink/wire"
)

// What the services refuse with.
var (
	ErrUnknown     = errors.New("clinic: no such cart, consult or item here")
	ErrOffline     = errors.New("clinic: the cart is offline; it answers when its link is back")
	ErrNoEncounter = errors.New("clinic: no encounter is open at this cart; the nurse opens one first")
	ErrLate        = errors.New("clinic: the cart did not answer in time")
)

// Store keeps what survives a restart.
type Store interface {
	SaveConsult(ctx context.Context, c Consult) error
	OpenConsults(ctx context.Context) ([]Consult, error)
}

// Cabinet keeps who saw what, and what they are to be told.
type Cabinet interface {
	Viewed(ctx context.Context, tenant, account string, at time.Time, items []ledger.Hash) error
	Viewers(ctx context.Context, tenant string, item ledger.Hash) ([]string, error)
	Notify(ctx context.Context, n Note) error
	Unseen(ctx context.Context, to Recipient) ([]Note, error)
	Seen(ctx context.Context, to Recipient, id string) error
}

// Recipient is an account or a cart of a tenant: one of the two is "".
type Recipient struct{ Tenant, Account, Cart string }

// Note is a notice on its way.
type Note struct {
	To Recipient
	At time.Time
	link.Notice
}

// Rooms ends live sessions. *room.Room is one.
type Rooms interface {
	KickToken(token string) int
}

// Greeter judges a cart's ledger heads and makes the hub's first message.
type Greeter interface {
	Welcome(ctx context.Context, c Cart, h link.Hello) (link.Welcome, error)
	Head(ctx context.Context, c Cart, h ledger.Head) error
	Still(ctx context.Context, c Cart) error // is the cart still welcome? Asked once a minute
}

// Options are what the service needs.
type Options struct {
	Store   Store
	Cabinet Cabinet
	Rooms   Rooms
	Greeter Greeter
	Tokens  *Tokens
	Clock   kit.Clock
	Log     *slog.Logger
}

// Cart is a cart as its certificate names it.
type Cart struct {
	Tenant string
	Name   string
	Site   string
}

type cartKey struct{ tenant, cart string }

// CartState is what the worklist shows.
type CartState string

const (
	Ready   CartState = "ready"
	Busy    CartState = "busy" // in a consult
	Offline CartState = "offline"
)

// station is one cart and all that is going on with it.
type station struct {
	Cart
	state    CartState
	since    time.Time
	conn     *connection
	version  string
	presence link.Presence
	said     time.Time // when the presence came
	consult  *Consult  // the latest; it may be over
	streams  map[string]publishing
	speaking map[string]*speaker // by account
	problems []string
	desired  uint64
}

// Service is the running services.
type Service struct {
	o       Options
	mu      sync.Mutex
	carts   map[cartKey]*station
	proj    *projection
	present map[tenantID[string]]int           // consoles open, by account
	away    map[tenantID[string]]chan struct{} // accounts whose last console went just now; closed when one is back
	done    <-chan struct{}
	notes   map[string][]*sharedNote // for everyone of a tenant
	acts    map[string]pendingAct
	bells   map[string]map[chan struct{}]bool
	waves   map[chan Samples]Who // who is sent waveforms
}

// sharedNote is for every clinician of a tenant. It is kept in memory: what it tells of is in the encounters for good.
type sharedNote struct {
	Note
	dismissed map[string]bool
}

// maxShared bounds the shared notices of a tenant; the oldest go first.
const maxShared = 100

// New loads what was kept; what waits in the background ends with ctx. carts are all that are known; history is what arrived lately, in order of its receipts.
func New(ctx context.Context, o Options, carts []Cart, history []Arrival) (*Service, error) {
	s := &Service{o: o, carts: map[cartKey]*station{}, proj: newProjection(), present: map[tenantID[string]]int{},
		away: map[tenantID[string]]chan struct{}{}, done: ctx.Done(),
		notes: map[string][]*sharedNote{}, acts: map[string]pendingAct{}, bells: map[string]map[chan struct{}]bool{}, waves: map[chan Samples]Who{}}
	for _, c := range carts {
		s.station(c)
	}
	for _, a := range history {
		s.proj.add(a)
	}
	open, err := o.Store.OpenConsults(ctx)
	if err != nil {
		return nil, fmt.Errorf("clinic: consults: %w", err)
	}
	for _, c := range open {
		st := s.station(Cart{Tenant: c.Tenant, Name: c.Cart})
		if c.Lost.IsZero() {
			// When the hub went is not known; when the cart was last heard is.
			c, _ = c.Step(Event{Verb: LinkDown}, c.Heard)
		}
		if st.consult == nil || st.consult.Since.Before(c.Since) {
			st.consult = &c
		}
	}
	return s, nil
}

// station is where a cart is kept; it is made when the cart is first heard of.
func (s *Service) station(c Cart) *station {
	key := cartKey{c.Tenant, c.Name}
	st := s.carts[key]
	if st == nil {
		st = &station{Cart: c, state: Offline, since: s.o.Clock.Now(), streams: map[string]publishing{}}
		s.carts[key] = st
	}
	if c.Site != "" {
		st.Site = c.Site
	}
	return st
}

// Subscribe rings when anything of the tenant may have changed. Rings that nobody took yet become one.
func (s *Service) Subscribe(tenant string) (bell <-chan struct{}, cancel func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := make(chan struct{}, 1)
	if s.bells[tenant] == nil {
		s.bells[tenant] = map[chan struct{}]bool{}
	}
	s.bells[tenant][b] = true
	return b, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.bells[tenant], b)
	}
}

// Samples is a piece of a waveform of a cart.
type Samples struct {
	Cart string
	device.Samples
}

// maxWaves is how many pieces wait for a slow page; the next ones are lost to it.
const maxWaves = 64

// Waves gives the waveforms of the live consults in which w takes part, as they come.
func (s *Service) Waves(w Who) (waves <-chan Samples, cancel func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := make(chan Samples, maxWaves)
	s.waves[c] = w
	return c, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.waves, c)
	}
}

func (s *Service) wave(st *station, piece device.Samples) {
	if st.consult == nil || st.consult.Base != Live {
		return
	}
	for c, w := range s.waves {
		if w.Tenant == st.Tenant && st.consult.Member(w.ID) {
			select {
			case c <- Samples{st.Name, piece}:
			default:
			}
		}
	}
}

// settle brings the worklist up to date after a change at st, and tells everyone.
func (s *Service) settle(st *station) {
	state := Offline
	switch {
	case st.conn == nil:
	case st.consult != nil && !st.consult.Over() && st.consult.Base != Calling:
		state = Busy
	default:
		state = Ready
	}
	if state != st.state {
		st.state, st.since = state, s.o.Clock.Now()
	}
	if st.conn != nil {
		st.conn.out.want()
	}
	s.ring(st.Tenant)
}

func (s *Service) ring(tenant string) {
	for b := range s.bells[tenant] {
		select {
		case b <- struct{}{}:
		default:
		}
	}
}

// Observe takes one more item that ingest opened and made durable.
func (s *Service) Observe(ctx context.Context, a Arrival) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.proj.add(a)
	if !c.fresh {
		return
	}
	st := s.station(Cart{Tenant: a.Book.Tenant, Name: a.Book.Cart})
	closed := a.Body.Event != nil && a.Body.Event.What == "closed"
	if (c.rebound || closed) && st.consult != nil && !st.consult.Over() && st.consult.Encounter == c.where.id {
		s.step(ctx, st, Event{Verb: EncounterOver})
	}
	if c.split != nil {
		with := map[string]string{"cart": a.Book.Cart, "encounter": c.split.SplitFrom.String(), "part": c.split.ID.String()}
		s.tellCart(ctx, st, "encounter-split", c.split.ID.String(), with)
		s.tellAll(a.Book.Tenant, "encounter-split", c.split.ID.String(), with)
	}
	if c.patient != nil {
		for _, p := range capture.NameAlert(*c.patient, s.proj.seenSince(a.Book.Tenant, Practice(a.Book.Practice), nil, s.dayAgo())) {
			s.tellCart(ctx, st, "name-alert", a.Item.String()+p.Key(), map[string]string{"encounter": c.where.id.String(), "name": p.Name, "birth_date": p.BirthDate, "id": p.ID})
		}
		for _, other := range s.carts { // their list of today's patients grew
			if other.Tenant == st.Tenant && other.Site == st.Site && other.conn != nil {
				other.conn.out.want()
			}
		}
	}
	if c.corrected != nil {
		s.tellViewers(ctx, a, c)
	}
	s.settle(st)
}

// day is how long a patient counts as today's: wards work through midnight.
const day = 24 * time.Hour

func (s *Service) dayAgo() time.Time { return s.o.Clock.Now().Add(-day) }

func (s *Service) tellViewers(ctx context.Context, a Arrival, c change) {
	viewers, err := s.o.Cabinet.Viewers(ctx, a.Book.Tenant, c.corrected.Item)
	if err != nil {
		s.o.Log.Error("clinic: viewers of a corrected item", "cart", a.Book.Cart, "err", err)
	}
	for _, v := range viewers {
		s.tell(ctx, Recipient{Tenant: a.Book.Tenant, Account: v}, "corrected", a.Item.String(), map[string]string{
			"cart": a.Book.Cart, "encounter": c.of.String(), "item": c.corrected.Item.String(), "reason": c.corrected.Corrected.Reason})
	}
}

// tell keeps a notice. about is what caused it: the same notice for the same cause is one, however often it is told of, so
// that what happened just before a restart can be told again after it.
func (s *Service) tell(ctx context.Context, to Recipient, code, about string, with map[string]string) {
	n := Note{To: to, At: s.o.Clock.Now(), Notice: link.Notice{ID: noticeID(code, about), Code: code, With: with}}
	if err := s.o.Cabinet.Notify(ctx, n); err != nil {
		s.o.Log.Error("clinic: notice not kept", "code", code, "err", err)
	}
}

func noticeID(code, about string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "telecart notice v1\x00%q %q", code, about))
	return ledger.ID(sum[:16]).String()
}

// tellCart sends a notice for the nurse, now or when the cart is back.
func (s *Service) tellCart(ctx context.Context, st *station, code, about string, with map[string]string) {
	s.tell(ctx, Recipient{Tenant: st.Tenant, Cart: st.Name}, code, about, with)
	if st.conn != nil {
		s.deliver(ctx, st)
	}
}

// deliver hands the cart's notices to its link. One that the link drops before it was written comes again over the next.
func (s *Service) deliver(ctx context.Context, st *station) {
	conn := st.conn
	notes, err := s.o.Cabinet.Unseen(ctx, Recipient{Tenant: st.Tenant, Cart: st.Name})
	for _, n := range notes {
		if err != nil || conn.noted[n.ID] {
			continue
		}
		written := context.WithoutCancel(ctx) // stays so, whatever ends meanwhile
		if err = conn.out.pushThen(link.Message{Notice: &n.Notice}, func() { s.delivered(written, conn, n) }); err == nil {
			conn.noted[n.ID] = true
		}
	}
	if err != nil {
		s.o.Log.Warn("clinic: notices wait", "cart", st.Name, "err", err)
	}
}

// delivered notes that a notice was written to its cart's connection.
func (s *Service) delivered(ctx context.Context, conn *connection, n Note) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.o.Cabinet.Seen(ctx, n.To, n.ID); err != nil {
		s.o.Log.Warn("clinic: a notice comes again with the next link", "cart", n.To.Cart, "err", err)
		return
	}
	delete(conn.noted, n.ID)
}

func (s *Service) tellAll(tenant, code, about string, with map[string]string) {
	n := &sharedNote{Note{At: s.o.Clock.Now(), Notice: link.Notice{ID: noticeID(code, about), Code: code, With: with}}, map[string]bool{}}
	if slices.ContainsFunc(s.notes[tenant], func(o *sharedNote) bool { return o.ID == n.ID }) {
		return
	}
	s.notes[tenant] = append(s.notes[tenant], n)
	if extra := len(s.notes[tenant]) - maxShared; extra > 0 {
		s.notes[tenant] = slices.Delete(s.notes[tenant], 0, extra)
	}
}

// Fork reports that a cart's ledger has two continuations: a restored card, or a clone. about names the place.
func (s *Service) Fork(ctx context.Context, c Cart, about string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.station(c)
	if s.problem(st, "ledger-fork") {
		s.tellAll(c.Tenant, "ledger-fork", c.Name+about, map[string]string{"cart": c.Name})
		s.tellCart(ctx, st, "ledger-fork", c.Name+about, map[string]string{"cart": c.Name})
	}
	s.settle(st)
}

// Lost reports that items of a cart were here once and are not any more: receipts that it kept prove it.
func (s *Service) Lost(c Cart, about string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.station(c)
	if s.problem(st, "items-lost") {
		s.tellAll(c.Tenant, "items-lost", c.Name+about, map[string]string{"cart": c.Name})
	}
	s.settle(st)
}

// Settled says that IT has seen what is wrong with a cart's ledger.
func (s *Service) Settled(c Cart) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.station(c)
	st.problems = slices.DeleteFunc(st.problems, func(p string) bool { return p == "ledger-fork" || p == "items-lost" })
	s.settle(st)
}

func (s *Service) problem(st *station, code string) (fresh bool) {
	if slices.Contains(st.problems, code) {
		return false
	}
	st.problems = append(st.problems, code)
	return true
}

// Backed tells every cart how far the backup reaches.
func (s *Service) Backed(w wire.Watermark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.carts {
		if st.conn == nil {
			continue
		}
		if err := st.conn.out.push(link.Message{Water: &w}); err != nil {
			s.o.Log.Info("clinic: a cart hears of the backup when it connects again", "cart", st.Name)
		}
	}
}

// Revoked ends a cart's link and marks it.
func (s *Service) Revoked(c Cart) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.station(c)
	s.problem(st, "revoked")
	if st.conn != nil {
		st.conn.cancel(errRevoked)
	}
	s.settle(st)
}

var errRevoked = errors.New("clinic: the cart's certificate was revoked")

// pendingAct is an act whose result somebody waits for.
type pendingAct struct {
	cart   cartKey
	answer chan steer.ActResult
}
