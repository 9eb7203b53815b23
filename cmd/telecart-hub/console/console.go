// Package console is the hub's server for people: specialists, nurses and IT, in a browser.
//
// Parties: a person signs in (POST /v1/session) and holds one WebSocket (/v1/ws) on which the page is told the whole
// state whenever it changed, and asks for things; pictures come by GET /v1/items/{id}/blob, live media from the room.
// The clinic knows who is there; people.Allow says who may do what, at every door; the audit trail is told who saw what.
//
// Keys: none of its own. The session's token is in a cookie: HttpOnly, SameSite=Strict, Secure under TLS.
//
// Invariants: a person sees one tenant. IT is never sent a patient, a value or a reason for a call. Another tenant's
// things don't exist. A browser page of another origin gets nothing. What a person was shown is recorded before it is
// sent. Pages get nothing they didn't ask for and at most five states a second.
package console

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"telecart/capture"
	"telecart/capture/ledger"
	"telecart/device/kit"
	"telecart/provisioning/people"
	"telecart/uplink/hub/clinic"
	"telecart/uplink/hub/ingest"
	"telecart/uplink/wire"
)

// Door checks passwords.
type Door interface {
	SignIn(ctx context.Context, name, password string) (people.Account, error)
}

// Sessions remembers who signed in. *people.Sessions is one.
type Sessions interface {
	Start(ctx context.Context, a people.Account) (token string, err error)
	Check(ctx context.Context, token string) (people.Account, error)
	End(ctx context.Context, token string) error
}

// Blobs opens sealed items.
type Blobs interface {
	// Blob writes the picture, clip or samples of an item to w.
	Blob(ctx context.Context, tenant string, item ledger.Hash, w io.Writer) error
}

// Fleet is what IT does with carts.
type Fleet interface {
	Claim(ctx context.Context, tenant, cart, site string) (code, qr string, err error)
	Revoke(ctx context.Context, tenant, cart string) error
	// Ledger checks what is here of a cart's ledgers; LedgerSeen notes that IT has seen what is wrong with them.
	Ledger(ctx context.Context, tenant, cart string, d ingest.Depth) (Ledger, error)
	LedgerSeen(ctx context.Context, tenant, cart string) error
}

// Audit keeps the trail. With never holds patient data: ids and hashes only.
type Audit interface {
	Record(ctx context.Context, tenant, who, action string, with map[string]string) error
}

// Options are what the server needs.
type Options struct {
	Hub      string // DNS name
	Version  string
	Door     Door
	Sessions Sessions
	Idle     time.Duration // of a session
	Clinic   *clinic.Service
	Blobs    Blobs
	Fleet    Fleet
	Audit    Audit
	Clock    kit.Clock
	Log      *slog.Logger
}

// Server is the console's server.
type Server struct{ o Options }

// New makes the server.
func New(o Options) *Server { return &Server{o} }

// Route is one door. The OpenAPI file is held to the routes.
type Route struct {
	Method, Path string
	Handler      http.Handler
}

// Routes are all doors of the console but the pages themselves.
func (s *Server) Routes() []Route {
	return []Route{
		{"POST", "/v1/session", http.HandlerFunc(s.signIn)},
		{"GET", "/v1/session", http.HandlerFunc(s.whoAmI)},
		{"DELETE", "/v1/session", http.HandlerFunc(s.signOut)},
		{"GET", "/v1/ws", http.HandlerFunc(s.socket)},
		{"GET", "/v1/items/{id}/blob", http.HandlerFunc(s.blob)},
	}
}

// Guard refuses a Host that is a stranger's name, so that no page of theirs can be made to point here (DNS rebinding),
// and sets the headers that every answer has. An IP address can't be rebound; a proxy passes on the hub's name.
func (s *Server) Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		if !s.ours(r.Host) {
			wire.NewProblem(http.StatusMisdirectedRequest, "host", "This is not the address of this hub", "open https://"+s.o.Hub).Write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) ours(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return true
	}
	return strings.EqualFold(name, s.o.Hub) || name == "localhost"
}

// sameOrigin says whether the request comes from a page of ours. Browsers set Origin on every WebSocket and every POST.
func sameOrigin(r *http.Request) bool {
	o, err := url.Parse(r.Header.Get("Origin"))
	return err == nil && o.Host != "" && strings.EqualFold(o.Host, r.Host)
}

