package outbox

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"strings"
)

// A log lies in front of a segment, so that a small item costs one write and one fdatasync. It is a file of fixed size, of
// zeros at first, that is filled batch by batch and never used again. A batch is what was committed together:
//
//	"TCLB" | version 1 | segment 4 | log 4 | batch in this log, from 0, 4 | length of records 4 | CRC-32C of the records 4 |
//	CRC-32C of all before it 4 | records back to back | zeros up to the next multiple of 4096
//
// A batch without records is the mark that an orderly end leaves.
const (
	batchMagic   = "TCLB"
	batchVersion = 1
	headSize     = len(batchMagic) + 1 + 4*4 + 4 + 4
	blockSize    = 4096 // batches begin at a multiple of it: no write touches a block that holds another batch
	sectorSize   = 512  // what a disk writes whole or not at all
	logExt       = ".log"
)

// batchHeader is what stands in front of a batch.
type batchHeader struct {
	segment, log, number uint32
	length               uint32
	sum                  uint32
}

// put writes the header over the front of b.
func (h batchHeader) put(b []byte) {
	copy(b, batchMagic)
	b[4] = batchVersion
	for i, v := range [...]uint32{h.segment, h.log, h.number, h.length, h.sum} {
		binary.BigEndian.PutUint32(b[5+4*i:], v)
	}
	binary.BigEndian.PutUint32(b[headSize-4:], crc32.Checksum(b[:headSize-4], castagnoli))
}

func decodeBatchHeader(b []byte) (h batchHeader, ok bool) {
	if len(b) < headSize || string(b[:4]) != batchMagic || b[4] != batchVersion ||
		crc32.Checksum(b[:headSize-4], castagnoli) != binary.BigEndian.Uint32(b[headSize-4:]) {
		return h, false
	}
	for i, v := range [...]*uint32{&h.segment, &h.log, &h.number, &h.length, &h.sum} {
		*v = binary.BigEndian.Uint32(b[5+4*i:])
	}
	return h, true
}

// aligned is where the next batch begins.
func aligned(at int64) int64 { return (at + blockSize - 1) / blockSize * blockSize }

// logState is how a log was found.
type logState struct {
	end     int64 // behind the last batch that counts
	batches int
	closed  bool // the mark of an orderly end is there
	torn    bool // a batch at the end was not whole, and has a sector of zeros: never written, if nothing was built on it
	damaged bool // what was written does not read back: every whole record was taken
}

// parseLog reads a log. It calls found for every record of every batch that counts, and for every whole record in what is
// damaged. A batch counts if header and content check. The first header of zeros is the end, if no batch follows; the last
// batch may be torn.
func parseLog(f io.ReaderAt, size int64, segment, log uint32, found func(at int64, t recordType, k recordKey, payload []byte)) (st logState) {
	head := make([]byte, headSize)
	for at, want := int64(0), uint32(0); at+int64(headSize) <= size; {
		_, err := f.ReadAt(head, at)
		h, ok := decodeBatchHeader(head)
		ok = ok && err == nil && h.segment == segment && h.log == log && h.number == want && at+int64(headSize)+int64(h.length) <= size
		from := at + int64(headSize)
		to := from + int64(h.length)
		if ok {
			if sum, read := checksum(f, from, to); read && sum == h.sum {
				scanFile(f, from, to, found)
				st.batches++
				at, want = aligned(to), want+1
				st.end, st.closed = min(at, size), h.length == 0
				continue
			}
		}
		next, number := batchAfter(f, at+blockSize, size, segment, log, want)
		switch {
		case next < 0 && err == nil && zero(head):
			st.torn = !blank(f, at, size)
			return st
		case next < 0 && ok && unwritten(f, at, to):
			st.torn = true
			return st
		}
		st.damaged = true
		if next < 0 {
			scanFile(f, at, size, found)
			st.end = size
			return st
		}
		scanFile(f, at, next, found)
		at, want = next, number
	}
	return st
}

// batchAfter looks for a batch of the same log with a higher number.
func batchAfter(f io.ReaderAt, from, size int64, segment, log, above uint32) (at int64, number uint32) {
	w := window{f: f}
	for at := from; at+int64(headSize) <= size; at += blockSize {
		if h, ok := decodeBatchHeader(w.at(at, headSize)); ok && h.segment == segment && h.log == log && h.number > above {
			return at, h.number
		}
	}
	return -1, 0
}

// unwritten says whether a sector that begins within the stretch is all zeros. Sealed bytes never are.
func unwritten(f io.ReaderAt, from, to int64) bool {
	sector := make([]byte, sectorSize)
	for at := from; at < to; at += sectorSize {
		if n, err := f.ReadAt(sector, at); (err == nil || err == io.EOF) && zero(sector[:n]) {
			return true
		}
	}
	return false
}

// blank says whether a stretch can be read and is all zeros.
func blank(f io.ReaderAt, from, to int64) bool {
	for w := (window{f: f, max: to - from}); from < to; {
		b := w.at(from, int(min(windowSize, to-from)))
		if b == nil || !zero(b) {
			return false
		}
		from += int64(len(b))
	}
	return true
}

func zero(b []byte) bool { return len(b) == 0 || b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1]) }

func logPath(dir string, segment, log uint32) string {
	return filepath.Join(dir, fmt.Sprintf("%08d.%04d%s", segment, log, logExt))
}

// splitLogName reads the numbers out of a log's name.
func splitLogName(path string) (segment, log uint32, ok bool) {
	name, ok := strings.CutSuffix(filepath.Base(path), logExt)
	if !ok || len(name) < 13 {
		return 0, 0, false
	}
	n, err := fmt.Sscanf(name, "%08d.%d", &segment, &log)
	return segment, log, n == 2 && err == nil && logPath("", segment, log) == name+logExt
}

// span is a stretch of a file.
type span struct{ offset, length int }
