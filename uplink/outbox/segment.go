package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/wire"
)

const (
	pageSize   = 64 << 10
	segmentExt = ".seg"
	spareName  = "spare"
)

// bucket is the one bucket of a segment.
var bucket = []byte("r")

func boltOptions(size int64) *bbolt.Options {
	return &bbolt.Options{Timeout: time.Second, PageSize: pageSize, InitialMmapSize: int(size), MaxSize: int(size),
		NoFreelistSync: true, FreelistType: bbolt.FreelistArrayType}
}

// makeSegment writes a segment's blocks beforehand: growing a file later costs a journal commit each time, and may
// fail. It appears under its name only when it is whole.
func makeSegment(path string, size int64) error {
	tmp := path + ".tmp"
	os.Remove(tmp)
	small := boltOptions(size)
	small.InitialMmapSize = 0 // bbolt would extend the file to it with a hole: no block of it written
	db, err := bbolt.Open(tmp, 0o600, small)
	if err != nil {
		return fmt.Errorf("outbox: make segment: %w", err)
	}
	err = db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket(bucket); return err })
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("outbox: make segment: %w", err)
	}
	if err := fill(tmp, size); err != nil {
		os.Remove(tmp)
		return fmt.Errorf("outbox: make segment: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("outbox: make segment: %w", err)
	}
	return kit.SyncDir(filepath.Dir(path))
}

// fill writes every block of a file up to size: what is there once more, holes included, and zeros behind it.
func fill(path string, size int64) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	zeros := make([]byte, 1<<20)
	for have := int64(len(b)); err == nil && have < size; have += int64(len(zeros)) {
		_, err = f.Write(zeros[:min(int64(len(zeros)), size-have)])
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// openSegment opens segment number n for writing, made of the spare if there is one.
func openSegment(dir string, n uint32, size int64) (*bbolt.DB, error) {
	path, spare := segmentPath(dir, n), filepath.Join(dir, spareName)
	if st, err := os.Stat(spare); err == nil && st.Size() == size {
		if err := os.Rename(spare, path); err != nil {
			return nil, fmt.Errorf("outbox: %w", err)
		}
		if err := kit.SyncDir(dir); err != nil {
			return nil, err
		}
	} else if err := makeSegment(path, size); err != nil {
		return nil, err
	}
	db, err := bbolt.Open(path, 0o600, boltOptions(size))
	if err != nil {
		return nil, fmt.Errorf("outbox: open segment %d: %w", n, err)
	}
	return db, nil
}

func segmentPath(dir string, n uint32) string {
	return filepath.Join(dir, fmt.Sprintf("%08d%s", n, segmentExt))
}

// quarantine is the folder of segments that failed their check.
const quarantine = "quarantine"

// listSegments gives the numbers of the segments in an outbox's folder, those in quarantine included, oldest first.
func listSegments(dir string) ([]uint32, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	held, err := os.ReadDir(filepath.Join(dir, quarantine))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	var out []uint32
	for _, f := range append(files, held...) {
		var n uint32
		if name, ok := strings.CutSuffix(f.Name(), segmentExt); ok && len(name) == 8 {
			if _, err := fmt.Sscanf(name, "%d", &n); err == nil {
				out = append(out, n)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// Index is what a segment holds: the result of checking it.
type Index struct {
	Size    int64          `json:"size"`    // bytes of the file that are in use; 0 after a salvage
	Entries []ledger.Entry `json:"entries"` // all, items included, in ledger order
	Items   []IndexItem    `json:"items"`
	Damaged []IndexItem    `json:"damaged,omitempty"` // in the ledger, but some of it does not read back
}

// IndexItem is one item of a segment.
type IndexItem struct {
	Attempt uint64       `json:"attempt"`
	Entry   ledger.Entry `json:"entry"`
	Kind    uint8        `json:"kind"`
	Urgency wire.Urgency `json:"urgency"`
	Length  uint64       `json:"length"`
	First   uint32       `json:"first"` // the segment in which its first chunk lies
}

// Check opens a segment read-only with bbolt, checks its pages and reads every committed record. A damaged file can crash
// or hang bbolt, so the agent calls it in a child process (ExecChecker), never in its own.
func Check(path string) (Index, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, PageSize: pageSize, ReadOnly: true})
	if err != nil {
		return Index{}, fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	defer db.Close()
	var x Index
	err = db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			return fmt.Errorf("%w: %v", ErrDamaged, err)
		}
		x.Size = tx.Size()
		b := tx.Bucket(bucket)
		if b == nil {
			return fmt.Errorf("%w: no bucket", ErrDamaged)
		}
		return b.ForEach(func(_, v []byte) error {
			t, k, payload, err := decodeRecord(v)
			if err != nil {
				return err
			}
			return x.add(t, k, payload)
		})
	})
	x.sort()
	return x, err
}

// add takes one record into the index.
func (x *Index) add(t recordType, k recordKey, payload []byte) error {
	switch t {
	case typeEntry:
		e, err := ledger.UnmarshalEntry(payload)
		if err != nil {
			return fmt.Errorf("%w: %v", ErrDamaged, err)
		}
		x.Entries = append(x.Entries, e)
	case typeManifest:
		m, h, _, err := wire.UnmarshalManifest(payload)
		if err != nil {
			return fmt.Errorf("%w: %v", ErrDamaged, err)
		}
		x.Entries = append(x.Entries, m.Entry)
		x.Items = append(x.Items, IndexItem{Attempt: k.attempt, Entry: m.Entry, Kind: h.Kind, Urgency: h.Urgency, Length: h.Length,
			First: uint32(k.attempt >> 32)})
	}
	return nil
}

func (x *Index) sort() {
	slices.SortStableFunc(x.Entries, func(a, b ledger.Entry) int {
		if a.Incarnation != b.Incarnation {
			return 0 // within one segment incarnations follow each other in file order
		}
		return int(int64(a.Number) - int64(b.Number))
	})
}

// Salvage reads what is left of a segment without bbolt: every record that is whole, wherever it lies. Records of a
// transaction that was not committed may be among them; an item is only kept with its manifest, and only read back by hash.
func Salvage(path string) (Index, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Index{}, fmt.Errorf("outbox: %w", err)
	}
	var x Index
	seen := map[recordKey]bool{}
	scan(b, func(_ int, t recordType, k recordKey, payload []byte) {
		if t != typeSlice && !seen[k] && x.add(t, k, payload) == nil {
			seen[k] = true
		}
	})
	x.sort()
	return x, nil
}

