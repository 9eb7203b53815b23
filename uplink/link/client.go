package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/uplink/outbox"
	"telecart/uplink/steer"
	"telecart/uplink/wire"
)

// Options make a Client.
type Options struct {
	Base    string       // "https://carts.HUB"
	Socket  *http.Client // HTTP/1.1 alone: the WebSocket
	Bulk    *http.Client // items
	Version string
	Run     ledger.ID
	Clock   kit.Clock
	Log     *slog.Logger
	// Root is the offline root's public key that the claim pinned; Held the version of the key list that the cart has.
	Root []byte
	Held func() uint64
	// Books are the outboxes, care first. Before the first key list there are none.
	Books func() []*outbox.Outbox
	// Presence is asked for whenever Touch was called, and at least every ten seconds.
	Presence func() Presence
	// Welcomed gets the opened key list of each connection; an error ends that connection.
	Welcomed func(Welcome, wire.KeyList) error
	// Receive gets every later message. It must not block.
	Receive func(Message)
	// Share is how many bytes a second items may take of the link at this moment, vital signs excepted; below 1: none. It is
	// asked before every few kilobytes. Nil: as much as the link gives.
	Share func() int
	// Changed is called when the link comes up or goes down.
	Changed func(Status)
}

// Status is the link in a few words.
type Status struct {
	Up     bool
	Since  time.Time
	Reason string // why it is down, as a code
}

// Timings of the link. Ping finds a half-open connection within PingEvery + PingWait.
const (
	PingEvery     = 3 * time.Second
	PingWait      = 4 * time.Second
	presenceEvery = 10 * time.Second
	presenceGap   = 100 * time.Millisecond // between two presences at least
	headEvery     = time.Second            // between two signed heads at least
	dialWait      = 10 * time.Second
	connectWait   = 5 * time.Second // of it, until TCP stands, and as long again for TLS
	backoffMin    = 250 * time.Millisecond
	backoffMax    = 2 * time.Second
)

// Client is the cart's end of the link.
type Client struct {
	opt     Options
	touch   chan struct{} // presence is due
	items   chan struct{} // an outbox changed
	results chan Message  // to be sent once: answers, calls, results

	mu     sync.Mutex
	status Status
	keys   wire.KeyList
	gone   showing            // receipts of erased items (gone.go)
	out    *delivery          // to the store of the last welcome
	early  *early             // of the present connection
	cancel context.CancelFunc // of the present connection
}

// New makes a client; Run makes it work.
func New(opt Options) *Client {
	return &Client{opt: opt, touch: make(chan struct{}, 1), items: make(chan struct{}, 1), results: make(chan Message, 64),
		status: Status{Since: opt.Clock.Now(), Reason: "never-connected"}}
}

// Touch says that the presence changed.
func (c *Client) Touch() { nudge(c.touch) }

// Saved says that an outbox changed.
func (c *Client) Saved() { nudge(c.items) }

func nudge(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// ErrBusy: too many messages wait for the link.
var ErrBusy = errors.New("link: too many messages wait; try again when the link is back")

// Send queues one message for the present connection; without one it fails: nothing said to nobody is kept.
func (c *Client) Send(m Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.status.Up {
		return errors.New("link: no connection")
	}
	select {
	case c.results <- m:
		return nil
	default:
		return ErrBusy
	}
}

// Status is the present state.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Redial drops the present connection, if any, and dials again: the address or the identity changed.
func (c *Client) Redial() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel != nil {
		c.cancel()
	}
}

