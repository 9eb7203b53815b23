package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"telecart/capture/ledger"
	"telecart/uplink/wire"
)

// batchOf is a batch as FORMAT.md has it.
func batchOf(segment, log, number uint32, records ...[]byte) []byte {
	b := append(make([]byte, headSize), bytes.Join(records, nil)...)
	length := len(b) - headSize
	b = append(b, make([]byte, aligned(int64(len(b)))-int64(len(b)))...)
	h := batchHeader{segment: segment, log: log, number: number, length: uint32(length), sum: crc32.Checksum(b[headSize:headSize+length], castagnoli)}
	h.put(b)
	return b
}

func sliceRecord(attempt uint64, size int) []byte {
	return encodeRecord(typeSlice, recordKey{attempt: attempt}, bytes.Repeat([]byte{byte(attempt), 0xa7}, size/2))
}

// sampleLog has three batches, of three blocks, one block and two blocks, and room behind.
func sampleLog() []byte {
	three := [][]byte{sliceRecord(2, 4000), sliceRecord(3, 4000)}
	return slices.Concat(batchOf(7, 1, 0, sliceRecord(1, 5000), sliceRecord(9, 5000)), batchOf(7, 1, 1, sliceRecord(4, 100)),
		batchOf(7, 1, 2, three...), make([]byte, 3*blockSize))
}

func parsed(b []byte) (st logState, attempts []uint64) {
	st = parseLog(bytes.NewReader(b), int64(len(b)), 7, 1, func(_ int64, _ recordType, k recordKey, _ []byte) { attempts = append(attempts, k.attempt) })
	return st, attempts
}

func TestParseLog(t *testing.T) {
	const first, second, third, end = 0, 3 * blockSize, 4 * blockSize, 6 * blockSize
	for name, c := range map[string]struct {
		spoil                 func(b []byte) []byte
		torn, damaged, closed bool
		attempts              []uint64
	}{
		"whole":                       {func(b []byte) []byte { return b }, false, false, false, []uint64{1, 9, 4, 2, 3}},
		"empty":                       {func(b []byte) []byte { return make([]byte, len(b)) }, false, false, false, nil},
		"no bytes":                    {func(b []byte) []byte { return nil }, false, false, false, nil},
		"cut behind a batch":          {func(b []byte) []byte { return b[:end] }, false, false, false, []uint64{1, 9, 4, 2, 3}},
		"end mark":                    {func(b []byte) []byte { copy(b[end:], batchOf(7, 1, 3)); return b }, false, false, true, []uint64{1, 9, 4, 2, 3}},
		"last batch lacks a sector":   {func(b []byte) []byte { clear(b[third+512 : third+1024]); return b }, true, false, false, []uint64{1, 9, 4}},
		"last batch lacks its end":    {func(b []byte) []byte { clear(b[third+7680 : end]); return b }, true, false, false, []uint64{1, 9, 4}},
		"last batch lacks its header": {func(b []byte) []byte { clear(b[third : third+512]); return b }, true, false, false, []uint64{1, 9, 4}},
		"last batch altered":          {func(b []byte) []byte { b[third+200] ^= 1; return b }, false, true, false, []uint64{1, 9, 4, 3}},
		"last header altered":         {func(b []byte) []byte { b[third+18] ^= 1; return b }, false, true, false, []uint64{1, 9, 4, 2, 3}},
		"first batch altered":         {func(b []byte) []byte { b[first+200] ^= 1; return b }, false, true, false, []uint64{9, 4, 2, 3}},
		"a sector in the middle":      {func(b []byte) []byte { clear(b[first+512 : first+1024]); return b }, false, true, false, []uint64{9, 4, 2, 3}},
		"a header in the middle":      {func(b []byte) []byte { clear(b[second : second+512]); return b }, false, true, false, []uint64{1, 9, 2, 3}},
		"a batch of another log":      {func(b []byte) []byte { copy(b[third:], batchOf(7, 2, 2, sliceRecord(5, 50))); return b }, false, true, false, nil},
		"a batch too late":            {func(b []byte) []byte { copy(b[end:], batchOf(7, 1, 4, sliceRecord(5, 50))); return b }, false, true, false, []uint64{1, 9, 4, 2, 3, 5}},
	} {
		st, got := parsed(c.spoil(sampleLog()))
		if st.torn != c.torn || st.damaged != c.damaged || st.closed != c.closed || c.attempts != nil && !slices.Equal(got, c.attempts) {
			t.Errorf("%s: %+v %v", name, st, got)
		}
	}
}

