package outbox

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telecart/device/kit"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

// BenchmarkScale opens an outbox with 100,000 items of 4 KiB waiting.
//
//	start_ms_100k   from Open to the first item saved, while the old segments are being checked
//	loaded_ms_100k  until all were checked, each by a process of its own
//	mem_mb_100k     by how much RssAnon has grown then, 2^20 bytes
func BenchmarkScale(b *testing.B) {
	const items, writers = 100_000, 64
	for range b.N {
		dir := filepath.Join(diskDir(b), "outbox")
		opt, key := benchOptions(b, dir)
		box, err := Open(context.Background(), opt)
		if err != nil {
			b.Fatal(err)
		}
		body := make([]byte, benchBody)
		together(writers, items/writers*writers+writers, func() {
			if _, err := box.Put(context.Background(), key, 1, wire.Routine, body); err != nil {
				b.Error(err)
			}
		})
		if err := box.Close(); err != nil {
			b.Fatal(err)
		}
		exe, err := os.Executable()
		if err != nil {
			b.Fatal(err)
		}
		out, err := exec.Command(exe, openCommand, dir).Output() // a process that has nothing else in memory
		if err != nil {
			b.Fatal(err)
		}
		var got opened
		if err := json.Unmarshal(out, &got); err != nil {
			b.Fatal(err)
		}
		if got.Held <= items {
			b.Errorf("%d held", got.Held)
		}
		b.ReportMetric(got.StartMS, "start_ms_100k")
		b.ReportMetric(got.LoadedMS, "loaded_ms_100k")
		b.ReportMetric(got.MemMB, "mem_mb_100k")
	}
}

// opened is what openMain measured.
type opened struct {
	Held                     int
	StartMS, LoadedMS, MemMB float64
}

const openCommand = "open-outbox"

// openMain opens an outbox in a process of its own, and prints what it saw.
func openMain(dir string) error {
	opt, key, err := realOptions(dir)
	if err != nil {
		return err
	}
	before, err := rssAnon()
	if err != nil {
		return err
	}
	var got opened
	t := time.Now()
	box, err := Open(context.Background(), opt)
	if err != nil {
		return err
	}
	if _, err := box.Put(context.Background(), key, 1, wire.Urgent, make([]byte, benchBody)); err != nil {
		return err
	}
	got.StartMS = float64(time.Since(t).Microseconds()) / 1e3
	if box.Stats().Loading == 0 {
		return errors.New("every segment was checked by then: nothing is measured")
	}
	for box.Stats().Loading > 0 {
		time.Sleep(time.Millisecond)
	}
	got.LoadedMS, got.Held = float64(time.Since(t).Milliseconds()), box.Stats().Held
	after, err := rssAnon()
	if err != nil {
		return err
	}
	got.MemMB = after - before
	return errors.Join(json.NewEncoder(os.Stdout).Encode(got), box.Close())
}

// rssAnon reads proc_pid_status(5), in units of 2^20 bytes.
func rssAnon() (float64, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, line, _ := strings.Cut(string(b), "RssAnon:")
	var kb float64
	_, err = fmt.Sscan(line, &kb)
	return kb / 1024, err
}

// clinic is what a small clinic captures in a visit, in bytes of a body: readings come batched, a minute in each.
var clinic = [...]struct {
	what  string
	bytes int
	times int
}{
	{"batch of readings", 3 << 10, 15},
	{"waveform", 40 << 10, 6},
	{"note", 900, 3},
	{"still", 900 << 10, 4},
	{"sound", 1300 << 10, 2},
	{"clip", 9 << 20, 1},
}

// BenchmarkSpace has the cart offline for a week: 5 days, 6 visits a day, switched off every evening, half of the time without an
// orderly end. Its clock is a manual one.
//
//	space_ratio   blocks allocated to the book's folder, spares and all, against the bytes of the bodies, at the end of the week
func BenchmarkSpace(b *testing.B) {
	for range b.N {
		dir := filepath.Join(diskDir(b), "outbox")
		opt, key := benchOptions(b, dir)
		clock := kit.NewManual(time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC))
		opt.Clock = clock
		payload, fullest := 0, 0.0
		for day := range 5 {
			dead := newFaults()
			opt.Disk = kit.Disk{Watch: dead}
			box, err := Open(context.Background(), opt)
			if err != nil {
				b.Fatal(err)
			}
			for range 6 {
				payload += visit(b, box, key, clock)
			}
			for box.Stats().Loading > 0 {
				time.Sleep(time.Millisecond)
			}
			dead.dead.Store(day%2 == 1)
			box.Close()
			fullest = float64(allocated(b, dir)) / float64(payload)
			clock.Advance(14 * time.Hour)
		}
		b.ReportMetric(fullest, "space_ratio")
		b.ReportMetric(float64(payload)/(1<<20), "space_payload_mb")
	}
}

func visit(b *testing.B, box *Outbox, key *seal.Key, clock *kit.Manual) (bytes int) {
	var wg sync.WaitGroup
	for _, c := range clinic {
		body := make([]byte, c.bytes)
		rand.Read(body)
		for range c.times {
			wg.Go(func() {
				if _, err := box.Put(context.Background(), key, 1, wire.Routine, body); err != nil {
					b.Error(err)
				}
			})
			bytes += c.bytes
		}
		wg.Wait()
		clock.Advance(10 * time.Minute)
	}
	return bytes
}

func allocated(b *testing.B, dir string) (bytes int64) {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			return err
		}
		bytes += st.Blocks * 512
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return bytes
}

// What the checking process prints is what it found.
func TestCheckLines(t *testing.T) {
	r := newRig(t)
	r.open()
	for range 5 {
		r.put("a")
	}
	r.open()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r.check = ExecChecker(exe)
	want, err := Check(segmentPath(r.dir, 1))
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.check(context.Background(), segmentPath(r.dir, 1))
	got.sort()
	if err != nil || got.Size != want.Size || !slices.Equal(got.Entries, want.Entries) || !slices.Equal(got.Items, want.Items) || len(got.Items) != 5 {
		t.Fatal(got, err)
	}
	if err := os.WriteFile(segmentPath(r.dir, 1), make([]byte, 3*pageSize), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.check(context.Background(), segmentPath(r.dir, 1)); !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
	if _, err := ExecChecker("/nowhere")(context.Background(), segmentPath(r.dir, 1)); !errors.Is(err, errUnchecked) {
		t.Fatal(err)
	}
}
