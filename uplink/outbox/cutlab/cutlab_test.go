package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"telecart/capture/ledger"
	"telecart/uplink/outbox"
)

// realLog was recorded by the kernel: 512 bytes written, a mark, 4096 bytes written and flushed, a mark, 4096 bytes discarded.
func realLog(t testing.TB) []byte {
	b, err := os.ReadFile("testdata/writes.log")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseLog(t *testing.T) {
	log, err := parseLog(realLog(t))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	m := &medium{disk: make([]byte, 1<<20)}
	for _, e := range log {
		got = append(got, fmt.Sprintf("%x %d+%d %s", e.flags&^flagMeta, e.off, e.length, e.mark))
		if err := m.take(e); err != nil {
			t.Fatal(err)
		}
	}
	t.Log(got)
	for _, want := range []string{"8 0+0 start", "8 0+0 put-1", "8 0+0 ack-1", "0 12288+4096 ", "0 0+512 ", "4 8192+4096 ", "8 0+0 " + markEnd} {
		if !slices.Contains(got, want) {
			t.Errorf("no entry %q", want)
		}
	}
	if err := m.settle(); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 1<<20)
	copy(want, "hello")
	copy(want[12288:], bytes.Repeat([]byte("x"), 4096))
	if !bytes.Equal(m.disk, want) {
		t.Error("the log does not lead to what was written")
	}
	if err := flushed(log); err != nil {
		t.Error(err)
	}
}

func FuzzParseLog(f *testing.F) {
	f.Add(realLog(f))
	f.Add(realLog(f)[:1500])
	f.Fuzz(func(t *testing.T, b []byte) {
		log, err := parseLog(b)
		if err != nil {
			if !errors.Is(err, errLog) {
				t.Fatal(err)
			}
			return
		}
		img := make([]byte, 1<<16)
		for _, e := range log {
			if len(e.data) > 0 && int64(len(e.data)) != e.length {
				t.Fatalf("%d bytes of %d", len(e.data), e.length)
			}
			if err := e.apply(img, nil); err != nil && !errors.Is(err, errLog) {
				t.Fatal(err)
			}
		}
	})
}

func write(off int64, b byte, flags logFlags) logEntry {
	data := bytes.Repeat([]byte{b}, 4096)
	return logEntry{flags: flags, off: off, length: int64(len(data)), data: data}
}

// A flush makes durable what was complete before it, FUA itself alone, and everything else may be lost, kept or torn.
func TestMediumCuts(t *testing.T) {
	m := &medium{disk: make([]byte, 64<<10), rnd: rand.New(rand.NewPCG(1, 1)), tear: 512}
	take := func(e logEntry) {
		if err := m.take(e); err != nil {
			t.Fatal(err)
		}
	}
	take(write(8192, 'a', 0))
	take(logEntry{flags: flagFlush})
	take(write(16384, 'b', 0))
	take(write(24576, 'c', flagFUA))
	seen := map[string]bool{}
	for _, c := range m.cuts(logEntry{flags: flagFlush}, 400) {
		img := slices.Clone(m.disk)
		if err := c.keep(img); err != nil {
			t.Fatal(err)
		}
		if img[8192] != 'a' || img[24576] != 'c' {
			t.Fatal("what was flushed is not there")
		}
		b := img[16384 : 16384+4096]
		switch n := bytes.Count(b, []byte("b")); {
		case n == 0:
			seen["lost"] = true
		case n == len(b):
			seen["kept"] = true
		case n%512 == 0:
			seen["torn"] = true
		default:
			t.Fatalf("a sector was torn: %d bytes", n)
		}
	}
	if !maps.Equal(seen, map[string]bool{"lost": true, "kept": true, "torn": true}) {
		t.Errorf("only %v", seen)
	}
	if n := len(m.cuts(write(0, 'd', flagFUA), 2)); n != 3 {
		t.Errorf("%d states while a FUA write is under way", n)
	}
	take(logEntry{flags: flagFlush})
	if n := len(m.cuts(logEntry{flags: flagFlush}, 2)); n != 1 || m.disk[16384] != 'b' {
		t.Errorf("%d states of an empty cache", n)
	}
	if m.grain(write(0, 'x', 0)) != fsBlock || m.grain(write(8192, 'x', flagMeta)) != fsBlock {
		t.Error("the file system's own blocks tear")
	}
}

func TestPointsAndSample(t *testing.T) {
	log := []logEntry{{flags: flagFlush}, {flags: flagMark, mark: markStart}, write(8192, 'a', 0), {flags: flagFlush}, {flags: flagFlush}}
	if n := points(log, 2); n != 3+1+1 {
		t.Fatalf("%d states", n)
	}
	for want, of := range map[int]int{0: 7, 3: 7, 9: 7} {
		s, n := newSample(want, of, 1), 0
		for range of {
			if s.pick() {
				n++
			}
		}
		if exp := min(of, map[bool]int{true: of, false: want}[want == 0]); n != exp {
			t.Errorf("%d of %d wanted: %d", want, of, n)
		}
	}
}