func FuzzLog(f *testing.F) {
	f.Add(sampleLog())
	torn := sampleLog()
	clear(torn[5*blockSize : 6*blockSize])
	f.Add(torn)
	f.Add(bytes.Repeat([]byte(mark), 5000))
	f.Fuzz(func(t *testing.T, b []byte) {
		last := int64(-1)
		st := parseLog(bytes.NewReader(b), int64(len(b)), 7, 1, func(at int64, ty recordType, k recordKey, p []byte) {
			if at <= last || !bytes.HasPrefix(b[at:], encodeRecord(ty, k, p)) {
				t.Fatal("a record that does not lie there, or lies there twice")
			}
			last = at
		})
		if st.end < 0 || st.end > int64(len(b)) {
			t.Fatalf("%+v of %d", st, len(b))
		}
		if again, _ := parsed(b[:st.end]); !st.damaged && !st.torn && (again.damaged || again.torn || again.batches != st.batches) {
			t.Fatalf("cut to what counts: %+v, was %+v", again, st)
		}
	})
}

// killed lets the agent end as at SIGKILL: nothing more is written, not even the mark of an end.
func (r *rig) killed() {
	r.t.Helper()
	r.disk.dead.Store(true)
	r.box.Close()
	r.box = nil
	r.disk.dead.Store(false)
}

// After SIGKILL everything that was saved is in the logs and counts; after an orderly end it is in the segments.
func TestLogsAfterKill(t *testing.T) {
	r := newRig(t)
	r.open()
	want := map[ledger.Hash]string{}
	for i := range 60 { // several logs, and moved ones
		body := fmt.Sprint(i, strings.Repeat("k", 30<<10))
		want[r.put(body).Hash] = body
	}
	r.killed()
	left, _ := filepath.Glob(filepath.Join(r.dir, "*"+logExt))
	if len(left) == 0 {
		t.Fatal("no log was left: nothing is tested")
	}
	for range 2 {
		r.open()
		r.loaded()
		if st := r.box.Stats(); st.Held != len(want) || st.Damaged != 0 || st.Quarantine != 0 {
			t.Fatalf("%+v", st)
		}
		for h, body := range want {
			if r.opened(h) != body {
				t.Fatal("not what was put")
			}
		}
		s := r.put("next")
		want[s.Hash] = "next"
	}
	r.box.Close()
	r.box = nil
	if now, _ := filepath.Glob(filepath.Join(r.dir, "*"+logExt)); !slices.Equal(now, left) {
		t.Fatalf("%v after an orderly end, where the killed agent left %v", now, left)
	}
}

// A log that was moved and is back, because the power went before its removal was durable, changes nothing.
func TestLogTwice(t *testing.T) {
	r := newRig(t)
	r.open()
	a, b := r.put("a"), r.put("b")
	kept, err := os.ReadFile(logPath(r.dir, 1, 0))
	if err != nil {
		t.Fatal(err)
	}
	r.box.Close()
	r.box = nil
	if _, err := os.Stat(logPath(r.dir, 1, 0)); err == nil {
		t.Fatal("the log was not moved")
	}
	if err := os.WriteFile(logPath(r.dir, 1, 0), kept, 0o600); err != nil {
		t.Fatal(err)
	}
	r.open()
	r.loaded()
	if st := r.box.Stats(); st.Held != 2 || len(r.box.Entries()) != 2 {
		t.Fatalf("%+v %v", st, r.box.Entries())
	}
	if c := r.put("c"); c.Entry.Number != 4 || r.opened(a.Hash) != "a" || r.opened(b.Hash) != "b" {
		t.Fatal(c.Entry.Number)
	}
}

