package torture

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// damages has bits flip and sectors vanish while the cart is off. What lay there before was read by a start; perhaps
// something was saved since.
func (w *world) damages() {
	c := w.cart
	w.restarts()
	if c.boxes == nil {
		return
	}
	c.work(true)
	for range w.rng.IntN(3) {
		w.puts()
	}
	if c.boxes == nil || c.disk.isDead() {
		return
	}
	for range 1 + w.rng.IntN(3) {
		w.damage(w.stream())
	}
	c.restart([]end{killed, powerCut}[w.rng.IntN(2)])
}

// files are a book's segments and logs.
func (c *cart) files(book int) (out []string) {
	for _, dir := range []string{c.boxDir(book), filepath.Join(c.boxDir(book), "quarantine")} {
		for _, pattern := range []string{"*.seg", "*.log"} {
			found, _ := filepath.Glob(filepath.Join(dir, pattern)) // the pattern is good
			out = append(out, found...)
		}
	}
	return out
}

// newestLog is the newest of a book to which anything was written: an agent at work has one.
func (c *cart) newestLog(book int) (newest string) {
	for _, path := range c.files(book) {
		if filepath.Ext(path) == ".log" && filepath.Base(path) > filepath.Base(newest) {
			if b, err := os.ReadFile(path); err == nil && !allZero(b) {
				newest = path
			}
		}
	}
	return newest
}

// damage does one thing to one file of the cart.
func (w *world) damage(rng *rand.Rand) {
	d := w.cart.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settle()
	path := d.victim(rng, w.cart.dir)
	if path == "" {
		return
	}
	book := 0
	if within(path, w.cart.boxDir(1)) {
		book = 1
	}
	newest := path == w.cart.newestLog(book)
	if newest && w.oracle.harm.files[fmt.Sprint(book, filepath.Base(path))] { // twice, and all that is behind may look torn
		return
	}
	data := d.durable[path].data
	from, head := spot(rng, path, data)
	to := min(from+sector, len(data))
	with := make([]byte, to-from)
	if rng.IntN(2) == 0 || newest && inLastBatch(data, to) {
		from += rng.IntN(min(head, to-from))
		to = from + 1
		with = []byte{data[from] ^ 1<<rng.IntN(8)}
		w.say("a bit flips in %s", shortPath(path))
	} else {
		w.say("a sector reads as zeros in %s", shortPath(path))
	}
	w.oracle.harm.note(w.cart, book, path, data, from, to)
	d.change(path, from, with)
}

const (
	sector    = 512
	block     = 4096
	batchHead = 29
	pageHead  = 16 + 64 // and the first elements, or the meta
)

// victim is a durable file with something in it: more often one of those that hold items.
func (d *disk) victim(rng *rand.Rand, below string) string {
	var all, holding []string
	for _, p := range inOrderOf(d.durable) {
		if n := d.durable[p]; n.dir || len(n.data) == 0 || d.names[p] != n || !within(p, below) {
			continue
		}
		all = append(all, p)
		if ext := filepath.Ext(p); ext == ".seg" || ext == ".log" {
			holding = append(holding, p)
		}
	}
	if len(holding) > 0 && rng.IntN(4) > 0 {
		all = holding
	}
	if len(all) == 0 {
		return ""
	}
	return all[rng.IntN(len(all))]
}

// spot is a sector in which not all is zero, and how much of its front may flip. Of segments and logs every fourth time it is
// one that says how the rest is to be read: a page's head or a batch's. Which it is depends on what is written where, not on
// sealed bytes: a run can be played again.
func spot(rng *rand.Rand, path string, data []byte) (at, front int) {
	step, front := sector, sector
	if rng.IntN(4) == 0 {
		switch filepath.Ext(path) {
		case ".seg":
			step, front = boltPage, pageHead
		case ".log":
			step, front = block, batchHead
		}
	}
	var used []int
	for at := 0; at < len(data); at += step {
		if !allZero(data[at:min(at+sector, len(data))]) {
			used = append(used, at)
		}
	}
	if len(used) == 0 { // of a log, say, whose batches are gone: its front is as good as any other
		used = append(used, 0)
	}
	return used[rng.IntN(len(used))], front
}

// change overwrites bytes of a durable file beneath whoever has it open.
func (d *disk) change(path string, at int, b []byte) {
	copy(d.durable[path].data[at:], b)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		d.say("damage: %v", err)
		return
	}
	defer f.Close()
	f.WriteAt(b, int64(at))
}

// inLastBatch says whether a stretch of a log that ends at to touches its last batch: the last of which the head is there. A
// head that was damaged before hides its batch, and the one before it is spared too.
func inLastBatch(b []byte, to int) bool {
	first := 0
	for at := 0; at+batchHead <= len(b); at += block {
		if string(b[at:at+4]) == "TCLB" {
			first = at
		}
	}
	return to > first
}
