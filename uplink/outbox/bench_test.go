package outbox

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/seal"
	"telecart/uplink/wire"
)

const (
	benchBody   = 4 << 10 // a note or a reading; the peers write as many bytes, in the clear
	benchRounds = 15
)

// contestant does a number of puts, and says how long they took.
type contestant struct {
	name  string
	round func() time.Duration
}

// race has them take turns, because a disk's speed drifts: the rates of each, round by round.
func race(puts int, of ...contestant) [][]float64 {
	rate := make([][]float64, len(of))
	for r := range benchRounds {
		for i := range of {
			c := (i + r) % len(of)
			rate[c] = append(rate[c], float64(puts)/of[c].round().Seconds())
		}
	}
	return rate
}

// BenchmarkOutbox puts 4 KiB items by 1, 8 and 64 writers, each waiting for its item to be durable before the next. The peers
// get the same disk in the same run: figures are medians over the rounds, ratios those of each round.
//
//	outbox_puts_w1 ...      durable puts (writes) a second, of each
//	outbox_vs_bbolt_wN      against bbolt with its default options: 4 KiB values, a growing file, nothing sealed, no ledger. One
//	                        writer: one transaction for each. More: the better, in each round, of as many goroutines in DB.Batch
//	                        with groups as large as there are writers, and of one goroutine with groups of that size
//	outbox_vs_single_tx_w8  against bbolt, 8 goroutines, one transaction for each value
//	outbox_vs_disk_w1       against appending 4 KiB and fdatasync
//
// Files written beforehand are the outbox's cost: a round ends when the spares are there.
func BenchmarkOutbox(b *testing.B) {
	for range b.N {
		dir := diskDir(b)
		box, key := benchOpen(b, filepath.Join(dir, "outbox"))
		const w1 = 100
		rate := race(w1, contestant{"outbox_puts_w1", benchPuts(b, box, key, 1, w1)}, contestant{"bbolt_puts_w1", benchBolt(b, dir, 1, w1)},
			contestant{"disk_appends_w1", benchFile(b, filepath.Join(dir, "appended"), 0, w1)},
			contestant{"disk_overwrites_w1", benchFile(b, filepath.Join(dir, "overwritten"), benchRounds*w1*benchBody, w1)})
		for i, name := range []string{"outbox_puts_w1", "bbolt_puts_w1", "disk_appends_w1", "disk_overwrites_w1"} {
			b.ReportMetric(median(rate[i]), name)
		}
		b.ReportMetric(median(ratios(rate[0], rate[1])), "outbox_vs_bbolt_w1")
		b.ReportMetric(median(ratios(rate[0], rate[2])), "outbox_vs_disk_w1")
		for _, writers := range []int{8, 64} {
			puts := 40 * writers
			of := []contestant{{"outbox", benchPuts(b, box, key, writers, puts)}, {"batch", benchBatch(b, dir, writers, puts)},
				{"groups", benchBolt(b, dir, writers, puts)}}
			if writers == 8 {
				of = append(of, contestant{"single", benchSingle(b, dir, writers, puts)})
			}
			rate := race(puts, of...)
			best := make([]float64, benchRounds)
			for i := range best {
				best[i] = max(rate[1][i], rate[2][i])
			}
			b.ReportMetric(median(rate[0]), fmt.Sprintf("outbox_puts_w%d", writers))
			b.ReportMetric(median(best), fmt.Sprintf("bbolt_puts_w%d", writers))
			b.ReportMetric(median(ratios(rate[0], best)), fmt.Sprintf("outbox_vs_bbolt_w%d", writers))
			if writers == 8 {
				b.ReportMetric(median(ratios(rate[0], rate[3])), "outbox_vs_single_tx_w8")
			}
		}
	}
}

// diskDir is a folder on the disk that the repository lies on; a temporary folder may be memory, where fdatasync is free.
func diskDir(b *testing.B) string {
	b.Helper()
	out, err := filepath.Abs("../../out")
	if err != nil {
		b.Fatal(err)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		b.Fatal(err)
	}
	dir, err := os.MkdirTemp(out, "bench-outbox-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		b.Fatal(err)
	}
	if fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC {
		b.Fatalf("%s lies in memory: check the repository out on a disk to measure one", dir)
	}
	return dir
}

// benchOptions are those of a real cart, with a key to seal under.
func benchOptions(b *testing.B, dir string) (Options, *seal.Key) {
	b.Helper()
	opt, key, err := realOptions(dir)
	if err != nil {
		b.Fatal(err)
	}
	return opt, key
}

