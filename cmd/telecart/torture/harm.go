package torture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"

	"telecart/capture/ledger"
	"telecart/uplink/hub/ingest"
	"telecart/uplink/outbox"
	"telecart/uplink/wire"
)

// What damage may cost. In some runs a bit of the cart's disk flips, or a sector reads as zeros. What lies there is looked
// up before: the records (FORMAT.md) that the bit or the sector touches, read here by code of its own. Then
//
//   - part of a sealed chunk costs its item, and no number: the entry lies with the manifest;
//   - a manifest costs its item and its entry;
//   - an entry that is no item costs itself;
//   - all else costs nothing. The head of a batch, bbolt's pages, its metas: salvage finds records by their marks, one by
//     one. A receipt: its item is offered again, and the hub has it. A checkpoint: the next segment, or the hub, knows as much.
//
// So a bit costs one item and one entry at most, and a sector as many as have a record that touches it. A record may lie
// in two places, or not count at all; then its loss costs nothing, but is excused here. An item must be named besides, by the
// outbox or by Inspect, but for the last of an incarnation that did not go on: what is not there any more, behind all
// that is, nobody can count.
//
// Two things that no cart could tell are not done to it: the very last batch, behind which the ledger has not gone on yet,
// loses no sector, and its log is hit once, for a power cut looks just like that; and no agent is at work while the disk below it changes, for what it
// reads comes out of the page cache, and is whole.
type harm struct {
	items   map[ledger.Hash]bool // of which a record was hit
	numbers map[numbered]bool    // whose entry was hit, or the item it is about
	entries map[ledger.Hash]bool // hashes of these entries
	files   map[string]bool      // that were hit: book and name; "spare" is any segment's of that book, for one is made of it
	excused int                  // items
}

// numbered is a place in a ledger.
type numbered struct {
	incarnation ledger.ID
	number      uint64
}

func newHarm() *harm {
	return &harm{items: map[ledger.Hash]bool{}, numbers: map[numbered]bool{}, entries: map[ledger.Hash]bool{}, files: map[string]bool{}}
}

// note looks up what lies in a stretch of a file that is about to be damaged: as it is durable, and as the page cache shows it.
func (h *harm) note(c *cart, book int, path string, durable []byte, from, to int) {
	h.files[fmt.Sprint(book, filepath.Base(path))] = true
	cached, _ := os.ReadFile(path)
	manifests := c.manifests(book)
	for _, b := range [][]byte{durable, cached} {
		scanRecords(b, func(at int, r record) {
			if at >= to || at+r.size <= from {
				return
			}
			switch r.kind {
			case 'E':
				if e, err := ledger.UnmarshalEntry(r.payload); err == nil {
					h.hit(e)
				}
			default:
				for _, m := range manifests[r.attempt] {
					h.hit(m.Entry)
				}
			}
		})
	}
}

func (h *harm) hit(e ledger.Entry) {
	if e.Kind == ledger.Item {
		h.items[e.Body] = true
	}
	h.numbers[numbered{e.Incarnation, e.Number}] = true
	h.entries[e.Hash()] = true
}

// manifests finds all manifests of a book, by attempt. One that failed and was tried again may be there twice.
func (c *cart) manifests(book int) map[uint64][]wire.Manifest {
	out := map[uint64][]wire.Manifest{}
	for _, path := range c.files(book) {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		scanRecords(b, func(_ int, r record) {
			if r.kind != 'M' {
				return
			}
			if m, _, _, err := wire.UnmarshalManifest(r.payload); err == nil {
				out[r.attempt] = append(out[r.attempt], m)
			}
		})
	}
	return out
}

// naming is what the cart names as damaged.
type naming struct {
	items   map[ledger.Hash]bool
	numbers map[numbered]bool
	last    map[ledger.ID]uint64 // of each incarnation, what is still there
	present map[ledger.ID]bool   // the incarnations that go on
}

