package outbox

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
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
	benchRounds = 25
	benchPuts   = 100 // per round and contestant; more than one segment over the whole run
)

// BenchmarkOutbox puts 4 KiB items by one writer, durable one by one. The peers get the same disk in the same run, in rounds
// that take turns, because a disk's speed drifts: figures are medians over the rounds, ratios those of each round.
//
//	outbox_puts_w1 ...   durable puts (writes) a second, of each
//	outbox_vs_bbolt_w1   against bbolt with its default options: one transaction for each 4 KiB value, a growing file, nothing
//	                     sealed and no ledger
//	outbox_vs_disk_w1    against appending 4 KiB and fdatasync
//
// A fresh segment's blocks, written beforehand, are the outbox's cost: a round ends when the spare is there.
func BenchmarkOutbox(b *testing.B) {
	for range b.N {
		dir := diskDir(b)
		contestants := []struct {
			name  string
			round func() time.Duration
		}{
			{"outbox_puts_w1", benchOutbox(b, dir)},
			{"bbolt_puts_w1", benchBolt(b, dir)},
			{"disk_appends_w1", benchAppend(b, dir)},
			{"disk_overwrites_w1", benchOverwrite(b, dir)},
		}
		rate := make([][]float64, len(contestants))
		for r := range benchRounds {
			for i := range contestants {
				c := (i + r) % len(contestants)
				rate[c] = append(rate[c], benchPuts/contestants[c].round().Seconds())
			}
		}
		for i, c := range contestants {
			b.ReportMetric(median(rate[i]), c.name)
		}
		b.ReportMetric(median(ratios(rate[0], rate[1])), "outbox_vs_bbolt_w1")
		b.ReportMetric(median(ratios(rate[0], rate[2])), "outbox_vs_disk_w1")
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

func benchOutbox(b *testing.B, dir string) func() time.Duration {
	dir = filepath.Join(dir, "outbox")
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	_, public, err := seal.NewRecordKey(1, false, 0x20)
	if err != nil {
		b.Fatal(err)
	}
	run := ledger.NewID()
	s, err := seal.NewSealer(book, run, public)
	if err != nil {
		b.Fatal(err)
	}
	key, err := s.NewKey(ledger.NewID())
	if err != nil {
		b.Fatal(err)
	}
	box, err := Open(context.Background(), Options{Dir: dir, Book: book, Run: run, Signer: signer, Clock: kit.System{}, Grace: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := box.Close(); err != nil {
			b.Error(err)
		}
	})
	body := make([]byte, benchBody)
	spare := func() {
		for {
			if _, err := os.Stat(filepath.Join(dir, spareName)); err == nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
	spare()
	return func() time.Duration {
		t := time.Now()
		for range benchPuts {
			if _, err := box.Put(context.Background(), key, 1, wire.Routine, body); err != nil {
				b.Fatal(err)
			}
		}
		spare()
		return time.Since(t)
	}
}

func benchBolt(b *testing.B, dir string) func() time.Duration {
	db, err := bbolt.Open(filepath.Join(dir, "plain.db"), 0o600, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	if err := db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket(bucket); return err }); err != nil {
		b.Fatal(err)
	}
	n, value := uint64(0), make([]byte, benchBody)
	return func() time.Duration {
		t := time.Now()
		for range benchPuts {
			n++
			err := db.Update(func(tx *bbolt.Tx) error {
				return tx.Bucket(bucket).Put(binary.BigEndian.AppendUint64(nil, n), value)
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		return time.Since(t)
	}
}

func benchAppend(b *testing.B, dir string) func() time.Duration {
	return benchFile(b, filepath.Join(dir, "appended"), 0)
}

// benchOverwrite is the least that a durable write can cost: blocks that were written before, so that no journal is involved.
func benchOverwrite(b *testing.B, dir string) func() time.Duration {
	return benchFile(b, filepath.Join(dir, "overwritten"), benchRounds*benchPuts*benchBody)
}

// benchFile writes one block after the other into a file, of which the given number of bytes were written beforehand.
func benchFile(b *testing.B, path string, before int) func() time.Duration {
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
		t := time.Now()
		for range benchPuts {
			if _, err := f.WriteAt(block, at); err != nil {
				b.Fatal(err)
			}
			at += benchBody
			if err := unix.Fdatasync(int(f.Fd())); err != nil {
				b.Fatal(err)
			}
		}
		return time.Since(t)
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
