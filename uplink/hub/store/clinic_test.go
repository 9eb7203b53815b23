package store

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"telecart/capture/ledger"
	"telecart/provisioning/claim"
	"telecart/provisioning/identity"
	"telecart/provisioning/people"
	"telecart/uplink/hub/clinic"
	"telecart/uplink/link"
)

var (
	_ clinic.Store        = Clinic{}
	_ clinic.Cabinet      = Clinic{}
	_ people.Accounts     = People{}
	_ people.SessionStore = People{}
	_ claim.Store         = claims{}
	_ identity.Register   = register{}
)

func TestConsults(t *testing.T) {
	c := open(t, t.TempDir()).Clinic()
	call := clinic.NewCall("c1", "north", "cart-1", ledger.NewID(), "rash", start)
	offer := clinic.NewOffer("c2", "south", "cart-1", ledger.NewID(), clinic.Person{ID: "ada", Name: "Dr. Ada"}, start.Add(1))
	for _, x := range []clinic.Consult{offer, call} {
		if err := c.SaveConsult(ctx, x); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := c.OpenConsults(ctx); err != nil || cmp.Diff([]clinic.Consult{call, offer}, got) != "" {
		t.Fatal(err, cmp.Diff([]clinic.Consult{call, offer}, got))
	}
	over, err := call.Step(clinic.Event{Verb: clinic.CancelCall}, start.Add(time.Minute))
	if err != nil || c.SaveConsult(ctx, over) != nil {
		t.Fatal(err)
	}
	if got, err := c.OpenConsults(ctx); err != nil || len(got) != 1 || got[0].ID != "c2" {
		t.Fatal(got, err)
	}
}

func TestCabinet(t *testing.T) {
	s := open(t, t.TempDir())
	c := s.Clinic()
	m, h, bs := sealed(t, 1)
	add(t, s, m, h, bs)
	for _, who := range []string{"zoe", "ada", "zoe"} {
		if err := c.Viewed(ctx, "north", who, start, []ledger.Hash{m.Hash()}); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := c.Viewers(ctx, "north", m.Hash()); err != nil || cmp.Diff([]string{"ada", "zoe"}, got) != "" {
		t.Fatal(got, err)
	}
	if got, err := c.Viewers(ctx, "south", m.Hash()); err != nil || len(got) != 0 {
		t.Fatal(got, err)
	}
	if err := c.Viewed(ctx, "south", "eve", start, []ledger.Hash{m.Hash()}); err == nil {
		t.Fatal("another tenant's item was viewed")
	}

	ada, cart := clinic.Recipient{Tenant: "north", Account: "ada"}, clinic.Recipient{Tenant: "north", Cart: "ada"}
	toAda := clinic.Note{To: ada, At: start, Notice: link.Notice{ID: "n1", Code: "corrected", With: map[string]string{"item": "x"}}}
	toCart := clinic.Note{To: cart, At: start, Notice: link.Notice{ID: "n1", Code: "ledger-fork"}}
	for _, n := range []clinic.Note{toAda, toCart, toAda} {
		if err := c.Notify(ctx, n); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []clinic.Note{toAda, toCart} {
		if got, err := c.Unseen(ctx, n.To); err != nil || cmp.Diff([]clinic.Note{n}, got) != "" {
			t.Fatal(err, cmp.Diff([]clinic.Note{n}, got))
		}
	}
	if err := c.Notify(ctx, clinic.Note{To: clinic.Recipient{Tenant: "north"}}); err == nil {
		t.Fatal("a notice for nobody")
	}
	if err := c.Seen(ctx, clinic.Recipient{Tenant: "south", Account: "ada"}, "n1"); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	if err := c.Seen(ctx, ada, "n1"); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Unseen(ctx, ada); err != nil || len(got) != 0 {
		t.Fatal(got, err)
	}
	if got, err := c.Unseen(ctx, cart); err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	if it, err := s.Item(ctx, "north", m.Hash()); err != nil || it.Arrival().Item != m.Hash() {
		t.Fatal(err)
	}
	if got, err := s.Tenants(ctx); err != nil || cmp.Diff([]string{"north"}, got) != "" {
		t.Fatal(got, err)
	}
}
