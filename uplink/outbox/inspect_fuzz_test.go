package outbox

import (
	"os"
	"path/filepath"
	"testing"

	"telecart/capture/ledger"
)

// FuzzInspect: whatever lies in a segment or a log, Inspect ends, and gives only what checks.
func FuzzInspect(f *testing.F) {
	read := func(name string, most int) []byte {
		b, err := os.ReadFile(filepath.Join("testdata/vectors/state/care", name))
		if err != nil {
			f.Fatal(err)
		}
		return b[:min(most, len(b))]
	}
	log, torn := read("00000004.0000.log", 1<<20), read("00000004.0001.log", 1<<20)
	// A segment's pages are fed by their first bytes alone: a fuzzer is slow with long inputs.
	const part, pages = 2048, 8
	short := func(b []byte) (out []byte) {
		for ; len(b) >= pageSize; b = b[pageSize:] {
			out = append(out, b[:part]...)
		}
		return out
	}
	f.Add([]byte(nil), log, uint8(0))
	f.Add([]byte(nil), torn[:8192], uint8(1))
	f.Add(short(read("00000004.seg", 1<<20)), torn[:4096], uint8(1))
	f.Add(short(read("00000002.seg", 6<<16)), log, uint8(0))
	f.Fuzz(func(t *testing.T, seg, log []byte, number uint8) {
		name := "00000004.000" + string('0'+rune(number%10)) + ".log"
		s := &snapshot{n: 4, at: map[recordKey]recordAt{}}
		if len(seg) > 0 {
			b := make([]byte, min(pages, len(seg)/part+1)*pageSize)
			for i := 0; i*pageSize < len(b) && i*part < len(seg); i++ {
				copy(b[i*pageSize:], seg[i*part:min((i+1)*part, len(seg))])
			}
			seg = b
			s.files = append(s.files, snapFile{name: "00000004.seg", bytes: seg})
		} else {
			seg = nil
		}
		s.files = append(s.files, snapFile{name: name, bytes: log})
		s.index(seg)
		in := &inspector{cur: s, open: map[uint64]sliceMap{}, done: map[uint64]sliceMap{}, again: map[uint64]bool{}, yield: func(Finding, error) bool { return true }}
		for _, e := range s.entries() {
			if e.item == nil {
				continue
			}
			e.item.in = in
			if e.Entry.Kind != ledger.Item || e.Entry.Body != e.item.Manifest.Hash() {
				t.Fatalf("an item that is not the entry's: %+v", e)
			}
			for i := range e.item.Manifest.Chunks {
				if c, _, err := e.item.Chunk(i); err == nil && len(c) != e.item.Header.SealedSize(i) {
					t.Fatalf("chunk %d has %d bytes", i, len(c))
				}
			}
		}
		for _, w := range s.at {
			if _, _, _, err := decodeRecord(s.raw(w)); err != nil {
				t.Fatal(err)
			}
		}
	})
}
