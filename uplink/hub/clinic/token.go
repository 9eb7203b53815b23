package clinic

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"telecart/device/kit"
)

// What a stream token lets its bearer do.
const (
	Publish = "publish"
	Watch   = "watch"
)

// ErrToken: no such right, or not any more.
var ErrToken = errors.New("clinic: this token does not open this stream; ask for a new one")

// maxTokens bounds what is remembered; the one that ends soonest goes first.
const maxTokens = 10_000

// Tokens are the rights to publish or watch one stream for some minutes. They are kept in memory alone: a restart of
// the hub voids them all, and everyone asks anew.
type Tokens struct {
	clock kit.Clock
	mu    sync.Mutex
	held  map[[32]byte]grant // by hash: finding one leaks nothing through timing
}

type grant struct {
	token   string
	consult string
	stream  string
	action  string
	who     string
	ends    time.Time
}

// NewTokens begins with none.
func NewTokens(clock kit.Clock) *Tokens { return &Tokens{clock: clock, held: map[[32]byte]grant{}} }

// Issue draws a token with which who may do action with a consult's stream during life.
func (t *Tokens) Issue(consult, stream, action, who string, life time.Duration) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock.Now()
	if len(t.held) >= maxTokens {
		t.prune(now)
	}
	token := rand.Text()
	t.held[sha256.Sum256([]byte(token))] = grant{token, consult, stream, action, who, now.Add(life)}
	return token
}

func (t *Tokens) prune(now time.Time) {
	maps.DeleteFunc(t.held, func(_ [32]byte, g grant) bool { return !now.Before(g.ends) })
	for len(t.held) >= maxTokens {
		var first [32]byte
		var ends time.Time
		for k, g := range t.held {
			if ends.IsZero() || g.ends.Before(ends) {
				first, ends = k, g.ends
			}
		}
		delete(t.held, first)
	}
}

// Authorize is the room's question: may the bearer of token do action with stream? ErrToken says no.
func (t *Tokens) Authorize(_ context.Context, token, stream, action string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	g, ok := t.held[sha256.Sum256([]byte(token))]
	if !ok || g.stream != stream || g.action != action || !t.clock.Now().Before(g.ends) {
		return ErrToken
	}
	return nil
}

// Void ends every token of a consult that lets its bearer do action; who "" is everyone. It returns them, so that the room can
// end the sessions they opened.
func (t *Tokens) Void(consult, action, who string) (ended []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.held, func(_ [32]byte, g grant) bool {
		gone := g.consult == consult && g.action == action && (who == "" || g.who == who)
		if gone {
			ended = append(ended, g.token)
		}
		return gone
	})
	return ended
}

// maxStreamName is what a room takes.
const maxStreamName = 128

// StreamName is TENANT~CART~INSTRUMENT as one path segment: letters, digits and "-." stand for themselves, "~" between
// the three, any other byte as "_" and two hexadecimal digits. What gets too long is named by its hash.
func StreamName(tenant, cart, instrument string) string {
	s := safe(tenant) + "~" + safe(cart) + "~" + safe(instrument)
	if len(s) > maxStreamName {
		d := sha256.Sum256([]byte(s))
		return "~" + hex.EncodeToString(d[:])
	}
	return s
}

func safe(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "_%s", hex.EncodeToString([]byte{c}))
		}
	}
	return b.String()
}

// whip and whep are where a stream is published and watched (RFC 9725), below the hub's own name.
func whip(stream string) string { return "/v1/whip/" + stream }
func whep(stream string) string { return "/v1/whep/" + stream }
