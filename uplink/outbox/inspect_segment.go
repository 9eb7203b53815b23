package outbox

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/wire"
)

// snapshot is one segment with its logs, as it was at one moment.
type snapshot struct {
	n      uint32
	files  []snapFile
	at     map[recordKey]recordAt
	damage []FoundDamage
	torn   *logDamage     // of the last log
	stray  []ledger.Entry // see strays
}

type snapFile struct {
	name        string // below the book's folder
	bytes       []byte
	quarantined bool
	strange     error // why it could not be read, though it is there
}

type recordAt struct {
	t              recordType
	file           int
	offset, length int
	salvaged       bool
}

// snapshotTries bounds how often a segment is read again that changes while it is read.
const snapshotTries = 64

// readSnapshot reads segment n while an agent may be at work in it: it appends to logs, moves a full log into the segment
// by one transaction, and then removes the log. So logs are read first, then the segment, then the logs again; if the
// segment got another transaction meanwhile, or a log went, all is read once more. A last batch that does not check may
// just be on its way to the file.
func readSnapshot(dir string, n uint32) (s *snapshot, err error) {
	for try := range snapshotTries {
		before, err := readLogs(dir, n)
		if err != nil {
			return nil, err
		}
		s = &snapshot{n: n, at: map[recordKey]recordAt{}}
		seg, err := s.readSegment(dir)
		if err != nil {
			return nil, err
		}
		logs, err := readLogs(dir, n)
		if err != nil {
			return nil, err
		}
		changed := !slices.EqualFunc(before, logs[:min(len(before), len(logs))], func(a, b snapFile) bool { return a.name == b.name })
		s.files = append(s.files, logs...)
		s.index(seg)
		if !changed && len(s.damage) > 0 && try < snapshotTries/8 {
			changed = true
		}
		if !changed && (seg == nil || sameCommit(filepath.Join(dir, s.files[0].name), seg)) {
			return s, nil
		}
	}
	if len(s.damage) == 0 {
		s.damage = append(s.damage, FoundDamage{Segment: n, What: "the segment changed each time it was read; read it again when the cart rests, or is off"})
	}
	return s, nil
}

