package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"

	"telecart/device/kit"
)

// dials are what each dial of a test does, in order; ended gets the connections that were closed.
type dials struct {
	do    []func(context.Context) (net.Conn, error)
	next  chan int
	ended chan int
}

type counted struct {
	net.Conn
	i     int
	ended chan int
}

func (c counted) Close() error {
	c.ended <- c.i
	return nil
}

func newDials(do ...func(context.Context) (net.Conn, error)) *dials {
	d := &dials{do, make(chan int, len(do)), make(chan int, len(do))}
	for i := range do {
		d.next <- i
	}
	return d
}

func (d *dials) dial(ctx context.Context) (net.Conn, error) {
	i := <-d.next
	if _, err := d.do[i](ctx); err != nil {
		return nil, err
	}
	return counted{nil, i, d.ended}, nil
}

func TestDialTwice(t *testing.T) {
	refused := errors.New("refused")
	at := make(chan struct{})
	hangs := func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	works := func(context.Context) (net.Conn, error) { return nil, nil }
	fails := func(context.Context) (net.Conn, error) { return nil, refused }
	late := func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, nil }
	now := make(chan time.Time)
	close(now)
	for name, c := range map[string]struct {
		d     *dials
		again <-chan time.Time
		want  int // the connection; -1: none
	}{
		"at once":                  {newDials(works), nil, 0},
		"refused":                  {newDials(fails), nil, -1},
		"the first is lost":        {newDials(hangs, works), now, 1},
		"the first comes too late": {newDials(late, works), now, 1},
		"the second is refused":    {newDials(func(ctx context.Context) (net.Conn, error) { <-at; return nil, nil }, func(context.Context) (net.Conn, error) { close(at); return nil, refused }), now, 0},
		"both are":                 {newDials(fails, fails), now, -1},
	} {
		conn, err := dialTwice(t.Context(), c.again, c.d.dial)
		switch {
		case c.want < 0 && err != refused:
			t.Errorf("%s: %v, %v", name, conn, err)
		case c.want >= 0 && (err != nil || conn.(counted).i != c.want):
			t.Errorf("%s: %v, %v", name, conn, err)
		}
		if name == "the first comes too late" {
			select {
			case i := <-c.d.ended:
				if i != 0 {
					t.Errorf("%s: closed %d", name, i)
				}
			case <-time.After(20 * time.Second):
				t.Errorf("%s: it was not closed", name)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dialTwice(ctx, nil, newDials(hangs).dial); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// The first thing said to a hub whose name is not very long fits into one packet: see pinned.
func TestSmallHello(t *testing.T) {
	const segment = 1448 // of an Ethernet frame: RFC 9293, RFC 7323
	near, far := net.Pipe()
	defer far.Close()
	c := &Cart{clock: kit.System{}}
	config := c.pinned("carts.hub.north-clinic.example", [32]byte{})
	go func() {
		defer near.Close()
		tls.Client(near, config).HandshakeContext(t.Context())
	}()
	b := make([]byte, 4096)
	n, err := far.Read(b) // a Write of a pipe is one Read
	if err != nil || n > segment {
		t.Errorf("%d bytes, %v", n, err)
	}
}
