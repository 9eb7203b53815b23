package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/provisioning/claim"
	"telecart/provisioning/identity"
	"telecart/provisioning/people"
	"telecart/uplink/wire"
)

var (
	start = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	ctx   = context.Background()
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(ctx, dir, Options{Clock: kit.NewManual(start)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestClaims(t *testing.T) {
	s := open(t, t.TempDir())
	clock := kit.NewManual(start)
	r := claim.NewRegistry(s.Claims(), clock)
	terms := claim.Claim{HubAddress: "203.0.113.7:443", HubName: "hub.example", Tenant: "north", Cart: "cart-7", RootHash: [32]byte{1}, KeysRoot: [32]byte{2}}
	old, err := r.Issue(ctx, terms, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Issue(ctx, terms, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	a, b := [32]byte{1}, [32]byte{2}
	for _, x := range []struct {
		secret claim.Secret
		key    [32]byte
		want   error
	}{{old.Secret, a, claim.ErrUnknown}, {c.Secret, a, nil}, {c.Secret, a, nil}, {c.Secret, b, claim.ErrUsed}} {
		rec, err := r.Redeem(ctx, "cart-7", x.secret, x.key)
		if !errors.Is(err, x.want) {
			t.Fatalf("%v, want %v", err, x.want)
		}
		want := claim.Record{SecretHash: c.Secret.Hash(), Tenant: "north", Cart: "cart-7", Issued: start, Expires: c.Expires, Key: a, Redeemed: start}
		if err == nil && rec != want {
			t.Fatalf("%+v, want %+v", rec, want)
		}
	}
	if _, err := s.Claims().BindClaim(ctx, [32]byte{9}, a, start); !errors.Is(err, claim.ErrUnknown) {
		t.Fatal(err)
	}
}

func TestPeople(t *testing.T) {
	s := open(t, t.TempDir())
	clock := kit.NewManual(start)
	p := s.People()
	book := people.NewBook(p, clock, people.Rules{Cost: people.Cost{MemoryKiB: 64, Passes: 1, Lanes: 1}, MinLength: 4})
	sessions := people.NewSessions(p, p, clock, people.DefaultLimits())
	nurse := people.Account{Tenant: "north", Name: "nora", Display: "Nora N.", Role: people.Nurse}
	if err := book.Add(ctx, nurse, "right password"); err != nil {
		t.Fatal(err)
	}
	if err := book.Add(ctx, nurse, "right password"); !errors.Is(err, people.ErrExists) {
		t.Fatal(err)
	}
	if _, err := p.Account(ctx, "south", "nora"); !errors.Is(err, people.ErrUnknown) {
		t.Fatal(err)
	}
	for range people.Tries - 1 {
		if _, err := book.SignIn(ctx, "north", "nora", "wrong"); !errors.Is(err, people.ErrSignIn) {
			t.Fatal(err)
		}
	}
	a, err := book.SignIn(ctx, "north", "nora", "right password")
	if err != nil {
		t.Fatal(err)
	}
	if kept, err := p.Account(ctx, "north", "nora"); err != nil || kept != a || a.Tries != 0 {
		t.Fatalf("%+v %v", kept, err)
	}
	token, err := sessions.Start(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		clock.Advance(10 * time.Minute)
		if got, err := sessions.Check(ctx, token); err != nil || got != a {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	clock.Advance(15 * time.Minute)
	if _, err := sessions.Check(ctx, token); !errors.Is(err, people.ErrIdle) {
		t.Fatal(err)
	}
	if _, err := sessions.Check(ctx, token); !errors.Is(err, people.ErrNoSession) {
		t.Fatal(err)
	}
	if err := book.SetState(ctx, "north", "nobody", people.Disabled); !errors.Is(err, people.ErrUnknown) {
		t.Fatal(err)
	}
	if list, err := p.List(ctx, "north"); err != nil || len(list) != 1 || list[0] != a {
		t.Fatalf("%+v %v", list, err)
	}
	for range people.Tries {
		book.SignIn(ctx, "north", "nora", "wrong")
	}
	var locked *people.LockedError
	if _, err := book.SignIn(ctx, "north", "nora", "right password"); !errors.As(err, &locked) || !locked.Until.Equal(clock.Now().Add(people.Lock)) {
		t.Fatal(err)
	}
}

func TestCarts(t *testing.T) {
	s := open(t, t.TempDir())
	r := s.Register()
	c := identity.Certificate{Tenant: "north", Cart: "cart-1", Serial: "0a", Key: [32]byte{7}, Issued: start, Expires: start.Add(time.Hour)}
	renewed := c
	renewed.Serial, renewed.Issued = "0b", start.Add(time.Minute)
	for _, x := range []identity.Certificate{c, renewed} {
		if err := r.Issued(ctx, x); err != nil {
			t.Fatal(err)
		}
	}
	revoked := func(x identity.Certificate, want bool) {
		t.Helper()
		if got, err := r.Revoked(ctx, x); err != nil || got != want {
			t.Fatalf("%s: %t, %v", x.Serial, got, err)
		}
	}
	revoked(c, false)
	if err := s.Revoke(ctx, "north", "cart-1", "0a", start); err != nil {
		t.Fatal(err)
	}
	if err := s.Revoke(ctx, "south", "cart-1", "0a", start); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	revoked(c, true)
	revoked(renewed, false)
	if err := s.RevokeCart(ctx, "north", "cart-1", renewed.Issued); err != nil {
		t.Fatal(err)
	}
	revoked(renewed, true)
	claimed := identity.Certificate{Tenant: "north", Cart: "cart-1", Issued: renewed.Issued.Add(1)}
	revoked(claimed, false)
	if err := s.RevokeCart(ctx, "north", "cart-2", start); err != nil { // not enrolled yet
		t.Fatal(err)
	}
	revoked(identity.Certificate{Tenant: "north", Cart: "cart-2", Issued: start}, true)

	if err := errors.Join(s.SetSite(ctx, "north", "cart-1", "hill"), s.Seen(ctx, "north", "cart-1", start), s.Seen(ctx, "north", "cart-1", start.Add(-1))); err != nil {
		t.Fatal(err)
	}
	if err := s.SetSite(ctx, "south", "cart-1", "x"); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	want := Cart{Tenant: "north", Cart: "cart-1", Site: "hill", Serial: "0b", Revoked: renewed.Issued, Enrolled: start, LastSeen: start}
	if got, err := s.Cart(ctx, "north", "cart-1"); err != nil || got != want {
		t.Fatalf("%+v %v", got, err)
	}
	if got, err := s.Carts(ctx, "north"); err != nil || len(got) != 2 {
		t.Fatalf("%+v %v", got, err)
	}
}

func TestAudit(t *testing.T) {
	s := open(t, t.TempDir())
	for n := range 3 {
		e, err := s.AppendAudit(ctx, "north", func(number uint64, before AuditEvent) (AuditEvent, error) {
			if int(number) != n || n > 0 && int(before.Number) != n-1 {
				t.Fatalf("%d after %+v", number, before)
			}
			return AuditEvent{At: start, Who: "nora", Action: "view", JSON: fmt.Appendf(nil, `{"n":%d}`, n)}, nil
		})
		if err != nil || int(e.Number) != n {
			t.Fatalf("%+v %v", e, err)
		}
	}
	if _, err := s.AppendAudit(ctx, "north", func(uint64, AuditEvent) (AuditEvent, error) { return AuditEvent{}, errors.New("no") }); err == nil {
		t.Fatal("no error")
	}
	got, err := s.Audit(ctx, "north", 1, 10)
	want := []AuditEvent{{1, start, "nora", "view", []byte(`{"n":1}`)}, {2, start, "nora", "view", []byte(`{"n":2}`)}}
	if err != nil || cmp.Diff(want, got) != "" {
		t.Fatal(err, cmp.Diff(want, got))
	}
	if got, err := s.Audit(ctx, "south", 0, 10); err != nil || len(got) != 0 {
		t.Fatal(got, err)
	}
}

// sealed is an item that only looks sealed: the store opens nothing.
func sealed(t *testing.T, chunks int) (wire.Manifest, wire.Header, [][]byte) {
	t.Helper()
	w := wire.Wrap{Tenant: "north", Cart: "cart-1", Encounter: ledger.NewID(), Run: ledger.NewID()}
	h := wire.Header{Suite: wire.SuiteV1, Kind: 3, Tenant: "north", Cart: "cart-1", Encounter: w.Encounter, Wrap: w.ID(), Length: uint64(chunks * wire.ChunkSize)}
	m := wire.Manifest{Header: h.Marshal(), Wrap: w.Marshal(), Chunks: make([]ledger.Hash, chunks)}
	bs := make([][]byte, chunks)
	for i := range bs {
		bs[i] = bytes.Repeat([]byte{byte(i + 1)}, h.SealedSize(i))
		m.Chunks[i] = sha256.Sum256(bs[i])
	}
	m.Entry = ledger.NewChain(h.Book(), ledger.NewID(), w.Run).Entry(ledger.Item, m.Hash())
	return m, h, bs
}

func add(t *testing.T, s *Store, m wire.Manifest, h wire.Header, bs [][]byte) Settled {
	t.Helper()
	p, held, err := s.Partial(m, h)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for i := range bs {
		if held[i] {
			continue
		}
		if err := p.PutChunk(i, bs[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Settle(p); err != nil {
		t.Fatal(err)
	}
	done, err := s.Commit(ctx, Arrival{Manifest: m, Header: h, Verdict: wire.Received, At: start, Meta: []byte(`{"kind":"still"}`), Size: 9},
		func(ledger.ID, uint64) ([]byte, uint32) { return []byte("receipt"), 1 })
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func TestItems(t *testing.T) {
	s := open(t, t.TempDir())
	m, h, bs := sealed(t, 2)
	add(t, s, m, h, bs)
	if again := add(t, s, m, h, bs); !again.Known || again.Sequence != 1 {
		t.Fatalf("%+v", again)
	}
	it, err := s.Item(ctx, "north", m.Hash())
	if err != nil || it.Entry != m.Entry || it.Book != h.Book() || it.Sequence != 1 || !it.At.Equal(start) || it.Key != 1 {
		t.Fatalf("%+v %v", it.Entry, err)
	}
	if _, err := s.Item(ctx, "south", m.Hash()); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	if got, err := s.ItemsSince(ctx, "north", start.Add(-1), ledger.Hash{}, 9); err != nil || len(got) != 1 {
		t.Fatal(len(got), err)
	}
	if got, err := s.ItemsSince(ctx, "north", start, m.Hash(), 9); err != nil || len(got) != 0 {
		t.Fatal(len(got), err)
	}
	want := []EncounterRow{{Book: h.Book(), Encounter: h.Encounter, Items: 1, First: start, Last: start}}
	if got, err := s.Encounters(ctx, "north", start, 9); err != nil || cmp.Diff(want, got) != "" {
		t.Fatal(err, cmp.Diff(want, got))
	}
	if _, _, err := s.Partial(m, wire.Header{Tenant: "..", Cart: "cart-1"}); err == nil {
		t.Fatal("a tenant climbed out of its folder")
	}
}

// Two tenants whose items share a hash prefix: each folder is made durable, in the one above it.
func TestSettleSyncsEveryTenant(t *testing.T) {
	s := open(t, t.TempDir())
	m, h, bs := sealed(t, 1)
	add(t, s, m, h, bs)
	prefix := m.Hash()[0]
	h.Tenant = "south"
	for {
		h.Encounter = ledger.NewID()
		w := wire.Wrap{Tenant: h.Tenant, Cart: h.Cart, Encounter: h.Encounter, Run: ledger.NewID()}
		h.Wrap = w.ID()
		m.Header, m.Wrap = h.Marshal(), w.Marshal()
		if m.Hash()[0] == prefix {
			m.Entry = ledger.NewChain(h.Book(), ledger.NewID(), w.Run).Entry(ledger.Item, m.Hash())
			break
		}
	}
	add(t, s, m, h, bs)
	got := map[string]bool{}
	s.synced.Range(func(d, _ any) bool { got[d.(string)] = true; return true })
	want := map[string]bool{}
	for _, tenant := range []string{"north", "south"} {
		want[filepath.Join(s.dir, "blobs", tenant)] = true
		want[filepath.Join(s.dir, "blobs", tenant, fmt.Sprintf("%02x", prefix))] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

// A chunk that rots on the hub's disk: it is noticed, the rest is used, and a backup over it moves no watermark.
func TestDamagedItem(t *testing.T) {
	s := open(t, t.TempDir())
	m, h, bs := sealed(t, 3)
	add(t, s, m, h, bs)
	path := filepath.Join(s.dir, blobPath("north", m.Hash()))
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-wire.ChunkSize-2*wire.Overhead-5] ^= 1 // in chunk 1
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(ctx, filepath.Join(t.TempDir(), "b")); !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
	if n, err := s.Watermark(ctx); err != nil || n != 0 {
		t.Fatal(n, err)
	}
	for range 2 { // what was salvaged stays
		p, held, err := s.Partial(m, h)
		if err != nil || cmp.Diff([]bool{true, false, true}, held) != "" {
			t.Fatal(held, err)
		}
		p.Close()
	}
	add(t, s, m, h, bs)
	if held, err := s.Held("north", "cart-1", m.Hash()); err != nil || !all(held) {
		t.Fatal(held, err)
	}
	if err := os.WriteFile(path, []byte("TCS"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.OpenItem("north", m.Hash()); !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := Open(ctx, dir, Options{}); !errors.Is(err, ErrInUse) {
		t.Fatal(err)
	}
	if _, err := s.exec(ctx, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)`); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := Open(ctx, dir, Options{}); !errors.Is(err, ErrNewer) {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, dbName)); errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

func TestPragmas(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "a folder #1 100%?"))
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "10000"} {
		var got string
		if err := s.w.QueryRowContext(ctx, "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %s, want %s: %v", pragma, got, want, err)
		}
	}
	if _, err := s.r.ExecContext(ctx, `DELETE FROM meta`); err == nil {
		t.Error("a reader wrote")
	}
}

func TestTimes(t *testing.T) {
	for _, want := range []time.Time{{}, start, time.Date(1970, 1, 1, 0, 0, 1, 0, time.UTC)} {
		var got time.Time
		if err := (timeColumn{&got}).Scan(nanos(want)); err != nil || !got.Equal(want) {
			t.Errorf("%v came back as %v, %v", want, got, err)
		}
	}
	if early, late := nanos(time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC)), nanos(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)); early >= 0 || late <= nanos(start) {
		t.Error(early, late)
	}
}
