package outbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"golang.org/x/sys/unix"

	"telecart/device/kit"
	"telecart/device/kit/planted"
)

// windowSize is how much of a file is in memory at once while it is searched; longer records have the window grow to them.
const windowSize = 256 << 10

// window reads a file piece by piece. A place that can't be read is a place where nothing is.
type window struct {
	f   io.ReaderAt
	max int64 // no more than this is wanted of the file; 0: who knows
	buf []byte
	off int64
	n   int
}

// at gives the bytes from pos on: at least one, at most n, good until the next call; nil if there are none to be had.
func (w *window) at(pos int64, n int) []byte {
	if pos < w.off || pos >= w.off+int64(w.n) || pos+int64(n) > w.off+int64(w.n) {
		want := windowSize
		if w.max > 0 {
			want = int(min(windowSize, w.max))
		}
		if want = max(n, want); cap(w.buf) < want {
			w.buf = make([]byte, want)
		}
		w.off = pos
		w.n, _ = w.f.ReadAt(w.buf[:cap(w.buf)], pos)
	}
	b := w.buf[pos-w.off : max(pos-w.off, int64(w.n))]
	if len(b) == 0 {
		return nil
	}
	return b[:min(n, len(b))]
}

// some gives what is at hand from pos on, of at most n bytes, and reads on if that is less than a record's head.
func (w *window) some(pos int64, n int) []byte {
	if left := w.off + int64(w.n) - pos; pos >= w.off && left >= int64(recordHead) {
		return w.at(pos, min(n, int(left)))
	}
	return w.at(pos, n)
}

// scanFile finds every whole record in a stretch of a file, wherever it lies and whatever lies between. The payload is good
// only during the call. A file made to cost time costs a bounded amount: long records that don't check are tried only so often.
func scanFile(f io.ReaderAt, from, to int64, found func(at int64, t recordType, k recordKey, payload []byte)) {
	w := window{f: f, max: to - from}
	patience := 8*(to-from) + int64(maxPayload)
	for at := from; at+int64(recordHead+recordTail) <= to; {
		b := w.some(at, int(min(windowSize, to-at)))
		if b == nil {
			at = (at/blockSize + 1) * blockSize // unreadable: on behind it
			continue
		}
		i := bytes.Index(b, []byte(mark))
		if i < 0 {
			at += int64(max(1, len(b)-len(mark)+1))
			continue
		}
		at += int64(i)
		head := w.at(at, recordHead)
		if len(head) < recordHead {
			at++
			continue
		}
		size := int64(recordHead+recordTail) + int64(binary.BigEndian.Uint32(head[recordHead-4:]))
		if size > int64(recordHead+maxPayload+recordTail) || at+size > to || size > 2*sliceMax && patience < 0 {
			at++
			continue
		}
		t, k, payload, err := decodeRecord(w.at(at, int(size)))
		if err != nil {
			patience -= size
			at++
			continue
		}
		found(at, t, k, payload)
		at += size
	}
}

// checksum is the CRC-32C of a stretch of a file; false if it can't be read.
func checksum(f io.ReaderAt, from, to int64) (sum uint32, ok bool) {
	w := window{f: f, max: to - from}
	for from < to {
		b := w.at(from, int(min(windowSize, to-from)))
		if b == nil {
			return 0, false
		}
		sum = crc32.Update(sum, castagnoli, b)
		from += int64(len(b))
	}
	return sum, true
}

// Salvage reads what is left of a segment without bbolt: every record that is whole, wherever it lies. Records of a
// transaction that was not committed may be among them; an item is only kept with its manifest, and only read back by hash.
func Salvage(path string) (Index, error) {
	var x Index
	if planted.Is(planted.NoSalvage) {
		return x, nil
	}
	f, err := kit.OpenRegular(path)
	if err != nil {
		return x, fmt.Errorf("outbox: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return x, fmt.Errorf("outbox: %w", err)
	}
	seen := map[recordKey]bool{}
	scanFile(f, 0, st.Size(), func(_ int64, t recordType, k recordKey, payload []byte) {
		if t != typeSlice && !seen[k] && x.add(t, k, payload) == nil {
			seen[k] = true
		}
	})
	x.sort()
	return x, nil
}

// reader reads an old segment's records by offset, without bbolt: of its bbolt file and of the logs that are left.
type reader struct {
	segment uint32
	files   []string
	at      map[recordKey]spot
}

type spot struct {
	file   int32
	length int32
	offset int64
}

// newReader finds where the records are. Only what counts in a log is taken from it.
func newReader(segment uint32, files []string) (*reader, error) {
	r := &reader{segment: segment, files: files, at: map[recordKey]spot{}}
	for i, path := range files {
		err := r.index(int32(i), path)
		if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.ENOENT) {
			return nil, err // that may pass
		} // of a file that can't be read everything is missing, and is named; the others are good
	}
	return r, nil
}

func (r *reader) index(file int32, path string) error {
	f, err := kit.OpenRegular(path)
	if err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	take := func(at int64, _ recordType, k recordKey, payload []byte) {
		r.at[k] = spot{file, int32(recordHead + len(payload) + recordTail), at}
	}
	if segment, log, ok := splitLogName(path); ok {
		if found := parseLog(f, st.Size(), segment, log, take); found.torn && quarantined(path) {
			scanFile(f, found.end, st.Size(), take)
		}
	} else {
		scanFile(f, 0, st.Size(), take)
	}
	return nil
}

// get gives the payload of one record; nil if there is none.
func (r *reader) get(k recordKey) ([]byte, error) {
	s, ok := r.at[k]
	if !ok {
		return nil, nil
	}
	f, err := kit.OpenRegular(r.files[s.file])
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	defer f.Close()
	return readSpot(f, s, k)
}

// readSpot reads the one record that was found to lie there.
func readSpot(f io.ReaderAt, s spot, k recordKey) ([]byte, error) {
	b := make([]byte, s.length)
	if _, err := f.ReadAt(b, s.offset); err != nil {
		return nil, fmt.Errorf("%w: a record can't be read: %v", ErrDamaged, err)
	}
	_, got, payload, err := decodeRecord(b)
	if err == nil && got != k {
		err = fmt.Errorf("%w: another record lies there now", ErrDamaged)
	}
	return payload, err
}
