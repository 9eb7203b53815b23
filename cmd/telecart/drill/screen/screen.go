// Package screen plays the nurse and the specialist: it speaks to a daemon as its page does, over the same sockets and with
// the same commands (cmd/ui/api.ts).
//
// Parties: a drill or a torture; telecartd or telecart-hub, whose cookie the caller's HTTP client holds. Keys: none.
//
// Invariants: an answer that came before the connection ended is never lost. States come whole; the newest counts.
package screen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"sync"
	"time"

	"github.com/coder/websocket"

	"telecart/uplink/wire"
)

// Screen is one page's socket. S is what the caller reads of the state.
type Screen[S any] struct {
	ws     *websocket.Conn
	HTTP   *http.Client // signed in
	cancel context.CancelFunc
	gone   chan struct{}

	mu      sync.Mutex
	next    int
	waiting map[int]chan answer
	state   S
	changed chan struct{} // closed and replaced at every new state
}

type answer struct {
	OK      bool            `json:"ok"`
	Problem *wire.Problem   `json:"problem"`
	Result  json.RawMessage `json:"result"`
}

// Browser is an HTTP client with cookies, as a browser tab has.
func Browser() *http.Client {
	jar, _ := cookiejar.New(nil) // no error without options
	return &http.Client{Jar: jar, Timeout: 20 * time.Second}
}

// Open connects a signed-in browser to the page's socket.
func Open[S any](ctx context.Context, c *http.Client, socket string) (*Screen[S], error) {
	u, err := url.Parse(socket)
	if err != nil {
		return nil, err
	}
	// The library takes cookies from the client, and the client's jar knows them by http, not ws.
	plain := *c
	plain.Timeout = 0
	ws, _, err := websocket.Dial(ctx, socket, &websocket.DialOptions{HTTPClient: &plain, HTTPHeader: http.Header{"Origin": {"http://" + u.Host}}})
	if err != nil {
		return nil, fmt.Errorf("screen: %s: %w", u.Path, err)
	}
	ws.SetReadLimit(16 << 20)
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &Screen[S]{ws: ws, HTTP: c, cancel: cancel, gone: make(chan struct{}), waiting: map[int]chan answer{}, changed: make(chan struct{})}
	go s.read(ctx)
	return s, nil
}

func (s *Screen[S]) read(ctx context.Context) {
	defer close(s.gone)
	for {
		_, b, err := s.ws.Read(ctx)
		if err != nil {
			return
		}
		var m struct {
			State *S   `json:"state"`
			Reply *int `json:"reply"`
		}
		if json.Unmarshal(b, &m) != nil {
			continue
		}
		s.mu.Lock()
		switch {
		case m.State != nil:
			s.state = *m.State
			close(s.changed)
			s.changed = make(chan struct{})
		case m.Reply != nil:
			var a answer
			if json.Unmarshal(b, &a) == nil && s.waiting[*m.Reply] != nil {
				s.waiting[*m.Reply] <- a
				delete(s.waiting, *m.Reply)
			}
		}
		s.mu.Unlock()
	}
}

// ErrGone: the daemon is gone, or was closed.
var ErrGone = errors.New("screen: the connection is gone")

// Do sends a command and waits for its answer.
func (s *Screen[S]) Do(ctx context.Context, verb string, args map[string]any, result any) error {
	m := map[string]any{"verb": verb}
	for k, v := range args {
		m[k] = v
	}
	c := make(chan answer, 1)
	s.mu.Lock()
	s.next++
	m["id"] = s.next
	s.waiting[s.next] = c
	s.mu.Unlock()
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := s.ws.Write(ctx, websocket.MessageText, b); err != nil {
		return fmt.Errorf("%w: %v", ErrGone, err)
	}
	select {
	case a := <-c:
		return a.take(verb, result)
	case <-s.gone:
		select {
		case a := <-c: // it came before the end
			return a.take(verb, result)
		default:
			return ErrGone
		}
	case <-ctx.Done():
		return fmt.Errorf("screen: %s: %w", verb, ctx.Err())
	}
}

func (a answer) take(verb string, result any) error {
	if !a.OK {
		return fmt.Errorf("screen: %s: %w", verb, a.Problem)
	}
	if result != nil && len(a.Result) > 0 {
		return json.Unmarshal(a.Result, result)
	}
	return nil
}

// Await waits for a state of which ok says so.
func (s *Screen[S]) Await(ctx context.Context, what string, ok func(S) bool) (S, error) {
	for {
		s.mu.Lock()
		st, c := s.state, s.changed
		s.mu.Unlock()
		if ok(st) {
			return st, nil
		}
		select {
		case <-c:
		case <-s.gone:
			return st, ErrGone
		case <-ctx.Done():
			return st, fmt.Errorf("screen: still waiting for %s: %w", what, ctx.Err())
		}
	}
}

// Close ends the connection.
func (s *Screen[S]) Close() {
	s.cancel()
	s.ws.CloseNow()
	<-s.gone
}

// Bedside is what is read of the nurse's state.
type Bedside struct {
	Now       time.Time `json:"now"`
	Encounter *struct {
		ID       string `json:"id"`
		Restored bool   `json:"restored"`
	} `json:"encounter"`
	Patient *struct {
		ID     string `json:"id"`
		Source string `json:"source"`
	} `json:"patient"`
	Link struct {
		State string `json:"state"`
	} `json:"link"`
	Held        int `json:"held"`
	Instruments []struct {
		Name     string `json:"name"`
		Readings []struct {
			Quantity string `json:"quantity"`
			Text     string `json:"text"`
			Absent   string `json:"absent"`
			Stale    bool   `json:"stale"`
		} `json:"readings"`
	} `json:"instruments"`
	Consult *struct {
		ID    string `json:"id"`
		Phase string `json:"phase"`
	} `json:"consult"`
	Items []struct {
		ID string `json:"id"`
	} `json:"items"`
}

// Value is an instrument's present value; "" when there is none to be shown.
func (b Bedside) Value(instrument, quantity string) string {
	for _, i := range b.Instruments {
		for _, r := range i.Readings {
			if i.Name == instrument && r.Quantity == quantity && r.Absent == "" && !r.Stale {
				return r.Text
			}
		}
	}
	return ""
}
