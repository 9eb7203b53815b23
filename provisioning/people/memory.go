package people

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
)

// ErrFull: the store has no room for another account or session.
var ErrFull = errors.New("people: the store is full")

// Memory is Accounts and SessionStore until the end of the process: for tests, demonstrations, and a roster.
type Memory struct {
	mu       sync.Mutex
	max      int
	accounts map[[2]string]Account
	sessions map[[32]byte]Session
}

// NewMemory is an empty store for at most max accounts and max sessions.
func NewMemory(max int) *Memory {
	return &Memory{max: max, accounts: map[[2]string]Account{}, sessions: map[[32]byte]Session{}}
}

func (m *Memory) Account(_ context.Context, tenant, name string) (Account, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.accounts[[2]string{tenant, name}]
	if !ok {
		return Account{}, ErrUnknown
	}
	return a, nil
}

func (m *Memory) AddAccount(_ context.Context, a Account) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := [2]string{a.Tenant, a.Name}
	if _, ok := m.accounts[key]; ok {
		return ErrExists
	}
	if len(m.accounts) >= m.max {
		return ErrFull
	}
	m.accounts[key] = a
	return nil
}

func (m *Memory) ChangeAccount(_ context.Context, tenant, name string, change func(*Account) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := [2]string{tenant, name}
	a, ok := m.accounts[key]
	if !ok {
		return ErrUnknown
	}
	if err := change(&a); err != nil {
		return err
	}
	m.accounts[key] = a
	return nil
}

// List is the tenant's accounts by name.
func (m *Memory) List(_ context.Context, tenant string) ([]Account, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Account
	for key, a := range m.accounts {
		if key[0] == tenant {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(a, b Account) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

func (m *Memory) AddSession(_ context.Context, s Session) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.sessions) >= m.max {
		maps.DeleteFunc(m.sessions, func(_ [32]byte, old Session) bool { return !s.Started.Before(old.Expires) })
	}
	if len(m.sessions) >= m.max {
		return ErrFull
	}
	m.sessions[s.Hash] = s
	return nil
}

func (m *Memory) ChangeSession(_ context.Context, hash [32]byte, change func(*Session) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.sessions[hash]
	if !ok {
		return ErrNoSession
	}
	if err := change(&s); err != nil {
		return err
	}
	m.sessions[hash] = s
	return nil
}

func (m *Memory) DropSession(_ context.Context, hash [32]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.sessions, hash)
	return nil
}
