package link

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/outbox"
	"telecart/uplink/steer"
	"telecart/uplink/wire"
)

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func TestHelloAndHead(t *testing.T) {
	h := newHub(t, kit.System{})
	s := h.save(10)
	if err := h.client.Send(Message{Call: &Call{}}); err == nil {
		t.Error("something was queued for nobody")
	}
	put := make(chan struct{}, 1)
	h.put = func(w http.ResponseWriter, r *http.Request, in *upload) {
		if in.manifest.Hash() == s.Hash && len(h.hellos) == 0 {
			t.Error("an item came before the head")
		}
		h.receive(w, r, in)
		nudge(put)
	}
	h.run()
	st := h.state("up", true)
	next(t, "item", put)
	hello := next(t, "hello", h.hellos)
	if hello.Protocol != [2]int{1, 1} || len(hello.Heads) != 1 || hello.Heads[0].Number != s.Entry.Number || hello.Heads[0].Hash != s.Entry.Hash() {
		t.Errorf("%+v", hello)
	}
	if e, err := ledger.UnmarshalEntry(next(t, "entries", h.entries)); err != nil || e.Kind != ledger.Run {
		t.Errorf("%+v %v", e, err)
	}
	h.hear("presence", func(m Message) bool { return m.Presence != nil })
	h.until("receipt", func() bool { sent, _ := h.box.Sent(s.Hash); return sent })
	if st.Reason != "" || h.box.Stats().Held != 0 {
		t.Errorf("%+v", st)
	}
	// The head follows what is saved later, too.
	later := h.save(10)
	h.hear("head", func(m Message) bool { return m.Head != nil && m.Head.Hash == later.Entry.Hash() })
	if err := h.client.Send(Message{Answer: &Answer{Verb: "pause"}}); err != nil {
		t.Error(err)
	}
	if err := h.client.Result(steer.ActResult{ID: "a"}); err != nil {
		t.Error(err)
	}
	h.hear("answer", func(m Message) bool { return m.Answer != nil })
	h.hear("result", func(m Message) bool { return m.Result != nil })
	h.talk <- Message{Desired: &Desired{Seq: 4}}
	if m := next(t, "desired", h.got); m.Desired == nil || m.Desired.Seq != 4 {
		t.Error(mustJSON(t, m))
	}
}

// Every refusal of the hub reaches the screen as its code, and the next tries come later and later, by the clock.
func TestBackOff(t *testing.T) {
	for _, code := range []string{"revoked", "replaced"} {
		clock := kit.NewManual(start)
		h := newHub(t, clock)
		h.refuse = func() *wire.Problem { return wire.NewProblem(403, code, "No", "") }
		h.run()
		for i, wait := range []time.Duration{250, 500, 1000, 2000, 2000, 2000} {
			wait *= time.Millisecond
			next(t, "dial", h.dials)
			clock.AwaitWaiters(1)
			clock.Advance(wait/2 - time.Millisecond)
			clock.AwaitWaiters(1) // still the same one
			if len(h.dials) != 0 {
				t.Fatalf("dial %d came sooner than %s after the last", i+2, wait/2)
			}
			clock.Advance(wait/2 + time.Millisecond)
		}
		if s := h.state("down", false); s.Reason != code {
			t.Errorf("reason %q, want %q", s.Reason, code)
		}
	}
}

// A hub that says welcome and then ends the connection at once is not dialled in a storm.
func TestBackOffAfterWelcome(t *testing.T) {
	clock := kit.NewManual(start)
	h := newHub(t, clock)
	h.run()
	for _, wait := range []time.Duration{250, 500, 1000} {
		next(t, "dial", h.dials)
		h.talk <- Message{Problem: wire.NewProblem(409, "replaced", "Another connection took over", "")}
		if s := h.state("down", false); s.Reason != "replaced" {
			t.Fatalf("%+v", s)
		}
		// Other waits of the connection that ended may still stand in the clock; the last one asked for is the back-off.
		for len(h.dials) == 0 {
			clock.Advance(10 * time.Millisecond)
		}
		if since := clock.Now().Sub(h.client.Status().Since); !h.client.Status().Up && since < wait*time.Millisecond/2 {
			t.Fatalf("dialled %s after the end, not before %s", since, wait*time.Millisecond/2)
		}
	}
}

