package clinic

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device"
	"telecart/device/kit"
	"telecart/uplink/link"
	"telecart/uplink/steer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hub is a service with a door for carts.
type hub struct {
	*Service
	t      *testing.T
	m      *memory
	clock  *kit.Manual
	server *httptest.Server
	ended  chan error // why each link ended
}

func newHub(t *testing.T, m *memory, clock *kit.Manual) *hub {
	t.Helper()
	s, err := New(t.Context(), Options{Store: m, Cabinet: m, Rooms: m, Greeter: m, Tokens: NewTokens(clock), Clock: clock, Log: slog.New(slog.DiscardHandler)},
		[]Cart{{"north", "cart-1", "ward"}, {"south", "cart-1", "clinic"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	h := &hub{Service: s, t: t, m: m, clock: clock, ended: make(chan error, 16)}
	h.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer ws.CloseNow()
		h.ended <- h.ServeLink(r.Context(), ws, Cart{Tenant: r.FormValue("tenant"), Name: "cart-1"})
	}))
	t.Cleanup(h.server.Close)
	return h
}

// cart is the other end of a link.
type cart struct {
	t  *testing.T
	ws *websocket.Conn
}

func (h *hub) dial(tenant string) *cart {
	h.t.Helper()
	ws, _, err := websocket.Dial(h.t.Context(), strings.Replace(h.server.URL, "http", "ws", 1)+"?tenant="+tenant, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { ws.CloseNow() })
	c := &cart{h.t, ws}
	c.send(link.Message{Hello: &link.Hello{Protocol: [2]int{1, 1}, Version: "test"}})
	if m := c.next(); m.Welcome == nil || m.Welcome.Protocol != 1 {
		h.t.Fatalf("no welcome: %+v", m)
	}
	return c
}

