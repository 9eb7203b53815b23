package live

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"telecart/device/kit"
	"telecart/uplink/ladder"
	"telecart/uplink/link/emulator"
)

func newLadder(t testing.TB) *ladder.Shell {
	s := ladder.NewShell(kit.System{}, slog.New(slog.DiscardHandler), ladder.Options{})
	start(t, func(ctx context.Context) error { _ = s.Run(ctx); return nil })
	return s
}

// bridge is the publisher's link: all of its media passes an emulated path each way. It does so by answering for the room: the
// address that the publisher is told is the bridge's, and the room is told none.
type bridge struct {
	t    testing.TB
	hub  http.Handler
	near *net.UDPConn // that the publisher sends to
	far  *net.UDPConn // that sends to the room
	room *net.UDPAddr
	srv  *httptest.Server
	wg   sync.WaitGroup

	mu      sync.Mutex
	cart    *net.UDPAddr
	way     [2]*emulator.Direction
	wake    [2]chan struct{}
	offered int           // bytes, to the way to the room
	longest time.Duration // that a packet waited before the bottleneck, on the way to the room
	closed  chan struct{}
}

const beneath = 28 // bytes of UDP and IPv4

func newBridge(t testing.TB, h hall, p emulator.Path) *bridge {
	t.Helper()
	b := &bridge{t: t, hub: h.Handler(), closed: make(chan struct{})}
	for _, c := range []**net.UDPConn{&b.near, &b.far} {
		udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		*c = udp
	}
	back := emulator.Path{Delay: p.Delay}
	b.way = [2]*emulator.Direction{emulator.NewDirection(p, 1), emulator.NewDirection(back, 2)}
	for i := range b.wake {
		b.wake[i] = make(chan struct{}, 1)
	}
	b.srv = httptest.NewServer(b)
	b.wg.Go(func() { b.read(b.near, 0) })
	b.wg.Go(func() { b.read(b.far, 1) })
	b.wg.Go(func() { b.write(0) })
	b.wg.Go(func() { b.write(1) })
	t.Cleanup(func() {
		close(b.closed)
		b.near.Close()
		b.far.Close()
		b.wg.Wait()
		b.srv.CloseClientConnections()
		b.srv.Close()
	})
	return b
}

// set changes the way to the room.
func (b *bridge) set(p emulator.Path) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.way[0].Set(p)
	b.longest = 0
}

func (b *bridge) count() (offered int, longest time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.offered, b.longest
}

var (
	candidates = regexp.MustCompile(`(?m)^a=candidate:.*\r?\n`)
	port       = regexp.MustCompile(`(a=candidate:\S+ \d+ \S+ \d+ \S+) (\d+) typ host`)
)

// ServeHTTP is the room's, with addresses put right.
func (b *bridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(candidates.ReplaceAll(body, nil)))
	rec := httptest.NewRecorder()
	b.hub.ServeHTTP(rec, r)
	answer := rec.Body.String()
	if m := port.FindStringSubmatch(answer); m != nil {
		n, _ := strconv.Atoi(m[2])
		b.mu.Lock()
		b.room = &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: n}
		b.mu.Unlock()
		var kept []string
		for line := range strings.Lines(answer) {
			if strings.HasPrefix(line, "a=candidate:") && !strings.Contains(line, " 127.0.0.1 ") {
				continue
			}
			kept = append(kept, port.ReplaceAllString(line, "${1} "+strconv.Itoa(b.near.LocalAddr().(*net.UDPAddr).Port)+" typ host"))
		}
		answer = strings.Join(kept, "")
	}
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	w.WriteHeader(rec.Code)
	io.WriteString(w, answer)
}

func (b *bridge) read(c *net.UDPConn, i int) {
	buf := make([]byte, 2048)
	for {
		n, from, err := c.ReadFromUDP(buf)
		if err != nil {
			return
		}
		b.mu.Lock()
		if i == 0 {
			b.cart = from
		}
		d := b.way[i]
		before := d.Count().Waited
		d.Offer(time.Now(), append(make([]byte, beneath), buf[:n]...))
		if i == 0 {
			b.offered += n + beneath
			b.longest = max(b.longest, d.Count().Waited-before)
		}
		b.mu.Unlock()
		select {
		case b.wake[i] <- struct{}{}:
		default:
		}
	}
}

func (b *bridge) write(i int) {
	for {
		b.mu.Lock()
		p, due := b.way[i].Take(time.Now())
		at, more := b.way[i].Next()
		c, to := b.far, b.room
		if i == 1 {
			c, to = b.near, b.cart
		}
		b.mu.Unlock()
		if due {
			if to != nil {
				c.WriteToUDP(p[beneath:], to)
			}
			continue
		}
		var timer <-chan time.Time
		if more {
			timer = time.After(time.Until(at))
		}
		select {
		case <-b.closed:
			return
		case <-b.wake[i]:
		case <-timer:
		}
	}
}
