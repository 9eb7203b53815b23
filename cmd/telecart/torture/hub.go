package torture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/hub/ingest"
	"telecart/uplink/hub/store"
	"telecart/uplink/link"
	"telecart/uplink/wire"
)

const tenant = "north"

// hub is the real store and the real ingest on a disk of their own, SQLite's files included (sqlite.go).
type hub struct {
	w      *world
	dir    string
	disk   *disk
	store  *store.Store
	in     *ingest.Ingest
	failTx int // so many transactions until one fails; 0: none

	backups     string
	backedUp    map[ledger.Hash]bool // items that the backup holds
	stored      map[ledger.Hash]bool // items in the database as it is now
	incarnation ledger.ID
	given       map[given][]byte // receipts that went out
	forks       int
	lives       int
}

// given is what a receipt is about, in one life of the store.
type given struct {
	store, incarnation ledger.ID
	number             uint64
	item               ledger.Hash
}

func newHub(w *world) *hub {
	h := &hub{w: w, dir: filepath.Join(w.dir, "hub"), backups: filepath.Join(w.dir, "backup"), given: map[given][]byte{}, stored: map[ledger.Hash]bool{}}
	h.disk = newDisk(w.stream(), func(f string, a ...any) { w.say("hub disk: "+f, a...) })
	return h
}

func (h *hub) start() error {
	h.lives++
	h.w.vfs.serve(h.dir, h.disk)
	s, err := store.Open(context.Background(), h.dir, store.Options{Clock: h.w.truth, Log: h.w.log("hub"), Disk: kit.Disk{Watch: h.disk}, Before: h.before, VFS: h.w.vfs.name})
	if err != nil {
		return fmt.Errorf("torture: hub: %w", err)
	}
	in, err := ingest.New(s, ingest.Options{Hub: hubName, Key: ingest.ReceiptKey{ID: 7, Private: h.w.keys.receipt}, Opener: h.w.keys.records, Observer: h,
		Log: h.w.log("hub"), Clock: h.w.truth, Peer: func(r *http.Request) (ingest.Peer, error) {
			return ingest.Peer{Tenant: tenant, Cart: r.Header.Get("Torture-Cart"), Key: h.w.keys.public}, nil
		}})
	if err != nil {
		return errors.Join(fmt.Errorf("torture: hub: %w", err), s.Close())
	}
	h.store, h.in = s, in
	return h.compare()
}

// compare holds the database that was just opened to what was in it before. A transaction that failed may be there all the same.
// What was there and is not may only be missing in a new life of the store, so that carts offer it again.
func (h *hub) compare() error {
	rows, err := h.rows()
	if err != nil {
		return err
	}
	was, lost := h.incarnation, false
	for item := range h.stored {
		lost = lost || !rows[item]
	}
	h.incarnation, h.stored = h.store.Incarnation(), rows
	if lost && was == h.incarnation {
		h.w.fail("forgotten", "the hub's database has forgotten an item, and the store does not know")
	}
	if lost {
		h.w.oracle.forgot()
	}
	return nil
}

// begin starts the hub as a service manager does: again, until it stays.
func (h *hub) begin() {
	var err error
	for try := range 5 {
		if try > 2 {
			h.disk.full, h.disk.failIn, h.failTx = false, 0, 0
		}
		if err = h.start(); err == nil {
			return
		}
		h.w.say("hub: start: %v", err)
		if h.disk.isDead() {
			h.w.kills++
			if err := h.disk.cut(); err != nil {
				h.w.fail("harness", err.Error())
			}
		}
	}
	h.w.fail("hub-start", fmt.Sprint("the hub does not start: ", err))
}

// before stands at the store's steps: a dead hub commits nothing.
func (h *hub) before(step string) error {
	if step == "commit" && h.failTx > 0 {
		if h.failTx--; h.failTx == 0 {
			h.w.say("hub: a transaction fails")
			return syscall.EIO
		}
	}
	return h.disk.beat(step)
}

// ItemStored, Forked and Lost make hub an ingest.Observer.
func (h *hub) ItemStored(e ingest.ItemEvent) {
	if h.stored[e.Item.Item] {
		h.w.duplicated(fmt.Sprintf("item %d was stored twice", e.Entry.Number))
	}
	h.stored[e.Item.Item] = true
}

func (h *hub) Forked(ingest.Fork) { h.forks++ }

func (h *hub) Lost(ledger.Book, int) {}

// serve answers one request; nil if the hub died of it.
func (h *hub) serve(c *cart, x call, cut error) *http.Response {
	r, err := x.request(cut)
	if err != nil {
		h.w.fail("harness", err.Error())
		return nil
	}
	r.Header.Set("Torture-Cart", c.name)
	a := newAnswer()
	h.in.Handler().ServeHTTP(a, r)
	if h.disk.isDead() {
		h.crash()
		return nil
	}
	h.note(a)
	return a.response()
}

