package outbox

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"telecart/device/kit"
	"telecart/device/kit/planted"
)

// live is a segment of this run: its bbolt file and the logs in front of it.
type live struct {
	n    uint32
	path string
	used atomic.Int64 // bytes of records that were given a place here, in logs or in bbolt
	bad  atomic.Bool  // condemned: nothing more is written to any of its files

	moving sync.Mutex   // one move at a time
	dbmu   sync.RWMutex // held for reading while db is used, for writing while it changes; taken before mu
	db     *bbolt.DB    // nil: the segment is an old one now
	mu     sync.RWMutex // held for reading while a log is used, for writing while they change: never during a commit of db
	logs   []*liveLog   // that are not moved yet, oldest first
	made   uint32       // logs so far
	log    *liveLog     // the last of them; of the writer alone
}

// liveLog is a log of this run. Of the writer alone: at, batches.
type liveLog struct {
	n       uint32
	path    string
	f       *kit.File
	at      int64
	batches uint32
	index   map[recordKey]spot
}

// openLive begins segment n.
func (o *Outbox) openLive(n uint32) (*live, error) {
	path := segmentPath(o.opt.Dir, n)
	if err := o.takeSpare(spareName, path, o.opt.SegmentSize, makeSegment); err != nil {
		return nil, err
	}
	if err := o.opt.Disk.SyncDir(o.opt.Dir); err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	db, err := bbolt.Open(path, 0o600, boltOptions(o.opt.SegmentSize))
	if err != nil {
		return nil, fmt.Errorf("outbox: open segment %d: %w", n, err)
	}
	o.opt.Bolted(path, db)
	return &live{n: n, path: path, db: db}, nil
}

// nextLog begins a log of the segment.
func (o *Outbox) nextLog(s *live) error {
	path := logPath(o.opt.Dir, s.n, s.made)
	if err := o.takeSpare(spareLog, path, o.opt.LogSize, o.makeLog); err != nil {
		return err
	}
	if !planted.Is(planted.UnsyncedFolder) {
		if err := o.opt.Disk.SyncDir(o.opt.Dir); err != nil {
			return fmt.Errorf("outbox: %w", err)
		}
	}
	f, err := o.opt.Disk.Open(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = &liveLog{n: s.made, path: path, f: f, index: map[recordKey]spot{}}
	s.logs = append(s.logs, s.log)
	s.made++
	return nil
}

// append commits one batch: one write, one fdatasync. After an error nobody knows whether it is on the disk. b has room for
// the header in front and zeros up to a whole block behind.
func (l *liveLog) append(segment uint32, b []byte, length int) error {
	batchHeader{segment: segment, log: l.n, number: l.batches, length: uint32(length), sum: crc32.Checksum(b[headSize:headSize+length], castagnoli)}.put(b)
	if _, err := l.f.WriteAt(b, l.at); err != nil {
		return fmt.Errorf("outbox: write log: %w", err)
	}
	if planted.Is(planted.SkippedSync) {
		return nil
	}
	err := l.f.Sync() // never tried again: the kernel may have forgotten what it could not write, and say yes
	if err != nil && planted.Is(planted.RetriedSync) {
		err = l.f.Sync()
	}
	if err != nil {
		return fmt.Errorf("outbox: sync log: %w", err)
	}
	return nil
}

// wrote notes a batch that is durable.
func (s *live) wrote(l *liveLog, spots []spotOf, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range spots {
		l.index[p.key] = spot{length: p.length, offset: l.at + p.offset}
	}
	l.at += size
	l.batches++
}

type spotOf struct {
	key    recordKey
	offset int64 // within the batch
	length int32
}

// read gets one record; ok is false if the segment is an old one by now.
func (s *live) read(k recordKey) (payload []byte, ok bool, err error) {
	s.dbmu.RLock()
	defer s.dbmu.RUnlock()
	if s.db == nil {
		return nil, false, nil
	}
	if payload, ok, err = s.readLogs(k); ok {
		return payload, true, err
	}
	defer s.caught(&err)()
	err = s.db.View(func(tx *bbolt.Tx) error {
		v := tx.Bucket(bucket).Get(k.bytes())
		if v == nil {
			return nil
		}
		_, _, p, err := decodeRecord(v)
		payload = slices.Clone(p)
		return err
	})
	return payload, true, err
}

// caught makes an error of a page that went bad under bbolt: it panics on what it does not understand, and a sector that
// can't be read is a fault in its mapping. The segment takes nothing more; its logs are still good.
func (s *live) caught(err *error) func() {
	old := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(old)
		if p := recover(); p != nil {
			s.bad.Store(true)
			*err = fmt.Errorf("%w: segment %d: %v", ErrDamaged, s.n, p)
		}
	}
}

