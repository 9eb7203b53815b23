package torture

import (
	"bytes"
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// How much of what was not durable a power cut leaves.
const (
	leaveNone = iota
	leaveAll
	leavePrefix
	leaveSome // each write whole or not at all
	leaveTorn // blocks of 4096 bytes
	leaveTorn512
	leaves
)

// cut is the power cut: it chooses what the disk has now, rewrites the folder to it, and leaves the disk to a new process.
func (d *disk) cut() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settle()
	names := d.cutNames()
	var errs []error
	for _, path := range inOrderOf(names) {
		n := names[path]
		if n.dir {
			if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
				errs = append(errs, err)
			}
			continue
		}
		if was := d.names[path]; was == n && len(n.pending) == 0 && !n.lost {
			continue
		}
		n.leave(d.choices(path))
		errs = append(errs, n.image.store(path))
		n.pending, n.lost, n.cached = nil, false, n.size
	}
	gone := sortedKeys(d.names)
	slices.Reverse(gone) // files before the folder they lie in
	for _, path := range gone {
		if names[path] == nil {
			errs = append(errs, os.Remove(path))
		}
	}
	d.names, d.durable, d.moves = names, maps.Clone(names), nil
	d.revive()
	return errors.Join(errs...)
}

// revive leaves the disk to a new process: the one before was killed, but the power stayed on.
func (d *disk) revive() {
	for _, b := range d.bolts {
		b.let()
	}
	d.bolts = nil
	d.dead, d.killIn, d.failIn = false, 0, 0
}

// adopt takes what lies in a folder as durable, and forgets all else.
func (d *disk) adopt(dir string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.names, d.durable, d.moves = map[string]*node{}, map[string]*node{}, nil
	filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && (e.IsDir() || strings.HasSuffix(path, ".item") || strings.HasSuffix(path, ".part")) {
			d.at(path)
		}
		return nil
	})
}

// cutNames chooses which changes of names are there after a power cut. Some file systems keep them in order, some don't.
func (d *disk) cutNames() map[string]*node {
	names := maps.Clone(d.durable)
	mode := d.rng.IntN(leaveTorn)
	prefix := d.rng.IntN(len(d.moves) + 1)
	for i, m := range d.moves {
		if mode == leaveAll || mode == leavePrefix && i < prefix || mode == leaveSome && d.rng.IntN(2) == 0 {
			m.apply(names)
		}
	}
	for path := range names { // what lies in a folder that is not there
		for up := filepath.Dir(path); ; up = filepath.Dir(up) {
			if d.names[up] == nil && d.durable[up] == nil {
				break
			}
			if names[up] == nil {
				delete(names, path)
				break
			}
		}
	}
	return names
}

// leave chooses what is left of a file's content.
func (n *node) leave(rng *rand.Rand) {
	mode := rng.IntN(leaves)
	prefix := rng.IntN(len(n.pending) + 1)
	for i, w := range n.pending {
		coin := rng.IntN(2) == 0
		switch {
		case mode == leaveNone, mode == leavePrefix && i >= prefix, mode == leaveSome && !coin, w.cut && mode >= leaveTorn && !coin:
		case mode == leaveTorn, mode == leaveTorn512:
			grain := 4096
			if mode == leaveTorn512 {
				grain = 512
			}
			n.image.apply(w, func() (int, bool) { return grain, rng.IntN(2) == 0 })
		default:
			n.image.apply(w, nil)
		}
	}
}

// writeBack makes some of what is pending durable, as the kernel does when it has time.
func (d *disk) writeBack() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settle()
	for _, path := range inOrderOf(d.names) {
		if n := d.names[path]; len(n.pending) > 0 && d.rng.IntN(2) == 0 {
			n.sync()
		}
	}
}

// snapshot is a card's content.
type snapshot map[string]*node

// snapshot copies what lies below a folder, as somebody who copies a card does after switching it off.
func (d *disk) snapshot(below string) snapshot {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settle()
	s := snapshot{}
	for path, n := range d.names {
		if within(path, below) {
			c := &node{dir: n.dir, image: n.clone()}
			for _, w := range n.pending {
				c.image.apply(w, nil)
			}
			c.cached = c.size
			s[path] = c
		}
	}
	return s
}

// restore puts a snapshot in the place of what lies below a folder; to names another folder to put it.
func (d *disk) restore(s snapshot, from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	gone := sortedKeys(d.names)
	slices.Reverse(gone)
	for _, path := range gone {
		if within(path, to) {
			if err := os.Remove(path); err != nil {
				return err
			}
			delete(d.names, path)
		}
	}
	for _, path := range sortedKeys(s) {
		there := to + strings.TrimPrefix(path, from)
		n := d.node(node{dir: s[path].dir, image: s[path].clone(), cached: s[path].cached})
		if n.dir {
			if err := os.Mkdir(there, 0o700); err != nil {
				return err
			}
		} else if err := n.image.store(there); err != nil {
			return err
		}
		d.names[there] = n
	}
	d.durable, d.moves = maps.Clone(d.names), nil
	return nil
}

func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+string(filepath.Separator))
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// inOrderOf gives names in the order in which their nodes came: a choice must not depend on a name that is a hash.
func inOrderOf(m map[string]*node) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int { return cmp.Or(cmp.Compare(m[a].serial, m[b].serial), cmp.Compare(a, b)) })
}

// image is what a file holds: some bytes, then zeros up to its size.
type image struct {
	data []byte
	size int64
}

// apply does a write: all of it, or the blocks for which keep says so.
func (x *image) apply(w write, keep func() (grain int, yes bool)) {
	switch {
	case w.cut:
		x.data, x.size = x.data[:min(len(x.data), int(w.off))], w.off
	case keep == nil:
		x.put(w, 0, w.len())
	default:
		for at := 0; at < w.len(); {
			grain, yes := keep()
			end := min(w.len(), (int(w.off)+at)/grain*grain+grain-int(w.off))
			if yes {
				x.put(w, at, end)
			}
			at = end
		}
	}
}

func (x *image) put(w write, from, to int) {
	at, end := int(w.off)+from, int(w.off)+to
	x.size = max(x.size, int64(end))
	if w.zero > 0 {
		if at < len(x.data) {
			clear(x.data[at:min(end, len(x.data))])
		}
		return
	}
	if gap := at - len(x.data); gap > 0 {
		x.data = append(x.data, make([]byte, gap)...)
	}
	n := copy(x.data[at:], w.data[from:to])
	x.data = append(x.data, w.data[from+n:to]...)
}

func (x *image) clone() image { return image{bytes.Clone(x.data), x.size} }

// store puts it in a file's place.
func (x *image) store(path string) error {
	os.Remove(path) // it may be open, or have another name still
	if err := os.WriteFile(path, x.data, 0o600); err != nil {
		return err
	}
	return os.Truncate(path, x.size)
}
