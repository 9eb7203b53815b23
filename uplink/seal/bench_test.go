package seal

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"telecart/uplink/wire"
)

// BenchmarkSeal seals 1 MiB bodies (a still), in rounds that take turns with ChaCha20-Poly1305 alone under one key, over as many
// bytes of the same body in as many chunks.
//
//	seal_mb_per_s   10^6 bytes of bodies sealed a second with keys, commitment and chunk hashes, median of the rounds
//	seal_vs_aead    its speed against the cipher alone
//	seal_vs_chacha  the same without chunk hashes and item hash: keys, commitment, copies and erasing against the cipher
//	seal_4k_us      microseconds for a body of 4 KiB, chunk hashes and all
func BenchmarkSeal(b *testing.B) {
	const size, rounds, items = 1 << 20, 15, 8
	k, _ := fixture(b)
	body := make([]byte, size)
	h, err := k.header(1, wire.Routine, size)
	if err != nil {
		b.Fatal(err)
	}
	aead, err := chacha20poly1305.New(make([]byte, chacha20poly1305.KeySize))
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, wire.ChunkSize+wire.Overhead)
	n := make([]byte, chacha20poly1305.NonceSize)
	none := func(int, []byte) error { return nil }
	work := map[string]func(){
		"cipher": func() {
			for i := range h.Chunks() {
				from, n2 := i*wire.ChunkSize, h.SealedSize(i)-wire.Overhead
				aead.Seal(buf[:0], n, body[min(from, size-n2):][:n2], nil)
			}
		},
		"seal": func() {
			h := h
			if _, err := k.seal(&h, body, none); err != nil {
				b.Fatal(err)
			}
		},
		"all": func() {
			if _, err := k.Seal(1, wire.Routine, body, none); err != nil {
				b.Fatal(err)
			}
		},
		"4k": func() {
			if _, err := k.Seal(1, wire.Routine, body[:4096-lengthSize], none); err != nil {
				b.Fatal(err)
			}
		},
	}
	for range b.N {
		took := map[string][]float64{}
		for range rounds {
			for what, f := range work {
				t := time.Now()
				for range items {
					f()
				}
				took[what] = append(took[what], time.Since(t).Seconds()/items)
			}
		}
		against := func(what string) float64 {
			r := make([]float64, rounds)
			for i := range r {
				r[i] = took["cipher"][i] / took[what][i]
			}
			return median(r)
		}
		b.ReportMetric(size/1e6/median(took["all"]), "seal_mb_per_s")
		b.ReportMetric(against("all"), "seal_vs_aead")
		b.ReportMetric(against("seal"), "seal_vs_chacha")
		b.ReportMetric(median(took["4k"])*1e6, "seal_4k_us")
	}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
