package link

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"telecart/device/kit"
)

// writes counts what is written to a connection at once.
type writes struct {
	net.Conn
	mu  *sync.Mutex
	all *[]string
}

func (w writes) Write(b []byte) (int, error) {
	w.mu.Lock()
	*w.all = append(*w.all, string(b))
	w.mu.Unlock()
	return w.Conn.Write(b)
}

// A reading leaves with the header of its request in one write, so that it is one TLS record and one packet.
func TestOneWrite(t *testing.T) {
	h := newHub(t, kit.System{})
	var mu sync.Mutex
	var all []string
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return writes{c, &mu, &all}, err
	}}
	defer transport.CloseIdleConnections()
	h.client.opt.Bulk = &http.Client{Transport: transport}
	vital, routine := h.urgent(300), h.save(300)
	h.greeted()
	for h.step(LaneSmall) {
	}
	for _, s := range []string{vital.Hash.String(), routine.Hash.String()} {
		for _, w := range all {
			if head, body, ok := strings.Cut(w, "\r\n\r\n"); ok && strings.HasPrefix(head, "PUT "+ItemPath+s) && len(body) > 500 {
				s = ""
			}
		}
		if s != "" {
			t.Errorf("item %s left in pieces, or not at all", s)
		}
	}
	if sent, _ := h.box.Sent(vital.Hash); !sent {
		t.Error("no receipt")
	}
}

// Two connections are kept for vital signs; while small items wait it is those that carry them.
func TestWarm(t *testing.T) {
	clock := kit.NewManual(start)
	h := newHub(t, clock)
	var mu sync.Mutex
	asked, both := 0, make(chan struct{})
	h.head = func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		if asked++; asked == warmed {
			close(both)
		}
		mu.Unlock()
		<-both // one after the other they would never get past this
	}
	h.greeted()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); h.client.out.warm(ctx) }()
	clock.AwaitFor(warmFirst)
	clock.Advance(warmFirst)
	next(t, "two connections", both)
	clock.AwaitFor(warmEvery)
	h.urgent(10)
	clock.Advance(warmEvery)
	clock.AwaitFor(warmEvery)
	cancel()
	next(t, "the end", done)
	if asked != warmed {
		t.Errorf("%d requests", asked)
	}
}
