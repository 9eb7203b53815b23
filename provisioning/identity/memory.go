package identity

import (
	"context"
	"sync"
	"time"
)

// Memory is a Register that forgets everything at the end of the process. For tests and demonstrations.
type Memory struct {
	mu      sync.Mutex
	issued  []Certificate
	serials map[string]bool
	carts   map[[2]string]time.Time
}

// NewMemory is an empty register.
func NewMemory() *Memory {
	return &Memory{serials: map[string]bool{}, carts: map[[2]string]time.Time{}}
}

func (m *Memory) Issued(_ context.Context, c Certificate) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.issued = append(m.issued, c)
	return nil
}

func (m *Memory) Revoked(_ context.Context, c Certificate) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, ok := m.carts[[2]string{c.Tenant, c.Cart}]
	return m.serials[c.Serial] || ok && !c.Issued.After(at), nil
}

// All is every certificate issued, oldest first.
func (m *Memory) All() []Certificate {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Certificate(nil), m.issued...)
}

// Revoke takes back one certificate.
func (m *Memory) Revoke(serial string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.serials[serial] = true
}

// RevokeCart takes back all that the cart got up to and including at, an unused claim too.
func (m *Memory) RevokeCart(tenant, cart string, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.carts[[2]string{tenant, cart}] = at
}
