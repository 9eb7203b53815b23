package outbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/device/kit/planted"
)

// Retire erases the old segments of which every item has a receipt of the hub's present store, past grace by a clock
// that was trusted then and is now, and covered by the backup watermark; and of which the hub has every entry. Each leaves
// a signed checkpoint and its receipts. It reports how many went.
func (o *Outbox) Retire() (n int, err error) {
	if !o.opt.Trusted() && !planted.Is(planted.TrustedClock) {
		return 0, nil
	}
	o.retiring.Lock()
	defer o.retiring.Unlock()
	if err := o.trust(); err != nil {
		return 0, err
	}
	for _, s := range o.delivered() {
		err := o.erase(s)
		if errors.Is(err, unix.ENOSPC) && o.dropSpares() { // erasing needs a little room itself
			err = o.erase(s)
		}
		if err != nil {
			return n, err
		}
		n++
	}
	if n > 0 {
		o.pruneReceipts()
		err = errors.Join(o.pruneCheckpoints(), o.pruneGone(), o.opt.Disk.SyncDir(o.opt.Dir))
		o.changed()
	}
	return n, err
}

// delivered are the segments that may go.
func (o *Outbox) delivered() (out []*segment) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.loading > 0 {
		return nil
	}
	busy := map[uint32]bool{}
	hold := func(from, to uint32) {
		for _, s := range o.x.segments {
			if from <= s.n && s.n <= to {
				busy[s.n] = true
			}
		}
	}
	for attempt := range o.puts { // its first chunks may lie in any segment since
		hold(uint32(attempt>>32), o.seg)
	}
	now := o.opt.Clock.Now()
	for _, s := range o.x.segments {
		if s.undone == 0 && o.past(s, now) {
			continue
		}
		busy[s.n] = true
		for _, i := range s.spans {
			if o.x.stateOf(s, int(i)) != isReceipted || !o.pastRow(s, int(i), now) {
				hold(s.rows[i].first(), s.n)
			}
		}
	}
	for _, p := range o.plain {
		backedUp := p.sequence == 0 || o.watermark.Store == p.posted && o.watermark.Sequence >= p.sequence
		if p.posted != o.x.store || o.x.store == (ledger.ID{}) || !backedUp {
			busy[p.seg] = true
		}
	}
	for _, s := range o.x.segments {
		if s.live == nil && !s.quarantined && !busy[s.n] {
			out = append(out, s)
		}
	}
	return out
}

// maxTrusted bounds how many receipts are written anew in one go.
const maxTrusted = 256

// trust has the grace of receipts that came before the clock was set begin now. It is written down: on a cart that is switched
// off every night it would begin anew each morning.
func (o *Outbox) trust() error {
	if planted.Is(planted.TrustedClock) {
		return nil
	}
	o.taking.Lock()
	defer o.taking.Unlock()
	for _, h := range o.doubted() {
		o.mu.Lock()
		s, i, ok := o.x.find(h)
		var r receiptRow
		if ok && s.receipted(i) {
			r = s.receipts[i]
		}
		o.mu.Unlock()
		if r.store == 0 {
			continue
		}
		k, err := o.receipts.read(r.file, r.slot)
		was := r.file
		r.arrived, r.trusted = o.opt.Clock.Now().UnixMilli(), true
		if err == nil { // what does not read back is trusted for this run alone
			k.arrived, k.trusted = time.UnixMilli(r.arrived), true
			var slot int
			if r.file, slot, err = o.receipts.add(k); err != nil {
				return err
			}
			r.slot = uint16(slot)
		}
		o.mu.Lock()
		if s, i, ok := o.x.find(h); ok && s.receipted(i) {
			o.receiptIn[was]--
			o.receiptIn[r.file]++
			o.x.receipt(s, i, r)
		}
		o.mu.Unlock()
	}
	return nil
}

// doubted are items whose receipt came under a clock that nobody vouched for.
func (o *Outbox) doubted() (out []ledger.Hash) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.x.segments {
		for i := 0; i < len(s.receipts) && s.doubtful > 0 && len(out) < maxTrusted; i++ {
			if r := s.receipts[i]; r.store != 0 && !r.trusted {
				out = append(out, s.rows[i].body)
			}
		}
	}
	return out
}

func (o *Outbox) past(s *segment, now time.Time) bool {
	for i := range s.rows {
		if !o.pastRow(s, i, now) {
			return false
		}
	}
	return true
}

// pastRow says whether grace is over and the hub's backup has the item.
func (o *Outbox) pastRow(s *segment, i int, now time.Time) bool {
	if planted.Is(planted.SkippedGrace) {
		return true
	}
	r := s.receipts[i]
	if !r.trusted && !planted.Is(planted.TrustedClock) {
		return false
	}
	return now.UnixMilli()-r.arrived >= o.opt.Grace.Milliseconds() && o.watermark.Store == o.x.stores[r.store-1] && o.watermark.Sequence >= r.sequence
}

