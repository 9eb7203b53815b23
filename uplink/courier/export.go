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
	Free  func(folder string) (bytes int64, err error) // that are free on the stick; nil: the kernel knows
}

// Which items go.
type Which uint8

const (
	Waiting Which = iota // those without a receipt; all, if receipts are of more than one of the hub's stores
	All                  // everything that is held
)

// Exported is what became of an export.
type Exported struct {
	Items    int      `json:"items"` // written now
	Bytes    int64    `json:"bytes"`
	Before   int      `json:"before"`   // that were on the stick already, and are good
	Left     int      `json:"left"`     // for the limit's sake, or because the stick is full
	Restored bool     `json:"restored"` // receipts are of more than one of the hub's stores: everything that is held goes
	OwnDisk  bool     `json:"own_disk"` // what was taken for a stick lies on the cart's own disk
	Damaged  []Damage `json:"damaged"`  // items that can't be read back
	Epochs   []uint32 `json:"epochs"`   // of record keys that what is on the stick needs
	Unsigned int      `json:"unsigned"`
	Full     bool     `json:"full"` // the stick
	Files    []string `json:"files"`
}

// The books, and what receipts of erased items lie in: see FORMAT.md.
const (
	care     = "care"
	practice = "practice"
	goneExt  = ".gone"
)

// fileSize is when a file is closed and the next begun: a stick that is pulled out costs what was in the newest.
const fileSize = 64 << 20

// Run exports both books.
func (x Export) Run(ctx context.Context) (out Exported, err error) {
	books, err := x.books()
	if err != nil {
		return out, err
	}
	if out.OwnDisk, err = x.ownDisk(); err != nil {
		return out, err
	}
	if !slices.Contains(books, care) {
		out.Damaged = append(out.Damaged, Damage{care, "this folder is not in " + x.State +
			", though practice/ is: what was captured of patients did not go. Look for it before anybody gives the cart up"})
	}
	room := x.room()
	for _, name := range books {
		b := &bookExport{x: x, dir: filepath.Join(x.State, name), out: &out, practice: name == practice, room: room}
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
	sent    map[ledger.Hash]bool // the hub signed for it, or refused it
	several bool                 // stores of the hub that signed for what is held
	files   map[string]bool
	epochs  map[uint32]bool

	room   *room
	w      *writer
	inFile []waiting // written to w
	n      int       // of the newest file on the stick
}

func (b *bookExport) run(ctx context.Context) error {
	b.sent, b.epochs, b.files = map[ledger.Hash]bool{}, map[uint32]bool{}, map[string]bool{}
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
	chosen, news := b.choose(have), old == nil || b.newer(old)
	if len(chosen) > 0 || news {
		if err := b.write(ctx, chosen, news); err != nil {
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
	var receipts []wire.Receipt
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
		case f.Receipt != nil && !strings.HasSuffix(f.Receipt.File, goneExt): // of what was erased: that can't go
			r := f.Receipt.Receipt
			e := ledger.Entry{Incarnation: r.Incarnation, Number: r.Number, Prev: r.Prev, Body: r.Item}
			if r.Verify(b.list, r.Book, e) == nil {
				receipts = append(receipts, r)
			}
		}
	}
	b.receipted(receipts)
	b.items = slices.DeleteFunc(b.items, func(w waiting) bool { return !b.goes(w.item) })
	slices.SortStableFunc(b.items, func(x, y waiting) int { return slices.Compare(x.entry[:], y.entry[:]) })
	b.items = slices.CompactFunc(b.items, func(x, y waiting) bool { return x.entry == y.entry })
	return nil
}

// receipted finds out what the hub signed for of what is held. Which of two stores is its present one the cart's files don't say
// (receipts are written anew when the clock is trusted, so the last one is not the newest): then nothing counts as delivered.
func (b *bookExport) receipted(receipts []wire.Receipt) {
	held, stores := map[ledger.Hash]bool{}, map[ledger.ID]bool{}
	for _, w := range b.items {
		held[w.item] = true
	}
	for _, r := range receipts {
		if held[r.Item] {
			b.sent[r.Item] = true
			stores[r.Store] = true
		}
	}
	b.several = len(stores) > 1
	b.out.Restored = b.out.Restored || b.several
}

// goes: what the hub has signed for stays, and so does what it refused: that would not open from a stick either.
func (b *bookExport) goes(item ledger.Hash) bool {
	return b.x.Which == All || b.several || !b.sent[item]
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
	out, planned := map[ledger.Hash]bool{}, b.out.Bytes
	for _, w := range b.items {
		switch {
		case have[w.entry]:
			b.out.Before++
		case b.x.Limit > 0 && planned+w.size > b.x.Limit:
			b.out.Left++
		default:
			out[w.entry] = true
			planned += w.size
		}
	}
	return out
}
