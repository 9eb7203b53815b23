package serve

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device"
	"telecart/device/kit"
	"telecart/provisioning/claim"
	"telecart/provisioning/identity"
	"telecart/uplink/link"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	hubName  = "hub.test"
	password = "a long enough password"
)

// logs is what the hub logged.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// running is a hub that runs, with its addresses.
type running struct {
	t             *testing.T
	state         string
	https, people string
	log           *logs
	stop          func()
}

func initState(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	if err := InitKeys(filepath.Join(dir, "offline"), state, hubName, time.Now()); err != nil {
		t.Fatal(err)
	}
	return state
}

func start(t *testing.T, state string) *running {
	t.Helper()
	return startMedia(t, state, "127.0.0.1:0")
}

func startMedia(t *testing.T, state, media string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	h := &running{t: t, state: state, log: &logs{}}
	done := make(chan error, 1)
	go func() {
		err := Run(ctx, Settings{Name: hubName, Listen: "127.0.0.1:0", PeopleListen: "127.0.0.1:0", MediaListen: media, MetricsListen: "127.0.0.1:0", State: state},
			"v-test", w, slog.New(slog.NewJSONHandler(h.log, nil)))
		w.CloseWithError(errors.Join(io.EOF, err))
		done <- err
	}()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the hub ended with %v", err)
		}
	})
	t.Cleanup(h.stop)
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if n, err := fmt.Sscanf(line, "ready https=%s people=%s\n", &h.https, &h.people); n != 2 || err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return h
}

// cart is an enrolled cart with a ledger.
type cart struct {
	t     *testing.T
	id    *identity.Cart
	ws    *websocket.Conn
	http  *http.Client
	book  ledger.Book
	chain ledger.Chain
	key   *seal.Key
	keys  wire.KeyList
	visit ledger.ID
	empty bool // it says that nothing waits
	store ledger.ID
}

func (h *running) enrol(dir string) *cart { h.t.Helper(); return h.enrolAs("cart-1", dir) }

