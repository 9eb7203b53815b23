package courier

import (
	"cmp"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/outbox"
	"telecart/uplink/wire"
)

// Export says what to export.
type Export struct {
	State string // the cart's
	To    string // the stick's folder
	Limit int64  // bytes of items; 0: all
	Which Which
	Root  []byte        // offline root's public key: receipts that the list does not vouch for don't count; nil: none does
	Sign  crypto.Signer // device key, to sign the head as it is now; nil: heads that were written down are taken
	Disk  kit.Disk
}

// Which items go.
type Which uint8

const (
	Waiting Which = iota // those without a receipt of the hub's newest store
	All                  // everything that is held
)

// Exported is what became of an export.
type Exported struct {
	Items    int      `json:"items"` // written now
	Bytes    int64    `json:"bytes"`
	Before   int      `json:"before"`  // that were on the stick already, and are good
	Left     int      `json:"left"`    // for the limit's sake, or because the stick is full
	Damaged  []Damage `json:"damaged"` // items that can't be read back
	Epochs   []uint32 `json:"epochs"`  // of record keys that what is on the stick needs
	Unsigned int      `json:"unsigned"`
	Full     bool     `json:"full"` // the stick
	Files    []string `json:"files"`
}

// fileSize is when a file is closed and the next begun: a stick that is pulled out costs what was in the newest.
const fileSize = 64 << 20

// Run exports both books.
func (x Export) Run(ctx context.Context) (out Exported, err error) {
	for _, name := range []string{"care", "practice"} {
		dir := filepath.Join(x.State, name)
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		b := &bookExport{x: x, dir: dir, out: &out, practice: name == "practice"}
		if err := b.run(ctx); err != nil {
			return out, err
		}
	}
	slices.Sort(out.Epochs)
	out.Epochs = slices.Compact(out.Epochs)
	return out, nil
}

// waiting is an item that is to go.
type waiting struct {
	item, entry ledger.Hash
	urgent      bool
	number      uint64
	order       int // as it was found: by age
	size        int64
}

// bookExport is the export of one book.
type bookExport struct {
	x        Export
	dir      string
	out      *Exported
	practice bool

	book    ledger.Book
	keys    *wire.SignedKeyList
	list    wire.KeyList
	entries []ledger.Entry
	heads   []ledger.Head
	items   []waiting
	sent    map[ledger.Hash]wire.Receipt
	newest  ledger.ID // the hub's store, as the newest receipt says
	files   map[string]bool
	epochs  map[uint32]bool

	w *writer
	n int // of the newest file on the stick
}

func (b *bookExport) run(ctx context.Context) error {
	b.sent, b.epochs, b.files = map[ledger.Hash]wire.Receipt{}, map[uint32]bool{}, map[string]bool{}
	b.readKeys()
	if err := b.survey(ctx); err != nil {
		return err
	}
	if len(b.items) == 0 && len(b.entries) == 0 {
		return nil
	}
	if err := b.sign(); err != nil {
		return err
	}
	have, old, err := b.onStick()
	if err != nil {
		return err
	}
	chosen := b.choose(have)
	if len(chosen) > 0 || old == nil || b.newer(old) {
		if err := b.write(ctx, chosen); err != nil {
			return err
		}
	}
	for e := range b.epochs {
		b.out.Epochs = append(b.out.Epochs, e)
	}
	return nil
}

func (b *bookExport) readKeys() {
	raw, err := os.ReadFile(filepath.Join(b.x.State, "keys.json"))
	var k wire.SignedKeyList
	if err != nil || json.Unmarshal(raw, &k) != nil {
		return // the hub has its own
	}
	b.keys = &k
	if list, err := k.Open(b.x.Root, 0); err == nil {
		b.list = list
	}
}