func TestFlushed(t *testing.T) {
	put, ack, flush := logEntry{flags: flagMark, mark: "put-1"}, logEntry{flags: flagMark, mark: "ack-1"}, logEntry{flags: flagFlush}
	for name, c := range map[string]struct {
		log  []logEntry
		want string
	}{
		"proof":          {[]logEntry{flush, put, flush, ack}, ""},
		"no flush since": {[]logEntry{flush, put, ack, flush}, "without a flush"},
		"no promise":     {[]logEntry{flush, put}, "nothing was promised"},
	} {
		err := flushed(c.log)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// scene is a sound outbox: a run's entry, three items, and the entry of the run that looks.
func scene() (oracle, instant, held) {
	chain := ledger.NewChain(book(), ledger.ID{7}, ledger.ID{8})
	enter := func(k ledger.Kind, b byte) ledger.Entry {
		e := chain.Entry(k, ledger.Hash{b})
		chain = chain.Advance(e)
		return e
	}
	h := held{plain: []ledger.Entry{enter(ledger.Run, 0)}}
	var ps []promise
	at := newInstant()
	for n := 1; n <= 3; n++ {
		p := promise{n, enter(ledger.Item, byte(n))}
		ps = append(ps, p)
		h.items = append(h.items, heldItem{entry: p.Entry})
		at.begun[n], at.saved[n] = true, n < 3 // the last is under way
	}
	delete(at.saved, 3)
	h.plain = append(h.plain, enter(ledger.Run, 0))
	h.head = ledger.Head{Incarnation: chain.Incarnation, Number: chain.Next - 1, Hash: chain.Head}
	return newOracle(ps), at, h
}

func TestJudge(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(o *oracle, at *instant, h *held)
		want  string // "" for nothing wrong
		lost  int
	}{
		"sound":        {func(*oracle, *instant, *held) {}, "", 0},
		"lost":         {func(_ *oracle, _ *instant, h *held) { h.items = h.items[1:] }, "LOST: item 1", 1},
		"erased":       {func(_ *oracle, at *instant, h *held) { h.items = h.items[1:]; at.erasable[1] = true }, "", 0},
		"unreadable":   {func(_ *oracle, _ *instant, h *held) { h.items[1].bad = errors.New("torn") }, "LOST: item 2", 1},
		"half a put":   {func(_ *oracle, _ *instant, h *held) { h.items[2].bad = errors.New("torn") }, "DAMAGED", 0},
		"future":       {func(_ *oracle, at *instant, _ *held) { delete(at.begun, 3) }, "FUTURE: item 3", 0},
		"strange":      {func(o *oracle, _ *instant, _ *held) { delete(o.items, ledger.Hash{3}) }, "STRANGE", 0},
		"doubled":      {func(_ *oracle, _ *instant, h *held) { h.items = append(h.items, h.items[0]) }, "DOUBLED", 0},
		"moved":        {func(_ *oracle, _ *instant, h *held) { h.items[0].entry.Run = ledger.ID{9} }, "MOVED", 0},
		"no receipt":   {func(_ *oracle, at *instant, _ *held) { at.receipted[1] = true }, "UNRECEIPTED", 0},
		"quarantine":   {func(_ *oracle, _ *instant, h *held) { h.stats.Quarantine = 1 }, "DAMAGE", 0},
		"broken chain": {func(_ *oracle, _ *instant, h *held) { h.plain[0].Body = ledger.Hash{9} }, "CHAIN", 0},
		"gap":          {func(_ *oracle, _ *instant, h *held) { h.plain = h.plain[1:] }, "CHAIN", 0},
		"fork":         {func(_ *oracle, _ *instant, h *held) { h.plain[1].Incarnation = ledger.ID{1} }, "FORK", 0},
		"head":         {func(_ *oracle, _ *instant, h *held) { h.head.Number-- }, "HEAD", 0},
		"opens wrong":  {func(_ *oracle, _ *instant, h *held) { h.opened = &openedItem{h.items[0].entry, 2, nil} }, "UNOPENED", 0},
		"condemned":    {func(_ *oracle, at *instant, h *held) { h.stats = outbox.Stats{Condemned: 1}; at.troubled = true }, "", 0},
	} {
		o, at, h := scene()
		c.spoil(&o, &at, &h)
		v := judge(o, at, h)
		if (len(v.Wrong) == 0) != (c.want == "") || !strings.Contains(v.text(), c.want) || v.Lost != c.lost {
			t.Errorf("%s: %d lost, %q", name, v.Lost, v.Wrong)
		}
	}
}

func TestInstant(t *testing.T) {
	at, err := instantAfter([]string{markStart, "put-1", "ack-1", "put-2", "rcpt-1", markRetire, "ack-2", "rcpt-2", markEnd})
	if err != nil || !at.erasable[1] || at.erasable[2] || !at.saved[2] || !at.receipted[2] {
		t.Fatalf("%+v, %v", at, err)
	}
	for _, bad := range []string{"ack", "ack-x", "what-1"} {
		if _, err := instantAfter([]string{bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestBodies(t *testing.T) {
	long := 0
	for n := range 100 {
		b := body(n)
		if !bytes.Equal(b, body(n)) {
			t.Fatal("an item is not what it was")
		}
		if len(b) > 1<<20 {
			long++
		}
	}
	if long < 2 || bytes.Equal(body(1)[8:], body(2)[8:]) {
		t.Errorf("%d long items", long)
	}
}

func TestFlags(t *testing.T) {
	if _, err := cutFlags([]string{"-expect", "luck"}); err == nil {
		t.Error("an unknown expectation was taken")
	}
	c, err := cutFlags([]string{"-fs", "f2fs", "-max", "7", "-expect", "lost"})
	if err != nil || c.fs != "f2fs" || c.max != 7 || c.expect != expectLost {
		t.Errorf("%+v, %v", c, err)
	}
}
