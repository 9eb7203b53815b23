package outbox

import (
	"errors"
	"os"
	"path/filepath"

	"telecart/capture/ledger"
	"telecart/device/kit"
)

// logPlace is what followed a log, and so what a batch at its end that is not whole means.
type logPlace int

const (
	fresh    logPlace = iota // nothing: the agent was killed, and the batch was never confirmed
	builtOn                  // later segments: confirmed, or written again in one of them
	followed                 // another log: confirmed
)

// loadLog reads a log.
func (o *Outbox) loadLog(path string, x *Index, place logPlace) (now string, damaged bool) {
	segment, log, _ := splitLogName(path)
	f, err := kit.OpenRegular(path)
	if err != nil {
		o.opt.Log.Error("outbox: log not read", "file", filepath.Base(path), "err", err)
		return path, true
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		o.opt.Log.Error("outbox: log not read", "file", filepath.Base(path), "err", err)
		return path, true
	}
	take := func(x *Index) func(int64, recordType, recordKey, []byte) {
		return func(_ int64, t recordType, k recordKey, payload []byte) {
			if err := x.add(t, k, payload); err != nil {
				o.opt.Log.Error("outbox: a record is not understood", "file", filepath.Base(path), "err", err)
				damaged = true
			}
		}
	}
	found := parseLog(f, st.Size(), segment, log, take(x))
	if found.torn && (place != fresh || quarantined(path)) {
		var tail Index
		scanFile(f, found.end, st.Size(), take(&tail))
		if quarantined(path) || place == followed || o.confirmed(segment, x.Entries, tail.Entries) {
			x.merge(tail)
			damaged = true
		}
	}
	switch {
	case quarantined(path):
		return path, true
	case damaged || found.damaged:
		return o.toQuarantine(path, ErrDamaged), true
	case found.batches == 0: // nothing was ever saved in it
		if err := o.opt.Disk.Remove(path); err != nil {
			o.opt.Log.Warn("outbox: empty log", "err", err)
		}
		return "", false
	}
	o.trim(path, found.end)
	if found.torn { // what will be built on this log is built on the cut, too
		if err := o.sync(path); err != nil {
			o.opt.Log.Error("outbox: can't be made durable", "file", filepath.Base(path), "err", err)
			return path, true
		}
	}
	return path, false
}

// confirmed says whether the batch behind the entries that count in a segment had been confirmed; tail is what is left of it.
func (o *Outbox) confirmed(n uint32, counted, tail []ledger.Entry) bool {
	f, err := o.following(n)
	return err != nil || f != (following{}) && f.confirms(counted, tail)
}

// following looks how the ledger goes on behind a segment; it is zero if it does not.
func (o *Outbox) following(n uint32) (f following, err error) {
	erased, err := o.checkpoints()
	if err != nil {
		return f, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	var next *segment
	for _, s := range o.x.segments {
		if s.n > n && s.entries > 0 && (next == nil || s.n < next.n) {
			next = s
		}
	}
	if next == nil {
		return f, nil
	}
	f = following{incarnation: next.incarnation, first: next.first}
	for _, p := range o.plain {
		if p.seg == next.n && p.Kind == ledger.Fork {
			f.fork = p.Body
		}
	}
	for _, c := range erased {
		if c.Segment > n && c.Segment < next.n && c.Head.Incarnation == next.incarnation {
			f.first = min(f.first, c.First)
		}
	}
	return f, nil
}

// following is how the ledger went on behind a segment.
type following struct {
	incarnation ledger.ID
	first       uint64
	fork        ledger.Hash // the entry that a new incarnation goes on from
}

// confirms says whether the ledger went on behind a batch of which tail is left, at the end of a segment in which the entries
// counted count. A batch that failed was written again, under the same numbers, or the ledger went on from before it.
func (f following) confirms(counted, tail []ledger.Entry) bool {
	for _, e := range tail {
		if e.Incarnation == f.incarnation && e.Number < f.first {
			return true
		}
	}
	if len(counted) == 0 { // a batch of which no entry is left has nothing to salvage, and is missed if it was one (findMissing)
		return len(tail) > 0 && tail[0].Incarnation != f.incarnation
	}
	last := counted[len(counted)-1]
	if last.Incarnation != f.incarnation {
		return f.fork != last.Hash()
	}
	return last.Number+1 < f.first
}

// passed says whether an entry that nothing leads to was one of the ledger's: its number was not given out again.
func (f following) passed(e ledger.Entry) bool {
	return e.Incarnation != f.incarnation || e.Number < f.first
}

// sync makes a file durable as it is.
func (o *Outbox) sync(path string) error {
	f, err := o.opt.Disk.Open(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
