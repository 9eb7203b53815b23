// Package bedside serves the nurse's screen on this machine's loopback.
//
// Parties: the kiosk's browser, which was started with the boot's secret; the Cart behind it. Keys: a random cookie per
// start of the agent. Invariants: only the exact Host and Origin are answered; nothing is cached; the page gets the whole
// state each time it changes, at most stateRate a second; pictures go latest-wins, one in flight, as the camera gave them.
package bedside

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"embed"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"telecart/capture/ledger"
	"telecart/device"
	"telecart/device/kit"
	"telecart/uplink/seal/erase"
	"telecart/uplink/wire"
)

//go:embed all:dist
var dist embed.FS

// Nurse is what the page needs of the agent.
type Nurse interface {
	State() (json.RawMessage, error)
	Command(ctx context.Context, verb string, args json.RawMessage) (any, error)
	Changed() (ticks <-chan struct{}, leave func())
}

// Instruments is what it needs for pictures and waveforms.
type Instruments interface {
	Camera(name string) (device.Camera, bool)
	Microphone(name string) (device.Microphone, bool)
	Samples() (pieces <-chan device.Samples, leave func())
	Inputs() (inputs <-chan device.Input, leave func())
	Review(item ledger.Hash) (media string, data []byte, ok bool)
}

// AsJPEG encodes a raw frame; a JPEG it gives back as it is.
type AsJPEG func(device.Frame) (device.Frame, error)

// Options make a Server.
type Options struct {
	Nurse       Nurse
	Instruments Instruments
	Faces       Faces // optional
	JPEG        AsJPEG
	Problem     func(error) *wire.Problem
	Clock       kit.Clock
	Log         *slog.Logger
	// Drawn is told how long after its capture each frame was on the screen. Optional.
	Drawn func(time.Duration)
}

// Server is the page's HTTP side.
type Server struct {
	opt    Options
	secret string
	host   string // the only one answered
}

const (
	cookie     = "telecart"
	stateEvery = 100 * time.Millisecond
	maxCommand = 64 << 10
	writeWait  = 5 * time.Second
)

// New makes a server for one address ("127.0.0.1:7070").
func New(addr string, opt Options) *Server {
	var b [16]byte
	rand.Read(b[:])
	return &Server{opt: opt, secret: hex.EncodeToString(b[:]), host: addr}
}

// URL is what the kiosk opens: it carries the boot's secret once, for the cookie.
func (s *Server) URL() string { return "http://" + s.host + "/?k=" + s.secret }