const cookieName = "telecart-session"

func (s *Server) cookie(r *http.Request, token string, age int) *http.Cookie {
	secure := r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https"
	return &http.Cookie{Name: cookieName, Value: token, Path: "/", MaxAge: age, HttpOnly: true, Secure: secure, SameSite: http.SameSiteStrictMode}
}

const maxSignIn = 4 << 10

func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Origin") != "" && !sameOrigin(r) {
		problem(errOrigin).Write(w)
		return
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		wire.NewProblem(http.StatusUnsupportedMediaType, "content-type", "Send application/json", "").Write(w)
		return
	}
	var in struct{ Name, Password string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxSignIn)).Decode(&in); err != nil {
		wire.NewProblem(http.StatusBadRequest, "bad-request", "Send a name and a password", "").Write(w)
		return
	}
	a, err := s.o.Door.SignIn(r.Context(), in.Name, in.Password)
	var token string
	if err == nil {
		token, err = s.o.Sessions.Start(r.Context(), a)
	}
	if err == nil {
		err = s.o.Audit.Record(r.Context(), a.Tenant, a.Name, "sign-in", nil)
	}
	if err != nil {
		s.refuse(w, err)
		return
	}
	http.SetCookie(w, s.cookie(r, token, 0))
	answer(w, meOf(a))
}

func meOf(a people.Account) me { return me{a.Name, a.Display, string(a.Role), a.Tenant} }

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(v)
}

// account is who the request's cookie stands for.
func (s *Server) account(r *http.Request) (a people.Account, token string, err error) {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return a, "", people.ErrNoSession
	}
	a, err = s.o.Sessions.Check(r.Context(), c.Value)
	return a, c.Value, err
}

func (s *Server) whoAmI(w http.ResponseWriter, r *http.Request) {
	a, _, err := s.account(r)
	if err != nil {
		s.refuse(w, err)
		return
	}
	answer(w, meOf(a))
}

