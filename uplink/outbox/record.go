package outbox

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"telecart/uplink/wire"
)

// A record is how everything lies in a segment: as the value of a bbolt key, and findable without bbolt.
//
//	mark 8 | type 1 | attempt 8 | chunk 4 | slice 1 | length 4 | payload | CRC-32C 4 (over all before it)
//
// Integers are big endian. attempt is one sealing attempt of one item: the segment's number (upper half) in which it began,
// and a counter.
const (
	mark       = "\x8dTCREC1\n"
	recordHead = len(mark) + 1 + 8 + 4 + 1 + 4
	recordTail = 4

	// sliceSize is how much of a sealed chunk one record holds as we write it: sixteen such records fill a 64 KiB page, with
	// bbolt's 16 bytes for each and for the page, to the last. sliceMax is what may come.
	sliceSize = 4032
	sliceMax  = 8 << 10

	// manifestChunk stands where a chunk's number would, so that a manifest sorts behind its chunks.
	manifestChunk = 1<<32 - 1
	maxPayload    = wire.MaxManifest
)

type recordType byte

const (
	typeSlice    recordType = 'C' // part of a sealed chunk
	typeManifest recordType = 'M' // wire.Manifest: the item is complete and in the ledger
	typeEntry    recordType = 'E' // a ledger entry that is no item
)

// recordKey is a record's bbolt key: attempt 8 | chunk 4 | slice 1. Items sort by age, so that pages fill in order.
type recordKey struct {
	attempt uint64
	chunk   uint32
	slice   uint8
}

func (k recordKey) bytes() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 13), k.attempt)
	return append(binary.BigEndian.AppendUint32(b, k.chunk), k.slice)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encodeRecord(t recordType, k recordKey, payload []byte) []byte {
	return appendRecord(make([]byte, 0, recordHead+len(payload)+recordTail), t, k, payload)
}

func appendRecord(b []byte, t recordType, k recordKey, payload []byte) []byte {
	from := len(b)
	b = append(append(b, mark...), byte(t))
	b = binary.BigEndian.AppendUint64(b, k.attempt)
	b = append(binary.BigEndian.AppendUint32(b, k.chunk), k.slice)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	b = append(b, payload...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[from:], castagnoli))
}

// decodeRecord reads one record from the front of b. The payload shares b's memory.
func decodeRecord(b []byte) (t recordType, k recordKey, payload []byte, err error) {
	if len(b) < recordHead+recordTail || !bytes.HasPrefix(b, []byte(mark)) {
		return 0, k, nil, fmt.Errorf("%w: no record here", ErrDamaged)
	}
	t = recordType(b[len(mark)])
	p := b[len(mark)+1:]
	k = recordKey{binary.BigEndian.Uint64(p), binary.BigEndian.Uint32(p[8:]), p[12]}
	n := binary.BigEndian.Uint32(p[13:])
	if n > maxPayload || int(n) > len(b)-recordHead-recordTail {
		return 0, k, nil, fmt.Errorf("%w: a record of %d bytes where %d are left", ErrDamaged, n, len(b))
	}
	end := recordHead + int(n)
	if crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
		return 0, k, nil, fmt.Errorf("%w: a record's checksum", ErrDamaged)
	}
	if t != typeSlice && t != typeManifest && t != typeEntry || t == typeSlice && n > sliceMax {
		return 0, k, nil, fmt.Errorf("%w: a record of type %q with %d bytes", ErrDamaged, t, n)
	}
	return t, k, b[recordHead:end], nil
}

// scan finds every whole record in a file's bytes, wherever it lies and whatever lies between.
func scan(b []byte, found func(offset int, t recordType, k recordKey, payload []byte)) {
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte(mark))
		if i < 0 {
			return
		}
		at += i
		t, k, payload, err := decodeRecord(b[at:])
		if err != nil {
			at++
			continue
		}
		found(at, t, k, payload)
		at += recordHead + len(payload) + recordTail
	}
}
