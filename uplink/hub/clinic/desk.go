package clinic

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device"
	"telecart/uplink/link"
	"telecart/uplink/steer"
)

// Stream tokens live for some minutes; a publisher's is renewed in good time.
const (
	publishLife  = 15 * time.Minute
	publishRenew = 5 * time.Minute
	watchLife    = 5 * time.Minute
)

type publishing struct {
	token string
	ends  time.Time
}

// Who is somebody of a tenant at the console.
type Who struct {
	Tenant string
	Person
}

// desired is all that the hub wants of the cart; nil when the connection is not the present one any more.
func (s *Service) desired(st *station, conn *connection) *link.Desired {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.conn != conn {
		return nil
	}
	d := &link.Desired{}
	practice := Practice(st.presence.Practice)
	if e := st.presence.Encounter; e != nil {
		as := recordedAs{ledger.Book{Tenant: st.Tenant, Cart: st.Name, Practice: bool(practice)}, e.ID}
		if part, ok := s.proj.latest(as); ok && part.Patient != nil {
			d.Patient = &link.PatientOf{Encounter: e.ID, Patient: *part.Patient}
		}
	}
	if conn.met {
		d.Today = s.proj.seenSince(st.Tenant, practice, s.sameSite(st), s.dayAgo())
		d.Today = d.Today[:min(len(d.Today), maxToday)]
	}
	if c := st.consult; c != nil && !c.Over() && c.Base != Calling {
		d.Consult = &link.Consult{ID: c.ID, Encounter: c.Encounter, By: c.By.Name, Accepted: c.Touched, Paused: c.Base == Paused || c.Base == Waiting,
			Since: c.Since, Watchers: s.watchers(st), Publish: s.publish(st), Hear: s.hear(st)}
	}
	if !conn.fresh(d) {
		return nil
	}
	st.desired = max(st.desired+1, uint64(s.o.Clock.Now().UnixMilli())) // rises over a restart of the hub too
	d.Seq = st.desired
	return d
}

// maxToday bounds the list for the name alert: it fits one message many times.
const maxToday = 500

// fresh says whether this is not what the cart was told last.
func (c *connection) fresh(d *link.Desired) bool {
	b, err := json.Marshal(d)
	if err != nil || string(b) == c.told {
		return false
	}
	c.told = string(b)
	return true
}

func (s *Service) sameSite(st *station) map[string]bool {
	out := map[string]bool{}
	for _, o := range s.carts {
		if o.Tenant == st.Tenant && o.Site == st.Site {
			out[o.Name] = true
		}
	}
	return out
}

// publish is a stream for every camera and microphone while somebody who takes part in a live consult is there to see and hear: a
// lens that nobody looks through is off.
func (s *Service) publish(st *station) []link.Stream {
	out := []link.Stream{}
	if st.consult.Base != Live || len(s.watchers(st)) == 0 {
		return out
	}
	now := s.o.Clock.Now()
	for _, i := range append(cameras(st.presence), microphones(st.presence)...) {
		stream := StreamName(st.Tenant, st.Name, i)
		p, ok := st.streams[stream]
		if !ok || p.ends.Sub(now) < publishRenew {
			p = publishing{s.o.Tokens.Issue(st.consult.ID, stream, Publish, "", publishLife), now.Add(publishLife)}
			st.streams[stream] = p
		}
		out = append(out, link.Stream{Instrument: i, Endpoint: whip(stream), Token: p.token})
	}
	return out
}

func cameras(p link.Presence) (names []string) {
	for _, i := range p.Instruments {
		if i.Kind == device.KindCamera && i.Health.State != device.Absent {
			names = append(names, i.Name)
		}
	}
	return names
}

// Offer asks the nurse of a cart for a consult, or answers her call, which makes it live at once.
func (s *Service) Offer(ctx context.Context, w Who, cart string) (id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.find(w.Tenant, cart)
	if err != nil {
		return "", err
	}
	if c := st.consult; c != nil && !c.Over() {
		if err := s.step(ctx, st, Event{Offer, w.Person}); err != nil {
			return "", err
		}
		s.settle(st)
		return c.ID, nil
	}
	switch {
	case st.conn == nil:
		return "", ErrOffline
	case st.presence.Encounter == nil:
		return "", ErrNoEncounter
	}
	c := NewOffer(ledger.NewID().String(), st.Tenant, st.Name, st.presence.Encounter.ID, w.Person, s.o.Clock.Now())
	c.Practice = st.presence.Practice
	st.consult = &c
	s.save(ctx, c)
	s.settle(st)
	return c.ID, nil
}

