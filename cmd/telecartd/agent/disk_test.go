package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/outbox"
)

// smallDisk is a disk of so many bytes that holds the reserve, and what others put on it. It is a kit.Watcher.
type smallDisk struct {
	mu     sync.Mutex
	total  int64
	others int64
	sizes  map[string]int64
	before func(kit.Op) // nil, or what happens before an operation
}

func (d *smallDisk) space(string) (space, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return space{d.free(), d.total}, nil
}

func (d *smallDisk) free() int64 {
	left := d.total - d.others
	for _, n := range d.sizes {
		left -= n
	}
	return max(0, left)
}

func (d *smallDisk) Do(op kit.Op, do func() error) error {
	if d.before != nil {
		d.before(op)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	size := d.sizes[op.Path]
	switch op.Kind {
	case kit.OpWrite:
		size = max(size, op.Off+int64(len(op.Data)))
	case kit.OpTruncate:
		size = op.Off
	case kit.OpRemove:
		size = 0
	}
	if size-d.sizes[op.Path] > d.free() {
		return syscall.ENOSPC
	}
	d.sizes[op.Path] = size
	return do()
}

func (d *smallDisk) fillWith(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.others = n
}

func newSmall(t *testing.T, total int64) (*smallDisk, *reserve) {
	t.Helper()
	d := &smallDisk{total: total, sizes: map[string]int64{}}
	r := newReserve(t.TempDir())
	r.disk, r.ask = kit.Disk{Watch: d}, d.space
	return d, r
}

// The reserve is written when there is room, isn't counted as used, is given back piece by piece when something fills the
// disk, and comes again after that.
func TestReserve(t *testing.T) {
	const mib = 1 << 20
	d, r := newSmall(t, 1024*mib)
	size := func() int64 {
		st, err := os.Stat(r.path())
		if errors.Is(err, os.ErrNotExist) {
			return 0
		}
		if err != nil {
			t.Fatal(err)
		}
		if st.Sys().(*syscall.Stat_t).Blocks*512 < st.Size() {
			t.Fatal("a reserve with holes holds nothing")
		}
		return st.Size()
	}
	for _, step := range []struct {
		others int64 // MiB that others take
		give   bool  // before a save; else the regular look
		want   int64 // MiB of reserve after it
		used   int
	}{
		{900, false, 0, 88}, // no room for one: it would be the one that fills the disk
		{500, false, 128, 49},
		{830, true, 128, 82}, // 66 MiB are free
		{890, true, 96, 87},  // 6 are: 16 come back, and with 22 free 16 more
		{896, true, 96, 88},
		{1000, true, 0, 98},
		{1000, false, 0, 98},
		{700, false, 0, 69}, // 324 free, but not so that a fifth of the disk stays free beside it
		{600, false, 128, 59},
	} {
		d.fillWith(step.others * mib)
		var err error
		if step.give {
			_, err = r.give(roomLow)
		} else {
			err = r.fill()
		}
		if err != nil {
			t.Fatal(err)
		}
		if size() != step.want*mib || r.used(r.dir) != step.used {
			t.Errorf("%d MiB by others: reserve %d MiB, %d %% used; want %d and %d", step.others, size()/mib, r.used(r.dir), step.want, step.used)
		}
	}
	// After a restart what is there counts.
	again := newReserve(r.dir)
	if again.held != r.held || r.held == 0 {
		t.Errorf("%d held, then %d", r.held, again.held)
	}
}

// A slow card holds up neither a save nor a screen while the reserve is written, and what a save takes back meanwhile stays
// taken back.
func TestSlowReserve(t *testing.T) {
	const mib = 1 << 20
	d, r := newSmall(t, 1024*mib)
	syncs := 0
	d.before = func(op kit.Op) {
		if op.Kind != kit.OpSync {
			return
		}
		if syncs++; syncs != 3 { // two pieces are durable, the third is on its way
			return
		}
		d.fillWith(960 * mib) // 16 MiB are left beside the three
		done := make(chan error, 1)
		go func() {
			r.used(r.dir)
			_, err := r.give(roomLow)
			done <- err
		}()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(20 * time.Second):
			t.Error("a save waits for the card to sync the reserve")
		}
	}
	if err := r.fill(); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(r.path())
	if err != nil || st.Size() != 16*mib || r.held != 16*mib || syncs != 3 {
		t.Fatalf("%d bytes on the disk, %d held, %d syncs: want one piece, as the second was given back: %v", st.Size(), r.held, syncs, err)
	}
	d.before = nil
	d.fillWith(500 * mib)
	if err := r.fill(); err != nil || r.held != 128*mib {
		t.Errorf("%d held: %v", r.held, err)
	}
	if st, err = os.Stat(r.path()); err != nil || st.Size() != 128*mib || st.Sys().(*syscall.Stat_t).Blocks*512 < st.Size() {
		t.Errorf("a reserve with holes holds nothing: %v", err)
	}
}

