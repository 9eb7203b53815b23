package torture

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"telecart/device/kit"
)

// errDead is what a disk says to a process that was killed: nothing it does reaches the disk any more.
var errDead = errors.New("torture: the process is dead")

// disk is a kit.Watcher. The real folder shows what the page cache shows; what is durable is known here alone. What a power
// cut leaves of the rest is chosen by cut (image.go).
//
// Rules: a written range is durable after a sync of its file; a name after a sync of its folder; a rename is atomic. After
// a sync that failed, what it should have made durable is lost for good although the page cache shows it, and a second sync
// says yes (fsync(2), ERRORS; https://lwn.net/Articles/752063/).
type disk struct {
	mu      sync.Mutex
	rng     *rand.Rand
	say     func(format string, args ...any)
	names   map[string]*node // as the page cache has them
	durable map[string]*node
	moves   []move // of names, not durable yet
	bolts   []*bolt
	came    chan struct{}

	nodes  int // so far
	dead   bool
	full   bool  // what would grow fails
	killIn int   // so many operations until the process is killed; 0: never
	failIn int   // so many until one fails; 0: none
	fail   fault // how
	failed int   // faults that struck
	syncs  int   // of them: syncs
}

// fault is a way for one operation to fail.
type fault uint8

const (
	faultIO   fault = iota + 1 // EIO on a write, part of which may be done
	faultFull                  // ENOSPC on a write or a new file
	faultSync                  // EIO on a sync
	faults
)

func (f fault) fits(k kit.OpKind) bool {
	switch f {
	case faultSync:
		return k == kit.OpSync
	case faultFull:
		return k == kit.OpWrite || k == kit.OpCreate || k == kit.OpMkdir
	}
	return k == kit.OpWrite
}

// node is a file or folder, whatever its names.
type node struct {
	serial  int // in the order in which they came
	dir     bool
	image           // durable
	cached  int64   // size, as the page cache has it
	pending []write // in order; not durable
	lost    bool    // the page cache shows what the disk will never have
}

// write is one write that is not durable, or a change of size. Zeros are only counted.
type write struct {
	off  int64
	data []byte
	zero int
	cut  bool // the file now ends at off
}

func (w write) len() int { return len(w.data) + w.zero }

// move is one change of names that is not durable.
type move struct {
	kind     kit.OpKind
	path, to string
	n        *node
}

func newDisk(rng *rand.Rand, say func(string, ...any)) *disk {
	return &disk{rng: rng, say: say, names: map[string]*node{}, durable: map[string]*node{}, came: make(chan struct{}, 1)}
}

var _ kit.Watcher = (*disk)(nil)

// Do is what the product's kit.Disk asks.
func (d *disk) Do(op kit.Op, do func() error) error {
	d.come()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settle()
	killed, err := d.strike(op)
	if err != nil {
		return err
	}
	if killed && d.rng.IntN(2) == 0 {
		return errDead
	}
	if err := d.really(op, do); err != nil {
		return err
	}
	d.done(op)
	if killed {
		return errDead
	}
	return nil
}

// really does it. Zeros at a file's end become a hole: that looks the same, and is what the time of a run would go into.
func (d *disk) really(op kit.Op, do func() error) error {
	if op.Kind == kit.OpWrite && len(op.Data) >= 4096 && op.Off >= d.at(op.Path).cached && allZero(op.Data) {
		return os.Truncate(op.Path, op.Off+int64(len(op.Data)))
	}
	if op.Kind == kit.OpTruncate && op.Off > d.at(op.Path).cached {
		return os.Truncate(op.Path, op.Off)
	}
	return do()
}

// strike counts an operation and decides whether it fails. A write that fails may be done in part.
func (d *disk) strike(op kit.Op) (killed bool, err error) {
	if d.dead {
		return false, errDead
	}
	if unsteady(op) {
		return false, nil
	}
	if d.killIn > 0 {
		if d.killIn--; d.killIn == 0 {
			d.dead = true
			d.say("killed at %s", opName(op))
			return true, nil
		}
	}
	if d.full && d.grows(op) {
		return false, syscall.ENOSPC
	}
	if d.failIn > 1 {
		d.failIn--
	} else if d.failIn == 1 && d.fail.fits(op.Kind) {
		d.failIn = 0
		d.failed++
		d.say("fault %d at %s", d.fail, opName(op))
		return false, d.failNow(op)
	}
	return false, nil
}

// unsteady is an operation that is there or not by the chance of a hash: the hub's folder blobs/TENANT/ab, and how many pages
// its database writes. Of SQLite's operations only the syncs count, then: what was written since is pending at each.
func unsteady(op kit.Op) bool {
	if ofSQLite(op.Path) {
		return op.Kind != kit.OpSync
	}
	switch op.Kind {
	case kit.OpMkdir:
		return len(filepath.Base(op.Path)) == 2
	case kit.OpSyncDir:
		return filepath.Base(filepath.Dir(op.Path)) == "blobs"
	}
	return false
}

func (d *disk) node(n node) *node {
	d.nodes++
	n.serial = d.nodes
	return &n
}

// beat counts a step that is no operation on a file: a process can be killed there too.
func (d *disk) beat(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settle()
	killed, err := d.strike(kit.Op{Path: name})
	if killed {
		return errDead
	}
	return err
}

// kill is the end of the process: whatever it still tries fails.
func (d *disk) kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
}

