package link_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"io"
	"log/slog"
	"math"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/hub/ingest"
	"telecart/uplink/hub/store"
	"telecart/uplink/link"
	"telecart/uplink/outbox"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// realHub is the hub's own handler and store, behind a server that counts what comes in.
type realHub struct {
	srv   *httptest.Server
	store *store.Store
	keys  wire.SignedKeyList
	root  ed25519.PublicKey
	rec   wire.RecordKey

	conns int // that are open
	ended *sync.Cond
	mu    sync.Mutex
	begun map[int]int // chunk: how often its bytes began to come
}

func (*realHub) ItemStored(ingest.ItemEvent) {}
func (*realHub) Forked(ingest.Fork)          {}

func newRealHub(t *testing.T, book ledger.Book, device *ecdsa.PublicKey) *realHub {
	t.Helper()
	private, public, err := seal.NewRecordKey(1, false, 0x20)
	if err != nil {
		t.Fatal(err)
	}
	records, err := seal.NewRecords([]seal.RecordKey{private})
	if err != nil {
		t.Fatal(err)
	}
	rootPub, root, _ := ed25519.GenerateKey(rand.Reader)
	pub, sign, _ := ed25519.GenerateKey(rand.Reader)
	h := &realHub{root: rootPub, rec: public, begun: map[int]int{}}
	if h.keys, err = wire.SignKeyList(wire.KeyList{Version: 1, Hub: "hub.example", Records: []wire.RecordKey{public}, Receipts: []wire.ReceiptKey{{ID: 1, Public: pub}}}, root); err != nil {
		t.Fatal(err)
	}
	if h.store, err = store.Open(t.Context(), t.TempDir(), store.Options{Clock: kit.System{}}); err != nil {
		t.Fatal(err)
	}
	in, err := ingest.New(h.store, ingest.Options{Hub: "hub.example", Key: ingest.ReceiptKey{ID: 1, Private: sign}, Opener: records, Observer: h,
		Peer: func(*http.Request) (ingest.Peer, error) {
			return ingest.Peer{Tenant: book.Tenant, Cart: book.Cart, Key: device}, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	h.ended = sync.NewCond(&h.mu)
	h.srv = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			r.Body = struct {
				io.Reader
				io.Closer
			}{h.counted(r.Body), r.Body}
		}
		in.Handler().ServeHTTP(w, r)
	}))
	h.srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			h.mu.Lock()
			h.conns++
			h.mu.Unlock()
		case http.StateClosed:
			h.mu.Lock()
			h.conns--
			h.mu.Unlock()
			h.ended.Broadcast()
		}
	}
	h.srv.Start()
	t.Cleanup(func() {
		h.srv.CloseClientConnections()
		h.srv.Close()
		h.store.Close()
	})
	return h
}

// quiet waits until no connection is open.
func (h *realHub) quiet() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.conns > 0 {
		h.ended.Wait()
	}
}

// counted notes each chunk of which a byte comes.
func (h *realHub) counted(r io.Reader) io.Reader {
	pr, pw := io.Pipe()
	go func() { // ends with the body
		var n [8]byte
		read := func(n int) bool { _, err := io.CopyN(io.Discard, pr, int64(n)); return err == nil }
		if _, err := io.ReadFull(pr, n[:4]); err == nil && read(int(binary.BigEndian.Uint32(n[:4]))) {
			for {
				if _, err := io.ReadFull(pr, n[:]); err != nil {
					break
				}
				h.mu.Lock()
				h.begun[int(binary.BigEndian.Uint32(n[:4]))]++
				h.mu.Unlock()
				if !read(int(binary.BigEndian.Uint32(n[4:]))) {
					break
				}
			}
		}
		io.Copy(io.Discard, pr)
	}()
	return &closing{io.TeeReader(r, pw), pw}
}

// closing ends the pipe with the body.
type closing struct {
	io.Reader
	pw *io.PipeWriter
}

func (c *closing) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	if err != nil {
		c.pw.CloseWithError(err)
	}
	return n, err
}

// cutter is a network whose connections break after so many bytes towards the hub.
type cutter struct {
	mu    sync.Mutex
	after []int // of each connection in turn; then none breaks
	cuts  int   // that happened
}

func (c *cutter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.after) == 0 {
		return &cutConn{Conn: conn, by: c, left: math.MaxInt}, nil // still no TCP connection to be measured: the clock stands
	}
	left := c.after[0]
	c.after = c.after[1:]
	return &cutConn{Conn: conn, by: c, left: left, rude: len(c.after)%2 == 0}, nil
}

