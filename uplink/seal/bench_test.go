package seal

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"telecart/uplink/wire"
)

// BenchmarkSeal seals 1 MiB bodies (a still) with keys, commitment and chunk hashes, in rounds that take turns with
// ChaCha20-Poly1305 alone over as many bytes in as many chunks.
//
//	seal_mb_per_s   10^6 bytes of bodies sealed a second, median of the rounds
//	seal_vs_aead    its speed against the cipher alone
func BenchmarkSeal(b *testing.B) {
	const size, rounds, items = 1 << 20, 9, 8
	k, _ := fixture(b)
	body := make([]byte, size)
	aead, err := chacha20poly1305.New(make([]byte, chacha20poly1305.KeySize))
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, wire.ChunkSize, wire.ChunkSize+wire.Overhead)
	n := make([]byte, chacha20poly1305.NonceSize)
	for range b.N {
		var speed, ratio []float64
		for range rounds {
			t := time.Now()
			for range items {
				if _, err := k.Seal(1, wire.Routine, body, func(int, []byte) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
			sealing := time.Since(t)
			t = time.Now()
			for range items * size / wire.ChunkSize {
				aead.Seal(buf[:0], n, buf, nil)
			}
			speed = append(speed, items*size/1e6/sealing.Seconds())
			ratio = append(ratio, time.Since(t).Seconds()/sealing.Seconds())
		}
		slices.Sort(speed)
		slices.Sort(ratio)
		b.ReportMetric(speed[rounds/2], "seal_mb_per_s")
		b.ReportMetric(ratio[rounds/2], "seal_vs_aead")
	}
}
