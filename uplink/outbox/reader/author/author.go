// Package author writes book folders for tests, byte by byte as FORMAT.md says, by code of its own.
//
// Parties: the tests of outbox, ledger verify and courier let it write what they then read, damage and read again; the test
// vectors come from it. Keys: it draws all of them, the hub's and the root's included: nothing it writes is worth protecting.
//
// Invariants: it shares no encoder with the outbox, so that a mistake there does not cancel out here.
package author

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// Author holds the keys and the growing ledger of one book.
type Author struct {
	Dir     string // of the book
	Book    ledger.Book
	Chain   ledger.Chain
	Device  *ecdsa.PrivateKey
	Root    ed25519.PrivateKey
	Receipt ed25519.PrivateKey
	Record  seal.RecordKey
	Signed  wire.SignedKeyList
	List    wire.KeyList
	Store   ledger.ID // the hub's
	Enc     ledger.ID // the encounter

	key      *seal.Key
	public   wire.RecordKey
	attempts uint32
	Sequence uint64
}

// Hub is the name that receipts bear.
const Hub = "hub.example"

// New begins a book in dir: STATE/care or STATE/practice.
func New(dir string, book ledger.Book) (*Author, error) {
	a := &Author{Dir: dir, Book: book, Store: ledger.NewID(), Enc: ledger.NewID()}
	if err := os.MkdirAll(filepath.Join(dir, "receipts"), 0o700); err != nil {
		return nil, err
	}
	var err, err2, err3, err4 error
	a.Device, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, a.Root, err2 = ed25519.GenerateKey(rand.Reader)
	_, a.Receipt, err3 = ed25519.GenerateKey(rand.Reader)
	a.Record, a.public, err4 = seal.NewRecordKey(1, book.Practice, 0x20)
	if err := errors.Join(err, err2, err3, err4); err != nil {
		return nil, err
	}
	at := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	a.List = wire.KeyList{Version: 1, Hub: Hub, Issued: at, Expires: at.AddDate(1, 0, 0), Records: []wire.RecordKey{a.public},
		Receipts: []wire.ReceiptKey{{ID: 1, Public: a.Receipt.Public().(ed25519.PublicKey)}}}
	if a.Signed, err = wire.SignKeyList(a.List, a.Root); err != nil {
		return nil, err
	}
	a.Chain = ledger.NewChain(book, ledger.NewID(), ledger.NewID())
	return a, a.Rekey()
}

// Rekey draws a data key: for another encounter or another run.
func (a *Author) Rekey() error {
	s, err := seal.NewSealer(a.Book, a.Chain.Run, a.public)
	if err == nil {
		a.key, err = s.NewKey(a.Enc)
	}
	return err
}

// Run begins another run of the agent.
func (a *Author) Run() (Record, error) {
	a.Chain.Run = ledger.NewID()
	return a.entry(0, ledger.Run, ledger.Hash{}), a.Rekey()
}

// Began is the first entry of the ledger.
func (a *Author) Began(seg uint32) Record { return a.entry(seg, ledger.Run, ledger.Hash{}) }

// Fork goes on in a new incarnation that names a head.
func (a *Author) Fork(seg uint32, disputed ledger.Hash) Record {
	a.Chain = ledger.NewChain(a.Book, ledger.NewID(), a.Chain.Run)
	return a.entry(seg, ledger.Fork, disputed)
}

func (a *Author) entry(seg uint32, k ledger.Kind, body ledger.Hash) Record {
	e := a.Chain.Entry(k, body)
	a.Chain = a.Chain.Advance(e)
	return Entry(a.attempt(seg), e)
}

func (a *Author) attempt(seg uint32) uint64 {
	a.attempts++
	return uint64(seg)<<32 | uint64(a.attempts)
}

// Item is a sealed item with its records.
type Item struct {
	Manifest wire.Manifest
	Chunks   [][]byte
	Plain    []byte
	Attempt  uint64
	Slices   []Record
	Record   Record // the manifest's
}