// Do is a specialist's Join, Leave or Close.
func (s *Service) Do(ctx context.Context, w Who, consult string, v Verb) error {
	if v != Join && v != Leave && v != Close {
		return ErrNoTouch
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.consult(w.Tenant, consult)
	if err != nil {
		return err
	}
	if err := s.step(ctx, st, Event{v, w.Person}); err != nil {
		return err
	}
	s.settle(st)
	return nil
}

func (s *Service) find(tenant, cart string) (*station, error) {
	if st := s.carts[cartKey{tenant, cart}]; st != nil {
		return st, nil
	}
	return nil, fmt.Errorf("%w: cart %q", ErrUnknown, cart)
}

func (s *Service) consult(tenant, id string) (*station, error) {
	for _, st := range s.carts {
		if st.Tenant == tenant && st.consult != nil && st.consult.ID == id {
			return st, nil
		}
	}
	return nil, fmt.Errorf("%w: consult %q", ErrUnknown, id)
}

// WatchStream lets a member of a live consult watch one of its cameras, or hear one of its voices: a WHEP address and a token for some minutes.
func (s *Service) WatchStream(w Who, consult, instrument string) (endpoint, token string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.consult(w.Tenant, consult)
	switch {
	case err != nil:
		return "", "", err
	case !st.consult.Member(w.ID):
		return "", "", ErrMember
	case st.consult.Base != Live:
		return "", "", fmt.Errorf("%w: it is %s", ErrNotNow, st.consult.Phase())
	case !slices.Contains(cameras(st.presence), instrument) && !s.hears(st, instrument):
		return "", "", fmt.Errorf("%w: nothing called %q is there", ErrUnknown, instrument)
	}
	stream := StreamName(st.Tenant, st.Name, instrument)
	return whep(stream), s.o.Tokens.Issue(consult, stream, Watch, w.ID, watchLife), nil
}

// steerable is the link of a cart in whose live consult w takes part.
func (s *Service) steerable(w Who, cart string) (*station, error) {
	st, err := s.find(w.Tenant, cart)
	switch {
	case err != nil:
		return nil, err
	case st.consult == nil || !st.consult.Member(w.ID):
		return nil, ErrMember
	case st.conn == nil:
		return nil, ErrOffline
	case st.consult.Base != Live:
		return nil, fmt.Errorf("%w: it is %s", ErrNotNow, st.consult.Phase())
	}
	return st, nil
}

// Lease asks the cart for the right to steer, Release gives it back. Whether it was granted shows in the cart's leases.
func (s *Service) Lease(w Who, cart, instrument string) error {
	return s.pass(w, cart, link.Message{Lease: &steer.Request{Instrument: instrument, Who: w.ID, WhoName: w.Name}})
}

func (s *Service) Release(w Who, cart, instrument string) error {
	return s.pass(w, cart, link.Message{Release: &steer.Request{Instrument: instrument, Who: w.ID, WhoName: w.Name}})
}

func (s *Service) pass(w Who, cart string, m link.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.steerable(w, cart)
	if err != nil {
		return err
	}
	return st.conn.out.push(m)
}

// Steer passes a setpoint on. It is gone after SetpointLife, or when the next one comes.
func (s *Service) Steer(w Who, cart string, p steer.Setpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.steerable(w, cart)
	if err != nil {
		return err
	}
	p.Who = w.ID
	if p.AtMS == 0 {
		p.AtMS = s.onCart(st, p.Instrument)
	}
	return st.conn.out.steer(p)
}

// onCart is this moment on the cart's steady clock, by the lease it told last (steer.Setpoint.AtMS); 0 without one. It lets
// the cart see how long something sat in the network between hub and cart.
func (s *Service) onCart(st *station, instrument string) int64 {
	for _, l := range st.presence.Leases {
		if l.Instrument == instrument && l.NowMS != 0 {
			return l.NowMS + s.o.Clock.Now().Sub(st.said).Milliseconds()
		}
	}
	return 0
}

// ActLife is how long an act may still be carried out, and the answer is waited for a little longer.
const (
	ActLife  = 5 * time.Second
	actGrace = 10 * time.Second // to take a still, seal it and say so
	maxActs  = 256
)

// Act asks the cart to do something once and waits for what became of it.
func (s *Service) Act(ctx context.Context, w Who, cart string, a steer.Act) (steer.ActResult, error) {
	a.ID, a.Who, a.TTLMS = rand.Text(), w.ID, ActLife.Milliseconds()
	answer := make(chan steer.ActResult, 1)
	if err := s.begin(w, cart, a, answer); err != nil {
		return steer.ActResult{}, err
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.acts, a.ID)
	}()
	select {
	case r := <-answer:
		return r, nil
	case <-s.o.Clock.After(ActLife + actGrace):
		return steer.ActResult{}, ErrLate
	case <-ctx.Done():
		return steer.ActResult{}, ctx.Err()
	}
}

func (s *Service) begin(w Who, cart string, a steer.Act, answer chan steer.ActResult) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.steerable(w, cart)
	if err != nil {
		return err
	}
	if len(s.acts) >= maxActs {
		return ErrBusy
	}
	if a.AtMS == 0 {
		a.AtMS = s.onCart(st, a.Instrument)
	}
	if err := st.conn.out.push(link.Message{Act: &a}); err != nil {
		return err
	}
	s.acts[a.ID] = pendingAct{cartKey{w.Tenant, cart}, answer}
	return nil
}

