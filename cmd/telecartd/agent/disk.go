package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/link"
	"telecart/uplink/outbox"
)

// The disk, honestly: from warnDisk on the nurse and the hub are told; from clipsUpTo on clips and sounds are refused; and the
// reserve, a file of written blocks that nothing else can take, is given back piece by piece when something fills the disk all
// the same, so that readings, notes and stills still have room. It is made again once items were delivered and erased.
const (
	reserveMost  = 128 << 20 // bytes of the reserve, or an eighth of a small disk
	reservePiece = 16 << 20  // what is given back at once: a segment of the outbox
	// With less than this free a piece is given back: the next segment, a log and receipts fit in.
	roomLow     = 32 << 20
	roomBook    = 2 * (outbox.DefaultSegmentSize + outbox.DefaultLogSize) // what a book begins with, and the spares it makes at once
	roomBooks   = 2*roomBook + 8<<20                                      // care, practice, and receipts
	diskEvery   = 10 * time.Second
	reserveName = "reserve"
)

// space is what a file system says of itself: bytes that we can use, free and in all.
type space struct{ free, total int64 }

func statfs(path string) (space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return space{}, fmt.Errorf("agent: disk: %w", err)
	}
	block := int64(st.Bsize)
	// Used and free to us, as df(1) counts: what is kept for root is neither.
	return space{int64(st.Bavail) * block, int64(st.Blocks-st.Bfree+st.Bavail) * block}, nil
}

// reserve is the file that holds room back.
type reserve struct {
	dir  string
	disk kit.Disk
	ask  func(path string) (space, error)

	filling sync.Mutex // one fill at a time; it waits for a slow card, and nothing that a save needs waits for it
	mu      sync.Mutex // of held, and of cutting the file
	held    int64      // bytes that are written and synced
}

func newReserve(dir string) *reserve {
	r := &reserve{dir: dir, ask: statfs}
	if st, err := os.Stat(r.path()); err == nil {
		r.held = st.Size()
	}
	return r
}

func (r *reserve) path() string { return filepath.Join(r.dir, reserveName) }

