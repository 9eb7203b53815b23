package clinic

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/coder/websocket"

	"telecart/device/kit"
	"telecart/uplink/link"
)

func (m *memory) wasKicked(token string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Contains(m.kicked, token)
}

// Who is not named at the bedside does not watch: after the reconnect time, or at once when signed out.
func TestNobodyWatchesUnnamed(t *testing.T) {
	m, clock := newMemory(), kit.NewManual(start)
	h := newHub(t, m, clock)
	ben := Who{"north", ben}
	detach := h.Attach("north", ada.ID)
	defer h.Attach("north", ben.ID)()
	c := h.dial("north")
	c.send(here(link.Presence{}))
	c.send(link.Message{Call: &link.Call{Encounter: visit}})
	h.await("north", func(v CartView) bool { return v.Consult != nil })
	id, err := h.Offer(t.Context(), adaNorth, "cart-1")
	if err == nil {
		err = h.Do(t.Context(), ben, id, Join)
	}
	if err != nil {
		t.Fatal(err)
	}
	watch := func(w Who) (token string) {
		t.Helper()
		_, token, err := h.WatchStream(w, id, "scope")
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	open := func(token string) bool {
		return h.o.Tokens.Authorize(t.Context(), token, "north~cart-1~scope", Watch) == nil && !m.wasKicked(token)
	}
	// settled waits until nobody's absence is being timed.
	settled := func() {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); ; {
			h.mu.Lock()
			n := len(h.away)
			h.mu.Unlock()
			if n == 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("an absence that never ends")
			}
		}
	}
	hers, his := watch(adaNorth), watch(ben)

	// A page that comes back in time goes on watching, and its next absence is timed anew.
	detach()
	clock.Advance(reconnect - time.Second)
	detach = h.Attach("north", ada.ID)
	settled()
	detach()
	clock.Advance(reconnect - time.Second)
	if !open(hers) {
		t.Fatal("thrown out within the time to reconnect")
	}
	second := h.Attach("north", ada.ID)
	third := h.Attach("north", ada.ID)
	second()
	clock.Advance(2 * reconnect)
	if settled(); !open(hers) {
		t.Fatal("thrown out with a console open")
	}

	third()
	clock.Advance(reconnect)
	settled()
	if h.o.Tokens.Authorize(t.Context(), hers, "north~cart-1~scope", Watch) == nil || !m.wasKicked(hers) {
		t.Fatal("nobody is named, and somebody watches")
	}
	if !open(his) {
		t.Fatal("another account was thrown out too")
	}

	h.SignedOut("south", ben.ID)
	if !open(his) {
		t.Fatal("another tenant's account of the same name was thrown out")
	}
	h.SignedOut("north", ben.ID)
	if open(his) || !m.wasKicked(his) {
		t.Fatal("signed out, and still watching")
	}
}

// dying is a connection on which nothing can be written after so many messages.
type dying struct{ left int }

func (d *dying) Read(ctx context.Context) (websocket.MessageType, []byte, error) {
	<-ctx.Done()
	return 0, nil, ctx.Err()
}

func (d *dying) Write(context.Context, websocket.MessageType, []byte) error {
	if d.left--; d.left < 0 {
		return io.ErrClosedPipe
	}
	return nil
}

func (d *dying) Ping(context.Context) error { return nil }

// A notice that was queued is not one that was told: it is seen when it was written, and comes again otherwise.
func TestNoticesOutliveTheirLink(t *testing.T) {
	m := newMemory()
	h := newHub(t, m, kit.NewManual(start))
	ctx, to := t.Context(), Recipient{Tenant: "north", Cart: "cart-1"}
	unseen := func() (codes []string) {
		t.Helper()
		notes, err := m.Unseen(ctx, to)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range notes {
			codes = append(codes, n.Code)
		}
		return codes
	}
	conn := &connection{out: newSender(h.o.Clock), cancel: func(error) {}, noted: map[string]bool{}}
	st := h.connect(ctx, conn, Cart{Tenant: "north", Name: "cart-1"}, link.Hello{})
	h.mu.Lock()
	h.tellCart(ctx, st, "encounter-split", "a", nil)
	h.tellCart(ctx, st, "name-alert", "b", nil)
	h.mu.Unlock()
	if n := len(conn.out.queue); n != 2 {
		t.Fatalf("%d messages for two notices", n)
	}
	if got := unseen(); len(got) != 2 {
		t.Fatalf("queued, and taken for told: %v left", got)
	}
	none := func() *link.Desired { return nil }
	if err := conn.out.run(ctx, &dying{left: 1}, none); !errors.Is(err, io.ErrClosedPipe) {
		t.Fatal(err)
	}
	if got := unseen(); !slices.Equal(got, []string{"name-alert"}) || len(conn.noted) != 1 {
		t.Fatalf("one of two was written; left: %v", got)
	}
	h.disconnect(ctx, st, conn)
	c := h.dial("north")
	if n := c.until(func(m link.Message) bool { return m.Notice != nil }).Notice; n.Code != "name-alert" {
		t.Fatalf("%+v", n)
	}
}