// Another program filled the disk, and the agent starts again: the reserve goes to the books.
func TestStartOnFullDisk(t *testing.T) {
	r := newRig(t).enrolled()
	r.full(1024 << 20)
	a := r.start()
	if len(a.boxes()) != 2 || a.spare.holds() != 32<<20 {
		t.Fatalf("%d books, %d bytes of reserve", len(a.boxes()), a.spare.holds())
	}
	r.do("open", `{}`)
	r.do("note", `{"text":"on a full disk"}`)
	r.do("close", `{}`)
	r.do("open", `{"practice":true}`)
	r.do("note", `{"text":"in practice"}`)
}

// With room for one book alone it is care; practice is refused in words, and comes back when there is room.
func TestCareAlone(t *testing.T) {
	r := newRig(t).enrolled()
	r.full(384 << 20)
	if err := r.make().keep(capture.Kept{ID: ledger.NewID(), Practice: true}); err != nil { // open when the power went
		t.Fatal(err)
	}
	a := r.start()
	if len(a.boxes()) != 1 || a.Ready() != nil || a.state().Practice || a.state().Encounter != nil {
		t.Fatalf("%d books, %v, %+v", len(a.boxes()), a.Ready(), a.state().Encounter)
	}
	r.refused("open", `{"practice":true}`, "disk-full")
	r.do("open", `{}`)
	r.do("note", `{"text":"care goes on"}`)
	a.reopenPractice(t.Context())
	if len(a.boxes()) != 1 {
		t.Error("a book out of nothing")
	}
	r.small.fillWith(0)
	a.reopenPractice(t.Context())
	r.do("close", `{}`)
	r.do("open", `{"practice":true}`)
	r.do("note", `{"text":"in practice"}`)
	r.do("close", `{}`)
	if len(a.boxes()) != 2 || a.boxes()[0].Book().Practice || a.boxes()[1].Stats().Held == 0 {
		t.Error("practice is not the second book")
	}
}

// full gives the rig a disk of so many bytes, with a whole reserve, and another program's files on all the rest.
func (r *rig) full(total int64) {
	r.t.Helper()
	r.small = &smallDisk{total: total, sizes: map[string]int64{}}
	a := r.make()
	if err := a.spare.fill(); err != nil || a.spare.held != total/8 {
		r.t.Fatalf("%d bytes of reserve: %v", a.spare.held, err)
	}
	r.small.fillWith(total - total/8)
}

func TestDiskNotices(t *testing.T) {
	r := newRig(t).enrolled()
	a := r.make()
	var used int
	a.disk = func(string) int { return used }
	level := 0
	for _, step := range []struct {
		used   int
		notice string // that stands then
		n      int    // and what it says
	}{{79, "", 0}, {80, "disk-filling", 80}, {89, "disk-filling", 80}, {90, "disk-nearly-full", 90}, {95, "disk-nearly-full", 90}, {70, "", 0}, {85, "disk-filling", 85}} {
		used = step.used
		level = a.tellDisk(level)
		switch said := a.notices; {
		case step.notice == "" && len(said) > 0:
			t.Errorf("%d %%: says %v", step.used, said)
		case step.notice != "" && (len(said) != 1 || said[0].Code != step.notice || said[0].With["n"] != fmt.Sprint(step.n)):
			t.Errorf("%d %%: says %v, want %s of %d", step.used, said, step.notice, step.n)
		}
	}
}

// An old segment that is bad is set aside and reported, and capture goes on as if nothing were.
func TestBadSegment(t *testing.T) {
	r := newRig(t).enrolled()
	r.start()
	r.do("open", `{}`)
	r.do("note", `{"text":"before"}`)
	r.do("note", `{"text":"and another"}`)
	r.stop()
	r.checker = func(context.Context, string) (outbox.Index, error) { return outbox.Index{}, outbox.ErrDamaged } // bbolt would say so
	a := r.start()
	r.do("note", `{"text":"after"}`)
	s := r.until("the damage", func(s State) bool { return s.Damage != nil && s.Damage.Segments > 0 })
	if p := a.presence(); p.Damage == nil || p.Damage.Segments != s.Damage.Segments {
		t.Errorf("the hub is told %+v", p.Damage)
	}
	a.tellDamage()
	a.tellDamage()
	codes := []string{}
	for _, n := range a.state().Notices {
		codes = append(codes, n.Code)
	}
	if !strings.Contains(fmt.Sprint(codes), "segment-quarantined") && !strings.Contains(fmt.Sprint(codes), "items-damaged") {
		t.Errorf("the nurse is told %v", codes)
	}
	if len(a.Health()) == 0 {
		t.Error("health says nothing")
	}
}
