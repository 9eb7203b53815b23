// Package people is who may sign in, for how long, and who may do what.
//
// Parties: a person with a local account at the hub (or on a cart's roster); Book checks passwords; Sessions remembers
// who signed in; Allow is the one policy function behind every door. Stores are declared here and kept by the caller.
//
// Keys: passwords are kept as Argon2id hashes (RFC 9106, PHC string); a session's 256-bit random token is kept as its
// SHA-256, so that a stolen table opens nothing.
//
// Invariants: an account belongs to one tenant and has one role. An unknown name costs a hash, is answered and
// is locked just like a wrong password. A session ends when idle, when old, when ended, and at once when its account's
// password, role or state changes (Epoch). A tenant never sees another's. IT never sees patient data.
package people

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Role is what a person is here for.
type Role string

const (
	Nurse      Role = "nurse"
	Specialist Role = "specialist"
	IT         Role = "it"
)

// Roles is all of them.
func Roles() []Role { return []Role{Nurse, Specialist, IT} }

// Account is one person at one tenant.
type Account struct {
	Tenant  string
	Name    string // signs in with it: see ValidName; unique in the tenant
	Display string // "Dr. N. Example"
	Role    Role
	Hash    string // PHC string
	State   State
	Epoch   int // counts the changes that end its sessions

	Tries       int       // since the last success or lock
	LockedUntil time.Time // zero: not locked
}

// State says whether an account may be used.
type State string

const (
	Active   State = "active"
	Disabled State = "disabled"
)

// Subject is the account as far as the policy looks at it.
func (a Account) Subject() Subject { return Subject{Role: a.Role, Tenant: a.Tenant, ID: a.Name} }

// Accounts keeps accounts.
type Accounts interface {
	// Account finds one; ErrUnknown if there is none.
	Account(ctx context.Context, tenant, name string) (Account, error)
	// AddAccount adds one; ErrExists if the tenant has one of that name.
	AddAccount(ctx context.Context, a Account) error
	// ChangeAccount applies change in one atomic step, and writes nothing if change returns an error, which it returns.
	// ErrUnknown if there is none. Change may be called more than once.
	ChangeAccount(ctx context.Context, tenant, name string, change func(*Account) error) error
}

// Session is one person at one browser.
type Session struct {
	Hash    [32]byte // SHA-256 of the token
	Tenant  string
	Name    string
	Epoch   int // of the account at the start
	Started time.Time
	Seen    time.Time // to within a thirtieth of the idle limit
	Expires time.Time // however busy: a store may drop it from then on
}

// SessionStore keeps sessions.
type SessionStore interface {
	// AddSession adds one; an error if the store is full.
	AddSession(ctx context.Context, s Session) error
	// ChangeSession applies change in one atomic step: what it returns an error for, or leaves as it was, is not written.
	// ErrNoSession if there is none.
	ChangeSession(ctx context.Context, hash [32]byte, change func(*Session) error) error
	// DropSession removes one; none is fine.
	DropSession(ctx context.Context, hash [32]byte) error
}

var (
	ErrUnknown  = errors.New("people: no such account")
	ErrExists   = errors.New("people: there is an account of that name")
	ErrSignIn   = errors.New("people: name or password is wrong")
	ErrLocked   = errors.New("people: too many tries")
	ErrPassword = errors.New("people: not a usable password")
)

// LockedError says until when. It is ErrLocked.
type LockedError struct{ Until time.Time }

func (e *LockedError) Error() string {
	return fmt.Sprintf("%v: wait until %s", ErrLocked, e.Until.UTC().Format(time.RFC3339))
}
func (e *LockedError) Unwrap() error { return ErrLocked }

const (
	maxName     = 64
	maxDisplay  = 128 // bytes
	maxPassword = 256 // bytes
)

// ValidName says whether s can be signed in with: 1 to 64 of a-z 0-9 . - _ @
func ValidName(s string) bool {
	odd := func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789.-_@", r) }
	return s != "" && len(s) <= maxName && !strings.ContainsFunc(s, odd)
}

func (a Account) validate() error {
	switch {
	case a.Tenant == "":
		return errors.New("people: an account needs a tenant")
	case !ValidName(a.Name):
		return fmt.Errorf("people: name %q: want 1 to %d of a-z 0-9 . - _ @", a.Name, maxName)
	case a.Display == "" || len(a.Display) > maxDisplay:
		return fmt.Errorf("people: the display name must have 1 to %d bytes", maxDisplay)
	}
	return a.Role.validate()
}

func (r Role) validate() error {
	if !slices.Contains(Roles(), r) {
		return fmt.Errorf("people: role %q: want one of %v", r, Roles())
	}
	return nil
}