// Handler serves the page.
func (s *Server) Handler() http.Handler {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	static := http.FileServerFS(files)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/ws", s.socket)
	mux.HandleFunc("GET /api/picture/{instrument}", s.picture)
	mux.HandleFunc("GET /api/sound/{instrument}", s.listen)
	mux.HandleFunc("GET /api/face/{id}", s.face)
	mux.HandleFunc("GET /api/review/{item}", s.reviewed)
	mux.Handle("GET /", static)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'self'; img-src 'self' blob: data:; connect-src 'self' ws://"+s.host+"; style-src 'self' 'unsafe-inline'; media-src 'self' blob:; frame-ancestors 'none'")
		if r.Host != s.host || !s.sameOrigin(r) {
			wire.NewProblem(http.StatusForbidden, "wrong-host", "This page is served to the cart's own screen alone", "").Write(w)
			return
		}
		if k := r.URL.Query().Get("k"); k != "" && equal(k, s.secret) {
			http.SetCookie(w, &http.Cookie{Name: cookie, Value: s.secret, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return
		}
		if c, err := r.Cookie(cookie); err != nil || !equal(c.Value, s.secret) {
			wire.NewProblem(http.StatusUnauthorized, "no-secret", "Open the page with the address that the agent printed when it started", "").Write(w)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (s *Server) sameOrigin(r *http.Request) bool {
	o := r.Header.Get("Origin")
	return o == "" || o == "http://"+s.host
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// command is what the page asks for; its other fields are the arguments.
type command struct {
	ID   int    `json:"id"`
	Verb string `json:"verb"`
}

type reply struct {
	Reply   int           `json:"reply"`
	OK      bool          `json:"ok"`
	Problem *wire.Problem `json:"problem,omitempty"`
	Result  any           `json:"result,omitempty"`
}

// samples is a piece of a waveform as the page takes it.
type samples struct {
	Instrument string    `json:"instrument"`
	Quantity   string    `json:"quantity"`
	RateHz     float64   `json:"rate_hz"`
	Values     []int32   `json:"values"`
	At         time.Time `json:"at"`
}

// input is what somebody did with a scanner or a pedal, as the page takes it.
type input struct {
	Instrument string     `json:"instrument"`
	Act        device.Act `json:"act"`
	Text       string     `json:"text,omitempty"`
	Symbology  string     `json:"symbology,omitempty"`
}

// socket carries state and waveforms out, commands in.
func (s *Server) socket(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer ws.CloseNow()
	ws.SetReadLimit(maxCommand)
	ctx, cancel := context.WithCancel(r.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	ticks, leave := s.opt.Nurse.Changed()
	defer leave()
	pieces, stop := s.opt.Instruments.Samples()
	defer stop()
	inputs, hear := s.opt.Instruments.Inputs()
	defer hear()
	replies := make(chan reply, 16)
	wg.Go(func() { defer cancel(); s.commands(ctx, ws, replies, &wg) })
	due := true
	var gap <-chan time.Time
	regular := s.opt.Clock.After(time.Second)
	for {
		if due && gap == nil {
			state, err := s.opt.Nurse.State()
			if err != nil {
				s.opt.Log.Error("bedside: state", "err", err)
				return
			}
			if sendState(ctx, ws, state) != nil {
				return
			}
			due, gap = false, s.opt.Clock.After(stateEvery)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks:
			due = true
		case <-regular: // the clock on the screen, and what grows stale
			due, regular = true, s.opt.Clock.After(time.Second)
		case <-gap:
			gap = nil
		case p := <-pieces:
			if send(ctx, ws, map[string]any{"samples": samples{p.Instrument.Name, p.Quantity, p.RateHz, p.Values, p.At.Wall}}) != nil {
				return
			}
		case i := <-inputs:
			if send(ctx, ws, map[string]any{"input": input{i.Instrument.Name, i.Act, i.Text, i.Symbology}}) != nil {
				return
			}
		case a := <-replies:
			if send(ctx, ws, a) != nil {
				return
			}
		}
	}
}

// commandsAtOnce bounds how many commands of one page are being carried out: a clip takes seconds, a still must not wait.
const commandsAtOnce = 8

func (s *Server) commands(ctx context.Context, ws *websocket.Conn, replies chan<- reply, wg *sync.WaitGroup) {
	slots := make(chan struct{}, commandsAtOnce)
	for {
		_, b, err := ws.Read(ctx)
		if err != nil {
			return
		}
		var c command
		if err := json.Unmarshal(b, &c); err != nil {
			return
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		wg.Go(func() {
			defer func() { clear(b); <-slots }()
			a := reply{Reply: c.ID, OK: true}
			var err error
			// Not ctx: what the nurse asked for is finished even if the page goes away.
			if a.Result, err = s.opt.Nurse.Command(context.WithoutCancel(ctx), c.Verb, b); err != nil {
				a.OK, a.Problem = false, s.opt.Problem(err)
			}
			select {
			case replies <- a:
			case <-ctx.Done():
			}
		})
	}
}

// writeBuffer is net/http's for a connection. It keeps what went through it until something else does.
const writeBuffer = 4 << 10

// sendState fills that buffer, with spaces if need be: once the encounter is closed nothing of it is left there.
func sendState(ctx context.Context, ws *websocket.Conn, state json.RawMessage) error {
	defer clear(state)
	const head, tail = `{"state":`, `}`
	b := make([]byte, 0, max(writeBuffer, len(head)+len(state)+len(tail)))
	b = append(append(append(b, head...), state...), tail...)
	for len(b) < writeBuffer {
		b = append(b, ' ')
	}
	return sendText(ctx, ws, b)
}

// send gives the page anything else.
func send(ctx context.Context, ws *websocket.Conn, v any) error {
	var b []byte
	var err error
	erase.Do(func() { b, err = json.Marshal(v) })
	if err != nil {
		return fmt.Errorf("bedside: %w", err)
	}
	return sendText(ctx, ws, b)
}

// sendText overwrites what it sent: most of it names a patient.
func sendText(ctx context.Context, ws *websocket.Conn, b []byte) error {
	defer clear(b)
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	return ws.Write(ctx, websocket.MessageText, b)
}

// picture sends a camera's frames as they are: 8 bytes of capture time, then the JPEG. The next one goes when the page has
// drawn the last.
func (s *Server) picture(w http.ResponseWriter, r *http.Request) {
	cam, ok := s.opt.Instruments.Camera(r.PathValue("instrument"))
	if !ok {
		wire.NewProblem(http.StatusNotFound, "no-camera", "There is no such camera", "").Write(w)
		return
	}
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer ws.CloseNow()
	ctx, cancel := context.WithCancel(r.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	drawn := make(chan string)
	wg.Go(func() { // reads all the time: it alone learns that the page is gone, also while there is no picture
		defer cancel()
		for {
			_, text, err := ws.Read(ctx)
			if err != nil {
				return
			}
			select {
			case drawn <- string(text):
			case <-ctx.Done():
				return
			}
		}
	})
	for ctx.Err() == nil {
		if err := s.look(ctx, ws, cam, drawn); !errors.Is(err, device.ErrGone) {
			return
		}
		select { // unplugged: it may come back
		case <-ctx.Done():
		case <-s.opt.Clock.After(200 * time.Millisecond):
		}
	}
}

func (s *Server) look(ctx context.Context, ws *websocket.Conn, cam device.Camera, drawn <-chan string) error {
	v := cam.Watch()
	defer v.Close()
	for {
		f, err := v.Next(ctx)
		if err != nil {
			return err
		}
		if f, err = s.opt.JPEG(f); err != nil {
			return err
		}
		b := binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(f.Data)), uint64(f.At.Wall.UnixMicro()))
		if err := sendPicture(ctx, ws, append(b, f.Data...)); err != nil {
			return err
		}
		select {
		case text := <-drawn:
			s.drawn(text)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func sendPicture(ctx context.Context, ws *websocket.Conn, b []byte) error {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	return ws.Write(ctx, websocket.MessageBinary, b)
}

// drawn reads "CAPTURED DRAWN", both in microseconds since 1970.
func (s *Server) drawn(text string) {
	captured, at, ok := strings.Cut(text, " ")
	from, err1 := strconv.ParseInt(captured, 10, 64)
	to, err2 := strconv.ParseInt(at, 10, 64)
	if ok && err1 == nil && err2 == nil && s.opt.Drawn != nil {
		s.opt.Drawn(time.Duration(to-from) * time.Microsecond)
	}
}

// reviewed gives one item of this encounter back to the nurse.
func (s *Server) reviewed(w http.ResponseWriter, r *http.Request) {
	var h ledger.Hash
	if err := h.UnmarshalText([]byte(r.PathValue("item"))); err != nil {
		wire.NewProblem(http.StatusBadRequest, "bad-argument", "That is no item", err.Error()).Write(w)
		return
	}
	media, data, ok := s.opt.Instruments.Review(h)
	if !ok {
		wire.NewProblem(http.StatusNotFound, "not-in-memory", "This item is sealed: the hub can show it", "").Write(w)
		return
	}
	defer clear(data)
	w.Header().Set("Content-Type", media)
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	if http.NewResponseController(w).Flush() == nil { // or the connection's buffer keeps a copy of the beginning as long as it lives
		w.Write(data)
	}
}
