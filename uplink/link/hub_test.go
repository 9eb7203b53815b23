package link

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/outbox"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var storeID = ledger.ID{0xaa}

// fakeHub is a hub that does what a test tells it, and one cart with a real outbox.
type fakeHub struct {
	t    *testing.T
	srv  *httptest.Server
	root ed25519.PublicKey
	sign ed25519.PrivateKey // receipts
	keys wire.SignedKeyList

	greet   func(h Hello, w *Welcome) *wire.Problem // may alter the welcome
	refuse  func() *wire.Problem                    // of the dial itself
	put     func(w http.ResponseWriter, r *http.Request, in *upload)
	get     func(w http.ResponseWriter, r *http.Request)
	head    func(w http.ResponseWriter, r *http.Request) // keeps connections warm
	deaf    bool                                         // after the welcome nothing is read any more
	dials   chan struct{}
	hellos  chan Hello
	heard   chan Message
	talk    chan Message // sent to the cart
	entries chan []byte
	post    func() *wire.Problem // of entries

	clock  kit.Clock
	box    *outbox.Outbox
	opt    outbox.Options
	key    *seal.Key
	client *Client
	states chan Status
	got    chan Message
	held   uint64
	cancel context.CancelFunc
	done   chan struct{}
}

// upload is a PUT as it was read.
type upload struct {
	manifest wire.Manifest
	body     io.Reader
}

func (u *upload) chunks(t *testing.T) (out []int) {
	for {
		var frame [8]byte
		if _, err := io.ReadFull(u.body, frame[:]); err != nil {
			return out
		}
		i := int(binary.BigEndian.Uint32(frame[:]))
		b := make([]byte, binary.BigEndian.Uint32(frame[4:]))
		if _, err := io.ReadFull(u.body, b); err != nil {
			t.Errorf("chunk %d is cut off: %v", i, err)
		}
		if wire.ItemHash(b, nil) == (ledger.Hash{}) || len(b) == 0 {
			t.Errorf("chunk %d is empty", i)
		}
		out = append(out, i)
	}
}

func newHub(t *testing.T, clock kit.Clock) *fakeHub {
	t.Helper()
	rootPub, rootKey, _ := ed25519.GenerateKey(rand.Reader)
	pub, sign, _ := ed25519.GenerateKey(rand.Reader)
	_, record, err := seal.NewRecordKey(1, false, 0x20)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := wire.SignKeyList(wire.KeyList{Version: 3, Hub: "hub.example", Records: []wire.RecordKey{record}, Receipts: []wire.ReceiptKey{{ID: 1, Public: pub}}}, rootKey)
	if err != nil {
		t.Fatal(err)
	}
	h := &fakeHub{t: t, root: rootPub, sign: sign, keys: keys, clock: clock, dials: make(chan struct{}, 256), hellos: make(chan Hello, 256),
		heard: make(chan Message, 1024), talk: make(chan Message), entries: make(chan []byte, 256), states: make(chan Status, 256), got: make(chan Message, 64),
		done: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Path, h.link)
	mux.HandleFunc("POST "+LedgerPath, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		h.entries <- b
		if h.post != nil {
			if p := h.post(); p != nil {
				p.Write(w)
			}
		}
	})
	mux.HandleFunc("PUT "+ItemPath+"{hash}", func(w http.ResponseWriter, r *http.Request) {
		var n [4]byte
		io.ReadFull(r.Body, n[:])
		b := make([]byte, binary.BigEndian.Uint32(n[:]))
		io.ReadFull(r.Body, b)
		m, _, _, err := wire.UnmarshalManifest(b)
		if err != nil || m.Hash().String() != r.PathValue("hash") {
			t.Errorf("manifest of %s: %v", r.PathValue("hash"), err)
		}
		h.put(w, r, &upload{m, r.Body})
	})
	mux.HandleFunc("GET "+ItemPath+"{hash}", func(w http.ResponseWriter, r *http.Request) {
		if h.get == nil {
			wire.NewProblem(404, "not-here", "Nothing here", "").Write(w)
			return
		}
		h.get(w, r)
	})
	h.head = func(http.ResponseWriter, *http.Request) {}
	mux.HandleFunc("HEAD "+ItemPath+"{$}", func(w http.ResponseWriter, r *http.Request) { h.head(w, r) })
	h.put = h.receive
	h.srv = httptest.NewServer(mux)
	device, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	book, run := ledger.Book{Tenant: "north", Cart: "cart-1"}, ledger.NewID()
	sealer, err := seal.NewSealer(book, run, record)
	if err == nil {
		h.key, err = sealer.NewKey(ledger.NewID())
	}
	if err == nil {
		h.opt = outbox.Options{Dir: t.TempDir(), Book: book, Run: run, Signer: device, Clock: kit.System{}, SegmentSize: 2 << 20}
		h.box, err = outbox.Open(t.Context(), h.opt)
	}
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	h.client = New(Options{Base: h.srv.URL, Socket: &http.Client{Transport: transport}, Bulk: &http.Client{Transport: transport}, Version: "test", Run: run,
		Clock: clock, Log: slog.New(slog.DiscardHandler), Root: rootPub, Held: func() uint64 { return h.held },
		Books:    func() []*outbox.Outbox { return []*outbox.Outbox{h.box} },
		Presence: func() Presence { return Presence{Held: h.box.Stats().Held} }, Welcomed: func(Welcome, wire.KeyList) error { return nil },
		Receive: func(m Message) { h.got <- m }, Changed: func(s Status) { h.states <- s }})
	h.box.Subscribe(h.client.Saved)
	t.Cleanup(func() {
		if h.cancel != nil {
			h.cancel()
			<-h.done
		}
		h.box.Close()
		transport.CloseIdleConnections()
		h.srv.CloseClientConnections()
		h.srv.Close()
	})
	return h
}

