package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// What dm-log-writes writes (Linux drivers/md/dm-log-writes.c): little endian; a superblock of one sector, and for each
// entry a sector with its head, in which the text of a mark stands too, and the sectors that were written.
//
//	superblock  magic 8 | version 8 (1) | entries 8 | sector size 4
//	entry       sector 8 | sectors 8 | flags 8 | length of the mark 8 | mark
const (
	logMagic   = 0x6a736677736872
	logVersion = 1
	superSize  = 28
	headSize   = 32
)

// logFlags say what a write asked for.
type logFlags uint64

const (
	flagFlush   logFlags = 1 // everything that was complete before is durable
	flagFUA     logFlags = 2 // this write is durable when complete
	flagDiscard logFlags = 4 // no data: the sectors were given back
	flagMark    logFlags = 8
	flagMeta    logFlags = 16 // the file system's own
)

// logEntry is one write, flush, discard or mark.
type logEntry struct {
	flags  logFlags
	off    int64 // bytes
	length int64
	data   []byte
	mark   string
}

// errLog: not a write log, or one cut short.
var errLog = errors.New("cutlab: not a whole dm-log-writes log")

// parseLog reads a log. The data of its entries are b's own bytes.
func parseLog(b []byte) ([]logEntry, error) {
	le := binary.LittleEndian
	if len(b) < superSize || le.Uint64(b) != logMagic || le.Uint64(b[8:]) != logVersion {
		return nil, errLog
	}
	count, sector := le.Uint64(b[16:]), int64(le.Uint32(b[24:]))
	if sector < 512 || sector > 65536 || count > uint64(int64(len(b))/sector) {
		return nil, fmt.Errorf("%w: %d entries in sectors of %d bytes", errLog, count, sector)
	}
	out := make([]logEntry, 0, count)
	for pos := sector; count > 0; count-- {
		if int64(len(b)) < pos+sector {
			return nil, fmt.Errorf("%w: it ends before entry %d", errLog, len(out))
		}
		e, err := parseEntry(b[pos:pos+sector], sector)
		if err != nil {
			return nil, err
		}
		pos += sector
		if e.flags&(flagMark|flagDiscard) == 0 {
			if e.length > int64(len(b))-pos {
				return nil, fmt.Errorf("%w: it ends in entry %d", errLog, len(out))
			}
			e.data = b[pos : pos+e.length]
			pos += e.length
		}
		out = append(out, e)
	}
	return out, nil
}

func parseEntry(h []byte, sector int64) (e logEntry, err error) {
	le := binary.LittleEndian
	at, sectors, text := le.Uint64(h), le.Uint64(h[8:]), le.Uint64(h[24:])
	const most = 1 << 40 // bytes: what multiplies without overflow
	if at > most/uint64(sector) || sectors > most/uint64(sector) || text > uint64(len(h)-headSize) {
		return e, fmt.Errorf("%w: an entry of %d sectors at %d", errLog, sectors, at)
	}
	e = logEntry{flags: logFlags(le.Uint64(h[16:])), off: int64(at) * sector, length: int64(sectors) * sector}
	if e.flags&flagMark != 0 {
		e.mark, e.length = string(bytes.TrimRight(h[headSize:headSize+text], "\x00")), 0
	}
	return e, nil
}

// apply does to an image what the entry did to the disk, in those sectors of 512 bytes that keep allows (nil: all).
func (e logEntry) apply(img []byte, keep func(sector int64) bool) error {
	if e.off+e.length > int64(len(img)) {
		return fmt.Errorf("%w: a write behind the end of the disk", errLog)
	}
	if keep == nil {
		e.sectors(img, 0, e.length)
		return nil
	}
	for o := int64(0); o < e.length; o += 512 {
		if keep(o / 512) {
			e.sectors(img, o, min(512, e.length-o))
		}
	}
	return nil
}

func (e logEntry) sectors(img []byte, from, n int64) {
	to := img[e.off+from : e.off+from+n]
	if e.data == nil {
		clear(to)
		return
	}
	copy(to, e.data[from:])
}