func (c *cart) send(m link.Message) {
	c.t.Helper()
	b, err := json.Marshal(m)
	if err == nil {
		err = c.ws.Write(c.t.Context(), websocket.MessageText, b)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cart) next() (m link.Message) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	m, err := read(ctx, c.ws)
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

// until reads on to the first message that is wanted.
func (c *cart) until(want func(link.Message) bool) link.Message {
	c.t.Helper()
	for {
		if m := c.next(); want(m) {
			return m
		}
	}
}

func consulting(accepted bool) func(link.Message) bool {
	return func(m link.Message) bool {
		return m.Desired != nil && m.Desired.Consult != nil && m.Desired.Consult.Accepted == accepted
	}
}

func here(p link.Presence) link.Message {
	p.Encounter = &link.Encounter{ID: visit, Opened: start}
	p.Instruments = []link.Instrument{{Name: "scope", Kind: device.KindCamera, Health: device.Health{State: device.Live}}}
	return link.Message{Presence: &p}
}

// await waits for the worklist to say so.
func (h *hub) await(tenant string, want func(CartView) bool) CartView {
	h.t.Helper()
	bell, cancel := h.Subscribe(tenant)
	defer cancel()
	for {
		if v := h.Carts(tenant)[0]; want(v) {
			return v
		}
		select {
		case <-bell:
		case <-time.After(10 * time.Second):
			h.t.Fatalf("the worklist stays: %+v", h.Carts(tenant)[0])
		}
	}
}

func met(v CartView) bool { return v.State != Offline && v.Presence.Encounter != nil }

var (
	adaNorth = Who{"north", ada}
	benSouth = Who{"south", ben}
)

func TestConsultOverTheLink(t *testing.T) {
	h := newHub(t, newMemory(), kit.NewManual(start))
	defer h.Attach("north", "ada")()
	if _, err := h.Offer(t.Context(), adaNorth, "cart-1"); !errors.Is(err, ErrOffline) {
		t.Fatal(err)
	}
	c := h.dial("north")
	c.send(here(link.Presence{}))
	h.await("north", met)
	if _, err := h.Offer(t.Context(), benSouth, "cart-1"); !errors.Is(err, ErrOffline) {
		t.Fatalf("another tenant's cart of the same name: %v", err)
	}
	id, err := h.Offer(t.Context(), adaNorth, "cart-1")
	if err != nil {
		t.Fatal(err)
	}
	d := c.until(consulting(false)).Desired.Consult
	if len(d.Publish) != 0 || !slices.Equal(d.Watchers, []string{ada.Name}) {
		t.Fatalf("before the touch: %+v", d)
	}
	if _, _, err := h.WatchStream(adaNorth, id, "scope"); !errors.Is(err, ErrNotNow) {
		t.Fatalf("watching before the touch: %v", err)
	}
	c.send(link.Message{Answer: &link.Answer{Consult: id, Verb: "accept"}})
	d = c.until(consulting(true)).Desired.Consult
	if len(d.Publish) != 1 || d.Publish[0].Endpoint != "/v1/whip/north~cart-1~scope" {
		t.Fatalf("after the touch: %+v", d)
	}
	stream, tokens := "north~cart-1~scope", h.o.Tokens
	if err := tokens.Authorize(t.Context(), d.Publish[0].Token, stream, Publish); err != nil {
		t.Fatal(err)
	}
	endpoint, watch, err := h.WatchStream(adaNorth, id, "scope")
	if err != nil || endpoint != "/v1/whep/"+stream || tokens.Authorize(t.Context(), watch, stream, Watch) != nil {
		t.Fatalf("%s %v", endpoint, err)
	}
	if tokens.Authorize(t.Context(), watch, stream, Publish) == nil || tokens.Authorize(t.Context(), watch, "north~cart-1~other", Watch) == nil {
		t.Fatal("a token that opens more than it was issued for")
	}
	if _, _, err := h.WatchStream(Who{"north", ben}, id, "scope"); !errors.Is(err, ErrMember) {
		t.Fatalf("watching without taking part: %v", err)
	}

	c.send(link.Message{Answer: &link.Answer{Consult: id, Verb: "pause"}})
	p := c.until(func(m link.Message) bool { return m.Desired != nil && m.Desired.Consult.Paused }).Desired.Consult
	if len(p.Publish) != 0 || tokens.Authorize(t.Context(), d.Publish[0].Token, stream, Publish) == nil {
		t.Fatal("paused, and the camera may still send")
	}
	if err := h.Steer(adaNorth, "cart-1", steer.Setpoint{Instrument: "scope"}); !errors.Is(err, ErrNotNow) {
		t.Fatalf("steering while paused: %v", err)
	}
	c.send(link.Message{Answer: &link.Answer{Consult: id, Verb: "resume"}})
	c.until(func(m link.Message) bool { return m.Desired != nil && len(m.Desired.Consult.Publish) == 1 })

	// The encounter closes: it is over for everyone.
	c.send(link.Message{Presence: &link.Presence{}})
	c.until(func(m link.Message) bool { return m.Desired != nil && m.Desired.Consult == nil })
	if v := h.await("north", func(v CartView) bool { return v.State == Ready }); v.Consult.Why != "encounter" {
		t.Fatalf("%+v", v.Consult)
	}
	if tokens.Authorize(t.Context(), watch, stream, Watch) == nil {
		t.Fatal("over, and still watched")
	}
}

func TestCallIsTheTouch(t *testing.T) {
	h := newHub(t, newMemory(), kit.NewManual(start))
	detach := h.Attach("north", adaNorth.ID)
	c := h.dial("north")
	c.send(here(link.Presence{}))
	c.send(link.Message{Call: &link.Call{Encounter: visit, Reason: "rash"}})
	v := h.await("north", func(v CartView) bool { return v.Consult != nil })
	if v.State != Ready || v.Consult.Phase() != Calling || v.Consult.Reason != "rash" {
		t.Fatalf("%+v", v)
	}
	if _, err := h.Offer(t.Context(), adaNorth, "cart-1"); err != nil {
		t.Fatal(err)
	}
	if d := c.until(consulting(true)).Desired; len(d.Consult.Publish) != 1 {
		t.Fatalf("%+v", d.Consult)
	}
	h.await("north", func(v CartView) bool { return v.State == Busy && v.Consult.Phase() == Live })
	detach() // nobody looks: the lens goes off, and the consult stays
	if d := c.until(consulting(true)).Desired; len(d.Consult.Publish) != 0 || len(d.Consult.Watchers) != 0 {
		t.Fatalf("%+v", d.Consult)
	}
}

func TestConsultSurvives(t *testing.T) {
	m, clock := newMemory(), kit.NewManual(start)
	h := newHub(t, m, clock)
	h.Attach("north", adaNorth.ID)
	c := h.dial("north")
	c.send(here(link.Presence{}))
	c.send(link.Message{Call: &link.Call{Encounter: visit}})
	h.await("north", func(v CartView) bool { return v.Consult != nil })
	id, err := h.Offer(t.Context(), adaNorth, "cart-1")
	if err != nil {
		t.Fatal(err)
	}
	c.until(consulting(true))

	// The link drops for a minute: the same consult goes on by itself.
	c.ws.CloseNow()
	h.await("north", func(v CartView) bool { return v.State == Offline && v.Consult.Phase() == LinkLost })
	clock.Advance(time.Minute)
	c = h.dial("north")
	if d := c.until(consulting(true)).Desired.Consult; d.ID != id || d.Paused {
		t.Fatalf("%+v", d)
	}
	c.send(here(link.Presence{}))
	h.await("north", func(v CartView) bool { return v.Consult.Phase() == Live })

	// The hub restarts, for long: it waits for the nurse.
	c.ws.CloseNow()
	h.await("north", func(v CartView) bool { return v.State == Offline })
	clock.Advance(LongOutage)
	h = newHub(t, m, clock)
	h.Attach("north", adaNorth.ID)
	if v := h.Carts("north")[0]; v.State != Offline || v.Consult.ID != id || v.Consult.Phase() != LinkLost {
		t.Fatalf("after a restart: %+v", v)
	}
	c = h.dial("north")
	if d := c.until(consulting(true)).Desired.Consult; d.ID != id || !d.Paused || len(d.Publish) != 0 {
		t.Fatalf("%+v", d)
	}
	c.send(link.Message{Presence: &link.Presence{}}) // the agent was restarted too, and still looks for its encounter
	c.send(here(link.Presence{}))
	c.send(link.Message{Answer: &link.Answer{Consult: id, Verb: "resume"}})
	c.until(func(m link.Message) bool { return m.Desired != nil && len(m.Desired.Consult.Publish) == 1 })

	// The encounter was closed: the item says so, whatever the presence says.
	s := &script{book: care}
	s.add(1, "closed", capture.Body{Kind: capture.Event, Event: &capture.EventInfo{What: "closed"}})
	h.Observe(t.Context(), s.all[0])
	c.until(func(m link.Message) bool { return m.Desired != nil && m.Desired.Consult == nil })
}

func TestNewerConnectionReplaces(t *testing.T) {
	h := newHub(t, newMemory(), kit.NewManual(start))
	first := h.dial("north")
	first.send(here(link.Presence{}))
	h.await("north", met)
	h.dial("north")
	if p := first.until(func(m link.Message) bool { return m.Problem != nil }).Problem; p.Code != "replaced" {
		t.Fatal(p)
	}
	if err := <-h.ended; !errors.Is(err, ErrReplaced) {
		t.Fatal(err)
	}
	if v := h.Carts("north")[0]; v.State != Ready {
		t.Fatal("the end of the first connection took the second one down")
	}
}

func TestDeadLinkShowsWithinTenSeconds(t *testing.T) {
	clock := kit.NewManual(start)
	h := newHub(t, newMemory(), clock)
	// This cart answers no pings: nobody reads on its side.
	h.dial("north")
	h.await("north", func(v CartView) bool { return v.State == Ready })
	for range 2 { // the ping, then its deadline
		clock.AwaitWaiters(1)
		clock.Advance(pingEvery)
	}
	for {
		select {
		case err := <-h.ended:
			if v := h.Carts("north")[0]; err == nil || v.State != Offline {
				t.Fatalf("%v %+v", err, v)
			}
			return
		case <-time.After(10 * time.Millisecond): // the ping was not yet waited for when the clock moved
			clock.Advance(pingTime)
		}
	}
}

func TestWhoSawItIsTold(t *testing.T) {
	m := newMemory()
	h := newHub(t, m, kit.NewManual(start))
	s := &script{book: care}
	item := s.still(1, "a", "left")
	s.correct(1, "b", item, capture.WrongSide, "right")
	h.Observe(t.Context(), s.all[0])
	if err := h.Viewed(t.Context(), adaNorth, item); err != nil {
		t.Fatal(err)
	}
	h.Observe(t.Context(), s.all[1])
	got, err := h.Notices(t.Context(), adaNorth)
	if err != nil || len(got) != 1 || got[0].Code != "corrected" || got[0].With["item"] != item.String() {
		t.Fatalf("%+v %v", got, err)
	}
	for _, other := range []Who{{"north", ben}, {"south", ada}} {
		if got, _ := h.Notices(t.Context(), other); len(got) != 0 {
			t.Fatalf("%v is told too: %+v", other, got)
		}
	}
	if err := h.Dismiss(t.Context(), adaNorth, got[0].ID); err != nil {
		t.Fatal(err)
	}
	if got, _ := h.Notices(t.Context(), adaNorth); len(got) != 0 {
		t.Fatal("dismissed, and still there")
	}
}

func TestSplitEndsTheConsultAndTellsBothSides(t *testing.T) {
	h := newHub(t, newMemory(), kit.NewManual(start))
	c := h.dial("north")
	c.send(here(link.Presence{}))
	c.send(link.Message{Call: &link.Call{Encounter: visit}})
	h.await("north", func(v CartView) bool { return v.Consult != nil })
	if _, err := h.Offer(t.Context(), adaNorth, "cart-1"); err != nil {
		t.Fatal(err)
	}
	s := &script{book: care}
	s.bind(1, "a", maria)
	s.bind(2, "b", joachim)
	h.Observe(t.Context(), s.all[0])
	if d := c.until(func(m link.Message) bool { return m.Desired != nil && m.Desired.Patient != nil }).Desired; d.Patient.Patient != maria || d.Consult == nil || len(d.Today) != 1 {
		t.Fatal("the banner is not brought back")
	}
	h.Observe(t.Context(), s.all[1])
	n := c.until(func(m link.Message) bool { return m.Notice != nil }).Notice
	if n.Code != "encounter-split" {
		t.Fatalf("%+v", n)
	}
	c.until(func(m link.Message) bool {
		return m.Desired != nil && m.Desired.Consult == nil && m.Desired.Patient.Patient == joachim
	})
	got, err := h.Notices(t.Context(), Who{"north", ben})
	if err != nil || len(got) != 1 || got[0].Code != "encounter-split" {
		t.Fatalf("%+v %v", got, err)
	}
	part, err := ledgerID(got[0].With["part"])
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[ledger.ID]capture.Patient{visit: maria, part: joachim} {
		e, _, err := h.Encounter("north", id)
		if err != nil || *e.Patient != want || len(e.Items) != 1 {
			t.Fatalf("%s: %v", id, err)
		}
	}
	if _, _, err := h.Encounter("south", visit); !errors.Is(err, ErrUnknown) {
		t.Fatalf("another tenant: %v", err)
	}
}

func TestNameAlert(t *testing.T) {
	m := newMemory()
	h := newHub(t, m, kit.NewManual(start))
	a, b := &script{book: care}, &script{book: ledger.Book{Tenant: "north", Cart: "cart-2"}}
	a.bind(1, "a", maria)
	b.bind(1, "b", mario)
	b.all[0].Body.Encounter = ledger.ID{0xe2}
	h.Observe(t.Context(), a.all[0])
	h.Observe(t.Context(), b.all[0])
	if n, err := m.Unseen(t.Context(), Recipient{Tenant: "north", Cart: "cart-2"}); err != nil || len(n) != 1 || n[0].Code != "name-alert" {
		t.Fatalf("%+v %v", n, err)
	}
	if _, alike, err := h.Encounter("north", visit); err != nil || len(alike) != 1 || alike[0] != mario {
		t.Fatalf("%d %v", len(alike), err)
	}
}

func ledgerID(s string) (id ledger.ID, err error) { return id, id.UnmarshalText([]byte(s)) }
