package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"sync"

	"github.com/coder/websocket"

	"telecart/device"
)

// nurse speaks to the agent as the bedside page does: the same socket, the same commands (cmd/ui/api.ts).
type nurse struct {
	ws     *websocket.Conn
	http   *http.Client
	base   string
	cancel context.CancelFunc
	gone   chan struct{}

	mu      sync.Mutex
	next    int
	waiting map[int]chan reply
	state   bedside
	changed chan struct{} // closed and replaced at every new state
}

// bedside is what the checks read of the screen's state.
type bedside struct {
	Cart      string `json:"cart"`
	Encounter *struct {
		ID       string `json:"id"`
		Restored bool   `json:"restored"`
	} `json:"encounter"`
	Patient *struct {
		ID     string `json:"id"`
		Source string `json:"source"`
	} `json:"patient"`
	Link struct {
		State  string `json:"state"`
		Reason string `json:"reason"`
	} `json:"link"`
	Held        int              `json:"held"`
	Refused     int              `json:"refused"`
	Damaged     int              `json:"damaged"`
	Instruments []instrumentView `json:"instruments"`
	Items       []itemView       `json:"items"`
}

type instrumentView struct {
	Name     string        `json:"name"`
	Health   device.Health `json:"health"`
	Readings []struct {
		Quantity string         `json:"quantity"`
		Value    device.Decimal `json:"value"`
		Text     string         `json:"text"`
		Unit     string         `json:"unit"`
		Absent   string         `json:"absent"`
		Stale    bool           `json:"stale"`
	} `json:"readings"`
}

type itemView struct {
	ID         string `json:"id"`
	Kind       string `json:"kind"`
	Instrument string `json:"instrument"`
	Quantity   string `json:"quantity"`
	Text       string `json:"text"`
	Unit       string `json:"unit"`
	Sent       bool   `json:"sent"`
}

type reply struct {
	OK      bool `json:"ok"`
	Problem *struct {
		Code   string `json:"code"`
		Detail string `json:"detail"`
	} `json:"problem"`
	Result json.RawMessage `json:"result"`
}

// refused is the agent's answer to a command that it did not carry out.
type refused struct{ verb, code, detail string }

func (r *refused) Error() string { return fmt.Sprintf("%s: %s: %s", r.verb, r.code, r.detail) }

func (s bedside) sent(item string) bool {
	for _, i := range s.Items {
		if i.ID == item {
			return i.Sent
		}
	}
	return false
}

func (s bedside) instrument(name string) instrumentView {
	for _, i := range s.Instruments {
		if i.Name == name {
			return i
		}
	}
	return instrumentView{}
}

// shows says whether an instrument shows a present value between two bounds.
func (s bedside) shows(instrument, quantity string, lo, hi float64) bool {
	for _, r := range s.instrument(instrument).Readings {
		if r.Quantity == quantity && r.Absent == "" && !r.Stale && r.Value.Float() >= lo && r.Value.Float() <= hi {
			return true
		}
	}
	return false
}

// browser is an HTTP client with cookies, as a tab has.
func browser() *http.Client {
	jar, _ := cookiejar.New(nil) // no error without options
	return &http.Client{Jar: jar}
}

// sitDown opens the page that the agent printed, and its socket.
func sitDown(ctx context.Context, page string) (*nurse, error) {
	u, err := url.Parse(page)
	if err != nil {
		return nil, err
	}
	c := browser()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(req) // sets the cookie
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	base := "http://" + u.Host
	ws, _, err := websocket.Dial(ctx, base+"/api/ws", &websocket.DialOptions{HTTPClient: c, HTTPHeader: http.Header{"Origin": {base}}})
	if err != nil {
		return nil, fmt.Errorf("the bedside page: %w", err)
	}
	ws.SetReadLimit(16 << 20)
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	n := &nurse{ws: ws, http: c, base: base, cancel: cancel, gone: make(chan struct{}), waiting: map[int]chan reply{}, changed: make(chan struct{})}
	go n.read(ctx)
	return n, nil
}

func (n *nurse) read(ctx context.Context) {
	defer close(n.gone)
	for {
		_, b, err := n.ws.Read(ctx)
		if err != nil {
			return
		}
		var m struct {
			State *bedside `json:"state"`
			Reply *int     `json:"reply"`
			reply
		}
		if json.Unmarshal(b, &m) != nil {
			return // the checks say that the page's connection is gone
		}
		n.mu.Lock()
		switch {
		case m.State != nil:
			n.state = *m.State
			close(n.changed)
			n.changed = make(chan struct{})
		case m.Reply != nil && n.waiting[*m.Reply] != nil:
			n.waiting[*m.Reply] <- m.reply
			delete(n.waiting, *m.Reply)
		}
		n.mu.Unlock()
	}
}

var errGone = errors.New("the bedside page's connection is gone")

// do gives a command and waits for its answer; *refused says that the agent would not.
func (n *nurse) do(ctx context.Context, verb string, args map[string]any, result any) error {
	m := map[string]any{"verb": verb}
	for k, v := range args {
		m[k] = v
	}
	c := make(chan reply, 1)
	n.mu.Lock()
	n.next++
	m["id"] = n.next
	n.waiting[n.next] = c
	n.mu.Unlock()
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := n.ws.Write(ctx, websocket.MessageText, b); err != nil {
		return fmt.Errorf("%w: %v", errGone, err)
	}
	select {
	case a := <-c:
		if !a.OK && a.Problem != nil {
			return &refused{verb, a.Problem.Code, a.Problem.Detail}
		}
		if result == nil || len(a.Result) == 0 {
			return nil
		}
		return json.Unmarshal(a.Result, result)
	case <-n.gone:
		return errGone
	case <-ctx.Done():
		return fmt.Errorf("%s: no answer: %w", verb, ctx.Err())
	}
}

// await waits for a state of which ok says so.
func (n *nurse) await(ctx context.Context, what string, ok func(bedside) bool) (bedside, error) {
	for {
		n.mu.Lock()
		s, c := n.state, n.changed
		n.mu.Unlock()
		if ok(s) {
			return s, nil
		}
		select {
		case <-c:
		case <-n.gone:
			return s, errGone
		case <-ctx.Done():
			return s, fmt.Errorf("still waiting for %s: %w", what, ctx.Err())
		}
	}
}

// review is the nurse's own look at an item of this encounter.
func (n *nurse) review(ctx context.Context, item string) ([]byte, error) {
	return fetch(ctx, n.http, n.base+"/api/review/"+item)
}

func (n *nurse) leave() {
	n.cancel()
	n.ws.CloseNow()
	<-n.gone
}
