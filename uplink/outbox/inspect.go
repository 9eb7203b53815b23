package outbox

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/wire"
)

// Place is where something lies.
type Place struct {
	File   string `json:"file"` // below the book's folder
	Offset int64  `json:"offset"`
}

// Finding is one thing that Inspect found: exactly one field is set.
type Finding struct {
	File    *FoundFile
	Entry   *FoundEntry
	Item    *FoundItem
	Receipt *FoundReceipt
	Head    *FoundHead
	Damage  *FoundDamage
}

// FoundFile is a file that was read. It comes before what is in it.
type FoundFile struct {
	Name        string      `json:"name"`
	Size        int64       `json:"size"`
	SHA256      ledger.Hash `json:"sha256"` // of what was read: an agent that runs may have written more
	Segment     uint32      `json:"segment,omitempty"`
	Quarantined bool        `json:"quarantined,omitempty"`
}

// FoundEntry is a line of the ledger; an item's comes before the item.
type FoundEntry struct {
	Place
	Segment  uint32
	Entry    ledger.Entry
	Salvaged bool // found by its mark alone in a damaged file: it may be of a commit that never ended
}

// FoundReceipt is a receipt as it is kept. Nobody has verified it.
type FoundReceipt struct {
	Place
	Receipt wire.Receipt
	Arrived time.Time
	Trusted bool // was the clock, then?
}

// FoundHead is a signed head. Nobody has verified it.
type FoundHead struct {
	Place
	Segment uint32 // that was retired; 0: the head of the ledger as it was last written down
	Head    ledger.Head
}

// FoundDamage is something that could not be read.
type FoundDamage struct {
	Place
	Segment uint32 `json:"segment,omitempty"` // 0: none
	What    string `json:"what"`
}

// Inspect reads a book's folder from the files alone: no lock, no bbolt, nothing is written. An agent may be at work in it.
// It gives what it finds, segment by segment, in the ledger's order within each; then receipts and heads. What is damaged
// is a finding; an error means that a file could not be read at all. It holds one segment with its logs in memory.
func Inspect(dir string) iter.Seq2[Finding, error] {
	return func(yield func(Finding, error) bool) {
		in := &inspector{dir: dir, yield: yield}
		if err := in.run(); err != nil && !errors.Is(err, errStop) {
			yield(Finding{}, err)
		}
	}
}

// errStop: whoever asked has heard enough.
var errStop = errors.New("outbox: stop")

type inspector struct {
	dir    string
	yield  func(Finding, error) bool
	cur    *snapshot
	newest ledger.ID           // the run of the newest entry
	open   map[uint64]sliceMap // attempts whose manifest was not found yet
	done   map[uint64]sliceMap // attempts that ended in the segment before: one that was condemned is written again
	again  map[uint64]bool     // attempts for which segments were read once more
}

// maxAgain bounds that: a folder may be made to cost time.
const maxAgain = 64

// sliceMap says where the slices of one attempt lie.
type sliceMap map[recordKey]located

type located struct {
	seg    uint32
	file   string
	offset int64
	length int
}

func (s *snapshot) located(w recordAt) located {
	return located{s.n, s.files[w.file].name, int64(w.offset), w.length}
}

func (in *inspector) tell(f Finding) error {
	if !in.yield(f, nil) {
		return errStop
	}
	return nil
}