// note looks at what leaves the hub: there is one receipt for one entry in one life of the store.
func (h *hub) note(a *answer) {
	if a.head.Get("Content-Type") != "application/octet-stream" {
		return
	}
	r, err := wire.UnmarshalReceipt(a.body.Bytes())
	if err != nil {
		h.w.fail("receipt", err.Error())
		return
	}
	k := given{r.Store, r.Incarnation, r.Number, r.Item}
	if was, ok := h.given[k]; ok && !bytes.Equal(was, a.body.Bytes()) {
		h.w.duplicated(fmt.Sprintf("entry %d got two receipts", r.Number))
	}
	h.given[k] = bytes.Clone(a.body.Bytes())
	if r.Verdict == wire.Refused {
		h.w.fail("refused", fmt.Sprintf("the hub refused item %d", r.Number))
	}
}

// welcome is the hub's answer to a greeting, made as cmd/telecart-hub makes it.
func (h *hub) welcome(c *cart, hello link.Hello) (w link.Welcome, err error) {
	ctx := context.Background()
	peer := ingest.Peer{Tenant: tenant, Cart: c.name, Key: h.w.keys.public}
	heads, err := h.in.Hello(ctx, peer, hello.Heads)
	if err != nil {
		return w, err
	}
	mark, err := h.in.Watermark(ctx)
	return link.Welcome{Protocol: link.MaxProtocol, Hub: hubName, Store: h.store.Incarnation(), Keys: h.w.keys.signed, Heads: heads, Watermark: &mark}, err
}

func (h *hub) head(c *cart, x ledger.Head) {
	err := h.in.Head(context.Background(), ingest.Peer{Tenant: tenant, Cart: c.name, Key: h.w.keys.public}, x)
	if h.disk.isDead() {
		h.crash()
	} else if err != nil && h.failTx == 0 {
		h.w.say("hub: head refused: %v", err)
	}
}

// crash is the end of the hub's process, with or without the power; then it starts again.
func (h *hub) crash() {
	h.w.kills++
	h.disk.kill()
	h.store.Close()
	power := h.w.rng.IntN(3) > 0
	h.w.say("hub: crash, power cut: %t", power)
	if power {
		if err := h.disk.cut(); err != nil {
			h.w.fail("harness", err.Error())
		}
	} else {
		h.disk.revive()
	}
	h.begin()
}

// backup makes one. It may fail; the watermark then stays where it was.
func (h *hub) backup() {
	err := h.store.Backup(context.Background(), h.backups)
	if h.disk.isDead() {
		h.crash()
		return
	}
	h.w.say("hub: backup: %v", err)
	if err == nil {
		h.backedUp = maps.Clone(h.stored)
	}
}

// restore puts the last backup in the store's place.
func (h *hub) restore() {
	if h.backedUp == nil {
		return
	}
	h.w.say("hub: restored from its backup")
	h.store.Close()
	if err := errors.Join(os.RemoveAll(h.dir), copyTree(h.backups, h.dir)); err != nil {
		h.w.fail("harness", err.Error())
		return
	}
	h.disk.adopt(h.dir)
	h.stored = maps.Clone(h.backedUp)
	h.w.oracle.forgot()
	h.begin()
}

func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		there := to + path[len(from):]
		if e.IsDir() {
			return os.MkdirAll(there, 0o700)
		}
		src, err := os.Open(path)
		if err != nil {
			return err
		}
		defer src.Close()
		dst, err := os.OpenFile(there, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(dst, src)
		return errors.Join(err, dst.Close())
	})
}

// rows are the items that the database has.
func (h *hub) rows() (map[ledger.Hash]bool, error) {
	out := map[ledger.Hash]bool{}
	rows, err := h.store.ItemsSince(context.Background(), tenant, time.Time{}, ledger.Hash{}, 10000)
	for _, r := range rows {
		out[r.Item] = true
	}
	return out, err
}

// plain opens an item from the hub's store as a reader of the record would.
func (h *hub) plain(item ledger.Hash) (body []byte, head wire.Header, err error) {
	p, err := h.store.OpenItem(tenant, item)
	if err != nil {
		return nil, head, err
	}
	defer p.Close()
	err = h.w.keys.records.Open(p.Wrap, p.Manifest.Header, p.Header, p.Chunk, func(b []byte) error { body = append(body, b...); return nil })
	return body, p.Header, err
}

// short tries to open an item from which the end was cut off; it must not open.
func (h *hub) short(item ledger.Hash) (opened bool) {
	p, err := h.store.OpenItem(tenant, item)
	if err != nil {
		return false
	}
	defer p.Close()
	last := p.Header.Chunks() - 1
	if last < 1 {
		return false
	}
	sink := func([]byte) error { return nil }
	missing := func(i int) ([]byte, error) {
		if i == last {
			return nil, io.ErrUnexpectedEOF
		}
		return p.Chunk(i)
	}
	if h.w.keys.records.Open(p.Wrap, p.Manifest.Header, p.Header, missing, sink) == nil {
		return true
	}
	shorter := p.Header
	shorter.Length = wire.PaddedLength(uint64(last)*wire.ChunkSize - 4096)
	return shorter.Chunks() <= last && h.w.keys.records.Open(p.Wrap, shorter.Marshal(), shorter, p.Chunk, sink) == nil
}