// erase writes down what is left of a segment, then removes it.
func (o *Outbox) erase(s *segment) error {
	if err := o.leaveReceipts(s); err != nil {
		return err
	}
	if s.entries > 0 {
		c := ledger.Chain{Incarnation: s.incarnation, Next: s.last + 1, Head: s.lastHash}
		h, err := c.Sign(o.opt.Book, o.opt.Signer)
		if err != nil {
			return err
		}
		b, err := json.Marshal(checkpoint{Segment: s.n, First: s.first, Head: h})
		if err != nil {
			return fmt.Errorf("outbox: %w", err)
		}
		if err := o.opt.Disk.WriteFile(filepath.Join(o.opt.Dir, fmt.Sprintf("%08d%s", s.n, checkpointExt)), b, 0o600); err != nil {
			return err
		}
	}
	for _, path := range slices.Backward(s.files) { // the bbolt file last
		if err := o.opt.Disk.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("outbox: %w", err)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range s.receipts {
		if r.store != 0 {
			o.receiptIn[r.file]--
		}
	}
	o.x.remove(s)
	o.readers = slices.DeleteFunc(o.readers, func(r *reader) bool { return r.segment == s.n })
	o.plain = slices.DeleteFunc(o.plain, func(p plainEntry) bool { return p.seg == s.n })
	return nil
}

// pruneReceipts removes the receipt files of which every item was erased.
func (o *Outbox) pruneReceipts() {
	o.taking.Lock()
	defer o.taking.Unlock()
	files, err := receiptFiles(o.receipts.dir)
	if err != nil {
		o.opt.Log.Warn("outbox: receipts", "err", err)
		return
	}
	for _, n := range files {
		o.mu.Lock()
		needed := o.receiptIn[n] > 0 || n >= o.receipts.file || o.receipts.dark[n]
		if !needed {
			delete(o.receiptIn, n)
		}
		o.mu.Unlock()
		if needed {
			continue
		}
		if err := o.opt.Disk.Remove(o.receipts.path(n)); err != nil {
			o.opt.Log.Warn("outbox: receipts", "err", err)
		}
	}
}

// checkpoint is what a retired segment leaves: the signed head at its end.
type checkpoint struct {
	Segment uint32      `json:"segment"`
	First   uint64      `json:"first"` // the number of its first entry
	Head    ledger.Head `json:"head"`
}

const (
	checkpointExt  = ".checkpoint"
	maxCheckpoints = 4096 // of those that matter if a segment rots
)

// maxSmallFile bounds what is read of a file that should be small.
const maxSmallFile = 1 << 20

// checkpoints reads all of them, oldest segment first. One that can't be read is passed over: the next is as good.
func (o *Outbox) checkpoints() ([]checkpoint, error) {
	out, _, err := o.readCheckpoints()
	return out, err
}

// readCheckpoints also names the segments whose checkpoints can't be read.
func (o *Outbox) readCheckpoints() (out []checkpoint, unread []uint32, err error) {
	files, err := os.ReadDir(o.opt.Dir)
	if err != nil {
		return nil, nil, fmt.Errorf("outbox: %w", err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), checkpointExt) || !f.Type().IsRegular() {
			continue
		}
		c, err := readCheckpoint(filepath.Join(o.opt.Dir, f.Name()))
		if err != nil || f.Name() != fmt.Sprintf("%08d%s", c.Segment, checkpointExt) {
			o.opt.Log.Error("outbox: checkpoint damaged", "file", f.Name(), "err", err)
			if n, ok := digits8(strings.TrimSuffix(f.Name(), checkpointExt)); ok {
				unread = append(unread, n)
			}
			continue
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b checkpoint) int { return int(int64(a.Segment) - int64(b.Segment)) })
	return out, unread, nil
}

func readCheckpoint(path string) (c checkpoint, err error) {
	f, err := kit.OpenRegular(path)
	if err != nil {
		return c, fmt.Errorf("outbox: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSmallFile))
	if err != nil {
		return c, fmt.Errorf("outbox: %w", err)
	}
	return decodeCheckpoint(b)
}

func decodeCheckpoint(b []byte) (c checkpoint, err error) {
	if err := json.Unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("%w: a checkpoint: %v", ErrDamaged, err)
	}
	if c.Segment == 0 || c.Head.Number > maxNumber {
		return c, fmt.Errorf("%w: a checkpoint of no segment", ErrDamaged)
	}
	return c, nil
}

func (o *Outbox) newestCheckpoint() (*checkpoint, error) {
	all, err := o.checkpoints()
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[len(all)-1], nil
}

// checkpointHash finds an entry's hash among the checkpoints.
func (o *Outbox) checkpointHash(incarnation ledger.ID, number uint64) (h ledger.Hash, ok bool) {
	all, err := o.checkpoints()
	if err != nil {
		return h, false
	}
	for _, c := range all {
		if c.Head.Incarnation == incarnation && c.Head.Number == number {
			return c.Head.Hash, true
		}
	}
	return h, false
}

// pruneCheckpoints keeps each incarnation's newest checkpoint, those that the first entry of a segment still here follows on,
// those behind the oldest segment still here, and all of them while a segment is in quarantine: should one rot, what was erased
// beside it is not lost.
func (o *Outbox) pruneCheckpoints() error {
	all, err := o.checkpoints()
	if err != nil {
		return err
	}
	type line struct {
		incarnation ledger.ID
		next        uint64
	}
	newest, needed := map[ledger.ID]uint64{}, map[line]bool{}
	for _, c := range all {
		newest[c.Head.Incarnation] = max(newest[c.Head.Incarnation], c.Head.Number)
	}
	o.mu.Lock()
	quarantined, oldest := false, uint32(maxSegment)
	for _, s := range o.x.segments {
		oldest = min(oldest, s.n)
		quarantined = quarantined || s.quarantined
		if s.entries > 0 {
			needed[line{s.incarnation, s.first}] = true
		}
	}
	o.mu.Unlock()
	few := len(all) <= maxCheckpoints
	if quarantined && few {
		return nil
	}
	for _, c := range all {
		if few && c.Segment > oldest {
			continue
		}
		if newest[c.Head.Incarnation] == c.Head.Number || needed[line{c.Head.Incarnation, c.Head.Number + 1}] {
			continue
		}
		if err := o.opt.Disk.Remove(filepath.Join(o.opt.Dir, fmt.Sprintf("%08d%s", c.Segment, checkpointExt))); err != nil {
			return fmt.Errorf("outbox: %w", err)
		}
	}
	return nil
}
