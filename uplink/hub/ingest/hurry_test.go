package ingest

import (
	"bytes"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"telecart/uplink/wire"
)

// hung is a connection over which nothing comes any more, and which nobody ends but its deadline.
type hung struct {
	*httptest.ResponseRecorder
	front   *bytes.Reader
	waiting chan struct{} // all that came was read
	cut     chan struct{} // the deadline was drawn near
	once    sync.Once
}

func (h *hung) SetReadDeadline(at time.Time) error {
	if time.Until(at) <= hurried {
		h.once.Do(func() { close(h.cut) })
	}
	return nil
}

func (h *hung) Read(b []byte) (int, error) {
	if h.front.Len() > 0 {
		return h.front.Read(b)
	}
	select {
	case h.waiting <- struct{}{}:
	case <-h.cut:
	}
	<-h.cut
	return 0, os.ErrDeadlineExceeded
}

// A cart that comes back goes on at once, although the request before the drop, and one that waits for it, still hang.
func TestComesBack(t *testing.T) {
	h := newHub(t)
	c := h.cart("cart-1")
	i := c.item(c.still(3 * wire.ChunkSize))
	var wg sync.WaitGroup
	var old []*hung
	for range 2 {
		x := &hung{ResponseRecorder: httptest.NewRecorder(), front: bytes.NewReader(i.stream([]int{0})), waiting: make(chan struct{}), cut: make(chan struct{})}
		r := httptest.NewRequest("PUT", "/v1/items/"+i.hash().String(), x)
		r.Header.Set("Test-Cart", "cart-1")
		wg.Go(func() { h.in.Handler().ServeHTTP(x, r) })
		<-x.waiting
		select {
		case <-x.cut:
			t.Fatal("hurried by nobody")
		default:
		}
		old = append(old, x)
	}
	c.receipt(c.put(i, nil), 200, i)
	wg.Wait()
	for n, x := range old {
		if x.Code < 400 {
			t.Errorf("request %d: %d", n, x.Code)
		}
	}
}
