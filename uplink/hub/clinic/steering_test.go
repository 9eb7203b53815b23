package clinic

import (
	"errors"
	"testing"
	"time"

	"telecart/device/kit"
	"telecart/uplink/link"
	"telecart/uplink/steer"
)

func TestSteeringAndActs(t *testing.T) {
	h := newHub(t, newMemory(), kit.NewManual(start))
	c := h.dial("north")
	c.send(here(link.Presence{}))
	c.send(link.Message{Call: &link.Call{Encounter: visit}})
	h.await("north", func(v CartView) bool { return v.Consult != nil })
	if err := h.Lease(adaNorth, "cart-1", "scope"); !errors.Is(err, ErrMember) {
		t.Fatal(err)
	}
	if _, err := h.Offer(t.Context(), adaNorth, "cart-1"); err != nil {
		t.Fatal(err)
	}
	if err := h.Lease(adaNorth, "cart-1", "scope"); err != nil {
		t.Fatal(err)
	}
	if r := c.until(func(m link.Message) bool { return m.Lease != nil }).Lease; r.Who != "ada" || r.WhoName != ada.Name {
		t.Fatalf("%+v", r)
	}
	if err := h.Steer(adaNorth, "cart-1", steer.Setpoint{Instrument: "scope", Who: "somebody else", Epoch: 3, Seq: 1, Set: map[string]int{"pan": 7}}); err != nil {
		t.Fatal(err)
	}
	if p := c.until(func(m link.Message) bool { return m.Setpoint != nil }).Setpoint; p.Who != "ada" || p.Epoch != 3 || p.Set["pan"] != 7 {
		t.Fatalf("%+v", p)
	}
	type outcome struct {
		r   steer.ActResult
		err error
	}
	done := make(chan outcome, 1)
	act := func() {
		r, err := h.Act(t.Context(), adaNorth, "cart-1", steer.Act{Instrument: "scope", Epoch: 3, Kind: "still"})
		done <- outcome{r, err}
	}
	go act()
	a := c.until(func(m link.Message) bool { return m.Act != nil }).Act
	c.send(link.Message{Result: &steer.ActResult{ID: "another", OK: true}})
	c.send(link.Message{Result: &steer.ActResult{ID: a.ID, OK: true, Item: "ab"}})
	if o := <-done; o.err != nil || o.r.Item != "ab" {
		t.Fatalf("%+v", o)
	}
	go act()
	c.until(func(m link.Message) bool { return m.Act != nil })
	c.ws.CloseNow()
	if o := <-done; o.r.Error != "offline" {
		t.Fatalf("the link went, and the asker hears %+v", o)
	}
}

func TestSenderBounds(t *testing.T) {
	clock := kit.NewManual(start)
	s := newSender(clock)
	for i := range 5 {
		if err := s.steer(steer.Setpoint{Instrument: "scope", Epoch: 1, Seq: uint64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.push(link.Message{Act: &steer.Act{ID: "a", TTLMS: 1000}}); err != nil {
		t.Fatal(err)
	}
	clock.Advance(400 * time.Millisecond)
	if m, _, _ := s.next(); m.Setpoint == nil || m.Setpoint.Seq != 4 || m.Setpoint.AgeMS != 400 {
		t.Fatalf("the latest first, with its age: %+v", m.Setpoint)
	}
	if m, _, _ := s.next(); m.Act == nil || m.Act.TTLMS != 600 {
		t.Fatalf("%+v", m.Act)
	}
	s.steer(steer.Setpoint{Instrument: "scope", Seq: 9})
	s.push(link.Message{Act: &steer.Act{ID: "b", TTLMS: 400}})
	clock.Advance(SetpointLife)
	if m, _, ok := s.next(); ok {
		t.Fatalf("sent on too late: %+v", m)
	}
	for range maxQueue {
		if err := s.push(link.Message{Notice: &link.Notice{}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.push(link.Message{}); !errors.Is(err, ErrBusy) {
		t.Fatal(err)
	}
}
