package supervisor

import "testing"

func TestSubscriptionKeepsTheLatest(t *testing.T) {
	var h hub
	s, slow := h.subscribe(100), h.subscribe(0)
	for i := range int64(10) {
		x := reading("a", i)
		h.publish(Event{Reading: &x})
	}
	if s.Dropped() != 0 || len(s.C) != 10 {
		t.Errorf("%d held, %d dropped", len(s.C), s.Dropped())
	}
	if slow.Dropped() != 9 || word(<-slow.C) != "a=9" {
		t.Errorf("%d dropped", slow.Dropped())
	}
	slow.Close()
	slow.Close()
	h.publish(Event{})
	if _, open := <-slow.C; open {
		t.Error("closed, yet it gets events")
	}
}