type cutConn struct {
	net.Conn
	by   *cutter
	left int
	rude bool // a reset: what the hub has not read yet may be lost as well
}

func (c *cutConn) Write(b []byte) (int, error) {
	if len(b) < c.left {
		c.left -= len(b)
		return c.Conn.Write(b)
	}
	n, _ := c.Conn.Write(b[:c.left])
	c.left = 0
	if c.rude {
		c.Conn.(*net.TCPConn).SetLinger(0)
	}
	c.Conn.Close()
	c.by.mu.Lock()
	c.by.cuts++
	c.by.mu.Unlock()
	return n, net.ErrClosed
}

// ahead is the system's clock, set forward between steps: within one the real connection's queue is waited for in real time.
type ahead struct {
	kit.System
	by time.Duration
}

func (a *ahead) Now() time.Time { return a.System.Now().Add(a.by) }

// A clip whose link is cut again and again arrives whole, and each cut costs one chunk at most.
func TestResumeRepeatsOneChunk(t *testing.T) {
	book, run := ledger.Book{Tenant: "north", Cart: "cart-1"}, ledger.NewID()
	device, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h := newRealHub(t, book, &device.PublicKey)
	box, err := outbox.Open(t.Context(), outbox.Options{Dir: t.TempDir(), Book: book, Run: run, Signer: device, Clock: kit.System{}, SegmentSize: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	sealer, err := seal.NewSealer(book, run, h.rec)
	if err != nil {
		t.Fatal(err)
	}
	enc := ledger.NewID()
	key, err := sealer.NewKey(enc)
	if err != nil {
		t.Fatal(err)
	}
	p, err := capture.Body{Kind: capture.Clip, ID: ledger.NewID(), Encounter: enc, At: kit.Stamp{Wall: time.Now()}, Media: &capture.MediaInfo{Type: "video/x-msvideo"},
		Blob: bytes.Repeat([]byte("telecart"), 250_000)}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	clip, err := box.Put(t.Context(), key, uint8(capture.Clip), wire.Routine, p)
	if err != nil {
		t.Fatal(err)
	}
	m, err := box.Manifest(clip.Hash)
	if err != nil {
		t.Fatal(err)
	}

	rnd, net := mrand.New(mrand.NewPCG(4, 4)), &cutter{}
	for range 9 {
		net.after = append(net.after, 1+rnd.IntN(6*wire.ChunkSize))
	}
	cuts := len(net.after)
	transport := &http.Transport{DialContext: net.dial, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	clock := &ahead{}
	c := link.New(link.Options{Base: h.srv.URL, Bulk: &http.Client{Transport: transport}, Run: run, Clock: clock, Log: slog.New(slog.DiscardHandler), Root: h.root,
		Held: func() uint64 { return 0 }, Books: func() []*outbox.Outbox { return []*outbox.Outbox{box} }, Welcomed: func(link.Welcome, wire.KeyList) error { return nil }})
	hello, err := c.Greeting()
	if err == nil {
		err = c.Welcome(t.Context(), hello, link.Welcome{Protocol: 1, Store: h.store.Incarnation(), Keys: h.keys})
	}
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	for tries := 0; box.Stats().Held > 0; tries++ {
		if worked, err := c.Step(t.Context(), h.store.Incarnation(), link.LaneBulk); err != nil {
			failed++
		} else if !worked && failed == 0 {
			t.Fatal("nothing to do")
		}
		clock.by += 10 * time.Second // past any back-off
		h.quiet()                    // what was on its way has come, or never will
		if tries > 4*cuts {
			t.Fatalf("not through after %d tries: %+v", tries, box.Stats())
		}
	}
	if sent, _ := box.Sent(clip.Hash); !sent || failed == 0 {
		t.Fatalf("sent %t, %d cuts", sent, failed)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	repeated := 0
	for i := range m.Chunks {
		if h.begun[i] == 0 {
			t.Errorf("chunk %d never came", i)
		}
		repeated += h.begun[i] - 1
	}
	if repeated > net.cuts {
		t.Errorf("%d chunks came again after %d cuts", repeated, net.cuts)
	}
	t.Logf("%d chunks, %d cuts, %d chunks came again", len(m.Chunks), net.cuts, repeated)
}
