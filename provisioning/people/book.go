package people

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"telecart/device/kit"
)

// Tries are how many wrong passwords lock a name, for Lock.
const (
	Tries = 5
	Lock  = 5 * time.Minute
)

// atOnce bounds the memory that sign-ins can take: each holds Cost.MemoryKiB.
const atOnce = 2

// strangers is how many unknown names are counted at a time.
const strangers = 4096

// Rules are what a Book asks of passwords.
type Rules struct {
	Cost      Cost
	MinLength int // characters
}

// DefaultRules: OWASP's Argon2id minimum (19 MiB, 2 passes), which a Pi 4 bears too; 12 characters.
func DefaultRules() Rules { return Rules{Cost{MemoryKiB: 19 << 10, Passes: 2, Lanes: 1}, 12} }

// Book opens and changes accounts, and checks passwords.
type Book struct {
	accounts Accounts
	clock    kit.Clock
	rules    Rules
	decoy    hashed
	slots    chan struct{}

	mu      sync.Mutex
	unknown map[[2]string]Account // tries for names that don't exist: their lock must look like the others'
}

// NewBook works on accounts by clock under rules.
func NewBook(accounts Accounts, clock kit.Clock, rules Rules) *Book {
	return &Book{accounts: accounts, clock: clock, rules: rules, decoy: newHash("nobody's password", rules.Cost),
		slots: make(chan struct{}, atOnce), unknown: map[[2]string]Account{}}
}

// Add opens an active account with the given password. Errors: ErrExists, ErrPassword, or what is wrong with a.
func (b *Book) Add(ctx context.Context, a Account, password string) error {
	if err := a.validate(); err != nil {
		return err
	}
	hash, err := b.hash(ctx, a.Name, password)
	if err != nil {
		return err
	}
	return b.accounts.AddAccount(ctx, Account{Tenant: a.Tenant, Name: a.Name, Display: a.Display, Role: a.Role, Hash: hash, State: Active})
}

// SetPassword replaces the password, lifts a lock, and ends all sessions.
func (b *Book) SetPassword(ctx context.Context, tenant, name, password string) error {
	hash, err := b.hash(ctx, name, password)
	if err != nil {
		return err
	}
	return b.change(ctx, tenant, name, func(a *Account) { a.Hash, a.Tries, a.LockedUntil = hash, 0, time.Time{} })
}

// SetRole gives the account another role and ends all its sessions.
func (b *Book) SetRole(ctx context.Context, tenant, name string, r Role) error {
	if err := r.validate(); err != nil {
		return err
	}
	return b.change(ctx, tenant, name, func(a *Account) { a.Role = r })
}

// SetState disables the account or makes it active again, and ends all its sessions.
func (b *Book) SetState(ctx context.Context, tenant, name string, s State) error {
	if s != Active && s != Disabled {
		return fmt.Errorf("people: state %q: want %s or %s", s, Active, Disabled)
	}
	return b.change(ctx, tenant, name, func(a *Account) { a.State = s })
}

// EndSessions ends all sessions of the account.
func (b *Book) EndSessions(ctx context.Context, tenant, name string) error {
	return b.change(ctx, tenant, name, func(*Account) {})
}

func (b *Book) change(ctx context.Context, tenant, name string, change func(*Account)) error {
	return b.accounts.ChangeAccount(ctx, tenant, name, func(a *Account) error {
		change(a)
		a.Epoch++
		return nil
	})
}

func (b *Book) hash(ctx context.Context, name, password string) (string, error) {
	n := utf8.RuneCountInString(password)
	switch {
	case n < b.rules.MinLength:
		return "", fmt.Errorf("%w: it has %d characters, want at least %d", ErrPassword, n, b.rules.MinLength)
	case len(password) > maxPassword:
		return "", fmt.Errorf("%w: it is longer than %d bytes", ErrPassword, maxPassword)
	case strings.EqualFold(password, name):
		return "", fmt.Errorf("%w: it is the name", ErrPassword)
	}
	if err := b.enter(ctx); err != nil {
		return "", err
	}
	defer b.leave()
	return newHash(password, b.rules.Cost).String(), nil
}

func (b *Book) enter(ctx context.Context) error {
	select {
	case b.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("people: %w", ctx.Err())
	}
}

func (b *Book) leave() { <-b.slots }

// SignIn checks a password. Errors: ErrSignIn (which of the two was wrong is not told), *LockedError, or the store's.
// The try is counted before the password is looked at, so that guesses made at the same moment count too.
func (b *Book) SignIn(ctx context.Context, tenant, name, password string) (Account, error) {
	name = strings.ToLower(strings.TrimSpace(name))
	if tenant == "" || len(tenant) > maxName || !ValidName(name) || len(password) > maxPassword {
		return Account{}, ErrSignIn
	}
	var account Account
	err := b.accounts.ChangeAccount(ctx, tenant, name, func(a *Account) error {
		err := a.try(b.clock.Now())
		account = *a
		return err
	})
	known := err == nil
	if errors.Is(err, ErrUnknown) {
		err = b.tryUnknown(tenant, name)
	}
	if err != nil {
		return Account{}, err
	}
	if err := b.enter(ctx); err != nil {
		return Account{}, err
	}
	defer b.leave()
	hash := b.decoy
	if known {
		if hash, err = parseHash(account.Hash); err != nil {
			return Account{}, err
		}
	}
	if !hash.matches(password) || !known || account.State != Active {
		return Account{}, ErrSignIn
	}
	signedIn := account.Hash
	err = b.accounts.ChangeAccount(ctx, tenant, name, func(a *Account) error {
		if a.Hash != signedIn || a.State != Active {
			return ErrSignIn // changed meanwhile
		}
		a.Tries, a.LockedUntil = 0, time.Time{}
		account = *a
		return nil
	})
	if err != nil {
		return Account{}, err
	}
	return account, nil
}

// try counts one try. The last one allowed already sets the lock, which a right password lifts again.
func (a *Account) try(now time.Time) error {
	if now.Before(a.LockedUntil) {
		return &LockedError{a.LockedUntil}
	}
	a.LockedUntil = time.Time{}
	if a.Tries++; a.Tries >= Tries {
		a.Tries, a.LockedUntil = 0, now.Add(Lock).UTC().Round(0)
	}
	return nil
}

func (b *Book) tryUnknown(tenant, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.unknown) >= strangers {
		clear(b.unknown) // whoever made up that many names has learned enough to be noticed by other means
	}
	key := [2]string{tenant, name}
	a := b.unknown[key]
	err := a.try(b.clock.Now())
	b.unknown[key] = a
	return err
}
