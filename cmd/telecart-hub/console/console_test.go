package console

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
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
	"telecart/provisioning/people"
	"telecart/uplink/hub/clinic"
	"telecart/uplink/link"
	"telecart/uplink/steer"
	"telecart/uplink/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const password = "a long enough password"

var (
	start   = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	visit   = ledger.ID{0xe1}
	picture = ledger.Hash{0xaa}
	maria   = capture.Patient{ID: "MRN-100", Name: "María Sample", BirthDate: "2019-04-02"}
)

// secrets are what must never reach IT or another tenant.
var secrets = []string{"MRN-100", "María", "2019-04-02", `"text":"98"`, "oxygen-saturation", "itching rash", "a note about her"}

type world struct {
	t      *testing.T
	f      *fake
	clinic *clinic.Service
	server *httptest.Server
	cart   *websocket.Conn
}

// newWorld has one cart in the north, online, with a patient, a picture, a reading and a call; and people in two tenants.
func newWorld(t *testing.T) *world {
	t.Helper()
	ctx := t.Context()
	clock := kit.System{}
	f := &fake{viewed: map[ledger.Hash][]string{}}
	log := slog.New(slog.DiscardHandler)
	c, err := clinic.New(ctx, clinic.Options{Store: f, Cabinet: f, Rooms: f, Greeter: f, Tokens: clinic.NewTokens(clock), Clock: clock, Log: log},
		[]clinic.Cart{{Tenant: "north", Name: "cart-1", Site: "ward"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	memory := people.NewMemory(100)
	rules := people.DefaultRules()
	rules.Cost = people.Cost{MemoryKiB: 64, Passes: 1, Lanes: 1}
	book := people.NewBook(memory, clock, rules)
	for _, a := range []people.Account{{Tenant: "north", Name: "ada", Display: "Dr. Ada", Role: people.Specialist}, {Tenant: "north", Name: "ivo", Display: "Ivo", Role: people.IT},
		{Tenant: "south", Name: "sol", Display: "Dr. Sol", Role: people.Specialist}} {
		if err := book.Add(ctx, a, password); err != nil {
			t.Fatal(err)
		}
	}
	limits := people.DefaultLimits()
	s := New(Options{Hub: "hub.example.org", Version: "test", Door: doorman{book}, Sessions: people.NewSessions(memory, memory, clock, limits), Idle: limits.Idle,
		Clinic: c, Blobs: f, Fleet: f, Audit: f, Clock: clock, Log: log})
	mux := http.NewServeMux()
	for _, r := range s.Routes() {
		mux.Handle(r.Method+" "+r.Path, r.Handler)
	}
	mux.HandleFunc("/link", func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer ws.CloseNow()
		c.ServeLink(r.Context(), ws, clinic.Cart{Tenant: "north", Name: "cart-1"})
	})
	w := &world{t: t, f: f, clinic: c, server: httptest.NewServer(s.Guard(mux))}
	t.Cleanup(w.server.Close)
	w.fill()
	return w
}

func (w *world) fill() {
	w.t.Helper()
	at := kit.Stamp{Wall: start}
	value := &device.Reading{Quantity: "oxygen-saturation", Value: device.Decimal{Coef: 98}, Unit: "%", At: at}
	for n, b := range []capture.Body{
		{Kind: capture.Binding, Binding: &capture.BindingInfo{Patient: maria, Method: "wristband"}},
		{Kind: capture.Still, Media: &capture.MediaInfo{Type: "image/jpeg"}},
		{Kind: capture.Reading, Reading: value},
		{Kind: capture.Note, Note: &capture.NoteInfo{Text: "a note about her"}},
	} {
		b.Encounter, b.At = visit, at
		item := ledger.Hash{0xa9 + byte(n)}
		w.clinic.Observe(w.t.Context(), clinic.Arrival{Book: ledger.Book{Tenant: "north", Cart: "cart-1"}, Item: item, Sequence: uint64(n + 1), Arrived: time.Now(),
			Entry: ledger.Entry{Number: uint64(n), Kind: ledger.Item, Body: item}, Body: b})
	}
	ws, _, err := websocket.Dial(w.t.Context(), strings.Replace(w.server.URL, "http", "ws", 1)+"/link", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { ws.CloseNow() })
	w.cart = ws
	w.fromCart(link.Message{Hello: &link.Hello{Protocol: [2]int{1, 1}, Version: "1.0"}})
	w.fromCart(link.Message{Presence: &link.Presence{Encounter: &link.Encounter{ID: visit, Opened: start}, Instruments: []link.Instrument{
		{Name: "scope", Kind: device.KindCamera, Health: device.Health{State: device.Live}},
		{Name: "oximeter", Kind: device.KindOximeter, Health: device.Health{State: device.Live}, Readings: []link.ReadingState{{Reading: *value}}}}}})
	w.fromCart(link.Message{Call: &link.Call{Encounter: visit, Reason: "itching rash"}})
}

func (w *world) fromCart(m link.Message) {
	w.t.Helper()
	b, err := json.Marshal(m)
	if err == nil {
		err = w.cart.Write(w.t.Context(), websocket.MessageText, b)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// cartGets reads what the hub says to the cart, up to what is wanted.
func (w *world) cartGets(want func(link.Message) bool) link.Message {
	w.t.Helper()
	for {
		_, b, err := w.cart.Read(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		var m link.Message
		if err := json.Unmarshal(b, &m); err != nil {
			w.t.Fatal(err)
		}
		if want(m) {
			return m
		}
	}
}

type browser struct {
	w      *world
	cookie *http.Cookie
	ws     *websocket.Conn
	n      int64
	seen   *encounter // last
}

func (w *world) do(method, path, body string, change func(*http.Request)) *http.Response {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.server.URL+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if change != nil {
		change(r)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { resp.Body.Close(); http.DefaultTransport.(*http.Transport).CloseIdleConnections() })
	return resp
}

func (w *world) signIn(name string) *browser {
	w.t.Helper()
	resp := w.do("POST", "/v1/session", fmt.Sprintf(`{"name":%q,"password":%q}`, name, password), func(r *http.Request) {
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Origin", w.server.URL)
	})
	if resp.StatusCode != http.StatusOK || len(resp.Cookies()) != 1 {
		w.t.Fatalf("sign-in: %s", resp.Status)
	}
	return &browser{w: w, cookie: resp.Cookies()[0]}
}

func (b *browser) open() *browser {
	b.w.t.Helper()
	ws, _, err := websocket.Dial(b.w.t.Context(), strings.Replace(b.w.server.URL, "http", "ws", 1)+"/v1/ws",
		&websocket.DialOptions{HTTPHeader: http.Header{"Cookie": {b.cookie.String()}, "Origin": {b.w.server.URL}}})
	if err != nil {
		b.w.t.Fatal(err)
	}
	b.w.t.Cleanup(func() { ws.CloseNow() })
	ws.SetReadLimit(1 << 20)
	b.ws = ws
	return b
}

// said is one message to the page, with its text.
type said struct {
	State     *state
	Encounter *encounter
	Reply     *int64
	OK        bool
	Problem   *wire.Problem
	Result    map[string]any
	text      string
}

func (b *browser) next() (m said) {
	b.w.t.Helper()
	ctx, cancel := context.WithTimeout(b.w.t.Context(), 10*time.Second)
	defer cancel()
	_, text, err := b.ws.Read(ctx)
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		b.w.t.Fatal(err)
	}
	m.text = string(text)
	if m.Encounter != nil {
		b.seen = m.Encounter
	}
	return m
}

func (b *browser) until(want func(said) bool) said {
	b.w.t.Helper()
	for {
		if m := b.next(); want(m) {
			return m
		}
	}
}

// ask sends a command and waits for its reply.
func (b *browser) ask(verb string, args map[string]any) said {
	b.w.t.Helper()
	b.n++
	c := map[string]any{"id": b.n, "verb": verb}
	for k, v := range args {
		c[k] = v
	}
	text, err := json.Marshal(c)
	if err == nil {
		err = b.ws.Write(b.w.t.Context(), websocket.MessageText, text)
	}
	if err != nil {
		b.w.t.Fatal(err)
	}
	return b.until(func(m said) bool { return m.Reply != nil && *m.Reply == b.n })
}

func calls(m said) bool {
	return m.State != nil && len(m.State.Carts) == 1 && m.State.Carts[0].Calling != nil
}

func TestSpecialistSeesAndSteers(t *testing.T) {
	w := newWorld(t)
	ada := w.signIn("north/ada").open()
	st := ada.until(calls).State.Carts[0]
	if st.Calling.Reason != "itching rash" || st.Encounter.Patient.Name != maria.Name || *st.Encounter.Patient.Age < 6 || len(st.Instruments[1].Readings) != 0 {
		t.Fatalf("%+v", st)
	}
	if r := ada.ask("view", map[string]any{"encounter": visit.String()}); !r.OK {
		t.Fatal(r.Problem)
	}
	for ada.seen == nil { // it may come before the reply
		ada.next()
	}
	e := ada.seen
	if len(e.Items) != 4 || e.Items[0].Binding == nil || e.Items[3].Note != "a note about her" || e.Items[2].Receipt.Sequence != 3 {
		t.Fatalf("%d items", len(e.Items))
	}
	for _, i := range e.Items {
		if got := w.f.viewers(i.ID); !slices.Equal(got, []string{"ada"}) {
			t.Errorf("%s seen by %v", i.Kind, got)
		}
	}
	r := ada.ask("offer", map[string]any{"cart": "cart-1"})
	if !r.OK || r.Result["consult"] == "" {
		t.Fatal(r.Problem)
	}
	busy := ada.until(func(m said) bool { return m.State != nil && m.State.Carts[0].State == "busy" }).State.Carts[0]
	if got := busy.Instruments[1].Readings; len(got) != 1 || got[0].Text != "98" {
		t.Fatalf("let in, and sees %+v", got)
	}
	live := busy.Consult
	if live.Phase != "live" || !live.Mine || !slices.Equal(live.Watchers, []string{"Dr. Ada"}) || live.Streams[0].Stream != "north~cart-1~scope" {
		t.Fatalf("%+v", live)
	}
	if r := ada.ask("watch", map[string]any{"consult": live.ID, "instrument": "scope"}); r.Result["endpoint"] != "/v1/whep/north~cart-1~scope" || r.Result["token"] == "" {
		t.Fatalf("%+v %v", r.Result, r.Problem)
	}
	if r := ada.ask("lease", map[string]any{"cart": "cart-1", "instrument": "scope"}); !r.OK {
		t.Fatal(r.Problem)
	}
	if l := w.cartGets(func(m link.Message) bool { return m.Lease != nil }).Lease; l.Who != "ada" {
		t.Fatalf("%+v", l)
	}
	if r := ada.ask("steer", map[string]any{"cart": "cart-1", "instrument": "scope", "epoch": 1, "seq": 1, "set": map[string]int{"zoom": 3}}); !r.OK {
		t.Fatal(r.Problem)
	}
	if p := w.cartGets(func(m link.Message) bool { return m.Setpoint != nil }).Setpoint; p.Set["zoom"] != 3 {
		t.Fatalf("%+v", p)
	}
	w.fromCart(link.Message{Samples: &device.Samples{Quantity: "pleth", RateHz: 75, Values: []int32{1, 2, 3}, Instrument: device.Identity{Name: "oximeter"}}})
	ada.until(func(m said) bool {
		return strings.Contains(m.text, `"samples":{"cart":"cart-1","instrument":"oximeter","quantity":"pleth","rate_hz":75,"values":[1,2,3]`)
	})
	done := make(chan said, 1)
	go func() {
		done <- ada.ask("act", map[string]any{"cart": "cart-1", "instrument": "scope", "epoch": 1, "kind": "still"})
	}()
	act := w.cartGets(func(m link.Message) bool { return m.Act != nil }).Act
	w.fromCart(link.Message{Result: &steer.ActResult{ID: act.ID, Error: "no-lease"}})
	if r := <-done; r.OK || r.Problem.Code != "no-lease" {
		t.Fatalf("%+v", r)
	}
	if r := ada.ask("nonsense", nil); r.OK || r.Problem.Code != "bad-command" {
		t.Fatalf("%+v", r)
	}
}

// Signing out ends what the account watches, even while its page is still open.
func TestSignOutEndsWatching(t *testing.T) {
	w := newWorld(t)
	ada := w.signIn("north/ada").open()
	ada.until(calls)
	r := ada.ask("offer", map[string]any{"cart": "cart-1"})
	if !r.OK {
		t.Fatal(r.Problem)
	}
	token := ada.ask("watch", map[string]any{"consult": r.Result["consult"], "instrument": "scope"}).Result["token"]
	if token == "" || w.f.wasKicked(fmt.Sprint(token)) {
		t.Fatalf("token %q", token)
	}
	if resp := w.do("DELETE", "/v1/session", "", func(r *http.Request) { r.AddCookie(ada.cookie) }); resp.StatusCode != http.StatusNoContent {
		t.Fatal(resp.Status)
	}
	if !w.f.wasKicked(fmt.Sprint(token)) {
		t.Fatal("signed out, and still watching")
	}
}

func TestITSeesNoPatient(t *testing.T) {
	w := newWorld(t)
	ivo := w.signIn("north/ivo").open()
	m := ivo.until(calls)
	for _, s := range secrets {
		if strings.Contains(m.text, s) {
			t.Errorf("IT is sent %q", s)
		}
	}
	if c := m.State.Carts[0]; c.Cart != "cart-1" || len(c.Instruments) != 2 {
		t.Errorf("IT does not see the cart: %+v", c)
	}
	for verb, args := range map[string]map[string]any{"view": {"encounter": visit.String()}, "offer": {"cart": "cart-1"}, "lease": {"cart": "cart-1"}, "act": {"cart": "cart-1"}} {
		if r := ivo.ask(verb, args); r.OK || r.Problem.Status != http.StatusForbidden {
			t.Errorf("%s: %+v", verb, r)
		}
	}
	if resp := w.do("GET", "/v1/items/"+picture.String()+"/blob", "", func(r *http.Request) { r.AddCookie(ivo.cookie) }); resp.StatusCode != http.StatusForbidden {
		t.Errorf("IT gets the picture: %s", resp.Status)
	}
	if r := ivo.ask("claim", map[string]any{"cart": "cart-9", "site": "ward"}); !r.OK || r.Result["code"] != "TC1-northcart-9ward" {
		t.Errorf("%+v", r)
	}
	if r := ivo.ask("ledger", map[string]any{"cart": "cart-1", "every": true}); !r.OK || r.Result["backup"] != 7.0 || r.Result["every"] != true || r.Result["unseen"] != true {
		t.Errorf("%+v", r)
	}
	if r := ivo.ask("ledger", map[string]any{"cart": "cart-99"}); r.OK || r.Problem.Code != "not-found" {
		t.Errorf("%+v", r)
	}
	if r := ivo.ask("ledger-seen", map[string]any{"cart": "cart-1"}); !r.OK || !slices.Equal(w.f.revoke, []string{"seen north/cart-1"}) {
		t.Errorf("%+v %v", r, w.f.revoke)
	}
	w.f.revoke = nil
	if r := ivo.ask("revoke", map[string]any{"cart": "cart-1"}); !r.OK || !slices.Equal(w.f.revoke, []string{"north/cart-1"}) {
		t.Errorf("%+v", r)
	}
}

func TestAnotherTenantSeesNothing(t *testing.T) {
	w := newWorld(t)
	w.signIn("north/ada").open().until(calls) // it has all arrived
	sol := w.signIn("south/sol").open()
	m := sol.until(func(m said) bool { return m.State != nil })
	if len(m.State.Carts) != 0 || len(m.State.Notices) != 0 {
		t.Fatalf("%s", m.text)
	}
	for verb, args := range map[string]map[string]any{"view": {"encounter": visit.String()}, "offer": {"cart": "cart-1"}, "end": {"consult": w.clinic.Carts("north")[0].Consult.ID}} {
		r := sol.ask(verb, args)
		if r.OK || r.Problem.Status != http.StatusNotFound && r.Problem.Code != "not-in-consult" {
			t.Errorf("%s: %+v", verb, r)
		}
		for _, s := range secrets {
			if strings.Contains(r.text, s) {
				t.Errorf("%s says %q", verb, s)
			}
		}
	}
	if resp := w.do("GET", "/v1/items/"+picture.String()+"/blob", "", func(r *http.Request) { r.AddCookie(sol.cookie) }); resp.StatusCode != http.StatusNotFound {
		t.Errorf("the picture: %s", resp.Status)
	}
}

func TestBlob(t *testing.T) {
	w := newWorld(t)
	ada := w.signIn("north/ada")
	resp := w.do("GET", "/v1/items/"+picture.String()+"/blob", "", func(r *http.Request) { r.AddCookie(ada.cookie) })
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || string(body) != "\xff\xd8 the very bytes" {
		t.Fatalf("%s %q %v", resp.Status, body, err)
	}
	for k, want := range map[string]string{"Content-Type": "image/jpeg", "Cache-Control": "no-store", "Content-Security-Policy": "sandbox; default-src 'none'", "X-Content-Type-Options": "nosniff"} {
		if got := resp.Header.Get(k); got != want {
			t.Errorf("%s: %q", k, got)
		}
	}
	if !slices.Equal(w.f.viewers(picture), []string{"ada"}) {
		t.Error("the view is not recorded")
	}
	if last := w.f.audit[len(w.f.audit)-1]; !strings.HasPrefix(last, "north/ada view-item") {
		t.Errorf("the audit trail says %q", last)
	}
	note := ledger.Hash{0xac}
	for path, want := range map[string]int{"/v1/items/" + note.String() + "/blob": 404, "/v1/items/zz/blob": 404} {
		if resp := w.do("GET", path, "", func(r *http.Request) { r.AddCookie(ada.cookie) }); resp.StatusCode != want {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	if resp := w.do("GET", "/v1/items/"+picture.String()+"/blob", "", nil); resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("not signed in: %s", resp.Status)
	}
}

func TestSession(t *testing.T) {
	w := newWorld(t)
	asJSON := func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }
	good := fmt.Sprintf(`{"name":"north/ada","password":%q}`, password)
	for name, c := range map[string]struct {
		body   string
		change func(*http.Request)
		status int
		code   string
	}{
		"wrong password": {`{"name":"north/ada","password":"x"}`, asJSON, 401, "unauthorized"},
		"unknown":        {`{"name":"north/eve","password":"x"}`, asJSON, 401, "unauthorized"},
		"a form":         {good, nil, 415, "content-type"},
		"not JSON":       {"{", asJSON, 400, "bad-request"},
		"another origin": {good, func(r *http.Request) { asJSON(r); r.Header.Set("Origin", "https://evil.example") }, 403, "origin"},
		"another host":   {good, func(r *http.Request) { asJSON(r); r.Host = "evil.example" }, 421, "host"},
	} {
		resp := w.do("POST", "/v1/session", c.body, c.change)
		var p wire.Problem
		if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || resp.StatusCode != c.status || p.Code != c.code || len(resp.Cookies()) != 0 {
			t.Errorf("%s: %s %+v %v", name, resp.Status, p, err)
		}
	}
	b := w.signIn("north/ada")
	if c := b.cookie; !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" {
		t.Errorf("%+v", c)
	}
	with := func(r *http.Request) { r.AddCookie(b.cookie) }
	resp := w.do("GET", "/v1/session", "", with)
	var who me
	if err := json.NewDecoder(resp.Body).Decode(&who); err != nil || who != (me{"ada", "Dr. Ada", "specialist", "north"}) {
		t.Errorf("%+v %v", who, err)
	}
	secure := w.do("POST", "/v1/session", good, func(r *http.Request) { asJSON(r); r.Header.Set("X-Forwarded-Proto", "https") })
	if !secure.Cookies()[0].Secure {
		t.Error("behind a TLS proxy the cookie is not Secure")
	}
	for name, origin := range map[string]string{"none": "", "another": "https://evil.example"} {
		_, resp, err := websocket.Dial(t.Context(), w.server.URL+"/v1/ws", &websocket.DialOptions{HTTPHeader: http.Header{"Cookie": {b.cookie.String()}, "Origin": {origin}}})
		if err == nil || resp.StatusCode != http.StatusForbidden {
			t.Errorf("WebSocket from origin %s: %v", name, err)
		}
	}
	if resp := w.do("DELETE", "/v1/session", "", with); resp.StatusCode != http.StatusNoContent || resp.Cookies()[0].MaxAge >= 0 {
		t.Errorf("sign-out: %s", resp.Status)
	}
	if resp := w.do("GET", "/v1/session", "", with); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("after the sign-out: %s", resp.Status)
	}
}