// used is the percentage of the disk that is taken, without the reserve: that is there to be used.
func (r *reserve) used(dir string) int {
	s, err := r.ask(dir)
	if err != nil || s.total <= 0 {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return int((100*(s.total-s.free-r.held) + s.total - 1) / s.total)
}

// fill makes the reserve, or makes it whole again, if that leaves room enough for what it is not for: piece by piece, as
// saves go on beside it and may take some back.
func (r *reserve) fill() error {
	r.filling.Lock()
	defer r.filling.Unlock()
	for {
		from, to, err := r.next()
		if err != nil || from == to {
			return err
		}
		if err := r.add(from, to); err != nil {
			return fmt.Errorf("agent: reserve: %w", err)
		}
	}
}

// next is the piece to be written; none when the reserve is whole, or when there is no room for what it lacks.
func (r *reserve) next() (from, to int64, err error) {
	s, err := r.ask(r.dir)
	if err != nil {
		return 0, 0, err
	}
	held := r.holds()
	want := min(reserveMost, s.total/8)
	if held >= want || s.free-(want-held) < max(2*roomLow, s.total*(100-warnDisk)/100) {
		return held, held, nil
	}
	return held, min(want, held+reservePiece), nil
}

// add writes one piece. It counts once it is durable, unless what lies before it was given back meanwhile.
func (r *reserve) add(from, to int64) error {
	err := r.write(from, to)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil || r.held != from {
		return errors.Join(err, r.shrink(r.held))
	}
	r.held = to
	return nil
}

func (r *reserve) write(from, to int64) error {
	f, err := r.disk.Open(r.path(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	zeros := make([]byte, 1<<20)
	for at := from; at < to && err == nil && r.holds() == from; at += int64(len(zeros)) { // written, not just promised
		_, err = f.WriteAt(zeros[:min(int64(len(zeros)), to-at)], at)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil && from == 0 {
		err = r.disk.SyncDir(r.dir)
	}
	return err
}

func (r *reserve) holds() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held
}

// give lets pieces go until so many bytes are free, or nothing is left. Gave says whether there was one.
func (r *reserve) give(room int64) (gave bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.held > 0 {
		s, err := r.ask(r.dir)
		if err != nil || s.free >= room {
			return gave, err
		}
		if err := r.shrink(max(0, r.held-reservePiece)); err != nil {
			return gave, err
		}
		gave = true
	}
	return gave, nil
}

// shrink needs mu.
func (r *reserve) shrink(size int64) error {
	if err := r.disk.Truncate(r.path(), size); err != nil {
		return fmt.Errorf("agent: reserve: %w", err)
	}
	r.held = min(r.held, size)
	return nil
}

// makeRoom is asked before an item is saved. It fails for nothing: the outbox says whether there is room.
func (a *Agent) makeRoom(k capture.Kind) {
	if k == capture.Clip || k == capture.Sound {
		return // not for them
	}
	gave, err := a.spare.give(roomLow)
	switch {
	case err != nil:
		a.log.Error("agent: the reserve can't be given back", "err", err)
	case gave:
		a.log.Warn("agent: the disk is full; a piece of the reserve goes to readings, notes and stills")
	}
}

// watchDisk looks after the reserve, and tells the nurse of a disk that fills up and of what is damaged on it.
func (a *Agent) watchDisk(ctx context.Context) error {
	level := 0
	for {
		if err := a.spare.fill(); err != nil {
			a.log.Warn("agent: no reserve on the disk", "err", err)
		}
		level = a.tellDisk(level)
		a.tellDamage()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.clock.After(diskEvery):
		}
	}
}

// tellDisk says once when the disk goes over a level, and takes back what it said when that is no longer so; both screens show
// the percentage all the time.
func (a *Agent) tellDisk(before int) (level int) {
	used := a.diskPercent()
	switch {
	case used >= clipsUpTo:
		level = 2
	case used >= warnDisk:
		level = 1
	}
	if level == before {
		return level
	}
	a.withdraw("disk-filling", "disk-nearly-full")
	with := map[string]string{"n": fmt.Sprint(used)}
	switch {
	case level < before:
	case level == 2:
		a.notice("disk-nearly-full", with)
	default:
		a.notice("disk-filling", with)
	}
	a.change()
	return level
}

// damage is what the outboxes found damaged; nil when there is nothing.
func (a *Agent) damage() *link.Damage {
	d := link.Damage{Items: []link.DamagedItem{}}
	at := a.capturedAt()
	for _, b := range a.boxes() {
		s := b.Stats()
		if d.Segments += s.Quarantine; s.Damaged == 0 && s.Quarantine == 0 {
			continue
		}
		for _, i := range b.Damaged() {
			if len(d.Items) == link.MaxDamaged {
				d.More++
				continue
			}
			one := link.DamagedItem{Number: i.Number}
			if i.Kind != 0 {
				one.Kind = i.Kind.String()
			}
			if t, known := at[i.Hash]; known {
				one.At = &t
			}
			d.Items = append(d.Items, one)
		}
	}
	if d.Segments+d.More+len(d.Items) == 0 {
		return nil
	}
	return &d
}

// capturedAt is when the items of this encounter were captured: of others the cart does not know any more.
func (a *Agent) capturedAt() map[ledger.Hash]time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := map[ledger.Hash]time.Time{}
	for _, i := range a.items {
		out[i.ID] = i.At
	}
	return out
}

// tellDamage says once, of each kind, what can't be read back. Capture goes on: what is damaged is old.
func (a *Agent) tellDamage() {
	d := a.damage()
	if d == nil {
		return
	}
	told := map[string]bool{}
	for _, i := range d.Items {
		if k := cmp.Or(i.Kind, "unknown"); !told[k] {
			told[k] = true
			a.tellOnce("items-damaged/"+k, func() { a.notice("items-damaged", map[string]string{"kind": k}) })
		}
	}
	if len(d.Items)+d.More == 0 {
		a.tellOnce("segment-quarantined", func() { a.notice("segment-quarantined", nil) })
	}
}

// tellOnce tells something once in the life of the process, even after the nurse dismissed it.
func (a *Agent) tellOnce(what string, tell func()) {
	if _, again := a.toldOnce.LoadOrStore(what, true); !again {
		tell()
	}
}
