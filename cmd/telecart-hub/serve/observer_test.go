package serve

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"testing"
	"time"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/hub/clinic"
	"telecart/uplink/hub/ingest"
	"telecart/uplink/hub/store"
	"telecart/uplink/link"
	"telecart/uplink/wire"
)

// alone is the clinic's surroundings when nobody is connected.
type alone struct{}

func (alone) KickToken(string) int { return 0 }

func (alone) Welcome(context.Context, clinic.Cart, link.Hello) (link.Welcome, error) {
	return link.Welcome{}, nil
}
func (alone) Head(context.Context, clinic.Cart, ledger.Head) error { return nil }
func (alone) Still(context.Context, clinic.Cart) error             { return nil }

// A hub that dies between making an item durable and telling the clinic of it tells at its next start; and tells once.
func TestToldAfterCrash(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	clock := kit.NewManual(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	enc, run := ledger.NewID(), ledger.NewID()
	book := ledger.Book{Tenant: "north", Cart: "cart-1"}
	chain := ledger.NewChain(book, ledger.NewID(), run)
	life := func(f func(s *store.Store, o *observer, c *clinic.Service)) {
		t.Helper()
		s, err := store.Open(ctx, dir, store.Options{Clock: clock})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		o := newObserver(s, newMetrics(), clock, slog.New(slog.DiscardHandler))
		if err := o.recall(ctx); err != nil {
			t.Fatal(err)
		}
		past, err := history(ctx, s, "north", clock.Now(), o.untold)
		if err != nil {
			t.Fatal(err)
		}
		c, err := clinic.New(ctx, clinic.Options{Store: s.Clinic(), Cabinet: s.Clinic(), Rooms: alone{}, Greeter: alone{}, Tokens: clinic.NewTokens(clock), Clock: clock,
			Log: slog.New(slog.DiscardHandler)}, nil, past)
		if err != nil {
			t.Fatal(err)
		}
		f(s, o, c)
	}
	// commit is what ingest does last, before it tells the observer.
	commit := func(s *store.Store, b capture.Body) ledger.Hash {
		t.Helper()
		b.Encounter, b.At = enc, kit.Stamp{Wall: clock.Now()}
		raw, err := b.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		h := wire.Header{Suite: 1, Kind: uint8(b.Kind), Tenant: "north", Cart: "cart-1", Encounter: enc, Salt: sha256.Sum256([]byte(b.Kind.String())), Length: 256}
		m := wire.Manifest{Header: h.Marshal(), Chunks: []ledger.Hash{{1}}}
		m.Entry = chain.Entry(ledger.Item, m.Hash())
		chain = chain.Advance(m.Entry)
		if _, err := s.Commit(ctx, store.Arrival{Manifest: m, Header: h, Verdict: wire.Received, At: clock.Now(), Meta: raw[4:]},
			func(ledger.ID, uint64) ([]byte, uint32) { return []byte("receipt"), 1 }); err != nil {
			t.Fatal(err)
		}
		return m.Hash()
	}
	told := func(s *store.Store, o *observer, c *clinic.Service) []link.Notice {
		t.Helper()
		short, cancel := context.WithCancel(ctx)
		cancel() // what was missed comes first, whatever follows
		o.run(short, c)
		n, err := c.Notices(ctx, clinic.Who{Tenant: "north", Person: clinic.Person{ID: "ada"}})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	var note ledger.Hash
	life(func(s *store.Store, o *observer, c *clinic.Service) {
		note = commit(s, capture.Body{Kind: capture.Note, Note: &capture.NoteInfo{Text: "left ear"}})
		all, err := s.Items(ctx, "north", enc, 10)
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		o.ItemStored(ingest.ItemEvent{Item: all[0]})
		if err := c.Viewed(ctx, clinic.Who{Tenant: "north", Person: clinic.Person{ID: "ada"}}, note); err != nil {
			t.Fatal(err)
		}
		s.SetCursor(ctx, cursorName, all[0].Sequence)
		commit(s, capture.Body{Kind: capture.Correction, Correction: &capture.CorrectionInfo{Item: note, Reason: capture.EnteredInError}})
	}) // the power goes
	for n := range 2 {
		life(func(s *store.Store, o *observer, c *clinic.Service) {
			if len(o.recent) != 1-n {
				t.Fatalf("life %d: %d items to tell", n, len(o.recent))
			}
			if got := told(s, o, c); len(got) != 1 || got[0].Code != "corrected" || got[0].With["item"] != note.String() {
				t.Fatalf("life %d: told %+v", n, got)
			}
			if e, _, err := c.Encounter("north", enc); err != nil || len(e.Items) != 2 || e.Items[0].Corrected == nil {
				t.Fatal(e, err)
			}
		})
	}
}

// Requests are many at once: the later of two items may be told first, and the hub may stop before the other one is. That one is
// told at the next start; entries and refusals, which are nothing to tell, hold nothing up.
func TestToldOutOfOrder(t *testing.T) {
	ctx := t.Context()
	clock := kit.NewManual(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	s, err := store.Open(ctx, t.TempDir(), store.Options{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	book := ledger.Book{Tenant: "north", Cart: "cart-1"}
	chain := ledger.NewChain(book, ledger.NewID(), ledger.NewID())
	commit := func(v wire.Verdict) (it store.Item) {
		t.Helper()
		h := wire.Header{Suite: 1, Kind: uint8(capture.Note), Tenant: "north", Cart: "cart-1", Encounter: ledger.ID{1}, Salt: [32]byte{byte(chain.Next)}, Length: 256}
		m := wire.Manifest{Header: h.Marshal(), Chunks: []ledger.Hash{{1}}}
		m.Entry = chain.Entry(ledger.Item, m.Hash())
		chain = chain.Advance(m.Entry)
		done, err := s.Commit(ctx, store.Arrival{Manifest: m, Header: h, Verdict: v, At: clock.Now(), Meta: []byte(`{"kind":"note"}`)},
			func(ledger.ID, uint64) ([]byte, uint32) { return []byte("receipt"), 1 })
		if err == nil && v == wire.Received {
			it, err = s.Item(ctx, "north", m.Hash())
		}
		if err != nil || it.Sequence != done.Sequence && v == wire.Received {
			t.Fatal(err, it.Sequence, done.Sequence)
		}
		return it
	}
	entry := func() {
		t.Helper()
		e := chain.Entry(ledger.Run, ledger.Hash{})
		chain = chain.Advance(e)
		if _, _, err := s.AddEntries(ctx, book, []ledger.Entry{e}); err != nil {
			t.Fatal(err)
		}
	}
	cursor := func(want uint64) {
		t.Helper()
		if got, ok, err := s.Cursor(ctx, cursorName); got != want || !ok || err != nil {
			t.Fatalf("cursor %d %v %v, want %d", got, ok, err, want)
		}
	}
	// life tells of what it finds untold, says how many that were, and ends in good order.
	life := func() int {
		t.Helper()
		o := newObserver(s, newMetrics(), clock, slog.New(slog.DiscardHandler))
		if err := o.recall(ctx); err != nil {
			t.Fatal(err)
		}
		c, err := clinic.New(ctx, clinic.Options{Store: s.Clinic(), Cabinet: s.Clinic(), Rooms: alone{}, Greeter: alone{}, Tokens: clinic.NewTokens(clock), Clock: clock,
			Log: slog.New(slog.DiscardHandler)}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		n := len(o.recent)
		short, cancel := context.WithCancel(ctx)
		cancel()
		o.run(short, c)
		return n
	}
	life()
	cursor(0)
	entry()                         // 1
	first := commit(wire.Received)  // 2
	commit(wire.Refused)            // 3
	second := commit(wire.Received) // 4
	commit(wire.Received)           // 5
	entry()                         // 6
	o := newObserver(s, newMetrics(), clock, slog.New(slog.DiscardHandler))
	o.told[missedItem{"north", second.Item}] = second.Sequence
	if err := o.advance(ctx, nil); err != nil || o.from != 1 || len(o.told) != 1 {
		t.Fatal(err, o.from, o.told)
	}
	o.told[missedItem{"north", first.Item}] = first.Sequence
	if err := o.advance(ctx, nil); err != nil || o.from != 4 || len(o.told) != 0 {
		t.Fatal(err, o.from, o.told)
	}
	if n := life(); n != 3 { // of the former life nothing was written down
		t.Fatalf("%d to tell", n)
	}
	cursor(6)
	commit(wire.Received)          // 7
	fifth := commit(wire.Received) // 8
	entry()                        // 9
	o = newObserver(s, newMetrics(), clock, slog.New(slog.DiscardHandler))
	if err := o.recall(ctx); err != nil || len(o.recent) != 2 {
		t.Fatal(err, len(o.recent))
	}
	o.recent, o.reach = nil, 6 // they came after this start
	c, err := clinic.New(ctx, clinic.Options{Store: s.Clinic(), Cabinet: s.Clinic(), Rooms: alone{}, Greeter: alone{}, Tokens: clinic.NewTokens(clock), Clock: clock,
		Log: slog.New(slog.DiscardHandler)}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithCancel(ctx)
	o.tell(ctx, c, fifth)
	cancel()
	o.run(short, c) // it ends with the fourth in no queue yet
	cursor(6)
	if n := life(); n != 2 {
		t.Fatalf("%d to tell", n)
	}
	cursor(9)
}
