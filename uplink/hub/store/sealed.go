package store

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/device/kit/planted"
	"telecart/provisioning/claim"
	"telecart/uplink/wire"
)

// A sealed item's file describes itself, so that blobs can be checked and used without the database:
//
//	magic "TCS" 01 | length of manifest 4 | manifest (wire.Manifest) | chunk 0 | chunk 1 | ...
const sealedMagic = "TCS\x01"

// ErrDamaged: a stored chunk, or a stored manifest, is not what its hash says.
var ErrDamaged = errors.New("store: damaged")

// Sealed is an open file of a sealed item: whole, or on its way in (partial). It is not safe for concurrent use.
type Sealed struct {
	Manifest wire.Manifest // with the entry that the item first came with
	Header   wire.Header
	Wrap     wire.Wrap

	f       *kit.File
	path    string
	base    int64 // of chunk 0
	partial bool
	before  func(string) error
	buf     []byte
}

// blobPath is where a whole item lies, below the store's folder.
func blobPath(tenant string, item ledger.Hash) string {
	h := item.String()
	return filepath.Join("blobs", tenant, h[:2], h+".item")
}

func partialPath(tenant, cart string, item ledger.Hash) string {
	return filepath.Join("partial", tenant, cart, item.String()+".part")
}

// safe refuses names that mean something else in a path.
func safe(names ...string) error {
	for _, n := range names {
		if !claim.ValidName(n) {
			return fmt.Errorf("store: %q can't name a tenant or cart", n)
		}
	}
	return nil
}

// OpenItem opens a whole item. ErrNotFound if it isn't there, ErrDamaged if its manifest is not the item's.
func (s *Store) OpenItem(tenant string, item ledger.Hash) (*Sealed, error) {
	if err := safe(tenant); err != nil {
		return nil, err
	}
	return s.openSealed(filepath.Join(s.dir, blobPath(tenant, item)), item)
}

// Partial opens what is already here of an item, or begins it. held says which chunks are here and good. A crash
// costs at most the chunks that had not reached the disk: what is held is found out by hashing, never remembered.
func (s *Store) Partial(m wire.Manifest, h wire.Header) (p *Sealed, held []bool, err error) {
	if err := safe(h.Tenant, h.Cart); err != nil {
		return nil, nil, err
	}
	item := m.Hash()
	path := filepath.Join(s.dir, partialPath(h.Tenant, h.Cart, item))
	whole, err := s.OpenItem(h.Tenant, item)
	if err == nil {
		if held, err = whole.held(); err == nil && all(held) {
			return whole, held, nil
		}
		defer whole.Close()
		if err != nil {
			return nil, nil, err
		}
	}
	p, err = s.openSealed(path, item)
	switch {
	case err == nil:
		held, err = p.held()
	case errors.Is(err, ErrNotFound) || errors.Is(err, ErrDamaged):
		if p, err = s.begin(path, m); err == nil && whole != nil {
			err = s.salvage(p, whole, held)
		} else if err == nil {
			held = make([]bool, len(m.Chunks))
		}
	}
	if err == nil {
		p.partial = true
		err = s.Touch(p)
	}
	if err != nil && p != nil {
		return nil, nil, errors.Join(err, p.Close())
	}
	return p, held, err
}