// A connection that is dead without a word is found by the ping, within PingEvery + PingWait.
func TestHalfOpen(t *testing.T) {
	clock := kit.NewManual(start)
	h := newHub(t, clock)
	h.deaf = true
	h.run()
	h.state("up", true)
	clock.AwaitFor(PingEvery)
	clock.Advance(PingEvery)
	clock.AwaitFor(PingWait) // for the answer
	if len(h.states) != 0 {
		t.Fatal("it ended before the ping")
	}
	clock.Advance(PingWait)
	if s := h.state("down", false); s.Reason != "no-answer" {
		t.Errorf("%+v", s)
	}
}

func TestNotWelcome(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		set    func(h *fakeHub, w *Welcome) *wire.Problem
	}{
		"a problem instead":   {"protocol", func(*fakeHub, *Welcome) *wire.Problem { return wire.NewProblem(426, "protocol", "Too old", "") }},
		"a protocol unheard":  {"no-answer", func(_ *fakeHub, w *Welcome) *wire.Problem { w.Protocol = 2; return nil }},
		"no protocol":         {"no-answer", func(_ *fakeHub, w *Welcome) *wire.Problem { w.Protocol = 0; return nil }},
		"keys of nobody":      {"keys-not-trusted", func(_ *fakeHub, w *Welcome) *wire.Problem { w.Keys.Signature = nil; return nil }},
		"keys of another day": {"old-key-list", func(h *fakeHub, _ *Welcome) *wire.Problem { return nil }},
		"keys of another root": {"keys-not-trusted", func(_ *fakeHub, w *Welcome) *wire.Problem {
			_, other, _ := ed25519.GenerateKey(nil)
			w.Keys, _ = wire.SignKeyList(wire.KeyList{Version: 9}, other)
			return nil
		}},
	} {
		h := newHub(t, kit.System{})
		if c.reason == "old-key-list" {
			h.held = 4
		}
		h.save(10)
		h.greet = func(_ Hello, w *Welcome) *wire.Problem { return c.set(h, w) }
		h.put = func(http.ResponseWriter, *http.Request, *upload) { t.Errorf("%s: an item was sent", name) }
		h.run()
		if s := next(t, "down", h.states); s.Up || s.Reason != c.reason {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// What was queued for a connection that ended is not said on the next one.
func TestStaleMessages(t *testing.T) {
	h := newHub(t, kit.System{})
	c := h.client
	c.set(Status{Up: true})
	if err := c.Send(Message{Answer: &Answer{Consult: "old", Verb: "accept"}}); err != nil {
		t.Fatal(err)
	}
	c.set(Status{Reason: "no-answer"})
	h.state("down, as the test said", false)
	h.run()
	h.state("up", true)
	if err := c.Send(Message{Answer: &Answer{Consult: "new", Verb: "pause"}}); err != nil {
		t.Fatal(err)
	}
	if m := h.hear("answer", func(m Message) bool { return m.Answer != nil }); m.Answer.Consult != "new" {
		t.Errorf("said: %+v", m.Answer)
	}
}

func TestSendIsBounded(t *testing.T) {
	h := newHub(t, kit.System{})
	h.client.set(Status{Up: true})
	for range cap(h.client.results) {
		if err := h.client.Send(Message{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.client.Send(Message{}); !errors.Is(err, ErrBusy) {
		t.Errorf("%v", err)
	}
}

// The hub knows a ledger that this cart does not: it goes on in a new incarnation, and says so.
func TestFork(t *testing.T) {
	h := newHub(t, kit.System{})
	s := h.save(10)
	var theirs ledger.Head
	h.greet = func(hello Hello, w *Welcome) *wire.Problem {
		if theirs.Number == 0 {
			theirs = hello.Heads[0]
			theirs.Number, theirs.Hash, theirs.Signature = 99, ledger.Hash{9}, nil
		}
		w.Heads = []ledger.Head{theirs}
		return nil
	}
	h.run()
	m := h.hear("head of the new incarnation", func(m Message) bool { return m.Head != nil && m.Head.Incarnation != s.Entry.Incarnation })
	if m.Head.Number != 0 {
		t.Errorf("%+v", m.Head)
	}
	b := next(t, "entries", h.entries)
	if e, err := ledger.UnmarshalEntry(b[len(b)-ledger.EntrySize:]); err != nil || e.Kind != ledger.Fork || e.Body != theirs.Hash {
		t.Errorf("the last entry posted is %+v, %v", e, err)
	}
	h.until("the old item is delivered all the same", func() bool { sent, _ := h.box.Sent(s.Hash); return sent })
}

// Only a receipt that the hub signed for this very item and store counts; all else leaves the item held, to be sent again.
func TestReceipts(t *testing.T) {
	for name, spoil := range map[string]func(h *fakeHub, r *wire.Receipt){
		"forged":        func(_ *fakeHub, r *wire.Receipt) { r.Signature[0] = 1 },
		"another item":  func(_ *fakeHub, r *wire.Receipt) { r.Item[0]++ },
		"another entry": func(_ *fakeHub, r *wire.Receipt) { r.Number++ },
		"another cart":  func(_ *fakeHub, r *wire.Receipt) { r.Book.Cart = "cart-2" },
		"another store": func(_ *fakeHub, r *wire.Receipt) { r.Store[0]++ },
		"another hub":   func(_ *fakeHub, r *wire.Receipt) { r.Hub = "hub.other" },
		"own key": func(_ *fakeHub, r *wire.Receipt) {
			_, k, _ := ed25519.GenerateKey(nil)
			r.Sign(k)
		},
	} {
		h := newHub(t, kit.System{})
		s := h.save(10)
		puts := make(chan time.Time, 16)
		n := 0
		h.put = func(w http.ResponseWriter, r *http.Request, in *upload) {
			in.chunks(t)
			x := h.receipt(in.manifest)
			if n++; n < 3 {
				spoil(h, &x)
			}
			if sent, refused := h.box.Sent(s.Hash); sent || refused || h.box.Stats().Held != 1 {
				t.Errorf("%s: it counted", name)
			}
			puts <- time.Now()
			h.answer(w, x)
		}
		h.run()
		one, two, three := next(t, "put", puts), next(t, "put again", puts), next(t, "and again", puts)
		if two.Sub(one) < retryMin || three.Sub(two) < 2*retryMin {
			t.Errorf("%s: tried again after %s and %s", name, two.Sub(one), three.Sub(two))
		}
		h.until("a good one", func() bool { sent, _ := h.box.Sent(s.Hash); return sent })
		if h.box.Stats().Held != 0 {
			t.Errorf("%s: %+v", name, h.box.Stats())
		}
	}
}

func TestRefusedItemStays(t *testing.T) {
	h := newHub(t, kit.System{})
	bad, good := h.save(10), h.save(20)
	count := 0
	h.put = func(w http.ResponseWriter, _ *http.Request, in *upload) {
		in.chunks(t)
		x := h.receipt(in.manifest)
		if in.manifest.Hash() == bad.Hash {
			count++
			x.Verdict = wire.Refused
		}
		h.answer(w, x)
	}
	h.run()
	h.until("both", func() bool {
		sent, _ := h.box.Sent(good.Hash)
		_, refused := h.box.Sent(bad.Hash)
		return sent && refused
	})
	later := h.save(30)
	h.until("the next", func() bool { sent, _ := h.box.Sent(later.Hash); return sent })
	if st := h.box.Stats(); count != 1 || st.Held != 1 || st.Refused != 1 || st.Receipted != 2 {
		t.Errorf("offered %d times, %+v", count, st)
	}
	if _, err := h.box.Manifest(bad.Hash); err != nil {
		t.Errorf("the refused item is gone: %v", err)
	}
}

// An item that fails again and again neither spins nor keeps others from being sent.
func TestNoStarvation(t *testing.T) {
	for name, fail := range map[string]func(w http.ResponseWriter){
		"server error": func(w http.ResponseWriter) { wire.NewProblem(507, "disk-full", "Full", "").Write(w) },
		"client error": func(w http.ResponseWriter) { wire.NewProblem(400, "malformed", "No", "").Write(w) },
		"no receipt":   func(w http.ResponseWriter) { w.WriteHeader(200) },
		"cut off":      func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		h := newHub(t, kit.System{})
		bad := h.save(10)
		tries := make(chan time.Time, 64)
		h.put = func(w http.ResponseWriter, r *http.Request, in *upload) {
			if in.manifest.Hash() == bad.Hash {
				in.chunks(t)
				tries <- time.Now()
				fail(w)
				return
			}
			h.receive(w, r, in)
		}
		h.run()
		first := next(t, "the bad one", tries)
		var good []outbox.Saved
		for range 20 {
			good = append(good, h.save(10))
		}
		h.until("the others", func() bool {
			return !slices.ContainsFunc(good, func(s outbox.Saved) bool { sent, _ := h.box.Sent(s.Hash); return !sent })
		})
		if most := 2 + int(time.Since(first)/retryMin); len(tries) > most {
			t.Errorf("%s: %d tries in %s", name, len(tries), time.Since(first))
		}
	}
}

// A bulk item resumes: the hub is asked what it has, and gets the rest alone.
func TestResume(t *testing.T) {
	h := newHub(t, kit.System{})
	s := h.save(5 * wire.ChunkSize)
	h.get = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("entry") != s.Entry.Hash().String() {
			t.Errorf("asked for %s", r.URL)
		}
		w.WriteHeader(http.StatusPartialContent)
		fmt.Fprint(w, `{"have":[0,2,3,77,-1],"total":6}`)
	}
	got := make(chan []int, 4)
	h.put = func(w http.ResponseWriter, _ *http.Request, in *upload) {
		got <- in.chunks(t)
		h.answer(w, h.receipt(in.manifest))
	}
	h.run()
	m, err := h.box.Manifest(s.Hash)
	if err != nil {
		t.Fatal(err)
	}
	want := slices.DeleteFunc([]int{0, 1, 2, 3, 4, 5}, func(i int) bool { return i == 0 || i == 2 || i == 3 || i >= len(m.Chunks) })
	if have := next(t, "the rest", got); !slices.Equal(have, want) {
		t.Errorf("sent %v, want %v", have, want)
	}
	h.until("receipt", func() bool { sent, _ := h.box.Sent(s.Hash); return sent })
}

// The hub has it all, and its answer was lost: the receipt comes by GET, and nothing is sent again. It is verified as well.
func TestReceiptByGet(t *testing.T) {
	h := newHub(t, kit.System{})
	s := h.save(5 * wire.ChunkSize)
	asked := 0
	h.get = func(w http.ResponseWriter, _ *http.Request) {
		m, err := h.box.Manifest(s.Hash)
		if err != nil {
			t.Error(err)
		}
		x := h.receipt(m)
		if asked++; asked == 1 {
			x.Signature[3] = 1
		}
		h.answer(w, x)
	}
	h.put = func(http.ResponseWriter, *http.Request, *upload) { t.Error("it was sent again") }
	h.run()
	h.until("receipt", func() bool { sent, _ := h.box.Sent(s.Hash); return sent })
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
}

// A vital sign does not wait for a clip.
func TestSmallLane(t *testing.T) {
	h := newHub(t, kit.System{})
	big := h.save(8 * wire.ChunkSize)
	blocked, release := make(chan struct{}), make(chan struct{})
	h.put = func(w http.ResponseWriter, r *http.Request, in *upload) {
		if in.manifest.Hash() == big.Hash {
			close(blocked)
			<-release
		}
		h.receive(w, r, in)
	}
	h.run()
	next(t, "the clip", blocked)
	for range 3 {
		small := h.save(100)
		h.until("the small one", func() bool { sent, _ := h.box.Sent(small.Hash); return sent })
	}
	if sent, _ := h.box.Sent(big.Hash); sent {
		t.Error("the clip was not blocked")
	}
	close(release)
	h.until("the clip", func() bool { sent, _ := h.box.Sent(big.Hash); return sent })
}

// The bulk lane lets the small lane go first, and not for ever.
func TestYield(t *testing.T) {
	clock := kit.NewManual(start)
	d := &delivery{c: &Client{opt: Options{Clock: clock}}}
	d.yield(t.Context()) // nothing small: at once
	d.busy(1)
	for _, end := range []func(){
		func() { // the small item is through
			clock.AwaitWaiters(1)
			d.busy(-1)
			clock.Advance(5 * time.Millisecond)
			d.busy(0)
		},
		func() { // it never is
			d.busy(1)
			for range int(yieldMost / (5 * time.Millisecond)) {
				clock.AwaitWaiters(1)
				clock.Advance(5 * time.Millisecond)
			}
		},
	} {
		done := make(chan struct{})
		d.mu.Lock()
		d.vitals = 1
		d.mu.Unlock()
		go func() { defer close(done); d.yield(context.Background()) }()
		end()
		<-done
		d.mu.Lock()
		d.vitals = 0
		d.mu.Unlock()
	}
	d.busy(1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d.yield(ctx)
}

func TestPermanent(t *testing.T) {
	p := func(status int, code string) error { return fmt.Errorf("x: %w", wire.NewProblem(status, code, "", "")) }
	for _, c := range []struct {
		err  error
		want bool
	}{
		{p(400, "malformed"), true}, {p(422, "wrong-hash"), true}, {p(422, "chunk-damaged"), false}, {p(429, "busy"), false}, {p(500, "internal"), false},
		{p(507, "disk-full"), false}, {fmt.Errorf("x: %w", outbox.ErrDamaged), true}, {errors.New("cut"), false}, {context.DeadlineExceeded, false},
	} {
		if permanent(c.err) != c.want {
			t.Errorf("%v: not %t", c.err, c.want)
		}
	}
}

// Messages that name a patient show nothing in logs.
func TestRedaction(t *testing.T) {
	p := capture.Patient{ID: "PLANTED-1", Name: "Planted Name", BirthDate: "1999-09-09"}
	d := Desired{Patient: &PatientOf{Patient: p}, Today: []capture.Patient{p}}
	n := Notice{Code: "name-alert", With: map[string]string{"name": p.Name}}
	var b bytes.Buffer
	text, js := slog.New(slog.NewTextHandler(&b, nil)), slog.New(slog.NewJSONHandler(&b, nil))
	for _, v := range []any{d, &d, *d.Patient, d.Patient, n, &n, Message{Desired: &d}, &Message{Notice: &n}} {
		fmt.Fprintf(&b, "%v %+v %#v %s %q", v, v, v, v, v)
		text.Info("x", "v", v)
		js.Info("x", "v", v)
	}
	fmt.Fprintf(&b, "%v %+v %#v", []Notice{n}, []Notice{n}, []Notice{n})
	for _, planted := range []string{p.ID, p.Name, p.BirthDate} {
		if strings.Contains(b.String(), planted) {
			t.Errorf("%s shows", planted)
		}
	}
	if !strings.Contains(mustJSON(t, d), p.Name) {
		t.Error("JSON is how it travels")
	}
}