func (h *running) enrolAs(name, dir string) *cart {
	h.t.Helper()
	r, err := IssueClaim(h.t.Context(), h.state, ClaimRequest{Tenant: "north", Cart: name, Site: "ward"})
	if err != nil {
		h.t.Fatal(err)
	}
	cl, err := claim.Parse(r.Code)
	if err != nil || cl.HubAddress != h.https || r.QR == "" {
		h.t.Fatalf("%+v %v", cl, err)
	}
	id, err := identity.Open(dir, kit.System{})
	if err == nil {
		err = id.Enrol(h.t.Context(), cl)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	c := &cart{t: h.t, id: id, book: ledger.Book{Tenant: "north", Cart: name}, visit: ledger.NewID()}
	c.chain = ledger.NewChain(c.book, ledger.NewID(), ledger.NewID())
	return c
}

// dial opens the link and greets.
func (c *cart) dial() link.Welcome {
	c.t.Helper()
	transport, err := c.id.Transport()
	if err != nil {
		c.t.Fatal(err)
	}
	c.http = &http.Client{Transport: transport}
	c.t.Cleanup(c.http.CloseIdleConnections)
	c.ws, _, err = websocket.Dial(c.t.Context(), "https://carts."+hubName+link.Path, &websocket.DialOptions{HTTPClient: c.http})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { c.ws.CloseNow() })
	c.ws.SetReadLimit(link.MaxMessage)
	hello := link.Hello{Protocol: [2]int{1, 1}, Version: "1.0", Run: c.chain.Run, Keys: c.keys.Version, Empty: c.empty, Store: c.store}
	if c.chain.Next > 0 {
		head, err := c.chain.Sign(c.book, c.id.Signer())
		if err != nil {
			c.t.Fatal(err)
		}
		hello.Heads = []ledger.Head{head}
	}
	c.send(link.Message{Hello: &hello})
	w := c.until(func(m link.Message) bool { return m.Welcome != nil }).Welcome
	c.store = w.Store
	if w.Version != "v-test" {
		c.t.Fatalf("the hub says it is version %q", w.Version)
	}
	who, err := c.id.Identity()
	if err != nil {
		c.t.Fatal(err)
	}
	if c.keys, err = w.Keys.Open(who.KeysRoot[:], 0); err != nil {
		c.t.Fatal(err)
	}
	return *w
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

func (c *cart) until(want func(link.Message) bool) link.Message {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	for {
		_, b, err := c.ws.Read(ctx)
		var m link.Message
		if err == nil {
			err = json.Unmarshal(b, &m)
		}
		if err != nil {
			c.t.Fatal(err)
		}
		if want(m) {
			return m
		}
	}
}

// put seals an item, sends it and checks the receipt as a cart does.
func (c *cart) put(b capture.Body) ledger.Hash {
	c.t.Helper()
	if c.key == nil {
		record, err := c.keys.Record(false)
		if err != nil {
			c.t.Fatal(err)
		}
		s, err := seal.NewSealer(c.book, c.chain.Run, record)
		if err == nil {
			c.key, err = s.NewKey(c.visit)
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
	b.Encounter, b.At = c.visit, kit.Stamp{Wall: time.Now()}
	plain, err := b.Marshal()
	if err != nil {
		c.t.Fatal(err)
	}
	var chunks [][]byte
	sealed, err := c.key.Seal(uint8(b.Kind), wire.Routine, plain, func(_ int, p []byte) error {
		chunks = append(chunks, bytes.Clone(p))
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	m := wire.Manifest{Header: sealed.Bytes, Wrap: c.key.Wrap().Marshal(), Entry: c.chain.Entry(ledger.Item, sealed.Hash), Chunks: sealed.Chunks}
	c.chain = c.chain.Advance(m.Entry)
	raw := m.Marshal()
	body := append(binary.BigEndian.AppendUint32(nil, uint32(len(raw))), raw...)
	for i, p := range chunks {
		body = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(body, uint32(i)), uint32(len(p)))
		body = append(body, p...)
	}
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPut, "https://carts."+hubName+"/v1/items/"+sealed.Hash.String()+"?practice=0", bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		c.t.Fatalf("%s %s %v", resp.Status, answer, err)
	}
	r, err := wire.UnmarshalReceipt(answer)
	if err == nil {
		err = r.Verify(c.keys, c.book, m.Entry)
	}
	if err != nil || r.Verdict != wire.Received {
		c.t.Fatalf("%+v %v", r.Verdict, err)
	}
	return sealed.Hash
}

// person is somebody at the console.
type person struct {
	h      *running
	cookie *http.Cookie
	ws     *websocket.Conn
}

func (h *running) get(url string, cookie *http.Cookie) (int, string) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	if cookie != nil {
		req.AddCookie(cookie)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func (h *running) signIn(name string) *person {
	h.t.Helper()
	resp, err := http.Post("http://"+h.people+"/v1/session", "application/json", strings.NewReader(fmt.Sprintf(`{"name":%q,"password":%q}`, name, password)))
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != http.StatusOK {
		h.t.Fatal(resp.Status)
	}
	p := &person{h: h, cookie: resp.Cookies()[0]}
	p.ws, _, err = websocket.Dial(h.t.Context(), "ws://"+h.people+"/v1/ws", &websocket.DialOptions{HTTPHeader: http.Header{
		"Cookie": {p.cookie.String()}, "Origin": {"http://" + h.people}}})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { p.ws.CloseNow() })
	p.ws.SetReadLimit(1 << 20)
	return p
}

func (p *person) say(text string) {
	p.h.t.Helper()
	if err := p.ws.Write(p.h.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		p.h.t.Fatal(err)
	}
}

// until reads to the first message that has all the words.
func (p *person) until(words ...string) string {
	p.h.t.Helper()
	ctx, cancel := context.WithTimeout(p.h.t.Context(), 20*time.Second)
	defer cancel()
	for {
		_, b, err := p.ws.Read(ctx)
		if err != nil {
			p.h.t.Fatalf("waiting for %q: %v", words, err)
		}
		if !slices.ContainsFunc(words, func(w string) bool { return !bytes.Contains(b, []byte(w)) }) {
			return string(b)
		}
	}
}

func consulting(m link.Message) bool {
	return m.Desired != nil && m.Desired.Consult != nil && m.Desired.Consult.Accepted && len(m.Desired.Consult.Publish) == 1
}

// A claim, an enrolment, a link, a patient, a picture, a call, a consult; a restart of the hub in the middle; a backup.
func TestHubFromEndToEnd(t *testing.T) {
	state := initState(t)
	for name, role := range map[string]string{"ada": "specialist", "ivo": "it"} {
		if err := AddUser(t.Context(), state, UserRequest{Tenant: "north", Name: name, Display: "Dr. " + name, Role: role, Password: password}); err != nil {
			t.Fatal(err)
		}
	}
	h := start(t, state)
	c := h.enrol(t.TempDir())
	c.dial()
	c.send(presence(c.visit))
	c.put(capture.Body{Kind: capture.Binding, Binding: &capture.BindingInfo{Patient: capture.Patient{ID: "MRN-100", Name: "María Sample", BirthDate: "2019-04-02"}, Method: "wristband"}})
	picture := bytes.Repeat([]byte("\xff\xd8 jpeg "), 20_000) // more than one chunk
	still := c.put(capture.Body{Kind: capture.Still, Media: &capture.MediaInfo{Type: "image/jpeg"}, Blob: picture})
	if d := c.until(func(m link.Message) bool { return m.Desired != nil && m.Desired.Patient != nil }).Desired; d.Patient.Patient.ID != "MRN-100" {
		t.Fatal("another patient's banner")
	}
	c.send(link.Message{Call: &link.Call{Encounter: c.visit, Reason: "rash"}})

	ada, ivo := h.signIn("ada"), h.signIn("north/ivo")
	ada.until(`"calling":{"reason":"rash"`, "María Sample", `"site":"ward"`, `"version":"v-test"`)
	if text := ivo.until(`"calling"`); strings.Contains(text, "María") || strings.Contains(text, "MRN-100") || strings.Contains(text, "rash") {
		t.Fatal("IT sees the patient")
	}
	ada.say(fmt.Sprintf(`{"id":1,"verb":"view","encounter":%q}`, c.visit))
	ada.until(`"encounter":{"summary"`, still.String())
	if code, body := h.get("http://"+h.people+"/v1/items/"+still.String()+"/blob", ada.cookie); code != 200 || body != string(picture) {
		t.Fatalf("the picture: %d, %d bytes of %d", code, len(body), len(picture))
	}
	ada.say(`{"id":2,"verb":"offer","cart":"cart-1"}`)
	consult := c.until(consulting).Desired.Consult

	// The hub restarts: sessions, worklist, encounter and consult are as they were.
	h.stop()
	h = start(t, state)
	ada.h = h
	moved(t, c, h)
	c.dial()
	if again := c.until(func(m link.Message) bool { return m.Desired != nil && m.Desired.Consult != nil }).Desired; again.Consult.ID != consult.ID || !again.Consult.Accepted {
		t.Fatalf("another consult: %+v", again.Consult)
	}
	c.send(presence(c.visit))
	if code, _ := h.get("http://"+h.people+"/v1/session", ada.cookie); code != 200 {
		t.Fatalf("signed out by a restart: %d", code)
	}
	ada2 := h.signIn("ada")
	ada2.until(`"phase":"live"`, "María Sample")
	c.until(consulting)

	// A backup while it runs tells the cart what it may erase.
	backup := filepath.Join(t.TempDir(), "backup")
	if err := Backup(t.Context(), state, backup); err != nil {
		t.Fatal(err)
	}
	w := c.until(func(m link.Message) bool { return m.Water != nil }).Water
	if err := w.Verify(c.keys); err != nil || w.Sequence != 2 {
		t.Fatalf("%+v %v", w, err)
	}

	if code, body := h.get("http://"+h.people+"/healthz", nil); code != 200 {
		t.Fatalf("%d %s", code, body)
	}
	// IT revokes the cart: its link ends at once, and it is not let in again.
	ivo2 := h.signIn("ivo")
	ivo2.say(`{"id":3,"verb":"revoke","cart":"cart-1"}`)
	if p := c.until(func(m link.Message) bool { return m.Problem != nil }).Problem; p.Code != "certificate-revoked" {
		t.Fatal(p)
	}
	if _, resp, err := websocket.Dial(t.Context(), "https://carts."+hubName+link.Path, &websocket.DialOptions{HTTPClient: c.http}); err == nil || resp.StatusCode != http.StatusForbidden {
		t.Fatalf("a revoked cart: %v", err)
	}
	h.stop()
	for _, secret := range []string{"María", "MRN-100", "rash", password} {
		if strings.Contains(h.log.String(), secret) {
			t.Errorf("the log says %q", secret)
		}
	}

	// What was backed up runs, with everything in it.
	h = start(t, backup)
	h.signIn("ada").until("cart-1")
}

func presence(visit ledger.ID) link.Message {
	return link.Message{Presence: &link.Presence{Encounter: &link.Encounter{ID: visit, Opened: time.Now()},
		Instruments: []link.Instrument{{Name: "scope", Kind: "camera", Health: device.Health{State: device.Live}}}}}
}

// moved enrols the cart's identity at the hub's new port, with the same key.
func moved(t *testing.T, c *cart, h *running) {
	t.Helper()
	r, err := IssueClaim(t.Context(), h.state, ClaimRequest{Tenant: "north", Cart: c.book.Cart})
	if err != nil {
		t.Fatal(err)
	}
	cl, err := claim.Parse(r.Code)
	if err == nil {
		err = c.id.Enrol(t.Context(), cl)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestHealthHasReasons(t *testing.T) {
	state := initState(t)
	h := start(t, state)
	list := filepath.Join(state, keyListFile)
	if err := os.WriteFile(list, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, body := h.get("http://"+h.people+"/healthz", nil)
	if code != http.StatusServiceUnavailable || !strings.Contains(body, "key list") {
		t.Errorf("%d %s", code, body)
	}
}
