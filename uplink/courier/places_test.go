package courier

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
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

// TestExportRefusesWrongPlaces: nothing is written, nothing is made, and the folder is named.
func TestExportRefusesWrongPlaces(t *testing.T) {
	a, _ := cartState(t, 1, 100)
	state, stick := filepath.Dir(a.Dir), t.TempDir()
	hub, none, file := t.TempDir(), filepath.Join(t.TempDir(), "not", "mounted"), filepath.Join(t.TempDir(), "file")
	check(t, os.Mkdir(filepath.Join(hub, "store"), 0o700), os.WriteFile(file, nil, 0o600))
	for _, c := range []struct{ state, to, says string }{
		{state + "x", stick, state + "x is no cart's state folder (neither care/ nor practice/ in it)"},
		{hub, stick, hub + " is no cart's state folder"},
		{a.Dir, stick, "is no cart's state folder"},
		{file, stick, "is no cart's state folder"},
		{state, none, "--to " + none + " is no folder"},
		{state, file, "Is the stick mounted"},
	} {
		if out, err := (Export{State: c.state, To: c.to}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s to %s: %+v %v", c.state, c.to, out, err)
		}
	}
	made, err := os.ReadDir(stick)
	if _, lerr := os.Lstat(filepath.Dir(none)); err != nil || len(made) > 0 || !errors.Is(lerr, os.ErrNotExist) {
		t.Errorf("%v %v; %v", made, err, lerr)
	}
}

// TestExportWithoutCare: practice goes, and that the patients' items are not there is said.
func TestExportWithoutCare(t *testing.T) {
	a, err := author.New(filepath.Join(t.TempDir(), "practice"), ledger.Book{Tenant: "north", Cart: "cart-1", Practice: true})
	check(t, err)
	record := a.Began(1)
	it, err := a.Put(1, capture.Note, wire.Routine, nil)
	check(t, err, a.Segment(1, append([]author.Record{record}, it.All()...)))
	out, err := Export{State: filepath.Dir(a.Dir), To: t.TempDir()}.Run(t.Context())
	var said strings.Builder
	if perr := out.Print(&said); err != nil || out.Items != 1 || !errors.Is(perr, ErrSome) || !strings.Contains(said.String(), "care: this folder is not in "+filepath.Dir(a.Dir)) {
		t.Errorf("%v %v\n%s", err, perr, said.String())
	}
}

// TestExportToTheOwnDisk: a stick that is not mounted is a folder all the same.
func TestExportToTheOwnDisk(t *testing.T) {
	a, _ := cartState(t, 1, 100)
	out, err := Export{State: filepath.Dir(a.Dir), To: t.TempDir()}.Run(t.Context())
	var said strings.Builder
	if perr := out.Print(&said); errors.Join(err, perr) != nil || !strings.Contains(said.String(), "the stick is not mounted") {
		t.Errorf("%v %v %s", err, perr, said.String())
	}
	if own, err := (Export{State: filepath.Dir(a.Dir), To: "/proc"}).ownDisk(); own || err != nil {
		t.Errorf("/proc is not the cart's disk: %v", err)
	}
}

