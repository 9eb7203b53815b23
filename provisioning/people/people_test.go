package people

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"telecart/device/kit"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// cheap keeps tests fast; the vectors below run at real cost.
func cheap() Rules { return Rules{Cost{MemoryKiB: 64, Passes: 1, Lanes: 1}, 12} }

const password = "correct horse battery"

type world struct {
	clock    *kit.Manual
	store    *Memory
	book     *Book
	sessions *Sessions
}

func newWorld(t *testing.T) *world {
	t.Helper()
	clock, store := kit.NewManual(start), NewMemory(100)
	w := &world{clock, store, NewBook(store, clock, cheap()), NewSessions(store, store, clock, DefaultLimits())}
	for _, a := range []Account{
		{Tenant: "st-mary", Name: "nora", Display: "Nora N.", Role: Nurse},
		{Tenant: "st-mary", Name: "sam", Display: "Dr. Sam S.", Role: Specialist},
		{Tenant: "st-john", Name: "nora", Display: "Another Nora", Role: IT},
	} {
		if err := w.book.Add(t.Context(), a, password+a.Tenant); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// The vectors are the reference implementation's (P-H-C/phc-winner-argon2, src/test.c, Argon2id version 0x13).
func TestArgon2idVectors(t *testing.T) {
	for _, v := range []struct{ password, phc string }{
		{"password", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"},
		{"password", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"},
		{"password", "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"},
		{"differentpassword", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$C4TWUs9rDEvq7w3+J4umqA32aWKB1+DSiRuBfYxFj94"},
		{"password", "$argon2id$v=19$m=65536,t=2,p=1$ZGlmZnNhbHQ$vfMrBczELrFdWP0ZsfhWsRPaHppYdP3MVEMIVlqoFBw"},
	} {
		h, err := parseHash(v.phc)
		if err != nil {
			t.Fatal(err)
		}
		if !h.matches(v.password) || h.matches(v.password+"x") || h.String() != v.phc {
			t.Errorf("%s", v.phc)
		}
	}
}

func TestDamagedHashes(t *testing.T) {
	const tail = "$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	for _, s := range []string{
		"", "secret", "$argon2i$v=19$m=64,t=2,p=1" + tail, "$argon2id$v=16$m=64,t=2,p=1" + tail, "$argon2id$v=19$m=64,t=2" + tail,
		"$argon2id$v=19$m=999999999,t=2,p=1" + tail, "$argon2id$v=19$m=64,t=0,p=1" + tail, "$argon2id$v=19$m=64,t=2,p=256" + tail,
		"$argon2id$v=19$m=064,t=2,p=1" + tail, "$argon2id$v=19$m=64,t=2,p=1$!$x", "$argon2id$v=19$m=64,t=2,p=1$$", "$argon2id$v=19$m=64,t=2,p=1" + tail + "$",
		"$argon2id$v=19$m=64,t=2,p=1" + tail + "\n",
	} {
		if _, err := parseHash(s); !errors.Is(err, errHash) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func FuzzHash(f *testing.F) {
	f.Add("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	f.Add("$argon2id$v=19$m=,t=,p=$$")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parseHash(s)
		if err == nil && (h.cost.MemoryKiB > maxMemoryKiB || h.cost.Passes > maxPasses || h.String() != s) {
			t.Fatalf("%q became %q", s, h)
		}
	})
}

func TestSignIn(t *testing.T) {
	w := newWorld(t)
	for name, tc := range map[string]struct {
		tenant, name, password string
		want                   error
	}{
		"right":              {"st-mary", "nora", password + "st-mary", nil},
		"typed with a slip":  {"st-mary", " Nora ", password + "st-mary", nil},
		"wrong":              {"st-mary", "nora", password, ErrSignIn},
		"the other hospital": {"st-john", "nora", password + "st-mary", ErrSignIn},
		"unknown":            {"st-mary", "nobody", password, ErrSignIn},
		"no tenant":          {"", "nora", password, ErrSignIn},
		"empty":              {"st-mary", "nora", "", ErrSignIn},
		"decoy's":            {"st-mary", "nobody", "nobody's password", ErrSignIn},
		"endless":            {"st-mary", "nora", strings.Repeat("x", maxPassword+1), ErrSignIn},
	} {
		a, err := w.book.SignIn(t.Context(), tc.tenant, tc.name, tc.password)
		if !errors.Is(err, tc.want) || (err == nil) != (a.Subject() == Subject{Nurse, "st-mary", "nora"}) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	if err := w.book.SetState(t.Context(), "st-mary", "nora", Disabled); err != nil {
		t.Fatal(err)
	}
	if _, err := w.book.SignIn(t.Context(), "st-mary", "nora", password+"st-mary"); err != ErrSignIn {
		t.Errorf("disabled: %v", err)
	}
}

// Names that exist and names that don't lock alike.
func TestLock(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"nora", "nobody"} {
		try := func(p string, want error) {
			t.Helper()
			if _, err := w.book.SignIn(t.Context(), "st-mary", name, p); !errors.Is(err, want) {
				t.Fatalf("%s: %v, want %v", name, err, want)
			}
		}
		right := error(nil)
		if name == "nobody" {
			right = ErrSignIn
		}
		for range Tries {
			try("wrong", ErrSignIn)
		}
		try(password+"st-mary", ErrLocked)
		w.clock.Advance(Lock - 1)
		_, err := w.book.SignIn(t.Context(), "st-mary", name, password+"st-mary")
		if l := (*LockedError)(nil); !errors.As(err, &l) || !l.Until.Equal(w.clock.Now().Add(1)) {
			t.Fatalf("%s: %v", name, err)
		}
		w.clock.Advance(1)
		try(password+"st-mary", right)
	}
	for range Tries - 1 {
		w.book.SignIn(t.Context(), "st-mary", "nora", "wrong")
	}
	if _, err := w.book.SignIn(t.Context(), "st-mary", "nora", password+"st-mary"); err != nil {
		t.Errorf("the fifth was right: %v", err)
	}
	for range Tries {
		w.book.SignIn(t.Context(), "st-mary", "sam", "wrong")
	}
	if err := w.book.SetPassword(t.Context(), "st-mary", "sam", "another long one"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.book.SignIn(t.Context(), "st-mary", "sam", "another long one"); err != nil {
		t.Errorf("a new password lifts the lock: %v", err)
	}
}

// Guesses at the same moment don't get more than five tries between them.
func TestLockRace(t *testing.T) {
	w := newWorld(t)
	errs := make([]error, 20)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { _, errs[i] = w.book.SignIn(context.Background(), "st-mary", "nora", "wrong") })
	}
	wg.Wait()
	tried := 0
	for _, err := range errs {
		if err == ErrSignIn {
			tried++
		}
	}
	if tried != Tries {
		t.Errorf("%d guesses were looked at, want %d", tried, Tries)
	}
}

func TestUnknownNamesAreBounded(t *testing.T) {
	w := newWorld(t)
	for i := range 2*strangers + 10 {
		w.book.tryUnknown("st-mary", "n"+string(rune('a'+i%26))+time.Duration(i).String())
	}
	if n := len(w.book.unknown); n > strangers {
		t.Errorf("%d names are kept", n)
	}
}

func TestSignInWaitsForItsTurn(t *testing.T) {
	w := newWorld(t)
	for range atOnce {
		if err := w.book.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.book.SignIn(ctx, "st-mary", "nora", password+"st-mary"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestAddRefuses(t *testing.T) {
	w := newWorld(t)
	good := Account{Tenant: "st-mary", Name: "new", Display: "New", Role: Nurse}
	for name, tc := range map[string]struct {
		change   func(*Account)
		password string
		says     string
	}{
		"short":    {func(*Account) {}, "eleven char", "11 characters, want at least 12"},
		"long":     {func(*Account) {}, strings.Repeat("x", 257), "longer than 256"},
		"its name": {func(a *Account) { a.Name = "abcdefghijkl" }, "ABCDEFGHIJKL", "it is the name"},
		"taken":    {func(a *Account) { a.Name = "nora" }, password, "there is an account"},
		"capital":  {func(a *Account) { a.Name = "New" }, password, `name "New"`},
		"nameless": {func(a *Account) { a.Display = "" }, password, "display name"},
		"homeless": {func(a *Account) { a.Tenant = "" }, password, "tenant"},
		"roleless": {func(a *Account) { a.Role = "root" }, password, `role "root"`},
	} {
		a := good
		tc.change(&a)
		if err := w.book.Add(t.Context(), a, tc.password); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", name, err, tc.says)
		}
	}
	if err := w.book.SetRole(t.Context(), "st-mary", "nora", "root"); err == nil {
		t.Error("role root was given")
	}
	if err := w.book.SetState(t.Context(), "st-mary", "nora", "asleep"); err == nil {
		t.Error("state asleep was given")
	}
	if list, err := w.store.List(t.Context(), "st-mary"); err != nil || len(list) != 2 || list[0].Name != "nora" {
		t.Errorf("%+v, %v", list, err)
	}
}

func (w *world) start(t *testing.T, name string) string {
	t.Helper()
	a, err := w.store.Account(t.Context(), "st-mary", name)
	if err != nil {
		t.Fatal(err)
	}
	token, err := w.sessions.Start(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (w *world) check(t *testing.T, token string, want error) Account {
	t.Helper()
	a, err := w.sessions.Check(t.Context(), token)
	if !errors.Is(err, want) {
		t.Fatalf("%v, want %v", err, want)
	}
	return a
}

func TestSessionEnds(t *testing.T) {
	ctx := t.Context()
	for name, tc := range map[string]struct {
		end  func(w *world, token string) error
		want error
	}{
		"idle":     {func(w *world, _ string) error { w.clock.Advance(15 * time.Minute); return nil }, ErrIdle},
		"ended":    {func(w *world, token string) error { return w.sessions.End(ctx, token) }, ErrNoSession},
		"all":      {func(w *world, _ string) error { return w.book.EndSessions(ctx, "st-mary", "nora") }, ErrNoSession},
		"password": {func(w *world, _ string) error { return w.book.SetPassword(ctx, "st-mary", "nora", password) }, ErrNoSession},
		"role":     {func(w *world, _ string) error { return w.book.SetRole(ctx, "st-mary", "nora", IT) }, ErrNoSession},
		"disabled": {func(w *world, _ string) error { return w.book.SetState(ctx, "st-mary", "nora", Disabled) }, ErrNoSession},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			token, other := w.start(t, "nora"), w.start(t, "sam")
			if a := w.check(t, token, nil); a.Role != Nurse {
				t.Fatalf("%+v", a)
			}
			if err := tc.end(w, token); err != nil {
				t.Fatal(err)
			}
			w.check(t, token, tc.want)
			w.check(t, token, ErrNoSession) // for good
			if name != "idle" {
				w.check(t, other, nil)
			}
		})
	}
}

func TestBusySessionLastsTwelveHours(t *testing.T) {
	w := newWorld(t)
	token := w.start(t, "nora")
	for range 12*6 - 1 {
		w.clock.Advance(10 * time.Minute)
		w.check(t, token, nil)
	}
	w.clock.Advance(10 * time.Minute)
	w.check(t, token, ErrTooOld)
}

func TestTokens(t *testing.T) {
	w := newWorld(t)
	token := w.start(t, "nora")
	if other := w.start(t, "nora"); other == token || len(token) != 43 {
		t.Fatalf("%q %q", token, other)
	}
	for h := range w.store.sessions {
		if strings.Contains(string(h[:]), token) {
			t.Error("the token is stored")
		}
	}
	for _, bad := range []string{"", token[:42], token + "A", strings.Repeat("A", 43), strings.Repeat("!", 43), token[:42] + "\n"} {
		w.check(t, bad, ErrNoSession)
		if err := w.sessions.End(t.Context(), bad); err != nil {
			t.Error(err)
		}
	}
	w.check(t, token, nil)
}

func TestSessionsAreBounded(t *testing.T) {
	w := newWorld(t)
	a, err := w.store.Account(t.Context(), "st-mary", "nora")
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		w.start(t, "nora")
	}
	if _, err := w.sessions.Start(t.Context(), a); !errors.Is(err, ErrFull) {
		t.Fatalf("%v", err)
	}
	w.clock.Advance(12 * time.Hour)
	w.check(t, w.start(t, "nora"), nil) // old ones made room
}