// errUnchecked: the check itself could not be made.
var errUnchecked = errors.New("outbox: a segment could not be checked")

// Checker checks one segment. ExecChecker is the one for real carts.
type Checker func(ctx context.Context, path string) (Index, error)

// ExecChecker runs "EXE check-segment PATH" with limits on time and processor, and reads the index it prints.
func ExecChecker(exe string) Checker {
	return func(ctx context.Context, path string) (Index, error) {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, exe, CheckCommand, path)
		out, err := cmd.Output()
		var x Index
		var ended *exec.ExitError
		if err != nil && !errors.As(err, &ended) { // it never ran: that says nothing about the segment
			return x, fmt.Errorf("%w: %v", errUnchecked, err)
		}
		if err != nil {
			return x, fmt.Errorf("%w: checking %s: %v", ErrDamaged, filepath.Base(path), err)
		}
		if err := json.Unmarshal(out, &x); err != nil {
			return x, fmt.Errorf("%w: checking %s: %v", ErrDamaged, filepath.Base(path), err)
		}
		return x, nil
	}
}

// CheckCommand is the agent's hidden sub-command that ExecChecker runs.
const CheckCommand = "check-segment"

// CheckMain is that sub-command: it limits itself, checks, and prints the index.
func CheckMain(path string) error {
	for what, limit := range map[int]uint64{unix.RLIMIT_CPU: 20, unix.RLIMIT_CORE: 0, unix.RLIMIT_FSIZE: 0} {
		if err := unix.Setrlimit(what, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return fmt.Errorf("outbox: limit the checking process: %w", err)
		}
	}
	x, err := Check(path)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(x)
}

// reader reads an old segment's records by offset, without bbolt.
type reader struct {
	path string
	at   map[recordKey]span
}

type span struct{ offset, length int }

func newReader(path string) (*reader, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	r := &reader{path: path, at: map[recordKey]span{}}
	scan(b, func(offset int, _ recordType, k recordKey, payload []byte) {
		r.at[k] = span{offset, recordHead + len(payload) + recordTail}
	})
	return r, nil
}

// get gives the payload of one record; nil if there is none.
func (r *reader) get(k recordKey) ([]byte, error) {
	s, ok := r.at[k]
	if !ok {
		return nil, nil
	}
	f, err := os.Open(r.path)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	defer f.Close()
	b := make([]byte, s.length)
	if _, err := f.ReadAt(b, int64(s.offset)); err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	_, got, payload, err := decodeRecord(b)
	if err == nil && got != k {
		err = fmt.Errorf("%w: another record lies there now", ErrDamaged)
	}
	return payload, err
}
