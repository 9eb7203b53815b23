package claim

import (
	"context"
	"maps"
	"sync"
	"time"
)

// Memory is a Store that forgets everything at the end of the process. For tests and demonstrations.
type Memory struct {
	mu      sync.Mutex
	records map[[32]byte]Record
}

// NewMemory is an empty store.
func NewMemory() *Memory { return &Memory{records: map[[32]byte]Record{}} }

func (m *Memory) PutClaim(_ context.Context, r Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.records, func(_ [32]byte, old Record) bool { return old.Tenant == r.Tenant && old.Cart == r.Cart })
	m.records[r.SecretHash] = r
	return nil
}

func (m *Memory) Claim(_ context.Context, secretHash [32]byte) (Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.records[secretHash]
	if !ok {
		return Record{}, ErrUnknown
	}
	return r, nil
}

func (m *Memory) BindClaim(_ context.Context, secretHash, key [32]byte, at time.Time) (Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.records[secretHash]
	if !ok {
		return Record{}, ErrUnknown
	}
	if r.Key == [32]byte{} {
		r.Key, r.Redeemed = key, at
		m.records[secretHash] = r
	}
	return r, nil
}