// TestExportAfterARestore: the hub had signed for five items, lost two of them to an older backup, and signed again for what it
// was offered under its new store since. Which store is the newer one can't be told from the cart's files, in whatever order their
// receipts lie; so all that is held goes. Receipts of what was erased say nothing about what is here.
func TestExportAfterARestore(t *testing.T) {
	older, newer := ledger.NewID(), ledger.NewID()
	for name, c := range map[string]struct {
		live     []int // items, receipted by the older store if negative; 9 is erased
		gone     int   // an item that was erased, or written once more (so it is held), whose receipt by the older store is kept
		restored bool
		want     []uint64
	}{
		"one store":                            {live: []int{1, 2, 3}, want: []uint64{4, 5}},
		"one store, and erased under another":  {live: []int{1, 2, 3}, gone: 9, want: []uint64{4, 5}},
		"one store, and a copy was erased":     {live: []int{1, 2, 3}, gone: 4, want: []uint64{4, 5}},
		"one store, and a slot of the other":   {live: []int{1, 2, 3, -9}, want: []uint64{4, 5}},
		"two stores, in order":                 {live: []int{-1, -2, -3, 1}, restored: true, want: []uint64{1, 2, 3, 4, 5}},
		"the older written anew":               {live: []int{1, -2, -3}, restored: true, want: []uint64{1, 2, 3, 4, 5}},
		"the older written anew, for all":      {live: []int{1, -1, -2, -3, -4, -5}, restored: true, want: []uint64{1, 2, 3, 4, 5}},
		"the older written anew, one by one":   {live: []int{1, 2, -1, -2, -3}, gone: 9, restored: true, want: []uint64{1, 2, 3, 4, 5}},
		"all delivered under the newer":        {live: []int{1, 2, 3, 4, 5}, gone: 9, want: nil},
		"nothing but what was erased is known": {gone: 9, want: []uint64{1, 2, 3, 4, 5}},
	} {
		t.Run(name, func(t *testing.T) {
			a, items := cartState(t, 5, 500)
			state := filepath.Dir(a.Dir)
			sign := func(n int, store ledger.ID) wire.Receipt {
				e := items[min(n, 5)-1].Manifest.Entry
				if n > 5 {
					e.Body[0]++ // another one, that is not here any more
				}
				a.Store = store
				return a.Sign(e, wire.Received)
			}
			var rs []*wire.Receipt
			for _, n := range c.live {
				store := newer
				if n < 0 {
					n, store = -n, older
				}
				r := sign(n, store)
				rs = append(rs, &r)
			}
			if check(t, a.Receipts(1, 8, rs...)); c.gone > 0 {
				check(t, a.Gone(7, sign(c.gone, older)))
			}
			b, err := json.Marshal(a.Signed)
			check(t, err, os.WriteFile(filepath.Join(state, "keys.json"), b, 0o600))
			stick := t.TempDir()
			out, err := Export{State: state, To: stick, Root: a.Root.Public().(ed25519.PublicKey)}.Run(t.Context())
			check(t, err)
			got := numbers(stickOf(t, stick))
			slices.Sort(got)
			var said strings.Builder
			check(t, out.Print(&said))
			if !slices.Equal(got, c.want) || out.Restored != c.restored || strings.Contains(said.String(), "restored from a backup") != c.restored {
				t.Errorf("%v went, want %v\n%s", got, c.want, said.String())
			}
		})
	}
}

// stickOfSize is a stick of so many bytes, as the files on it take them.
func stickOfSize(t *testing.T, folder string, size int64) func(string) (int64, error) {
	return func(asked string) (int64, error) {
		if asked != folder {
			t.Errorf("asked about %s", asked)
		}
		files, err := filepath.Glob(filepath.Join(folder, Folder, "*"))
		left := size
		for _, f := range files {
			st, serr := os.Stat(f)
			err = errors.Join(err, serr)
			left -= st.Size()
		}
		return left, err
	}
}

// TestExportLeavesRoomForReceipts: whatever the stick's size, every item on it gets its receipt back, those of another cart too; and
// what is said went is what is there.
func TestExportLeavesRoomForReceipts(t *testing.T) {
	mine, _ := cartState(t, 40, 2000)
	other, _ := cartState(t, 30, 100)
	check(t, other.JSON("x", nil))
	for size := int64(10_000); ; size += 30_000 {
		stick := t.TempDir()
		free := stickOfSize(t, stick, size)
		var items, left int
		for _, a := range []*author.Author{other, mine} {
			var out Exported
			for range 2 { // again changes nothing, and fills nothing
				before := out
				var err error
				out, err = Export{State: filepath.Dir(a.Dir), To: stick, Free: free}.Run(t.Context())
				if check(t, err); before.Full && (out.Items > 0 || len(out.Files) > 0) {
					t.Fatalf("size %d: again: %+v", size, out)
				}
				items += out.Items
				var said strings.Builder
				if perr := out.Print(&said); errors.Is(perr, ErrSome) != out.Full || out.Left > 0 && !strings.Contains(said.String(), "items were left: the stick is full") {
					t.Fatalf("size %d: %v\n%s", size, perr, said.String())
				}
				if n := int64(out.Items); n > 0 && out.Bytes/n > 4000 || n == 0 && out.Bytes != 0 {
					t.Fatalf("size %d: %d items are not %d bytes", size, out.Items, out.Bytes)
				}
			}
			left += out.Left
		}
		books, damage, err := readStick(stick, cartExt, cutExt)
		if items == 0 && err != nil {
			continue // nothing fitted
		}
		if check(t, err); len(damage) > 0 {
			t.Fatalf("size %d: %v", size, damage)
		}
		there := 0
		for _, c := range books {
			var rs []wire.Receipt
			for _, it := range c.items {
				r := mine.Sign(it.manifest.Entry, wire.Received)
				r.Hub = strings.Repeat("h", 64)
				rs = append(rs, r)
			}
			there += len(rs)
			check(t, WriteReceipts(kit.Disk{}, stick, c.book, mine.Signed, nil, rs))
		}
		over, err := free(stick)
		if check(t, err); there != items || over < 0 {
			t.Fatalf("size %d: %d items were said to go, %d are there; %d bytes over", size, items, there, over)
		}
		if left == 0 {
			if items != 70 || size < 100_000 {
				t.Fatalf("size %d: %d items", size, items)
			}
			return
		}
	}
}

