package claim

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"telecart/device/kit"
)

// Why a claim is refused.
var (
	ErrUnknown = errors.New("claim: unknown claim, or not this cart's: check that the code is the newest one for this cart")
	ErrUsed    = errors.New("claim: already used by another cart's key: issue a new claim, and find out who used this one")
	ErrExpired = errors.New("claim: expired: issue a new claim")
)

// Life is how long a claim is good for by default, MaxLife the longest.
const (
	Life    = 7 * 24 * time.Hour
	MaxLife = 30 * 24 * time.Hour
)

// Record is what the hub remembers of a claim.
type Record struct {
	SecretHash [32]byte // its name
	Tenant     string
	Cart       string
	Issued     time.Time
	Expires    time.Time
	Key        [32]byte  // SHA-256 of the public key (PKIX DER) that redeemed it; zero: nobody yet
	Redeemed   time.Time // when Key came first
}

// Store keeps records durably.
type Store interface {
	// PutClaim adds a record and removes any other of the same tenant and cart.
	PutClaim(ctx context.Context, r Record) error
	// Claim finds a record; ErrUnknown if there is none.
	Claim(ctx context.Context, secretHash [32]byte) (Record, error)
	// BindClaim sets Key and Redeemed if Key is zero, in one atomic step, and returns the record as it then is.
	BindClaim(ctx context.Context, secretHash, key [32]byte, at time.Time) (Record, error)
}

// Registry is the hub's half.
type Registry struct {
	store Store
	clock kit.Clock
}

// NewRegistry works on store by clock.
func NewRegistry(store Store, clock kit.Clock) *Registry { return &Registry{store, clock} }

// Issue completes terms (all fields but Secret and Expires) to a claim that ends after life, and records it.
// An older claim of the same cart is void from then on.
func (r *Registry) Issue(ctx context.Context, terms Claim, life time.Duration) (Claim, error) {
	if life <= 0 || life > MaxLife {
		return Claim{}, fmt.Errorf("claim: a life of %v: want more than 0 and at most %v", life, MaxLife)
	}
	now := r.clock.Now().UTC()
	c := terms
	c.Expires = now.Add(life).Truncate(time.Second)
	rand.Read(c.Secret[:]) // never fails (crypto/rand)
	if err := c.Validate(); err != nil {
		return Claim{}, err
	}
	rec := Record{SecretHash: c.Secret.Hash(), Tenant: c.Tenant, Cart: c.Cart, Issued: now, Expires: c.Expires}
	if err := r.store.PutClaim(ctx, rec); err != nil {
		return Claim{}, fmt.Errorf("claim: issue: %w", err)
	}
	return c, nil
}

// Redeem trades a secret for the right of key (SHA-256 of its PKIX DER) to be cart. The same key may redeem again until
// the claim expires. Errors: ErrUnknown, ErrExpired, ErrUsed, or the store's.
func (r *Registry) Redeem(ctx context.Context, cart string, s Secret, key [32]byte) (Record, error) {
	if key == [32]byte{} {
		return Record{}, errors.New("claim: redeem: no key")
	}
	rec, err := r.store.Claim(ctx, s.Hash())
	if err != nil {
		return Record{}, fmt.Errorf("claim: redeem: %w", err)
	}
	now := r.clock.Now()
	switch {
	case rec.Cart != cart:
		return Record{}, ErrUnknown
	case !now.Before(rec.Expires):
		return Record{}, ErrExpired
	}
	rec, err = r.store.BindClaim(ctx, rec.SecretHash, key, now.UTC())
	if err != nil {
		return Record{}, fmt.Errorf("claim: redeem: %w", err)
	}
	if rec.Key != key {
		return Record{}, ErrUsed
	}
	return rec, nil
}