// readSegment reads the segment's file, if it is there, as file 0.
func (s *snapshot) readSegment(dir string) ([]byte, error) {
	for _, sub := range []string{"", quarantine} {
		name := filepath.Join(sub, fmt.Sprintf("%08d%s", s.n, segmentExt))
		b, err := readBounded(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil && !strange(err) {
			return nil, err
		}
		s.files = append(s.files, snapFile{name, b, sub != "", err})
		return b, nil
	}
	return nil, nil
}

func readLogs(dir string, n uint32) (out []snapFile, err error) {
	for _, sub := range []string{"", quarantine} {
		names, err := filepath.Glob(filepath.Join(dir, sub, fmt.Sprintf("%08d.[0-9][0-9][0-9][0-9]*%s", n, inspectLogExt)))
		if err != nil {
			return nil, fmt.Errorf("outbox: %w", err)
		}
		slices.Sort(names)
		for _, name := range names {
			b, err := readBounded(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue // it has just been moved into the segment
			}
			if err != nil && !strange(err) {
				return nil, err
			}
			out = append(out, snapFile{filepath.Join(sub, filepath.Base(name)), b, sub != "", err})
		}
	}
	return out, nil
}

// sameCommit says whether the segment's newest transaction is still the one that was read.
func sameCommit(path string, read []byte) bool {
	f, err := kit.OpenRegular(path)
	if err != nil {
		return false
	}
	defer f.Close()
	b := make([]byte, 2*pageSize)
	k, _ := f.ReadAt(b, 0)
	now, _ := newestMeta(b[:k])
	then, _ := newestMeta(read)
	return now.txid == then.txid
}

// index finds the records: those of the segment through its tree, those of logs batch by batch, and what is damaged by marks.
func (s *snapshot) index(seg []byte) {
	first := 0
	if seg != nil {
		first = 1
		err := walkTree(seg, func(key, value []byte, offset int) {
			s.committed(0, key, value, offset)
		})
		if err != nil {
			s.damaged(0, 0, fmt.Sprintf("the segment's pages can't be followed (%v); it was read record by record", err))
			s.salvage(0, seg, 0)
		} else if validMetas(seg) < 2 {
			s.damaged(0, 0, "one of the segment's two meta pages is damaged; it was read record by record as well")
			s.salvage(0, seg, 0)
		}
	}
	for i := first; i < len(s.files); i++ {
		if err := s.files[i].strange; err != nil {
			s.damaged(i, 0, cantRead(err))
			continue
		}
		l := inspectLog(s.files[i].bytes, s.n, s.files[i].name)
		if s.torn = l.torn; l.torn != nil && slices.ContainsFunc(s.files[first:], func(o snapFile) bool { return logNumber(o.name) > logNumber(s.files[i].name) }) {
			l.damage, s.torn = append(l.damage, *l.torn), nil
		}
		for _, b := range l.batches {
			s.batch(i, b)
		}
		for _, d := range l.damage {
			s.damaged(i, d.offset, d.what)
			s.salvage(i, s.files[i].bytes[d.offset:d.end], d.offset)
		}
	}
	if seg != nil {
		s.strays(seg)
	}
}

// strays finds the entries that are in the segment's file, and to which neither its pages nor a log leads.
func (s *snapshot) strays(seg []byte) {
	tail := &snapshot{n: s.n, files: s.files, at: map[recordKey]recordAt{}}
	tail.salvage(0, seg, 0)
	for k := range tail.at {
		if _, ok := s.at[k]; ok {
			delete(tail.at, k)
		}
	}
	s.stray = ledgerEntries(tail.entries())
}

// passedOver tells strays as damage if the ledger went on behind one of them. Else they are of a transaction that never ended.
func (s *snapshot) passedOver(f following) {
	here := ledgerEntries(s.entries())
	for _, e := range s.stray {
		within := slices.ContainsFunc(here, func(h ledger.Entry) bool { return h.Incarnation == e.Incarnation && h.Number > e.Number })
		taken := slices.ContainsFunc(here, func(h ledger.Entry) bool { return h.Incarnation == e.Incarnation && h.Number == e.Number })
		if !taken && (within || f != (following{}) && f.passed(e)) {
			s.damaged(0, 0, "the segment's pages pass over records; it was read record by record as well")
			s.salvage(0, s.files[0].bytes, 0)
			return
		}
	}
}

// builtOn tells the torn batch at the end as damage if the ledger went on behind it: then it had been confirmed.
func (s *snapshot) builtOn(f following) {
	if s.torn == nil {
		return
	}
	last := len(s.files) - 1
	tail := &snapshot{n: s.n, files: s.files, at: map[recordKey]recordAt{}}
	rest := s.files[last].bytes[s.torn.offset:s.torn.end]
	tail.salvage(last, rest, s.torn.offset)
	if f.confirms(ledgerEntries(s.entries()), ledgerEntries(tail.entries())) {
		s.damaged(last, s.torn.offset, "the last batch of the log is torn, and the ledger went on behind it, so it had been confirmed")
		s.salvage(last, rest, s.torn.offset)
	}
	s.torn = nil
}

func ledgerEntries(found []foundRecord) (out []ledger.Entry) {
	for _, f := range found {
		out = append(out, f.Entry)
	}
	return out
}

func (s *snapshot) damaged(file, offset int, what string) {
	s.damage = append(s.damage, FoundDamage{Place{s.files[file].name, int64(offset)}, s.n, what})
}

// committed takes a value of the tree.
func (s *snapshot) committed(file int, key, value []byte, offset int) {
	t, k, p, err := decodeRecord(value)
	if err == nil && !bytes.Equal(key, k.bytes()) {
		err = errors.New("it is under another record's key")
	}
	if err != nil {
		s.damaged(file, offset, fmt.Sprintf("a record of attempt %x can't be read: %v", key[:min(8, len(key))], err))
		return
	}
	s.take(t, k, recordAt{t, file, offset, recordHead + len(p) + recordTail, false})
}

// batch takes the records of a log's batch, which checked as a whole.
func (s *snapshot) batch(file int, b span) {
	in := s.files[file].bytes[b.offset : b.offset+b.length]
	for at := 0; at < len(in); {
		t, k, p, err := decodeRecord(in[at:])
		if err != nil {
			s.damaged(file, b.offset+at, fmt.Sprintf("a record can't be read: %v", err))
			return
		}
		n := recordHead + len(p) + recordTail
		s.take(t, k, recordAt{t, file, b.offset + at, n, false})
		at += n
	}
}

func (s *snapshot) salvage(file int, b []byte, base int) {
	scan(b, func(offset int, t recordType, k recordKey, p []byte) {
		s.take(t, k, recordAt{t, file, base + offset, recordHead + len(p) + recordTail, true})
	})
}

// take keeps the first of two equal records, and one that was committed rather than one found by its mark.
func (s *snapshot) take(t recordType, k recordKey, at recordAt) {
	if have, ok := s.at[k]; ok {
		if !have.salvaged && !at.salvaged && !bytes.Equal(s.raw(have), s.raw(at)) {
			s.damaged(at.file, at.offset, fmt.Sprintf("two different records of attempt %x", k.attempt))
		}
		if !have.salvaged || at.salvaged {
			return
		}
	}
	s.at[k] = at
}

func (s *snapshot) raw(w recordAt) []byte { return s.files[w.file].bytes[w.offset : w.offset+w.length] }

// get is a slice's payload.
func (s *snapshot) get(k recordKey) ([]byte, Place, bool) {
	w, ok := s.at[k]
	if !ok || w.t != typeSlice {
		return nil, Place{}, false
	}
	return s.raw(w)[recordHead : w.length-recordTail], Place{s.files[w.file].name, int64(w.offset)}, true
}

// foundRecord is an entry, perhaps with the item that it is about.
type foundRecord struct {
	FoundEntry
	item *FoundItem
}

// entries are the ledger's lines in this segment: incarnations in the order of their first attempts, numbers rising.
func (s *snapshot) entries() (out []foundRecord) {
	var keys []recordKey
	for k, w := range s.at {
		if w.t != typeSlice {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b recordKey) int { return bytes.Compare(a.bytes(), b.bytes()) })
	rank := map[ledger.ID]int{}
	for _, k := range keys {
		w := s.at[k]
		r, err := s.entry(k, w)
		if err != nil {
			s.damaged(w.file, w.offset, fmt.Sprintf("a whole record that makes no sense: %v", err))
			continue
		}
		if _, known := rank[r.Entry.Incarnation]; !known {
			rank[r.Entry.Incarnation] = len(rank)
		}
		out = append(out, r)
	}
	slices.SortStableFunc(out, func(a, b foundRecord) int {
		return cmp.Or(cmp.Compare(rank[a.Entry.Incarnation], rank[b.Entry.Incarnation]), cmp.Compare(a.Entry.Number, b.Entry.Number))
	})
	return out
}

func (s *snapshot) entry(k recordKey, w recordAt) (r foundRecord, err error) {
	payload := s.raw(w)[recordHead : w.length-recordTail]
	r.FoundEntry = FoundEntry{Place: Place{s.files[w.file].name, int64(w.offset)}, Segment: s.n, Salvaged: w.salvaged}
	if w.t == typeEntry {
		r.Entry, err = ledger.UnmarshalEntry(payload)
		return r, err
	}
	m, h, wrap, err := wire.UnmarshalManifest(payload)
	if err != nil {
		return r, err
	}
	r.Entry = m.Entry
	r.item = &FoundItem{FoundEntry: r.FoundEntry, Manifest: m, Header: h, Wrap: wrap, attempt: k.attempt}
	return r, nil
}
