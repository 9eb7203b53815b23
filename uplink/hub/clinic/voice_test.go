package clinic

import (
	"errors"
	"testing"

	"telecart/device"
	"telecart/device/kit"
	"telecart/uplink/link"
)

// talking is a presence with a microphone.
func talking() link.Message {
	m := here(link.Presence{})
	m.Presence.Instruments = append(m.Presence.Instruments, link.Instrument{Name: "voice", Kind: device.KindVoice, Health: device.Health{State: device.Live}})
	return m
}

func hears(who ...string) func(link.Message) bool {
	return func(m link.Message) bool {
		if m.Desired == nil || m.Desired.Consult == nil || len(m.Desired.Consult.Hear) != len(who) {
			return false
		}
		for i, v := range m.Desired.Consult.Hear {
			if v.Name != who[i] {
				return false
			}
		}
		return true
	}
}

// The cart's microphone is wanted once the nurse has called and somebody is there; a member's voice goes to the cart, by a token for
// nothing else, until they hush, leave, or the nurse pauses.
func TestVoices(t *testing.T) {
	m, clock := newMemory(), kit.NewManual(start)
	h := newHub(t, m, clock)
	ben := Who{"north", ben}
	defer h.Attach("north", ada.ID)()
	defer h.Attach("north", ben.ID)()
	c := h.dial("north")
	c.send(talking())
	c.send(link.Message{Call: &link.Call{Encounter: visit}})
	h.await("north", func(v CartView) bool { return v.Consult != nil })
	id, err := h.Offer(t.Context(), adaNorth, "cart-1")
	if err != nil {
		t.Fatal(err)
	}
	first := c.until(consulting(true)).Desired.Consult
	for len(first.Publish) == 0 {
		first = c.until(consulting(true)).Desired.Consult
	}
	if len(first.Publish) != 2 || first.Publish[1].Instrument != "voice" || first.Publish[1].Endpoint != "/v1/whip/north~cart-1~voice" || len(first.Hear) != 0 {
		t.Fatalf("%+v", first)
	}
	may := func(token, stream, action string) bool {
		return h.o.Tokens.Authorize(t.Context(), token, stream, action) == nil && !m.wasKicked(token)
	}
	if _, _, err := h.Speak(ben, id); !errors.Is(err, ErrMember) {
		t.Errorf("somebody who takes no part speaks: %v", err)
	}
	if err := h.Do(t.Context(), ben, id, Join); err != nil {
		t.Fatal(err)
	}
	endpoint, token, err := h.Speak(adaNorth, id)
	const stream = "north~cart-1~_40ada"
	if err != nil || endpoint != "/v1/whip/"+stream || !may(token, stream, Publish) || may(token, stream, Watch) || may(token, "north~cart-1~voice", Publish) {
		t.Fatalf("%s, %v", endpoint, err)
	}
	v := c.until(hears(ada.Name)).Desired.Consult.Hear[0]
	if v.Endpoint != "/v1/whep/"+stream || v.Muted || !may(v.Token, stream, Watch) || may(v.Token, stream, Publish) {
		t.Fatalf("%+v", v)
	}
	for _, source := range []string{"voice", "@ada"} { // the members hear the cart, and each other
		if _, token, err := h.WatchStream(ben, id, source); err != nil || !may(token, StreamName("north", "cart-1", source), Watch) {
			t.Errorf("%s: %v", source, err)
		}
	}
	if _, _, err := h.WatchStream(adaNorth, id, "@ben"); !errors.Is(err, ErrUnknown) {
		t.Errorf("who does not speak is heard: %v", err)
	}
	if err := h.Say(adaNorth, id, Shown); err != nil {
		t.Fatal(err)
	}
	if v := c.until(func(m link.Message) bool { return hears(ada.Name)(m) && m.Desired.Consult.Hear[0].Seen }); v.Desired.Consult.Hear[0].Muted {
		t.Errorf("%+v", v)
	}
	if err := h.Say(adaNorth, id, Muted); err != nil {
		t.Fatal(err)
	}
	if v := c.until(func(m link.Message) bool { return hears(ada.Name)(m) && m.Desired.Consult.Hear[0].Muted }); !may(token, stream, Publish) {
		t.Errorf("muting ended the session: %+v", v)
	}
	if err := h.Say(adaNorth, id, Unmuted); err != nil {
		t.Fatal(err)
	}
	if err := h.Say(ben, id, Muted); !errors.Is(err, ErrNotNow) {
		t.Errorf("muted without a microphone: %v", err)
	}
	_, his, err := h.Speak(ben, id)
	if err != nil {
		t.Fatal(err)
	}
	c.until(hears(ada.Name, ben.Name))
	if err := h.Do(t.Context(), ben, id, Leave); err != nil {
		t.Fatal(err)
	}
	if c.until(hears(ada.Name)); !m.wasKicked(his) || m.wasKicked(token) {
		t.Error("who left goes on speaking, or who did not is cut off")
	}
	c.send(link.Message{Answer: &link.Answer{Consult: id, Verb: "pause"}})
	c.until(func(m link.Message) bool {
		return hears()(m) && m.Desired.Consult.Paused && len(m.Desired.Consult.Publish) == 0
	})
	if may(token, stream, Publish) {
		t.Error("paused, and somebody speaks")
	}
	if _, _, err := h.Speak(adaNorth, id); !errors.Is(err, ErrNotNow) {
		t.Errorf("speaks while it is paused: %v", err)
	}
	c.send(link.Message{Answer: &link.Answer{Consult: id, Verb: "resume"}})
	c.until(func(m link.Message) bool { return consulting(true)(m) && !m.Desired.Consult.Paused })
	if _, token, err = h.Speak(adaNorth, id); err != nil {
		t.Fatal(err)
	}
	c.until(hears(ada.Name))
	if err := h.Say(adaNorth, id, Hushed); err != nil {
		t.Fatal(err)
	}
	if c.until(hears()); may(token, stream, Publish) {
		t.Error("hushed, and still speaking")
	}
}
