package clinic

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"telecart/capture/ledger"
	"telecart/uplink/link"
)

// memory is Store, Cabinet, Rooms and Greeter.
type memory struct {
	mu       sync.Mutex
	consults map[string]Consult
	viewers  map[ledger.Hash][]string
	notes    []Note
	kicked   []string
	unwanted error
}

func newMemory() *memory {
	return &memory{consults: map[string]Consult{}, viewers: map[ledger.Hash][]string{}}
}

func (m *memory) SaveConsult(_ context.Context, c Consult) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := json.Marshal(c) // what a restart finds is what JSON keeps
	if err != nil {
		return err
	}
	var kept Consult
	m.consults[c.ID] = kept
	err = json.Unmarshal(b, &kept)
	m.consults[c.ID] = kept
	return err
}

func (m *memory) OpenConsults(context.Context) (out []Consult, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.consults {
		if !c.Over() {
			out = append(out, c)
		}
	}
	return out, nil
}

func (m *memory) Viewed(_ context.Context, _, account string, _ time.Time, items []ledger.Hash) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, i := range items {
		m.viewers[i] = append(m.viewers[i], account)
	}
	return nil
}

func (m *memory) Viewers(_ context.Context, _ string, i ledger.Hash) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.viewers[i], nil
}

func (m *memory) Notify(_ context.Context, n Note) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.ContainsFunc(m.notes, func(o Note) bool { return o.To == n.To && o.ID == n.ID }) {
		return nil
	}
	m.notes = append(m.notes, n)
	return nil
}

func (m *memory) Unseen(_ context.Context, to Recipient) (out []Note, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.notes {
		if n.To == to {
			out = append(out, n)
		}
	}
	return out, nil
}

func (m *memory) Seen(_ context.Context, to Recipient, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.notes)
	m.notes = slices.DeleteFunc(m.notes, func(n Note) bool { return n.To == to && n.ID == id })
	if len(m.notes) == n {
		return ErrUnknown
	}
	return nil
}

func (m *memory) KickToken(token string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kicked = append(m.kicked, token)
	return 1
}

func (m *memory) Welcome(context.Context, Cart, link.Hello) (link.Welcome, error) {
	return link.Welcome{Hub: "hub"}, nil
}
func (m *memory) Head(context.Context, Cart, ledger.Head) error { return nil }
func (m *memory) Still(context.Context, Cart) error             { return m.unwanted }
