package link

import (
	"context"
	"net/http/httptrace"
	"sync"
	"time"
)

// reaching gives the context of a dial that ends when TCP, or TLS after it, is not there in connectWait: a lost SYN is repeated
// later and later (tcp_syn_retries, tcp(7)), and it is better to dial anew. TLS has its own time: at the end of an outage TCP may
// have taken nearly all of the first. The channel is closed when the hub has answered at all.
func reaching(ctx context.Context) (_ context.Context, there <-chan struct{}, giveUp func()) {
	ctx, cancel := context.WithCancel(ctx)
	late := time.AfterFunc(connectWait, cancel)
	answered := make(chan struct{})
	once := sync.OnceFunc(func() { close(answered) })
	var mu sync.Mutex
	done := false
	reached := func(all bool) {
		mu.Lock()
		defer mu.Unlock()
		once()
		if done = done || all; done {
			late.Stop()
		} else {
			late.Reset(connectWait)
		}
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		TLSHandshakeStart: func() { reached(false) },
		GotConn:           func(httptrace.GotConnInfo) { reached(true) },
	}), answered, func() { late.Stop(); cancel() }
}

// settled is the end of a connection: those for items that are idle may lead nowhere, now. If the hub did not even answer, what
// the HTTP client still dials is left to it: it may get there while the next dial is under way, which takes it then.
func (c *Client) settled(there <-chan struct{}) {
	select {
	case <-there:
		c.opt.Bulk.CloseIdleConnections()
	default:
	}
}