func (in *inspector) run() error {
	segs, err := listFiles(in.dir)
	if err != nil {
		return err
	}
	in.open, in.done, in.again = map[uint64]sliceMap{}, map[uint64]sliceMap{}, map[uint64]bool{}
	for _, n := range segs {
		if err := in.segment(n); err != nil {
			return err
		}
	}
	for _, step := range []func() error{in.receipts, in.goneReceipts, in.heads} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// listFiles gives the numbers of the segments of which anything lies in the folder, a log alone included.
func listFiles(dir string) ([]uint32, error) {
	var out []uint32
	for _, d := range []string{dir, filepath.Join(dir, quarantine)} {
		files, err := os.ReadDir(d)
		if errors.Is(err, fs.ErrNotExist) && d != dir {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("outbox: %w", err)
		}
		for _, f := range files {
			if n, ok := segmentOf(f.Name()); ok {
				out = append(out, n)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// segmentOf reads NNNNNNNN.seg and NNNNNNNN.KKKK.log.
func segmentOf(name string) (n uint32, ok bool) {
	if stem, seg := strings.CutSuffix(name, segmentExt); seg {
		return digits8(stem)
	}
	stem, log := strings.CutSuffix(name, inspectLogExt)
	first, second, dot := strings.Cut(stem, ".")
	if !log || !dot || len(second) < 4 || strings.Trim(second, "0123456789") != "" {
		return 0, false
	}
	return digits8(first)
}

func digits8(s string) (n uint32, ok bool) {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint32(c-'0')
	}
	return n, len(s) == 8
}

func (in *inspector) segment(n uint32) error {
	s, err := readSnapshot(in.dir, n)
	if err != nil {
		return err
	}
	if s.torn != nil || len(s.stray) > 0 {
		f, err := in.following(n)
		if err != nil {
			return err
		}
		if f != (following{}) { // it may have been on its way to the file just then, and be there now
			if s, err = readSnapshot(in.dir, n); err != nil {
				return err
			}
			s.builtOn(f)
		}
		s.passedOver(f)
	}
	in.cur = s
	for _, f := range s.files {
		if err := in.tell(Finding{File: &FoundFile{f.name, int64(len(f.bytes)), sha256.Sum256(f.bytes), n, f.quarantined}}); err != nil {
			return err
		}
	}
	entries := s.entries()
	for i := range s.damage {
		if err := in.tell(Finding{Damage: &s.damage[i]}); err != nil {
			return err
		}
	}
	for _, e := range entries {
		if e.Entry.Run != in.newest { // what an earlier run left open, nobody will complete
			in.newest = e.Entry.Run
			clear(in.open)
			clear(in.done)
		}
	}
	ended := map[uint64]bool{}
	for _, e := range entries {
		if e.item != nil {
			ended[e.item.attempt] = true
		}
		if err := in.entry(e); err != nil {
			return err
		}
	}
	in.carry(ended)
	return nil
}

// following looks how the ledger goes on behind a segment; it is zero if it does not.
func (in *inspector) following(n uint32) (f following, err error) {
	segs, err := listFiles(in.dir)
	for _, next := range segs {
		if next <= n || err != nil {
			continue
		}
		s, err := readSnapshot(in.dir, next)
		if err != nil {
			return f, err
		}
		es := ledgerEntries(s.entries())
		if len(es) == 0 {
			continue
		}
		f = following{incarnation: es[0].Incarnation, first: es[0].Number}
		for _, e := range es {
			if e.Kind == ledger.Fork {
				f.fork = e.Body
			}
		}
		return f, nil
	}
	return f, err
}

func (in *inspector) entry(e foundRecord) error {
	if err := in.tell(Finding{Entry: &e.FoundEntry}); err != nil || e.item == nil {
		return err
	}
	e.item.in = in
	return in.tell(Finding{Item: e.item})
}

// carry keeps where the slices lie whose manifest is still to come.
func (in *inspector) carry(ended map[uint64]bool) {
	clear(in.done)
	for k, w := range in.cur.at {
		if w.t != typeSlice {
			continue
		}
		m := in.open[k.attempt]
		if m == nil {
			m = sliceMap{}
			in.open[k.attempt] = m
		}
		m[k] = in.cur.located(w)
	}
	for attempt := range ended {
		if m := in.open[attempt]; m != nil {
			in.done[attempt] = m
			delete(in.open, attempt)
		}
	}
}

// FoundItem is an item whose manifest was found. It is good until the loop over the findings goes on.
type FoundItem struct {
	FoundEntry
	Manifest wire.Manifest
	Header   wire.Header
	Wrap     wire.Wrap

	in      *inspector
	attempt uint64
}

// Chunk reads a sealed chunk and checks it against the manifest; places says where its pieces lie, as far as they do.
func (f *FoundItem) Chunk(i int) (chunk []byte, places []Place, err error) {
	if i < 0 || i >= len(f.Manifest.Chunks) {
		return nil, nil, fmt.Errorf("outbox: there is no chunk %d", i)
	}
	want := f.Header.SealedSize(i)
	chunk = make([]byte, 0, want)
	for slice := 0; len(chunk) < want; slice++ {
		k := recordKey{f.attempt, uint32(i), uint8(slice)}
		p, at, err := f.in.slice(k)
		if err == nil && (len(p) == 0 || slice > 255) {
			err = fmt.Errorf("%w: chunk %d of item %s is not all there", ErrDamaged, i, f.Entry.Body)
		}
		if err != nil {
			return nil, places, err
		}
		chunk, places = append(chunk, p...), append(places, at)
	}
	if ledger.Hash(sha256.Sum256(chunk)) != f.Manifest.Chunks[i] {
		return nil, places, fmt.Errorf("%w: chunk %d of item %s is not what its hash says", ErrDamaged, i, f.Entry.Body)
	}
	return chunk, places, nil
}

// Bad checks every chunk and names those that are damaged or missing.
func (f *FoundItem) Bad() (bad []int) {
	for i := range f.Manifest.Chunks {
		if _, _, err := f.Chunk(i); err != nil {
			bad = append(bad, i)
		}
	}
	return bad
}

// slice finds one slice of a chunk: in this segment, or in an earlier one.
func (in *inspector) slice(k recordKey) ([]byte, Place, error) {
	if p, at, ok := in.cur.get(k); ok {
		return p, at, nil
	}
	w, ok := in.open[k.attempt][k]
	if !ok {
		w, ok = in.done[k.attempt][k]
	}
	if !ok {
		return in.late(k)
	}
	if p, err := readRecord(filepath.Join(in.dir, w.file), w.offset, w.length, k); err == nil {
		return p, Place{w.file, w.offset}, nil
	}
	// The agent has moved it meanwhile, from a log into its segment or from one page to another.
	s, err := readSnapshot(in.dir, w.seg)
	if err != nil {
		return nil, Place{}, err
	}
	p, at, _ := s.get(k)
	return p, at, nil
}

// late looks for a slice in the segments that were read before the item was there: the agent may have put it there since. It
// reads them once for all that an attempt lacks.
func (in *inspector) late(k recordKey) ([]byte, Place, error) {
	if in.again[k.attempt] || len(in.again) >= maxAgain {
		return nil, Place{}, nil
	}
	in.again[k.attempt] = true
	m := in.done[k.attempt]
	if m == nil {
		m = sliceMap{}
		in.done[k.attempt] = m
	}
	segs, err := listFiles(in.dir)
	if err != nil {
		return nil, Place{}, err
	}
	for _, n := range segs {
		if n < uint32(k.attempt>>32) || n >= in.cur.n {
			continue
		}
		s, err := readSnapshot(in.dir, n)
		if err != nil {
			return nil, Place{}, err
		}
		for k2, w := range s.at {
			if k2.attempt == k.attempt && w.t == typeSlice {
				m[k2] = s.located(w)
			}
		}
	}
	if _, ok := m[k]; !ok {
		return nil, Place{}, nil
	}
	return in.slice(k)
}

func readRecord(path string, offset int64, length int, k recordKey) ([]byte, error) {
	f, err := kit.OpenRegular(path)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	defer f.Close()
	b := make([]byte, length)
	if _, err := f.ReadAt(b, offset); err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	t, got, p, err := decodeRecord(b)
	if err == nil && (t != typeSlice || got != k) {
		err = ErrDamaged
	}
	return p, err
}

// read tells of a file and gives its bytes; nil if there is none any longer, or if it is told as damage: the rest can be read still.
func (in *inspector) read(name string) ([]byte, error) {
	b, err := readBounded(filepath.Join(in.dir, name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil && strange(err):
		return nil, in.tell(Finding{Damage: &FoundDamage{Place: Place{File: name}, What: cantRead(err)}})
	}
	if err == nil {
		err = in.tell(Finding{File: &FoundFile{Name: name, Size: int64(len(b)), SHA256: sha256.Sum256(b)}})
	}
	return b, err
}

// strange says whether an error is this one file's. Who may not read must ask for the right, and would call all damaged.
func strange(err error) bool {
	return !errors.Is(err, fs.ErrPermission) && !errors.Is(err, unix.EMFILE)
}

func cantRead(err error) string { return fmt.Sprintf("it can't be read (%v)", err) }

// maxInspected bounds one file: larger ones are none of the product's.
const maxInspected = 1 << 30

func readBounded(path string) ([]byte, error) {
	f, err := kit.OpenRegular(path)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	if st.Size() > maxInspected {
		return nil, fmt.Errorf("outbox: %s is no file of an outbox: %d bytes", path, st.Size())
	}
	b := make([]byte, st.Size())
	n, err := io.ReadFull(f, b)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) { // it was trimmed meanwhile
		return nil, fmt.Errorf("outbox: %w", err)
	}
	return b[:n], nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