// survey finds out what the folder holds.
func (b *bookExport) survey(ctx context.Context) error {
	seen := map[ledger.Hash]bool{}
	for f, err := range outbox.Inspect(b.dir) {
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		switch {
		case f.File != nil:
			b.files[f.File.Name] = true
		case f.Entry != nil && !seen[f.Entry.Entry.Hash()]:
			seen[f.Entry.Entry.Hash()] = true
			b.entries = append(b.entries, f.Entry.Entry)
		case f.Item != nil:
			h := f.Item.Header
			b.book = h.Book()
			b.items = append(b.items, waiting{f.Item.Entry.Body, f.Item.Entry.Hash(), h.Urgency == wire.Urgent, f.Item.Entry.Number, len(b.items), int64(h.Length)})
		case f.Head != nil:
			b.heads = append(b.heads, f.Head.Head)
			b.book = f.Head.Head.Book
		case f.Receipt != nil:
			r := f.Receipt.Receipt
			e := ledger.Entry{Incarnation: r.Incarnation, Number: r.Number, Prev: r.Prev, Body: r.Item}
			if r.Verify(b.list, r.Book, e) == nil {
				b.sent[r.Item], b.newest = r, r.Store
			}
		}
	}
	b.items = slices.DeleteFunc(b.items, func(w waiting) bool { return !b.goes(w.item) })
	slices.SortStableFunc(b.items, func(x, y waiting) int { return slices.Compare(x.entry[:], y.entry[:]) })
	b.items = slices.CompactFunc(b.items, func(x, y waiting) bool { return x.entry == y.entry })
	return nil
}

// goes: what the hub has signed for stays, and so does what it refused: that would not open from a stick either.
func (b *bookExport) goes(item ledger.Hash) bool {
	r, ok := b.sent[item]
	return b.x.Which == All || !ok || r.Verdict == wire.Received && r.Store != b.newest
}

// sign signs the newest end, if the key is here: otherwise what was captured since the last written head can't be shown to be this
// cart's. What is to be signed is made durable first.
func (b *bookExport) sign() error {
	if b.x.Sign == nil || len(b.entries) == 0 {
		return nil
	}
	last := b.entries[len(b.entries)-1]
	for _, e := range b.entries {
		if e.Incarnation == last.Incarnation && e.Number > last.Number {
			last = e
		}
	}
	for name := range b.files {
		if strings.HasSuffix(name, ".log") || strings.HasSuffix(name, ".seg") {
			if err := syncFile(filepath.Join(b.dir, name)); err != nil {
				return err
			}
		}
	}
	h, err := ledger.Chain{Incarnation: last.Incarnation}.Advance(last).Sign(b.book, b.x.Sign)
	if err != nil {
		return fmt.Errorf("courier: %w", err)
	}
	b.heads = append(b.heads, h)
	return nil
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // moved into its segment, which was synced for that
	}
	if err != nil {
		return fmt.Errorf("courier: %w", err)
	}
	defer f.Close()
	if err := unix.Fdatasync(int(f.Fd())); err != nil {
		return fmt.Errorf("courier: %w", err)
	}
	return nil
}

// onStick finds the items that an earlier export left there and that are good through and through. Files that were cut off go.
func (b *bookExport) onStick() (have map[ledger.Hash]bool, old *content, err error) {
	have = map[ledger.Hash]bool{}
	pattern := filepath.Join(b.x.To, Folder, NameOf(b.book)+"-*"+cartExt)
	names, err := filepath.Glob(pattern)
	cut, err2 := filepath.Glob(pattern + cutExt)
	if err = errors.Join(err, err2); err != nil {
		return nil, nil, fmt.Errorf("courier: %w", err)
	}
	for _, n := range cut {
		if err := b.x.Disk.Remove(n); err != nil {
			return nil, nil, fmt.Errorf("courier: %w", err)
		}
	}
	for _, n := range names {
		c, _, err := readFile(n)
		if err != nil {
			return nil, nil, err
		}
		fmt.Sscanf(strings.TrimPrefix(filepath.Base(n), NameOf(b.book)), "-%d", &b.n)
		if c == nil {
			continue
		}
		if err := b.good(n, c, have); err != nil {
			return nil, nil, err
		}
		if old == nil {
			old = c
		} else {
			old.join(c)
		}
	}
	return have, old, nil
}

func (b *bookExport) good(path string, c *content, have map[ledger.Hash]bool) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("courier: %w", err)
	}
	defer f.Close()
	for _, it := range c.items {
		if whole(f, it.frame, it.manifest, it.header, it.size) == nil {
			have[it.manifest.Entry.Hash()] = true
		}
	}
	return nil
}

// newer says whether there is an entry or a head that is not on the stick.
func (b *bookExport) newer(old *content) bool {
	for _, e := range b.entries {
		if _, ok := old.entries[e.Hash()]; !ok {
			return true
		}
	}
	return slices.ContainsFunc(b.heads, func(h ledger.Head) bool {
		return !slices.ContainsFunc(old.heads, func(o ledger.Head) bool { return o.Incarnation == h.Incarnation && o.Number >= h.Number })
	})
}