func realOptions(dir string) (Options, *seal.Key, error) {
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Options{}, nil, err
	}
	_, public, err := seal.NewRecordKey(1, false, 0x20)
	if err != nil {
		return Options{}, nil, err
	}
	run := ledger.NewID()
	s, err := seal.NewSealer(book, run, public)
	if err != nil {
		return Options{}, nil, err
	}
	key, err := s.NewKey(ledger.NewID())
	if err != nil {
		return Options{}, nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return Options{}, nil, err
	}
	return Options{Dir: dir, Book: book, Run: run, Signer: signer, Clock: kit.System{}, Grace: time.Hour, Check: ExecChecker(exe)}, key, nil
}

func benchOpen(b *testing.B, dir string) (*Outbox, *seal.Key) {
	b.Helper()
	opt, key := benchOptions(b, dir)
	box, err := Open(context.Background(), opt)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := box.Close(); err != nil {
			b.Error(err)
		}
	})
	return box, key
}

// spares waits until what was used up is made again.
func spares(dir string) {
	for _, name := range []string{spareLog, spareName} {
		for {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				break
			}
			time.Sleep(100 * time.Microsecond)
		}
	}
}

// together has n goroutines do so many things between them.
func together(n, things int, do func()) time.Duration {
	t := time.Now()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for range things / n {
				do()
			}
		})
	}
	wg.Wait()
	return time.Since(t)
}

func benchPuts(b *testing.B, box *Outbox, key *seal.Key, writers, puts int) func() time.Duration {
	body := make([]byte, benchBody)
	spares(box.opt.Dir)
	return func() time.Duration {
		t := time.Now()
		together(writers, puts, func() {
			if _, err := box.Put(context.Background(), key, 1, wire.Routine, body); err != nil {
				b.Error(err)
			}
		})
		spares(box.opt.Dir)
		return time.Since(t)
	}
}

// bolts is a bbolt file that values are put into, in order.
type bolts struct {
	*bbolt.DB
	mu    sync.Mutex
	n     uint64
	value []byte
}

func openBolts(b *testing.B, dir, name string) *bolts {
	b.Helper()
	db, err := bbolt.Open(filepath.Join(dir, name), 0o600, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	if err := db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket(bucket); return err }); err != nil {
		b.Fatal(err)
	}
	return &bolts{DB: db, value: make([]byte, benchBody)}
}

func (d *bolts) put(tx *bbolt.Tx) error {
	d.mu.Lock()
	d.n++
	k := binary.BigEndian.AppendUint64(nil, d.n)
	d.mu.Unlock()
	return tx.Bucket(bucket).Put(k, d.value)
}

// benchBolt commits groups from one goroutine.
func benchBolt(b *testing.B, dir string, group, puts int) func() time.Duration {
	db := openBolts(b, dir, fmt.Sprintf("groups%d.db", group))
	return func() time.Duration {
		return together(1, puts/group, func() {
			err := db.Update(func(tx *bbolt.Tx) error {
				for range group {
					if err := db.put(tx); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Error(err)
			}
		})
	}
}

// benchBatch lets bbolt group what many goroutines put.
func benchBatch(b *testing.B, dir string, writers, puts int) func() time.Duration {
	db := openBolts(b, dir, fmt.Sprintf("batch%d.db", writers))
	db.MaxBatchSize = writers // else it waits its whole delay for more than there are
	return func() time.Duration {
		return together(writers, puts, func() {
			if err := db.Batch(db.put); err != nil {
				b.Error(err)
			}
		})
	}
}

func benchSingle(b *testing.B, dir string, writers, puts int) func() time.Duration {
	db := openBolts(b, dir, "single.db")
	return func() time.Duration {
		return together(writers, puts, func() {
			if err := db.Update(db.put); err != nil {
				b.Error(err)
			}
		})
	}
}

// benchFile writes one block after the other into a file, of which the given number of bytes were written beforehand: blocks
// that were written before need no journal, and are the least that a durable write can cost.
func benchFile(b *testing.B, path string, before, puts int) func() time.Duration {
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	if _, err := f.Write(make([]byte, before)); err != nil {
		b.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	at, block := int64(0), make([]byte, benchBody)
	return func() time.Duration {
		return together(1, puts, func() {
			if _, err := f.WriteAt(block, at); err != nil {
				b.Error(err)
			}
			at += benchBody
			if err := unix.Fdatasync(int(f.Fd())); err != nil {
				b.Error(err)
			}
		})
	}
}

func ratios(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] / b[i]
	}
	return out
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
