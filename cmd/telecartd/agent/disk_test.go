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

	"telecart/device/kit"
	"telecart/uplink/outbox"
)

// smallDisk is a disk of so many bytes that holds the reserve, and what others put on it. It is a kit.Watcher.
type smallDisk struct {
	mu     sync.Mutex
	total  int64
	others int64
	sizes  map[string]int64
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
			_, err = r.give()
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

func TestDiskNotices(t *testing.T) {
	r := newRig(t).enrolled()
	a := r.make()
	var used int
	a.disk = func(string) int { return used }
	level := 0
	for _, step := range []struct {
		used   int
		notice string // new at this step
	}{{79, ""}, {80, "disk-filling"}, {89, ""}, {90, "disk-nearly-full"}, {95, ""}, {70, ""}, {85, "disk-filling"}} {
		used = step.used
		before := len(a.notices)
		level = a.tellDisk(level)
		switch fresh := a.notices[before:]; {
		case step.notice == "" && len(fresh) > 0:
			t.Errorf("%d %%: told %v", step.used, fresh)
		case step.notice != "" && (len(fresh) != 1 || fresh[0].Code != step.notice || fresh[0].With["n"] != fmt.Sprint(step.used)):
			t.Errorf("%d %%: told %v, want %s", step.used, fresh, step.notice)
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