// Put seals an item that begins in segment seg, and enters it.
func (a *Author) Put(seg uint32, kind capture.Kind, urgency wire.Urgency, blob []byte) (it Item, err error) {
	at := kit.Stamp{Wall: time.Date(2026, 3, 1, 8, 30, 0, 0, time.UTC)}
	it.Plain, err = capture.Body{Kind: kind, ID: ledger.NewID(), Encounter: a.Enc, At: at, Practice: a.Book.Practice,
		Urgent: urgency == wire.Urgent, Blob: blob}.Marshal()
	if err != nil {
		return it, err
	}
	s, err := a.key.Seal(uint8(kind), urgency, it.Plain, func(_ int, c []byte) error {
		it.Chunks = append(it.Chunks, slices.Clone(c))
		return nil
	})
	if err != nil {
		return it, err
	}
	e := a.Chain.Entry(ledger.Item, s.Hash)
	a.Chain = a.Chain.Advance(e)
	it.Manifest = wire.Manifest{Header: s.Bytes, Wrap: a.key.Wrap().Marshal(), Entry: e, Chunks: s.Chunks}
	it.Attempt = a.attempt(seg)
	it.Record = Manifest(it.Attempt, it.Manifest)
	for i, c := range it.Chunks {
		for n := 0; n*8192 < len(c); n++ {
			it.Slices = append(it.Slices, Record{'C', it.Attempt, uint32(i), uint8(n), c[n*8192 : min((n+1)*8192, len(c))]})
		}
	}
	return it, nil
}

// All are the item's records in the order in which they are written.
func (i Item) All() []Record { return append(slices.Clone(i.Slices), i.Record) }

// Head is the ledger's signed end.
func (a *Author) Head() (ledger.Head, error) { return a.Chain.Sign(a.Book, a.Device) }

// Sign makes a receipt about an entry.
func (a *Author) Sign(e ledger.Entry, v wire.Verdict) wire.Receipt {
	a.Sequence++
	r := wire.Receipt{Verdict: v, Hub: Hub, Store: a.Store, Sequence: a.Sequence, Key: 1, Book: a.Book, Incarnation: e.Incarnation, Number: e.Number,
		Prev: e.Prev, Item: e.Body}
	r.Sign(a.Receipt)
	return r
}

// Record is one record as FORMAT.md has it.
type Record struct {
	Type    byte
	Attempt uint64
	Chunk   uint32
	Slice   uint8
	Payload []byte
}

// Manifest is an item's last record.
func Manifest(attempt uint64, m wire.Manifest) Record {
	return Record{'M', attempt, 1<<32 - 1, 0, m.Marshal()}
}

// Entry is the record of an entry that is no item.
func Entry(attempt uint64, e ledger.Entry) Record {
	return Record{'E', attempt, 1<<32 - 1, 0, e.Marshal()}
}

var be = binary.BigEndian

