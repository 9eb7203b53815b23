package people

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"telecart/device/kit"
)

// Why a token doesn't stand for anybody.
var (
	ErrNoSession = errors.New("people: not signed in")
	ErrIdle      = errors.New("people: signed out, nothing was done for too long")
	ErrTooOld    = errors.New("people: signed out, the longest time for one sign-in is over")
)

// Limits end sessions.
type Limits struct {
	Idle     time.Duration // since the last request
	Absolute time.Duration // since the sign-in
}

// DefaultLimits are for the console: 15 min and 12 h.
func DefaultLimits() Limits { return Limits{15 * time.Minute, 12 * time.Hour} }

const tokenBytes = 32

// Sessions remembers who signed in.
type Sessions struct {
	store    SessionStore
	accounts Accounts
	clock    kit.Clock
	limits   Limits
}

// NewSessions keeps sessions of accounts in store.
func NewSessions(store SessionStore, accounts Accounts, clock kit.Clock, limits Limits) *Sessions {
	return &Sessions{store, accounts, clock, limits}
}

// Start begins a session for an account that SignIn returned. The token (43 characters of base64url) is told once; it
// belongs in a cookie that is Secure, HttpOnly and SameSite.
func (s *Sessions) Start(ctx context.Context, a Account) (token string, err error) {
	raw := make([]byte, tokenBytes)
	rand.Read(raw) // never fails (crypto/rand)
	now := s.clock.Now().UTC().Round(0)
	err = s.store.AddSession(ctx, Session{Hash: sha256.Sum256(raw), Tenant: a.Tenant, Name: a.Name, Epoch: a.Epoch,
		Started: now, Seen: now, Expires: now.Add(s.limits.Absolute)})
	if err != nil {
		return "", fmt.Errorf("people: start session: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(raw), nil
}

// Check finds the account behind a token, as it is now, and counts as activity. Errors: ErrNoSession, ErrIdle, ErrTooOld,
// or a store's.
func (s *Sessions) Check(ctx context.Context, token string) (Account, error) {
	hash, err := hashToken(token)
	if err != nil {
		return Account{}, err
	}
	var found Session
	err = s.store.ChangeSession(ctx, hash, func(x *Session) error {
		found = *x
		return s.visit(x, s.clock.Now().UTC().Round(0))
	})
	var account Account
	if err == nil {
		account, err = s.accounts.Account(ctx, found.Tenant, found.Name)
		if errors.Is(err, ErrUnknown) || err == nil && (account.Epoch != found.Epoch || account.State != Active) {
			err = ErrNoSession
		}
	}
	if errors.Is(err, ErrNoSession) || errors.Is(err, ErrIdle) || errors.Is(err, ErrTooOld) {
		err = errors.Join(err, s.store.DropSession(ctx, hash))
	}
	if err != nil {
		return Account{}, err
	}
	return account, nil
}

// visit notes the activity, though not at every request: that would be a disk write each.
func (s *Sessions) visit(x *Session, now time.Time) error {
	switch {
	case !now.Before(x.Expires):
		return ErrTooOld
	case now.Sub(x.Seen) >= s.limits.Idle:
		return ErrIdle
	case now.Sub(x.Seen) >= s.limits.Idle/30:
		x.Seen = now
	}
	return nil
}

// End ends one session; a token that stands for none is fine. Book.EndSessions ends all of an account.
func (s *Sessions) End(ctx context.Context, token string) error {
	hash, err := hashToken(token)
	if err != nil {
		return nil
	}
	return s.store.DropSession(ctx, hash)
}

func hashToken(token string) ([32]byte, error) {
	if len(token) != base64.RawURLEncoding.EncodedLen(tokenBytes) {
		return [32]byte{}, ErrNoSession
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) != tokenBytes {
		return [32]byte{}, ErrNoSession
	}
	return sha256.Sum256(raw), nil
}