func (d *disk) failNow(op kit.Op) error {
	switch {
	case op.Kind == kit.OpSync:
		d.syncs++
		d.at(op.Path).failSync(d.choices(op.Path))
		return syscall.EIO
	case op.Kind == kit.OpWrite && len(op.Data) > 512 && d.rng.IntN(2) == 0: // in part, but never a part of a sector
		op.Data = op.Data[:512*(1+d.rng.IntN((len(op.Data)-1)/512))]
		if f, err := os.OpenFile(op.Path, os.O_WRONLY, 0); err == nil {
			f.WriteAt(op.Data, op.Off)
			f.Close()
			d.done(op)
		}
	}
	if d.fail == faultFull {
		return syscall.ENOSPC
	}
	return syscall.EIO
}

// grows says whether an operation needs more of the disk.
func (d *disk) grows(op kit.Op) bool {
	switch op.Kind {
	case kit.OpCreate, kit.OpMkdir:
		return true
	case kit.OpWrite:
		return op.Off+int64(len(op.Data)) > d.at(op.Path).cached
	case kit.OpTruncate:
		return op.Off > d.at(op.Path).cached
	}
	return false
}

// at is the file of that name, which may have been there before the disk was watched.
func (d *disk) at(path string) *node {
	path = filepath.Clean(path)
	n := d.names[path]
	if n == nil {
		b, err := os.ReadFile(path)
		n = d.node(node{image: image{b, int64(len(b))}, cached: int64(len(b)), dir: errors.Is(err, syscall.EISDIR)})
		d.names[path] = n
		d.durable[path] = n
	}
	return n
}

// done notes an operation that the kernel has done.
func (d *disk) done(op kit.Op) {
	path := filepath.Clean(op.Path)
	switch op.Kind {
	case kit.OpCreate:
		if n := d.names[path]; n != nil {
			n.cut(0)
			return
		}
		d.move(move{kind: op.Kind, path: path, n: d.node(node{})})
	case kit.OpMkdir:
		d.move(move{kind: op.Kind, path: path, n: d.node(node{dir: true})})
	case kit.OpRename:
		d.move(move{kind: op.Kind, path: path, to: filepath.Clean(op.To), n: d.at(path)})
	case kit.OpRemove:
		d.move(move{kind: op.Kind, path: path, n: d.at(path)})
	case kit.OpWrite:
		d.at(path).write(op.Off, op.Data)
	case kit.OpTruncate:
		d.at(path).cut(op.Off)
	case kit.OpSync:
		d.at(path).sync()
	case kit.OpSyncDir:
		d.syncDir(path)
	}
}

func (d *disk) move(m move) {
	m.apply(d.names)
	d.moves = append(d.moves, m)
}

// apply changes a table of names, if the move's node is where the move found it.
func (m move) apply(names map[string]*node) {
	switch m.kind {
	case kit.OpCreate, kit.OpMkdir:
		names[m.path] = m.n
	case kit.OpRename:
		if names[m.path] == m.n {
			delete(names, m.path)
			names[m.to] = m.n
		}
	case kit.OpRemove:
		if names[m.path] == m.n {
			delete(names, m.path)
		}
	}
}

func (m move) touches(dir string) bool {
	return filepath.Dir(m.path) == dir || m.to != "" && filepath.Dir(m.to) == dir
}

// syncDir makes the folder's names durable, and with them whatever happened before to the files that they name.
func (d *disk) syncDir(dir string) {
	last := map[*node]int{}
	for i, m := range d.moves {
		if m.touches(dir) {
			last[m.n] = i
		}
	}
	var keep []move
	for i, m := range d.moves {
		if l, ok := last[m.n]; ok && i <= l {
			m.apply(d.durable)
		} else {
			keep = append(keep, m)
		}
	}
	d.moves = keep
}

func (n *node) write(off int64, b []byte) {
	w := write{off: off}
	if allZero(b) {
		w.zero = len(b)
	} else {
		w.data = bytes.Clone(b)
	}
	n.pending = append(n.pending, w)
	n.cached = max(n.cached, off+int64(len(b)))
}

func (n *node) cut(size int64) {
	n.pending = append(n.pending, write{off: size, cut: true})
	n.cached = size
}

func (n *node) sync() {
	for _, w := range n.pending {
		n.image.apply(w, nil)
	}
	n.pending = nil
}

// failSync loses what was pending, but for what happened to reach the disk.
func (n *node) failSync(rng *rand.Rand) {
	for _, w := range n.pending {
		if rng.IntN(4) == 0 {
			n.image.apply(w, nil)
		}
	}
	n.pending, n.lost = nil, true
}

// allZero: the first is zero, and each equals the one before.
func allZero(b []byte) bool { return len(b) == 0 || b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1]) }

func opName(op kit.Op) string {
	kinds := [...]string{"step", "create", "write", "truncate", "sync", "rename", "remove", "mkdir", "syncdir"}
	return kinds[op.Kind] + " " + shortPath(op.Path)
}

// shortPath leaves out what is random or another in each process.
func shortPath(p string) string {
	base := filepath.Base(p)
	if len(base) > 40 { // an item's hash
		return filepath.Ext(base)
	}
	return base
}

// hold stops whoever comes next, until release; awaitCaller waits until somebody has come.
func (d *disk) hold() {
	d.mu.Lock()
	for len(d.came) > 0 {
		<-d.came
	}
}

func (d *disk) release() { d.mu.Unlock() }

func (d *disk) awaitCaller() {
	select {
	case <-d.came:
	case <-time.After(50 * time.Millisecond): // it had nothing to write
	}
}

// come tells that an operation is about to begin.
func (d *disk) come() {
	select {
	case d.came <- struct{}{}:
	default:
	}
}

func (d *disk) isDead() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dead
}
