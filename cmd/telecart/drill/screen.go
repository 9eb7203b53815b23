package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"telecart/uplink/wire"
)

// screen speaks to a daemon as its page does: the same sockets, the same commands (cmd/ui/api.ts).
type screen[S any] struct {
	ws     *websocket.Conn
	http   *http.Client
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

// browser is an HTTP client with cookies, as a browser tab has.
func browser() *http.Client {
	jar, _ := cookiejar.New(nil) // no error without options
	return &http.Client{Jar: jar, Timeout: 20 * time.Second}
}

// openScreen connects a signed-in browser to the page's socket.
func openScreen[S any](ctx context.Context, c *http.Client, socket string) (*screen[S], error) {
	u, err := url.Parse(socket)
	if err != nil {
		return nil, err
	}
	// The library takes cookies from the client, and the client's jar knows them by http, not ws.
	plain := *c
	plain.Timeout = 0
	ws, _, err := websocket.Dial(ctx, socket, &websocket.DialOptions{HTTPClient: &plain, HTTPHeader: http.Header{"Origin": {"http://" + u.Host}}})
	if err != nil {
		return nil, fmt.Errorf("drill: %s: %w", u.Path, err)
	}
	ws.SetReadLimit(16 << 20)
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &screen[S]{ws: ws, http: c, cancel: cancel, gone: make(chan struct{}), waiting: map[int]chan answer{}, changed: make(chan struct{})}
	go s.read(ctx)
	return s, nil
}

func (s *screen[S]) read(ctx context.Context) {
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

var errGone = errors.New("drill: the screen's connection is gone")

// do sends a command and waits for its answer.
func (s *screen[S]) do(ctx context.Context, verb string, args map[string]any, result any) error {
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
		return fmt.Errorf("%w: %v", errGone, err)
	}
	select {
	case a := <-c:
		if !a.OK {
			return fmt.Errorf("drill: %s: %w", verb, a.Problem)
		}
		if result != nil && len(a.Result) > 0 {
			return json.Unmarshal(a.Result, result)
		}
		return nil
	case <-s.gone:
		return errGone
	case <-ctx.Done():
		return fmt.Errorf("drill: %s: %w", verb, ctx.Err())
	}
}

// await waits for a state of which ok says so.
func (s *screen[S]) await(ctx context.Context, what string, ok func(S) bool) (S, error) {
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
			return st, errGone
		case <-ctx.Done():
			return st, fmt.Errorf("drill: still waiting for %s: %w", what, ctx.Err())
		}
	}
}

func (s *screen[S]) close() {
	s.cancel()
	s.ws.CloseNow()
	<-s.gone
}

// bedside is what the drill reads of the nurse's state.
type bedside struct {
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

// value is an instrument's present value; "" when there is none to be shown.
func (b bedside) value(instrument, quantity string) string {
	for _, i := range b.Instruments {
		for _, r := range i.Readings {
			if i.Name == instrument && r.Quantity == quantity && r.Absent == "" && !r.Stale {
				return r.Text
			}
		}
	}
	return ""
}

// console is what the drill reads of the specialist's state.
type console struct {
	Carts []struct {
		Cart      string `json:"cart"`
		State     string `json:"state"`
		Held      int    `json:"held"`
		Encounter *struct {
			ID string `json:"id"`
		} `json:"encounter"`
		Consult *struct {
			ID      string `json:"id"`
			Phase   string `json:"phase"`
			Streams []struct {
				Instrument string `json:"instrument"`
				Publishing bool   `json:"publishing"`
			} `json:"streams"`
		} `json:"consult"`
		Leases []struct {
			Instrument string `json:"instrument"`
			Holder     string `json:"holder"`
			Epoch      uint64 `json:"epoch"`
		} `json:"leases"`
		Instruments []struct {
			Name string `json:"name"`
			Axes []struct {
				Name   string `json:"name"`
				Min    int    `json:"min"`
				Max    int    `json:"max"`
				Locked bool   `json:"locked"`
			} `json:"axes"`
		} `json:"instruments"`
	} `json:"carts"`
}

// signIn is the console's front door.
func signIn(ctx context.Context, c *http.Client, base, name, password string) error {
	b, err := json.Marshal(map[string]string{"name": name, "password": password})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/session", strings.NewReader(string(b)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Origin", base)
	resp, err := c.Do(req)
	if err != nil {
		return fmt.Errorf("drill: sign in: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return fmt.Errorf("drill: sign in: %s", resp.Status)
	}
	return nil
}
