package torture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/link"
	"telecart/uplink/outbox"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// cart is the real outbox and the real link on a disk of their own.
type cart struct {
	w    *world
	name string
	dir  string
	disk *disk
	net  *network

	run        ledger.ID
	boxes      []*outbox.Outbox // care, and perhaps practice; nil while the agent is down
	keys       []*seal.Key      // of the open encounters
	sealers    []*seal.Sealer
	encounters []ledger.ID
	client     *link.Client
	up         bool      // connected
	store      ledger.ID // the hub's, as its welcome said
	quarantine map[string]bool

	mu     sync.Mutex
	inline bool
	jobs   []func() // of the outboxes, waiting
}

func newCart(w *world, dir string) *cart {
	c := &cart{w: w, name: "cart-1", dir: filepath.Join(w.dir, dir), quarantine: map[string]bool{}}
	c.disk = newDisk(w.stream(), func(f string, a ...any) { w.say(dir+" disk: "+f, a...) })
	c.net = &network{w: w, cart: c}
	return c
}

func (c *cart) book(practice int) ledger.Book {
	return ledger.Book{Tenant: tenant, Cart: c.name, Practice: practice == 1}
}

func (c *cart) boxDir(practice int) string {
	return filepath.Join(c.dir, [...]string{"care", "practice"}[practice])
}

// start is a new process of the agent. It may fail as long as the disk does.
func (c *cart) start() error {
	c.run = ledger.NewID()
	c.inline = c.w.rng.IntN(2) == 0
	c.boxes, c.keys, c.sealers, c.encounters, c.up, c.jobs = nil, nil, nil, nil, false, nil
	for i := range c.w.books {
		box, err := outbox.Open(context.Background(), outbox.Options{Dir: c.boxDir(i), Book: c.book(i), Run: c.run, Signer: c.w.keys.device, Clock: c.w.clock,
			Trusted: func() bool { return c.w.trusted }, Grace: grace, SegmentSize: c.w.segment, LogSize: c.w.logSize, Check: c.w.check, Log: c.w.log("cart"),
			Disk: kit.Disk{Watch: c.disk}, Background: c.background, Bolted: c.disk.bolted})
		if err != nil {
			c.close()
			return err
		}
		c.boxes = append(c.boxes, box)
		record, err := c.w.keys.list.Record(i == 1)
		if err != nil {
			return err
		}
		s, err := seal.NewSealer(c.book(i), c.run, record)
		if err != nil {
			return err
		}
		c.sealers = append(c.sealers, s)
		c.keys, c.encounters = append(c.keys, nil), append(c.encounters, ledger.ID{})
		if err := c.encounter(i); err != nil {
			return err
		}
	}
	c.client = link.New(link.Options{Base: "https://carts." + hubName, Bulk: &http.Client{Transport: c.net}, Version: "torture", Run: c.run, Clock: c.w.clock,
		Log: c.w.log("cart"), Root: c.w.keys.root, Held: func() uint64 { return 1 }, Books: func() []*outbox.Outbox { return c.boxes },
		Presence: func() link.Presence { return link.Presence{} }, Welcomed: func(link.Welcome, wire.KeyList) error { return nil }, Receive: func(link.Message) {}})
	return nil
}

// encounter closes the open encounter of a book and opens another: a new data key.
func (c *cart) encounter(book int) (err error) {
	if c.keys[book] != nil {
		c.keys[book].Destroy()
	}
	c.encounters[book] = ledger.NewID()
	c.keys[book], err = c.sealers[book].NewKey(c.encounters[book])
	return err
}

func (c *cart) background(job func()) {
	c.mu.Lock()
	inline := c.inline
	if !inline {
		c.jobs = append(c.jobs, job)
	}
	c.mu.Unlock()
	if inline {
		job()
	}
}

// work does what waits in the background, or the first half of it.
func (c *cart) work(all bool) {
	for n := 0; ; n++ {
		c.mu.Lock()
		if len(c.jobs) == 0 || !all && n > 0 {
			c.mu.Unlock()
			return
		}
		job := c.jobs[0]
		c.jobs = c.jobs[1:]
		c.mu.Unlock()
		job()
	}
}

func (c *cart) close() {
	for _, b := range c.boxes {
		if err := b.Close(); err != nil && !c.disk.isDead() {
			c.w.say("close: %v", err)
		}
	}
	for _, k := range c.keys {
		if k != nil {
			k.Destroy()
		}
	}
	c.boxes, c.up, c.jobs = nil, false, nil
}

// end is how a process ends.
type end int

const (
	inOrder  end = iota
	killed       // the page cache stays
	powerCut     // what was not durable is gone, or not
)

// restart ends the agent's process in some way and starts it again.
func (c *cart) restart(how end) {
	c.w.say("restart: %s", [...]string{"in order", "killed", "power cut"}[how])
	if how == inOrder && c.disk.isDead() {
		how = killed
	}
	if how != inOrder {
		c.w.kills++
		c.disk.kill()
	}
	c.count()
	c.close()
	if how == powerCut {
		if err := c.disk.cut(); err != nil {
			c.w.fail("harness", err.Error())
		}
	} else {
		c.disk.revive()
	}
	c.net.half, c.net.down = false, false
	c.begin()
}

// begin starts the agent as the service manager does: again, until it stays.
func (c *cart) begin() {
	var err error
	for try := range 5 {
		if try > 2 {
			c.disk.full, c.disk.failIn = false, 0
		}
		if err = c.start(); err == nil {
			return
		}
		c.w.say("start: %v", err)
		dead := c.disk.isDead()
		c.close()
		if dead {
			c.w.kills++
			if err := c.disk.cut(); err != nil {
				c.w.fail("harness", err.Error())
			}
		}
	}
	c.w.fail("agent-start", fmt.Sprint("the agent does not start: ", err))
}