// TestExportFullTwice: an export to a stick that has no room for another item adds nothing to it.
func TestExportFullTwice(t *testing.T) {
	a, _ := cartState(t, 4, 100_000)
	stick := t.TempDir()
	for _, want := range []int{2, 0} {
		out, err := Export{State: filepath.Dir(a.Dir), To: stick, Free: stickOfSize(t, stick, 350_000)}.Run(t.Context())
		if err != nil || !out.Full || out.Items != want || out.Left != 2 || len(out.Files) != want/2 {
			t.Errorf("%+v %v", out, err)
		}
	}
}

// TestExportFullAnywhere: wherever the stick says that it is full, that is no error, and what is said went is there.
func TestExportFullAnywhere(t *testing.T) {
	a, items := cartState(t, 4, 100_000)
	each := int64(len(items[0].Chunks[0])+len(items[0].Chunks[1])) - 2*wire.Overhead
	for n := 1; ; n++ {
		stick := t.TempDir()
		f := &failing{left: n, err: unix.ENOSPC}
		out, err := Export{State: filepath.Dir(a.Dir), To: stick, Disk: kit.Disk{Watch: f}}.Run(t.Context())
		if err != nil {
			t.Fatalf("operation %d: %v", n, err)
		}
		if f.left > 0 {
			if n < 20 || out.Full || out.Items != 4 {
				t.Fatalf("only %d operations: %+v", n, out)
			}
			return
		}
		if !out.Full || out.Items+out.Left != 4 || out.Bytes != int64(out.Items)*each {
			t.Fatalf("operation %d: %+v", n, out)
		}
		if perr := out.Print(&bytes.Buffer{}); !errors.Is(perr, ErrSome) {
			t.Fatalf("operation %d: %v", n, perr)
		}
		var got []uint64
		if books, damage, err := readStick(stick, cartExt, cutExt); err == nil && len(books) == 1 {
			got = numbers(books[0])
			if len(damage) > 0 {
				t.Fatalf("operation %d: %v", n, damage)
			}
		}
		if len(got) < out.Items {
			t.Fatalf("operation %d: %+v, and there are %v", n, out, got)
		}
	}
}

// TestPipesOnTheStick: what is no file is passed over by all who read a stick. (With both ends of a pipe open here, whoever opened
// it would get an error where otherwise it would wait for ever.)
func TestPipesOnTheStick(t *testing.T) {
	a, items := cartState(t, 2, 100)
	stick, state := t.TempDir(), filepath.Dir(a.Dir)
	dir := filepath.Join(stick, Folder)
	check(t, os.Mkdir(dir, 0o700))
	for _, name := range []string{"-0001.tcc", "-0003.tcc.part", "-0009.tcc", ".tcr"} {
		path := filepath.Join(dir, NameOf(a.Book)+name)
		check(t, unix.Mkfifo(path, 0o600))
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		check(t, err)
		defer f.Close()
	}
	check(t, os.Symlink("/dev/zero", filepath.Join(dir, "link.tcc")))
	for _, want := range []int{2, 0} {
		if out, err := (Export{State: state, To: stick}).Run(t.Context()); err != nil || out.Items != want {
			t.Fatalf("%+v %v", out, err)
		}
	}
	if got := numbers(stickOf(t, stick)); len(got) != 2 {
		t.Errorf("%v", got)
	}
	mine := func(ledger.Book) bool { return true }
	if n, _, err := Fetch(kit.Disk{}, stick, state, mine); n != 0 || err == nil || !strings.Contains(err.Error(), "no receipts for this cart") {
		t.Errorf("%d %v", n, err)
	}
	check(t, WriteReceipts(kit.Disk{}, stick, a.Book, a.Signed, nil, []wire.Receipt{a.Sign(items[0].Manifest.Entry, wire.Received)}))
	if n, damage, err := Fetch(kit.Disk{}, stick, state, mine); n != 1 || len(damage) > 0 || err != nil {
		t.Errorf("%d %v %v", n, damage, err)
	}
}
