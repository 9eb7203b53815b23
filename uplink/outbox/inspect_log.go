package outbox

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strconv"
	"strings"
)

// A log holds what was saved and not yet moved into its segment (FORMAT.md). It is read here by code of its own: this is
// how an auditor sees it, whatever the product believes that it wrote.
const (
	inspectLogExt = ".log"
	batchAlign    = 4096
	batchHead     = 4 + 1 + 4 + 4 + 4 + 4 + 4 + 4
	batchSector   = 512
)

// logContent is what a log holds.
type logContent struct {
	batches []span // of records
	damage  []logDamage
	ended   bool // by the empty batch of an orderly Close
	torn    *logDamage
}

type logDamage struct {
	offset, end int
	what        string
}

// inspectLog reads the log of segment seg that lies under name. Batches follow one another without a gap, so whatever lies
// between two good ones, or where one ought to begin, was confirmed and is damaged; but the last may be one that the power
// cut tore, and then some sector of it never reached the disk.
func inspectLog(b []byte, seg uint32, name string) (l logContent) {
	number := logNumber(name)
	next := uint32(0)
	for at := 0; at < len(b); {
		n, length, ok := batchAt(b, at, seg, number)
		if ok && n == next && bodyChecks(b, at, length) {
			l.ended = length == 0
			if length > 0 {
				l.batches = append(l.batches, span{at + batchHead, length})
			}
			at, next = alignUp(at+batchHead+length), n+1
			continue
		}
		follow, fn := nextBatch(b, at+batchAlign, seg, number, next)
		switch {
		case follow >= 0:
			l.damage = append(l.damage, logDamage{at, follow, fmt.Sprintf("batch %d of the log can't be read", next)})
			at, next = follow, fn
			continue
		case allZero(b[at:]): // the end
		case allZero(b[at:min(at+batchHead, len(b))]):
			l.torn = &logDamage{at, len(b), fmt.Sprintf("batch %d of the log has lost its head, and another log follows, so it had been confirmed", next)}
		case ok && n == next && torn(b, at, length):
			l.torn = &logDamage{at, len(b), fmt.Sprintf("batch %d of the log is torn, and another log follows, so it had been confirmed", next)}
		default:
			l.damage = append(l.damage, logDamage{at, len(b), fmt.Sprintf("batch %d of the log, its last, can't be read, and no power cut made it so", next)})
		}
		return l
	}
	return l
}

func logNumber(name string) uint32 {
	parts := strings.Split(filepath.Base(name), ".")
	if len(parts) != 3 {
		return 0
	}
	n, _ := strconv.ParseUint(parts[1], 10, 32)
	return uint32(n)
}

func alignUp(n int) int { return (n + batchAlign - 1) / batchAlign * batchAlign }

// batchAt reads the head of a batch. What it says fits in the file.
func batchAt(b []byte, at int, seg, log uint32) (n uint32, length int, ok bool) {
	if len(b)-at < batchHead {
		return 0, 0, false
	}
	h := b[at : at+batchHead]
	be := binary.BigEndian
	size := be.Uint32(h[17:])
	if !bytes.HasPrefix(h, []byte("TCLB\x01")) || be.Uint32(h[25:]) != crc32.Checksum(h[:25], castagnoli) || be.Uint32(h[5:]) != seg ||
		be.Uint32(h[9:]) != log || uint64(size) > uint64(len(b)-at-batchHead) {
		return 0, 0, false
	}
	return be.Uint32(h[13:]), int(size), true
}

func bodyChecks(b []byte, at, length int) bool {
	return binary.BigEndian.Uint32(b[at+21:]) == crc32.Checksum(b[at+batchHead:at+batchHead+length], castagnoli)
}

// nextBatch looks for the head of a later batch of this log. The head alone shows that what is before it was confirmed.
func nextBatch(b []byte, from int, seg, log, after uint32) (at int, n uint32) {
	for at := from; at < len(b); at += batchAlign {
		if n, _, ok := batchAt(b, at, seg, log); ok && n > after {
			return at, n
		}
	}
	return -1, 0
}

// torn says whether a whole sector of the batch is still as it was before: zeros.
func torn(b []byte, at, length int) bool {
	for s := at; s+batchSector <= at+batchHead+length; s += batchSector {
		if allZero(b[s : s+batchSector]) {
			return true
		}
	}
	rest := (at + batchHead + length) / batchSector * batchSector // the last sector is used in part
	return rest < at+batchHead+length && allZero(b[rest:at+batchHead+length])
}
