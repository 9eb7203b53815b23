package transcript

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"periph.io/x/conn/v3/i2c"

	"telecart/device/bus/simbus"
)

// story is what the bus below does, as a text.
const story = `48 w 0f r 1117
48 w 010220
48 r 1117
49 w 00 r ???? ! simbus: nobody at 0x49: no such device or address
48 ! chip: two
`

type chip struct{}

func (chip) Tx(_ uint16, w, r []byte) error {
	if len(w)+len(r) == 0 {
		return errors.New("chip:\ntwo\x00 ")
	}
	copy(r, []byte{0x11, 0x17})
	return nil
}

// tell does the story's transactions and returns what it read and what failed.
func tell(b i2c.Bus) (heard []string) {
	for _, t := range []struct {
		addr uint16
		w    []byte
		n    int
	}{{0x48, []byte{0x0F}, 2}, {0x48, []byte{1, 2, 0x20}, 0}, {0x48, nil, 2}, {0x49, []byte{0}, 2}, {0x48, nil, 0}} {
		r := make([]byte, t.n)
		err := b.Tx(t.addr, t.w, r)
		if err != nil {
			heard = append(heard, strings.TrimPrefix(oneLine(err.Error()), "transcript: "))
			continue
		}
		heard = append(heard, fmt.Sprintf("%x", r))
	}
	return heard
}

func TestRecordAndPlay(t *testing.T) {
	sim := &simbus.Bus{}
	sim.Attach(0x48, chip{})
	var text strings.Builder
	rec := Record(sim, &text)
	first := tell(rec)
	if diff := cmp.Diff(story, text.String()); diff != "" {
		t.Fatal(diff)
	}
	all, err := Parse(strings.NewReader("# comment\n\n  " + story))
	if err != nil {
		t.Fatal(err)
	}
	p := Play(all)
	if diff := cmp.Diff(first, tell(p)); diff != "" {
		t.Error(diff)
	}
	if err := errors.Join(p.Left(), rec.Err()); err != nil {
		t.Error(err)
	}
	if err := p.Tx(0x48, nil, nil); !errors.Is(err, ErrOver) {
		t.Errorf("after the end: %v", err)
	}
}

func TestPlayIsExact(t *testing.T) {
	all, err := Parse(strings.NewReader(story))
	if err != nil {
		t.Fatal(err)
	}
	for name, tx := range map[string]func(b i2c.Bus) error{
		"address":      func(b i2c.Bus) error { return b.Tx(0x49, []byte{0x0F}, make([]byte, 2)) },
		"bytes":        func(b i2c.Bus) error { return b.Tx(0x48, []byte{0x0E}, make([]byte, 2)) },
		"longer write": func(b i2c.Bus) error { return b.Tx(0x48, []byte{0x0F, 0}, make([]byte, 2)) },
		"shorter read": func(b i2c.Bus) error { return b.Tx(0x48, []byte{0x0F}, make([]byte, 1)) },
		"order":        func(b i2c.Bus) error { return b.Tx(0x48, []byte{1, 2, 0x20}, nil) },
	} {
		p := Play(all)
		if err := tx(p); !errors.Is(err, ErrDiffers) || !strings.Contains(err.Error(), "48 w 0f r 2 bytes") {
			t.Errorf("%s: %v", name, err)
		}
		if err := p.Tx(0x48, []byte{0x0F}, make([]byte, 2)); !errors.Is(err, ErrDiffers) {
			t.Errorf("%s: it goes on afterwards: %v", name, err)
		}
		if p.Left() == nil {
			t.Errorf("%s: it passes", name)
		}
	}
	if err := Play(all).Left(); err == nil || !strings.Contains(err.Error(), "5 of 5") {
		t.Errorf("nothing played: %v", err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestRecorderSaysWhatItCouldNotWrite(t *testing.T) {
	sim := &simbus.Bus{}
	sim.Attach(0x48, chip{})
	rec := Record(sim, full{})
	if err := rec.Tx(0x48, []byte{0x0F}, make([]byte, 2)); err != nil {
		t.Errorf("the bus suffers: %v", err)
	}
	if err := rec.Err(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, s := range []string{"48 w", "48 w 0", "48 w zz", "148 w 00", "80 w 00", "w 00", "48 r ????", "48 r 1117 ! failed",
		"48 w 00 r 11 12", "48 w 00 x", "48 r 11 w 00", "4", "! x", "48 r ??? ! x"} {
		all, err := Parse(strings.NewReader("48 w 0f r 1117\n" + s))
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: %v, %v", s, all, err)
		}
	}
	if _, err := Parse(strings.NewReader("48 w " + strings.Repeat("00", maxBytes+1))); !errors.Is(err, ErrFormat) {
		t.Errorf("a message that no kernel sends: %v", err)
	}
	if _, err := Parse(io.LimitReader(endless{}, 1<<20)); err == nil {
		t.Error("an endless line was taken")
	}
	_, err := Parse(strings.NewReader(strings.Repeat("48\n", maxLines+1)))
	if err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("too many lines: %v", err)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

// What is parsed can be written and parsed again, is the same, and plays.
func FuzzParse(f *testing.F) {
	f.Add(story)
	f.Add("# comment\n48 w 00 r ???? ! simbus: x ! y\n")
	f.Add("5a w 07 r d23a30")
	f.Add("7f!\xff\u2028")
	f.Add("48 w  r 11")
	f.Fuzz(func(t *testing.T, s string) {
		all, err := Parse(strings.NewReader(s))
		if err != nil {
			if all != nil {
				t.Fatal("refused, and given")
			}
			return
		}
		var again strings.Builder
		size := 0
		for _, x := range all {
			fmt.Fprintln(&again, x)
			size += len(x.W) + len(x.R) + len(x.Err)
		}
		if size > 2*len(s) {
			t.Fatalf("%d bytes became %d", len(s), size)
		}
		twice, err := Parse(strings.NewReader(again.String()))
		if err != nil {
			t.Fatalf("%v\n%s", err, again.String())
		}
		if diff := cmp.Diff(all, twice); diff != "" {
			t.Fatal(diff)
		}
		p := Play(all)
		for _, x := range all {
			if err := p.Tx(x.Addr, x.W, make([]byte, len(x.R))); (err != nil) != (x.Err != "") {
				t.Fatalf("%s: %v", x, err)
			}
		}
		if err := p.Left(); err != nil {
			t.Fatal(err)
		}
	})
}