func (s *Server) signOut(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(cookieName); err == nil {
		a, err := s.o.Sessions.Check(r.Context(), c.Value) // who it was; of one that is over already, the page's end told
		signedIn := err == nil
		if err := s.o.Sessions.End(r.Context(), c.Value); err != nil {
			s.refuse(w, err)
			return
		}
		if signedIn {
			s.o.Clinic.SignedOut(a.Tenant, a.Name)
		}
	}
	http.SetCookie(w, s.cookie(r, "", -1))
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) blob(w http.ResponseWriter, r *http.Request) {
	a, _, err := s.account(r)
	if err == nil {
		err = people.Allow(a.Subject(), people.View, people.Resource{Kind: people.Item, Tenant: a.Tenant})
	}
	var id ledger.Hash
	if err == nil && id.UnmarshalText([]byte(r.PathValue("id"))) != nil {
		err = clinic.ErrUnknown
	}
	var i clinic.Item
	if err == nil {
		i, err = s.o.Clinic.Item(a.Tenant, id)
	}
	if err == nil && mediaType(i) == "" {
		err = clinic.ErrUnknown
	}
	// Recorded before it is shown: what is not recorded is not shown.
	if err == nil {
		err = s.o.Clinic.Viewed(r.Context(), who(a), id)
	}
	if err == nil {
		err = s.o.Audit.Record(r.Context(), a.Tenant, a.Name, "view-item", map[string]string{"item": id.String(), "encounter": i.Body.Encounter.String()})
	}
	if err != nil {
		s.refuse(w, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", mediaType(i))
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	out := &counted{w: w}
	if err := s.o.Blobs.Blob(r.Context(), a.Tenant, id, out); err != nil {
		s.o.Log.Error("console: an item does not open", "item", id, "err", err)
		if out.n > 0 {
			panic(http.ErrAbortHandler) // the browser must not take half a picture for a whole one
		}
		s.refuse(w, err)
	}
}

// mediaType is what the blob may be shown as; "" when the item has none. Nothing that a browser would run.
func mediaType(i clinic.Item) string {
	switch {
	case i.Body.Waveform != nil:
		return "application/octet-stream"
	case i.Body.Media == nil:
		return ""
	}
	switch t := i.Body.Media.Type; t {
	case "image/jpeg", "video/x-msvideo", "audio/wav", "audio/flac", "audio/ogg":
		return t
	}
	return "application/octet-stream"
}

type counted struct {
	w io.Writer
	n int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func who(a people.Account) clinic.Who {
	return clinic.Who{Tenant: a.Tenant, Person: clinic.Person{ID: a.Name, Name: a.Display}}
}

var (
	errOrigin  = errors.New("console: the request comes from another site's page")
	errCommand = errors.New("console: not a command that is known here")
)

type knownError struct {
	is     error
	status int
	code   string
	title  string
}

// known is the one place where errors get the code that screens put in words.
func known() []knownError {
	return []knownError{
		{people.ErrSignIn, http.StatusUnauthorized, "unauthorized", "Name or password is not right"},
		{people.ErrLocked, http.StatusTooManyRequests, "locked", "Too many tries; wait five minutes"},
		{people.ErrIdle, http.StatusUnauthorized, "session-idle", "Signed out, nothing was done for too long"},
		{people.ErrTooOld, http.StatusUnauthorized, "session-old", "Signed out, the longest time for one sign-in is over"},
		{people.ErrNoSession, http.StatusUnauthorized, "no-session", "Not signed in"},
		{errOrigin, http.StatusForbidden, "origin", "The request comes from another site's page"},
		{errCommand, http.StatusBadRequest, "bad-command", "This hub does not know that command"},
		{clinic.ErrUnknown, http.StatusNotFound, "not-found", "It is not there any more"},
		{clinic.ErrOffline, http.StatusConflict, "cart-offline", "The cart is offline"},
		{clinic.ErrNoEncounter, http.StatusConflict, "no-open-encounter", "No encounter is open at this cart; the nurse opens one first"},
		{clinic.ErrTaken, http.StatusConflict, "consult-taken", "There is a consult at this cart already; join it"},
		{clinic.ErrOver, http.StatusConflict, "consult-over", "The consult is over"},
		{clinic.ErrNotNow, http.StatusConflict, "not-now", "The consult is not live"},
		{clinic.ErrNoTouch, http.StatusForbidden, "nurse-only", "Only the nurse can do that"},
		{clinic.ErrMember, http.StatusForbidden, "not-in-consult", "Join the consult first"},
		{clinic.ErrBusy, http.StatusServiceUnavailable, "busy", "The cart's link can't keep up; try again"},
		{clinic.ErrLate, http.StatusGatewayTimeout, "late", "The cart did not answer in time"},
	}
}

// problem puts an error as it travels. What is not known is the hub's own trouble, whose text stays here.
func problem(err error) *wire.Problem {
	var p *wire.Problem
	var denied *people.Denied
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &denied) && denied.Reason == people.OtherTenant:
		return wire.NewProblem(http.StatusNotFound, "not-found", "There is no such thing here", "")
	case errors.As(err, &denied) && denied.Reason == people.NotInConsult:
		return wire.NewProblem(http.StatusForbidden, "not-in-consult", "Join the consult first", "")
	case errors.As(err, &denied):
		roles := make([]string, len(denied.Who))
		for i, r := range denied.Who {
			roles[i] = string(r)
		}
		return wire.NewProblem(http.StatusForbidden, "forbidden", "Your role does not allow this", "who can: "+strings.Join(roles, ", "))
	}
	for _, k := range known() {
		if errors.Is(err, k.is) {
			return wire.NewProblem(k.status, k.code, k.title, "")
		}
	}
	return wire.NewProblem(http.StatusServiceUnavailable, "unavailable", "The hub can't do this now; try again", "")
}

func (s *Server) refuse(w http.ResponseWriter, err error) {
	p := problem(err)
	if p.Code == "unavailable" {
		s.o.Log.Error("console: refused", "err", err)
	}
	p.Write(w)
}

// seen are the items that have something to see.
func seen(e clinic.Encounter, known map[ledger.Hash]bool) (fresh []ledger.Hash) {
	for _, i := range e.Items {
		if !known[i.Item] && i.Body.Kind != capture.Event {
			fresh = append(fresh, i.Item)
		}
	}
	return fresh
}