func crc(b []byte) []byte {
	return be.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// Key is the record's key in the segment.
func (r Record) Key() []byte {
	return append(be.AppendUint32(be.AppendUint64(nil, r.Attempt), r.Chunk), r.Slice)
}

// Bytes are the record.
func (r Record) Bytes() []byte {
	b := append([]byte("\x8dTCREC1\n"), r.Type)
	b = append(b, r.Key()...)
	b = be.AppendUint32(b, uint32(len(r.Payload)))
	return crc(append(b, r.Payload...))
}

const page = 64 << 10

// Segment writes segment n, one transaction for each group, and cuts it to what is used.
func (a *Author) Segment(n uint32, groups ...[]Record) error {
	path := filepath.Join(a.Dir, fmt.Sprintf("%08d.seg", n))
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: page, NoFreelistSync: true, NoSync: true})
	if err != nil {
		return err
	}
	size := int64(0)
	for _, g := range groups {
		err = errors.Join(err, db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte("r"))
			if err != nil {
				return err
			}
			b.FillPercent = 1
			for _, r := range g {
				if err := b.Put(r.Key(), r.Bytes()); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	err = errors.Join(err, db.View(func(tx *bbolt.Tx) error { size = tx.Size(); return nil }), db.Close())
	if err != nil {
		return err
	}
	return os.Truncate(path, size)
}

// Edit changes a segment's records, as a forger with bbolt would who leaves no old pages behind: nil deletes.
func Edit(path string, change func(key, value []byte) []byte) error {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: page, NoFreelistSync: true, Timeout: time.Second})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("r"))
		type pair struct{ k, v []byte }
		var all []pair
		c := b.Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			all = append(all, pair{slices.Clone(k), slices.Clone(v)})
		}
		for _, p := range all {
			var err error
			if v := change(p.k, p.v); v == nil {
				err = b.Delete(p.k)
			} else {
				err = b.Put(p.k, v)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = compact(db, path+".new")
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func compact(from *bbolt.DB, to string) error {
	db, err := bbolt.Open(to, 0o600, &bbolt.Options{PageSize: page, NoFreelistSync: true})
	if err != nil {
		return err
	}
	return errors.Join(bbolt.Compact(db, from, 0), db.Close())
}

// Batch is one batch of a log.
func Batch(seg, log, number uint32, records ...Record) []byte {
	var body []byte
	for _, r := range records {
		body = append(body, r.Bytes()...)
	}
	b := []byte("TCLB\x01")
	for _, n := range []uint32{seg, log, number, uint32(len(body)), crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli))} {
		b = be.AppendUint32(b, n)
	}
	b = append(crc(b), body...)
	return append(b, make([]byte, (4096-len(b)%4096)%4096)...)
}

// Log writes log k of segment n, filled with zeros up to size.
func (a *Author) Log(n, k uint32, size int, batches ...[]byte) error {
	b := slices.Concat(batches...)
	if len(b) > size {
		return fmt.Errorf("author: %d bytes of batches in a log of %d", len(b), size)
	}
	return os.WriteFile(filepath.Join(a.Dir, fmt.Sprintf("%08d.%04d.log", n, k)), append(b, make([]byte, size-len(b))...), 0o600)
}

// Receipts writes a file of receipts; a nil slot is one that can't be read.
func (a *Author) Receipts(n int, slots int, receipts ...*wire.Receipt) error {
	b := make([]byte, 0, slots*512)
	for _, r := range receipts {
		slot := append([]byte("TCRS"), 0xff, 0xff)
		if r != nil {
			body := r.Marshal()
			slot = be.AppendUint16([]byte("TCRS"), uint16(len(body)))
			slot = be.AppendUint64(slot, uint64(time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC).UnixMilli()))
			slot = crc(append(append(slot, 1), body...))
		}
		b = append(b, append(slot, make([]byte, 512-len(slot))...)...)
	}
	path := filepath.Join(a.Dir, "receipts", fmt.Sprintf("%08d.rcp", n))
	return os.WriteFile(path, append(b, make([]byte, max(0, slots*512-len(b)))...), 0o600)
}

// Gone are the receipts that an erased segment left.
func (a *Author) Gone(n uint32, receipts ...wire.Receipt) error {
	b := be.AppendUint32(be.AppendUint32([]byte("TCG\x01"), n), uint32(len(receipts)))
	for _, r := range receipts {
		m := r.Marshal()
		b = append(be.AppendUint16(b, uint16(len(m))), m...)
	}
	return os.WriteFile(filepath.Join(a.Dir, fmt.Sprintf("%08d.gone", n)), crc(b), 0o600)
}

// Checkpoint is what segment n left, with the head at its end.
func (a *Author) Checkpoint(n uint32, h ledger.Head) error {
	return a.JSON(fmt.Sprintf("%08d.checkpoint", n), map[string]any{"segment": n, "head": h})
}

// JSON writes a file of JSON into the book's folder.
func (a *Author) JSON(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(a.Dir, name), b, 0o600)
}