// count notes the segments that went to quarantine.
func (c *cart) count() {
	for i := range c.w.books {
		files, err := os.ReadDir(filepath.Join(c.boxDir(i), "quarantine"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.w.fail("harness", err.Error())
		}
		for _, f := range files {
			c.quarantine[fmt.Sprint(i, f.Name())] = true
		}
	}
}

// body makes an item's plaintext.
func (c *cart) body(book int, kind capture.Kind, size int) ([]byte, error) {
	b := capture.Body{Kind: kind, ID: ledger.NewID(), Encounter: c.encounters[book], Practice: book == 1, By: "nurse",
		At: kit.Stamp{Wall: start, Boot: "boot", Trusted: c.w.trusted}}
	if kind == capture.Note {
		b.Note = &capture.NoteInfo{Text: strings.Repeat("n", size)}
	} else {
		b.Media = &capture.MediaInfo{Type: "image/jpeg"}
		b.Blob = make([]byte, size)
		for i := range b.Blob {
			b.Blob[i] = byte(i*7 + size)
		}
	}
	return b.Marshal()
}

// put saves one item, or tries to.
func (c *cart) put(ctx context.Context, p putting) {
	s, err := c.boxes[p.book].Put(ctx, c.keys[p.book], uint8(p.kind), p.urgency, p.body)
	c.w.oracle.put(c, p, s, err)
}

// putting is one item on its way into the outbox.
type putting struct {
	book    int
	kind    capture.Kind
	urgency wire.Urgency
	body    []byte
}

// putTogether saves several items at once: the first is being written while the others queue up, so that they share a commit.
func (c *cart) putTogether(ps []putting) {
	if len(ps) == 1 {
		c.put(context.Background(), ps[0])
		return
	}
	type result struct {
		s   outbox.Saved
		err error
	}
	results := make([]chan result, len(ps))
	c.disk.hold()
	for i, p := range ps {
		ctx := &counting{Context: context.Background(), looked: make(chan struct{}, 16)}
		results[i] = make(chan result, 1)
		go func() {
			s, err := c.boxes[p.book].Put(ctx, c.keys[p.book], uint8(p.kind), p.urgency, p.body)
			results[i] <- result{s, err}
		}()
		ctx.await(2) // once before it is in the queue, once behind it
		if i == 0 {
			c.disk.awaitCaller()
		}
	}
	c.disk.release()
	for i, p := range ps {
		r := <-results[i]
		c.w.oracle.put(c, p, r.s, r.err)
	}
}

// counting is a context that tells when somebody begins to wait for it.
type counting struct {
	context.Context
	looked chan struct{}
}

func (c *counting) Done() <-chan struct{} {
	select {
	case c.looked <- struct{}{}:
	default:
	}
	return nil
}

// await waits until it was waited for n times; not for ever, should the outbox have changed its ways.
func (c *counting) await(n int) {
	late := time.After(50 * time.Millisecond)
	for range n {
		select {
		case <-c.looked:
		case <-late:
			return
		}
	}
}

// connect greets the hub.
func (c *cart) connect() {
	c.up = false
	if c.net.down || c.net.half {
		return
	}
	hello, err := c.client.Greeting()
	if err != nil {
		c.w.fail("greeting", err.Error())
		return
	}
	var h link.Hello
	w, err := c.w.hub.welcome(c, overTheWire(hello, &h))
	if c.w.hub.disk.isDead() {
		c.w.hub.crash()
		return
	}
	if err != nil {
		c.w.say("no welcome: %v", err)
		return
	}
	if !c.net.calm && c.w.rng.IntN(8) == 0 {
		c.w.say("the welcome is lost")
		return
	}
	var got link.Welcome
	if err := c.client.Welcome(context.Background(), hello, overTheWire(w, &got)); err != nil {
		c.w.say("welcome: %v", err)
		if !c.disk.isDead() && c.disk.failed == 0 && !c.disk.full {
			c.w.fail("welcome", err.Error())
		}
		return
	}
	c.up, c.store = true, w.Store
	c.w.oracle.greeted(c)
	c.w.say("connected; hub %d", c.w.hub.lives)
}

func overTheWire[T any](v T, into *T) T {
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		panic(fmt.Sprint("torture: ", err))
	}
	return *into
}

// step delivers one item. It reports whether there was one.
func (c *cart) step(lane link.Lane) (worked bool) {
	if !c.up {
		return false
	}
	worked, err := c.client.Step(context.Background(), c.store, lane)
	if err != nil {
		c.w.say("step: %v", err)
	}
	if c.up && !worked && err != nil {
		c.up = false
	}
	c.w.oracle.look(c)
	return worked
}

// heads sends the signed heads, as the link does once a second.
func (c *cart) heads() {
	if !c.up || c.net.down {
		return
	}
	for _, b := range c.boxes {
		h, err := b.Head()
		if err != nil {
			c.w.fail("head", err.Error())
			return
		}
		c.w.hub.head(c, h)
	}
}

// plain reads an item back from the cart, with the key that only the hub has.
func (c *cart) plain(book int, item ledger.Hash) (body []byte, err error) {
	box := c.boxes[book]
	m, err := box.Manifest(item)
	if err != nil {
		return nil, err
	}
	_, h, w, err := wire.UnmarshalManifest(m.Marshal())
	if err != nil {
		return nil, err
	}
	err = c.w.keys.records.Open(w, m.Header, h, func(i int) ([]byte, error) { return box.Chunk(m, h, i) },
		func(b []byte) error { body = append(body, b...); return nil })
	return body, err
}