func (h *fakeHub) run() {
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	go func() { defer close(h.done); h.client.Run(ctx) }()
}

func (h *fakeHub) link(w http.ResponseWriter, r *http.Request) {
	h.dials <- struct{}{}
	if h.refuse != nil {
		if p := h.refuse(); p != nil {
			p.Write(w)
			return
		}
	}
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		h.t.Error(err)
		return
	}
	defer ws.CloseNow()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	first, err := read(ctx, ws)
	switch {
	case err != nil: // the cart hung up
		return
	case first.Hello == nil:
		h.t.Error("the first message is no hello")
		return
	}
	welcome := Welcome{Protocol: 1, Hub: "hub.example", Store: storeID, Keys: h.keys}
	if h.greet != nil {
		if p := h.greet(*first.Hello, &welcome); p != nil {
			write(ctx, ws, Message{Problem: p})
			return
		}
	}
	h.hellos <- *first.Hello
	if write(ctx, ws, Message{Welcome: &welcome}) != nil {
		return
	}
	wg.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case m := <-h.talk:
				write(ctx, ws, m)
				if m.Problem != nil {
					ws.CloseNow()
				}
			}
		}
	})
	if h.deaf {
		<-h.done
		return
	}
	for {
		m, err := read(ctx, ws)
		if err != nil {
			return
		}
		select {
		case h.heard <- m:
		default:
		}
	}
}

// receive is a hub that takes everything.
func (h *fakeHub) receive(w http.ResponseWriter, _ *http.Request, in *upload) {
	in.chunks(h.t)
	h.answer(w, h.receipt(in.manifest))
}

func (h *fakeHub) receipt(m wire.Manifest) wire.Receipt {
	return wire.Receipt{Verdict: wire.Received, Hub: "hub.example", Store: storeID, Sequence: m.Entry.Number, Key: 1, Book: h.box.Book(),
		Incarnation: m.Entry.Incarnation, Number: m.Entry.Number, Prev: m.Entry.Prev, Item: m.Hash()}
}

func (h *fakeHub) answer(w http.ResponseWriter, r wire.Receipt) {
	if r.Signature == [64]byte{} {
		r.Sign(h.sign)
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if r.Verdict == wire.Refused {
		w.WriteHeader(http.StatusUnprocessableEntity)
	}
	w.Write(r.Marshal())
}

func (h *fakeHub) save(n int) outbox.Saved {
	h.t.Helper()
	s, err := h.box.Put(h.t.Context(), h.key, 1, wire.Routine, bytes.Repeat([]byte{7}, n))
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// until waits for the outbox to be as wanted.
func (h *fakeHub) until(what string, ok func() bool) {
	h.t.Helper()
	changed := make(chan struct{}, 1)
	h.box.Subscribe(func() { nudge(changed) })
	limit := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-changed:
		case <-limit:
			h.t.Fatal("in vain: ", what)
		}
	}
}

func next[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(20 * time.Second):
		t.Fatal("in vain: ", what)
	}
	return v
}

// hear waits for a message of the cart.
func (h *fakeHub) hear(what string, is func(Message) bool) Message {
	h.t.Helper()
	for {
		if m := next(h.t, what, h.heard); is(m) {
			return m
		}
	}
}

func (h *fakeHub) state(what string, up bool) Status {
	h.t.Helper()
	for {
		if s := next(h.t, what, h.states); s.Up == up {
			return s
		}
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