// Run keeps the link up until ctx ends.
func (c *Client) Run(ctx context.Context) error {
	defer c.opt.Bulk.CloseIdleConnections() // and with them dials that nobody waits for
	wait := time.Duration(0)
	for ctx.Err() == nil {
		began := c.opt.Clock.Now()
		err := c.connect(ctx)
		if ctx.Err() != nil {
			break
		}
		if s := c.Status(); s.Up && c.opt.Clock.Now().Sub(s.Since) >= backoffMax { // not one that the hub ends at once
			wait = 0
		}
		c.set(Status{Up: false, Since: c.opt.Clock.Now(), Reason: reason(err)})
		c.opt.Log.Info("link: down", "err", err)
		wait = min(max(2*wait, backoffMin), backoffMax)
		rest := wait/2 + rand.N(wait/2+1)
		if !c.Status().Up && reason(err) == noAnswer { // a dial that hung was a wait, too
			rest = max(rest-c.opt.Clock.Now().Sub(began), backoffMin/2)
		}
		select {
		case <-c.opt.Clock.After(rest):
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

func (c *Client) set(s Status) {
	c.mu.Lock()
	same := c.status.Up == s.Up && c.status.Reason == s.Reason
	if s.Up == c.status.Up { // another reason does not make the outage younger
		s.Since = c.status.Since
	}
	c.status = s
	if s.Up && !same { // what nobody heard on the connection before is not said on this one
		for len(c.results) > 0 {
			<-c.results
		}
	}
	c.mu.Unlock()
	if !same && c.opt.Changed != nil {
		c.opt.Changed(s)
	}
}

// noAnswer is the reason when the network is.
const noAnswer = "no-answer"

// reason turns an error into a code that the screen has words for.
func reason(err error) string {
	var p *wire.Problem
	switch {
	case errors.As(err, &p):
		return p.Code
	case errors.Is(err, wire.ErrOldKeyList):
		return "old-key-list"
	case errors.Is(err, errKeys):
		return "keys-not-trusted"
	}
	return noAnswer
}

var errKeys = errors.New("link: the hub's key list is not to be trusted")

// connect dials and serves one connection until it ends.
func (c *Client) connect(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	c.cancel = cancel
	c.mu.Unlock()
	dial, stop := context.WithTimeout(ctx, dialWait)
	defer stop()
	reach, there, giveUp := reaching(dial)
	defer c.settled(there)
	defer giveUp()
	defer c.askEarly(ctx, there)()
	ws, resp, err := websocket.Dial(reach, c.opt.Base+Path, &websocket.DialOptions{HTTPClient: c.opt.Socket})
	if err != nil {
		if resp != nil {
			if p := readProblem(resp); p != nil {
				return p
			}
		}
		return fmt.Errorf("link: %w", err)
	}
	defer ws.CloseNow()
	ws.SetReadLimit(MaxMessage)
	w, err := c.greet(dial, ws)
	if err != nil {
		return err
	}
	stop()
	c.set(Status{Up: true, Since: c.opt.Clock.Now()})
	c.opt.Log.Info("link: up", "hub", w.Hub, "store", w.Store)
	return c.serve(ctx, ws, w)
}

// greet exchanges the first messages.
func (c *Client) greet(ctx context.Context, ws *websocket.Conn) (Welcome, error) {
	h, err := c.Greeting()
	if err != nil {
		return Welcome{}, err
	}
	asked := c.opt.Clock.Now()
	if err := write(ctx, ws, Message{Hello: &h}); err != nil {
		return Welcome{}, err
	}
	m, err := read(ctx, ws)
	switch {
	case err != nil:
		return Welcome{}, err
	case m.Problem != nil:
		return Welcome{}, m.Problem
	case m.Welcome == nil:
		return Welcome{}, errors.New("link: the hub did not answer with a welcome")
	}
	m.Welcome.Took = c.opt.Clock.Now().Sub(asked)
	if err := c.Welcome(ctx, h, *m.Welcome); err != nil {
		return Welcome{}, err
	}
	return *m.Welcome, nil
}

func (c *Client) water(b *outbox.Outbox, w *wire.Watermark) {
	if w == nil {
		return
	}
	c.mu.Lock()
	keys := c.keys
	c.mu.Unlock()
	if err := w.Verify(keys); err != nil {
		c.opt.Log.Warn("link: watermark ignored", "err", err)
		return
	}
	b.Watermark(*w)
}

// serve runs the four halves of a connection: reading, writing, pinging, delivering. The first to fail ends all.
func (c *Client) serve(ctx context.Context, ws *websocket.Conn, w Welcome) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, f := range []func(context.Context) error{
		func(ctx context.Context) error { return c.readLoop(ctx, ws) },
		func(ctx context.Context) error { return c.writeLoop(ctx, ws) },
		func(ctx context.Context) error { return c.pingLoop(ctx, ws) },
		func(ctx context.Context) error { return c.deliver(ctx) },
	} {
		wg.Go(func() {
			if err := f(ctx); err != nil {
				cancel(err)
			}
		})
	}
	<-ctx.Done()
	ws.CloseNow()
	return context.Cause(ctx)
}

func (c *Client) readLoop(ctx context.Context, ws *websocket.Conn) error {
	for {
		m, err := read(ctx, ws)
		if err != nil {
			return err
		}
		switch {
		case m.Problem != nil:
			return m.Problem
		case m.Water != nil:
			for _, b := range c.opt.Books() {
				c.water(b, m.Water)
			}
		default:
			c.opt.Receive(m)
		}
	}
}

// writeLoop sends what was queued at once, presence when it is due, and the signed heads when they changed.
func (c *Client) writeLoop(ctx context.Context, ws *websocket.Conn) error {
	var last [2]ledger.Hash
	heads := c.opt.Clock.After(headEvery)
	regular := c.opt.Clock.After(0)
	var gap <-chan time.Time // running: too early for another presence
	due := false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case m := <-c.results:
			if err := write(ctx, ws, m); err != nil {
				return err
			}
		case <-c.touch:
			due = true
		case <-regular:
			due, regular = true, c.opt.Clock.After(presenceEvery)
		case <-gap:
			gap = nil
		case <-heads:
			heads = c.opt.Clock.After(headEvery)
			for i, b := range c.opt.Books() {
				h, err := b.Head()
				if err != nil {
					return err
				}
				if i < len(last) && h.Hash != last[i] {
					last[i] = h.Hash
					if err := write(ctx, ws, Message{Head: &h}); err != nil {
						return err
					}
				}
			}
		}
		if due && gap == nil {
			due, gap = false, c.opt.Clock.After(presenceGap)
			p := c.opt.Presence()
			if err := write(ctx, ws, Message{Presence: &p}); err != nil {
				return err
			}
		}
	}
}

func (c *Client) pingLoop(ctx context.Context, ws *websocket.Conn) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.opt.Clock.After(PingEvery):
		}
		if err := c.ping(ctx, ws); err != nil {
			return fmt.Errorf("link: no answer to a ping: %w", err)
		}
	}
}

func (c *Client) ping(ctx context.Context, ws *websocket.Conn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answer := make(chan error, 1)
	late := c.opt.Clock.After(PingWait)
	go func() { answer <- ws.Ping(ctx) }() // ends with ctx
	select {
	case err := <-answer:
		return err
	case <-late:
		return context.DeadlineExceeded
	}
}

func read(ctx context.Context, ws *websocket.Conn) (m Message, err error) {
	_, b, err := ws.Read(ctx)
	if err != nil {
		return m, fmt.Errorf("link: %w", err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("link: a message that is not understood: %w", err)
	}
	return m, nil
}

func write(ctx context.Context, ws *websocket.Conn, m Message) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("link: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, PingWait)
	defer cancel()
	if err := ws.Write(ctx, websocket.MessageText, b); err != nil {
		return fmt.Errorf("link: %w", err)
	}
	return nil
}

// Result queues an act's result.
func (c *Client) Result(r steer.ActResult) error { return c.Send(Message{Result: &r}) }
