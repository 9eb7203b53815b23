package courier

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/wire"
)

const (
	// Folder is where everything lies on the stick.
	Folder     = "TELECART"
	cartExt    = ".tcc"
	receiptExt = ".tcr"
	cutExt     = ".part"
)

// Damage is something on the stick that can't be used.
type Damage struct {
	File string `json:"file"`
	What string `json:"what"`
}

// carried is an item on the stick.
type carried struct {
	file     string
	frame    frame
	manifest wire.Manifest
	header   wire.Header
	size     int64 // of the manifest
}

// content is what a stick holds of one book.
type content struct {
	book    ledger.Book
	keys    *wire.SignedKeyList
	water   *wire.Watermark
	heads   []ledger.Head
	entries map[ledger.Hash]ledger.Entry // by their own hash, items' included
	items   []carried
	receipt []wire.Receipt
}

// maxFiles bounds what is looked at on a stick.
const maxFiles = 100_000

// readStick reads the files with one of these endings, book by book.
func readStick(folder string, exts ...string) (books []*content, damage []Damage, err error) {
	files, err := regular(filepath.Join(folder, Folder), exts...)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("courier: there is no folder %s on %s: nothing was exported to it", Folder, folder)
	}
	if err != nil {
		return nil, nil, err
	}
	all := map[ledger.Book]*content{}
	for _, f := range files {
		c, d, err := readFile(f)
		if err != nil {
			return nil, nil, err
		}
		if damage = append(damage, d...); c == nil {
			continue
		}
		if all[c.book] == nil {
			all[c.book] = c
			books = append(books, c)
		} else {
			all[c.book].join(c)
		}
	}
	return books, damage, nil
}

func (c *content) join(o *content) {
	c.heads, c.items, c.receipt = append(c.heads, o.heads...), append(c.items, o.items...), append(c.receipt, o.receipt...)
	for h, e := range o.entries {
		c.entries[h] = e
	}
	if c.keys == nil || o.keys != nil && len(o.keys.List) > 0 {
		c.keys = o.keys
	}
	if c.water == nil || o.water != nil && (o.water.Store != c.water.Store || o.water.Sequence > c.water.Sequence) {
		c.water = o.water
	}
}

// readFile reads one file; its items stay on the stick. Nil: it does not say whose it is.
func readFile(path string) (c *content, damage []Damage, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("courier: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("courier: %w", err)
	}
	c, damage, err = parseFile(f, st.Size(), path)
	if c == nil && err == nil {
		damage = append(damage, Damage{filepath.Base(path), "nothing in it says whose it is"})
	}
	return c, damage, err
}

func parseFile(r io.ReaderAt, size int64, path string) (c *content, damage []Damage, err error) {
	bad := func(what string) { damage = append(damage, Damage{filepath.Base(path), what}) }
	ended := false
	err = scan(r, size, func(f frame) error {
		var err error
		switch {
		case f.kind == typeBook:
			var b ledger.Book
			if b, err = decodeBook(f.payload); err == nil && c == nil {
				c = &content{book: b, entries: map[ledger.Hash]ledger.Entry{}}
			} else if err == nil && c.book != b {
				err = fmt.Errorf("%w: two books in one file", ErrMalformed)
			}
		case c == nil:
			err = fmt.Errorf("%w: it does not begin with whose book it is", ErrMalformed)
		default:
			err = c.take(r, f, path)
			ended = ended || f.kind == typeEnd
		}
		if err != nil {
			bad(err.Error())
		}
		return nil
	}, func(offset int64, what string) { bad(fmt.Sprintf("at byte %d: %s", offset, what)) })
	if c != nil && !ended {
		bad("it was cut off; it is used up to there")
	}
	return c, damage, err
}

func (c *content) take(r io.ReaderAt, f frame, path string) (err error) {
	switch f.kind {
	case typeKeys:
		var k wire.SignedKeyList
		if err = json.Unmarshal(f.payload, &k); err == nil {
			c.keys = &k
		}
	case typeWater:
		var w wire.Watermark
		if err = json.Unmarshal(f.payload, &w); err == nil {
			c.water = &w
		}
	case typeHead:
		var h ledger.Head
		if h, err = decodeHead(c.book, f.payload); err == nil {
			c.heads = append(c.heads, h)
		}
	case typeEntries:
		var es []ledger.Entry
		es, err = decodeEntries(f.payload)
		for _, e := range es {
			c.entries[e.Hash()] = e
		}
	case typeReceipt:
		var x wire.Receipt
		if x, err = wire.UnmarshalReceipt(f.payload); err == nil {
			c.receipt = append(c.receipt, x)
		}
	case typeItem:
		var it carried
		it.file, it.frame = path, f
		if it.manifest, it.header, it.size, err = manifestOf(r, f); err == nil {
			c.items = append(c.items, it)
			c.entries[it.manifest.Entry.Hash()] = it.manifest.Entry
		}
	}
	return err
}

