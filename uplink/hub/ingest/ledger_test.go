package ingest

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"telecart/capture/ledger"
	"telecart/uplink/hub/store"
	"telecart/uplink/wire"
)

func sha(b []byte) [32]byte { return sha256.Sum256(b) }

func (h *hub) audit(c *cart) Completeness {
	h.t.Helper()
	got, err := h.in.Completeness(context.Background(), c.book, Bytes)
	if err != nil || len(got) != 1 {
		h.t.Fatalf("%+v, %v", got, err)
	}
	return got[0]
}

func (c *cart) sign() ledger.Head {
	c.t.Helper()
	h, err := c.chain.Sign(c.book, c.dev)
	if err != nil {
		c.t.Fatal(err)
	}
	return h
}

func TestLedger(t *testing.T) {
	ctx := context.Background()
	h := newHub(t)
	c := h.cart("cart-1")
	run := c.chain.Entry(ledger.Run, ledger.Hash{})
	c.chain = c.chain.Advance(run)
	a, b := c.item(c.still(9)), c.item(c.still(9))
	head := c.sign()

	if got, err := h.in.Hello(ctx, c.peer, []ledger.Head{head}); err != nil || len(got) != 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	if got := h.audit(c); got.Whole() || !slices.Equal(got.Missing, []Range{{0, 2}}) {
		t.Fatalf("%+v", got)
	}
	c.receipt(c.put(b, nil), 200, b)
	if got := h.audit(c); got.Whole() || !slices.Equal(got.Missing, []Range{{0, 1}}) {
		t.Fatalf("%+v", got)
	}
	for range 2 { // the answer was lost
		if w := c.do("POST", "/v1/ledger?practice=0", run.Marshal()); w.Code != 200 || w.Body.String() != "{\"entries\":1,\"sequence\":2}\n" {
			t.Fatal(w.Code, w.Body)
		}
	}
	c.receipt(c.put(a, nil), 200, a)
	if got := h.audit(c); !got.Whole() || got.Entries != 3 || got.Unsigned != 0 || len(h.forks) != 0 {
		t.Fatalf("%+v", got)
	}

	later := c.item(c.still(9))
	c.receipt(c.put(later, nil), 200, later)
	if got := h.audit(c); !got.Whole() || got.Unsigned != 1 {
		t.Fatalf("%+v", got)
	}
	known, err := h.in.Hello(ctx, c.peer, []ledger.Head{head, c.sign()})
	want := ledger.Head{Book: c.book, Incarnation: c.chain.Incarnation, Number: 3, Hash: c.chain.Head}
	if err != nil || len(known) != 2 || cmp.Diff(want, known[0]) != "" {
		t.Fatalf("%+v, %v", known, err)
	}
	if got := h.audit(c); !got.Whole() || got.Unsigned != 0 || got.Head.Number != 3 || got.Head.Verify(c.dev.Public()) != nil {
		t.Fatalf("%+v", got)
	}

	// Whose head it is.
	other := h.cart("cart-2")
	other.item(other.still(9))
	forged := c.sign()
	forged.Number++
	for name, x := range map[string]ledger.Head{"another cart's": other.sign(), "forged": forged} {
		if err := h.in.Head(ctx, c.peer, x); !errors.Is(err, ErrHead) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := h.in.Hello(ctx, c.peer, make([]ledger.Head, maxHeads+1)); !errors.Is(err, ErrHead) {
		t.Error(err)
	}

	// A restored card signs something else at a number that is taken. Both heads stay; the first counts.
	card := *c
	card.chain = ledger.Chain{Incarnation: c.chain.Incarnation, Run: ledger.NewID(), Next: 3, Head: b.Entry.Hash()}
	card.chain = card.chain.Advance(card.chain.Entry(ledger.Run, ledger.Hash{}))
	if err := h.in.Head(ctx, c.peer, card.sign()); err != nil || len(h.forks) != 1 || h.forks[0].Number != 3 {
		t.Fatalf("%v, %+v", err, h.forks)
	}
	if got := h.audit(c); got.Whole() || !got.Disputed || got.Head.Hash != c.chain.Head {
		t.Fatalf("%+v", got)
	}
	h.reopen()
	if heads, err := h.store.Heads(ctx, c.book); err != nil || len(heads) != 2 || heads[0].Disputed || !heads[1].Disputed {
		t.Fatalf("%+v %v", heads, err)
	}
}

// What the auditor says of altered ledgers.
func TestAuditor(t *testing.T) {
	book := ledger.Book{Tenant: "north", Cart: "cart-1"}
	chain := ledger.NewChain(book, ledger.NewID(), ledger.NewID())
	good := make([]store.Line, 6)
	for n := range good {
		e := chain.Entry(ledger.Item, ledger.Hash{byte(n)})
		good[n] = store.Line{Entry: e, Hash: e.Hash(), Verdict: wire.Received}
		chain = chain.Advance(e)
	}
	head := ledger.Head{Book: book, Incarnation: chain.Incarnation, Number: 5, Hash: chain.Head}
	altered := func(n int, resealed string) []store.Line {
		l := slices.Clone(good)
		l[n].Body[31] ^= 1
		if resealed != "" {
			l[n].Hash = l[n].Entry.Hash()
		}
		return l
	}
	doubled := slices.Insert(slices.Clone(good), 3, altered(2, "too")[2])
	for name, tc := range map[string]struct {
		lines []store.Line
		want  Completeness
	}{
		"whole":                    {good, Completeness{Entries: 6}},
		"nothing":                  {nil, Completeness{Missing: []Range{{0, 5}}}},
		"the first is missing":     {good[1:], Completeness{Entries: 5, Missing: []Range{{0, 0}}}},
		"the middle is missing":    {slices.Concat(good[:2], good[4:]), Completeness{Entries: 4, Missing: []Range{{2, 3}}}},
		"the last are missing":     {good[:4], Completeness{Entries: 4, Missing: []Range{{4, 5}}}},
		"one is altered":           {altered(3, ""), Completeness{Entries: 6, Altered: []uint64{3}}},
		"altered with its hash":    {altered(3, "too"), Completeness{Entries: 6, Altered: []uint64{3}}},
		"the last altered":         {altered(5, "too"), Completeness{Entries: 6, Altered: []uint64{5}}},
		"another cart's beginning": {append([]store.Line{{Entry: ledger.Entry{Incarnation: chain.Incarnation, Kind: ledger.Run}}}, good[1:]...), Completeness{Entries: 6, Altered: []uint64{0}}},
		"doubled":                  {doubled, Completeness{Entries: 7, Doubled: []uint64{2}}},
	} {
		a := newAuditor(book, []store.KeptHead{{Head: head}}, nil)
		for _, l := range tc.lines {
			a.line(l, intact)
		}
		a.end()
		a.rest()
		tc.want.Items = tc.want.Entries
		if name == "another cart's beginning" {
			tc.want.Items-- // it is the start of a run
		}
		tc.want.Incarnation, tc.want.Head = chain.Incarnation, &head
		if d := cmp.Diff([]Completeness{tc.want}, a.out); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if a.out[0].Whole() != (name == "whole") {
			t.Errorf("%s: whole %t", name, a.out[0].Whole())
		}
	}
}
