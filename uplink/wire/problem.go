package wire

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// Problem is an error as it travels (RFC 9457). Code is what both screens put in words.
type Problem struct {
	Type   string `json:"type"` // "urn:telecart:" + Code
	Code   string `json:"code"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Chunk  *int   `json:"chunk,omitempty"` // which chunk of an item was damaged
}

func (p *Problem) Error() string {
	if p.Detail == "" {
		return fmt.Sprintf("%s (%s)", p.Title, p.Code)
	}
	return fmt.Sprintf("%s: %s (%s)", p.Title, p.Detail, p.Code)
}

// NewProblem makes a problem.
func NewProblem(status int, code, title, detail string) *Problem {
	return &Problem{Type: "urn:telecart:" + code, Code: code, Title: title, Status: status, Detail: detail}
}

// Write sends the problem as the response.
func (p *Problem) Write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p)
}
