package clinic

import (
	"fmt"
	"testing"
	"time"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device/kit"
)

// BenchmarkLongEncounter is one more item of an encounter that has many.
func BenchmarkLongEncounter(b *testing.B) {
	p := newProjection()
	book, enc, run := ledger.Book{Tenant: "north", Cart: "cart-1"}, ledger.NewID(), ledger.NewID()
	for n := range b.N {
		if n%maxItems == 0 {
			enc = ledger.NewID()
		}
		at := start.Add(time.Duration(n) * time.Second)
		p.add(Arrival{Book: book, Entry: ledger.Entry{Incarnation: ledger.ID{1}, Number: uint64(n), Kind: ledger.Item, Run: run}, Item: hashOf(fmt.Sprint(n)), Arrived: at,
			Body: capture.Body{Kind: capture.Note, Encounter: enc, At: kit.Stamp{Wall: at}}})
	}
}