// writer writes one file: under a name that says that it is not whole, until it is.
type writer struct {
	disk   kit.Disk
	f      *kit.File
	path   string // at the end
	at     int64
	frames uint64
	items  int
}

func create(disk kit.Disk, path string, b ledger.Book) (*writer, error) {
	if err := disk.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("courier: %w", err)
	}
	f, err := disk.Open(path+cutExt, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("courier: %w", err)
	}
	w := &writer{disk: disk, f: f, path: path}
	if err := w.small(typeBook, encodeBook(b)); err != nil {
		return nil, errors.Join(err, w.giveUp())
	}
	return w, nil
}

func (w *writer) bytes(b []byte) error {
	n, err := w.f.WriteAt(b, w.at)
	w.at += int64(n)
	if err != nil {
		return fmt.Errorf("courier: %w", err)
	}
	return nil
}

func (w *writer) small(t byte, payload []byte) error {
	if len(payload) > maxSmall {
		return fmt.Errorf("courier: a frame of type %q with %d bytes", t, len(payload))
	}
	w.frames++
	return w.bytes(small(t, payload))
}

func (w *writer) json(t byte, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("courier: %w", err)
	}
	return w.small(t, b)
}

// item writes an item as a PUT would send it. After an error nothing of it is left.
func (w *writer) item(m wire.Manifest, h wire.Header, chunk func(i int) ([]byte, error)) (err error) {
	start := w.at
	defer func() {
		if err != nil {
			w.at = start
			err = errors.Join(err, w.f.Truncate(start))
		}
	}()
	raw := m.Marshal()
	length := itemLength(m, h) - int64(frameHead+frameTail)
	sum := crc32.New(castagnoli)
	put := func(b []byte) error { sum.Write(b); return w.bytes(b) }
	if err := w.bytes(headOf(typeItem, length)); err != nil {
		return err
	}
	if err := put(append(be32(uint32(len(raw))), raw...)); err != nil {
		return err
	}
	for i := range m.Chunks {
		c, err := chunk(i)
		if err != nil {
			return err
		}
		if err := put(append(append(be32(uint32(i)), be32(uint32(len(c)))...), c...)); err != nil {
			return err
		}
	}
	if err := w.bytes(be32(sum.Sum32())); err != nil {
		return err
	}
	w.frames++
	w.items++
	return nil
}

// itemLength is how much an item takes, frame and all.
func itemLength(m wire.Manifest, h wire.Header) int64 {
	length := int64(frameHead + 4 + len(m.Marshal()) + frameTail)
	for i := range m.Chunks {
		length += int64(8 + h.SealedSize(i))
	}
	return length
}

func be32(n uint32) []byte { return []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)} }

// finish makes the file durable under its name, and reads it back from the medium.
func (w *writer) finish() error {
	end := make([]byte, 8)
	for i := range end {
		end[i] = byte(w.frames >> (56 - 8*i))
	}
	if err := errors.Join(w.small(typeEnd, end), w.f.Sync()); err != nil {
		return errors.Join(err, w.f.Close())
	}
	// Otherwise what is read back would be what the kernel remembers. A medium that can't do it is read back all the same.
	_ = unix.Fadvise(int(w.f.Fd()), 0, 0, unix.FADV_DONTNEED)
	if err := errors.Join(w.readBack(), w.f.Close()); err != nil {
		return err
	}
	if err := w.disk.Rename(w.path+cutExt, w.path); err != nil {
		return fmt.Errorf("courier: %w", err)
	}
	return w.disk.SyncDir(filepath.Dir(w.path))
}

func (w *writer) readBack() error {
	c, damage, err := parseFile(w.f, w.at, w.path)
	if err == nil && (c == nil || len(damage) > 0 || len(c.items) != w.items) {
		err = fmt.Errorf("courier: %s does not read back as it was written: %v; the stick is bad", filepath.Base(w.path), damage)
	}
	for i := 0; err == nil && i < len(c.items); i++ {
		it := c.items[i]
		if werr := whole(w.f, it.frame, it.manifest, it.header, it.size); werr != nil {
			err = fmt.Errorf("courier: %s does not read back as it was written: %w; the stick is bad", filepath.Base(w.path), werr)
		}
	}
	return err
}
