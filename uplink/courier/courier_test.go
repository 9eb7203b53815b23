package courier

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/outbox/reader/author"
	"telecart/uplink/wire"
)

func check(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// cartState writes a cart's folder with n items of some size, the second of them urgent; number 0 is the run.
func cartState(t testing.TB, n, size int) (*author.Author, []author.Item) {
	a, err := author.New(filepath.Join(t.TempDir(), "care"), ledger.Book{Tenant: "north", Cart: "cart-1"})
	check(t, err)
	records := []author.Record{a.Began(1)}
	var items []author.Item
	for i := range n {
		u := wire.Routine
		if i == 1 {
			u = wire.Urgent
		}
		it, err := a.Put(1, capture.Still, u, make([]byte, size))
		check(t, err)
		items = append(items, it)
		records = append(records, it.All()...)
	}
	h, err := a.Head()
	check(t, err, a.Segment(1, records), a.JSON("head", h))
	return a, items
}

func stickOf(t testing.TB, folder string) *content {
	t.Helper()
	books, damage, err := readStick(folder, cartExt)
	if err != nil || len(damage) > 0 || len(books) != 1 {
		t.Fatalf("%d books, %v, %v", len(books), damage, err)
	}
	return books[0]
}

func numbers(c *content) (out []uint64) {
	for _, it := range c.items {
		out = append(out, it.manifest.Entry.Number)
	}
	return out
}

var fatName = regexp.MustCompile(`^[a-z0-9-]{8,40}\.(tcc|tcr)(\.part)?$`)

func TestExport(t *testing.T) {
	a, items := cartState(t, 5, 3000)
	state, stick := filepath.Dir(a.Dir), t.TempDir()
	r := a.Sign(items[0].Manifest.Entry, wire.Received)
	check(t, a.Receipts(1, 8, &r))
	// Without the list's root a receipt proves nothing: the item goes, too.
	out, err := Export{State: state, To: t.TempDir()}.Run(t.Context())
	if err != nil || out.Items != 5 {
		t.Errorf("%+v %v", out, err)
	}
	b, err := json.Marshal(a.Signed)
	check(t, err, os.WriteFile(filepath.Join(state, "keys.json"), b, 0o600))
	x := Export{State: state, To: stick, Root: a.Root.Public().(ed25519.PublicKey)}
	out, err = x.Run(t.Context())
	if err != nil || out.Items != 4 || !slices.Equal(numbers(stickOf(t, stick)), []uint64{2, 3, 4, 5}) { // the urgent one first
		t.Errorf("%+v %v %v", out, err, numbers(stickOf(t, stick)))
	}
	if c := stickOf(t, stick); len(c.entries) != 6 || len(c.heads) != 1 || c.keys == nil {
		t.Errorf("%d entries, %d heads", len(c.entries), len(c.heads))
	}
	x.Which, x.To = All, t.TempDir()
	if out, err = x.Run(t.Context()); err != nil || out.Items != 5 {
		t.Errorf("all: %+v %v", out, err)
	}
	files, err := os.ReadDir(filepath.Join(stick, Folder))
	check(t, err)
	for _, f := range files {
		if !fatName.MatchString(f.Name()) {
			t.Errorf("%s is no name for a stick", f.Name())
		}
	}
}

// failing is a stick that fails at its nth operation, as a full one does or one that is pulled out.
type failing struct {
	left int
	err  error
	tear bool // of a write, half is done
}

func (f *failing) Do(op kit.Op, do func() error) error {
	if f.left--; f.left != 0 {
		if f.left < 0 && !errors.Is(f.err, unix.ENOSPC) {
			return f.err // pulled out: nothing works any more
		}
		return do()
	}
	if f.tear && op.Kind == kit.OpWrite {
		b, err := os.ReadFile(op.Path)
		if err == nil {
			err = os.WriteFile(op.Path, append(b[:op.Off:op.Off], op.Data[:len(op.Data)/2]...), 0o600)
		}
		return errors.Join(f.err, err)
	}
	return f.err
}

// TestExportInterrupted: wherever the stick is pulled out, the next export completes it, and what was whole is not written again.
func TestExportInterrupted(t *testing.T) {
	a, _ := cartState(t, 4, 100_000)
	for n := 1; ; n++ {
		stick := t.TempDir()
		f := &failing{left: n, err: unix.EIO, tear: true}
		x := Export{State: filepath.Dir(a.Dir), To: stick, Disk: kit.Disk{Watch: f}}
		_, err := x.Run(t.Context())
		if f.left > 0 {
			if check(t, err); n < 20 {
				t.Fatalf("only %d operations", n)
			}
			return
		}
		if err == nil {
			t.Fatalf("operation %d failed, and nobody noticed", n)
		}
		if _, _, err := readStick(stick, cartExt, cutExt); err != nil && n > 3 {
			t.Fatalf("operation %d: %v", n, err)
		}
		x.Disk = kit.Disk{}
		out, err := x.Run(t.Context())
		if err != nil || out.Items+out.Before != 4 {
			t.Fatalf("operation %d: then %+v, %v", n, out, err)
		}
		got := numbers(stickOf(t, stick))
		slices.Sort(got)
		if !slices.Equal(got, []uint64{1, 2, 3, 4}) {
			t.Fatalf("operation %d: %v", n, got)
		}
	}
}

// TestExportToAFullStick: what fits is good, and what was left is said.
func TestExportToAFullStick(t *testing.T) {
	a, _ := cartState(t, 4, 100_000)
	stick := t.TempDir()
	out, err := Export{State: filepath.Dir(a.Dir), To: stick, Disk: kit.Disk{Watch: &failing{left: 13, err: unix.ENOSPC}}}.Run(t.Context())
	var said strings.Builder
	perr := out.Print(&said)
	if err != nil || !out.Full || out.Items == 0 || out.Items+out.Left != 4 || !errors.Is(perr, ErrSome) || len(stickOf(t, stick).items) != out.Items {
		t.Errorf("%+v %v: %s", out, err, said.String())
	}
}

// TestExportAnewWhatWentBad: an item that does not read back from the stick any more is written again.
func TestExportAnewWhatWentBad(t *testing.T) {
	a, items := cartState(t, 3, 100_000)
	stick := t.TempDir()
	x := Export{State: filepath.Dir(a.Dir), To: stick}
	_, err := x.Run(t.Context())
	path := filepath.Join(stick, Folder, NameOf(a.Book)+"-0001.tcc")
	b, err2 := os.ReadFile(path)
	check(t, err, err2)
	b[bytes.Index(b, items[1].Chunks[0][100:200])] ^= 1
	check(t, os.WriteFile(path, b, 0o600))
	if out, err := x.Run(t.Context()); err != nil || out.Items != 1 || out.Before != 2 {
		t.Errorf("%+v %v", out, err)
	}
}

// TestExportReadsBack: a stick that does not keep what was written is found out.
func TestExportReadsBack(t *testing.T) {
	a, _ := cartState(t, 2, 100_000)
	_, err := Export{State: filepath.Dir(a.Dir), To: t.TempDir(), Disk: kit.Disk{Watch: forgetful{}}}.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the stick is bad") {
		t.Error(err)
	}
}