// readLogs gets one record that is not moved yet.
func (s *live) readLogs(k recordKey) (payload []byte, ok bool, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, l := range slices.Backward(s.logs) {
		if p, here := l.index[k]; here {
			payload, err = readSpot(l.f, p, k)
			return payload, true, err
		}
	}
	return nil, false, nil
}

// bulk commits records straight into bbolt. A failed commit condemns the segment.
func (s *live) bulk(records []record) (err error) {
	s.dbmu.RLock()
	defer s.dbmu.RUnlock()
	if s.db == nil || s.bad.Load() {
		return errNotHere
	}
	defer s.caught(&err)()
	err = s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucket)
		b.FillPercent = 1
		for _, r := range records {
			if err := b.Put(r.key.bytes(), r.bytes); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, bbolterrors.ErrMaxSizeReached) {
		return errNotHere // full, and as good as before
	}
	if err == nil {
		err = kit.Writable(s.path)
	}
	if err != nil {
		s.bad.Store(true)
		return fmt.Errorf("outbox: segment %d: %w", s.n, err)
	}
	return nil
}

// errNotHere: this segment takes nothing more.
var errNotHere = errors.New("outbox: the segment takes nothing more")

// move puts the records of the full logs into bbolt, one transaction for each, then removes them. It leaves the last log
// of a segment that is still written to.
func (o *Outbox) move(s *live, leave int) error {
	s.moving.Lock()
	defer s.moving.Unlock()
	for {
		l := s.oldest(leave)
		if l == nil {
			return nil
		}
		records, err := l.records()
		if err != nil {
			s.bad.Store(true)
			return err
		}
		if err := s.bulk(records); err != nil {
			return err
		}
		s.mu.Lock()
		s.logs = s.logs[1:]
		s.mu.Unlock()
		l.f.Close()
		if err := o.opt.Disk.Remove(l.path); err != nil {
			return fmt.Errorf("outbox: %w", err)
		}
	}
}

// moveIfCalm leaves the logs where they are while many are putting: writing everything twice would have them wait, and a log
// is as good a file of its segment as bbolt's.
func (o *Outbox) moveIfCalm(s *live, leave int) {
	if o.busy() {
		return
	}
	if err := o.move(s, leave); err != nil {
		o.opt.Log.Error("outbox: log not moved", "segment", s.n, "err", err)
	}
}

// oldest is the log to be moved next, if more than leave are there.
func (s *live) oldest(leave int) *liveLog {
	s.dbmu.RLock()
	defer s.dbmu.RUnlock()
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.logs) <= leave || s.db == nil || s.bad.Load() {
		return nil
	}
	return s.logs[0]
}

// records reads back what a full log holds.
func (l *liveLog) records() (out []record, err error) {
	scanFile(l.f, 0, l.at, func(_ int64, t recordType, k recordKey, payload []byte) {
		if _, ok := l.index[k]; ok {
			out = append(out, record{k, encodeRecord(t, k, payload)})
		}
	})
	if len(out) != len(l.index) {
		return nil, fmt.Errorf("%w: %s: %d records of %d read back", ErrDamaged, filepath.Base(l.path), len(out), len(l.index))
	}
	return out, nil
}

// finish makes an old segment of one that is not written to any more: its logs are moved, unless many are putting; what it
// did not need is given back. A condemned one is left as it is, logs and all: its files are only read.
func (o *Outbox) finish(s *live) {
	o.moveIfCalm(s, 0)
	s.moving.Lock()
	defer s.moving.Unlock()
	s.dbmu.Lock()
	defer s.dbmu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return
	}
	size := int64(0)
	if !s.bad.Load() {
		s.db.View(func(tx *bbolt.Tx) error { size = tx.Size(); return nil })
	}
	if err := s.db.Close(); err != nil {
		o.opt.Log.Error("outbox: close segment", "segment", s.n, "err", err)
		size = 0
	}
	s.db = nil
	files := []string{s.path}
	for _, l := range s.logs {
		files = append(files, l.path)
		l.f.Close()
		if !s.bad.Load() {
			o.trim(l.path, l.at)
		}
	}
	s.logs = nil
	o.trim(s.path, size)
	o.mu.Lock()
	defer o.mu.Unlock()
	if seg := o.x.segment(s.n); seg != nil {
		seg.live, seg.files = nil, files
	}
	o.unfinished = slices.DeleteFunc(o.unfinished, func(u *live) bool { return u == s })
}

// trim gives back the blocks of a file that were written beforehand and never used.
func (o *Outbox) trim(path string, used int64) {
	if st, err := os.Stat(path); err != nil || used <= 0 || st.Size() <= used {
		return
	}
	if err := o.opt.Disk.Truncate(path, used); err != nil {
		o.opt.Log.Warn("outbox: trim", "file", filepath.Base(path), "err", err)
	}
}
