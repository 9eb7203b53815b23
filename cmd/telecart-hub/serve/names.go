package serve

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"telecart/device/kit"
)

// names stands before the HTTP server of the one address: it does the TLS handshakes, and hands connections to turn.NAME over to
// the TURN server. To the HTTP server it is the listener of all others.
type names struct {
	net.Listener
	config *tls.Config
	turn   string
	relay  func(net.Conn) error
	clock  kit.Clock
	log    *slog.Logger

	ready chan net.Conn
	ctx   context.Context
	end   context.CancelFunc
	wg    sync.WaitGroup

	most    int // handshakes at once; the oldest gives way, which is no honest one's
	mu      sync.Mutex
	pending list.List // of context.CancelFunc: handshakes under way, oldest first
}

const (
	maxHandshakes = 2048
	acceptPause   = 50 * time.Millisecond
)

func newNames(ln net.Listener, config *tls.Config, turn string, relay func(net.Conn) error, clock kit.Clock, log *slog.Logger) *names {
	n := &names{Listener: ln, config: config, turn: turn, relay: relay, clock: clock, log: log, ready: make(chan net.Conn), most: maxHandshakes}
	n.ctx, n.end = context.WithCancel(context.Background())
	n.wg.Go(n.accept)
	return n
}

// accept takes connections until the listener is closed. Other errors (no file descriptors) pass.
func (n *names) accept() {
	for {
		conn, err := n.Listener.Accept()
		switch {
		case err == nil:
			ctx, done := n.book()
			n.wg.Go(func() { defer done(); n.greet(ctx, conn) })
			continue
		case errors.Is(err, net.ErrClosed):
			n.end()
			return
		}
		n.log.Warn("hub: no connection taken", "err", err)
		select {
		case <-n.ctx.Done():
			return
		case <-n.clock.After(acceptPause):
		}
	}
}

// book makes room for one more handshake.
func (n *names) book() (context.Context, func()) {
	ctx, cancel := context.WithTimeout(n.ctx, headerTime)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pending.Len() >= n.most {
		n.pending.Remove(n.pending.Front()).(context.CancelFunc)()
	}
	e := n.pending.PushBack(cancel)
	return ctx, func() {
		cancel()
		n.mu.Lock()
		defer n.mu.Unlock()
		n.pending.Remove(e)
	}
}

// greet does a handshake and hands the connection on.
func (n *names) greet(ctx context.Context, raw net.Conn) {
	conn := tls.Server(raw, n.config)
	if err := conn.HandshakeContext(ctx); err != nil {
		n.log.Debug("hub: no TLS", "from", raw.RemoteAddr().String(), "err", err)
		plain(err)
		raw.Close()
		return
	}
	if strings.EqualFold(conn.ConnectionState().ServerName, n.turn) {
		n.wg.Go(func() {
			err := n.relay(conn)
			n.log.Debug("hub: a TURN connection ended", "err", err)
		})
		return
	}
	select {
	case n.ready <- conn:
	case <-n.ctx.Done():
		raw.Close()
	}
}

// plain tells somebody who came by http:// what is wrong, as net/http does.
func plain(err error) {
	head, ok := errors.AsType[tls.RecordHeaderError](err)
	if !ok || head.Conn == nil {
		return
	}
	for _, method := range []string{"GET /", "HEAD ", "POST ", "PUT /", "OPTIO"} {
		if strings.HasPrefix(string(head.RecordHeader[:]), method) {
			_ = head.Conn.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = io.WriteString(head.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nThis is HTTPS: begin the address with https://\n")
			return
		}
	}
}

// Accept is the HTTP server's.
func (n *names) Accept() (net.Conn, error) {
	select {
	case conn := <-n.ready:
		return conn, nil
	case <-n.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close ends what has not been handed on. wait is for the rest, which others end.
func (n *names) Close() error {
	err := n.Listener.Close()
	n.end()
	return err
}

func (n *names) wait() { n.wg.Wait() }