// forgetful turns a bit of every long write.
type forgetful struct{}

func (forgetful) Do(op kit.Op, do func() error) error {
	if op.Kind == kit.OpWrite && len(op.Data) > 60_000 {
		op.Data[500] ^= 1
		defer func() { op.Data[500] ^= 1 }()
	}
	return do()
}

// TestScanFindsTheWay: every frame is found again behind a damaged one.
func TestScanFindsTheWay(t *testing.T) {
	_, b := file(t)
	c, damage, err := parseFile(bytes.NewReader(b), int64(len(b)), "x")
	if err != nil || len(damage) > 0 || len(c.items) != 2 || len(c.heads) != 1 {
		t.Fatalf("%v %v", damage, err)
	}
	for at := 0; at < len(b); at += 37 {
		bad := bytes.Clone(b)
		bad[at] ^= 0x20
		c, damage, err := parseFile(bytes.NewReader(bad), int64(len(bad)), "x")
		if err != nil {
			t.Fatal(err)
		}
		if c == nil {
			if at > 60 {
				t.Fatalf("byte %d cost everything", at)
			}
			continue
		}
		broken := 0
		for _, it := range c.items {
			if whole(bytes.NewReader(bad), it.frame, it.manifest, it.header, it.size) != nil {
				broken++
			}
		}
		if lost := 2 - len(c.items) + broken; lost > 1 || lost == 0 && len(damage) == 0 {
			t.Fatalf("byte %d cost %d items: %v", at, lost, damage)
		}
	}
	for n := range len(b) / 50 {
		cut := b[:n*50]
		if c, damage, _ := parseFile(bytes.NewReader(cut), int64(len(cut)), "x"); c != nil && len(damage) == 0 {
			t.Fatalf("cut at %d, and nothing was said", len(cut))
		}
	}
}

// file is a small courier file.
func file(t testing.TB) (*author.Author, []byte) {
	a, _ := cartState(t, 2, 500)
	stick := t.TempDir()
	_, err := Export{State: filepath.Dir(a.Dir), To: stick}.Run(t.Context())
	check(t, err)
	b, err := os.ReadFile(filepath.Join(stick, Folder, NameOf(a.Book)+"-0001.tcc"))
	check(t, err)
	return a, b
}

func FuzzCourierFile(f *testing.F) {
	a, b := file(f)
	f.Add(b)
	f.Add(b[:len(b)*2/3])
	r := a.Sign(ledger.Entry{}, wire.Received)
	w := small(typeBook, encodeBook(a.Book))
	w = append(w, small(typeReceipt, r.Marshal())...)
	w = append(w, small(typeWater, []byte(`{"hub":"hub.example","sequence":3}`))...)
	f.Add(append(w, small(typeEnd, make([]byte, 8))...))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, damage, err := parseFile(bytes.NewReader(b), int64(len(b)), "x")
		if err != nil {
			t.Fatal(err)
		}
		if c == nil {
			return
		}
		if !wire.ValidName(c.book.Tenant) || !wire.ValidName(c.book.Cart) {
			t.Fatalf("a book of %v", c.book)
		}
		for _, it := range c.items {
			if it.frame.offset+it.frame.length > int64(len(b)) || it.manifest.Entry.Body != it.manifest.Hash() {
				t.Fatalf("%+v", it.frame)
			}
			_ = whole(bytes.NewReader(b), it.frame, it.manifest, it.header, it.size)
		}
		for h, e := range c.entries {
			if e.Hash() != h {
				t.Fatal("an entry under another's hash")
			}
		}
		if len(damage) > len(b) {
			t.Fatal("more damage than bytes")
		}
	})
}
