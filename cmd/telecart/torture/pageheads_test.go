package torture

import "testing"

// One bit of a bbolt page's head costs nothing: of the newest meta, and of a leaf's count.
func TestPageHeads(t *testing.T) {
	for _, at := range []int{0*boltPage + 16, 1*boltPage + 16, 2*boltPage + 10, 3*boltPage + 10} {
		w, segment := newTestWorld(t)
		was := w.cart.disk.durable[segment].data[at]
		w.oracle.harm.note(w.cart, 0, segment, nil, at, at+1)
		w.cart.disk.change(segment, at, []byte{was ^ was&-was})
		w.cart.restart(killed)
		w.finish()
		if len(w.found) > 0 || len(w.hub.stored) != 4 {
			t.Errorf("page %d, byte %d: %d of 4 stored: %v", at/boltPage, at%boltPage, len(w.hub.stored), w.found)
		}
	}
}
