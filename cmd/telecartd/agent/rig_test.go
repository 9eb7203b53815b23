package agent

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device"
	"telecart/device/all"
	"telecart/device/kit"
	"telecart/provisioning/claim"
	"telecart/provisioning/identity"
	"telecart/uplink/outbox"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// rig is a cart of twins in a folder, and a hub that enrols it and then never answers: nothing here needs a link.
type rig struct {
	t       *testing.T
	dir     string
	claim   string
	keys    wire.SignedKeyList
	records *seal.Records
	log     *syncBuffer
	issue   func() string      // another claim for the same cart
	root    ed25519.PrivateKey // of the key list
	private []seal.RecordKey

	twins   []device.Settings // beside camera and oximeter
	small   *smallDisk        // nil: the real disk's size
	checker outbox.Checker    // nil: in this process
	extra   []device.Driver   // beside the table; each makes an instrument of its own name

	a      *Agent
	cancel context.CancelFunc
	done   chan error
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string { s.mu.Lock(); defer s.mu.Unlock(); return s.b.String() }

func newRig(t *testing.T) *rig {
	t.Helper()
	root, private, _ := ed25519.GenerateKey(nil)
	receipt, _, _ := ed25519.GenerateKey(nil)
	care, carePub, err := seal.NewRecordKey(1, false, 0x20)
	if err != nil {
		t.Fatal(err)
	}
	practice, practicePub, err := seal.NewRecordKey(1, true, 0x20)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, dir: t.TempDir(), log: &syncBuffer{}, root: private, private: []seal.RecordKey{care, practice}}
	if r.records, err = seal.NewRecords(r.private); err != nil {
		t.Fatal(err)
	}
	if r.keys, err = wire.SignKeyList(wire.KeyList{Version: 1, Hub: "hub.example", Records: []wire.RecordKey{carePub, practicePub},
		Receipts: []wire.ReceiptKey{{ID: 1, Public: receipt}}}, private); err != nil {
		t.Fatal(err)
	}
	authority, err := identity.NewAuthority(filepath.Join(t.TempDir(), "ca"), kit.System{}, "hub.example", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	claims := claim.NewRegistry(claim.NewMemory(), kit.System{})
	l, err := tls.Listen("tcp", "127.0.0.1:0", authority.TLSConfig())
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: identity.NewDesk(authority, claims, identity.NewMemory()).Enrol(), ErrorLog: log.New(io.Discard, "", 0)}
	served := make(chan struct{})
	go func() { defer close(served); srv.Serve(l) }()
	r.issue = func() string {
		c, err := claims.Issue(t.Context(), claim.Claim{HubAddress: l.Addr().String(), HubName: "hub.example", RootHash: authority.RootHash(),
			KeysRoot: [32]byte(root), Tenant: "north", Cart: "cart-1"}, claim.Life)
		if err != nil {
			t.Fatal(err)
		}
		return c.Code()
	}
	r.claim = r.issue()
	t.Cleanup(func() { r.stop(); srv.Close(); <-served })
	return r
}

func (r *rig) settings() Settings {
	s := Defaults()
	s.State = r.dir
	s.Instrument = []device.Settings{
		{Name: "room camera", Driver: "camera", Port: "twin", Options: map[string]string{"width": "320", "height": "240", "fps": "15"}},
		{Name: "oximeter", Driver: "nonin", Port: "twin"}}
	s.Instrument = append(s.Instrument, r.twins...)
	for _, d := range r.extra {
		s.Instrument = append(s.Instrument, device.Settings{Name: d.Name, Driver: d.Name, Port: "twin"})
	}
	return s
}

// make makes the agent; start runs it.
func (r *rig) make() *Agent {
	r.t.Helper()
	r.stop()
	a, err := New(Options{Settings: r.settings(), Version: "test", Drivers: append(all.Table(), r.extra...), Clock: kit.System{},
		Checker: func(_ context.Context, path string) (outbox.Index, error) { return outbox.Check(path) }, Log: slog.New(slog.NewJSONHandler(r.log, nil))})
	if err != nil {
		r.t.Fatal(err)
	}
	if r.checker != nil {
		a.checker = r.checker
	}
	if r.small != nil {
		a.spare.disk, a.spare.ask, a.booksDisk = kit.Disk{Watch: r.small}, r.small.space, kit.Disk{Watch: r.small}
	}
	r.a = a
	return a
}

func (r *rig) start() *Agent {
	r.t.Helper()
	return r.run(r.make())
}

func (r *rig) run(a *Agent) *Agent {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	if err := a.Start(ctx); err != nil {
		r.t.Fatal(err)
	}
	r.cancel, r.done = cancel, make(chan error, 1)
	go func() { r.done <- a.Run(ctx) }()
	return a
}

func (r *rig) stop() {
	if r.cancel == nil {
		return
	}
	r.cancel()
	if err := <-r.done; err != nil && !errors.Is(err, context.Canceled) {
		r.t.Error(err)
	}
	r.cancel = nil
}

// enrolled gives the cart its identity and the key list that a hub would have given.
func (r *rig) enrolled() *rig {
	r.t.Helper()
	if err := r.make().Claim(r.t.Context(), r.claim); err != nil {
		r.t.Fatal(err)
	}
	r.seed()
	return r
}

func (r *rig) seed() {
	b, err := json.Marshal(r.keys)
	if err == nil {
		err = os.WriteFile(filepath.Join(r.dir, "keys.json"), b, 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// do carries out a command that must succeed; items are what it saved.
func (r *rig) do(verb, args string) (items []Saved) {
	r.t.Helper()
	x, err := r.a.Command(r.t.Context(), verb, json.RawMessage(args))
	if err != nil {
		r.t.Fatalf("%s %s: %v", verb, args, err)
	}
	if x, ok := x.(result); ok {
		return x.Items
	}
	return nil
}

// refused carries out a command that must fail with the code.
func (r *rig) refused(verb, args, code string) {
	r.t.Helper()
	_, err := r.a.Command(r.t.Context(), verb, json.RawMessage(args))
	if err == nil || Problem(err).Code != code {
		r.t.Errorf("%s %s: %v, want %s", verb, args, err, code)
	}
}

// until waits for a state.
func (r *rig) until(what string, ok func(State) bool) State {
	r.t.Helper()
	ticks, leave := r.a.Changed()
	defer leave()
	limit := time.After(20 * time.Second)
	for {
		if s := r.a.state(); ok(s) {
			return s
		}
		select {
		case <-ticks:
		case <-limit:
			r.t.Fatal("in vain: ", what)
		}
	}
}

// body opens an item with the hub's keys.
func (r *rig) body(box int, h ledger.Hash) capture.Body {
	r.t.Helper()
	o := r.a.boxes()[box]
	m, err := o.Manifest(h)
	if err != nil {
		r.t.Fatal(err)
	}
	_, head, w, err := wire.UnmarshalManifest(m.Marshal())
	if err != nil {
		r.t.Fatal(err)
	}
	var plain bytes.Buffer
	err = r.records.Open(w, m.Header, head, func(i int) ([]byte, error) { return o.Chunk(m, head, i) }, func(p []byte) error { plain.Write(p); return nil })
	if err != nil {
		r.t.Fatal(err)
	}
	b, err := capture.UnmarshalBody(plain.Bytes())
	if err != nil {
		r.t.Fatal(err)
	}
	if b.Encounter != head.Encounter || uint8(b.Kind) != head.Kind || b.Practice != head.Practice {
		r.t.Errorf("the header says another thing than the body of %s", b.Kind)
	}
	return b
}
