package ingest

import (
	"context"
	"errors"
	"testing"
	"time"

	"telecart/uplink/wire"
)

func TestBounds(t *testing.T) {
	h := newHub(t)
	h.limits = Limits{Requests: 1, Uploads: 2, UploadBytes: 5 * wire.ChunkSize, UploadAge: time.Hour}
	h.reopen()
	c := h.cart("cart-1")

	leave, ok := h.in.gate.enter(c.peer)
	if !ok {
		t.Fatal("not even one")
	}
	if w := c.put(c.item(c.still(9)), nil); problemOf(t, w).Code != "busy" || w.Header().Get("Retry-After") == "" {
		t.Fatal(w.Body)
	}
	leave()

	var parts []item
	for range 3 {
		i := c.item(c.still(wire.ChunkSize))
		haveOf(t, c.put(i, []int{0}), 202)
		parts = append(parts, i)
		h.clock.Advance(time.Minute)
	}
	for n, want := range []int{404, 206, 206} { // the one that had rested longest went
		if w := c.get(parts[n]); w.Code != want {
			t.Errorf("upload %d: %d, want %d", n, w.Code, want)
		}
	}
	// Both others are being sent at this moment: nothing can go.
	var unlock []func()
	for _, i := range parts[1:] {
		u, ok := h.in.gate.tryLock("north", i.hash().String())
		if !ok {
			t.Fatal("locked")
		}
		unlock = append(unlock, u)
	}
	if p := problemOf(t, c.put(parts[0], nil)); p.Code != "busy" {
		t.Fatal(p)
	}
	for _, u := range unlock {
		u()
	}
	big := c.item(c.still(4 * wire.ChunkSize)) // by bytes
	haveOf(t, c.put(big, []int{0}), 202)
	if h.uploads() != 1 {
		t.Fatalf("%d uploads", h.uploads())
	}

	h.clock.Advance(59 * time.Minute)
	if err := h.in.Sweep(); err != nil || h.uploads() != 1 {
		t.Fatalf("%v, %d uploads: swept too early", err, h.uploads())
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- h.in.Run(ctx) }()
	h.clock.AwaitWaiters(1)
	h.clock.Advance(time.Hour)
	h.clock.AwaitWaiters(1)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || h.uploads() != 0 {
		t.Fatalf("%v, %d uploads", err, h.uploads())
	}
	c.receipt(c.put(big, nil), 200, big)
}