// CartView is one line of the worklist.
type CartView struct {
	Cart
	State     CartState
	Since     time.Time
	Version   string
	Presence  link.Presence
	Encounter *Encounter // open at the cart, as far as it has arrived
	Consult   *Consult   // present, or over for less than a minute
	Watchers  []string
	Cameras   []string
	Sounds    []string // microphones
	Voices    []Voice  // of members
	Problems  []string
}

// endedShows is how long the end of a consult is shown.
const endedShows = time.Minute

// Carts is the worklist of a tenant, by name.
func (s *Service) Carts(tenant string) []CartView {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []CartView
	for _, st := range s.carts {
		if st.Tenant != tenant {
			continue
		}
		v := CartView{Cart: st.Cart, State: st.state, Since: st.since, Version: st.version, Presence: st.presence,
			Watchers: s.watchers(st), Cameras: cameras(st.presence), Sounds: microphones(st.presence), Voices: s.voices(st),
			Problems: append(slices.Clone(st.problems), troubles(st.presence)...)}
		if c := st.consult; c != nil && (!c.Over() || s.o.Clock.Now().Sub(c.Since) < endedShows) {
			shown := *c
			v.Consult = &shown
		}
		if e := st.presence.Encounter; e != nil {
			part := begun(st)
			if arrived, ok := s.proj.latest(recordedAs{part.Book, e.ID}); ok {
				part = arrived
			}
			v.Encounter = &part
		}
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b CartView) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// begun is the cart's open encounter before anything of it arrived.
func begun(st *station) Encounter {
	e := st.presence.Encounter
	return Encounter{ID: e.ID, Recorded: e.ID, Opened: e.Opened, Book: ledger.Book{Tenant: st.Tenant, Cart: st.Name, Practice: st.presence.Practice}}
}

// Encounter is one encounter with all that arrived, and today's other patients who could be taken for its patient.
func (s *Service) Encounter(tenant string, id ledger.ID) (e Encounter, alike []capture.Patient, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.proj.encounter(tenant, id)
	for _, st := range s.carts { // open, and nothing of it has arrived yet
		if p := st.presence; !ok && st.Tenant == tenant && p.Encounter != nil && p.Encounter.ID == id {
			e, ok = begun(st), true
		}
	}
	if !ok {
		return e, nil, fmt.Errorf("%w: encounter %s", ErrUnknown, id)
	}
	if e.Patient != nil {
		for _, p := range s.proj.seenSince(tenant, Practice(e.Book.Practice), nil, s.dayAgo()) {
			if capture.Alike(*e.Patient, p) {
				alike = append(alike, p)
			}
		}
	}
	return e, alike, nil
}

// Item is one item as corrected.
func (s *Service) Item(tenant string, id ledger.Hash) (Item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, _ := s.proj.find(tenant, id)
	if i == nil {
		return Item{}, fmt.Errorf("%w: item %s", ErrUnknown, id)
	}
	return *i, nil
}

// Viewed records that w was shown the items.
func (s *Service) Viewed(ctx context.Context, w Who, items ...ledger.Hash) error {
	return s.o.Cabinet.Viewed(ctx, w.Tenant, w.ID, s.o.Clock.Now(), items)
}

// Notices are what w was not yet told, or did not dismiss.
func (s *Service) Notices(ctx context.Context, w Who) ([]link.Notice, error) {
	own, err := s.o.Cabinet.Unseen(ctx, Recipient{Tenant: w.Tenant, Account: w.ID})
	out := []link.Notice{}
	for _, n := range own {
		out = append(out, n.Notice)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.notes[w.Tenant] {
		if !n.dismissed[w.ID] {
			out = append(out, n.Notice)
		}
	}
	return out, err
}

// Dismiss takes a notice away from w.
func (s *Service) Dismiss(ctx context.Context, w Who, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.ring(w.Tenant)
	for _, n := range s.notes[w.Tenant] {
		if n.ID == id {
			n.dismissed[w.ID] = true
			return nil
		}
	}
	own := Recipient{Tenant: w.Tenant, Account: w.ID}
	unseen, err := s.o.Cabinet.Unseen(ctx, own)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(unseen, func(n Note) bool { return n.ID == id }) {
		return fmt.Errorf("%w: notice", ErrUnknown)
	}
	return s.o.Cabinet.Seen(ctx, own, id)
}

// Members are the accounts in the consult of a cart, or with an id; the other is "". Nobody when there is none.
func (s *Service) Members(tenant, cart, consult string) (accounts []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.find(tenant, cart)
	if consult != "" {
		st, err = s.consult(tenant, consult)
	}
	if err != nil || st.consult == nil || st.consult.Over() {
		return nil
	}
	for _, m := range st.consult.Members {
		accounts = append(accounts, m.ID)
	}
	return accounts
}