// A damaged log costs the batch that was damaged, and names what was in it.
func TestDamagedLog(t *testing.T) {
	r := newRig(t)
	r.open()
	var saved []Saved
	for i := range 10 {
		saved = append(saved, r.put(fmt.Sprint("item ", i, strings.Repeat("y", 9000))))
	}
	r.killed()
	path := logPath(r.dir, 1, 0)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	spoil := func(s Saved, ty recordType) {
		scan(bytes.Clone(b), func(at int, got recordType, k recordKey, p []byte) {
			if k.attempt == uint64(1)<<32|s.Entry.Number+1 && k.slice == 0 && got == ty {
				b[at+50] ^= 1
			}
		})
	}
	spoil(saved[2], typeSlice)
	spoil(saved[5], typeManifest)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	r.open()
	r.loaded()
	d := r.box.Damaged()
	if len(d) != 2 || d[0].Hash != saved[2].Hash || d[1].Number != saved[5].Entry.Number || d[1].Hash != (ledger.Hash{}) {
		t.Fatalf("%+v", d)
	}
	if st := r.box.Stats(); st.Held != 8 || st.Damaged != 2 || st.Quarantine != 1 {
		t.Fatalf("%+v", st)
	}
	for i, s := range saved {
		if i != 2 && i != 5 && !strings.HasPrefix(r.opened(s.Hash), fmt.Sprint("item ", i)) {
			t.Fatal("not what was put")
		}
	}
	if after := r.put("after"); after.Entry.Incarnation == saved[0].Entry.Incarnation {
		t.Fatal("the ledger went on as if nothing had been damaged")
	}
}

// The part of a batch that the power cut let through is no item, and its number is free.
func TestTornLog(t *testing.T) {
	r := newRig(t)
	r.open()
	a := r.put("a")
	r.put(strings.Repeat("torn", 3000))
	r.killed()
	path := logPath(r.dir, 1, 0)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, sectorSize), 3*blockSize); err != nil {
		t.Fatal(err)
	}
	f.Close()
	r.open()
	r.loaded()
	if st := r.box.Stats(); st.Held != 1 || st.Damaged != 0 || st.Quarantine != 0 {
		t.Fatalf("%+v", st)
	}
	if b := r.put("b"); b.Entry.Incarnation != a.Entry.Incarnation || b.Entry.Number != a.Entry.Number+2 { // the run in between
		t.Fatalf("%+v", b.Entry)
	}
}

// What bbolt refuses condemns the segment; the log keeps what was saved.
func TestMoveFails(t *testing.T) {
	r := newRig(t)
	r.open()
	a := r.put("a")
	r.box.cur.mu.Lock()
	r.box.cur.db.Close() // from here on every commit to this segment fails
	r.box.cur.mu.Unlock()
	long := strings.Repeat("bulk", 500<<10)
	b := r.put(long)
	if st := r.box.Stats(); st.Condemned != 1 || b.Entry.Number != a.Entry.Number+1 {
		t.Fatalf("%+v %d", st, b.Entry.Number)
	}
	for range 2 {
		if r.opened(a.Hash) != "a" || r.opened(b.Hash) != long {
			t.Fatal("not what was put")
		}
		r.open()
		r.loaded()
	}
}

// Every new file's name is made durable before anything in it is called saved.
func TestNamesAreDurable(t *testing.T) {
	r := newRig(t)
	r.open()
	for range 40 {
		r.put(strings.Repeat("n", 60<<10))
	}
	r.disk.mu.Lock()
	defer r.disk.mu.Unlock()
	if len(r.disk.early) > 0 {
		t.Fatal("written to before the folder was synced: ", r.disk.early)
	}
	if r.disk.named < 4 {
		t.Fatalf("%d new files seen", r.disk.named)
	}
}

