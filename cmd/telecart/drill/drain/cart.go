package drain

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/cmd/telecart/stage"
	"telecart/device"
	"telecart/device/kit"
	"telecart/provisioning/claim"
	"telecart/provisioning/identity"
	"telecart/uplink/link"
	"telecart/uplink/link/emulator"
	"telecart/uplink/outbox"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// rig is a hub in its namespace, and the cable to it.
type rig struct {
	stage *stage.Stage
	far   *emulator.Net
	cable *emulator.Cable
	log   *slog.Logger
	carts int
}

func newRig(ctx context.Context, seed uint64, log io.Writer) (r *rig, err error) {
	if err := emulator.Loopback(); err != nil {
		return nil, err
	}
	bin, err := stage.FindBin()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll("out", 0o755); err != nil {
		return nil, fmt.Errorf("drain: %w", err)
	}
	dir, err := os.MkdirTemp("out", "drain-")
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("drain: %w", err)
	}
	r = &rig{stage: &stage.Stage{Dir: dir, Bin: bin, Tenant: "north", Site: "Drain"}, log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if r.far, err = emulator.NewNet(); err != nil {
		return nil, err
	}
	if r.cable, err = emulator.Lay(r.far, emulator.Path{}, emulator.Path{}, seed); err != nil {
		return nil, err
	}
	h := &r.stage.Hub
	h.HTTPS = net.JoinHostPort(emulator.FarAddr(), "8443")
	h.Public, h.People, h.Media, h.Metrics = h.HTTPS, "127.0.0.1:8080", "127.0.0.1:8443", "127.0.0.1:9090"
	if err := r.stage.MakeHub(ctx, nil); err != nil {
		return nil, err
	}
	return r, r.far.Do(func() error { return r.stage.StartHub(ctx) })
}

func (r *rig) close() {
	r.stage.Close()
	if r.cable != nil {
		r.cable.Close()
	}
	if r.far != nil {
		r.far.Close()
	}
	os.RemoveAll(r.stage.Dir)
}

// cart is an enrolled cart without screens and instruments.
type cart struct {
	rig    *rig
	id     *identity.Cart
	keys   wire.KeyList
	box    *outbox.Outbox
	key    *seal.Key
	enc    ledger.ID
	run    ledger.ID
	stop   context.CancelFunc
	wg     sync.WaitGroup
	change chan struct{}
	up     chan struct{}
}

// cart enrols another cart over the cable as it is.
func (r *rig) cart(ctx context.Context) (*cart, error) {
	r.carts++
	r.stage.Cart = fmt.Sprintf("cart-%d", r.carts)
	dir := filepath.Join(r.stage.Dir, r.stage.Cart)
	code, err := r.stage.Claim(ctx)
	if err != nil {
		return nil, err
	}
	c := &cart{rig: r, enc: ledger.NewID(), run: ledger.NewID(), change: make(chan struct{}, 1), up: make(chan struct{}, 1)}
	if c.id, err = identity.Open(filepath.Join(dir, "identity"), kit.System{}); err != nil {
		return nil, err
	}
	cl, err := claim.Parse(code)
	if err != nil {
		return nil, err
	}
	if err := c.id.Enrol(ctx, cl); err != nil {
		return nil, err
	}
	if err := c.link(ctx); err != nil { // for the keys
		return nil, err
	}
	c.hangUp()
	book := ledger.Book{Tenant: r.stage.Tenant, Cart: r.stage.Cart}
	record, err := c.keys.Record(false)
	if err != nil {
		return nil, err
	}
	sealer, err := seal.NewSealer(book, c.run, record)
	if err != nil {
		return nil, err
	}
	if c.key, err = sealer.NewKey(c.enc); err != nil {
		return nil, err
	}
	c.box, err = outbox.Open(ctx, outbox.Options{Dir: filepath.Join(dir, "care"), Book: book, Run: c.run, Signer: c.id.Signer(), Clock: kit.System{},
		Trusted: func() bool { return true }, Grace: time.Hour, Log: r.log})
	if err == nil {
		c.box.Subscribe(func() { nudge(c.change) })
	}
	return c, err
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// start lets the link work.
func (c *cart) start(ctx context.Context) error {
	me, err := c.id.Identity()
	if err != nil {
		return err
	}
	t, err := c.id.Transport()
	if err != nil {
		return err
	}
	ctx, c.stop = context.WithCancel(ctx)
	client := link.New(link.Options{Base: "https://carts." + me.HubName, Root: me.KeysRoot[:], Socket: &http.Client{Transport: t}, Bulk: &http.Client{Transport: t},
		Version: "drain", Run: c.run, Clock: kit.System{}, Log: c.rig.log, Held: func() uint64 { return 0 },
		Books: func() []*outbox.Outbox {
			if c.box == nil {
				return nil
			}
			return []*outbox.Outbox{c.box}
		},
		Presence: func() link.Presence { return link.Presence{} },
		Welcomed: func(_ link.Welcome, k wire.KeyList) error { c.keys = k; return nil },
		Receive:  func(link.Message) {},
		Changed: func(s link.Status) {
			if s.Up {
				nudge(c.up)
			}
		}})
	if c.box != nil {
		c.box.Subscribe(client.Saved)
	}
	c.wg.Go(func() { client.Run(ctx) })
	return nil
}

// link starts the link and waits until it is up.
func (c *cart) link(ctx context.Context) error {
	if err := c.start(ctx); err != nil {
		return err
	}
	select {
	case <-c.up:
		return nil
	case <-time.After(30 * time.Second):
		return errors.New("drain: the link does not come up")
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *cart) hangUp() {
	c.stop()
	c.wg.Wait()
}

func (c *cart) close() {
	c.hangUp()
	c.box.Close()
}

// load is a backlog.
type load struct{ clip, stills, still, readings int }

// put saves an item; it gives its size as sealed, which is what has to cross.
func (c *cart) put(ctx context.Context, k capture.Kind, blob int) (saved outbox.Saved, sealed int, err error) {
	b := capture.Body{Kind: k, ID: ledger.NewID(), Encounter: c.enc, At: kit.Stamp{Wall: time.Now(), Trusted: true}, By: "nurse"}
	urgency := wire.Routine
	switch k {
	case capture.Reading:
		urgency = wire.Urgent
		b.Urgent = true
		b.Reading = &device.Reading{Quantity: "pulse-rate", Unit: "/min"}
	case capture.Still:
		b.Media = &capture.MediaInfo{Type: "image/jpeg", Width: 1280, Height: 720}
	default:
		b.Media = &capture.MediaInfo{Type: "video/x-msvideo", Width: 1280, Height: 720, DurationMS: 1000}
	}
	b.Blob = make([]byte, blob)
	rand.Read(b.Blob)
	p, err := b.Marshal()
	if err != nil {
		return saved, 0, err
	}
	if saved, err = c.box.Put(ctx, c.key, uint8(k), urgency, bytes.Clone(p)); err != nil {
		return saved, 0, err
	}
	m, err := c.box.Manifest(saved.Hash)
	if err != nil {
		return saved, 0, err
	}
	h, err := wire.UnmarshalHeader(m.Header)
	for i := range m.Chunks {
		sealed += h.SealedSize(i)
	}
	return saved, sealed, err
}

// until waits for the outbox to be as wanted.
func (c *cart) until(ctx context.Context, what string, limit time.Duration, ok func() bool) error {
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	for !ok() {
		select {
		case <-c.change:
		case <-timeout.C:
			return fmt.Errorf("drain: %s: not within %s; %+v", what, limit, c.box.Stats())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
