package clinic

import (
	"sync"
	"time"

	"telecart/uplink/link"
)

// reconnect is how long an account without a console may go on watching: a page that lost its connection comes back.
const reconnect = 5 * time.Second

// Attach says that an account has a console open; until detach it is named at the bedside of every consult it is in. Who is
// not named does not watch: soon after the last console went, so do the account's live sessions.
func (s *Service) Attach(tenant, account string) (detach func()) {
	key := tenantID[string]{tenant, account}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count(key, 1)
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.count(key, -1)
	})
}

func (s *Service) count(key tenantID[string], by int) {
	if s.present[key] += by; s.present[key] == 0 {
		delete(s.present, key)
		back := make(chan struct{})
		s.away[key] = back
		go s.expel(key, back, s.o.Clock.After(reconnect))
	} else if back, ok := s.away[key]; ok {
		close(back)
		delete(s.away, key)
	}
	for _, st := range s.carts {
		if st.Tenant == key.tenant && st.consult != nil && !st.consult.Over() && st.consult.Member(key.id) {
			s.settle(st)
		}
	}
}

// expel ends what an account watches, unless it is back in time.
func (s *Service) expel(key tenantID[string], back <-chan struct{}, late <-chan time.Time) {
	select {
	case <-back:
		return
	case <-s.done:
		return
	case <-late:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away[key] == back {
		delete(s.away, key)
		s.unwatch(key)
	}
}

// SignedOut ends what an account watches at once. A console of it that is still signed in elsewhere asks anew.
func (s *Service) SignedOut(tenant, account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unwatch(tenantID[string]{tenant, account})
}

func (s *Service) unwatch(key tenantID[string]) {
	for _, st := range s.carts {
		if st.Tenant == key.tenant && st.consult != nil {
			s.kick(s.o.Tokens.Void(st.consult.ID, Watch, key.id))
			s.hush(st, key.id)
			s.settle(st)
		}
	}
}

// From these percentages on a cart's disk is a problem, and takes no clips any more (cmd/telecartd/agent).
const (
	diskFilling    = 80
	diskNearlyFull = 90
)

// troubles are the codes for IT of what a cart says of its own disk.
func troubles(p link.Presence) (codes []string) {
	for _, t := range []struct {
		is      bool
		trouble string
	}{
		{p.Damage != nil && len(p.Damage.Items)+p.Damage.More > 0, "items-damaged"},
		{p.Damage != nil && p.Damage.Segments > 0, "segments-quarantined"},
		{p.DiskPercent >= diskFilling && p.DiskPercent < diskNearlyFull, "disk-filling"},
		{p.DiskPercent >= diskNearlyFull, "disk-nearly-full"},
	} {
		if t.is {
			codes = append(codes, t.trouble)
		}
	}
	return codes
}

// watchers are the members who see or hear now.
func (s *Service) watchers(st *station) []string {
	out := []string{}
	if st.consult == nil || st.consult.Over() {
		return out
	}
	for _, m := range st.consult.Members {
		if s.present[tenantID[string]{st.Tenant, m.ID}] > 0 {
			out = append(out, m.Name)
		}
	}
	return out
}