// Whatever lies in the folder, the outbox opens and the next item is saved.
func FuzzFolder(f *testing.F) {
	names := []string{"00000001.0000.log", "00000001.seg", "00000001.checkpoint", "receipts/00000001.rcp", "00000001.gone", "spare-log", "spare",
		"00000002.0001.log", "quarantine/00000001.0000.log", "quarantine/00000003.seg", "90000001.seg", "head"}
	real := newRigIn(f, f.TempDir())
	real.open()
	real.put("a")
	real.put(strings.Repeat("b", 70<<10))
	real.killed()
	for i, name := range names {
		if b, err := os.ReadFile(filepath.Join(real.dir, name)); err == nil {
			f.Add(uint8(i), b[:min(len(b), 64<<10)])
		}
	}
	f.Add(uint8(2), []byte(`{"segment":1,"head":{"number":5}}`))
	f.Add(uint8(4), encodeGone(1, []wire.Receipt{{Verdict: wire.Received, Hub: "hub", Book: book}}))
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		r := newRigIn(t, t.TempDir())
		r.size = 512 << 10
		path := filepath.Join(r.dir, names[int(which)%len(names)])
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		r.check = func(context.Context, string) (Index, error) { return Index{}, ErrDamaged } // a child would have died of it
		r.open()
		r.loaded()
		for _, ref := range r.box.Pending(100, none) {
			if m, err := r.box.Manifest(ref.Hash); err == nil {
				h, _ := wire.UnmarshalHeader(m.Header)
				for i := range m.Chunks {
					r.box.Chunk(m, h, i)
				}
			}
		}
		for range r.box.Gone(ledger.ID{}) {
		}
		if _, err := r.box.Retire(); err != nil {
			t.Fatal(err)
		}
		if s := r.put("still here"); r.opened(s.Hash) != "still here" {
			t.Fatal("not what was put")
		}
	})
}

func FuzzGone(f *testing.F) {
	f.Add(encodeGone(3, []wire.Receipt{{Verdict: wire.Received, Hub: "hub", Book: book}, {Verdict: wire.Refused, Hub: "h", Book: book}}))
	f.Add([]byte(goneMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, rs, err := decodeGone(b); err == nil && !bytes.Equal(encodeGone(n, rs), b) {
			t.Fatal("not the one way to write it")
		} else if err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	f.Add([]byte(`{"segment":1,"head":{"tenant":"north","cart":"cart-1","incarnation":"00000000000000000000000000000001","number":5,"signature":"AA=="}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := decodeCheckpoint(b); err == nil && (c.Segment == 0 || c.Head.Number > maxNumber) {
			t.Fatalf("%+v", c)
		}
	})
}

// While many are putting, full logs stay where they are; a segment that became full meanwhile keeps them. All is there, now and
// after a start.
func TestRush(t *testing.T) {
	r := newRig(t)
	r.size = 512 << 10
	box := r.open()
	r.put("before")
	gate := make(chan struct{})
	r.disk.hold.Store(&gate)
	body := strings.Repeat("many at once ", 700)
	hashes := make(chan ledger.Hash, 128)
	var wg sync.WaitGroup
	for range cap(hashes) {
		wg.Go(func() {
			s, err := box.Put(context.Background(), r.key, 1, wire.Routine, []byte(body))
			if err != nil {
				t.Error(err)
			}
			hashes <- s.Hash
		})
	}
	for len(box.requests) < cap(box.requests) {
		runtime.Gosched()
	}
	r.disk.hold.Store(nil)
	close(gate)
	wg.Wait()
	close(hashes)
	var all []ledger.Hash
	for h := range hashes {
		all = append(all, h)
	}
	check := func() {
		t.Helper()
		for _, h := range all {
			if r.opened(h) != body {
				t.Fatal("not what was put")
			}
		}
	}
	check()
	r.open()
	if logs := filesOf(r.dir, 1); len(logs) < 3 {
		t.Errorf("the first segment has %d files: it did not keep its logs", len(logs))
	}
	for _, path := range filesOf(r.dir, 1) {
		if st, err := os.Stat(path); err != nil || st.Size() > 400<<10 {
			t.Errorf("%s: %v; what it did not need is not given back", path, err)
		}
	}
	r.loaded()
	check()
	r.put("after")
	if err := r.box.Close(); err != nil {
		t.Fatal(err)
	}
	r.box = nil
}