// choose picks what goes, in the order of the outbox: urgent before routine, newest first within urgent, oldest first within
// routine.
func (b *bookExport) choose(have map[ledger.Hash]bool) map[ledger.Hash]bool {
	slices.SortFunc(b.items, func(x, y waiting) int {
		switch {
		case x.urgent && y.urgent:
			return cmp.Compare(y.order, x.order)
		case x.urgent:
			return -1
		case y.urgent:
			return 1
		}
		return cmp.Compare(x.order, y.order)
	})
	out := map[ledger.Hash]bool{}
	for _, w := range b.items {
		switch {
		case have[w.entry]:
			b.out.Before++
		case b.x.Limit > 0 && b.out.Bytes+w.size > b.x.Limit:
			b.out.Left++
		default:
			out[w.entry] = true
			b.out.Bytes += w.size
		}
	}
	return out
}

// write writes the chosen items: urgent ones in a first pass over the folder, the others in a second. Should the agent move
// something just then, another pass finds it where it went.
func (b *bookExport) write(ctx context.Context, chosen map[ledger.Hash]bool) (err error) {
	if err := b.next(); err != nil {
		return err
	}
	defer func() {
		if b.w != nil {
			err = errors.Join(err, b.w.f.Close())
		}
	}()
	if err := b.front(); err != nil {
		return err
	}
	urgent := map[ledger.Hash]bool{}
	for _, w := range b.items {
		urgent[w.entry] = w.urgent
	}
	for _, pass := range []bool{true, false, true, false} {
		if b.out.Full {
			break
		}
		if err := b.pass(ctx, chosen, func(e ledger.Hash) bool { return urgent[e] == pass }); err != nil {
			return err
		}
	}
	if b.out.Full {
		b.out.Left += len(chosen)
	} else {
		b.missed(chosen)
	}
	return b.finish()
}

// missed names what was chosen and could not be read.
func (b *bookExport) missed(chosen map[ledger.Hash]bool) {
	for _, w := range b.items {
		if chosen[w.entry] {
			b.out.Bytes -= w.size
			b.out.Damaged = append(b.out.Damaged, Damage{filepath.Base(b.dir), fmt.Sprintf("item %s, number %d, can't be read back", w.item, w.number)})
		}
	}
}

func (b *bookExport) pass(ctx context.Context, chosen map[ledger.Hash]bool, now func(ledger.Hash) bool) error {
	if len(chosen) == 0 {
		return nil
	}
	for f, err := range outbox.Inspect(b.dir) {
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		if f.Item == nil || !chosen[f.Item.Entry.Hash()] || !now(f.Item.Entry.Hash()) {
			continue
		}
		if err := b.item(f.Item, chosen); err != nil {
			return err
		}
		if b.out.Full {
			return nil
		}
	}
	return nil
}

func (b *bookExport) item(it *outbox.FoundItem, chosen map[ledger.Hash]bool) error {
	if b.w.at > fileSize {
		if err := errors.Join(b.finish(), b.next()); err != nil {
			return err
		}
	}
	var unread error
	err := b.w.item(it.Manifest, it.Header, func(i int) ([]byte, error) {
		c, _, err := it.Chunk(i)
		unread = err
		return c, err
	})
	switch {
	case unread != nil:
		return nil // another pass, or another copy, may have it
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EFBIG):
		b.out.Full = true
		return nil
	case err != nil:
		return err
	}
	delete(chosen, it.Entry.Hash())
	b.out.Items++
	b.epochs[it.Wrap.Epoch] = true
	return nil
}

func (b *bookExport) next() (err error) {
	b.n++
	b.w, err = create(b.x.Disk, filepath.Join(b.x.To, Folder, fmt.Sprintf("%s-%04d%s", NameOf(b.book), b.n, cartExt)), b.book)
	return err
}

// front is what an importer needs to believe the items: keys, heads, and the entries that lead from heads to items.
func (b *bookExport) front() error {
	if b.keys != nil {
		if err := b.w.json(typeKeys, b.keys); err != nil {
			return err
		}
	}
	for _, h := range b.heads {
		if err := b.w.small(typeHead, encodeHead(h)); err != nil {
			return err
		}
	}
	for es := range slices.Chunk(b.entries, entriesInFrame) {
		var p []byte
		for _, e := range es {
			p = append(p, e.Marshal()...)
		}
		if err := b.w.small(typeEntries, p); err != nil {
			return err
		}
	}
	return nil
}

func (b *bookExport) finish() error {
	w := b.w
	b.w = nil
	if err := w.finish(); err != nil {
		return err
	}
	b.out.Files = append(b.out.Files, filepath.Base(w.path))
	return nil
}
