package courier

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"telecart/capture/ledger"
	"telecart/uplink/outbox"
)

// write writes the chosen items, or as many as there is room for; news says that there is more to tell than items.
func (b *bookExport) write(ctx context.Context, chosen map[ledger.Hash]bool, news bool) error {
	err := b.fill(ctx, chosen)
	switch {
	case err != nil || b.w == nil:
	case len(b.inFile) == 0 && !news:
		err = b.giveUp(chosen) // a file that says what others say would only fill the stick
	default:
		err = b.finish()
	}
	if noRoom(err) {
		b.out.Full = true
		err = b.giveUp(chosen)
	}
	if b.w != nil {
		err = errors.Join(err, b.w.close())
	}
	if b.out.Full {
		b.out.Left += len(chosen)
	} else if err == nil {
		b.missed(chosen)
	}
	return err
}

// fill writes urgent items in a first pass over the folder, the others in a second. Should the agent move something just then,
// another pass finds it where it went.
func (b *bookExport) fill(ctx context.Context, chosen map[ledger.Hash]bool) error {
	if err := b.next(); err != nil {
		return err
	}
	urgent := map[ledger.Hash]bool{}
	for _, w := range b.items {
		urgent[w.entry] = w.urgent
	}
	for _, pass := range []bool{true, false, true, false} {
		if b.out.Full {
			return nil
		}
		if err := b.pass(ctx, chosen, func(e ledger.Hash) bool { return urgent[e] == pass }); err != nil {
			return err
		}
	}
	return nil
}

// giveUp takes back the file that can't be finished; its items are still to go.
func (b *bookExport) giveUp(chosen map[ledger.Hash]bool) error {
	for _, w := range b.inFile {
		chosen[w.entry] = true
		b.out.Items--
		b.out.Bytes -= w.size
	}
	w := b.w
	if b.w, b.inFile = nil, nil; w == nil {
		return nil
	}
	return w.giveUp()
}

// missed names what was chosen and could not be read.
func (b *bookExport) missed(chosen map[ledger.Hash]bool) {
	for _, w := range b.items {
		if chosen[w.entry] {
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
		if err := b.finish(); err != nil {
			return err
		}
		if err := b.next(); err != nil {
			return err
		}
	}
	var unread error
	err := b.room.take(itemLength(it.Manifest, it.Header), 1)
	if err == nil {
		err = b.w.item(it.Manifest, it.Header, func(i int) ([]byte, error) {
			c, _, err := it.Chunk(i)
			unread = err
			return c, err
		})
	}
	switch {
	case unread != nil:
		return nil // another pass, or another copy, may have it
	case noRoom(err):
		b.out.Full = true // what is in the file is good
		return nil
	case err != nil:
		return err
	}
	delete(chosen, it.Entry.Hash())
	b.inFile = append(b.inFile, waiting{entry: it.Entry.Hash(), size: int64(it.Header.Length)})
	b.out.Items++
	b.out.Bytes += int64(it.Header.Length)
	b.epochs[it.Wrap.Epoch] = true
	return nil
}

// next begins a file.
func (b *bookExport) next() (err error) {
	const ofHead, rest = 256, 4096 // more than one takes; the book's name and the frames around all this
	size := int64(len(b.entries)*ledger.EntrySize + len(b.heads)*ofHead + rest)
	if b.keys != nil {
		size += int64(len(b.keys.List) + len(b.keys.Signature)*2)
	}
	if err := b.room.take(size, 0); err != nil {
		return err
	}
	b.n++
	b.w, err = create(b.x.Disk, filepath.Join(b.x.To, Folder, fmt.Sprintf("%s-%04d%s", NameOf(b.book), b.n, cartExt)), b.book)
	if err != nil {
		return err
	}
	return b.front()
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
	if err := b.w.finish(); err != nil {
		return err
	}
	b.out.Files = append(b.out.Files, filepath.Base(b.w.path))
	b.w, b.inFile = nil, nil
	return nil
}

// close lets go of a file that stays as far as it came.
func (w *writer) close() error {
	if err := w.f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("courier: %w", err)
	}
	return nil
}

// giveUp removes what was written.
func (w *writer) giveUp() error {
	err := w.close()
	if rerr := w.disk.Remove(w.path + cutExt); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
		err = errors.Join(err, fmt.Errorf("courier: %w", rerr))
	}
	return err
}
