package outbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
)

// What is read here of bbolt's file format (go.etcd.io/bbolt v1.4, internal/common: page.go, meta.go, bucket.go, inode.go),
// so that a committed record is told from one of a commit that never ended, without bbolt, which a damaged file can crash.
// All integers are little endian.
//
//	page    id 8 | flags 2 (1 branch, 2 leaf, 4 meta) | count 2 | overflow 4: this many more pages belong to it
//	meta    after the page's head: magic 4 | version 4 | page size 4 | flags 4 | root bucket's page 8, sequence 8 | freelist 8 |
//	        pages in use 8 | transaction 8 | FNV-1a 64 of the 56 bytes before. Pages 0 and 1; the higher transaction counts
//	leaf    count times: flags 4 (1: a bucket) | position 4, from this element | key length 4 | value length 4
//	branch  count times: position 4 | key length 4 | page 8
//	bucket  the value of a leaf's bucket: page 8 | sequence 8; page 0: its one page follows in the value itself
const (
	boltMagic    = 0xED0CDAED
	boltVersion  = 2
	boltHead     = 16
	boltMetaSize = 64
	boltBranch   = 1
	boltLeaf     = 2
	maxDepth     = 32
)

var le = binary.LittleEndian

var errPages = errors.New("no valid meta page")

type boltMeta struct{ root, pages, txid uint64 }

// metaAt reads one of the two meta pages.
func metaAt(b []byte, page int) (m boltMeta, ok bool) {
	at := page*pageSize + boltHead
	if len(b) < at+boltMetaSize {
		return m, false
	}
	p := b[at : at+boltMetaSize]
	sum := fnv.New64a()
	sum.Write(p[:56])
	ok = le.Uint32(p) == boltMagic && le.Uint32(p[4:]) == boltVersion && le.Uint32(p[8:]) == pageSize && le.Uint64(p[56:]) == sum.Sum64()
	return boltMeta{root: le.Uint64(p[16:]), pages: le.Uint64(p[40:]), txid: le.Uint64(p[48:])}, ok
}

// newestMeta finds the last transaction that ended.
func newestMeta(b []byte) (newest boltMeta, err error) {
	err = errPages
	for page := range 2 {
		if m, ok := metaAt(b, page); ok && (err != nil || m.txid > newest.txid) {
			newest, err = m, nil
		}
	}
	return newest, err
}

// validMetas is how many of the two are whole. A file that bbolt made has both, whenever the power went.
func validMetas(b []byte) (n int) {
	for page := range 2 {
		if _, ok := metaAt(b, page); ok {
			n++
		}
	}
	return n
}

type tree struct {
	b     []byte
	pages uint64 // in use
	seen  map[uint64]bool
	left  int // bytes that keys and values can still take: they don't overlap
	found func(key, value []byte, offset int)
}

// walkTree gives every key and value of bucket r that is committed, and where in b the value lies. After an error some are missing.
func walkTree(b []byte, found func(key, value []byte, offset int)) error {
	m, err := newestMeta(b)
	if err != nil {
		return err
	}
	t := &tree{b: b, pages: m.pages, seen: map[uint64]bool{}, left: len(b)}
	var inner error = errors.New("no bucket")
	t.found = func(key, value []byte, offset int) {
		if string(key) != string(bucket) || len(value) < boltHead {
			return
		}
		t.found = found
		if root := le.Uint64(value); root != 0 {
			inner = t.page(root, 0)
		} else {
			inner = t.elements(b[:offset+len(value)], offset+boltHead, 0)
		}
	}
	return errors.Join(t.page(m.root, 0), inner)
}

// page walks one page and those below it.
func (t *tree) page(id uint64, depth int) error {
	if id < 2 || id >= t.pages || id >= uint64(len(t.b)/pageSize) || t.seen[id] || depth > maxDepth {
		return fmt.Errorf("page %d is out of place", id)
	}
	t.seen[id] = true
	at := int(id) * pageSize
	if le.Uint64(t.b[at:]) != id {
		return fmt.Errorf("page %d says that it is another", id)
	}
	end := uint64(at) + (uint64(le.Uint32(t.b[at+12:]))+1)*pageSize
	if end > uint64(len(t.b)) {
		return fmt.Errorf("page %d is cut short", id)
	}
	return t.elements(t.b[:end], at, depth)
}

// elements walks the page that begins at offset at and ends with b.
func (t *tree) elements(b []byte, at, depth int) error {
	if len(b) < at+boltHead {
		return errors.New("a page without a head")
	}
	flags, count := le.Uint16(b[at+8:]), int(le.Uint16(b[at+10:]))
	if len(b) < at+boltHead+16*count || flags != boltLeaf && flags != boltBranch {
		return fmt.Errorf("no page of a tree at offset %d", at)
	}
	var errs []error
	for i := range count {
		e := at + boltHead + 16*i
		if flags == boltBranch {
			errs = append(errs, t.page(le.Uint64(b[e+8:]), depth+1))
			continue
		}
		pos, ksize, vsize := uint64(le.Uint32(b[e+4:])), uint64(le.Uint32(b[e+8:])), uint64(le.Uint32(b[e+12:]))
		key := uint64(e) + pos
		if key+ksize+vsize > uint64(len(b)) {
			errs = append(errs, fmt.Errorf("an element at offset %d points outside its page", e))
			continue
		}
		if t.left -= int(ksize + vsize); t.left < 0 {
			return errors.New("values lie over one another")
		}
		t.found(b[key:key+ksize], b[key+ksize:key+ksize+vsize], int(key+ksize))
	}
	return errors.Join(errs...)
}
