package outbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"telecart/capture/ledger"
	"telecart/device/kit"
)

// quarantine is the folder of files that failed their check.
const quarantine = "quarantine"

func segmentPath(dir string, n uint32) string {
	return filepath.Join(dir, fmt.Sprintf("%08d%s", n, segmentExt))
}

// segmentName reads the number out of the name of a segment or of one of its logs.
func segmentName(name string) (n uint32, ok bool) {
	if n, _, ok = splitLogName(name); ok {
		return n, n <= maxSegment
	}
	stem, ok := strings.CutSuffix(name, segmentExt)
	if !ok {
		return 0, false
	}
	_, err := fmt.Sscanf(stem, "%d", &n)
	return n, err == nil && segmentPath("", n) == name && n <= maxSegment
}

// maxSegment is the highest number that can be ours: a file of a higher one is not, and is left alone.
const maxSegment = 90_000_000

// listSegments gives the numbers of the segments in an outbox's folder, those in quarantine included, oldest first.
func listSegments(dir string) (out []uint32, err error) {
	for _, d := range []string{dir, filepath.Join(dir, quarantine)} {
		files, err := os.ReadDir(d)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("outbox: %w", err)
		}
		for _, f := range files {
			if n, ok := segmentName(f.Name()); ok {
				out = append(out, n)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// filesOf gives the paths of a segment's files, the bbolt file first, then the logs in order.
func filesOf(dir string, n uint32) (out []string) {
	for _, d := range []string{dir, filepath.Join(dir, quarantine)} {
		if _, err := os.Lstat(segmentPath(d, n)); err == nil {
			out = append(out, segmentPath(d, n))
			break
		}
	}
	var logs []string
	for _, d := range []string{dir, filepath.Join(dir, quarantine)} {
		found, _ := filepath.Glob(filepath.Join(d, fmt.Sprintf("%08d.*%s", n, logExt)))
		logs = append(logs, found...)
	}
	logs = slices.DeleteFunc(logs, func(p string) bool { _, _, ok := splitLogName(p); return !ok })
	slices.SortStableFunc(logs, func(a, b string) int {
		_, i, _ := splitLogName(a)
		_, j, _ := splitLogName(b)
		return int(int64(i) - int64(j))
	})
	return append(out, logs...)
}

func quarantined(path string) bool { return filepath.Base(filepath.Dir(path)) == quarantine }

// findHead looks for the last entry, newest segment first. What it had to check on the way is loaded; the rest is returned.
func (o *Outbox) findHead(ctx context.Context, segs []uint32) (h head, rest []uint32, err error) {
	rest = slices.Clone(segs)
	for len(rest) > 0 && h.entry == nil {
		n := rest[len(rest)-1]
		rest = rest[:len(rest)-1]
		end := fresh
		if h.damaged {
			end = builtOn // perhaps, by what is lost
		}
		last, damaged := o.load(ctx, n, end)
		if err := ctx.Err(); err != nil { // an older head would give its numbers out again
			return h, nil, fmt.Errorf("outbox: %w", err)
		}
		h.damaged = h.damaged || damaged
		h.entry = last
	}
	if h.entry == nil {
		h.chain, err = o.newestCheckpoint()
	}
	return h, rest, err
}

// manyOld is so many old segments that reading them leaves megabytes of garbage.
const manyOld = 16

// loadOld checks the remaining old segments, newest first, then what is not whole.
func (o *Outbox) loadOld(segs []uint32) {
	for _, n := range slices.Backward(segs) {
		if o.life.Err() != nil {
			return
		}
		o.load(o.life, n, builtOn)
		o.mu.Lock()
		o.loading--
		o.mu.Unlock()
		o.changed()
	}
	o.verifyDamaged()
	o.mu.Lock()
	clear(o.early) // of what is no longer here
	o.findMissing()
	o.mu.Unlock()
	if o.life.Err() == nil {
		o.pruneReceipts()
	}
	if len(segs) >= manyOld {
		debug.FreeOSMemory() // what reading them took would stay with the process
	}
	o.mu.Lock()
	o.loading = 0
	o.mu.Unlock()
	o.changed()
}

// load checks one old segment and takes its items over; end is what is known of its last log. It gives the last entry.
func (o *Outbox) load(ctx context.Context, n uint32, end logPlace) (last *ledger.Entry, damaged bool) {
	var x Index
	s := &segment{n: n}
	files := filesOf(o.opt.Dir, n)
	for i, path := range files {
		take := o.loadBolt
		if _, _, isLog := splitLogName(path); isLog {
			place := end
			if i < len(files)-1 {
				place = followed
			}
			take = func(_ context.Context, path string, x *Index) (string, bool) { return o.loadLog(path, x, place) }
		}
		if err := o.settle(path); err != nil {
			o.opt.Log.Error("outbox: can't be made durable", "file", filepath.Base(path), "err", err)
			damaged = true
		}
		path, bad := take(ctx, path, &x)
		damaged = damaged || bad
		if path != "" {
			s.files = append(s.files, path)
		}
	}
	if ctx.Err() != nil {
		return nil, false
	}
	x.sort()
	damaged = o.cut(s, &x) || damaged
	s.quarantined = damaged
	o.mu.Lock()
	defer o.mu.Unlock()
	o.takeOver(s, &x)
	if len(x.Entries) > 0 {
		last = &x.Entries[len(x.Entries)-1]
	}
	return last, damaged
}

// settle makes durable what a killed agent wrote and did not sync: what is found is built upon. What a log holds is written
// once more: after a sync that failed, the page cache may show what the disk never got, and the next sync says yes (fsync(2)).
func (o *Outbox) settle(path string) error {
	f, err := o.opt.Disk.Open(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	if _, _, isLog := splitLogName(path); isLog {
		err = rewrite(f)
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// rewrite writes what a file holds, but for zeros, where it is.
func rewrite(f *kit.File) error {
	b := make([]byte, 64<<10)
	for at := int64(0); ; {
		n, err := f.ReadAt(b, at)
		if n > 0 && !zero(b[:n]) {
			if _, err := f.WriteAt(b[:n], at); err != nil {
				return fmt.Errorf("outbox: %w", err)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("outbox: %w", err)
		}
		at += int64(n)
	}
}

// takeOver puts a checked segment into the index. It needs mu.
func (o *Outbox) takeOver(s *segment, x *Index) {
	s.entries = len(x.Entries)
	if len(x.Entries) > 0 {
		first, last := x.Entries[0], x.Entries[len(x.Entries)-1]
		s.incarnation, s.first, s.last, s.lastHash = last.Incarnation, last.Number, last.Number, last.Hash()
		if first.Incarnation == last.Incarnation {
			s.first = first.Number
		}
	}
	for i, e := range x.Entries {
		if e.Kind != ledger.Item {
			o.plain = append(o.plain, plainEntry{Entry: e, seg: s.n})
		}
		if i > 0 && e.Incarnation == x.Entries[i-1].Incarnation {
			o.miss(e.Incarnation, x.Entries[i-1].Number+1, e.Number)
		}
	}
	s.rows = make([]row, 0, len(x.Items))
	o.x.add(s)
	for _, it := range x.Items {
		i, ok := o.x.insert(s, row{body: it.Entry.Body, number: it.Entry.Number, attempt: it.Attempt, kind: it.Kind,
			urgency: it.Urgency, length: uint32(it.Length)})
		if r, early := o.early[it.Entry.Body]; ok && early {
			o.x.receipt(s, i, r)
			o.receiptIn[r.file]++
			delete(o.early, it.Entry.Body)
		}
	}
}

// loadBolt checks a bbolt file. A damaged one goes to quarantine, and is salvaged at every start. One that can't be checked
// is salvaged where it is.
func (o *Outbox) loadBolt(ctx context.Context, path string, x *Index) (now string, damaged bool) {
	var err error
	if damaged = quarantined(path); !damaged {
		var found Index
		if found, err = o.opt.Check(ctx, path); err != nil && ctx.Err() == nil {
			found, err = o.opt.Check(ctx, path) // a busy machine is no damage
		}
		if err == nil {
			x.Size = found.Size
			x.merge(found)
			return path, false
		}
		if ctx.Err() != nil {
			return path, false
		}
		if errors.Is(err, ErrDamaged) {
			path = o.toQuarantine(path, err)
		}
	}
	found, err := Salvage(path)
	if err != nil {
		o.opt.Log.Error("outbox: nothing salvaged", "file", filepath.Base(path), "err", err)
	}
	x.merge(found)
	return path, true
}

// cut gives back what a checked bbolt file does not use, unless there are records that neither its pages nor the logs lead to:
// a transaction that never ended has none but those that are in a log still. Then the file is damaged, and salvaged.
func (o *Outbox) cut(s *segment, x *Index) (damaged bool) {
	if x.Size == 0 { // it was not checked, or failed
		return false
	}
	path := s.files[0]
	stray := slices.DeleteFunc(x.Stray, func(e ledger.Entry) bool { return slices.Contains(x.Entries, e) })
	if len(stray) > 0 {
		f, err := o.following(s.n)
		stray = slices.DeleteFunc(stray, func(e ledger.Entry) bool { return err == nil && !f.passed(e) })
	}
	if len(stray) == 0 {
		o.trim(path, x.Size)
		return false
	}
	s.files[0] = o.toQuarantine(path, fmt.Errorf("%w: its pages pass over records", ErrDamaged))
	found, err := Salvage(s.files[0])
	if err != nil {
		o.opt.Log.Error("outbox: nothing salvaged", "file", filepath.Base(path), "err", err)
	}
	x.merge(found)
	x.sort()
	return true
}

func (x *Index) merge(more Index) {
	x.Stray = append(x.Stray, more.Stray...)
	x.Entries = append(x.Entries, more.Entries...)
	x.Items = append(x.Items, more.Items...)
}

// toQuarantine moves a file that failed its check aside, and gives its path then.
func (o *Outbox) toQuarantine(path string, why error) string {
	o.opt.Log.Error("outbox: quarantined", "file", filepath.Base(path), "err", why)
	moved := filepath.Join(o.opt.Dir, quarantine, filepath.Base(path))
	if err := o.opt.Disk.Rename(path, moved); err != nil {
		o.opt.Log.Error("outbox: not moved to quarantine", "err", err)
		return path
	}
	if err := errors.Join(o.opt.Disk.SyncDir(filepath.Dir(moved)), o.opt.Disk.SyncDir(o.opt.Dir)); err != nil {
		o.opt.Log.Error("outbox: quarantine", "err", err)
	}
	return moved
}
