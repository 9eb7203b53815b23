package room

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
)

const (
	maxBody    = 64 << 10         // bytes of an offer; a browser's has 4 to 8 KiB
	answerTime = 10 * time.Second // to make an answer
	maxName    = 128              // bytes of a stream's name
)

// problem is an RFC 9457 body. Code is stable and is what screens put in words.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Code   string `json:"code"`
}

func refuse(w http.ResponseWriter, status int, code, detail string) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	switch status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="telecart"`)
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "2")
	}
	w.WriteHeader(status)
	// The client may be gone; nobody is left to tell.
	_ = json.NewEncoder(w).Encode(problem{"about:blank", http.StatusText(status), status, detail, code})
}

// Handler serves
//
//	POST   /v1/whip/{stream}            publish: SDP offer in, 201 with the answer and Location
//	POST   /v1/whep/{stream}            watch
//	PATCH  /v1/whip/{stream}/{session}  further ICE candidates (trickle); an ICE restart is refused with 422
//	DELETE /v1/whip/{stream}/{session}  end; again, or after another end, it is 200 to who opened it
//
// and the same below /v1/whep. Every request but OPTIONS carries a bearer token; an answer to POST, and to OPTIONS with a token,
// names the ICE servers to use (Link, RFC 9725 4.6). Errors are RFC 9457 problems. Any
// origin may ask (CORS): there are no cookies, the token is the only authority.
func (r *Room) Handler() http.Handler { return http.HandlerFunc(r.serve) }

func (r *Room) serve(w http.ResponseWriter, req *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Location, ETag, Accept-Patch, Link, Retry-After")
	door, stream, id, ok := route(req.URL.Path)
	if !ok {
		refuse(w, http.StatusNotFound, "not-found", "want /v1/whip/{stream} or /v1/whep/{stream}")
		return
	}
	methods := "POST, OPTIONS"
	if id != "" {
		methods = "PATCH, DELETE, OPTIONS"
	}
	action := Publish
	if door == "whep" {
		action = Watch
	}
	if req.Method == http.MethodOptions {
		h.Set("Access-Control-Allow-Methods", methods)
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match")
		h.Set("Access-Control-Max-Age", "3600")
		h.Set("Accept-Post", "application/sdp")
		if token, ok := bearer(req); ok && id == "" && r.o.Authorize(req.Context(), token, stream, action) == nil {
			r.tellServers(h, token)
		}
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if !strings.Contains(methods, req.Method) {
		h.Set("Allow", methods)
		refuse(w, http.StatusMethodNotAllowed, "method", "this address takes "+methods)
		return
	}
	token, ok := bearer(req)
	if !ok {
		refuse(w, http.StatusUnauthorized, "token-missing", "send Authorization: Bearer with this stream's token")
		return
	}
	if id != "" && req.Method == http.MethodDelete && r.hasEnded(id, token) {
		w.WriteHeader(http.StatusOK) // what its owner wants is so (RFC 9725 4.2, RFC 9110 9.2.2), whatever became of the token
		return
	}
	if err := r.o.Authorize(req.Context(), token, stream, action); errors.Is(err, ErrToken) {
		refuse(w, http.StatusUnauthorized, "token-invalid", "the token is unknown or has expired")
		return
	} else if err != nil {
		refuse(w, http.StatusForbidden, "not-allowed", "the token does not allow this here")
		return
	}
	if id == "" {
		r.post(w, req, action, door, stream, token)
		return
	}
	r.mu.Lock()
	s := r.sessions[id]
	r.mu.Unlock()
	if s == nil || s.stream.name != stream || s.action != action {
		refuse(w, http.StatusNotFound, "no-session", "no such session; it may have ended")
		return
	}
	if req.Method == http.MethodDelete {
		s.end()
		w.WriteHeader(http.StatusOK)
		return
	}
	r.patch(w, req, s)
}

// bearer is the request's token (RFC 6750, 2.1).
func bearer(req *http.Request) (token string, ok bool) {
	scheme, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}

func (r *Room) post(w http.ResponseWriter, req *http.Request, a Action, door, stream, token string) {
	offer, ok := body(w, req, "application/sdp")
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(req.Context(), answerTime)
	defer cancel()
	s, answer, err := r.open(ctx, a, stream, token, offer)
	if err != nil {
		r.problem(w, err)
		return
	}
	// A token that was voided while the offer was on its way was kicked before this session was there to end.
	if r.o.Authorize(ctx, token, stream, a) != nil {
		s.end()
		refuse(w, http.StatusUnauthorized, "token-invalid", "the token is unknown or has expired")
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/sdp")
	h.Set("Location", "/v1/"+door+"/"+stream+"/"+s.id)
	h.Set("ETag", s.etag)
	h.Set("Accept-Patch", "application/trickle-ice-sdpfrag")
	r.tellServers(h, token)
	w.WriteHeader(http.StatusCreated)
	// If the client is gone, the session ends for want of a connection.
	_, _ = io.WriteString(w, answer)
}

func (r *Room) patch(w http.ResponseWriter, req *http.Request, s *session) {
	fragment, ok := body(w, req, "application/trickle-ice-sdpfrag")
	if !ok {
		return
	}
	if m := req.Header.Get("If-Match"); m != "" && m != "*" && m != s.etag {
		refuse(w, http.StatusPreconditionFailed, "etag", "If-Match names another ICE session")
		return
	}
	if err := s.trickle(fragment); err != nil {
		r.problem(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// problem puts an error of open or trickle in the protocol's words.
func (r *Room) problem(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, errOffer):
		refuse(w, http.StatusBadRequest, "bad-sdp", err.Error())
	case errors.Is(err, errUnusable):
		refuse(w, http.StatusUnprocessableEntity, "offer-refused", err.Error())
	case errors.Is(err, errFull):
		refuse(w, http.StatusServiceUnavailable, "room-full", "try again in a moment")
	case errors.Is(err, ErrClosed):
		refuse(w, http.StatusServiceUnavailable, "closing", "the room is restarting")
	default:
		r.o.Log.Warn("room: no answer made", "err", err)
		refuse(w, http.StatusInternalServerError, "internal", "the room could not make an answer")
	}
}

func body(w http.ResponseWriter, req *http.Request, want string) (string, bool) {
	if t, _, _ := mime.ParseMediaType(req.Header.Get("Content-Type")); t != want {
		refuse(w, http.StatusUnsupportedMediaType, "content-type", "want "+want)
		return "", false
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &big):
		refuse(w, http.StatusRequestEntityTooLarge, "too-large", "at most 64 KiB")
		return "", false
	case err != nil:
		refuse(w, http.StatusBadRequest, "body", "the request broke off")
		return "", false
	}
	return string(b), true
}

// route splits /v1/{door}/{stream}[/{session}].
func route(path string) (door, stream, session string, ok bool) {
	rest, ok := strings.CutPrefix(path, "/v1/")
	if !ok {
		return "", "", "", false
	}
	part := strings.Split(rest, "/")
	if len(part) < 2 || len(part) > 3 || part[0] != "whip" && part[0] != "whep" || !name(part[1]) || len(part) == 3 && part[2] == "" {
		return "", "", "", false
	}
	if len(part) == 3 {
		session = part[2]
	}
	return part[0], part[1], session, true
}

// name allows what needs no escaping in a URL (RFC 3986 2.3), since it goes back out in Location.
func name(s string) bool {
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-._~", c)) {
			return false
		}
	}
	return s != "" && len(s) <= maxName
}
