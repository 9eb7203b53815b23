package main

import (
	"fmt"
	"math/rand/v2"
)

// medium is a disk under a recording: what is certainly on it, and what may still be in its cache. It reads no clock and
// touches no device.
type medium struct {
	disk  []byte
	cache []logEntry
	rnd   *rand.Rand
	tear  int64 // bytes that reach the medium all or none
}

// cut is one state that a loss of power leaves: the disk, plus what keep adds.
type cut struct {
	what string
	keep func(img []byte) error
}

// cuts are the states just before e makes more durable: one that loses the whole cache, one that loses nothing, and some
// that keep, drop or tear each write of it.
func (m *medium) cuts(e logEntry, variants int) []cut {
	pending := m.cache
	if len(e.data) > 0 && e.flags&flagFlush == 0 {
		pending = append(pending[:len(pending):len(pending)], e) // a FUA write under way
	}
	what := fmt.Sprintf("%d writes in the cache", len(pending))
	out := []cut{{what + ", all lost", func([]byte) error { return nil }}}
	for v := 0; v < variants && len(pending) > 0; v++ {
		if v == 1 {
			out = append(out, cut{what + ", none lost", func(img []byte) error { return m.all(pending, img) }})
			continue
		}
		seed := m.rnd.Uint64()
		out = append(out, cut{fmt.Sprintf("%s, random cut %d", what, v), func(img []byte) error { return m.some(seed, pending, img) }})
	}
	return out
}

func (m *medium) all(pending []logEntry, img []byte) error {
	for _, w := range pending {
		if err := w.apply(img, nil); err != nil {
			return err
		}
	}
	return nil
}

// some keeps a part: maybe not all writes had been sent, and of those that were a quarter is lost, a quarter torn.
func (m *medium) some(seed uint64, pending []logEntry, img []byte) error {
	rnd := rand.New(rand.NewPCG(seed, 0))
	for _, w := range pending[:1+rnd.IntN(len(pending))] {
		var keep func(int64) bool
		switch rnd.IntN(4) {
		case 0:
			continue
		case 1:
			keep = torn(rnd.Uint64(), m.grain(w))
		}
		if err := w.apply(img, keep); err != nil {
			return err
		}
	}
	return nil
}

// torn keeps each grain with the chance of a half.
func torn(bits uint64, grain int64) func(int64) bool {
	return func(sector int64) bool { return bits>>(sector*512/grain%64)&1 == 1 }
}

// fsBlock is the block size of the file systems here.
const fsBlock = 4096

// grain is how finely a write tears. A file system's own blocks stay whole: ext4 writes its superblock in place, without
// its journal, and no store can help it if that tears.
func (m *medium) grain(w logEntry) int64 {
	if w.flags&flagMeta != 0 || w.off < fsBlock {
		return fsBlock
	}
	return m.tear
}

// take moves on past e.
func (m *medium) take(e logEntry) error {
	if e.flags&flagFlush != 0 {
		if err := m.settle(); err != nil {
			return err
		}
	}
	switch {
	case e.length == 0:
	case e.flags&flagFUA != 0:
		return e.apply(m.disk, nil)
	default:
		m.cache = append(m.cache, e)
	}
	return nil
}

// settle makes the whole cache durable.
func (m *medium) settle() error {
	err := m.all(m.cache, m.disk)
	m.cache = m.cache[:0]
	return err
}
