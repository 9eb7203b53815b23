package identity

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"telecart/provisioning/claim"
)

// Problem is an error as the hub sends it (RFC 9457, application/problem+json, with the member "code" that the screens
// put in words). On the cart errors.Is finds the sentinel that belongs to the code.
type Problem struct {
	Type   string `json:"type"` // "about:blank": Title is the status's name
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail,omitempty"` // in English, for logs and IT
}

func (p *Problem) Error() string {
	return fmt.Sprintf("identity: the hub refused (%d %s): %s", p.Status, p.Code, p.Detail)
}

func (p *Problem) Unwrap() error {
	for _, k := range known() {
		if k.code == p.Code {
			return k.is
		}
	}
	return nil
}

type knownProblem struct {
	code   string
	status int
	is     error
}

// known is the one place where errors and codes meet.
func known() []knownProblem {
	return []knownProblem{
		{"claim-unknown", http.StatusUnauthorized, claim.ErrUnknown},
		{"claim-used", http.StatusUnauthorized, claim.ErrUsed},
		{"claim-expired", http.StatusUnauthorized, claim.ErrExpired},
		{"certificate-missing", http.StatusUnauthorized, ErrNoCertificate},
		{"certificate-expired", http.StatusForbidden, ErrExpired},
		{"certificate-revoked", http.StatusForbidden, ErrRevoked},
		{"certificate-not-ours", http.StatusForbidden, ErrNotOurs},
		{"bad-request", http.StatusBadRequest, errRequest},
	}
}

// refuse answers with the problem that fits err. What isn't known is the hub's own trouble: try again later. Its text
// stays here, for it may name files and hosts.
func refuse(w http.ResponseWriter, err error) {
	p := Problem{Type: "about:blank", Status: http.StatusServiceUnavailable, Code: "unavailable", Detail: "the hub can't do this now; try again"}
	for _, k := range known() {
		if errors.Is(err, k.is) {
			p.Code, p.Status, p.Detail = k.code, k.status, err.Error()
			break
		}
	}
	p.Title = http.StatusText(p.Status)
	switch p.Status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Basic realm="telecart"`) // RFC 9110 section 11.6.1
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "30")
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p)
}

// readProblem is a refused response as an error.
func readProblem(resp *http.Response) error {
	p := &Problem{Status: resp.StatusCode, Code: "unknown", Detail: resp.Status}
	if body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody)); err == nil {
		json.Unmarshal(body, p) // not JSON: a proxy's page, say; the status must do
	}
	p.Status = resp.StatusCode
	return p
}