// names asks the outboxes, and Inspect.
func (c *cart) names() (n naming, err error) {
	n = naming{map[ledger.Hash]bool{}, map[numbered]bool{}, map[ledger.ID]uint64{}, map[ledger.ID]bool{}}
	for i, box := range c.boxes {
		for _, d := range box.Damaged() {
			n.items[d.Hash] = true
			n.numbers[numbered{d.Incarnation, d.Number}] = true
		}
		h, err := box.Head()
		if err != nil {
			return n, err
		}
		n.present[h.Incarnation] = true
		for f, err := range outbox.Inspect(c.boxDir(i)) {
			switch {
			case err != nil:
				return n, err
			case f.Entry != nil:
				e := f.Entry.Entry
				n.last[e.Incarnation] = max(n.last[e.Incarnation], e.Number)
			case f.Item != nil && len(f.Item.Bad()) > 0:
				n.items[f.Item.Entry.Body] = true
			}
		}
	}
	return n, nil
}

// has says whether an entry is named, or can't be: it was behind all that is left of an incarnation that ended with it.
func (n naming) has(e ledger.Entry) bool {
	return n.items[e.Body] || n.numbers[numbered{e.Incarnation, e.Number}] || !n.present[e.Incarnation] && e.Number > n.last[e.Incarnation]
}

// costs says why an item that is nowhere is more than damage may cost; "" if it is not.
func (h *harm) costs(c *cart, e ledger.Entry) string {
	if !h.items[e.Body] {
		return "nothing of it was damaged: more was lost than that"
	}
	n, err := c.names()
	if err != nil {
		return fmt.Sprint("it was damaged, and the cart's files can't be read: ", err)
	}
	if !n.has(e) {
		return "it was damaged, and nobody names it"
	}
	h.excused++
	return ""
}

// without is what a hub says of an incarnation, but for the numbers that were damaged; and if it ended with damage, for the head
// that the cart had no time to sign, or for the origin that the hub never got because it was damaged.
func (h *harm) without(c *cart, x ingest.Completeness) ingest.Completeness {
	hit := func(n uint64) bool { return h.numbers[numbered{x.Incarnation, n}] }
	x.Missing = slices.DeleteFunc(slices.Clone(x.Missing), func(r ingest.Range) bool {
		for n := r.First; n <= r.Last; n++ {
			if !hit(n) {
				return false
			}
		}
		return true
	})
	x.Absent = slices.DeleteFunc(slices.Clone(x.Absent), hit)
	x.Gone = slices.DeleteFunc(slices.Clone(x.Gone), func(l ingest.Lost) bool { return hit(l.Number) })
	if x.After != nil && h.entries[x.After.Head] {
		x.After = nil
	}
	if x.Head == nil && len(c.quarantine) > 0 && !c.writes(x.Incarnation) {
		x.Head = &ledger.Head{}
	}
	return x
}

// writes says whether an incarnation goes on.
func (c *cart) writes(id ledger.ID) bool { return slices.Contains(c.incarnations(), id) }

// incarnations are those that go on.
func (c *cart) incarnations() (out []ledger.ID) {
	for _, b := range c.boxes {
		if h, err := b.Head(); err == nil {
			out = append(out, h.Incarnation)
		}
	}
	return out
}

// stray are the files in quarantine to which nothing was done, nor to a log of theirs: what a log lost may stand in the pages of
// a move that never ended, and then the bbolt file is set aside as well.
func (h *harm) stray(quarantine map[string]bool) (out []string) {
	segment := func(name string) string { return name[:min(len(name), len("0")+len("00000001"))] }
	hit := map[string]bool{}
	for name := range h.files {
		hit[segment(name)] = true
	}
	for _, name := range sortedKeys(quarantine) {
		if !hit[segment(name)] && !h.files[name[:1]+"spare"] {
			out = append(out, name)
		}
	}
	return slices.Compact(out)
}

// record is one that is whole.
type record struct {
	kind    byte
	attempt uint64
	payload []byte
	size    int
}

const (
	recordMark = "\x8dTCREC1\n"
	recordHead = 26
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// scanRecords finds the whole records in a file's bytes.
func scanRecords(b []byte, found func(at int, r record)) {
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte(recordMark))
		if i < 0 {
			return
		}
		at += i
		r, ok := decodeRecord(b[at:])
		if !ok {
			at++
			continue
		}
		found(at, r)
		at += r.size
	}
}

func decodeRecord(b []byte) (r record, ok bool) {
	if len(b) < recordHead {
		return r, false
	}
	end := recordHead + int64(binary.BigEndian.Uint32(b[22:]))
	if end+4 > int64(len(b)) || crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
		return r, false
	}
	return record{b[8], binary.BigEndian.Uint64(b[9:]), b[recordHead:end], int(end) + 4}, true
}
