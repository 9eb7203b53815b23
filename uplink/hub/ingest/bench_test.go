package ingest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

// BenchmarkIngest is the whole way of an item of 4 KiB through the hub: request, chunks, opening, file, database, receipt. Each
// cart sends one after the other, as carts do.
func BenchmarkIngest(b *testing.B) {
	for _, carts := range []int{1, 8} {
		b.Run(fmt.Sprintf("carts=%d", carts), func(b *testing.B) {
			h := newHub(b)
			all := make([]*cart, carts)
			offers := make([][]item, carts)
			for n := range all {
				all[n] = h.cart(fmt.Sprintf("cart-%d", n))
				for range b.N/carts + 1 {
					offers[n] = append(offers[n], all[n].item(all[n].still(4096)))
				}
			}
			b.ResetTimer()
			var wg sync.WaitGroup
			for n, c := range all {
				wg.Go(func() {
					for _, i := range offers[n] {
						if w := c.put(i, nil); w.Code != 200 {
							b.Error(w.Code, w.Body)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "hub_ingest_per_s")
		})
	}
}

// BenchmarkIngestLong says what the last thousand of b.N items of one encounter cost, against the first: 1 is linear.
func BenchmarkIngestLong(b *testing.B) {
	h := newHub(b)
	c := h.cart("cart-1")
	var first, last time.Duration
	part := max(1, b.N/10)
	for n := range b.N {
		i := c.item(c.still(200))
		begin := time.Now()
		if w := c.put(i, nil); w.Code != 200 {
			b.Fatal(w.Code, w.Body)
		}
		switch took := time.Since(begin); {
		case n < part:
			first += took
		case n >= b.N-part:
			last += took
		}
	}
	b.ReportMetric(float64(last)/float64(max(1, first)), "last_tenth_over_first")
	if err := h.in.Head(context.Background(), c.peer, c.sign()); err != nil {
		b.Fatal(err)
	}
	begin := time.Now()
	got, err := h.in.Completeness(context.Background(), c.book, Files)
	if err != nil || len(got) != 1 || !got[0].Whole() {
		b.Fatal(got, err)
	}
	b.ReportMetric(float64(time.Since(begin).Milliseconds()), "audit_ms")
}