// salvage takes the good chunks of a damaged item over, so that only the bad ones have to come again. The damaged file
// stays as it is until the whole item replaces it.
func (s *Store) salvage(p, damaged *Sealed, good []bool) error {
	s.log.Error("store: a stored item is damaged; asking its cart for the bad chunks", "item", p.Manifest.Hash())
	p.partial = true
	for i, ok := range good {
		if !ok {
			continue
		}
		c, err := damaged.Chunk(i)
		if err == nil {
			err = p.PutChunk(i, c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func all(held []bool) bool {
	for _, h := range held {
		if !h {
			return false
		}
	}
	return true
}

// begin makes a file of the item's full length, empty but for the manifest.
func (s *Store) begin(path string, m wire.Manifest) (*Sealed, error) {
	if err := s.before("begin"); err != nil {
		return nil, wrap(err)
	}
	if err := s.disk.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, wrap(err)
	}
	f, err := s.disk.Open(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, wrap(err)
	}
	b := m.Marshal()
	head := append([]byte(sealedMagic), binary.BigEndian.AppendUint32(nil, uint32(len(b)))...)
	if _, err = f.WriteAt(append(head, b...), 0); err == nil {
		var h wire.Header
		if h, err = wire.UnmarshalHeader(m.Header); err == nil {
			err = f.Truncate(int64(len(head)+len(b)) + sealedSize(h))
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, errors.Join(wrap(err), s.disk.Remove(path))
	}
	return s.openSealed(path, m.Hash())
}

// sealedSize is the length of all chunks.
func sealedSize(h wire.Header) int64 { return int64(h.Length) + int64(h.Chunks())*wire.Overhead }

func (s *Store) openSealed(path string, item ledger.Hash) (*Sealed, error) {
	f, err := s.disk.Open(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, wrap(err)
	}
	p := &Sealed{f: f, path: path, before: s.before}
	if err := p.readHead(item); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return p, nil
}

func (p *Sealed) readHead(item ledger.Hash) error {
	head := make([]byte, len(sealedMagic)+4)
	if _, err := io.ReadFull(p.f, head); err != nil || string(head[:4]) != sealedMagic {
		return fmt.Errorf("%w: %s is no sealed item", ErrDamaged, filepath.Base(p.path))
	}
	n := binary.BigEndian.Uint32(head[4:])
	if n > wire.MaxManifest {
		return fmt.Errorf("%w: %s has a manifest of %d bytes", ErrDamaged, filepath.Base(p.path), n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(p.f, b); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, filepath.Base(p.path), err)
	}
	var err error
	if p.Manifest, p.Header, p.Wrap, err = wire.UnmarshalManifest(b); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, filepath.Base(p.path), err)
	}
	if p.Manifest.Hash() != item {
		return fmt.Errorf("%w: %s holds another item", ErrDamaged, filepath.Base(p.path))
	}
	p.base = int64(len(head) + len(b))
	return nil
}

func (p *Sealed) at(i int) int64 { return p.base + int64(i)*(wire.ChunkSize+wire.Overhead) }

// Chunk reads sealed chunk i and checks its hash. The slice is good until the next call. ErrDamaged if it is not the chunk.
func (p *Sealed) Chunk(i int) ([]byte, error) {
	if i < 0 || i >= len(p.Manifest.Chunks) {
		return nil, fmt.Errorf("store: chunk %d of %d", i, len(p.Manifest.Chunks))
	}
	if p.buf == nil {
		p.buf = make([]byte, wire.ChunkSize+wire.Overhead)
	}
	b := p.buf[:p.Header.SealedSize(i)]
	n, err := p.f.ReadAt(b, p.at(i))
	if n < len(b) && !errors.Is(err, io.EOF) {
		return nil, wrap(err)
	}
	if n < len(b) || ledger.Hash(sha256.Sum256(b)) != p.Manifest.Chunks[i] {
		return nil, fmt.Errorf("%w: chunk %d", ErrDamaged, i)
	}
	return b, nil
}

func (p *Sealed) held() ([]bool, error) {
	held := make([]bool, len(p.Manifest.Chunks))
	for i := range held {
		_, err := p.Chunk(i)
		if err != nil && !errors.Is(err, ErrDamaged) {
			return nil, err
		}
		held[i] = err == nil
	}
	return held, nil
}

// PutChunk writes sealed chunk i, which the caller has checked. It is durable after Settle.
func (p *Sealed) PutChunk(i int, b []byte) error {
	if !p.partial || i < 0 || i >= len(p.Manifest.Chunks) || len(b) != p.Header.SealedSize(i) {
		return fmt.Errorf("store: chunk %d of %d bytes has no place in %s", i, len(b), filepath.Base(p.path))
	}
	if err := p.before("chunk"); err != nil {
		return wrap(err)
	}
	_, err := p.f.WriteAt(b, p.at(i))
	return wrap(err)
}

// Close lets go of the file.
func (p *Sealed) Close() error { return p.f.Close() }

// Settle makes a complete item durable under its final name. After a crash it is simply called again; after a sync that
// failed the item begins anew.
func (s *Store) Settle(p *Sealed) error {
	if err := s.before("sync"); err != nil {
		return wrap(err)
	}
	if !planted.Is(planted.EarlyReceipt) {
		if err := p.f.Sync(); err != nil {
			if p.partial { // a second sync would say yes to what this one lost (fsync(2)): the chunks have to come again
				err = errors.Join(err, s.disk.Remove(p.path))
			}
			return wrap(err)
		}
	}
	path := filepath.Join(s.dir, blobPath(p.Header.Tenant, p.Manifest.Hash()))
	dir := filepath.Dir(path)
	if err := s.disk.MkdirAll(dir, 0o700); err != nil {
		return wrap(err)
	}
	if err := s.before("rename"); err != nil {
		return wrap(err)
	}
	if p.partial {
		if err := s.disk.Rename(p.path, path); err != nil {
			return wrap(err)
		}
		p.path, p.partial = path, false
	}
	if err := s.before("syncdir"); err != nil {
		return wrap(err)
	}
	if err := s.disk.SyncDir(dir); err != nil {
		return wrap(err)
	}
	// The folders above need it once in the life of the process: one that crashed may have made them in vain.
	for _, d := range []string{dir, filepath.Dir(dir)} { // blobs/TENANT/ab, blobs/TENANT
		if _, done := s.synced.Load(d); done {
			continue
		}
		if err := s.disk.SyncDir(filepath.Dir(d)); err != nil {
			return wrap(err)
		}
		s.synced.Store(d, true)
	}
	return nil
}

// Touch keeps a partial item from being swept.
func (s *Store) Touch(p *Sealed) error {
	if !p.partial {
		return nil
	}
	now := s.clock.Now()
	return wrap(os.Chtimes(p.path, now, now))
}
