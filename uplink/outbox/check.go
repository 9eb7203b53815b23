package outbox

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/wire"
)

// Index is what a segment holds: the result of checking it.
type Index struct {
	Size    int64          `json:"size"`    // bytes of the file that are in use; 0 after a salvage
	Entries []ledger.Entry `json:"entries"` // all, items included, in ledger order
	Items   []IndexItem    `json:"items"`
	Stray   []ledger.Entry `json:"stray"` // found by their marks, where bbolt's pages do not lead
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

// Check opens a segment read-only with bbolt, checks its pages and reads every committed record, and then looks for others: one
// bit of a page's head can have bbolt pass over records, and find nothing wrong. A damaged file can crash or hang bbolt, so the
// agent calls it in a child process (ExecChecker), never in its own.
func Check(path string) (x Index, err error) {
	if err := checkMetas(path); err != nil {
		return Index{}, err
	}
	if x, err = checkPages(path); err != nil {
		return x, err
	}
	found, err := Salvage(path)
	if err != nil {
		return x, err
	}
	known := make(map[ledger.Entry]bool, len(x.Entries))
	for _, e := range x.Entries {
		known[e] = true
	}
	for _, e := range found.Entries {
		if !known[e] {
			x.Stray = append(x.Stray, e)
		}
	}
	return x, nil
}

// checkMetas looks for both meta pages: each lies in one sector and is whole from the beginning. Without the newer one bbolt
// would go by the older, and what came since would be cut off.
func checkMetas(path string) error {
	f, err := kit.OpenRegular(path)
	if err != nil {
		return fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	defer f.Close()
	b := make([]byte, 2*pageSize)
	n, err := f.ReadAt(b, 0)
	if whole := validMetas(b[:n]); whole < 2 {
		return fmt.Errorf("%w: %d of 2 meta pages (%v)", ErrDamaged, whole, err)
	}
	return nil
}

func checkPages(path string) (x Index, err error) {
	defer func() {
		if p := recover(); p != nil { // bbolt panics at some pages that make no sense
			x, err = Index{}, fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	open := func(path string, _ int, _ os.FileMode) (*os.File, error) { return kit.OpenRegular(path) }
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, PageSize: pageSize, ReadOnly: true, OpenFile: open})
	if err != nil {
		return Index{}, fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	defer db.Close()
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

// maxNumber is more than a cart can count to.
const maxNumber = 1 << 62

// add takes one record into the index.
func (x *Index) add(t recordType, k recordKey, payload []byte) error {
	switch t {
	case typeEntry:
		e, err := ledger.UnmarshalEntry(payload)
		if err != nil {
			return fmt.Errorf("%w: %v", ErrDamaged, err)
		}
		if e.Number > maxNumber {
			return fmt.Errorf("%w: entry %d", ErrDamaged, e.Number)
		}
		x.Entries = append(x.Entries, e)
	case typeManifest:
		m, h, _, err := wire.UnmarshalManifest(payload)
		if err != nil {
			return fmt.Errorf("%w: %v", ErrDamaged, err)
		}
		if m.Entry.Number > maxNumber {
			return fmt.Errorf("%w: entry %d", ErrDamaged, m.Entry.Number)
		}
		x.Entries = append(x.Entries, m.Entry)
		x.Items = append(x.Items, IndexItem{Attempt: k.attempt, Entry: m.Entry, Kind: h.Kind, Urgency: h.Urgency, Length: h.Length,
			First: uint32(k.attempt >> 32)})
	}
	return nil
}

// sort puts entries and items in ledger order, and drops what is there twice: in bbolt and in a log not removed yet.
func (x *Index) sort() {
	incarnation := map[ledger.ID]int{} // within one segment they follow each other as they were found
	for _, e := range x.Entries {
		if _, ok := incarnation[e.Incarnation]; !ok {
			incarnation[e.Incarnation] = len(incarnation)
		}
	}
	order := func(a, b ledger.Entry) int {
		if a.Incarnation != b.Incarnation {
			return incarnation[a.Incarnation] - incarnation[b.Incarnation]
		}
		if a.Number != b.Number {
			return int(min(max(int64(a.Number-b.Number), -1), 1))
		}
		return slices.Compare(a.Body[:], b.Body[:])
	}
	slices.SortStableFunc(x.Entries, order)
	x.Entries = slices.Compact(x.Entries)
	slices.SortStableFunc(x.Items, func(a, b IndexItem) int { return order(a.Entry, b.Entry) })
	x.Items = slices.CompactFunc(x.Items, func(a, b IndexItem) bool { return a.Entry == b.Entry })
}

// errUnchecked: the check itself could not be made.
var errUnchecked = errors.New("outbox: a segment could not be checked")

// Checker checks one segment. ExecChecker is the one for real carts.
type Checker func(ctx context.Context, path string) (Index, error)

// checkLine is one line of what the checking process prints: the size, an entry that is no item, or an item with its entry.
type checkLine struct {
	Size  int64         `json:"size,omitempty"`
	Entry *ledger.Entry `json:"entry,omitempty"`
	Item  *IndexItem    `json:"item,omitempty"`
	Stray *ledger.Entry `json:"stray,omitempty"`
}

// maxCheck bounds what it prints: a segment full of the smallest items, many times over.
const maxCheck = 256 << 20

// ExecChecker runs "EXE check-segment PATH" with limits on time and processor, and reads the index it prints.
func ExecChecker(exe string) Checker {
	return func(ctx context.Context, path string) (x Index, err error) {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, exe, CheckCommand, path)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil { // it never ran: that says nothing about the segment
			return x, fmt.Errorf("%w: %v", errUnchecked, err)
		}
		x, bad := readCheck(io.LimitReader(out, maxCheck))
		if bad != nil {
			cancel()
		}
		if err := errors.Join(cmd.Wait(), bad); err != nil {
			return Index{}, fmt.Errorf("%w: checking %s: %v", ErrDamaged, filepath.Base(path), err)
		}
		return x, nil
	}
}

func readCheck(in io.Reader) (x Index, err error) {
	for d := json.NewDecoder(in); ; {
		var l checkLine
		if err := d.Decode(&l); err != nil {
			if err == io.EOF {
				return x, nil
			}
			return x, err
		}
		x.Size = max(x.Size, l.Size)
		if l.Entry != nil {
			x.Entries = append(x.Entries, *l.Entry)
		}
		if l.Stray != nil {
			x.Stray = append(x.Stray, *l.Stray)
		}
		if l.Item != nil {
			x.Entries, x.Items = append(x.Entries, l.Item.Entry), append(x.Items, *l.Item)
		}
	}
}

func writeCheck(out io.Writer, x Index) error {
	b := bufio.NewWriter(out)
	e := json.NewEncoder(b)
	err := e.Encode(checkLine{Size: x.Size})
	for i := range x.Entries {
		if x.Entries[i].Kind != ledger.Item {
			err = errors.Join(err, e.Encode(checkLine{Entry: &x.Entries[i]}))
		}
	}
	for i := range x.Items {
		err = errors.Join(err, e.Encode(checkLine{Item: &x.Items[i]}))
	}
	for i := range x.Stray {
		err = errors.Join(err, e.Encode(checkLine{Stray: &x.Stray[i]}))
	}
	return errors.Join(err, b.Flush())
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
	return writeCheck(os.Stdout, x)
}
