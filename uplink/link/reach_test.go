package link

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"testing"
	"testing/synctest"
	"time"
)

// A dial is given up when nothing answers for a while, counted anew for TLS, and never once it stands.
func TestReaching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			name  string
			steps func(*httptrace.ClientTrace)
			there bool
			left  time.Duration // until it is given up
			never bool
		}{
			{"no answer", func(*httptrace.ClientTrace) {}, false, 1, false},
			{"TCP alone", func(h *httptrace.ClientTrace) { h.TLSHandshakeStart() }, true, connectWait, false},
			{"all", func(h *httptrace.ClientTrace) { h.TLSHandshakeStart(); h.GotConn(httptrace.GotConnInfo{}) }, true, 2 * connectWait, true},
			{"another one first", func(h *httptrace.ClientTrace) { h.GotConn(httptrace.GotConnInfo{}); h.TLSHandshakeStart() }, true, 2 * connectWait, true},
		} {
			ctx, there, giveUp := reaching(t.Context())
			time.Sleep(connectWait - 1)
			c.steps(httptrace.ContextClientTrace(ctx))
			select {
			case <-there:
			default:
				if c.there {
					t.Errorf("%s: the hub did not answer", c.name)
				}
			}
			time.Sleep(c.left - 1)
			synctest.Wait()
			if ctx.Err() != nil {
				t.Errorf("%s: given up too early", c.name)
			}
			time.Sleep(1 * time.Nanosecond)
			synctest.Wait()
			if given := ctx.Err() != nil; given == c.never {
				t.Errorf("%s: given up %t", c.name, given)
			}
			giveUp()
			if ctx.Err() == nil {
				t.Errorf("%s: goes on", c.name)
			}
		}
	})
}

// idle counts how often idle connections are closed.
type idle struct {
	http.RoundTripper
	closed int
}

func (i *idle) CloseIdleConnections() { i.closed++ }

// Dials that go on without an answer are left alone; connections that may be dead are not.
func TestSettled(t *testing.T) {
	var i idle
	c := &Client{opt: Options{Bulk: &http.Client{Transport: &i}}}
	_, there, giveUp := reaching(context.Background())
	giveUp()
	c.settled(there)
	if i.closed != 0 {
		t.Error("closed though the hub never answered")
	}
	answered := make(chan struct{})
	close(answered)
	c.settled(answered)
	if i.closed != 1 {
		t.Error("not closed")
	}
}
